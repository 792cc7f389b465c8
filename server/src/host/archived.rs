//! The requests of an adoption to the archive, each with a bound on its answer. When the archive is asked, and what
//! follows, the adoption decides.

use std::time::{Duration, Instant};

use everhold_core::durability::adoption::{Adoption, AdoptionCommand};
use everhold_core::ownership::Tenure;

use super::ArchiveService;
use crate::deadline::answer;

/// An archive that takes longer to open, to fence a zone, or to give a part of a blob does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Carries out a command that asks the archive, once that can be opened.
pub(super) async fn ask(service: &ArchiveService, tenure: &Tenure, adoption: &mut Adoption, command: AdoptionCommand) {
    let (zone, reader) = (&tenure.zone, Some(tenure.grant));
    let archive = answer(ANSWER_MAX, service.door.archive()).await;
    match command {
        AdoptionCommand::FenceArchive => {
            let found = async {
                let archive = archive?;
                archive.fence(tenure).await?;
                archive.zone(zone, reader).await
            };
            let found = answer(ANSWER_MAX, found).await;
            adoption.handle_archived(Instant::now(), found);
        }
        AdoptionCommand::ReadBlobPart(mark, index) => {
            let part = async { archive?.read_blob_part(zone, reader, mark, index).await };
            let part = answer(ANSWER_MAX, part).await;
            adoption.handle_blob_part(Instant::now(), part);
        }
        _ => unreachable!("it asks no archive"),
    }
}

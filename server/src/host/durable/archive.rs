//! The requests of a zone's archivist, each with a bound on its answer. What is asked, and what follows from an answer,
//! the archivist decides.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::archive::ArchiveError;
use everhold_core::durability::archivist::ArchivistCommand;
use everhold_core::durability::pipeline::ArchiveAnswer;
use everhold_core::ownership::Tenure;

use super::super::ArchiveService;
use crate::deadline::answer;

/// An archive that takes longer for a fence, a look, or a part does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A commit is one transaction of at most [`ARCHIVE_COMMIT_ROWS_MAX`] rows, on a database that may be busy.
///
/// [`ARCHIVE_COMMIT_ROWS_MAX`]: everhold_core::limits::ARCHIVE_COMMIT_ROWS_MAX
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// Asks the archive, under this tenure. One that cannot be opened yet has not answered.
pub(super) async fn ask(service: ArchiveService, tenure: Arc<Tenure>, command: ArchivistCommand) -> ArchiveAnswer {
    let archive = match answer(ANSWER_MAX, service.door.archive()).await {
        Ok(archive) => archive,
        Err(error) => return unanswered(&command, error),
    };
    match command {
        ArchivistCommand::Fence => ArchiveAnswer::Fenced(answer(ANSWER_MAX, archive.fence(&tenure)).await),
        ArchivistCommand::Look => {
            let look = archive.zone(&tenure.zone, Some(tenure.grant));
            ArchiveAnswer::Zone(answer(ANSWER_MAX, look).await)
        }
        ArchivistCommand::PutPart { mark, index, bytes } => {
            let put = archive.put_blob_part(&tenure, mark, index, bytes);
            ArchiveAnswer::PartPut(answer(ANSWER_MAX, put).await)
        }
        ArchivistCommand::Commit(commit) => {
            ArchiveAnswer::Committed(answer(COMMIT_MAX, archive.commit(&tenure, &commit)).await)
        }
    }
}

const fn unanswered(command: &ArchivistCommand, error: ArchiveError) -> ArchiveAnswer {
    match command {
        ArchivistCommand::Fence => ArchiveAnswer::Fenced(Err(error)),
        ArchivistCommand::Look => ArchiveAnswer::Zone(Err(error)),
        ArchivistCommand::PutPart { .. } => ArchiveAnswer::PartPut(Err(error)),
        ArchivistCommand::Commit(_) => ArchiveAnswer::Committed(Err(error)),
    }
}

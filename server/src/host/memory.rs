//! A zone whose lease ran out, as its tick thread gives it back. What it is from then on, and how it may go on, is the
//! suspended zone's to say.

use everhold_core::durability::suspended::{SURRENDER_MAX, Surrender, SuspendedZone};
use tokio::sync::mpsc;

use super::tick::TickMessage;

/// Waits for the World and the records of all its ticks. `None`: the zone cannot go on from memory.
pub(super) async fn surrendered(
    mut surrender: Surrender,
    mut ticked: mpsc::Receiver<TickMessage>,
) -> Option<SuspendedZone> {
    let surrendered = async {
        while let Some(message) = ticked.recv().await {
            match message {
                TickMessage::Ticked(ticked) => surrender.handle_record(ticked.out.record).ok()?,
                TickMessage::Surrendered(surrendered) => return Some(surrender.handle_zone(surrendered.into_zone())),
                TickMessage::Roster(_) => {}
                TickMessage::Panicked(..) => return None,
            }
        }
        None
    };
    let Ok(suspended) = tokio::time::timeout(SURRENDER_MAX, surrendered).await else {
        tracing::error!("the tick thread does not give its zone back");
        return None;
    };
    suspended
}

//! A zone whose lease ran out, or whose durable task failed, as its tick thread gives it back. What it is from then on,
//! and how it may go on, is the suspended zone's to say.

use everhold_core::durability::journal::Journal;
use everhold_core::durability::store::Position;
use everhold_core::durability::suspended::{SURRENDER_LOOK_EVERY, SURRENDER_LOOKS_MAX, Surrender, SuspendedZone};
use everhold_protocol::ZoneName;

use super::durable::TickMail;
use super::tick::{Surrendered, TickMessage};

/// Waits for the World and the records of all its ticks. `None`: the zone cannot go on from memory.
pub(super) async fn surrendered(
    mut surrender: Surrender,
    mail: &mut TickMail,
    zone: &ZoneName,
) -> Option<SuspendedZone> {
    let surrendered = last_word(mail, zone, |message| match message {
        TickMessage::Ticked(ticked) => surrender.handle_record(ticked.out.record, ticked.out.moves).is_ok(),
        _ => true,
    });
    let surrendered = surrendered.await?;
    Some(surrender.handle_zone(surrendered.into_zone()))
}

/// Waits for the World of a zone whose durable task is gone, and the journal's ring with it. The store had acknowledged
/// it up to `acknowledged`. `None`: the zone cannot go on from memory.
pub(super) async fn orphaned(acknowledged: Position, mail: &mut TickMail, zone: &ZoneName) -> Option<SuspendedZone> {
    let surrendered = last_word(mail, zone, |_| true).await?;
    let last = surrendered.last();
    let journal = Journal::orphaned(last.epoch, acknowledged, last);
    Some(Surrender::new(journal).handle_zone(surrendered.into_zone()))
}

/// Returns the zone that the tick thread gave back, or waits for it, and passes on what comes before it. `None`: it
/// gives none back, or `take` wants no more.
async fn last_word(
    mail: &mut TickMail,
    zone: &ZoneName,
    mut take: impl FnMut(TickMessage) -> bool,
) -> Option<Box<Surrendered>> {
    if let Some(surrendered) = mail.surrendered.take() {
        return Some(surrendered);
    }
    let mut looks = 0;
    while looks < SURRENDER_LOOKS_MAX {
        match tokio::time::timeout(SURRENDER_LOOK_EVERY, mail.messages.recv()).await {
            Ok(Some(TickMessage::Surrendered(surrendered))) => return Some(surrendered),
            Ok(None | Some(TickMessage::Panicked(..))) => return None,
            Ok(Some(message)) => {
                if !take(message) {
                    return None;
                }
            }
            Err(_) => looks += 1,
        }
    }
    tracing::error!(
        %zone,
        "the tick thread does not give its zone back: it is thrown away, and what the store does not have of it is lost"
    );
    None
}

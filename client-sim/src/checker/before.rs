//! The belongings of a player before some events, worked out backwards. It judges nothing.

use std::collections::BTreeMap;

use everhold_protocol::event::Event;
use everhold_protocol::{EntityId, Item, OwnState, SeqEvent};

/// The first attach of a session. What the player had before the first event it hears follows only when all events up
/// to `event_seq` are in.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) event_seq: u64,
    /// Events up to this one are from before the player's time.
    pub(super) history: u64,
    pub(super) own: OwnState,
    pub(super) early: Vec<SeqEvent>,
}

/// Gold and items before `events`, after which they are `own`. Gold that would be negative is none: the replay then
/// shows the difference.
pub(super) fn before(own: &OwnState, events: &[SeqEvent]) -> (u64, BTreeMap<EntityId, Item>) {
    let mut gold = i128::from(own.gold);
    let mut items: BTreeMap<EntityId, Item> = own.items.iter().map(|item| (item.uid, *item)).collect();
    for event in events.iter().rev() {
        match &event.event {
            Event::Gold { delta, .. } => gold -= i128::from(*delta),
            Event::ItemGained { item, .. } => {
                items.remove(&item.uid);
            }
            Event::ItemLost { item, .. } => {
                items.insert(item.uid, *item);
            }
            _ => {}
        }
    }
    (u64::try_from(gold).unwrap_or_default(), items)
}

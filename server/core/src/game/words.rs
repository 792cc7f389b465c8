//! The game's words of the protocol as the state keeps them: as bytes, and in digests. What they mean is said where
//! they are defined.

use everhold_protocol::{Event, GoldCause, Heading, Item, ItemCause};

use crate::zone::field::{Corrupt, Field, fields, tagged};
use crate::zone::hasher::StateHasher;

fields! { Item { uid, kind } }

impl Field for Heading {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.dx() as u8, self.dy() as u8]);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        let [dx, dy] = <[u8; 2]>::get(input)?;
        Self::new(dx as i8, dy as i8).map_err(|_| Corrupt)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(u64::from(u16::from_le_bytes([self.dx() as u8, self.dy() as u8])));
    }
}

type Reason = everhold_protocol::event::RejectReason;

tagged! {
    GoldCause { 0 Start, 1 Loot, 2 GiftFrom(who), 3 GiftTo(who) }
    ItemCause { 0 Start, 1 PickedUp, 2 GiftFrom(who), 3 GiftTo(who) }
    Reason {
        0 NoTarget, 1 TooFar, 2 Cooldown, 3 Dead, 4 NotEnoughGold, 5 NotYours, 6 Full, 7 Contested, 8 Quarantined,
        9 Invalid,
    }
    Event {
        0 Gold { total, delta, cause },
        1 ItemGained { item, cause },
        2 ItemLost { item, cause },
        3 Chat { from, text },
        4 Kill { victim },
        5 Death { by },
        6 Respawn,
        7 Rejected { seq, reason },
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::{EntityId, SeqEvent, Tick};

    use super::*;

    fn bytes<T: Field>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }

    fn events() -> Vec<Event> {
        let (who, item) = (
            EntityId(1 << 52),
            Item {
                uid: EntityId(u64::MAX),
                kind: u16::MAX,
            },
        );
        vec![
            Event::Gold {
                total: u64::MAX,
                delta: i64::MIN,
                cause: GoldCause::GiftTo(who),
            },
            Event::ItemGained {
                item,
                cause: ItemCause::PickedUp,
            },
            Event::ItemLost {
                item,
                cause: ItemCause::GiftFrom(who),
            },
            Event::Chat {
                from: who,
                text: "grüß dich".into(),
            },
            Event::Kill { victim: who },
            Event::Death { by: who },
            Event::Respawn,
            Event::Rejected {
                seq: u64::MAX,
                reason: Reason::Quarantined,
            },
        ]
    }

    #[test]
    fn every_event_comes_back() {
        for event in events() {
            let event = SeqEvent {
                seq: 7,
                tick: Tick::MAX,
                event,
            };
            let bytes = bytes(&event);
            let mut input = &bytes[..];
            assert_eq!((SeqEvent::get(&mut input), input), (Ok(event), &[][..]));
        }
    }

    #[test]
    fn heading_beyond_full_speed_is_corrupt() {
        assert_eq!(Heading::get(&mut &[127, 127][..]), Err(Corrupt));
        let heading = Heading::new(-3, 90).unwrap();
        assert_eq!(Heading::get(&mut &bytes(&heading)[..]), Ok(heading));
    }
}

//! The settlement of a world's rules: whether a shard that starts may put its own on record as those that the world is
//! to run. It asks no store and no authority itself.

use everhold_protocol::{Epoch, ZoneName};

use super::authority::LeaseView;
use super::contender::StoreData;
use super::owner_mark::RulesTag;
use super::rules_stamp::{RulesId, RulesStamp};

/// A zone as authority and store show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneAtRest {
    /// The zone.
    pub zone: ZoneName,
    /// Its state.
    pub state: RestState,
}

/// A zone's state, as far as other rules are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestState {
    /// It was never begun, or the store has nothing of it.
    Nothing,
    /// No shard has it, and its data ends at a seal of these rules.
    Sealed(RulesStamp),
    /// A shard has it, or may have it, under the rules of this mark, if they are known.
    Owned(Option<RulesTag>),
    /// No shard has it, and it must be replayed under the rules that it ran: those of this mark, if they are known.
    Unsealed(Option<RulesTag>),
}

impl ZoneAtRest {
    /// Takes a zone's lease, and what the store has of it: the newest data, and the rules of its seal. `None`: nothing.
    #[must_use]
    pub fn new(view: &LeaseView, stored: Option<(StoreData, Option<RulesStamp>)>) -> Self {
        let is_owned = !view.released && view.epoch != Epoch::NONE;
        let ran = view.mark.map(|mark| mark.rules);
        let state = match stored {
            _ if is_owned => RestState::Owned(ran),
            Some((_, Some(rules))) => RestState::Sealed(rules),
            None | Some((StoreData::Nothing, None)) => RestState::Nothing,
            Some((_, None)) => RestState::Unsealed(ran),
        };
        let zone = view.zone.clone();
        Self { zone, state }
    }

    /// A zone of which it is not known who has it.
    #[must_use]
    pub const fn unknown(zone: ZoneName) -> Self {
        Self {
            zone,
            state: RestState::Owned(None),
        }
    }
}

/// The outcome of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The rules are on record already.
    Wanted,
    /// They are to be put on record.
    Want,
    /// The record stays as it is: this zone ran other rules, and goes on under them, or cannot be taken over by these.
    Leave(ZoneName),
}

/// Decides whether a shard of the rules `ours`, which starts, may change what is on record.
///
/// If others are wanted, every zone must be sealed, and none may have an owner: then no shard lives that would go on
/// with them. If none are on record, as in a new world, no zone may run others.
#[must_use]
pub fn settle(ours: &RulesStamp, wanted: Option<RulesId>, zones: &[ZoneAtRest]) -> Settlement {
    if wanted == Some(ours.id) {
        return Settlement::Wanted;
    }
    let tag = RulesTag::new(&ours.id);
    let hinders = |zone: &&ZoneAtRest| match &zone.state {
        RestState::Nothing => false,
        RestState::Sealed(rules) => ours.can_run(rules).is_err(),
        RestState::Owned(theirs) | RestState::Unsealed(theirs) => wanted.is_some() || *theirs != Some(tag),
    };
    match zones.iter().find(hinders) {
        Some(zone) => Settlement::Leave(zone.zone.clone()),
        None => Settlement::Want,
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Tick;

    use super::*;
    use crate::limits::STATE_LAYOUT;
    use crate::ownership::{DataStamp, Nonce, OwnerMark};

    const fn stamp(id: u8, code: u32) -> RulesStamp {
        RulesStamp {
            id: [id; 32],
            code,
            layout: STATE_LAYOUT,
        }
    }

    const DATA: DataStamp = DataStamp {
        epoch: Epoch(2),
        tick: Tick(9),
    };

    fn zone(is_released: bool, ran: Option<u8>, stored: Option<(StoreData, Option<RulesStamp>)>) -> ZoneAtRest {
        let view = LeaseView {
            zone: "meadow".parse().unwrap(),
            epoch: Epoch(2),
            nonce: Nonce(7),
            beat: 1,
            released: is_released,
            addr: ([127, 0, 0, 1], 1).into(),
            players: 0,
            ttl: std::time::Duration::from_secs(4),
            mark: ran.map(|id| OwnerMark {
                data: DATA,
                rules: RulesTag::new(&[id; 32]),
            }),
        };
        ZoneAtRest::new(&view, stored)
    }

    fn sealed(id: u8, code: u32) -> ZoneAtRest {
        zone(true, Some(id), Some((StoreData::Newest(DATA), Some(stamp(id, code)))))
    }

    fn killed(id: u8) -> ZoneAtRest {
        zone(true, Some(id), Some((StoreData::Newest(DATA), None)))
    }

    #[test]
    fn rules_change_only_in_a_world_at_rest() {
        let unbegun = zone(true, None, Some((StoreData::Nothing, None)));
        let owned = zone(false, Some(2), Some((StoreData::Newest(DATA), Some(stamp(2, 5)))));
        let ours = zone(false, Some(1), Some((StoreData::Newest(DATA), None)));
        let lost = zone(true, Some(2), None);
        let (leave, other) = (Settlement::Leave("meadow".parse().unwrap()), Some([2; 32]));
        let table = [
            (Some([1; 32]), vec![owned.clone(), killed(2)], Settlement::Wanted),
            (other, vec![], Settlement::Want),
            (other, vec![sealed(2, 5), unbegun.clone(), lost], Settlement::Want),
            (other, vec![sealed(2, 4)], Settlement::Want),
            (other, vec![sealed(2, 5), owned.clone()], leave.clone()),
            (other, vec![killed(2), sealed(2, 5)], leave.clone()),
            (other, vec![killed(1)], leave.clone()),
            (other, vec![sealed(2, 6)], leave.clone()),
            (
                other,
                vec![ZoneAtRest::unknown("meadow".parse().unwrap())],
                leave.clone(),
            ),
            (None, vec![unbegun], Settlement::Want),
            (None, vec![ours, killed(1), sealed(2, 5)], Settlement::Want),
            (None, vec![owned], leave.clone()),
            (None, vec![killed(2)], leave),
        ];
        for (wanted, zones, expected) in table {
            assert_eq!(settle(&stamp(1, 5), wanted, &zones), expected, "{wanted:?}, {zones:?}");
        }
    }
}

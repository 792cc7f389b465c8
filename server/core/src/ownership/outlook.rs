//! The outlook of a zone under rules that an operator may have put on record: whether and how shards of these take it
//! over. It asks no store itself.

use std::fmt;

use super::owner_mark::RulesTag;
use super::rules_stamp::{RulesRefusal, RulesStamp};
use super::settlement::RestState;

/// The future of a zone under rules that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It runs them already.
    Same,
    /// It was never begun; a shard of these rules begins it.
    New,
    /// It is sealed; a shard of these rules takes it over.
    TakenOver,
    /// It has an owner of other rules, and is taken over when that has stopped it.
    AfterItsStop,
    /// It was left by an owner of other rules that did not stop it. The store has their world file: a shard of these
    /// rules replays it under those, seals it, and takes it over.
    MadeUpFor,
    /// It was left by an owner of other rules that did not stop it, and their world file is not kept, or is another
    /// build's: a shard of those must go on with it first.
    Unsealed,
    /// These rules cannot take it over.
    Refused(RulesRefusal),
    /// These rules have no such zone.
    Gone,
}

impl Outlook {
    /// Returns the outlook of a zone in this state. `has_zone`: the rules have it; `kept`: the rules of the world files
    /// that the store has kept.
    #[must_use]
    pub fn of(ours: &RulesStamp, state: RestState, has_zone: bool, kept: &[RulesStamp]) -> Self {
        let tag = RulesTag::new(&ours.id);
        let is_replayable = |theirs: RulesTag| {
            let mut kept = kept.iter().filter(|kept| RulesTag::new(&kept.id) == theirs);
            kept.any(|kept| ours.can_replay(kept).is_ok())
        };
        match state {
            _ if !has_zone => Self::Gone,
            RestState::Nothing => Self::New,
            RestState::Sealed(theirs) if theirs.id == ours.id => Self::Same,
            RestState::Sealed(theirs) => ours.can_run(&theirs).map_or_else(Self::Refused, |()| Self::TakenOver),
            RestState::Owned(theirs) | RestState::Unsealed(theirs) if theirs == Some(tag) => Self::Same,
            RestState::Owned(_) => Self::AfterItsStop,
            RestState::Unsealed(Some(theirs)) if is_replayable(theirs) => Self::MadeUpFor,
            RestState::Unsealed(_) => Self::Unsealed,
        }
    }

    /// Whether shards of these rules cannot go on with the zone unless somebody does something first.
    #[must_use]
    pub const fn needs_help(self) -> bool {
        matches!(self, Self::Unsealed | Self::Refused(_))
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("runs these rules already"),
            Self::New => f.write_str("is begun by a shard of this file"),
            Self::TakenOver => f.write_str("is sealed, and is taken over by a shard of this file"),
            Self::AfterItsStop => f.write_str("is taken over when its shard has stopped in good order"),
            Self::MadeUpFor => f.write_str(
                "was not stopped in good order: a shard of this file replays it under the file that it ran, and takes \
                 it over",
            ),
            Self::Unsealed => f.write_str(
                "was not stopped in good order: start a shard of the file that it ran, and stop that one; then it is \
                 taken over",
            ),
            Self::Refused(why) => write!(f, "cannot be taken over: {why}"),
            Self::Gone => {
                f.write_str("is not in this file: its data and its players stay in the store, and none can enter")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STATE_LAYOUT;

    #[test]
    fn zone_is_taken_over_from_its_seal_or_after_a_replay_under_its_kept_file() {
        let stamp = |id, code| RulesStamp {
            id: [id; 32],
            code,
            layout: STATE_LAYOUT,
        };
        let tag = |id| Some(RulesTag::new(&[id; 32]));
        let later = RulesRefusal::LaterCode { theirs: 6, ours: 5 };
        let table = [
            (RestState::Nothing, Outlook::New, false),
            (RestState::Sealed(stamp(1, 5)), Outlook::Same, false),
            (RestState::Sealed(stamp(2, 5)), Outlook::TakenOver, false),
            (RestState::Sealed(stamp(2, 4)), Outlook::TakenOver, false),
            (RestState::Sealed(stamp(2, 6)), Outlook::Refused(later), true),
            (RestState::Owned(tag(1)), Outlook::Same, false),
            (RestState::Owned(tag(2)), Outlook::AfterItsStop, false),
            (RestState::Owned(None), Outlook::AfterItsStop, false),
            (RestState::Unsealed(tag(1)), Outlook::Same, false),
            (RestState::Unsealed(tag(2)), Outlook::MadeUpFor, false),
            (RestState::Unsealed(tag(3)), Outlook::Unsealed, true),
            (RestState::Unsealed(tag(4)), Outlook::Unsealed, true),
            (RestState::Unsealed(None), Outlook::Unsealed, true),
        ];
        for (state, expected, needs_help) in table {
            let kept = [stamp(2, 5), stamp(3, 4)];
            let outlook = Outlook::of(&stamp(1, 5), state, true, &kept);
            assert_eq!((outlook, outlook.needs_help()), (expected, needs_help), "{state:?}");
            assert_eq!(Outlook::of(&stamp(1, 5), state, false, &kept), Outlook::Gone);
        }
    }
}

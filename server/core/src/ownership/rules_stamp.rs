//! The rules that a zone runs, as those know them who must say whether they can run it; and who may take a zone over
//! from other rules. It holds no rules.
//!
//! A world is to run the rules that its store has on record, the *wanted* ones. Shards of other rules live beside those
//! that have them, as in a rolling restart; what each may do depends on the record alone, and not on who starts last:
//!
//! | a zone | a shard of the wanted rules | any other shard |
//! |---|---|---|
//! | that runs the shard's own rules | adopts it | adopts it |
//! | that is sealed under other rules | takes it over | leaves it alone |
//! | that ran other rules of the same build, and is not sealed | seals it under those | leaves it alone |
//! | that was never begun | begins it | leaves it alone |
//!
//! So a zone goes from other rules to the wanted ones and never back, however many shards of either kind start and
//! stop, and in whichever order: two kinds of shard cannot pass a zone to and fro. A zone that still runs other rules
//! has all shards of those to go on with until its stop. If its owner dies instead, a shard of the wanted rules replays
//! it under the world file that the store has kept of those, and makes up for the stop. The record itself changes by an
//! operator's word, or, when every zone is sealed and none has an owner, by the first shard that starts: then no shard
//! lives that could disagree.

use super::state_layout::{reads_layout, state_layout};
use crate::limits::STATE_LAYOUT_MIN;

/// The id of rules: the hash of everything that decides what a record does to a zone.
pub type RulesId = [u8; 32];

/// The rules of a zone: their id, and what of a build they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RulesStamp {
    /// The id, of which code, layout, and all numbers are a part.
    pub id: RulesId,
    /// The version of the rules' code. A later one has a higher number.
    pub code: u32,
    /// The layout of the state, as captures name it.
    pub layout: u16,
}

/// The reason why a zone may not go on, or begin, under a process's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesRefusal {
    /// The world is to run other rules.
    #[error(
        "the world is to run other rules than this process has: `everhold rules plan` shows them, and `everhold rules \
         apply` has these taken over"
    )]
    Unwanted,
    /// The zone was sealed by a later version of the rules' code.
    #[error(
        "the zone was sealed by rules of code {theirs}, and this build has the earlier {ours}: start the later build"
    )]
    LaterCode {
        /// The version that sealed it.
        theirs: u32,
        /// The version of this process.
        ours: u32,
    },
    /// The zone was sealed in a layout that this build does not read.
    #[error(
        "the zone was sealed in layout {0}, and this build reads {STATE_LAYOUT_MIN} to {known}: start the build that \
         sealed it, or a later one", known = state_layout()
    )]
    Layout(u16),
    /// The zone was not sealed, and another build's rules are needed to replay it.
    #[error(
        "the zone was not stopped in good order by a build of rules code {code} and layout {layout}: start a shard of \
         that build, stop it in good order (SIGTERM), and start this one again"
    )]
    OtherBuild {
        /// The version of the rules' code that the zone ran.
        code: u32,
        /// Its layout of state.
        layout: u16,
    },
}

impl RulesStamp {
    /// Decides whether a process of these rules may take over a zone that is sealed under `theirs`, while the store has
    /// `wanted` on record. An earlier build never takes over what a later one sealed: it may lack what that wrote.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_take_over(&self, theirs: &Self, wanted: Option<RulesId>) -> Result<(), RulesRefusal> {
        if theirs.id == self.id {
            return Ok(());
        }
        if wanted != Some(self.id) {
            return Err(RulesRefusal::Unwanted);
        }
        self.can_run(theirs)
    }

    /// Decides whether a process of these rules may make up for the stop of a zone that ran `theirs` and was not
    /// sealed, while the store has `wanted` on record: it replays the zone under them, from the kept world file, and
    /// seals it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_make_up_for_stop(&self, theirs: &Self, wanted: Option<RulesId>) -> Result<(), RulesRefusal> {
        if theirs.id == self.id {
            return Ok(());
        }
        if wanted != Some(self.id) {
            return Err(RulesRefusal::Unwanted);
        }
        self.can_replay(theirs)
    }

    /// Checks that this build replays the records of `theirs` to the very same state, given the numbers.
    ///
    /// # Errors
    /// They are another build's.
    pub const fn can_replay(&self, theirs: &Self) -> Result<(), RulesRefusal> {
        if theirs.code == self.code && theirs.layout == self.layout {
            return Ok(());
        }
        let (code, layout) = (theirs.code, theirs.layout);
        Err(RulesRefusal::OtherBuild { code, layout })
    }

    /// Decides whether a process of these rules may begin a zone, while the store has `wanted` on record. A world
    /// without a record is from before there was one, or lost it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_begin(&self, wanted: Option<RulesId>) -> Result<(), RulesRefusal> {
        if wanted.is_none_or(|wanted| wanted == self.id) {
            Ok(())
        } else {
            Err(RulesRefusal::Unwanted)
        }
    }

    /// Checks that this build can read and run on a state that was sealed under `theirs`.
    ///
    /// # Errors
    /// The reason why not.
    pub fn can_run(&self, theirs: &Self) -> Result<(), RulesRefusal> {
        if theirs.code > self.code {
            return Err(RulesRefusal::LaterCode {
                theirs: theirs.code,
                ours: self.code,
            });
        }
        if !reads_layout(theirs.layout) {
            return Err(RulesRefusal::Layout(theirs.layout));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STATE_LAYOUT;

    const fn stamp(id: u8, code: u32, layout: u16) -> RulesStamp {
        RulesStamp {
            id: [id; 32],
            code,
            layout,
        }
    }

    #[test]
    fn sealed_zone_goes_to_the_wanted_rules_and_never_back() {
        let ours = stamp(1, 5, STATE_LAYOUT);
        let (unwanted, none) = (Some([2; 32]), None);
        let later = RulesRefusal::LaterCode { theirs: 6, ours: 5 };
        let table = [
            (stamp(1, 5, STATE_LAYOUT), none, Ok(())),
            (stamp(1, 5, STATE_LAYOUT), unwanted, Ok(())),
            (stamp(2, 5, STATE_LAYOUT), Some([1; 32]), Ok(())),
            (stamp(2, 4, STATE_LAYOUT_MIN), Some([1; 32]), Ok(())),
            (stamp(2, 5, STATE_LAYOUT), unwanted, Err(RulesRefusal::Unwanted)),
            (stamp(2, 5, STATE_LAYOUT), none, Err(RulesRefusal::Unwanted)),
            (stamp(2, 6, STATE_LAYOUT), Some([1; 32]), Err(later)),
            (
                stamp(2, 5, STATE_LAYOUT + 1),
                Some([1; 32]),
                Err(RulesRefusal::Layout(STATE_LAYOUT + 1)),
            ),
            (
                stamp(2, 5, STATE_LAYOUT_MIN - 1),
                Some([1; 32]),
                Err(RulesRefusal::Layout(STATE_LAYOUT_MIN - 1)),
            ),
        ];
        for (theirs, wanted, expected) in table {
            assert_eq!(ours.may_take_over(&theirs, wanted), expected, "{theirs:?}, {wanted:?}");
        }
    }

    #[test]
    fn zone_that_was_not_sealed_is_made_up_for_by_the_wanted_rules_of_the_same_build_only() {
        let ours = stamp(1, 5, STATE_LAYOUT);
        let other_build = |code, layout| Err(RulesRefusal::OtherBuild { code, layout });
        let table = [
            (stamp(1, 5, STATE_LAYOUT), Some([2; 32]), Ok(())),
            (stamp(2, 5, STATE_LAYOUT), Some([1; 32]), Ok(())),
            (stamp(2, 5, STATE_LAYOUT), Some([2; 32]), Err(RulesRefusal::Unwanted)),
            (stamp(2, 5, STATE_LAYOUT), None, Err(RulesRefusal::Unwanted)),
            (stamp(2, 4, STATE_LAYOUT), Some([1; 32]), other_build(4, STATE_LAYOUT)),
            (stamp(2, 6, STATE_LAYOUT), Some([1; 32]), other_build(6, STATE_LAYOUT)),
            (
                stamp(2, 5, STATE_LAYOUT + 1),
                Some([1; 32]),
                other_build(5, STATE_LAYOUT + 1),
            ),
        ];
        for (theirs, wanted, expected) in table {
            assert_eq!(
                ours.may_make_up_for_stop(&theirs, wanted),
                expected,
                "{theirs:?}, {wanted:?}"
            );
        }
    }

    #[test]
    fn new_zone_is_begun_by_the_wanted_rules_only() {
        let ours = stamp(1, 5, STATE_LAYOUT);
        assert_eq!(ours.may_begin(None), Ok(()));
        assert_eq!(ours.may_begin(Some([1; 32])), Ok(()));
        assert_eq!(ours.may_begin(Some([2; 32])), Err(RulesRefusal::Unwanted));
    }

    #[test]
    fn no_two_kinds_of_shard_may_take_a_zone_from_each_other_whatever_is_wanted() {
        let (a, b) = (stamp(1, 5, STATE_LAYOUT), stamp(2, 5, STATE_LAYOUT));
        for wanted in [None, Some([1; 32]), Some([2; 32]), Some([3; 32])] {
            let both = a.may_take_over(&b, wanted).is_ok() && b.may_take_over(&a, wanted).is_ok();
            assert!(!both, "{wanted:?}");
            let both = a.may_make_up_for_stop(&b, wanted).is_ok() && b.may_make_up_for_stop(&a, wanted).is_ok();
            assert!(!both, "not sealed, {wanted:?}");
        }
    }
}

//! The part of an adoption that goes on with a zone which ran other rules and was not sealed: it is replayed under the
//! world file that the store has kept of them. Such a zone is hosted under those rules only to be stopped, which seals
//! it; the next adoption takes it over from the seal. No rules are built here: the driver does that.

use std::time::Instant;

use super::{AdoptError, Adoption, AdoptionNotice, AdoptionStep};
use crate::durability::recovery::Recovery;
use crate::durability::replay::ReplayError;
use crate::durability::store::StoreError;
use crate::ownership::{RulesId, RulesStamp};

/// The word of store and driver on the rules that a zone ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The rules that the world is to run, if any are on record.
    pub wanted: Option<RulesId>,
    /// The rules of the kept world file, as it says itself. `None`: none is kept.
    pub says: Option<RulesStamp>,
    /// Whether the driver has built those very rules from the file: a damaged one gives others, or none.
    pub is_built: bool,
}

/// The progress of an adoption with the rules that its zone ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptRules {
    /// They are this process's, as far as is known.
    NotAsked,
    /// They are others, and no replay runs under them.
    Refused,
    /// They are others, and replays run under them.
    Used,
}

impl Adoption {
    /// Whether replays are to run under the rules of the file that was read with
    /// [`AdoptionCommand::ReadKept`](super::AdoptionCommand::ReadKept), and not under this process's.
    #[must_use]
    pub const fn runs_kept_rules(&self) -> bool {
        matches!(self.kept, KeptRules::Used)
    }

    /// Takes why a replay failed, other than at an input: asks for the rules that the zone ran, if it ran others, or
    /// tries other stored data.
    pub(super) fn handle_unreplayed(&mut self, mut recovery: Box<Recovery>, error: ReplayError) {
        let is_asked = self.rules.is_some() && self.kept == KeptRules::NotAsked && error.is_of_other_rules();
        if is_asked && let Some(id) = recovery.ran_under() {
            return self.enter(AdoptionStep::Kept(recovery, id, error));
        }
        match recovery.handle_failed(error) {
            Ok(()) => self.enter(AdoptionStep::Recover(recovery)),
            Err(error) if error.is_damage() => self.fail_damaged(error.into(), recovery.end()),
            Err(error) => self.fail(error.into()),
        }
    }

    /// Takes what there is of the rules that the zone ran, at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_kept_file(&mut self, now: Instant, answer: Result<KeptFile, StoreError>) {
        let AdoptionStep::Kept(recovery, id, error) = self.take_step() else {
            panic!("a world file that was not asked for")
        };
        self.note_answer(&answer);
        let ours = self.rules.expect("without rules none are asked for");
        let file = match answer {
            Ok(file) => file,
            Err(answer) => return self.ask_again(now, AdoptionStep::Kept(recovery, id, error), answer),
        };
        self.kept = KeptRules::Refused;
        let Some(theirs) = file.says else {
            // No rules have this id, or none that are known: it may be damage as well.
            return self.handle_unreplayed(recovery, error);
        };
        match ours.may_make_up_for_stop(&theirs, file.wanted) {
            Ok(()) if file.is_built => {
                self.kept = KeptRules::Used;
                self.log(AdoptionNotice::UnderKeptRules(theirs.id));
                self.enter(AdoptionStep::Recover(recovery));
            }
            Ok(()) => self.fail(AdoptError::KeptFile),
            Err(refusal) => self.fail(AdoptError::OtherRules(refusal)),
        }
    }
}

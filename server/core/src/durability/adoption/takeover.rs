//! The part of an adoption that asks under which rules its zone may go on. What the state becomes under others, the
//! game says; which rules the world is to run, the store has on record.

use std::time::Instant;

use super::archived::{Bereft, is_new};
use super::{AdoptError, Adoption, AdoptionStep};
use crate::durability::recovery::Recovery;
use crate::durability::store::{StoreError, ZoneOutline};
use crate::ownership::{RulesId, RulesStamp};

impl Adoption {
    /// Takes the rules of this process. A zone that is new, or is sealed under others, is adopted only if the world is
    /// to run these. Without them it is adopted whatever the world is to run, and never under others than it ran.
    #[must_use]
    pub const fn under(mut self, rules: RulesStamp) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Goes on with what the outline says, once it is known which rules are wanted if that matters.
    pub(super) fn begin_recovery(&mut self, outline: ZoneOutline) {
        let is_new = is_new(&outline);
        let recovery = Box::new(Recovery::new(outline));
        // One that is begun again was looked for in the archive; one that is in memory here needs none.
        if !is_new || self.is_lost || self.memory.is_some() {
            return self.begin_new(recovery);
        }
        if let Err(Bereft::Empty(recovery)) = self.turn_to_archive(Bereft::Empty(recovery)) {
            self.begin_new(recovery);
        }
    }

    /// Goes on with what the store has, be it nothing.
    pub(super) fn begin_new(&mut self, recovery: Box<Recovery>) {
        let outline = recovery.outline();
        let matters = self
            .rules
            .is_some_and(|rules| is_new(outline) || outline.seal.is_some_and(|seal| seal.rules.id != rules.id));
        self.enter(if matters {
            AdoptionStep::Wanted(recovery)
        } else {
            AdoptionStep::Recover(recovery)
        });
    }

    /// Takes the rules that the world is to run, as the store has them on record at `now`.
    ///
    /// # Panics
    /// If they were not asked for.
    pub fn handle_wanted(&mut self, now: Instant, answer: Result<Option<RulesId>, StoreError>) {
        let AdoptionStep::Wanted(mut recovery) = self.take_step() else {
            panic!("rules that were not asked for")
        };
        self.note_answer(&answer);
        let ours = self.rules.expect("without rules none are asked for");
        match answer {
            Ok(wanted) => {
                let may_go_on = match recovery.outline().seal {
                    Some(seal) => ours.may_take_over(&seal.rules, wanted),
                    None => ours.may_begin(wanted),
                };
                match may_go_on {
                    Ok(()) => {
                        recovery.permit_other_rules();
                        self.enter(AdoptionStep::Recover(recovery));
                    }
                    Err(refusal) => self.fail(AdoptError::OtherRules(refusal)),
                }
            }
            Err(error) => self.ask_again(now, AdoptionStep::Wanted(recovery), error),
        }
    }
}

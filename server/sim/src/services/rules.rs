//! The rules of a simulated world, as its store has them on record: which ones are wanted, and world files. A file is
//! its rules' stamp here.

use std::collections::BTreeMap;

use everhold_core::durability::adoption::KeptFile;
use everhold_core::ownership::holder::command::{HolderAnswer, SealedZone, StoreData, UnsealedZone};
use everhold_core::ownership::{RulesId, RulesStamp, RulesTag};
use everhold_protocol::ZoneName;

use super::Services;

/// The record of a world's rules.
#[derive(Default)]
pub struct RulesRecord {
    /// The rules that the world is to run.
    pub wanted: Option<RulesId>,
    kept: BTreeMap<RulesId, RulesStamp>,
}

impl RulesRecord {
    /// Keeps the file of these rules.
    pub fn keep(&mut self, rules: RulesStamp) {
        self.kept.insert(rules.id, rules);
    }

    /// Answers which rules are wanted, and what is kept of these.
    #[must_use]
    pub fn kept_file(&self, id: RulesId) -> KeptFile {
        KeptFile {
            wanted: self.wanted,
            says: self.kept.get(&id).copied(),
            is_built: true,
        }
    }

    fn of_tag(&self, tag: RulesTag) -> Option<RulesStamp> {
        self.kept
            .values()
            .find(|rules| RulesTag::new(&rules.id) == tag)
            .copied()
    }
}

impl Services {
    /// Answers what there is of a zone that ran the rules of this tag.
    #[must_use]
    pub fn foreign(&self, zone: ZoneName, ran: RulesTag) -> HolderAnswer {
        let Some(summary) = self.store.summary(&zone) else {
            return HolderAnswer::Data(zone, StoreData::Nothing);
        };
        let (data, wanted) = (summary.data(), self.rules.wanted);
        match (summary.seal, self.rules.of_tag(ran)) {
            (Some(seal), _) => HolderAnswer::Sealed(SealedZone {
                zone,
                data,
                rules: seal.rules,
                wanted,
            }),
            (None, Some(kept)) => HolderAnswer::Unsealed(UnsealedZone {
                zone,
                data,
                kept,
                wanted,
            }),
            (None, None) => HolderAnswer::Data(zone, data),
        }
    }

    /// Whether a process of the rules `ours` may go on with a zone whose data is of these, as the record is now.
    #[must_use]
    pub fn may_go_on(&self, zone: &ZoneName, ours: RulesStamp, ran: RulesTag) -> bool {
        let seal = self.store.summary(zone).and_then(|summary| summary.seal);
        match seal {
            Some(seal) => ours.may_take_over(&seal.rules, self.rules.wanted).is_ok(),
            None => {
                let kept = self.rules.of_tag(ran);
                kept.is_some_and(|kept| ours.may_make_up_for_stop(&kept, self.rules.wanted).is_ok())
            }
        }
    }
}

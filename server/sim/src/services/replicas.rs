//! The replica of the simulated store: it follows at once, or is cut off and has what it had then. At level `replica` a
//! write that must not be lost counts only while it follows.

use everhold_core::durability::store::StoreError;
use everhold_core::ownership::Tenure;
use everhold_protocol::ZoneName;

use super::Services;
use crate::mutant::Mutant;
use crate::store::{MemoryStore, StoreDump};

/// The replica of the store.
#[derive(Debug, Default)]
pub struct StoreReplica {
    /// Whether writes wait for it.
    pub is_asked: bool,
    /// All that it has, if it is cut off, and the zones of which that was everything that was told.
    behind: Option<(StoreDump, Vec<ZoneName>)>,
    /// Whether stored bytes were ever damaged, or forged: then a loss need not come of a promotion.
    pub(super) is_damage_possible: bool,
}

impl Services {
    /// Carries out a write that must not be lost once it is answered.
    pub fn decide<T>(
        &mut self,
        tenure: &Tenure,
        write: impl FnOnce(&mut MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = self.write(tenure, write);
        self.confirmed(written)
    }

    /// Returns the answer to a write that must not be lost: it is done, and unknown, if no replica confirms it.
    pub fn confirmed<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let is_short = self.replica.is_asked && self.replica.behind.is_some();
        if answer.is_ok() && is_short && self.mutant != Some(Mutant::ReplicaUnasked) {
            let why = "no replica has confirmed it";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        answer
    }

    /// Cuts the replica off from the store.
    pub fn cut_replica_off(&mut self) {
        if self.replica.behind.is_none() {
            let held = self.books.keys().filter(|zone| self.holds_told(zone));
            self.replica.behind = Some((self.store.dump(), held.cloned().collect()));
        }
    }

    /// Has the replica follow again.
    pub fn bring_replica_back(&mut self) {
        self.replica.behind = None;
    }

    /// Has the replica take the place of the store. Returns whether something may be gone with that. What was told must
    /// not be, if writes waited for the replica.
    pub fn promote_replica(&mut self) -> bool {
        let Some((behind, held)) = self.replica.behind.take() else {
            return false;
        };
        self.store.restore_to(&behind);
        self.note_rewound();
        for zone in held {
            let is_kept = self.holds_told(&zone) || self.replica.is_damage_possible;
            if self.replica.is_asked && !is_kept {
                let tick = self.told(&zone).unwrap_or_default();
                let detail = format!("{zone}: the promoted replica has not its tick {tick}");
                self.breach("what a replica confirmed outlives a promotion", detail);
            }
        }
        true
    }
}

//! The steps of an adoption, counted by the code that takes them and read by the one that waits: whether it goes on,
//! not how long it takes, says whether it is to be given up. What a step is, is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count of steps. A clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub struct AdoptionSteps(Arc<AtomicU64>);

impl AdoptionSteps {
    /// Counts one more: an answer of the store, a tick replayed.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of steps so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

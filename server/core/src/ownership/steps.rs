//! The steps of an adoption, counted by the code that takes them and read by the one that waits: whether it goes on,
//! not how long it takes, says whether it is to be given up. What a step is, is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A count of steps. A clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub struct AdoptionSteps(Arc<SharedSteps>);

#[derive(Debug, Default)]
struct SharedSteps {
    count: AtomicU64,
    is_waiting: AtomicBool,
}

impl AdoptionSteps {
    /// Counts one more: an answer of the store, a tick replayed.
    pub fn note(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of steps so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Says that the adoption waits for something that other zones need not wait for, and computes nothing meanwhile.
    pub fn note_waiting(&self) {
        self.0.is_waiting.store(true, Ordering::Relaxed);
    }

    /// Says that it goes on.
    pub fn note_going_on(&self) {
        self.0.is_waiting.store(false, Ordering::Relaxed);
    }

    /// Whether it waits: then it is no reason to adopt no other zone.
    #[must_use]
    pub fn are_waiting(&self) -> bool {
        self.0.is_waiting.load(Ordering::Relaxed)
    }
}

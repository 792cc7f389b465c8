//! Explores a model, and says what was found. It knows of no model in particular.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::{Checker, HasDiscoveries, Model};

/// The outcome of an exploration.
#[derive(Debug)]
pub struct Explored {
    /// States that differ.
    pub unique: usize,
    /// States that were reached, each as often as it was.
    pub reached: usize,
    /// The length of the longest of the shortest ways to a state.
    pub depth: usize,
    /// The properties of which an example was found, or a counter-example, each with the shortest way to it.
    pub found: BTreeMap<&'static str, Vec<String>>,
}

impl Explored {
    /// Describes a finding: its name, and one line for each step to it.
    #[must_use]
    pub fn story(&self, name: &str) -> String {
        let steps = self.found.get(name).into_iter().flatten();
        steps.fold(name.to_owned(), |story, step| format!("{story}\n    {step}"))
    }
}

/// Explores all of `model`, on this thread's behalf on one other, and stops early at the first counter-example.
///
/// # Panics
/// If the exploration does.
pub fn explore<M>(model: M) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(1).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries().into_iter();
    let story = |(name, path): (_, stateright::Path<M::State, M::Action>)| {
        let steps = path.into_actions();
        (name, steps.iter().map(|step| format!("{step:?}")).collect())
    };
    Explored {
        unique: checker.unique_state_count(),
        reached: checker.state_count(),
        depth: checker.max_depth(),
        found: found.map(story).collect(),
    }
}

/// Takes a step of a model whose machines have assertions of their own. `None`: one of them failed.
pub fn guarded<S>(step: impl FnOnce() -> S) -> Option<S> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// Notes which paths an exploration took at all. They are beside the states, whose number they would multiply.
#[derive(Debug, Default)]
pub struct PathsTaken(AtomicU64);

impl PathsTaken {
    /// Notes that the path of this number, below 64, was taken.
    pub fn note(&self, path: u8) {
        self.0.fetch_or(1 << path, Ordering::Relaxed);
    }

    /// Whether it was taken.
    #[must_use]
    pub fn has(&self, path: u8) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << path) != 0
    }
}

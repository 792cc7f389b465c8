//! A zone is a pure function of its inputs: same state, same inputs, same state and outputs, bit for bit.

pub mod output;
pub mod scene;

pub use output::{Outputs, Reply};
pub use scene::{Scene, SceneSession};

/// A zone's state, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

/// How much a capture takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything.
    Base,
    /// What changed since the last confirmed capture.
    Delta,
}

//! The configuration of a pipeline, and the times that its drivers share. Nothing is decided here.

use std::time::Duration;

use crate::durability::checkpoint::CheckpointConfig;
use crate::durability::gate::Durability;
use crate::durability::lag::LagConfig;

/// The configuration of a zone's pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineConfig {
    /// The level that decides how long output waits.
    pub durability: Durability,
    /// The schedule of checkpoints.
    pub checkpoints: CheckpointConfig,
    /// The bounds of their lag.
    pub lag: LagConfig,
}

impl PipelineConfig {
    /// A store operation that takes longer counts as unanswered; the same is sent again.
    pub const ANSWER_MAX: Duration = Duration::from_secs(2);

    /// A turn of the driver begins at least this often, so that lease and gate are looked after even if nothing
    /// happens.
    pub const TURN_EVERY: Duration = Duration::from_millis(20);

    /// Returns the configuration of a zone that ticks `tick_hz` times a second, with so many ticks between deltas, and
    /// at most between bases.
    #[must_use]
    pub const fn new(durability: Durability, (delta_ticks, base_ticks): (u64, u64), tick_hz: u16) -> Self {
        Self {
            durability,
            checkpoints: CheckpointConfig {
                delta_ticks,
                base_ticks,
                ..CheckpointConfig::new(tick_hz)
            },
            lag: LagConfig::new(delta_ticks, tick_hz),
        }
    }
}

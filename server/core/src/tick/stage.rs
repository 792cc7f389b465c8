//! The stages of a tick's way from the inbox to the players, as names. It measures nothing.

use serde::{Deserialize, Serialize};

/// A part of a tick's way from the inbox to the players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickStage {
    /// Before it: how late it began.
    Late,
    /// The inbox is drained.
    Drain,
    /// Its inputs are made a record.
    Freeze,
    /// The world steps.
    Step,
    /// The scene is copied out of the world.
    Scene,
    /// Each viewer's entities are chosen, and the datagrams are written.
    Snapshots,
    /// A checkpoint's copy of the world, if one is due.
    Capture,
    /// It lies there until the runtime takes it.
    Handover,
    /// The released outputs and snapshots are handed to the transport.
    Egress,
}

impl TickStage {
    /// Every stage, in order.
    pub const ALL: [Self; 9] = [
        Self::Late,
        Self::Drain,
        Self::Freeze,
        Self::Step,
        Self::Scene,
        Self::Snapshots,
        Self::Capture,
        Self::Handover,
        Self::Egress,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_at_their_place() {
        for (place, stage) in TickStage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}

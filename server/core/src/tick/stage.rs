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
    /// What is to be seen of the world is gathered.
    Scene,
    /// Who sees what, and the datagrams.
    Snapshots,
    /// A checkpoint's copy of the world, if one is due.
    Capture,
    /// It lies there until the runtime takes it.
    Handover,
    /// What is released is handed to the transport.
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

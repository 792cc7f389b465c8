//! Evidence: the history of a zone that went wrong, which its store keeps apart from the zone's data until it was
//! looked at. What is in it is not known here.

use everhold_protocol::{Epoch, Tick};
use serde::{Deserialize, Serialize};

/// The reason why a history is kept as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceWhy {
    /// The replay of the zone has another digest than its owner had.
    Divergent,
    /// The store has another history of one epoch than the owner of it had in memory.
    Forked,
}

impl EvidenceWhy {
    /// Returns its number where it is stored.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Divergent => 0,
            Self::Forked => 1,
        }
    }

    /// Returns the reason of a number, if it is one.
    #[must_use]
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Divergent),
            1 => Some(Self::Forked),
            _ => None,
        }
    }
}

impl std::fmt::Display for EvidenceWhy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Divergent => "divergent",
            Self::Forked => "forked",
        })
    }
}

/// The mark of a piece of evidence: a history file of `parts` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceMark {
    /// The epoch of the owner that keeps it.
    pub epoch: Epoch,
    /// The first tick that differs.
    pub tick: Tick,
    /// The reason.
    pub why: EvidenceWhy,
    /// Parts of the file, each of at most [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX).
    pub parts: u32,
    /// The file's length, bytes.
    pub bytes: u64,
}

/// The evidence that a store keeps of a zone: the first piece, and the number of those that came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredEvidence {
    /// The piece that is kept.
    pub mark: EvidenceMark,
    /// Whether it was exported whole.
    pub is_exported: bool,
    /// Times that another owner found the zone wrong while this piece was kept.
    pub later: u64,
}

/// The answer to a piece of evidence that was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceAnswer {
    /// It is kept.
    Kept,
    /// An earlier piece is kept already; this one is counted.
    Counted,
}

/// The outcome of keeping a piece of evidence, as a shard reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceOutcome {
    /// It is kept.
    Kept,
    /// An earlier piece is kept already; this one is counted.
    Counted,
    /// It could not be written.
    GivenUp,
    /// It could not be written before the zone had to go on.
    OverTime,
}

/// The fate of a zone's evidence, once an operator has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceFate {
    /// It stays, and is known to have been exported.
    Exported,
    /// It is deleted: the next piece is kept again.
    Forgotten,
}

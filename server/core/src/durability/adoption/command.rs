//! The commands of an adoption to its driver, and its possible outcomes. Nothing is decided here but what an error
//! means for another try.

use std::time::Duration;

use everhold_protocol::{Epoch, SessionId, Tick};

use crate::durability::archive::{ArchiveError, CommitMark};
use crate::durability::evidence::EvidenceOutcome;
use crate::durability::journal::Journal;
use crate::durability::keeping::{KeepCommand, KeepOutcome};
use crate::durability::pending_moves::PendingMoves;
use crate::durability::recovery::Damage;
use crate::durability::replay::ReplayError;
use crate::durability::store::{CheckpointHead, PartKey, Rewind, StoreError, ZoneData};
use crate::durability::suspended::SuspendedZone;
use crate::ownership::{AdoptionFailure, DataStamp, Grant, RulesId, RulesRefusal};
use crate::zone::Zone;

/// So many inputs of one journal may fail in its replay. More are no accident, and no use in skipping.
pub const POISON_MAX: u32 = 8;

/// A command to the driver of an adoption, to be carried out before the next is asked for. Store operations are made
/// under the grant, each with [`ANSWER_MAX`](super::ANSWER_MAX) for its answer.
pub enum AdoptionCommand {
    /// Ask for the zone's summary; answer with [`Adoption::handle_summary`](super::Adoption::handle_summary).
    Summarize,
    /// Fence the zone; answer with [`Adoption::handle_fenced`](super::Adoption::handle_fenced).
    Fence,
    /// Fence the zone, then read its outline; answer with [`Adoption::handle_read`](super::Adoption::handle_read).
    FenceAndRead,
    /// Make the zone's data set anew, with nothing in it, then read its outline; answer with
    /// [`Adoption::handle_read`](super::Adoption::handle_read).
    BeginAnew,
    /// Fence the zone in the archive, then read what that has of it; answer with
    /// [`Adoption::handle_archived`](super::Adoption::handle_archived).
    FenceArchive,
    /// Read this part of the blob of this commit; answer with
    /// [`Adoption::handle_blob_part`](super::Adoption::handle_blob_part).
    ReadBlobPart(CommitMark, u32),
    /// Read which rules the world is to run; answer with
    /// [`Adoption::handle_wanted`](super::Adoption::handle_wanted).
    ReadWanted,
    /// Read which rules the world is to run, and the kept world file of these rules, and build them; answer with
    /// [`Adoption::handle_kept_file`](super::Adoption::handle_kept_file). Replays run under them from then on if
    /// [`Adoption::runs_kept_rules`](super::Adoption::runs_kept_rules) says so.
    ReadKept(RulesId),
    /// Read these parts; answer with [`Adoption::handle_parts`](super::Adoption::handle_parts).
    ReadParts(Vec<PartKey>),
    /// Read the records of so many ticks from this one on; answer with
    /// [`Adoption::handle_records`](super::Adoption::handle_records).
    ReadRecords(Tick, u32),
    /// [`plan`](crate::durability::plan) and [`replay`](crate::durability::replay()) this, on a thread of its own, its
    /// steps counted by [`Adoption::steps`](super::Adoption::steps); answer with
    /// [`Adoption::handle_replayed`](super::Adoption::handle_replayed) or
    /// [`Adoption::handle_replay_lost`](super::Adoption::handle_replay_lost).
    Replay(ZoneData),
    /// Quarantine the input of this tick, by its session and number; answer with
    /// [`Adoption::handle_quarantined`](super::Adoption::handle_quarantined).
    Quarantine(Tick, SessionId, u64),
    /// Keep evidence of a divergent zone, and wait so long for the answer; answer with
    /// [`Adoption::handle_kept`](super::Adoption::handle_kept).
    Keep(KeepCommand, Duration),
    /// End the stored history here; answer with [`Adoption::handle_rewound`](super::Adoption::handle_rewound).
    Rewind(Rewind),
    /// Log this.
    Log(AdoptionNotice),
    /// Drop what this process has of the zone in memory: another owner has written newer data, which is whole.
    DropMemory,
    /// Start hosting the zone from the store. It is the last command.
    Start(Box<Start>, History),
    /// Start hosting the zone from what this process has in memory, as [`Start::from_memory`] has it. It is the last
    /// command.
    StartFromMemory(FromMemory),
    /// Give the zone up. It is the last command. What this process has in memory of it is suspended as before.
    Fail(AdoptError),
}

/// A line of the log about an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptionNotice {
    /// The store does not answer, for this reason, and is asked again.
    Unanswered(String),
    /// The store has lost the zone, and is asked again for a while.
    Lost,
    /// The zone begins again: it is not in the store, and no shard has it in memory.
    BeginsAgain,
    /// The replay fails at an input, which is to be quarantined.
    Poison {
        /// The tick that failed.
        tick: Tick,
        /// The session that sent the input.
        session: SessionId,
        /// The input's number.
        seq: u64,
        /// The panic's text.
        reason: String,
    },
    /// Stored data is damaged, and the zone goes on from what is whole.
    Damaged {
        /// The first defect.
        what: String,
        /// Checkpoints that were given up, from the newest on.
        given_up: u32,
        /// The last tick of the history that is left.
        last: Tick,
        /// Ticks that the store knew of and that are lost.
        lost_ticks: u64,
    },
    /// The store has lost what it acknowledged, without a trace: it went back, or a replica that lagged took over.
    GoneBack {
        /// The last tick of the history that is left.
        last: Tick,
        /// The last tick that an earlier owner is known to have had acknowledged. There may have been more.
        promised: Tick,
    },
    /// Stored data that is newer than memory is damaged, and the zone goes on from memory.
    DamagedBeyondMemory {
        /// The first defect.
        what: String,
        /// The last tick in memory.
        last: Tick,
        /// Ticks that the store knew of and that are lost.
        lost_ticks: u64,
    },
    /// The store has nothing whole, for this reason, and the archive is asked.
    AsksArchive(&'static str),
    /// An alarm: the archive does not answer, for this reason, and the zone waits for it.
    ArchiveUnanswered(String),
    /// The zone goes on from the archive.
    FromArchive(Restored),
    /// The zone ran these rules and was not sealed: it is replayed under them, from the kept world file.
    UnderKeptRules(RulesId),
    /// After this tick the replayed zone is not the one that was recorded.
    Divergent(Tick),
    /// The evidence of that is kept, or is not.
    Evidence(KeepOutcome),
}

/// The state from which a zone is hosted.
pub struct Start {
    /// The zone, after its last tick.
    pub zone: Zone,
    /// Its journal under the new grant.
    pub journal: Journal,
    /// The checkpoints that the store has of it. None, and the first thing written is a base.
    pub chain: Vec<CheckpointHead>,
    /// Inputs to refuse, besides those that the zone knows of.
    pub quarantine: Vec<(SessionId, u64)>,
    /// Moves of value that the archive may lack.
    pub moves: PendingMoves,
    /// Ticks that an earlier owner may have told of and this one does not have.
    pub rewound_ticks: u64,
}

/// The way in which a zone goes on from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromMemory {
    /// As the newest history that there is.
    Newest,
    /// As the newest that is left: an earlier owner had more, which the store has lost.
    Older {
        /// Ticks that the store had acknowledged and that are lost.
        lost_ticks: u64,
    },
    /// Over newer data of which nothing whole is left that is as new.
    OverDamage {
        /// Ticks that the store knew of and that are lost.
        lost_ticks: u64,
    },
}

impl FromMemory {
    /// Returns the ticks that the store knew of and that are lost.
    #[must_use]
    pub const fn lost_ticks(self) -> u64 {
        match self {
            Self::Newest => 0,
            Self::Older { lost_ticks } | Self::OverDamage { lost_ticks } => lost_ticks,
        }
    }
}

impl Start {
    /// Takes a zone up again from memory under `grant`, whose fence stands in the store.
    ///
    /// # Panics
    /// If the grant's epoch is not higher than the one that ran out.
    #[must_use]
    pub fn from_memory(memory: SuspendedZone, from: FromMemory, grant: Grant) -> Self {
        let memory = match from {
            FromMemory::Newest | FromMemory::Older { .. } => memory,
            FromMemory::OverDamage { .. } => memory.behind_a_base(),
        };
        let (zone, journal, moves) = memory.reclaimed(grant);
        Self {
            zone,
            journal,
            chain: Vec::new(),
            // The zone was stepped here to its last tick, and did not fail.
            quarantine: Vec::new(),
            moves,
            rewound_ticks: from.lost_ticks(),
        }
    }
}

/// A zone as the archive had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The end of the history that was restored: the archive's last commit with a blob that is whole.
    pub commit: DataStamp,
    /// Ticks that an earlier owner may have told of and that are lost: what it is known to have had stored, or an
    /// interval of the archive, if nothing is known.
    pub rewound_ticks: u64,
    /// Ticks between two commits. The archive had at most so many more to come, if it did not lag.
    pub interval_ticks: u64,
    /// Blobs that were given up because they are damaged.
    pub blobs_given_up: u32,
}

/// The history that an adopted zone goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// This process had the zone in memory.
    Memory(FromMemory),
    /// The archive had it, and the store did not.
    Archived(Restored),
    /// The store had it.
    Stored {
        /// The store had lost it, no shard wrote it anew within the grace, and the zone begins again at tick 0.
        is_lost: bool,
        /// Ticks replayed.
        replayed_ticks: u64,
        /// Digests compared.
        checked_digests: u64,
        /// Whether all of them were equal.
        digest_equal: bool,
        /// Ticks that the store knew of and that are lost, because their records are damaged or missing.
        rewound_ticks: u64,
        /// Checkpoints that were given up, from the newest on, because they are damaged.
        checkpoints_given_up: u32,
        /// The outcome for the evidence of a digest that was not equal.
        evidence: Option<EvidenceOutcome>,
    },
}

impl History {
    /// Whether a process that is stopping hosts the zone all the same, for its last tick: what it has in memory may be
    /// all there is. What the store has the next owner finds there.
    #[must_use]
    pub const fn is_sealed_by_stop(self) -> bool {
        matches!(self, Self::Memory(_))
    }
}

/// The reason why a zone was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored data cannot be restored or replayed.
    #[error(transparent)]
    Unreplayable(#[from] ReplayError),
    /// The stored data is damaged, and nothing whole is left of it.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The archive does not answer, and what the store does not have may be there.
    #[error("the archive does not answer, and the zone may be there: {0}")]
    ArchiveAway(String),
    /// The archive has seen this epoch, and the grant is not above it.
    #[error("the archive has seen epoch {0}: the zone is claimed above it")]
    ArchiveAhead(Epoch),
    /// The archive cannot be read.
    #[error("the archive: {0}")]
    Archive(ArchiveError),
    /// The zone may not go on, or begin, under the rules of this process.
    #[error(transparent)]
    OtherRules(#[from] RulesRefusal),
    /// The world file that the store kept of the rules that the zone ran does not give those rules.
    #[error("the world file that the store kept of the rules that the zone ran is damaged")]
    KeptFile,
    /// One stored input after the other fails here.
    #[error("the replay fails at {POISON_MAX} inputs, one after the other")]
    PoisonedTooOften,
    /// The lease ran out, or was given up.
    #[error("the lease was over before the zone was adopted")]
    LeaseOver,
    /// The replay's thread is gone.
    #[error("the replay did not end")]
    Unfinished(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AdoptError {
    /// Names what failed, for the table of what becomes of the zone's lease.
    #[must_use]
    pub const fn failure(&self) -> AdoptionFailure {
        match self {
            Self::Unreplayable(error) if error.is_unfit() => AdoptionFailure::Unfit,
            Self::Damaged(damage) if damage.is_foreign() => AdoptionFailure::Unfit,
            Self::OtherRules(_) | Self::KeptFile => AdoptionFailure::Unfit,
            Self::ArchiveAway(_) => AdoptionFailure::ArchiveAway,
            Self::ArchiveAhead(epoch) => AdoptionFailure::ArchiveAhead(*epoch),
            Self::Archive(_) => AdoptionFailure::ArchiveCorrupt,
            Self::Unreplayable(_) | Self::Damaged(_) => AdoptionFailure::Unreplayable,
            Self::PoisonedTooOften => AdoptionFailure::PoisonedTooOften,
            Self::Store(StoreError::Corrupt(_)) => AdoptionFailure::StoreCorrupt,
            Self::Store(StoreError::Lost) => AdoptionFailure::StoreLost,
            Self::Store(StoreError::Fenced { .. }) => AdoptionFailure::Overtaken,
            Self::Store(StoreError::Unavailable(_) | StoreError::ParentMoved) => AdoptionFailure::StoreAway,
            Self::LeaseOver => AdoptionFailure::LeaseOver,
            // Only a panic ends a replay's thread.
            Self::Unfinished(_) => AdoptionFailure::Panicked,
        }
    }
}

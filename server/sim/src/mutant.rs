//! Mutants: faults that are planted into a simulated cluster to see that it finds them. Each stands at a seam, where a
//! driver or a service might be wrong in the same way; the machines of `everhold-core` know of none. What a mutant
//! does stands where it is planted.

use std::str::FromStr;

/// Invariants that several mutants break.
const STORED: &str = "nothing is released before it is stored";
const LATER: &str = "what was told is in every later state";
const OWNED: &str = "every zone has an owner";
const PLAYED: &str = "every player plays";
const LEDGER: &str = "the ledger has every move up to its zone's commit";
const SENSELESS: &str = "an owner asks for no commit that an archive refuses";

/// A planted fault. At most one is planted in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The store checks no fence: it takes writes of older epochs, and tells no reader that it was overtaken.
    NoFence,
    /// Snapshots leave as soon as they are made, before the record of their tick is stored.
    GateOff,
    /// A shard takes its lease for held, and ticks, writes, and speaks after its deadline.
    DeadlineIgnored,
    /// A suspended zone is thrown away as soon as another shard is granted it.
    MemoryDroppedAtGrant,
    /// A zone that failed in a process once is out of its sight from then on: it is neither claimed nor shown.
    ShunnedForEver,
    /// A claim asks for the epoch after that of the lease as it is, whatever process and store have seen.
    EpochForgotten,
    /// The store moves the head of checkpoints from another parent than the one that a delta names.
    ParentSkipped,
    /// An adopter reads what there is of a zone, takes its time, and fences the store only then.
    ReadBeforeFence,
    /// An append that is not answered in time counts as done.
    SilenceIsYes,
    /// An answer to an append that was answered before, or given up, counts as that to the append under way.
    AnswerOfAnother,
    /// Snapshots of level `async` call everything confirmed that they show.
    AppliedIsConfirmed,
    /// The store answers that it has quarantined an input, and does not.
    QuarantineLost,
    /// A base trims the journal up to itself, and not up to the base before it.
    TrimmedTooFar,
    /// An adopter takes no note of digests that differ.
    DivergenceUnseen,
    /// The store answers that it has sealed evidence, and does not.
    SealLost,
    /// At level `replica` a write counts that no replica has.
    ReplicaUnasked,
    /// The archive checks no fence: it takes writes of older epochs, and shows a reader what another one wrote.
    ArchiveUnfenced,
    /// The archive does a commit after whatever stands, and not only after the parent that it names.
    ArchiveParentSkipped,
    /// A commit is of the newest tick, whether that is stored or not.
    ArchivedEarly,
    /// A commit that is not answered in time counts as done.
    ArchiveSilenceIsYes,
    /// An archive that does not answer in time counts as one that has refused for good.
    ArchiveSilenceIsNo,
}

/// The way in which a mutant is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutantFinding {
    /// The seeds within which it is found, from 1 on.
    pub seeds: u64,
    /// The invariants of which one breaks first.
    pub invariants: &'static [&'static str],
}

impl Mutant {
    /// All mutants.
    pub const ALL: [Self; 21] = [
        Self::NoFence,
        Self::GateOff,
        Self::DeadlineIgnored,
        Self::MemoryDroppedAtGrant,
        Self::ShunnedForEver,
        Self::EpochForgotten,
        Self::ParentSkipped,
        Self::ReadBeforeFence,
        Self::SilenceIsYes,
        Self::AnswerOfAnother,
        Self::AppliedIsConfirmed,
        Self::QuarantineLost,
        Self::TrimmedTooFar,
        Self::DivergenceUnseen,
        Self::SealLost,
        Self::ReplicaUnasked,
        Self::ArchiveUnfenced,
        Self::ArchiveParentSkipped,
        Self::ArchivedEarly,
        Self::ArchiveSilenceIsYes,
        Self::ArchiveSilenceIsNo,
    ];

    /// Returns the name, as the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoFence => "no-fence",
            Self::GateOff => "gate-off",
            Self::DeadlineIgnored => "deadline-ignored",
            Self::MemoryDroppedAtGrant => "memory-dropped-at-grant",
            Self::ShunnedForEver => "shunned-for-ever",
            Self::EpochForgotten => "epoch-forgotten",
            Self::ParentSkipped => "parent-skipped",
            Self::ReadBeforeFence => "read-before-fence",
            Self::SilenceIsYes => "silence-is-yes",
            Self::AnswerOfAnother => "answer-of-another",
            Self::AppliedIsConfirmed => "applied-is-confirmed",
            Self::QuarantineLost => "quarantine-lost",
            Self::TrimmedTooFar => "trimmed-too-far",
            Self::DivergenceUnseen => "divergence-unseen",
            Self::SealLost => "seal-lost",
            Self::ReplicaUnasked => "replica-unasked",
            Self::ArchiveUnfenced => "archive-unfenced",
            Self::ArchiveParentSkipped => "archive-parent-skipped",
            Self::ArchivedEarly => "archived-early",
            Self::ArchiveSilenceIsYes => "archive-silence-is-yes",
            Self::ArchiveSilenceIsNo => "archive-silence-is-no",
        }
    }

    /// Whether it stands at the archive. The others are looked for in runs without one: its bases come between what is
    /// wrong and what would show it.
    #[must_use]
    pub const fn is_of_archive(self) -> bool {
        matches!(
            self,
            Self::ArchiveUnfenced
                | Self::ArchiveParentSkipped
                | Self::ArchivedEarly
                | Self::ArchiveSilenceIsYes
                | Self::ArchiveSilenceIsNo
        )
    }

    /// Returns how the mutant is found.
    #[must_use]
    pub const fn finding(self) -> MutantFinding {
        let (seeds, invariants): (u64, &[&str]) = match self {
            Self::NoFence => (40, &["no write follows one of a higher epoch", LATER]),
            Self::GateOff => (5, &[STORED]),
            Self::DeadlineIgnored => (10, &["nothing is done under a lease that is over"]),
            Self::MemoryDroppedAtGrant => (40, &["memory dies for data, never for a grant"]),
            Self::ShunnedForEver => (20, &[OWNED, PLAYED]),
            Self::EpochForgotten => (20, &["a grant is above every epoch that the store has seen"]),
            Self::ParentSkipped => (40, &["a delta follows the checkpoint that it names"]),
            Self::ReadBeforeFence => (60, &[LATER, "an adopter goes on from all that is stored"]),
            Self::SilenceIsYes => (20, &[STORED]),
            Self::AnswerOfAnother => (20, &[STORED]),
            Self::AppliedIsConfirmed => (20, &[STORED]),
            Self::QuarantineLost => (20, &[OWNED, PLAYED]),
            Self::TrimmedTooFar => (20, &["the journal goes on from the base before"]),
            Self::DivergenceUnseen => (60, &["a divergent zone is found to be one"]),
            Self::SealLost => (40, &["evidence is whole, or absent"]),
            Self::ReplicaUnasked => (100, &["what a replica confirmed outlives a promotion"]),
            Self::ArchiveUnfenced => (
                60,
                &["no write to the archive follows one of a higher epoch", SENSELESS],
            ),
            Self::ArchiveParentSkipped => (60, &["a commit follows the one that it names"]),
            Self::ArchivedEarly => (40, &["nothing is archived before it is stored", LEDGER]),
            Self::ArchiveSilenceIsYes => (260, &[LEDGER]),
            Self::ArchiveSilenceIsNo => (40, &["an archive that answers catches up"]),
        };
        MutantFinding { seeds, invariants }
    }
}

/// The text names no mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutantUnknown(pub String);

impl std::fmt::Display for MutantUnknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = Mutant::ALL.into_iter().map(Mutant::name).collect();
        write!(f, "{:?} is no mutant, but these are: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for MutantUnknown {}

impl FromStr for Mutant {
    type Err = MutantUnknown;

    fn from_str(text: &str) -> Result<Self, MutantUnknown> {
        let mut all = Self::ALL.into_iter();
        let named = all.find(|mutant| mutant.name() == text);
        named.ok_or_else(|| MutantUnknown(text.to_owned()))
    }
}

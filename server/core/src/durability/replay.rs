//! Replay brings a zone back from what the store has of it: base, deltas, journal. It reads no store itself;
//! [`super::adoption`] says when.
//!
//! [`plan`] checks that what was read is one unbroken history: a base and deltas that name each other, and records
//! whose hashes chain from there to the end. Where a record is damaged or missing the history ends before it, and the
//! plan says so. [`replay`] restores the checkpoints and steps the zone through the records. It is the zone's own
//! `step`; what it tells is dropped, because it was told already, or is still in the sessions' outboxes. Moves of value
//! alone are kept, for the archive.

mod quarantined;
mod ran_under;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use everhold_protocol::{Epoch, SessionId, Tick};

use self::quarantined::{beyond, with_quarantine};
pub use self::ran_under::ran_under;
use self::ran_under::{begins_under, rules_of};
use super::forks::Fork;
use super::pending_moves::{PendingMoves, section};
use super::record::{Record, RecordError};
use super::store::{CheckpointHead, CheckpointKind, Position, StoredRecord, ZoneData};
use crate::ingress::Input;
use crate::ownership::{AdoptionSteps, RulesId};
use crate::zone::probe::panic_text;
use crate::zone::{Digest, RestoreError, ValueMove, Zone, ZoneConfig};

/// The reason why a zone cannot be brought back from stored data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A delta names another parent, or the first checkpoint is no base.
    #[error("the checkpoint of tick {tick} does not build on the one before it")]
    ChainBroken {
        /// The checkpoint's.
        tick: Tick,
    },
    /// A record is missing, or names another predecessor, or belongs to an earlier epoch than the one before it.
    #[error("the journal is broken at tick {tick}")]
    JournalBroken {
        /// The first tick that does not follow.
        tick: Tick,
    },
    /// A record's bytes are not what was written.
    #[error("the record of tick {tick}")]
    Record {
        /// The record's.
        tick: Tick,
        /// The defect of the record.
        #[source]
        error: RecordError,
    },
    /// The checkpoints cannot be read by this version, or with these rules.
    #[error("the checkpoint of tick {tick}")]
    Restore {
        /// The last of the chain.
        tick: Tick,
        /// The reason why the chain of checkpoints is no zone.
        #[source]
        error: RestoreError,
    },
    /// The checkpoints hold another tick than the store says.
    #[error("the checkpoint of tick {tick} holds tick {found}")]
    OtherTick {
        /// The tick by the store's head.
        tick: Tick,
        /// The tick that the restored zone stands at.
        found: Tick,
    },
    /// The world of this process has no such zone.
    #[error("this process's world has no such zone")]
    ZoneUnknown,
    /// An owner ran other rules: replaying its inputs under ours would make another world.
    #[error("tick {tick} ran under other rules than this process has")]
    Rules {
        /// The first tick under them.
        tick: Tick,
    },
    /// The zone failed while this tick was replayed.
    #[error("the zone fails at tick {tick}: {reason}")]
    Poison {
        /// The tick.
        tick: Tick,
        /// The intent that was being applied: session and sequence number. `None`: no intent was, a rule failed by
        /// itself.
        suspect: Option<(SessionId, u64)>,
        /// The panic's text.
        reason: String,
    },
}

impl ReplayError {
    /// Whether nothing is wrong with the data, and a process with the right rules, layout, and world can replay them.
    #[must_use]
    pub const fn is_unfit(&self) -> bool {
        match self {
            Self::Rules { .. } | Self::ZoneUnknown => true,
            Self::Record { error, .. } => error.is_of_later_build(),
            _ => self.is_foreign(),
        }
    }

    /// Whether the zone ran other rules, and could be replayed under those.
    #[must_use]
    pub const fn is_of_other_rules(&self) -> bool {
        let is_restore = matches!(
            self,
            Self::Restore {
                error: RestoreError::Rules,
                ..
            }
        );
        is_restore || matches!(self, Self::Rules { .. })
    }

    /// Whether it is, or may be, damage of what is stored, which other stored data may make good. Everything else
    /// (other rules, a record of an unknown layout, poison) is no fault of the store's.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::ChainBroken { .. } | Self::JournalBroken { .. } | Self::OtherTick { .. } | Self::Restore { .. } => {
                true
            }
            Self::Record { error, .. } => matches!(error, RecordError::HashMismatch),
            Self::Rules { .. } | Self::ZoneUnknown | Self::Poison { .. } => false,
        }
    }

    /// Whether a checkpoint seems to be of another build or of other rules. A flipped bit may look the same: what was
    /// stored beside it can be taken in its stead, but nothing may be given up because of it.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        let Self::Restore { error, .. } = self else {
            return false;
        };
        matches!(
            error,
            RestoreError::Layout { .. } | RestoreError::Rules | RestoreError::ZoneUnknown
        )
    }
}

/// An unbroken history, ready to be replayed.
#[derive(Clone, Debug)]
pub struct ReplayPlan {
    chain: Vec<CheckpointHead>,
    bodies: Vec<Bytes>,
    moves: PendingMoves,
    records: Vec<Record>,
    quarantine: BTreeSet<(SessionId, u64)>,
    last: Position,
    may_change_rules: bool,
    steps: AdoptionSteps,
    damage: Option<ReplayError>,
}

impl ReplayPlan {
    /// Returns the position at which the history ends: that of its last record, or of its last checkpoint.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.last
    }

    /// Returns why the history ends before the last record that was read. `None`: it does not.
    #[must_use]
    pub const fn damage(&self) -> Option<&ReplayError> {
        self.damage.as_ref()
    }

    /// Has the replay count its steps here: the checkpoints restored, and each tick.
    #[must_use]
    pub fn counted_by(self, steps: AdoptionSteps) -> Self {
        Self { steps, ..self }
    }

    /// Whether these rules begin where the checkpoints end: an owner took the zone over there, or one may.
    fn changes_to(&self, rules: RulesId) -> bool {
        match self.records.first() {
            Some(record) => begins_under(record).is_some_and(|theirs| theirs == rules),
            None => self.may_change_rules,
        }
    }

    /// Returns the number of ticks that are to be replayed.
    #[must_use]
    pub const fn replay_ticks(&self) -> usize {
        self.records.len()
    }
}

/// A zone brought back to the tick that its players last saw.
pub struct Replayed {
    /// The zone, after its last tick.
    pub zone: Zone,
    /// The configuration that it was replayed with.
    pub config: ZoneConfig,
    /// The position at which its history ends: the journal goes on from here.
    pub last: Position,
    /// The reason why the history ends before the last record that was read, if it does.
    pub damage: Option<ReplayError>,
    /// The checkpoints that it was restored from, for the [`Checkpointer`](super::Checkpointer). None, if they are of
    /// other rules: the next one is a base under these.
    pub chain: Vec<CheckpointHead>,
    /// Quarantined inputs that the replayed journal does not hold: their clients will send them again, since they were
    /// never confirmed. The first tick of the new epoch must tell the zone to refuse them.
    pub quarantine: Vec<(SessionId, u64)>,
    /// Moves of value that the archive may lack: those of the checkpoints, and those of the ticks replayed.
    pub moves: PendingMoves,
    /// Ticks replayed.
    pub replayed_ticks: u64,
    /// Every digest that the owner wrote is the one that the replay has. If not, the replayed state stands all the
    /// same, since the inputs are the truth; but the zone's rules are not deterministic, and base and journal are kept
    /// as evidence.
    pub digest_equal: bool,
    /// The first tick after which a digest differed.
    pub first_divergence: Option<Tick>,
    /// The number of digests compared, that of the checkpoint not counted: `Zone::restore` refuses one that differs.
    pub checked_digests: u64,
}

/// Checks what was read, and orders it for replay.
pub fn plan(data: ZoneData) -> Result<ReplayPlan, ReplayError> {
    let mut last = Position::GENESIS;
    let mut chain = Vec::with_capacity(data.chain.len());
    let (mut bodies, mut moves) = (Vec::with_capacity(data.chain.len()), PendingMoves::default());
    for checkpoint in data.chain {
        let CheckpointHead { position, kind, .. } = checkpoint.head;
        let follows = match kind {
            CheckpointKind::Base => chain.is_empty(),
            CheckpointKind::Delta { parent } => !chain.is_empty() && parent == last,
        };
        if !follows || position.epoch < last.epoch {
            return Err(ReplayError::ChainBroken { tick: position.tick });
        }
        let (state, written) = section::split(&checkpoint.body).map_err(|error| ReplayError::Restore {
            tick: position.tick,
            error: error.into(),
        })?;
        last = position;
        chain.push(checkpoint.head);
        bodies.push(state);
        moves.inherit_rows(written.rows);
        written.forks.into_iter().for_each(|fork| moves.forks.note(fork));
    }
    let (mut records, mut damage) = (Vec::with_capacity(data.records.len()), None);
    for (index, stored) in data.records.iter().enumerate() {
        match follow(last, stored, data.records.get(index + 1)) {
            Ok((position, record)) => {
                if position.epoch > last.epoch {
                    let (epoch, root) = (position.epoch, last);
                    moves.forks.note(Fork { epoch, root });
                }
                last = position;
                records.push(record);
            }
            Err(error) if error.is_damage() => {
                damage = Some(error);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ReplayPlan {
        chain,
        bodies,
        moves,
        records,
        quarantine: data.quarantine.into_iter().collect(),
        last,
        may_change_rules: data.may_change_rules,
        steps: AdoptionSteps::default(),
        damage,
    })
}

/// Reads the record after `last`. A damaged hash is no loss where the chain proves what it was: the record before says
/// what `prev_hash` must be, and the one after it, `next`, what `hash` was.
fn follow(
    last: Position,
    stored: &StoredRecord,
    next: Option<&StoredRecord>,
) -> Result<(Position, Record), ReplayError> {
    let tick = last.tick.next();
    if stored.tick != tick {
        return Err(ReplayError::JournalBroken { tick });
    }
    let mut proven = StoredRecord {
        prev_hash: last.hash,
        ..stored.clone()
    };
    let decoded = Record::decode(&proven).or_else(|error| match next {
        Some(next) if next.tick == tick.next() => {
            proven.hash = next.prev_hash;
            Record::decode(&proven).map_err(|_| error)
        }
        _ => Err(error),
    });
    let record = decoded.map_err(|error| {
        if error == RecordError::HashMismatch && stored.prev_hash != last.hash {
            ReplayError::JournalBroken { tick }
        } else {
            ReplayError::Record { tick, error }
        }
    })?;
    if record.epoch < last.epoch {
        return Err(ReplayError::JournalBroken { tick });
    }
    let position = Position {
        epoch: record.epoch,
        tick,
        hash: proven.hash,
    };
    Ok((position, record))
}

/// Restores the zone and replays its journal. It computes for as long as it takes: run it where nothing waits.
///
/// A new epoch begins with an `EpochStart`, which is not done here: it is the first input of the adopter's first own
/// tick.
pub fn replay(plan: ReplayPlan, config: ZoneConfig) -> Result<Replayed, ReplayError> {
    ReplayRun::begin(plan, config)?.run()
}

/// One tick of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayTick {
    /// The tick, which the zone has done now.
    pub tick: Tick,
    /// The epoch of its owner.
    pub epoch: Epoch,
    /// The number of its inputs.
    pub inputs: usize,
    /// The digest that its record has of the tick before, and the one that the replay had then.
    pub before: Option<(Digest, Digest)>,
}

/// A replay under way, tick by tick.
pub struct ReplayRun {
    zone: Zone,
    config: ZoneConfig,
    plan: ReplayPlan,
    /// Ticks that are done.
    done: usize,
    rules_id: RulesId,
    /// Whether the checkpoints are of other rules.
    is_taken_over: bool,
    comparison: Comparison,
}

impl ReplayRun {
    /// Restores the zone.
    pub fn begin(plan: ReplayPlan, config: ZoneConfig) -> Result<Self, ReplayError> {
        let zone = restore(&plan, config.clone())?;
        plan.steps.note();
        Ok(Self::new(plan, zone, config))
    }

    fn new(plan: ReplayPlan, zone: Zone, config: ZoneConfig) -> Self {
        let rules_id = config.rules_id();
        Self {
            is_taken_over: zone.rules_id() != rules_id,
            zone,
            rules_id,
            config,
            plan,
            done: 0,
            comparison: Comparison::default(),
        }
    }

    fn run(mut self) -> Result<Replayed, ReplayError> {
        while let Some(tick) = self.step() {
            tick?;
        }
        Ok(self.finish())
    }

    /// Returns the zone after the last tick that was done. It is not to be stepped.
    pub const fn zone(&mut self) -> &mut Zone {
        &mut self.zone
    }

    /// Replays the next tick; `None`: there is none.
    pub fn step(&mut self) -> Option<Result<ReplayTick, ReplayError>> {
        let record = self.plan.records.get(self.done)?;
        let before = record.digest_before.map(|expected| (expected, self.zone.digest()));
        if let Some((expected, found)) = before {
            self.comparison.compare(record.tick - 1, expected, found);
        }
        let is_other = |input: &Input| rules_of(input).is_some_and(|theirs| theirs != self.rules_id);
        if record.inputs.iter().any(is_other) {
            return Some(Err(ReplayError::Rules { tick: record.tick }));
        }
        match step(&mut self.zone, record, &self.plan.quarantine) {
            Ok(moves) => self.plan.moves.inherit(record.epoch, record.tick, moves),
            Err(error) => return Some(Err(error)),
        }
        self.plan.steps.note();
        self.done += 1;
        Some(Ok(ReplayTick {
            tick: record.tick,
            epoch: record.epoch,
            inputs: record.inputs.len(),
            before,
        }))
    }

    /// Returns what the replay came to, after its last tick.
    #[must_use]
    pub fn finish(self) -> Replayed {
        let Self {
            zone,
            config,
            plan,
            is_taken_over,
            comparison,
            ..
        } = self;
        Replayed {
            zone,
            config,
            last: plan.last,
            damage: plan.damage,
            chain: if is_taken_over { Vec::new() } else { plan.chain },
            quarantine: beyond(&plan.records, plan.quarantine),
            moves: plan.moves,
            replayed_ticks: plan.records.len() as u64,
            digest_equal: comparison.first_divergence.is_none(),
            first_divergence: comparison.first_divergence,
            checked_digests: comparison.checked,
        }
    }
}

#[derive(Default)]
struct Comparison {
    checked: u64,
    first_divergence: Option<Tick>,
}

impl Comparison {
    fn compare(&mut self, tick: Tick, expected: Digest, found: Digest) {
        self.checked += 1;
        if expected != found {
            self.first_divergence.get_or_insert(tick);
        }
    }
}

fn restore(plan: &ReplayPlan, config: ZoneConfig) -> Result<Zone, ReplayError> {
    let Some(head) = plan.chain.last() else {
        return Zone::begun(config).ok_or(ReplayError::ZoneUnknown);
    };
    let tick = head.position.tick;
    let bodies: Vec<&[u8]> = plan.bodies.iter().map(|body| &body[..]).collect();
    let restored = if plan.changes_to(config.rules_id()) {
        Zone::take_over(config, &bodies)
    } else {
        Zone::restore(config, &bodies)
    };
    let zone = restored.map_err(|error| ReplayError::Restore { tick, error })?;
    let found = zone.tick();
    if found == tick {
        Ok(zone)
    } else {
        Err(ReplayError::OtherTick { tick, found })
    }
}

/// Steps the zone. What it tells is dropped, but for the moves of value, of which the archive may not have heard.
fn step(
    zone: &mut Zone,
    record: &Record,
    quarantine: &BTreeSet<(SessionId, u64)>,
) -> Result<Vec<ValueMove>, ReplayError> {
    let probe = zone.probe();
    let inputs = with_quarantine(&record.inputs, quarantine);
    // The zone is thrown away if it fails, so nobody sees it half-stepped.
    let stepped = catch_unwind(AssertUnwindSafe(|| zone.step(&inputs).moves));
    stepped.map_err(|panic| ReplayError::Poison {
        tick: record.tick,
        suspect: probe.suspect().and_then(|suspect| suspect.intent),
        reason: panic_text(&*panic),
    })
}

#[cfg(test)]
mod tests;

//! Audit: a zone's history, read whole from a history file, replayed with a look at every digest, and compared with
//! another. It opens no file, and decides nothing about a zone that lives.

mod checkup;
mod comparison;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use everhold_protocol::{SessionId, Tick};

pub use checkup::{Checkup, HistoryFlaw};
pub use comparison::{HistoryComparison, HistoryDifference, HistoryHoles, compare};

use super::history::{HistoryFrame, HistoryHeader};
use super::record::Record;
use super::replay::{ReplayError, ReplayRun, ReplayTick, Replayed, plan};
use super::store::{Checkpoint, CheckpointHead, CheckpointKind, Position, StoredRecord, ZoneData};
use crate::zone::{CaptureTitle, Digest, Zone, ZoneConfig};

/// The reason why a history cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Nothing is stored from which the zone could be brought to this tick.
    #[error("tick {from} cannot be reached: {}", .oldest.map_or_else(
        || "there is no checkpoint, and the journal does not begin with the zone".to_owned(),
        |oldest| format!("the oldest checkpoint is that of tick {oldest}"),
    ))]
    BeforeOldest {
        /// The tick that was asked for.
        from: Tick,
        /// The oldest base.
        oldest: Option<Tick>,
    },
    /// The history ends before this tick.
    #[error("the history ends with tick {last}, before tick {to}")]
    AfterNewest {
        /// The tick that was asked for.
        to: Tick,
        /// The last tick.
        last: Tick,
    },
    /// A part of a checkpoint is missing, and there is none before it.
    #[error("the checkpoint of tick {tick} cannot be read whole")]
    Unread {
        /// The checkpoint's.
        tick: Tick,
    },
    /// The zone cannot be restored, or a tick cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A zone's history as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneHistory {
    header: HistoryHeader,
    chain: Vec<CheckpointHead>,
    parts: BTreeMap<(u32, u32), Bytes>,
    records: BTreeMap<Tick, StoredRecord>,
    quarantine: Vec<(SessionId, u64)>,
}

impl ZoneHistory {
    /// Begins with a file's header.
    #[must_use]
    pub const fn new(header: HistoryHeader) -> Self {
        Self {
            header,
            chain: Vec::new(),
            parts: BTreeMap::new(),
            records: BTreeMap::new(),
            quarantine: Vec::new(),
        }
    }

    /// Takes another frame of the file.
    pub fn take(&mut self, frame: HistoryFrame) {
        match frame {
            HistoryFrame::Header(_) | HistoryFrame::End { .. } => {}
            HistoryFrame::Checkpoint(head) => self.chain.push(head),
            HistoryFrame::Part { place, index, bytes } => drop(self.parts.insert((place, index), bytes)),
            HistoryFrame::Record(record) => drop(self.records.insert(record.tick, record)),
            HistoryFrame::Quarantined(session, seq) => self.quarantine.push((session, seq)),
        }
    }

    /// Returns the file's header.
    #[must_use]
    pub const fn header(&self) -> &HistoryHeader {
        &self.header
    }

    /// Returns the last tick that the history knows of.
    #[must_use]
    pub fn end(&self) -> Tick {
        let head = self.chain.last().map(|head| head.position.tick);
        let record = self.records.last_key_value().map(|(tick, _)| *tick);
        head.max(record).unwrap_or_default()
    }

    /// Returns the data from which the zone is brought to `from`: the newest whole chain at or below it, or the oldest
    /// one of all if none is named; with the records up to `to`. Beside it the checkpoints that had to be passed over,
    /// because parts of them are missing.
    fn data(&self, from: Option<Tick>, to: Tick) -> Result<(ZoneData, Vec<Tick>), AuditError> {
        let begins = self.records.contains_key(&Tick(1)) || (self.chain.is_empty() && self.records.is_empty());
        let mut kept = match from {
            Some(from) => self.chain.iter().take_while(|head| head.position.tick <= from).count(),
            None if begins => 0,
            None => self.oldest_chain(to),
        };
        let mut unread = Vec::new();
        loop {
            let is_base = |head: &CheckpointHead| head.kind == CheckpointKind::Base;
            let Some(base) = self.chain[..kept].iter().rposition(is_base) else {
                let oldest = self.chain.iter().find(|head| is_base(head));
                return match (begins, unread.last()) {
                    (true, _) => Ok((self.data_after(Vec::new(), to), unread)),
                    (false, Some(tick)) => Err(AuditError::Unread { tick: *tick }),
                    (false, None) => Err(AuditError::BeforeOldest {
                        from: from.unwrap_or(to),
                        oldest: oldest.map(|head| head.position.tick),
                    }),
                };
            };
            match (base..kept).map(|place| self.checkpoint(place)).collect() {
                Ok(chain) => return Ok((self.data_after(chain, to), unread)),
                Err(place) => {
                    unread.push(self.chain[place].position.tick);
                    kept = place;
                }
            }
        }
    }

    /// Returns the length of the shortest chain up to tick `to` that the records go on from: what was kept of an
    /// adoption has none between its checkpoints.
    fn oldest_chain(&self, to: Tick) -> usize {
        let places = self.chain.iter().take_while(|head| head.position.tick <= to).zip(1..);
        let goes_on = |head: &CheckpointHead| {
            let tick = head.position.tick;
            tick == to || self.records.contains_key(&tick.next())
        };
        let mut lengths = places
            .clone()
            .filter(|(head, _)| goes_on(head))
            .map(|(_, length)| length);
        lengths.next().unwrap_or_else(|| places.take(1).count())
    }

    fn data_after(&self, chain: Vec<Checkpoint>, to: Tick) -> ZoneData {
        let after = chain.last().map_or(Tick(0), |last| last.head.position.tick);
        let records = self.records.range(after.next()..=to.max(after.next()));
        let records = records.filter(|(tick, _)| **tick <= to);
        ZoneData {
            chain,
            records: records.map(|(_, record)| record.clone()).collect(),
            quarantine: self.quarantine.clone(),
            may_change_rules: false,
        }
    }

    /// Returns the digest of the state at `end` that the record behind it tells, if it follows and tells one.
    fn digest_behind(&self, end: Position) -> Option<Digest> {
        let behind = self.records.get(&end.tick.next())?;
        let record = (behind.prev_hash == end.hash).then(|| Record::decode(behind).ok())?;
        record?.digest_before
    }

    /// Puts a checkpoint together; fails with its place if it is not whole.
    fn checkpoint(&self, place: usize) -> Result<Checkpoint, usize> {
        let head = self.chain[place];
        let number = u32::try_from(place).map_err(|_| place)?;
        let mut body = BytesMut::new();
        for (_, part) in self.parts.range((number, 0)..(number, head.parts)) {
            body.extend_from_slice(part);
        }
        Checkpoint::joined(head, body.freeze()).map_err(|_| place)
    }

    /// Returns what a checkpoint says of itself, if its first part is there and can be read.
    fn title(&self, place: usize) -> Option<CaptureTitle> {
        let first = self.parts.get(&(u32::try_from(place).ok()?, 0))?;
        CaptureTitle::read(first).ok()
    }

    /// Returns the digests that checkpoints of this history say, by tick. One that another history left behind is none
    /// of it.
    fn told_digests(&self) -> BTreeMap<Tick, Digest> {
        let places = self.chain.iter().enumerate().filter_map(|(place, head)| {
            let position = head.position;
            let record = self.records.get(&position.tick)?;
            let title = self.title(place).filter(|title| title.tick == position.tick)?;
            (record.hash == position.hash).then_some((position.tick, title.digest))
        });
        places.collect()
    }
}

/// A digest that a replay does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestDifference {
    /// The tick after which it is that of the state.
    pub tick: Tick,
    /// The digest by the owner's word, in a record or a checkpoint.
    pub told: Digest,
    /// The digest of the replay.
    pub found: Digest,
}

/// The outcome of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The checkpoint that the zone was restored from. `None`: it was replayed from its beginning.
    pub restored_from: Option<Position>,
    /// The last tick that was replayed.
    pub last: Tick,
    /// Ticks that were replayed.
    pub replayed_ticks: u64,
    /// Digests that were compared: of records, and of checkpoints on the way.
    pub checked_digests: u64,
    /// The first digest that differs.
    pub difference: Option<DigestDifference>,
    /// The last tick before it whose digest is equal.
    pub last_equal: Option<Tick>,
    /// The defect of the history before the tick that was asked for, if it ends there, or the failure of the tick after
    /// the last.
    pub damage: Option<ReplayError>,
    /// Checkpoints that were passed over because parts of them are missing.
    pub unread: Vec<Tick>,
}

impl AuditReport {
    fn compare(&mut self, tick: Tick, told: Digest, found: Digest) {
        self.checked_digests += 1;
        if told != found {
            self.difference.get_or_insert(DigestDifference { tick, told, found });
        } else if self.difference.is_none() {
            self.last_equal = Some(tick);
        }
    }
}

/// Replays a history from the checkpoint at or below `from` (if none is named, from its oldest one) up to `to` (if
/// none is named, to its end), and compares every digest that it has. `each` sees the zone after every tick. Beside the
/// report it returns the zone as it stands in the end; none if a tick failed in it. The report is of the ticks before.
pub fn audit(
    history: &ZoneHistory,
    (from, to): (Option<Tick>, Option<Tick>),
    config: ZoneConfig,
    each: &mut dyn FnMut(&mut Zone, ReplayTick),
) -> Result<(AuditReport, Option<Zone>), AuditError> {
    let end = history.end();
    if let Some(to) = from.max(to).filter(|to| *to > end) {
        return Err(AuditError::AfterNewest { to, last: end });
    }
    let to = to.unwrap_or(end);
    let (data, unread) = history.data(from.map(|from| from.min(to)), to)?;
    let plan = plan(data)?;
    let (told, end) = (history.told_digests(), plan.last());
    let mut report = AuditReport {
        restored_from: None,
        last: end.tick,
        replayed_ticks: 0,
        checked_digests: 0,
        difference: None,
        last_equal: None,
        damage: plan.damage().cloned(),
        unread,
    };
    let planned_ticks = plan.replay_ticks() as u64;
    let mut run = ReplayRun::begin(plan, config)?;
    while let Some(tick) = run.step() {
        let tick = match tick {
            Ok(tick) => tick,
            Err(error) => {
                report.last = end.tick - (planned_ticks - report.replayed_ticks);
                report.damage = Some(error);
                report.restored_from = run.finish().chain.last().map(|head| head.position);
                return Ok((report, None));
            }
        };
        report.replayed_ticks += 1;
        if let Some((told, found)) = tick.before {
            report.compare(tick.tick - 1, told, found);
        }
        if let Some(told) = told.get(&tick.tick) {
            report.compare(tick.tick, *told, run.zone().digest());
        }
        each(run.zone(), tick);
    }
    if !told.contains_key(&end.tick)
        && let Some(told) = history.digest_behind(end)
    {
        report.compare(end.tick, told, run.zone().digest());
    }
    let Replayed { zone, chain, .. } = run.finish();
    report.restored_from = chain.last().map(|head| head.position);
    if report.damage.is_none() && report.last < to {
        let tick = report.last.next();
        report.damage = Some(ReplayError::JournalBroken { tick });
    }
    Ok((report, Some(zone)))
}

#[cfg(test)]
mod tests;

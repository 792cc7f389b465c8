//! Recovery: which of a zone's stored checkpoints and records an adoption goes on from. It asks no store and replays
//! nothing itself, and reads no clock.
//!
//! ```text
//!   base ─ delta ─ delta ─ base ─ delta ─ delta          checkpoints, oldest first
//!   ├────────────────────── journal ──────────────┤
//!                          └── tried first ──┘└──┤       the newest base, its deltas, the records after them
//!                          └ then ┘└─────────────┤       without the last delta; then the base alone
//!   └──── then ─────┘└───────────────────────────┤       the base before it, and so on
//! ```
//!
//! Damaged data is looked at twice before it is given up, for then it is deleted. A chain that is older by a checkpoint
//! loses nothing as long as the journal leads from there to the end; what the store knew of and the replay does not
//! reach is counted.
//!
//! Everything is read in pages whose size follows from how the store answers: a page that does not come in time is
//! asked for in halves, so that whatever passes at all is progress.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use everhold_protocol::{SessionId, Tick};

use super::history::HistoryFrame;
use super::replay::{ReplayError, Replayed, ran_under};
use super::store::{Checkpoint, PartKey, Position, Rewind, StoreError, StoredRecord, ZoneData, ZoneOutline};
use crate::limits::{PAGE_BYTES_MAX, PAGE_PARTS_MAX, PAGE_RECORDS_MAX};
use crate::ownership::RulesId;

/// Records of the first page: at 10,000 players each may have 20 KiB.
const PAGE_RECORDS: u32 = 64;

/// A page of stored data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageRequest {
    /// These parts; answer with [`Recovery::handle_parts`] or [`Recovery::handle_unread`].
    Parts(Vec<PartKey>),
    /// The records of so many ticks from this one on; answer with [`Recovery::handle_records`] or
    /// [`Recovery::handle_unread`].
    Records(Tick, u32),
}

/// The next thing that a recovery needs.
#[derive(Debug)]
pub enum RecoveryStep {
    /// This page.
    Read(PageRequest),
    /// The replay of this; answer with [`Recovery::handle_replayed`] or [`Recovery::handle_failed`].
    Replay(ZoneData),
    /// Nothing: no chain is left to be tried, and this was wrong with the first.
    Fail(Damage),
}

/// The defect of stored data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A part of a checkpoint's body is not there, or cannot be read.
    #[error("the checkpoint of tick {0} cannot be read whole")]
    Unread(Tick),
    /// The stored chain cannot be restored or replayed.
    #[error(transparent)]
    Unreplayable(#[from] ReplayError),
}

impl Damage {
    /// Whether a checkpoint seems to be of another build or of other rules, as [`ReplayError::is_foreign`] has it.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::Unreplayable(error) if error.is_foreign())
    }
}

/// The outcome of a replay, as the stored history is to be seen after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The end that the stored history is to have before the zone goes on. `None`: it has no other.
    pub rewind: Option<Rewind>,
    /// Ticks that the store knew of and that are lost.
    pub lost_ticks: u64,
    /// Checkpoints that were given up, from the newest on.
    pub given_up: u32,
}

/// The sizes of pages.
#[derive(Clone, Copy, Debug)]
struct PageSize {
    parts: usize,
    records: u32,
}

/// The recovery of one zone from what the store has of it.
#[derive(Debug)]
pub struct Recovery {
    outline: ZoneOutline,
    /// Whether a seal at the end lets the zone go on under other rules.
    may_change_rules: bool,
    /// Checkpoints that are not given up: the chain that is tried ends with the last of them.
    kept: usize,
    /// The parts that were read of each checkpoint's body, by its place in the outline.
    parts: BTreeMap<usize, Vec<Bytes>>,
    records: BTreeMap<Tick, StoredRecord>,
    /// Records are read from this tick on, but for those in `unread`.
    records_from: Tick,
    unread: Range<u64>,
    page: PageSize,
    /// The page that is being read.
    asked: Option<PageRequest>,
    /// Everything was read a second time because something seemed damaged.
    is_second_look: bool,
    /// The defect of the newest chain that was tried.
    first_damage: Option<Damage>,
}

impl Recovery {
    /// Begins with all that the outline names.
    #[must_use]
    pub fn new(outline: ZoneOutline) -> Self {
        let end = outline.journal.map_or(Tick(0), |(_, last)| last);
        Self {
            kept: outline.chain.len(),
            may_change_rules: false,
            outline,
            parts: BTreeMap::new(),
            records: BTreeMap::new(),
            records_from: end.next(),
            unread: 0..0,
            page: PageSize {
                parts: PAGE_PARTS_MAX,
                records: PAGE_RECORDS,
            },
            asked: None,
            is_second_look: false,
            first_damage: None,
        }
    }

    /// Returns what the store has of the zone.
    #[must_use]
    pub const fn outline(&self) -> &ZoneOutline {
        &self.outline
    }

    /// Lets the zone go on under other rules, if it is replayed to its seal.
    pub const fn permit_other_rules(&mut self) {
        self.may_change_rules = true;
    }

    /// Returns the rules that the zone ran at the end of the chain that was replayed last, as far as its data says so.
    #[must_use]
    pub fn ran_under(&mut self) -> Option<RulesId> {
        let chain = self.chain()?;
        ran_under(&self.data(chain).ok()?)
    }

    /// Refuses an input in every replay from now on.
    pub fn quarantine(&mut self, session: SessionId, seq: u64) {
        self.outline.quarantine.push((session, seq));
    }

    /// Returns what is needed next.
    pub fn poll(&mut self) -> RecoveryStep {
        loop {
            let Some(chain) = self.chain() else {
                let damage = self.first_damage.clone();
                let without_beginning = ReplayError::JournalBroken { tick: Tick(1) };
                return RecoveryStep::Fail(damage.unwrap_or_else(|| without_beginning.into()));
            };
            if let Some(page) = self.unread_page(chain.clone()) {
                self.asked = Some(page.clone());
                return RecoveryStep::Read(page);
            }
            match self.data(chain) {
                Ok(data) => return RecoveryStep::Replay(data),
                Err((index, damage)) => self.give_up(index, damage),
            }
        }
    }

    /// Takes the parts that were asked for, in their order.
    ///
    /// # Panics
    /// If none were.
    pub fn handle_parts(&mut self, parts: Vec<Option<Bytes>>) {
        let Some(PageRequest::Parts(asked)) = self.asked.take() else {
            panic!("parts that were not asked for")
        };
        self.page.parts = (self.page.parts * 2).min(PAGE_PARTS_MAX);
        for ((position, _), part) in asked.into_iter().zip(parts) {
            // A part that is missing is an empty one: its body is too short then, which is what decides.
            let place = self.outline.chain.iter().position(|head| head.position == position);
            let place = place.expect("parts are asked for by the outline's positions");
            self.parts.entry(place).or_default().push(part.unwrap_or_default());
        }
    }

    /// Takes the records that were asked for, as far as they are there.
    ///
    /// # Panics
    /// If none were.
    pub fn handle_records(&mut self, records: Vec<StoredRecord>) {
        let Some(PageRequest::Records(from, ticks)) = self.asked.take() else {
            panic!("records that were not asked for")
        };
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        if bytes * 2 <= PAGE_BYTES_MAX {
            self.page.records = (self.page.records * 2).min(PAGE_RECORDS_MAX);
        }
        self.unread.start = from.0 + u64::from(ticks);
        self.records
            .extend(records.into_iter().map(|record| (record.tick, record)));
    }

    /// Takes that the page was not read. It is asked for in smaller ones; what cannot be read even by itself is as good
    /// as what is not there.
    ///
    /// # Errors
    /// The error, if a smaller page would not help.
    pub fn handle_unread(&mut self, error: StoreError) -> Result<(), StoreError> {
        let is_least = match &self.asked {
            Some(PageRequest::Parts(parts)) => parts.len() <= 1,
            Some(PageRequest::Records(_, ticks)) => *ticks <= 1,
            None => true,
        };
        match (&error, &self.asked) {
            (StoreError::Unavailable(_) | StoreError::Corrupt(_), _) if !is_least => {
                self.page.parts = (self.page.parts / 2).max(1);
                self.page.records = (self.page.records / 2).max(1);
                Ok(())
            }
            (StoreError::Corrupt(_), Some(PageRequest::Parts(_))) => {
                self.handle_parts(vec![None]);
                Ok(())
            }
            (StoreError::Corrupt(_), Some(PageRequest::Records(..))) => {
                self.handle_records(Vec::new());
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Takes a zone that was replayed. `None`: something is wrong, and is tried otherwise: poll again.
    ///
    /// # Errors
    /// The zone would lose ticks because of a checkpoint that seems to be of another build: that one must adopt it.
    pub fn handle_replayed(&mut self, replayed: &Replayed) -> Result<Option<Recovered>, Damage> {
        self.handle_end(replayed.last.tick, replayed.damage.as_ref())
    }

    /// Takes the tick `last` with which a replay ended, and why it ended before the last record that was read, if it
    /// did; the rest is as with [`Recovery::handle_replayed`].
    ///
    /// # Errors
    /// As with [`Recovery::handle_replayed`].
    pub fn handle_end(&mut self, last: Tick, damage: Option<&ReplayError>) -> Result<Option<Recovered>, Damage> {
        let lost_ticks = self.outline.end().0.saturating_sub(last.0);
        if lost_ticks > 0 {
            let tick = last.next();
            let damage = damage.cloned().unwrap_or(ReplayError::JournalBroken { tick });
            if self.looks_again(&damage.into()) {
                return Ok(None);
            }
            if let Some(Damage::Unreplayable(first)) = &self.first_damage
                && first.is_foreign()
            {
                return Err(first.clone().into());
            }
        }
        let given_up = self.outline.chain.len() - self.kept;
        let rewind = Rewind {
            head: self.head(),
            last,
        };
        Ok(Some(Recovered {
            rewind: (given_up > 0 || lost_ticks > 0).then_some(rewind),
            lost_ticks,
            given_up: u32::try_from(given_up).unwrap_or(u32::MAX),
        }))
    }

    /// Takes why a replay failed. It is tried otherwise: poll again.
    ///
    /// # Errors
    /// It is no damage: no other chain would help.
    pub fn handle_failed(&mut self, error: ReplayError) -> Result<(), ReplayError> {
        // Which of the chain's checkpoints is damaged, a digest does not say: the last one is given up first.
        match self.kept.checked_sub(1) {
            Some(last) if error.is_damage() => {
                self.give_up(last, error.into());
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Returns the last tick that the store knew of.
    #[must_use]
    pub fn end(&self) -> Tick {
        self.outline.end()
    }

    /// Returns the defect of the newest chain, if it was given up.
    #[must_use]
    pub const fn first_damage(&self) -> Option<&Damage> {
        self.first_damage.as_ref()
    }

    /// Returns the history that was replayed, up to this tick, as the frames of a history file after its header.
    #[must_use]
    pub fn frames(&self, through: Tick) -> VecDeque<HistoryFrame> {
        let base = self.outline.base_of(self.kept).unwrap_or(self.kept);
        let chain = &self.outline.chain[base..self.kept];
        let mut frames: VecDeque<HistoryFrame> = chain.iter().map(|head| HistoryFrame::Checkpoint(*head)).collect();
        let quarantine = self.outline.quarantine.iter();
        frames.extend(quarantine.map(|(session, seq)| HistoryFrame::Quarantined(*session, *seq)));
        for (place, head) in (0..).zip(base..self.kept) {
            let parts = self.parts.get(&head).into_iter().flatten();
            frames.extend((0..).zip(parts).map(|(index, bytes)| HistoryFrame::Part {
                place,
                index,
                bytes: bytes.clone(),
            }));
        }
        let after = chain.last().map_or(Tick(0), |last| last.position.tick);
        let records = self.records.range(after.next()..);
        let records = records.take_while(|(tick, _)| **tick <= through);
        frames.extend(records.map(|(_, record)| HistoryFrame::Record(record.clone())));
        frames
    }

    /// Returns the last checkpoint that is kept.
    fn head(&self) -> Option<Position> {
        self.outline.chain[..self.kept].last().map(|head| head.position)
    }

    /// Returns the places of the chain that is tried. An empty one is tried if the journal begins with the zone, or if
    /// the zone has not begun.
    fn chain(&mut self) -> Option<Range<usize>> {
        if let Some(base) = self.outline.base_of(self.kept) {
            return Some(base..self.kept);
        }
        self.kept = 0;
        let first = self.outline.journal.map(|(first, _)| first);
        let is_new = first.is_none() && self.outline.chain.is_empty();
        (is_new || first == Some(Tick(1))).then_some(0..0)
    }

    fn unread_page(&mut self, chain: Range<usize>) -> Option<PageRequest> {
        let after = match chain.clone().next_back() {
            Some(last) => self.outline.chain[last].position.tick,
            None => Tick(0),
        };
        let parts = chain.flat_map(|place| {
            let head = self.outline.chain[place];
            let has = self.parts.get(&place).map_or(0, Vec::len);
            (0..head.parts).skip(has).map(move |index| (head.position, index))
        });
        let parts: Vec<PartKey> = parts.take(self.page.parts).collect();
        if !parts.is_empty() {
            return Some(PageRequest::Parts(parts));
        }
        if self.unread.is_empty() && after.next() < self.records_from {
            self.unread = after.0 + 1..self.records_from.0;
            self.records_from = after.next();
        }
        let left = self.unread.end.saturating_sub(self.unread.start);
        let ticks = u32::try_from(left).unwrap_or(u32::MAX).min(self.page.records);
        (ticks > 0).then_some(PageRequest::Records(Tick(self.unread.start), ticks))
    }

    /// Puts the data of a chain together; fails with the place of a checkpoint that is not whole.
    fn data(&self, chain: Range<usize>) -> Result<ZoneData, (usize, Damage)> {
        let mut data = ZoneData {
            quarantine: self.outline.quarantine.clone(),
            ..ZoneData::default()
        };
        for index in chain {
            let head = self.outline.chain[index];
            let mut body = BytesMut::with_capacity(usize::try_from(head.bytes).unwrap_or(0));
            for part in self.parts.get(&index).into_iter().flatten() {
                body.extend_from_slice(part);
            }
            let checkpoint = Checkpoint::joined(head, body.freeze());
            let checkpoint = checkpoint.map_err(|_| (index, Damage::Unread(head.position.tick)))?;
            data.chain.push(checkpoint);
        }
        let after = data.chain.last().map_or(Tick(0), |last| last.head.position.tick);
        let records = self.records.range(after.next()..);
        data.records = records.map(|(_, record)| record.clone()).collect();
        let end = data.chain.last().map(|last| last.head.position);
        let is_sealed = self.outline.seal.is_some_and(|seal| Some(seal.position) == end);
        data.may_change_rules = self.may_change_rules && is_sealed && data.records.is_empty();
        Ok(data)
    }

    /// Gives up the checkpoint at a place and all after it, if it is not looked at for the first time.
    fn give_up(&mut self, index: usize, damage: Damage) {
        if !self.looks_again(&damage) {
            self.kept = index;
        }
    }

    /// Whether everything is to be read once more, because of what seems damaged.
    fn looks_again(&mut self, damage: &Damage) -> bool {
        self.first_damage.get_or_insert_with(|| damage.clone());
        if self.is_second_look {
            return false;
        }
        self.is_second_look = true;
        self.parts.clear();
        self.records.clear();
        self.unread = 0..0;
        self.records_from = self.outline.journal.map_or(Tick(0), |(_, last)| last).next();
        true
    }
}

#[cfg(test)]
mod tests;

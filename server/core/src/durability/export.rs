//! Export: reads everything that a store has of a zone, page by page and without a grant, and says what to write into
//! a history file. It asks no store and opens no file, and reads no clock.
//!
//! ```text
//!   outline ─► a look at the rules ─► parts ─► records ─► outline again ─► the end of the file
//!      ▲                                                     │ another owner, or trimmed meanwhile
//!      └──────────────── begin the file again ◄──────────────┘ (then from the newest base on only)
//! ```
//!
//! The owner of a zone that lives goes on meanwhile. What it adds does not matter: the file ends where the first
//! outline did. A new owner may have written over what was read, and a new base deletes what is oldest: the file is
//! begun again then. What is missing although the store still names it is damaged, and the file is written without it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use everhold_protocol::{Tick, ZoneName};

use super::history::{HistoryFrame, HistoryHeader, HistoryWorld, HistoryWriter};
use super::record::Record;
use super::store::{PartKey, StoreError, StoredRecord, ZoneOutline};
use super::tries::Tries;
use crate::ingress::Input;
use crate::limits::{PAGE_BYTES_MAX, PAGE_PARTS_MAX, PAGE_RECORDS_MAX};
use crate::zone::CaptureTitle;

/// Times that a file is begun. From the second on only the newest base and what follows it are read, of which nothing
/// is deleted before two more bases: a zone that outruns that cannot be read over this link.
const ATTEMPTS_MAX: u32 = 5;

/// Records of the first page, as those of a recovery.
const PAGE_RECORDS: u32 = 64;

/// A command to the driver of an export, to be carried out before the next is asked for.
#[derive(Debug)]
pub enum ExportCommand {
    /// Read the zone's outline without a grant; answer with [`Export::handle_outline`].
    Outline,
    /// Read these parts; answer with [`Export::handle_parts`].
    Parts(Vec<PartKey>),
    /// Read the records of so many ticks from this one on; answer with [`Export::handle_records`].
    Records(Tick, u32),
    /// Append this to the file.
    Write(Vec<u8>),
    /// Empty the file: it is begun again.
    Restart,
    /// The file is whole. It is the last command.
    Finish(ExportSummary),
    /// Give the file up. It is the last command.
    Fail(ExportError),
}

/// The content of a file that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Checkpoints in the file.
    pub checkpoints: usize,
    /// Records of the journal.
    pub records: u64,
    /// The first and the last tick of the journal, if it has any.
    pub journal: Option<(Tick, Tick)>,
    /// The file's length, bytes.
    pub bytes: u64,
    /// Parts of checkpoints that the store names and does not have, or cannot read.
    pub missing_parts: u64,
    /// Records that the store ought to have, and does not have, or cannot read.
    pub missing_records: u64,
    /// Times that the file was begun again, because the zone changed while it was read.
    pub restarts: u32,
    /// Whether the rules that the zone ran are in the file.
    pub has_rules: bool,
}

/// The reason why a zone is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store has no such zone, or has lost it.
    #[error("the store has no data of this zone")]
    ZoneUnknown,
    /// The zone changes faster than it can be read.
    #[error(
        "the zone changed {ATTEMPTS_MAX} times while it was read: a new owner, or a new base before the old was read"
    )]
    Moving,
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(StoreError),
}

/// The step that an export is at.
enum ExportStep {
    Outline,
    /// It looks at the newest base, or at the first record, for the rules of the zone.
    Rules(ZoneOutline),
    Parts(ExportFile),
    Records(ExportFile),
    /// It reads the outline again, to see what changed.
    Check(ExportFile),
    Over,
}

/// A file that is being written.
struct ExportFile {
    outline: ZoneOutline,
    writer: HistoryWriter,
    /// The checkpoint and the part that are read next, by the checkpoint's place in the outline.
    next_part: (usize, u32),
    next_tick: Tick,
    summary: ExportSummary,
}

/// The export of one zone.
pub struct Export {
    zone: ZoneName,
    /// The rules at hand, with their id; the file has them if they are those of the zone.
    world: HistoryWorld,
    step: ExportStep,
    is_asked: bool,
    ask_at: Option<Instant>,
    tries: Tries,
    page_parts: usize,
    page_records: u32,
    restarts: u32,
    queue: VecDeque<ExportCommand>,
}

impl Export {
    /// Begins. `world` are the rules at hand, with their id.
    #[must_use]
    pub const fn new(zone: ZoneName, world: HistoryWorld) -> Self {
        Self {
            zone,
            world,
            step: ExportStep::Outline,
            is_asked: false,
            ask_at: None,
            tries: Tries::NONE,
            page_parts: PAGE_PARTS_MAX,
            page_records: PAGE_RECORDS,
            restarts: 0,
            queue: VecDeque::new(),
        }
    }

    /// Returns what is to be done at `now`. `None`: an answer is awaited, or the moment of [`Export::poll_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<ExportCommand> {
        loop {
            if let Some(command) = self.queue.pop_front() {
                return Some(command);
            }
            if self.is_asked || self.ask_at.is_some_and(|at| now < at) {
                return None;
            }
            let command = match &self.step {
                ExportStep::Outline | ExportStep::Check(_) => Some(ExportCommand::Outline),
                ExportStep::Rules(outline) => rules_page(outline),
                ExportStep::Parts(file) => file.parts_page(self.page_parts).map(ExportCommand::Parts),
                ExportStep::Records(file) => file
                    .records_page(self.page_records)
                    .map(|(from, ticks)| ExportCommand::Records(from, ticks)),
                ExportStep::Over => return None,
            };
            if let Some(command) = command {
                self.is_asked = true;
                return Some(command);
            }
            // Nothing is left to be read here.
            let next = match self.take_step() {
                ExportStep::Rules(outline) => self.begin_file(outline, HistoryWorld::default()),
                ExportStep::Parts(file) => ExportStep::Records(file),
                ExportStep::Records(file) => ExportStep::Check(file),
                step => step,
            };
            self.enter(next);
        }
    }

    /// Returns when the next command is due that waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ask_at.filter(|_| !self.is_asked)
    }

    /// Takes the outline that was asked for, at `now`.
    pub fn handle_outline(&mut self, now: Instant, answer: Result<ZoneOutline, StoreError>) {
        match (self.take_step(), answer) {
            (ExportStep::Outline, Ok(outline)) => self.enter(ExportStep::Rules(outline)),
            (ExportStep::Outline, Err(StoreError::Lost)) => self.fail(ExportError::ZoneUnknown),
            (ExportStep::Check(file), Ok(outline)) => self.check(file, &outline),
            (step, Err(error)) => self.ask_again(now, step, error),
            (step, Ok(_)) => self.step = step,
        }
    }

    /// Takes the parts that were asked for, at `now`, in their order.
    pub fn handle_parts(&mut self, now: Instant, answer: Result<Vec<Option<Bytes>>, StoreError>) {
        match (self.take_step(), answer) {
            (ExportStep::Rules(outline), answer) => {
                let first = answer.ok().and_then(|parts| parts.into_iter().next().flatten());
                let title = first.and_then(|first| CaptureTitle::read(&first).ok());
                let (seed, rules_id) = title.and_then(|title| title.terms).unzip();
                let world = HistoryWorld {
                    rules_id,
                    seed,
                    ..HistoryWorld::default()
                };
                let file = self.begin_file(outline, world);
                self.enter(file);
            }
            (ExportStep::Parts(mut file), Ok(parts)) => {
                self.page_parts = (self.page_parts * 2).min(PAGE_PARTS_MAX);
                let out = file.take_parts(parts);
                self.queue.push_back(ExportCommand::Write(out));
                self.enter(ExportStep::Parts(file));
            }
            (ExportStep::Parts(mut file), Err(error)) if self.page_parts == 1 && is_corrupt(&error) => {
                let out = file.take_parts(vec![None]);
                self.queue.push_back(ExportCommand::Write(out));
                self.enter(ExportStep::Parts(file));
            }
            (step, Err(error)) if self.page_parts > 1 && may_pass_in_halves(&error) => {
                self.page_parts /= 2;
                self.enter(step);
            }
            (step, Err(error)) => self.ask_again(now, step, error),
            (step, Ok(_)) => self.step = step,
        }
    }

    /// Takes the records that were asked for, at `now`, as far as they are there.
    pub fn handle_records(&mut self, now: Instant, answer: Result<Vec<StoredRecord>, StoreError>) {
        let asked = match &self.step {
            ExportStep::Records(file) => file.records_page(self.page_records),
            _ => None,
        };
        match (self.take_step(), answer) {
            (ExportStep::Rules(outline), answer) => {
                let rules_id = answer.ok().and_then(|records| rules_of(records.first()?));
                let world = HistoryWorld {
                    rules_id,
                    ..HistoryWorld::default()
                };
                let file = self.begin_file(outline, world);
                self.enter(file);
            }
            (ExportStep::Records(mut file), Ok(records)) => {
                let bytes: usize = records.iter().map(|record| record.body.len()).sum();
                if bytes * 2 <= PAGE_BYTES_MAX {
                    self.page_records = (self.page_records * 2).min(PAGE_RECORDS_MAX);
                }
                self.queue
                    .push_back(ExportCommand::Write(file.take_records(asked, records)));
                self.enter(ExportStep::Records(file));
            }
            (ExportStep::Records(mut file), Err(error)) if self.page_records == 1 && is_corrupt(&error) => {
                self.queue
                    .push_back(ExportCommand::Write(file.take_records(asked, Vec::new())));
                self.enter(ExportStep::Records(file));
            }
            (step, Err(error)) if self.page_records > 1 && may_pass_in_halves(&error) => {
                self.page_records = (self.page_records / 2).max(1);
                self.enter(step);
            }
            (step, Err(error)) => self.ask_again(now, step, error),
            (step, Ok(_)) => self.step = step,
        }
    }

    /// Writes the beginning of the file, and all that the outline says.
    fn begin_file(&mut self, outline: ZoneOutline, mut world: HistoryWorld) -> ExportStep {
        let has_rules = world.rules_id.is_some() && world.rules_id == self.world.rules_id;
        if has_rules {
            world.tick_hz = self.world.tick_hz;
            world.text.clone_from(&self.world.text);
        }
        let header = HistoryHeader {
            zone: self.zone.clone(),
            fence: outline.fence,
            world,
            evidence: None,
        };
        let newest = outline.base_of(outline.chain.len());
        let start = if self.restarts == 0 { 0 } else { newest.unwrap_or(0) };
        let (mut writer, mut out) = HistoryWriter::begin(&header);
        for head in &outline.chain[start..] {
            writer.frame(&HistoryFrame::Checkpoint(*head), &mut out);
        }
        for (session, seq) in &outline.quarantine {
            writer.frame(&HistoryFrame::Quarantined(*session, *seq), &mut out);
        }
        self.queue.push_back(ExportCommand::Write(out));
        let first = outline.journal.map_or(Tick(1), |(first, _)| first);
        let after_base = outline.chain.get(start).map(|base| base.position.tick.next());
        let next_tick = match after_base {
            Some(after) if self.restarts > 0 => first.max(after),
            _ => first,
        };
        ExportStep::Parts(ExportFile {
            summary: ExportSummary {
                checkpoints: outline.chain.len() - start,
                restarts: self.restarts,
                has_rules,
                ..ExportSummary::default()
            },
            writer,
            next_part: (start, 0),
            next_tick,
            outline,
        })
    }

    /// Ends the file, unless what was read does not belong together.
    fn check(&mut self, file: ExportFile, now: &ZoneOutline) {
        let then = &file.outline;
        let is_missing = file.summary.missing_parts + file.summary.missing_records > 0;
        let first = |outline: &ZoneOutline| outline.journal.map(|(first, _)| first);
        let is_trimmed = then.chain.first() != now.chain.first() || first(then) != first(now);
        if now.fence == then.fence && !(is_missing && is_trimmed) {
            let ExportFile {
                writer, mut summary, ..
            } = file;
            let mut out = Vec::new();
            summary.bytes = writer.finish(&mut out);
            self.queue.push_back(ExportCommand::Write(out));
            self.queue.push_back(ExportCommand::Finish(summary));
            return;
        }
        self.restarts += 1;
        if self.restarts == ATTEMPTS_MAX {
            self.fail(ExportError::Moving);
            return;
        }
        self.queue.push_back(ExportCommand::Restart);
        self.enter(ExportStep::Outline);
    }

    fn ask_again(&mut self, now: Instant, step: ExportStep, error: StoreError) {
        match self.tries.handle_error(error) {
            Ok(again) => {
                (self.step, self.is_asked) = (step, false);
                self.ask_at = Some(now + again.after);
            }
            Err(error) => self.fail(ExportError::Store(error)),
        }
    }

    fn enter(&mut self, step: ExportStep) {
        (self.step, self.is_asked, self.ask_at) = (step, false, None);
        self.tries = Tries::default();
    }

    fn take_step(&mut self) -> ExportStep {
        std::mem::replace(&mut self.step, ExportStep::Over)
    }

    fn fail(&mut self, error: ExportError) {
        self.step = ExportStep::Over;
        self.queue.push_back(ExportCommand::Fail(error));
    }
}

impl ExportFile {
    /// Returns the next parts, by position. `None`: all were read.
    fn parts_page(&self, len: usize) -> Option<Vec<PartKey>> {
        let (place, index) = self.next_part;
        let heads = self.outline.chain.iter().enumerate().skip(place);
        let keys = heads.flat_map(|(at, head)| {
            let from = if at == place { index } else { 0 };
            (from..head.parts).map(move |index| (head.position, index))
        });
        let page: Vec<PartKey> = keys.take(len).collect();
        (!page.is_empty()).then_some(page)
    }

    fn take_parts(&mut self, parts: Vec<Option<Bytes>>) -> Vec<u8> {
        let start = self.outline.chain.len() - self.summary.checkpoints;
        let mut out = Vec::new();
        for part in parts {
            while self
                .outline
                .chain
                .get(self.next_part.0)
                .is_some_and(|head| head.parts <= self.next_part.1)
            {
                self.next_part = (self.next_part.0 + 1, 0);
            }
            let (at, index) = self.next_part;
            match part {
                Some(bytes) => {
                    let place = u32::try_from(at - start).expect("a chain is short");
                    self.writer.frame(&HistoryFrame::Part { place, index, bytes }, &mut out);
                }
                None => self.summary.missing_parts += 1,
            }
            self.next_part.1 += 1;
        }
        out
    }

    /// Returns the next ticks. `None`: the journal's last was read.
    fn records_page(&self, len: u32) -> Option<(Tick, u32)> {
        let (_, last) = self.outline.journal?;
        let left = (last.0 + 1).checked_sub(self.next_tick.0).filter(|left| *left > 0)?;
        Some((self.next_tick, u32::try_from(left).unwrap_or(u32::MAX).min(len)))
    }

    fn take_records(&mut self, asked: Option<(Tick, u32)>, records: Vec<StoredRecord>) -> Vec<u8> {
        let (from, ticks) = asked.unwrap_or((self.next_tick, 0));
        self.summary.missing_records += u64::from(ticks).saturating_sub(records.len() as u64);
        self.summary.records += records.len() as u64;
        let mut out = Vec::new();
        for record in records {
            let (first, _) = self.summary.journal.unwrap_or((record.tick, record.tick));
            self.summary.journal = Some((first, record.tick));
            self.writer.frame(&HistoryFrame::Record(record), &mut out);
        }
        self.next_tick = from + u64::from(ticks);
        out
    }
}

/// Returns where the rules of a zone are told: in its newest base, or where its journal begins.
fn rules_page(outline: &ZoneOutline) -> Option<ExportCommand> {
    match (outline.base_of(outline.chain.len()), outline.journal) {
        (Some(base), _) => Some(ExportCommand::Parts(vec![(outline.chain[base].position, 0)])),
        (None, Some((first, _))) => Some(ExportCommand::Records(first, 1)),
        (None, None) => None,
    }
}

/// Returns the rules that a record says its epoch runs.
fn rules_of(record: &StoredRecord) -> Option<[u8; 32]> {
    let record = Record::decode(record).ok()?;
    record.inputs.iter().find_map(|input| match input {
        Input::EpochStart { rules_id, .. } => Some(*rules_id),
        _ => None,
    })
}

const fn is_corrupt(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_))
}

const fn may_pass_in_halves(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_) | StoreError::Unavailable(_))
}

#[cfg(test)]
mod tests;

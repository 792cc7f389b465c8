//! Export: reads everything that a store has of a zone, page by page and without a grant, and says what to write into
//! a history file. It asks no store and opens no file, and reads no clock.
//!
//! ```text
//!   outline ─► a look at the rules ─► parts ─► records ─► outline again ─► the end of the file
//!      ▲                                                     │ another owner, or trimmed meanwhile: from the
//!      │                                                     │ newest base on only; or a first look at damage
//!      └──────────────── begin the file again ◄──────────────┘
//! ```
//!
//! The owner of a zone that lives goes on meanwhile. What it adds does not matter: the file ends where the first
//! outline did. A new owner may have written over what was read, and a new base deletes what is oldest: the file is
//! begun again then. What is missing although the store still names it, or does not follow what is before it, may have
//! been written over between two pages, too: everything is read a second time. What is the same then is damaged in the
//! store, and the file is written without it.

mod file;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use everhold_protocol::{Tick, ZoneName};

use self::file::ExportFile;
use super::asking::Asking;
use super::history::{HistoryHeader, HistoryWorld};
use super::record::Record;
use super::store::{PartKey, StoreError, StoredRecord, ZoneOutline};
use crate::ingress::Input;
use crate::limits::{PAGE_BYTES_MAX, PAGE_PARTS_MAX, PAGE_RECORDS_MAX};
use crate::zone::CaptureTitle;

/// Times that a file is begun. Once a zone was seen to change, only the newest base and what follows it are read, of
/// which nothing is deleted before two more bases: a zone that outruns that cannot be read over this link.
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
    /// Records that do not follow the one before them, or are not those of a checkpoint: they are in the file.
    pub broken_records: u64,
    /// Times that the file was begun again, because the zone changed while it was read, or to look at damage again.
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
        "the zone changed {ATTEMPTS_MAX} times while it was read: a new owner, another history in the place of what \
         was read, or a new base before the old was read"
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

/// The export of one zone.
pub struct Export {
    zone: ZoneName,
    /// The rules at hand, with their id; the file has them if they are those of the zone.
    world: HistoryWorld,
    step: ExportStep,
    asking: Asking,
    page_parts: usize,
    page_records: u32,
    restarts: u32,
    /// Only the newest base and what follows it are read.
    is_newest_only: bool,
    /// The defects of the first look at a damaged history.
    seen: Option<[u8; 32]>,
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
            asking: Asking::NEW,
            page_parts: PAGE_PARTS_MAX,
            page_records: PAGE_RECORDS,
            restarts: 0,
            is_newest_only: false,
            seen: None,
            queue: VecDeque::new(),
        }
    }

    /// Returns what is to be done at `now`. `None`: an answer is awaited, or the moment of [`Export::poll_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<ExportCommand> {
        loop {
            if let Some(command) = self.queue.pop_front() {
                return Some(command);
            }
            if !self.asking.is_due(now) {
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
                self.asking.handle_asked();
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
        self.asking.poll_timeout()
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
            (ExportStep::Rules(outline), Ok(parts)) => {
                let first = parts.into_iter().next().flatten();
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
            // What cannot be read tells no rules; a store that does not answer does, when it is asked again.
            (ExportStep::Rules(outline), Err(error)) if is_corrupt(&error) => {
                let file = self.begin_file(outline, HistoryWorld::default());
                self.enter(file);
            }
            (step @ ExportStep::Rules(_), Err(error)) => self.ask_again(now, step, error),
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
            (ExportStep::Rules(outline), Ok(records)) => {
                let rules_id = records.first().and_then(rules_of);
                let world = HistoryWorld {
                    rules_id,
                    ..HistoryWorld::default()
                };
                let file = self.begin_file(outline, world);
                self.enter(file);
            }
            // What cannot be read tells no rules; a store that does not answer does, when it is asked again.
            (ExportStep::Rules(outline), Err(error)) if is_corrupt(&error) => {
                let file = self.begin_file(outline, HistoryWorld::default());
                self.enter(file);
            }
            (step @ ExportStep::Rules(_), Err(error)) => self.ask_again(now, step, error),
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
        let (mut file, out) = ExportFile::begin(&header, outline, self.is_newest_only);
        file.summary.restarts = self.restarts;
        file.summary.has_rules = has_rules;
        self.queue.push_back(ExportCommand::Write(out));
        ExportStep::Parts(file)
    }

    /// Ends the file, unless what was read does not belong together.
    fn check(&mut self, file: ExportFile, now: &ZoneOutline) {
        let then = &file.outline;
        let first = |outline: &ZoneOutline| outline.journal.map(|(first, _)| first);
        let is_trimmed = then.chain.first() != now.chain.first() || first(then) != first(now);
        let defects = file.defects();
        let is_damaged = defects.is_some();
        if now.fence != then.fence || (is_damaged && is_trimmed) {
            (self.is_newest_only, self.seen) = (true, None);
        } else if is_damaged && defects != self.seen {
            self.seen = defects;
        } else {
            let (summary, out) = file.finish();
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
        match self.asking.handle_error(now, error) {
            Ok(_news) => self.step = step,
            Err(error) => self.fail(ExportError::Store(error)),
        }
    }

    fn enter(&mut self, step: ExportStep) {
        (self.step, self.asking) = (step, Asking::NEW);
    }

    fn take_step(&mut self) -> ExportStep {
        std::mem::replace(&mut self.step, ExportStep::Over)
    }

    fn fail(&mut self, error: ExportError) {
        self.step = ExportStep::Over;
        self.queue.push_back(ExportCommand::Fail(error));
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

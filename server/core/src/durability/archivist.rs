//! Writes a zone behind into the archive: which commit is due, what is in it, and what follows from each answer. It
//! writes nothing itself and reads no clock.
//!
//! ```text
//!   bases, as they are cut ──handle_cut──► waits for its head ──handle_head──► newest ─┐
//!   moves of value ──handle_moves──► ledger ───────────────────────────────────────────┤
//!                                                                                      ▼
//!   Fence ─► Look ─► Ready ──interval, or a stop──► PutPart … ─► Commit ─► Ready    a commit
//! ```
//!
//! Only what is stored gets here: a base counts from the moment at which it is the head of its zone's checkpoints, and
//! a move with the first such base that covers its tick. So the blob, the rows, and the ledger of a commit are of one
//! tick, and that tick is released.
//!
//! An archive that is slow or away costs memory that is bounded, and nothing else: the newest base replaces the one
//! before it, rows are told by what they are now, and moves beyond
//! [`LEDGER_ROWS_MAX`](crate::limits::LEDGER_ROWS_MAX) become what they add up to. A commit that is not answered is
//! sent again as it was, until it is answered.

mod batch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_protocol::{Account, Epoch, Tick, ZoneName};

use self::batch::{Batch, FactsHash, ZoneCut};
pub use self::batch::{CutCharacter, CutFacts, character_row};
use super::archive::{ArchiveCommit, ArchiveError, ArchivedZone, CommitAnswer, CommitMark, CommitReport, LedgerRow};
use super::forks::Fork;
use super::lag::{Lag, LagConfig, LagState};
use super::pending_moves::{PendingMoves, section};
use super::store::Position;
use crate::outage::{Lasted, Outage};
use crate::zone::ValueMove;

/// First and longest wait after an archive did not do what it was asked to.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The configuration of an archivist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivistConfig {
    /// The zone.
    pub zone: ZoneName,
    /// Ticks between two commits.
    pub interval_ticks: u64,
    /// Ticks per second, by which the times of rows are told.
    pub tick_hz: u16,
}

/// A command to the driver. One is under way at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchivistCommand {
    /// Raise the zone's fence in the archive; answer with [`Archivist::handle_fenced`].
    Fence,
    /// Read what the archive has of the zone; answer with [`Archivist::handle_zone`].
    Look,
    /// Write a part of a blob; answer with [`Archivist::handle_part_put`].
    PutPart {
        /// Of the commit with this mark.
        mark: CommitMark,
        /// The part's place in the blob, from 0.
        index: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Do this commit; answer with [`Archivist::handle_committed`].
    Commit(ArchiveCommit),
}

/// News for the log, and for people who watch.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchivistNotice {
    /// The archive did not do what it was asked to.
    Failed(ArchiveError, Lasted),
    /// It does again.
    Confirmed(Lasted),
    /// A commit was done that was not written as it was asked for in all.
    Reported(CommitReport),
    /// The archive has another last commit than was known: everything goes there anew, after that one.
    Moved(Option<CommitMark>),
    /// So many moves of value became what they add up to: the archive is away for too long.
    Merged(u64),
    /// The archive knows of a newer owner: nothing more is written under this epoch.
    Fenced,
    /// Raise or end an alarm: the archive follows the zone, or has not for long, and is so many ticks behind.
    LagChanged(LagState, u64),
}

/// A character that rests in its zone, and that the archive has as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRest {
    /// Its account.
    pub account: Account,
    /// Its generation.
    pub generation: u64,
    /// The character as bytes.
    pub payload: Bytes,
}

#[derive(Clone, Debug)]
enum ArchivistState {
    /// The fence is to be raised.
    Fencing,
    /// The last commit is to be read.
    Looking,
    /// The last commit is known, and nothing is under way.
    Ready,
    /// This is on its way to the archive.
    Writing(Box<Batch>),
    /// Another shard writes.
    Over,
}

/// The write-behind of one zone under one epoch.
#[derive(Debug)]
pub struct Archivist {
    config: ArchivistConfig,
    epoch: Epoch,
    state: ArchivistState,
    /// A command was given out, and its answer is awaited.
    is_sent: bool,
    /// The zone's last commit in the archive.
    last: Option<CommitMark>,
    /// The end of what this epoch has in common with the archive's history before its first commit.
    adopted: Position,
    /// The number of the last commit that was begun.
    number: u64,
    /// A base that is not the head yet.
    cut: Option<ZoneCut>,
    /// The newest base that is, if it is not committed.
    newest: Option<ZoneCut>,
    /// A hash of the facts that the archive has of each character.
    known: BTreeMap<Account, FactsHash>,
    /// Characters at rest that the archive has, not taken yet.
    resting: Vec<ArchivedRest>,
    /// Characters whose rows were refused because of a newer one, with their generation; not taken yet.
    outranked: Vec<(Account, u64)>,
    ledger: PendingMoves,
    /// The tick from which the next base is wanted.
    next_at: Tick,
    /// The tick that the archive has.
    archived: Tick,
    /// The wait after the last failure, and its end.
    back_off: Option<(Duration, Instant)>,
    fails: Outage,
    alarm: Lag,
    notices: Vec<ArchivistNotice>,
}

impl Archivist {
    /// The archivist of a zone that goes on under this epoch from `adopted`, with the moves of owners before.
    #[must_use]
    pub fn new(config: ArchivistConfig, epoch: Epoch, adopted: Position, mut moves: PendingMoves) -> Self {
        moves.forks.note(Fork { epoch, root: adopted });
        Self {
            alarm: Lag::new(LagConfig::of_archive(config.interval_ticks, config.tick_hz)),
            config,
            epoch,
            state: ArchivistState::Fencing,
            is_sent: false,
            last: None,
            adopted,
            number: 0,
            cut: None,
            newest: None,
            known: BTreeMap::new(),
            resting: Vec::new(),
            outranked: Vec::new(),
            ledger: moves,
            next_at: Tick(0),
            archived: Tick(0),
            back_off: None,
            fails: Outage::default(),
            notices: Vec::new(),
        }
    }

    /// Takes the moves of value of a tick, in order. Returns whether they were added up with those before.
    pub fn handle_moves(&mut self, tick: Tick, moves: Vec<ValueMove>) -> bool {
        let merged = self.ledger.add(self.epoch, tick, moves);
        if merged > 0 {
            self.notices.push(ArchivistNotice::Merged(merged));
        }
        merged > 0
    }

    /// Returns the section of a checkpoint's body for the moves up to now: of a delta those after its parent, of a base
    /// all that the archive may lack. A base has the beginnings of all epochs, too: an archive may go back. `None`: the
    /// moves cannot be told apart there, and only a base has them all.
    #[must_use]
    pub fn section(&self, parent: Option<Tick>) -> Option<Vec<u8>> {
        let Some(parent) = parent else {
            return Some(section::encode(self.unarchived(), self.ledger.forks.after(Epoch::NONE)));
        };
        let is_after = |row: &&LedgerRow| row.stamp.tick > parent;
        let is_apart = self.ledger.are_apart_after(parent);
        is_apart.then(|| section::encode(self.unarchived().filter(is_after), self.unarchived_forks()))
    }

    /// Gives up the moves that the archive may lack, for who goes on with the zone.
    #[must_use]
    pub fn into_moves(mut self) -> PendingMoves {
        if let ArchivistState::Writing(batch) = std::mem::replace(&mut self.state, ArchivistState::Over) {
            self.ledger.give_back(batch.into_parts().1);
        }
        self.ledger.bequeathed()
    }

    /// The rows that the archive is not known to have, in order of tick.
    fn unarchived(&self) -> impl Iterator<Item = &LedgerRow> {
        let writing = match &self.state {
            ArchivistState::Writing(batch) => Some(batch.rows()),
            _ => None,
        };
        writing.into_iter().flatten().chain(self.ledger.rows())
    }

    /// The beginnings of epochs that the archive is not known to have a commit of, and this one's: a delta may be the
    /// first checkpoint of its epoch.
    fn unarchived_forks(&self) -> &[Fork] {
        let committed = self.last.map_or(Epoch::NONE, |last| last.position.epoch);
        let before = Epoch(self.epoch.0.saturating_sub(1));
        self.ledger.forks.after(committed.min(before))
    }

    /// Takes a base that was cut, and is on its way to become the head, with every character in it.
    pub fn handle_cut(&mut self, position: Position, body: Bytes, facts: CutFacts) {
        self.cut = Some(ZoneCut {
            position,
            zone: self.config.zone.clone(),
            body,
            facts,
        });
    }

    /// Notes that the base at this position is the head.
    pub fn handle_head(&mut self, position: Position) {
        if let Some(cut) = self.cut.take_if(|cut| cut.position == position) {
            self.newest = Some(cut);
        }
    }

    /// Whether a base is wanted at this tick, said once in an interval: the archive takes commits, and none is due.
    pub fn poll_base(&mut self, tick: Tick) -> bool {
        let is_ready = matches!(self.state, ArchivistState::Ready) && self.back_off.is_none();
        let is_wanted = is_ready && self.newest.is_none() && tick >= self.next_at;
        if is_wanted {
            self.next_at = tick + self.config.interval_ticks;
        }
        is_wanted
    }

    /// Whether a stop waits: there is something to commit, and the archive takes it.
    #[must_use]
    pub fn holds_up_a_stop(&self) -> bool {
        let is_busy = match &self.state {
            ArchivistState::Over => false,
            ArchivistState::Ready => self.newest.is_some(),
            ArchivistState::Fencing | ArchivistState::Looking | ArchivistState::Writing(_) => true,
        };
        is_busy && self.back_off.is_none()
    }

    /// Returns how many ticks the archive is behind the zone at this tick.
    #[must_use]
    pub const fn lag_ticks(&self, tick: Tick) -> u64 {
        tick.0.saturating_sub(self.archived.0)
    }

    /// Takes the zone's last tick, and judges the lag. What was committed before this epoch is no failure of it: an
    /// archive has the time of some commits before there is an alarm.
    pub fn handle_tick(&mut self, tick: Tick) {
        let since = tick.0.saturating_sub(self.archived.max(self.adopted.tick).0);
        if let Some(state) = self.alarm.handle_ticks(since) {
            let lag = self.lag_ticks(tick);
            self.notices.push(ArchivistNotice::LagChanged(state, lag));
        }
    }

    /// Returns the next news.
    pub fn poll_notice(&mut self) -> Option<ArchivistNotice> {
        (!self.notices.is_empty()).then(|| self.notices.remove(0))
    }

    /// Returns what is to be asked of the archive at `now`. `None`: nothing, or an answer is awaited.
    pub fn poll_command(&mut self, now: Instant) -> Option<ArchivistCommand> {
        let waits = self.back_off.is_some_and(|(_, until)| now < until);
        if self.is_sent || waits {
            return None;
        }
        if matches!(self.state, ArchivistState::Ready) {
            self.begin();
        }
        let command = match &mut self.state {
            ArchivistState::Fencing => ArchivistCommand::Fence,
            ArchivistState::Looking => ArchivistCommand::Look,
            ArchivistState::Writing(batch) => batch.command(),
            ArchivistState::Ready | ArchivistState::Over => return None,
        };
        self.is_sent = true;
        Some(command)
    }

    /// Takes the answer to [`ArchivistCommand::Fence`], which came at `now`.
    pub fn handle_fenced(&mut self, now: Instant, answer: Result<(), ArchiveError>) {
        if self.heard(now, answer).is_some() {
            self.state = ArchivistState::Looking;
        }
    }

    /// Takes the answer to [`ArchivistCommand::Look`], which came at `now`.
    pub fn handle_zone(&mut self, now: Instant, answer: Result<Option<ArchivedZone>, ArchiveError>) {
        let Some(zone) = self.heard(now, answer) else { return };
        let newest = zone.as_ref().and_then(|zone| zone.blobs.first()).map(|blob| blob.mark);
        self.go_on_after(zone.and_then(|zone| zone.last));
        // The last commit of a cut brings its blob: with that one, all rows up to there are written. What this history
        // does not have of them is not among those here.
        self.ledger
            .settle(newest.map(|newest| newest.position.tick.min(self.kept().tick)));
    }

    /// Takes the answer to [`ArchivistCommand::PutPart`], which came at `now`.
    ///
    /// # Panics
    /// If none is under way.
    pub fn handle_part_put(&mut self, now: Instant, answer: Result<(), ArchiveError>) {
        if self.heard(now, answer).is_none() {
            return;
        }
        let ArchivistState::Writing(batch) = &mut self.state else {
            panic!("an answer without a part under way")
        };
        batch.handle_part_put();
    }

    /// Takes the answer to [`ArchivistCommand::Commit`], which came at `now`.
    ///
    /// # Panics
    /// If none is under way.
    pub fn handle_committed(&mut self, now: Instant, answer: Result<CommitAnswer, ArchiveError>) {
        let Some(answer) = self.heard(now, answer) else { return };
        let ArchivistState::Writing(batch) = &mut self.state else {
            panic!("an answer without a commit under way")
        };
        match answer {
            CommitAnswer::Done(report) => self.handle_report(report),
            // Whether all its rows were taken, is lost with the answer: they go there once more.
            CommitAnswer::Duplicate => batch.forget_hashes(),
            CommitAnswer::Moved { last } => {
                self.notices.push(ArchivistNotice::Moved(last));
                let batch = std::mem::replace(&mut self.state, ArchivistState::Ready);
                if let ArchivistState::Writing(batch) = batch {
                    self.take_back(*batch);
                }
                return self.go_on_after(last);
            }
        }
        self.note_committed();
    }

    fn handle_report(&mut self, report: CommitReport) {
        let ArchivistState::Writing(batch) = &mut self.state else {
            return;
        };
        for account in &report.superseded {
            let generation = batch.forget_hash(*account);
            self.outranked
                .extend(generation.map(|generation| (*account, generation)));
        }
        if report != CommitReport::default() {
            self.notices.push(ArchivistNotice::Reported(report));
        }
    }

    fn note_committed(&mut self) {
        let ArchivistState::Writing(batch) = &mut self.state else {
            return;
        };
        let (mark, facts) = batch.handle_committed();
        self.last = Some(mark);
        self.known.extend(facts);
        if batch.is_done() {
            self.archived = mark.position.tick;
            self.resting = batch.resting(&self.known);
            self.state = ArchivistState::Ready;
        }
    }

    /// Takes the characters that rest and that the archive has as they are, whenever a base is committed: all that the
    /// base has.
    pub fn take_resting(&mut self) -> Vec<ArchivedRest> {
        std::mem::take(&mut self.resting)
    }

    /// Takes the characters of which the archive has a higher generation than the zone, each with that of the zone.
    pub fn take_outranked(&mut self) -> Vec<(Account, u64)> {
        std::mem::take(&mut self.outranked)
    }

    /// The zone's last commit is this: the next one follows it, and brings everything.
    fn go_on_after(&mut self, last: Option<CommitMark>) {
        self.last = last;
        self.known.clear();
        self.archived = last.map_or(Tick(0), |last| last.position.tick);
        self.state = ArchivistState::Ready;
    }

    /// Begins the commit of the newest base, if there is one.
    fn begin(&mut self) {
        let Some(cut) = self.newest.take() else { return };
        let rows = self.ledger.take_up_to(cut.position.tick);
        let there: BTreeSet<Account> = cut.facts.characters.iter().map(|character| character.account).collect();
        self.known.retain(|account, _| there.contains(account));
        let before = batch::Before {
            last: self.last,
            kept: self.kept(),
            number: self.number,
            tick_hz: self.config.tick_hz,
        };
        let batch = Batch::new(cut, rows, &self.known, before);
        self.number = batch.last_number();
        self.state = ArchivistState::Writing(Box::new(batch));
    }

    /// The last position that the archive's history and this epoch's have in common.
    fn kept(&self) -> Position {
        self.last
            .map_or(Position::GENESIS, |last| self.ledger.forks.kept(last.position))
    }

    /// Gives back what a batch would have written: the next one writes it.
    fn take_back(&mut self, batch: Batch) {
        let (cut, rows) = batch.into_parts();
        self.ledger.give_back(rows);
        self.newest.get_or_insert(cut);
    }

    /// Notes the answer to what was asked. Returns it, if it was done.
    fn heard<T>(&mut self, now: Instant, answer: Result<T, ArchiveError>) -> Option<T> {
        assert!(self.is_sent, "an answer to nothing");
        self.is_sent = false;
        match answer {
            Ok(answer) => {
                self.back_off = None;
                let lasted = self.fails.end(now);
                self.notices.extend(lasted.map(ArchivistNotice::Confirmed));
                Some(answer)
            }
            Err(ArchiveError::Fenced { .. }) => {
                self.state = ArchivistState::Over;
                self.notices.push(ArchivistNotice::Fenced);
                None
            }
            Err(error) => {
                self.handle_failure(now, error);
                None
            }
        }
    }

    /// Waits, each time for twice as long. An outcome that is unknown is asked for again as it was; what the archive
    /// refuses, or calls damaged, it would refuse again: it is looked at anew, and written anew. Before a look is
    /// repeated the fence is raised again: an archive that went back has forgotten it, and shows nothing without it.
    fn handle_failure(&mut self, now: Instant, error: ArchiveError) {
        let wait = self.back_off.map_or(RETRY.0, |(wait, _)| (2 * wait).min(RETRY.1));
        self.back_off = Some((wait, now + wait));
        if !matches!(error, ArchiveError::Unavailable(_))
            && let ArchivistState::Writing(batch) = std::mem::replace(&mut self.state, ArchivistState::Looking)
        {
            self.take_back(*batch);
        } else if matches!(self.state, ArchivistState::Looking) {
            self.state = ArchivistState::Fencing;
        }
        let lasted = self.fails.note(now);
        let notice = lasted.map(|lasted| ArchivistNotice::Failed(error, lasted));
        self.notices.extend(notice);
    }
}

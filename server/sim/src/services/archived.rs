//! The books of the archive: every move of value that a zone ever did, and with that what each commit must hold. A
//! commit is of a history that was stored, its ledger has the moves of that history and no others, and its characters
//! have what those moves add up to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use everhold_core::cluster::routing::AccountReply;
use everhold_core::durability::archive::{
    AccountAnswer, ArchiveCommit, ArchiveError, ArchivedAccount, ArchivedCharacter, ColumnValue, CommitAnswer,
    CommitMark, LedgerRow,
};
use everhold_core::durability::archive::{CharacterRow, WallMs};
use everhold_core::limits::ARCHIVE_PAGE_ROWS_MAX;
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_core::zone::ValueMove;
use everhold_protocol::{Account, Epoch, Tick, ZoneName};

use super::Services;
use super::excuses::{is_left_behind, is_within};
use crate::archive::ArchiveDump;

/// Moves of a zone from which on not every commit is compared with all of them, but one in [`COMPARED_EVERY`]. The last
/// one always is.
const COMPARED_MOVES_MAX: usize = 1_000;
const COMPARED_EVERY: u64 = 16;

/// The book of one zone.
#[derive(Default)]
pub(super) struct ArchiveBook {
    /// The moves of every tick that any epoch ever did.
    moves: BTreeMap<DataStamp, Vec<ValueMove>>,
    /// The highest epoch under which the archive took a write, since it last forgot any.
    written_under: Epoch,
    /// Ticks whose moves the ledger may lack.
    pub(super) excused: BTreeSet<DataStamp>,
    /// Whether the archive ever went back.
    has_gone_back: bool,
    /// Whether the zone's rows are not compared any more: see [`super::excuses`].
    pub(super) is_confused: bool,
    /// Epochs that the archive had seen of another owner when they began.
    pub(super) shut_out: BTreeSet<Epoch>,
}

/// The sum of a history's moves for one account.
#[derive(Default, PartialEq, Eq, Debug)]
struct Balance {
    /// By kind of value, without things.
    amounts: BTreeMap<u32, i128>,
    things: BTreeSet<u64>,
}

impl ArchiveBook {
    /// Returns the move that a row of the ledger is of, by its key.
    fn row(&self, row: &LedgerRow) -> Option<&ValueMove> {
        self.moves.get(&row.stamp)?.get(row.seq as usize)
    }
}

/// Writes, with the checks that belong to them.
impl Services {
    /// Reserves an account for a zone.
    pub fn reserve_account(&mut self, account: Account, generation: u64, zone: ZoneName) -> AccountReply {
        let row = CharacterRow::reserved(account, generation, zone, self.archive.schema());
        match self.archive.put_account(&row, WallMs(0)) {
            Ok(AccountAnswer::Stored) => AccountReply::Reserved,
            Ok(AccountAnswer::Newer { .. } | AccountAnswer::NameTaken { .. }) => AccountReply::Taken,
            Err(error) => AccountReply::of_archive_error(&error),
        }
    }

    /// Raises a zone's fence in the archive.
    pub fn fence_archive(&mut self, tenure: &Tenure) -> Result<(), ArchiveError> {
        let fenced = self.archive.fence(tenure);
        self.note_archive_write(tenure, fenced.is_ok());
        fenced
    }

    /// Writes a part of a blob.
    pub fn put_blob_part(
        &mut self,
        tenure: &Tenure,
        mark: CommitMark,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), ArchiveError> {
        let put = self.archive.put_blob_part(tenure, mark, index, bytes);
        self.note_archive_write(tenure, put.is_ok());
        put
    }

    /// Does a commit, and compares what the archive has then with the books.
    pub fn commit(&mut self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError> {
        let zone = &tenure.zone;
        let before = self.archived_last(zone);
        let answer = self.archive.commit(tenure, commit);
        self.note_archive_write(tenure, answer.is_ok());
        match &answer {
            Ok(CommitAnswer::Done(_)) => self.check_commit(tenure, before, commit),
            Err(ArchiveError::Refused(why)) => {
                let detail = format!("{zone} epoch {}: {why}", tenure.epoch());
                self.breach("an owner asks for no commit that an archive refuses", detail);
            }
            Err(ArchiveError::Corrupt(why)) if !self.archive_book(zone).has_gone_back => {
                let detail = format!("{zone} epoch {}: {why}", tenure.epoch());
                self.breach("a commit has all parts of its blob", detail);
            }
            _ => {}
        }
        answer
    }

    /// Notes that the archive took a write under a grant: none may follow one of a higher epoch.
    fn note_archive_write(&mut self, tenure: &Tenure, is_done: bool) {
        if !is_done {
            return;
        }
        let book = self.archive_book(&tenure.zone);
        let newest = book.written_under;
        book.written_under = newest.max(tenure.epoch());
        if newest > tenure.epoch() {
            let detail = format!("{} epoch {} after epoch {newest}", tenure.zone, tenure.epoch());
            self.breach("no write to the archive follows one of a higher epoch", detail);
        }
    }

    fn check_commit(&mut self, tenure: &Tenure, before: Option<CommitMark>, commit: &ArchiveCommit) {
        let (zone, position) = (&tenure.zone, commit.mark.position);
        if commit.parent != before {
            let detail = format!(
                "{zone}: {:?} is done after {before:?}, it names {:?}",
                commit.mark, commit.parent
            );
            self.breach("a commit follows the one that it names", detail);
        }
        // It may have been stored, and on its way while the store forgot it.
        if !self.book(zone).was_stored(position.stamp()) && !self.has_just_rewound(zone) {
            let detail = format!("{zone} epoch {} tick {}", position.epoch, position.tick);
            self.breach("nothing is archived before it is stored", detail);
        }
        self.check_kept_history(zone, commit);
        let moves = self.archive_book(zone).moves.len();
        let is_compared = moves < COMPARED_MOVES_MAX || commit.mark.number.is_multiple_of(COMPARED_EVERY);
        // Those before the one with the blob hold a part of the rows.
        if commit.blob.is_some() && is_compared {
            self.compare_archive(zone);
        }
    }

    /// Checks that a commit goes on from the history that it has in common with the archive's. Else rows stand that no
    /// state has any more.
    fn check_kept_history(&mut self, zone: &ZoneName, commit: &ArchiveCommit) {
        let stretches = self.book(zone).stretches(commit.mark.position.stamp());
        let kept = commit.kept.stamp();
        let is_kept = kept.tick == Tick(0) || is_within(&stretches, self.book(zone).resolve(kept));
        if !is_kept && !self.archive_book(zone).is_confused {
            let detail = format!("{zone}: {:?} keeps {kept:?}, its history is {stretches:?}", commit.mark);
            self.breach("a commit keeps what its history has", detail);
        }
    }
}

/// Notes in the books.
impl Services {
    /// Notes the moves of value of a tick that an owner did.
    pub fn note_moves(&mut self, tenure: &Tenure, tick: Tick, moves: &[ValueMove]) {
        if !moves.is_empty() {
            let epoch = tenure.epoch();
            let book = self.archive_book(&tenure.zone);
            book.moves.insert(DataStamp { epoch, tick }, moves.to_vec());
        }
    }

    /// Notes that an epoch of a zone begins. Moves of that epoch, and of later ones, are of owners that no one knows of
    /// any more.
    pub(super) fn note_moves_begin(&mut self, tenure: &Tenure) {
        let is_shut_out = self.is_shut_out(tenure);
        let book = self.archive_book(&tenure.zone);
        book.moves.retain(|stamp, _| stamp.epoch < tenure.epoch());
        if is_shut_out {
            book.is_confused = true;
            book.shut_out.insert(tenure.epoch());
        }
    }

    /// Has the archive go back to a backup; `None`: to its first moment. What it forgets, no one can tell it again.
    pub fn rewind_archive(&mut self, dump: Option<&ArchiveDump>) {
        let had = |services: &Self, zone: &ZoneName| {
            let rows = services.archive.ledger(zone).map(|kept| kept.row.stamp);
            rows.collect::<BTreeSet<DataStamp>>()
        };
        let zones: Vec<ZoneName> = self.archived.keys().cloned().collect();
        let before: Vec<_> = zones.iter().map(|zone| had(self, zone)).collect();
        match dump {
            Some(dump) => self.archive.restore_to(dump),
            None => self.archive.forget_everything(),
        }
        for (zone, before) in zones.iter().zip(before) {
            let after = had(self, zone);
            let fence = self.archive.zone(zone, None).ok().flatten();
            let book = self.archive_book(zone);
            book.excused.extend(before.difference(&after));
            book.written_under = fence.map_or(Epoch::NONE, |zone| zone.fence.0);
            book.has_gone_back = true;
        }
    }

    pub(super) fn archived_last(&self, zone: &ZoneName) -> Option<CommitMark> {
        self.archive.zone(zone, None).ok().flatten()?.last
    }

    pub(super) fn archive_book(&mut self, zone: &ZoneName) -> &mut ArchiveBook {
        self.archived.entry(zone.clone()).or_default()
    }
}

/// Comparison of what the archive has with what the books say.
impl Services {
    /// Compares the ledger and the characters of a zone with the moves of the history that its last commit is of.
    pub fn compare_archive(&mut self, zone: &ZoneName) {
        let Some(last) = self
            .archived_last(zone)
            .filter(|_| !self.archive_book(zone).is_confused)
        else {
            return;
        };
        let history = self.history(zone, last.position.stamp());
        self.compare_ledger(zone, &history);
        self.compare_characters(zone, (&history, last.position.stamp()));
    }

    /// Returns the ticks with moves of the history that ends here, in order.
    pub(super) fn history(&mut self, zone: &ZoneName, end: DataStamp) -> Vec<DataStamp> {
        let stretches = self.book(zone).stretches(end);
        let moves = &self.archive_book(zone).moves;
        let in_order = stretches.into_iter().rev();
        let ticks = in_order.flat_map(|(epoch, after, last)| {
            let stamp = move |tick| DataStamp { epoch, tick };
            let from = moves.range(stamp(after.next())..);
            from.take_while(move |(at, _)| **at <= stamp(last))
        });
        ticks.map(|(stamp, _)| *stamp).collect()
    }

    fn compare_ledger(&mut self, zone: &ZoneName, history: &[DataStamp]) {
        let Some(book) = self.archived.get(zone) else { return };
        let ticks: BTreeSet<DataStamp> = history.iter().copied().collect();
        let mut stands = BTreeSet::new();
        let (mut strange, mut lacking) = (Vec::new(), Vec::new());
        for kept in self.archive.ledger(zone).filter(|kept| kept.undone_by.is_none()) {
            let is_its = book.row(kept.row).is_some_and(|told| is_of(kept.row, told));
            if ticks.contains(&kept.row.stamp) && is_its {
                stands.insert((kept.row.stamp, kept.row.seq));
            } else {
                strange.push(format!("{zone}: {:?}", kept.row));
            }
        }
        for stamp in history.iter().filter(|stamp| !book.excused.contains(stamp)) {
            for (seq, told) in (0..).zip(&book.moves[stamp]) {
                if !stands.contains(&(*stamp, seq)) {
                    lacking.push(format!("{zone} {stamp:?}: {told:?}"));
                }
            }
        }
        if let Some(first) = strange.into_iter().next() {
            self.breach("the ledger has no move of another history", first);
        }
        if let Some(first) = lacking.into_iter().next() {
            self.breach("the ledger has every move up to its zone's commit", first);
        }
    }

    fn compare_characters(&mut self, zone: &ZoneName, (history, end): (&[DataStamp], DataStamp)) {
        let stretches = self.book(zone).stretches(end);
        let Some(book) = self.archived.get(zone) else { return };
        let mut balances = BTreeMap::<Account, Balance>::new();
        let moves = history.iter().flat_map(|stamp| &book.moves[stamp]);
        moves.for_each(|told| add(&mut balances, told));
        let mut wrong = Vec::new();
        let residents = self.archive.accounts(Some(zone), None, ARCHIVE_PAGE_ROWS_MAX);
        for resident in residents {
            let ArchivedAccount::Character(character) = resident else {
                continue;
            };
            let balance = balances.remove(&character.account);
            if balance.is_none() && is_left_behind(&character, &stretches) {
                continue;
            }
            let balance = balance.unwrap_or_default();
            let archived = self.balance(&character);
            if archived != balance {
                wrong.push(format!(
                    "{zone} {:?}: {archived:?}, moved {balance:?}",
                    character.account
                ));
            }
        }
        wrong.extend(
            balances
                .first_key_value()
                .map(|(account, _)| format!("{zone} lacks {account:?}")),
        );
        if let Some(first) = wrong.into_iter().next() {
            self.breach("an archived character has what its moves add up to", first);
        }
    }

    /// Returns what a character has by its row. A column of the name of a kind of value is what there is of it.
    fn balance(&self, character: &ArchivedCharacter) -> Balance {
        let schema = self.archive.schema();
        let mut balance = Balance::default();
        for (value, kind) in (0..).zip(schema.values()) {
            let mut columns = schema.columns().iter().zip(&character.columns);
            if let Some((_, ColumnValue::Integer(amount))) = columns.find(|(column, _)| column.name == kind.name) {
                balance.amounts.insert(value, i128::from(*amount));
            }
        }
        let belongings = self.archive.belongings(character.account);
        balance.things = belongings.iter().map(|belonging| belonging.id).collect();
        balance
    }
}

/// Adds a move to what accounts have.
fn add(balances: &mut BTreeMap<Account, Balance>, told: &ValueMove) {
    let amount = i128::from(told.amount);
    for (account, amount) in [(told.from, -amount), (told.to, amount)] {
        let Some(account) = account else { continue };
        let balance = balances.entry(account).or_default();
        match told.thing {
            Some(thing) if amount > 0 => _ = balance.things.insert(thing.0),
            Some(thing) => _ = balance.things.remove(&thing.0),
            None => *balance.amounts.entry(told.value).or_default() += amount,
        }
    }
}

/// Whether a row of the ledger is of this move.
fn is_of(row: &LedgerRow, told: &ValueMove) -> bool {
    let thing = told.thing.map(|thing| thing.0);
    let amount = u64::try_from(row.amount).ok();
    (row.value, row.thing, row.from, row.to, row.command) == (told.value, thing, told.from, told.to, told.command)
        && amount == Some(told.amount)
}

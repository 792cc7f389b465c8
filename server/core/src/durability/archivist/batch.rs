//! The commits by which one cut of a zone enters the archive: as many as the rows need, the last one with the blob.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use everhold_protocol::{Account, ZoneName};

use super::ArchivistCommand;
use crate::durability::archive::{
    ArchiveBlob, ArchiveCommit, Belonging, CharacterPlace, CharacterRow, ColumnValue, CommitMark, LedgerRow, WallMs,
};
use crate::durability::store::Position;
use crate::limits::{ARCHIVE_COMMIT_BYTES_MAX, ARCHIVE_COMMIT_ROWS_MAX, ARCHIVE_PART_BYTES_MAX};
use crate::zone::facts::{CharacterFacts, Fact, Possession, players};
use crate::zone::{Frozen, Game};

/// A hash of what the archive has of a character.
pub(super) type FactsHash = [u8; 16];

/// A base of a zone as an archivist takes it.
#[derive(Clone, Debug)]
pub(super) struct ZoneCut {
    /// The last position that it covers.
    pub(super) position: Position,
    /// The zone.
    pub(super) zone: ZoneName,
    /// The bytes that the zone is restored from.
    pub(super) body: Bytes,
    pub(super) facts: CutFacts,
}

/// All that an archive is to say of a base for people.
#[derive(Clone, Debug, Default)]
pub struct CutFacts {
    /// The time of the cut.
    pub wall: WallMs,
    /// Every character that is in the zone, with what the game says of it.
    pub characters: Vec<(Account, CharacterFacts)>,
}

impl CutFacts {
    /// Takes from a cut what the game says of its characters.
    #[must_use]
    pub fn of(frozen: &Frozen, game: &dyn Game, wall: WallMs) -> Self {
        let players = players(frozen);
        let characters = players.map(|(session, player)| (session.account, game.facts(player)));
        Self {
            wall,
            characters: characters.collect(),
        }
    }
}

/// The state of the archive before a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// The zone's last commit.
    pub(super) last: Option<CommitMark>,
    /// The end of the history that the first commit has in common with it.
    pub(super) kept: Position,
    /// The last number that was given out.
    pub(super) number: u64,
    pub(super) tick_hz: u16,
}

/// Commits that are still to be done, in order. The parts of the blob are written before the last one.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    commits: VecDeque<ArchiveCommit>,
    body: Bytes,
    /// A hash of the facts of each character in the commits.
    hashes: BTreeMap<Account, FactsHash>,
    /// Parts of the body that are written.
    parts_put: u32,
    cut: ZoneCut,
    number: u64,
}

impl Batch {
    /// Divides what changed since the archive heard of it among commits.
    pub(super) fn new(
        cut: ZoneCut,
        rows: Vec<LedgerRow>,
        known: &BTreeMap<Account, FactsHash>,
        before: Before,
    ) -> Self {
        let mut filling = Filling::new(&cut, before);
        let mut hashes = BTreeMap::new();
        for (account, facts) in &cut.facts.characters {
            let hash = hash(facts);
            if known.get(account) != Some(&hash) {
                hashes.insert(*account, hash);
                filling.add_character(character_row(&cut.zone, *account, facts));
            }
        }
        for mut row in rows {
            row.wall = wall_of(&row, &cut, before.tick_hz);
            filling.add_row(row);
        }
        let (mut commits, number) = filling.finish();
        let last = commits.back_mut().expect("a batch has a commit");
        last.blob = ArchiveBlob::of_bytes(cut.body.len() as u64);
        Self {
            commits,
            body: cut.body.clone(),
            hashes,
            parts_put: 0,
            cut,
            number,
        }
    }

    /// The number of the last commit.
    pub(super) const fn last_number(&self) -> u64 {
        self.number
    }

    /// Returns the command that is due.
    pub(super) fn command(&self) -> ArchivistCommand {
        let commit = self.commits.front().expect("a batch that is done asks for nothing");
        if commit.blob.is_some_and(|blob| self.parts_put < blob.parts) {
            let start = self.parts_put as usize * ARCHIVE_PART_BYTES_MAX;
            let end = self.body.len().min(start + ARCHIVE_PART_BYTES_MAX);
            return ArchivistCommand::PutPart {
                mark: commit.mark,
                index: self.parts_put,
                bytes: self.body.slice(start..end),
            };
        }
        ArchivistCommand::Commit(commit.clone())
    }

    pub(super) const fn handle_part_put(&mut self) {
        self.parts_put += 1;
    }

    /// Notes that the commit is done. Returns its mark, and what the archive has of its characters now.
    pub(super) fn handle_committed(&mut self) -> (CommitMark, Vec<(Account, FactsHash)>) {
        let commit = self.commits.pop_front().expect("only what was sent is answered");
        let known = commit
            .characters
            .iter()
            .map(|row| (row.account, self.hashes[&row.account]));
        (commit.mark, known.collect())
    }

    pub(super) fn is_done(&self) -> bool {
        self.commits.is_empty()
    }

    /// The rows that are not written.
    pub(super) fn rows(&self) -> impl Iterator<Item = &LedgerRow> {
        self.commits.iter().flat_map(|commit| &commit.ledger)
    }

    /// The cut, and the rows that are not written.
    pub(super) fn into_parts(self) -> (ZoneCut, Vec<LedgerRow>) {
        let rows = self.commits.into_iter().flat_map(|commit| commit.ledger);
        (self.cut, rows.collect())
    }
}

/// Commits while they are filled.
struct Filling {
    done: VecDeque<ArchiveCommit>,
    commit: ArchiveCommit,
    rows: usize,
    bytes: usize,
}

impl Filling {
    fn new(cut: &ZoneCut, before: Before) -> Self {
        let mark = CommitMark {
            position: cut.position,
            number: before.number + 1,
        };
        Self {
            done: VecDeque::new(),
            commit: empty(mark, before.last, before.kept, cut.facts.wall),
            rows: 0,
            bytes: 0,
        }
    }

    fn add_character(&mut self, row: CharacterRow) {
        self.make_room(row.rows(), row.bytes());
        self.commit.characters.push(row);
    }

    fn add_row(&mut self, row: LedgerRow) {
        self.make_room(1, size_of::<LedgerRow>());
        self.commit.ledger.push(row);
    }

    fn make_room(&mut self, rows: usize, bytes: usize) {
        if self.rows + rows > ARCHIVE_COMMIT_ROWS_MAX || self.bytes + bytes > ARCHIVE_COMMIT_BYTES_MAX {
            let CommitMark { position, number } = self.commit.mark;
            let mark = CommitMark {
                position,
                number: number + 1,
            };
            let next = empty(mark, Some(self.commit.mark), position, self.commit.wall);
            self.done.push_back(std::mem::replace(&mut self.commit, next));
            (self.rows, self.bytes) = (0, 0);
        }
        self.rows += rows;
        self.bytes += bytes;
    }

    fn finish(mut self) -> (VecDeque<ArchiveCommit>, u64) {
        let number = self.commit.mark.number;
        self.done.push_back(self.commit);
        (self.done, number)
    }
}

const fn empty(mark: CommitMark, parent: Option<CommitMark>, kept: Position, wall: WallMs) -> ArchiveCommit {
    ArchiveCommit {
        mark,
        parent,
        kept,
        wall,
        blob: None,
        characters: Vec::new(),
        ledger: Vec::new(),
        audit: Vec::new(),
    }
}

fn character_row(zone: &ZoneName, account: Account, facts: &CharacterFacts) -> CharacterRow {
    CharacterRow {
        account,
        generation: FIRST_GENERATION,
        place: CharacterPlace::Zone(zone.clone()),
        name: None,
        payload: None,
        columns: facts.columns.iter().map(column).collect(),
        belongings: Some(facts.possessions.iter().map(belonging).collect()),
    }
}

/// A character stays in the zone that it was born in.
const FIRST_GENERATION: u64 = 1;

/// The time of a row: as many ticks before the cut as its tick is.
fn wall_of(row: &LedgerRow, cut: &ZoneCut, tick_hz: u16) -> WallMs {
    let ticks = cut.position.tick.0.saturating_sub(row.stamp.tick.0);
    let ms = ticks.saturating_mul(1_000) / u64::from(tick_hz);
    WallMs(cut.facts.wall.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn column(fact: &Fact) -> ColumnValue {
    match fact {
        Fact::Integer(value) => ColumnValue::Integer(*value),
        Fact::Text(text) => ColumnValue::Text(text.clone()),
        Fact::Bool(value) => ColumnValue::Bool(*value),
    }
}

const fn belonging(thing: &Possession) -> Belonging {
    let Possession { id, kind, count } = *thing;
    Belonging { id, kind, count }
}

fn hash(facts: &CharacterFacts) -> FactsHash {
    let mut hasher = blake3::Hasher::new();
    for column in &facts.columns {
        match column {
            Fact::Integer(value) => hasher.update(&value.to_le_bytes()),
            Fact::Text(text) => hasher
                .update(&(text.len() as u64).to_le_bytes())
                .update(text.as_bytes()),
            Fact::Bool(value) => hasher.update(&[u8::from(*value)]),
        };
    }
    for thing in &facts.possessions {
        hasher.update(&thing.id.to_le_bytes());
        hasher.update(&thing.kind.to_le_bytes());
        hasher.update(&thing.count.to_le_bytes());
    }
    let mut hash = FactsHash::default();
    hasher.finalize_xof().fill(&mut hash);
    hash
}

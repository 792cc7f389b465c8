//! The commits by which one cut of a zone enters the archive: as many as the rows need, the last one with the blob.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use everhold_protocol::{Account, ZoneName};

use super::{ArchivedRest, ArchivistCommand};
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
    /// Every character that is in the zone.
    pub characters: Vec<CutCharacter>,
}

/// A character of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutCharacter {
    /// Its account.
    pub account: Account,
    /// Its generation.
    pub generation: u64,
    /// The character as bytes, if it rests.
    pub payload: Option<Bytes>,
    /// The game's word on it.
    pub facts: CharacterFacts,
}

impl CutFacts {
    /// Takes from a cut what the game says of its characters.
    #[must_use]
    pub fn of(frozen: &Frozen, game: &dyn Game, wall: WallMs) -> Self {
        let characters = players(frozen).map(|(session, player)| CutCharacter {
            account: session.account,
            generation: player.generation(),
            payload: player.resting().map(Bytes::from),
            facts: game.facts(player),
        });
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
        for character in &cut.facts.characters {
            let hash = hash(character);
            if known.get(&character.account) != Some(&hash) {
                hashes.insert(character.account, hash);
                filling.add_character(character_row(&cut.zone, character));
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

    /// Forgets what the archive would have of an account: it has something newer. Returns the generation of the
    /// account's character in the cut.
    pub(super) fn forget_hash(&mut self, account: Account) -> Option<u64> {
        self.hashes.remove(&account);
        let mut characters = self.cut.facts.characters.iter();
        let character = characters.find(|character| character.account == account)?;
        Some(character.generation)
    }

    /// Forgets what the archive would have by the commit that is due.
    pub(super) fn forget_hashes(&mut self) {
        for row in self.commits.front().iter().flat_map(|commit| &commit.characters) {
            self.hashes.remove(&row.account);
        }
    }

    /// Returns the characters of the cut that rest, and of which this is known: the archive has them as they are.
    pub(super) fn resting(&self, known: &BTreeMap<Account, FactsHash>) -> Vec<ArchivedRest> {
        let characters = self.cut.facts.characters.iter();
        let archived = characters.filter_map(|character| {
            let payload = character.payload.clone()?;
            let is_archived = known.get(&character.account) == Some(&hash(character));
            is_archived.then_some(ArchivedRest {
                account: character.account,
                generation: character.generation,
                payload,
            })
        });
        archived.collect()
    }

    /// Notes that the commit is done. Returns its mark, and what the archive has of its characters now.
    pub(super) fn handle_committed(&mut self) -> (CommitMark, Vec<(Account, FactsHash)>) {
        let commit = self.commits.pop_front().expect("only what was sent is answered");
        let rows = commit.characters.iter();
        let known = rows.filter_map(|row| Some((row.account, *self.hashes.get(&row.account)?)));
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

/// Returns the row of a character that a zone has. One at rest has a payload, and is on its way to the zone that it
/// rests in the name of.
#[must_use]
pub fn character_row(zone: &ZoneName, character: &CutCharacter) -> CharacterRow {
    let facts = &character.facts;
    CharacterRow {
        account: character.account,
        generation: character.generation,
        place: CharacterPlace::Zone(zone.clone()),
        name: None,
        payload: character.payload.clone(),
        columns: facts.columns.iter().map(column).collect(),
        belongings: Some(facts.possessions.iter().map(belonging).collect()),
    }
}

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

pub(super) fn hash(character: &CutCharacter) -> FactsHash {
    let facts = &character.facts;
    let mut hasher = blake3::Hasher::new();
    // A payload is what it is for as long as its generation is.
    hasher.update(&character.generation.to_le_bytes());
    hasher.update(&[u8::from(character.payload.is_some())]);
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

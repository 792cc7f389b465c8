//! The books of the archive: what an archive lacks, has of another history, or has too early is found; and nothing
//! that cannot be helped.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveCommit, Belonging, CharacterPlace, CharacterRow, ColumnValue, CommitAnswer, CommitMark,
    LedgerRow, WallMs,
};
use everhold_core::durability::store::Position;
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_core::zone::ValueMove;
use everhold_core::zone::archive_schema::{ArchiveColumn, ArchiveKind, ArchiveSchema, ColumnKind};
use everhold_protocol::{Account, EntityId, Epoch, Tick, ZoneName};
use everhold_sim::archive::MemoryArchive;
use everhold_sim::mutant::Mutant;
use everhold_sim::services::Services;
use everhold_store::conformance::{SuiteHistory, tenure};

const EARLY: &str = "nothing is archived before it is stored";
const LACKING: &str = "the ledger has every move up to its zone's commit";
const STRANGE: &str = "the ledger has no move of another history";
const UNEQUAL: &str = "an archived character has what its moves add up to";
const PARENT: &str = "a commit follows the one that it names";

fn meadow() -> ZoneName {
    "meadow".parse().unwrap()
}

/// A game in which wealth is a column and a kind of value, and things are belongings.
fn schema() -> ArchiveSchema {
    let kind = |name: &str| ArchiveKind {
        name: name.to_owned(),
        about: "A kind.".to_owned(),
    };
    let wealth = ArchiveColumn {
        name: "wealth".to_owned(),
        kind: ColumnKind::Integer,
        about: "The wealth.".to_owned(),
    };
    ArchiveSchema::new(vec![wealth], vec![kind("pebble")], vec![kind("wealth"), kind("thing")]).unwrap()
}

/// A zone whose owner stores ticks, does moves, and commits.
struct Owned {
    services: Services,
    owner: Tenure,
    history: SuiteHistory,
    last: Option<CommitMark>,
    number: u64,
}

impl Owned {
    /// The first owner of the zone.
    fn new() -> Self {
        let mut services = Services::default();
        services.archive = MemoryArchive::new(schema());
        let owner = tenure(&meadow(), 1, 1);
        services.note_adopted(&owner, Position::GENESIS, false);
        services.store.fence(&owner).unwrap();
        Self {
            services,
            owner,
            history: SuiteHistory::new(1),
            last: None,
            number: 0,
        }
    }

    fn store(&mut self, tick: u64) {
        let records = self.history.records_to(Tick(tick));
        self.services.append(&self.owner, &records).unwrap();
    }

    /// Has an account get so much in a tick, and a thing of that number.
    fn gain(&mut self, tick: u64, account: u64, amount: u64) {
        let wealth = ValueMove {
            value: 0,
            thing: None,
            amount,
            from: None,
            to: Some(Account(account)),
            command: None,
        };
        let thing = ValueMove {
            value: 1,
            thing: Some(EntityId(tick)),
            amount: 1,
            ..wealth
        };
        self.services.note_moves(&self.owner, Tick(tick), &[wealth, thing]);
    }

    /// A commit of a tick: account 1 has so much, and these things; the ledger has the moves of these ticks.
    fn commit(&mut self, tick: u64, wealth: i64, (rows, things): (&[u64], &[u64])) -> ArchiveCommit {
        self.number += 1;
        let position = Position {
            epoch: self.owner.epoch(),
            tick: Tick(tick),
            ..self.history.last()
        };
        let row = |tick: u64, seq, amount| LedgerRow {
            stamp: DataStamp {
                epoch: self.owner.epoch(),
                tick: Tick(tick),
            },
            seq,
            wall: WallMs(1),
            command: None,
            value: seq,
            thing: (seq == 1).then_some(tick),
            amount,
            from: None,
            to: Some(Account(1)),
        };
        let belonging = |id: &u64| Belonging {
            id: *id,
            kind: 0,
            count: 1,
        };
        let mark = CommitMark {
            position,
            number: self.number,
        };
        self.services
            .put_blob_part(&self.owner, mark, 0, "state".into())
            .unwrap();
        ArchiveCommit {
            mark,
            parent: self.last,
            kept: self.last.map_or(Position::GENESIS, |last| last.position),
            wall: WallMs(1),
            blob: ArchiveBlob::of_bytes(5),
            characters: vec![CharacterRow {
                account: Account(1),
                generation: 1,
                place: CharacterPlace::Zone(meadow()),
                name: None,
                payload: None,
                columns: vec![ColumnValue::Integer(wealth)],
                belongings: Some(things.iter().map(belonging).collect()),
            }],
            ledger: rows
                .iter()
                .flat_map(|tick| [row(*tick, 0, 5), row(*tick, 1, 1)])
                .collect(),
            audit: Vec::new(),
        }
    }

    /// Does a commit. Returns the invariants that it breaks.
    fn put(&mut self, commit: &ArchiveCommit) -> Vec<&'static str> {
        let answer = self.services.commit(&self.owner, commit).unwrap();
        assert!(matches!(answer, CommitAnswer::Done(_)), "{answer:?}");
        self.last = Some(commit.mark);
        let breaches = std::mem::take(&mut self.services.breaches);
        breaches.into_iter().map(|breach| breach.invariant).collect()
    }

    /// Has the next owner go on from a tick that is stored.
    fn succeed(&mut self, epoch: u32, tick: u64) {
        let last = Position {
            tick: Tick(tick),
            ..self.history.last()
        };
        self.owner = tenure(&meadow(), epoch, u64::from(epoch));
        self.services.note_adopted(&self.owner, last, false);
        self.services.fence_archive(&self.owner).unwrap();
        self.history = SuiteHistory::new(epoch);
        self.number = 0;
    }
}

/// A zone with a first commit, of tick 4, in which account 1 has 5 and thing 2.
fn committed() -> Owned {
    let mut owned = Owned::new();
    owned.store(4);
    owned.gain(2, 1, 5);
    let first = owned.commit(4, 5, (&[2], &[2]));
    assert_eq!(owned.put(&first), [""; 0]);
    owned
}

#[test]
fn commit_of_a_tick_that_is_not_stored_is_found() {
    let mut owned = committed();
    let early = owned.commit(5, 5, (&[], &[2]));
    assert_eq!(owned.put(&early), [EARLY]);
}

#[test]
fn moves_that_are_lacking_and_characters_without_them_are_found() {
    let table = [
        (10, vec![6], vec![2, 6], vec![]),
        (10, vec![], vec![2, 6], vec![LACKING]),
        (9, vec![6], vec![2, 6], vec![UNEQUAL]),
        (10, vec![6], vec![2], vec![UNEQUAL]),
    ];
    for (wealth, rows, things, broken) in table {
        let mut owned = committed();
        owned.store(8);
        owned.gain(6, 1, 5);
        let second = owned.commit(8, wealth, (&rows, &things));
        assert_eq!(owned.put(&second), broken, "{wealth} {rows:?} {things:?}");
    }
}

#[test]
fn move_of_a_tick_that_nobody_did_is_found() {
    let mut owned = committed();
    owned.store(8);
    let second = owned.commit(8, 5, (&[7], &[2]));
    assert_eq!(owned.put(&second), [STRANGE]);
}

#[test]
fn commit_after_another_than_it_names_is_found() {
    let mut owned = committed();
    owned.store(8);
    let second = owned.commit(8, 5, (&[], &[2]));
    owned.services.archive.plant(Some(Mutant::ArchiveParentSkipped));
    let other = ArchiveCommit {
        parent: None,
        kept: Position::GENESIS,
        characters: Vec::new(),
        ..second
    };
    assert_eq!(owned.put(&other), [PARENT]);
}

#[test]
fn moves_of_ticks_that_are_taken_back_are_marked_so() {
    let mut owned = committed();
    let parent = owned.last.unwrap();
    owned.succeed(2, 1);
    let mut first = owned.commit(1, 0, (&[], &[]));
    first.kept = Position {
        tick: Tick(1),
        ..parent.position
    };
    assert_eq!(owned.put(&first), [""; 0]);
    let undone: Vec<_> = owned
        .services
        .archive
        .ledger(&meadow())
        .map(|kept| kept.undone_by)
        .collect();
    assert_eq!(undone, [Some(Epoch(2)); 2]);
}

#[test]
fn write_of_an_older_owner_after_a_newer_one_is_found() {
    let mut owned = committed();
    let older = owned.owner.clone();
    owned.succeed(2, 4);
    assert!(owned.services.fence_archive(&older).is_err());
    assert_eq!(owned.services.breaches, []);
    owned.services.archive.plant(Some(Mutant::ArchiveUnfenced));
    owned.services.fence_archive(&older).unwrap();
    let breaches: Vec<_> = owned.services.breaches.iter().map(|breach| breach.invariant).collect();
    assert_eq!(breaches, ["no write to the archive follows one of a higher epoch"]);
}

#[test]
fn what_the_archive_forgot_is_not_missed_and_what_is_done_since_is() {
    let mut owned = committed();
    owned.services.rewind_archive(None);
    owned.last = None;
    owned.store(8);
    owned.gain(6, 1, 5);
    let lacking = owned.commit(8, 10, (&[], &[2, 6]));
    assert_eq!(owned.put(&lacking), [LACKING]);
    let whole = owned.commit(8, 10, (&[6], &[2, 6]));
    assert_eq!(owned.put(&whole), [""; 0]);
}

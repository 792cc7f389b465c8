//! Commits and rows that every archive refuses before it looks at its data, and those that pass.

use bytes::Bytes;
use everhold_protocol::{Account, Epoch, Tick};

use super::commit::ArchiveCommit;
use super::row::{AuditRow, Belonging, CharacterPlace, CharacterRow, ColumnValue, LedgerRow, WallMs, name_key};
use super::{ArchiveBlob, ArchiveError, CommitMark, check_reader};
use crate::durability::store::{Position, RecordHash};
use crate::limits::{ARCHIVE_COMMIT_ROWS_MAX, ARCHIVE_PART_BYTES_MAX, ARCHIVE_PAYLOAD_BYTES_MAX};
use crate::ownership::{DataStamp, Grant, Nonce, Tenure};
use crate::zone::archive_schema::{ArchiveColumn, ArchiveKind, ArchiveSchema, ColumnKind};

fn schema() -> ArchiveSchema {
    let columns = [
        ("wealth", ColumnKind::Integer),
        ("mood", ColumnKind::Real),
        ("motto", ColumnKind::Text),
    ];
    let columns = columns.map(|(name, kind)| ArchiveColumn {
        name: name.to_owned(),
        kind,
        about: String::new(),
    });
    let kind = || ArchiveKind {
        name: "pebble".to_owned(),
        about: String::new(),
    };
    ArchiveSchema::new(columns.to_vec(), vec![kind()], vec![kind()]).expect("well-formed")
}

fn tenure(epoch: u32) -> Tenure {
    Tenure {
        zone: "meadow".parse().expect("a name"),
        grant: Grant::issue(Epoch(epoch), Nonce(7)),
    }
}

fn position(epoch: u32, tick: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        tick: Tick(tick),
        hash: RecordHash([1; 32]),
    }
}

fn mark(epoch: u32, tick: u64, number: u64) -> CommitMark {
    CommitMark {
        position: position(epoch, tick),
        number,
    }
}

fn character(account: u64) -> CharacterRow {
    CharacterRow {
        account: Account(account),
        generation: 1,
        place: CharacterPlace::Zone("meadow".parse().expect("a name")),
        name: None,
        payload: None,
        columns: vec![
            ColumnValue::Integer(1),
            ColumnValue::Real(0.5),
            ColumnValue::Text("so".to_owned()),
        ],
        belongings: None,
    }
}

fn commit() -> ArchiveCommit {
    let stamp = DataStamp {
        epoch: Epoch(2),
        tick: Tick(9),
    };
    ArchiveCommit {
        mark: mark(2, 10, 2),
        parent: Some(mark(2, 10, 1)),
        kept: position(2, 10),
        wall: WallMs(0),
        blob: None,
        characters: vec![character(1), character(2)],
        ledger: vec![LedgerRow {
            stamp,
            seq: 0,
            wall: WallMs(0),
            command: None,
            value: 0,
            thing: None,
            amount: 3,
            from: None,
            to: Some(Account(1)),
        }],
        audit: vec![AuditRow {
            stamp: Some(stamp),
            seq: 0,
            wall: WallMs(0),
            event: "joined".to_owned(),
            account: Some(Account(1)),
            detail: String::new(),
        }],
    }
}

fn refusal(change: impl FnOnce(&mut ArchiveCommit)) -> String {
    let mut commit = commit();
    change(&mut commit);
    match commit.check(&tenure(2), &schema()) {
        Err(ArchiveError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn commit_that_can_be_carried_out_passes() {
    assert_eq!(commit().check(&tenure(2), &schema()), Ok(()));
    let mut first = commit();
    (first.parent, first.mark.number) = (Some(mark(1, 12, 40)), 1);
    for kept in [position(1, 12), position(1, 9), Position::GENESIS] {
        first.kept = kept;
        assert_eq!(
            first.check(&tenure(2), &schema()),
            Ok(()),
            "an epoch counts anew, and may go back to {kept:?}"
        );
    }
    (first.parent, first.kept) = (None, Position::GENESIS);
    assert_eq!(first.check(&tenure(2), &schema()), Ok(()), "a zone's first");
}

#[test]
fn commit_of_another_epoch_or_out_of_order_is_refused() {
    assert!(refusal(|commit| commit.mark.position.epoch = Epoch(3)).contains("under the grant"));
    assert!(refusal(|commit| commit.kept.tick = Tick(9)).contains("keeps what its parent has not"));
    assert!(refusal(|commit| commit.parent = None).contains("keeps what its parent has not"));
    assert!(refusal(|commit| (commit.parent, commit.kept) = (Some(mark(1, 9, 1)), position(1, 10))).contains("keeps"));
    assert!(refusal(|commit| commit.parent = Some(mark(2, 11, 1))).contains("not after its parent"));
    assert!(refusal(|commit| commit.parent = Some(mark(2, 10, 2))).contains("not after its parent"));
    assert!(refusal(|commit| commit.parent = Some(mark(3, 1, 1))).contains("not after its parent"));
}

#[test]
fn rows_of_ticks_that_the_commit_does_not_cover_are_refused() {
    assert!(refusal(|commit| commit.ledger[0].stamp.tick = Tick(11)).contains("no tick"));
    assert!(refusal(|commit| commit.audit[0].stamp = None).contains("no tick"));
}

#[test]
fn rows_that_a_database_would_change_or_refuse_are_refused() {
    let column = |index: usize, value: ColumnValue| refusal(move |commit| commit.characters[1].columns[index] = value);
    assert!(column(1, ColumnValue::Real(f64::NAN)).contains("`mood` is not finite"));
    assert!(column(2, ColumnValue::Text("a\0b".to_owned())).contains("`motto` holds a NUL"));
    assert!(column(2, ColumnValue::Text("a".repeat(2_000))).contains("2000 bytes"));
    assert!(column(0, ColumnValue::Bool(true)).contains("`wealth` of account 2 is not integer"));
    assert!(refusal(|commit| commit.characters[0].columns.truncate(2)).contains("2 values for 3 columns"));
    assert!(refusal(|commit| commit.ledger[0].amount = -1).contains("negative"));
    assert!(refusal(|commit| commit.ledger[0].value = 1).contains("no kind 1 of value"));
    assert!(refusal(|commit| commit.audit[0].event.clear()).contains("no event"));
}

#[test]
fn account_or_name_that_occurs_twice_is_refused() {
    assert!(refusal(|commit| commit.characters[1].account = Account(1)).contains("occurs twice"));
    let named = refusal(|commit| {
        commit.characters[0].name = Some("Ann".to_owned());
        commit.characters[1].name = Some("ANN ".to_owned());
    });
    assert!(named.contains("occurs twice"), "{named}");
    assert_eq!(name_key(" ÄNN "), "änn");
    assert!(refusal(|commit| commit.characters[0].name = Some(" ".to_owned())).contains("is empty"));
}

#[test]
fn character_at_rest_without_a_payload_is_refused() {
    let why = refusal(|commit| commit.characters[0].place = CharacterPlace::Rest);
    assert!(why.contains("rests without a payload"), "{why}");
    let why = refusal(|commit| {
        commit.characters[0].payload = Some(Bytes::from(vec![0; ARCHIVE_PAYLOAD_BYTES_MAX + 1]));
    });
    assert!(why.contains("the payload of account 1"), "{why}");
}

#[test]
fn belongings_of_one_number_or_an_undeclared_kind_are_refused() {
    let belongings = |rows: Vec<(u64, u32)>| {
        let rows = rows.into_iter().map(|(id, kind)| Belonging { id, kind, count: 1 });
        let rows: Vec<Belonging> = rows.collect();
        refusal(move |commit| commit.characters[0].belongings = Some(rows))
    };
    assert!(belongings(vec![(1, 0), (2, 0), (1, 0)]).contains("two belongings of one number"));
    assert!(belongings(vec![(1, 9)]).contains("no kind 9 of belongings"));
}

#[test]
fn commit_beyond_its_bounds_is_refused() {
    let rows = refusal(|commit| commit.audit = vec![commit.audit[0].clone(); ARCHIVE_COMMIT_ROWS_MAX]);
    assert!(rows.contains("rows, at most"), "{rows}");
    let bytes = refusal(|commit| {
        let payload = Bytes::from(vec![0; ARCHIVE_PAYLOAD_BYTES_MAX]);
        commit.characters = (0..65).map(character).collect();
        commit
            .characters
            .iter_mut()
            .for_each(|row| row.payload = Some(payload.clone()));
    });
    assert!(bytes.contains("bytes, at most"), "{bytes}");
}

#[test]
fn blob_has_a_part_for_each_mebibyte_and_one_at_least() {
    let part = ARCHIVE_PART_BYTES_MAX as u64;
    let parts = |bytes| ArchiveBlob::of_bytes(bytes).map(|blob| blob.parts);
    assert_eq!([0, 1, part, part + 1, 64 * part].map(parts), [1, 1, 1, 2, 64].map(Some));
    assert_eq!(parts(u64::MAX), None);
}

#[test]
fn reader_under_a_grant_reads_only_while_it_is_the_fence() {
    let grant = Grant::issue(Epoch(2), Nonce(7));
    assert_eq!(check_reader(None, None), Ok(()));
    assert_eq!(check_reader(Some((Epoch(2), Nonce(7))), Some(grant)), Ok(()));
    let fenced = |epoch| Err(ArchiveError::Fenced { epoch: Epoch(epoch) });
    assert_eq!(check_reader(Some((Epoch(3), Nonce(1))), Some(grant)), fenced(3));
    assert_eq!(check_reader(Some((Epoch(2), Nonce(8))), Some(grant)), fenced(2));
    for forgotten in [None, Some((Epoch(1), Nonce(7)))] {
        let read = check_reader(forgotten, Some(grant));
        assert!(matches!(read, Err(ArchiveError::Unavailable(_))), "{read:?}");
    }
}

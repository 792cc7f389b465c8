//! The beginnings of an archive's suite: a game's declarations, rows, and commits. It asks nothing of an archive but
//! that a commit is done.

use bytes::Bytes;
use everhold_core::durability::archive::{
    Archive, ArchiveCommit, AuditRow, CharacterPlace, CharacterRow, ColumnValue, CommitAnswer, CommitMark,
    CommitReport, LedgerRow, WallMs,
};
use everhold_core::durability::store::{Position, RecordHash};
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_core::zone::archive_schema::{ArchiveColumn, ArchiveKind, ArchiveSchema, ColumnKind};
use everhold_protocol::{Account, EntityId, Epoch, Tick, ZoneName};

use super::history::zone;

/// Declarations of a game that there is not.
#[must_use]
pub fn suite_schema() -> ArchiveSchema {
    let column = |name: &str, kind| ArchiveColumn {
        name: name.to_owned(),
        kind,
        about: format!("The {name} of a character."),
    };
    let columns = vec![
        column("wealth", ColumnKind::Integer),
        column("mood", ColumnKind::Real),
        column("motto", ColumnKind::Text),
        column("is_marked", ColumnKind::Bool),
    ];
    ArchiveSchema::new(columns, kinds(&["pebble", "feather"]), kinds(&["wealth", "thing"])).expect("well-formed")
}

fn kinds(names: &[&str]) -> Vec<ArchiveKind> {
    let kind = |name: &&str| ArchiveKind {
        name: (*name).to_owned(),
        about: format!("The kind `{name}`."),
    };
    names.iter().map(kind).collect()
}

/// A character of the suite's game, in a zone.
#[must_use]
pub fn suite_character(account: u64, generation: u64, home: &ZoneName) -> CharacterRow {
    CharacterRow {
        account: Account(account),
        generation,
        place: CharacterPlace::Zone(home.clone()),
        name: None,
        payload: None,
        columns: vec![
            ColumnValue::Integer(account.cast_signed()),
            ColumnValue::Real(0.25),
            ColumnValue::Text("so".to_owned()),
            ColumnValue::Bool(true),
        ],
        belongings: None,
    }
}

/// The same character at rest, with this payload.
pub(super) fn at_rest(account: u64, generation: u64, payload: &[u8]) -> CharacterRow {
    CharacterRow {
        place: CharacterPlace::Rest,
        payload: Some(Bytes::copy_from_slice(payload)),
        ..suite_character(account, generation, &zone("none"))
    }
}

pub(super) fn mark(epoch: u32, tick: u64, number: u64) -> CommitMark {
    let position = Position {
        epoch: Epoch(epoch),
        tick: Tick(tick),
        hash: RecordHash([tick.to_le_bytes()[0]; 32]),
    };
    CommitMark { position, number }
}

/// An empty commit after `parent`.
pub(super) fn after(parent: Option<CommitMark>, mark: CommitMark) -> ArchiveCommit {
    ArchiveCommit {
        mark,
        parent,
        kept: parent.map_or(Position::GENESIS, |parent| parent.position),
        wall: WallMs(1_000 + mark.position.tick.0.cast_signed()),
        blob: None,
        characters: Vec::new(),
        ledger: Vec::new(),
        audit: Vec::new(),
    }
}

pub(super) fn ledger(epoch: u32, tick: u64, seq: u32) -> LedgerRow {
    LedgerRow {
        stamp: stamp(epoch, tick),
        seq,
        wall: WallMs(1_000 + tick.cast_signed()),
        command: Some((EntityId::new(1, 7), 3)),
        value: 0,
        thing: None,
        amount: 5,
        from: Some(Account(1)),
        to: None,
    }
}

pub(super) fn audit(epoch: u32, tick: u64, event: &str, account: u64) -> AuditRow {
    AuditRow {
        stamp: Some(stamp(epoch, tick)),
        seq: 0,
        wall: WallMs(1_000 + tick.cast_signed()),
        event: event.to_owned(),
        account: Some(Account(account)),
        detail: String::new(),
    }
}

fn stamp(epoch: u32, tick: u64) -> DataStamp {
    DataStamp {
        epoch: Epoch(epoch),
        tick: Tick(tick),
    }
}

/// Does a commit that must be done as it is.
pub(super) async fn done(archive: &impl Archive, tenure: &Tenure, commit: &ArchiveCommit) {
    let answer = archive.commit(tenure, commit).await.expect("answered");
    assert_eq!(answer, CommitAnswer::Done(CommitReport::default()));
}

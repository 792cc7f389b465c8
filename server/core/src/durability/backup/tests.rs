//! Files of backups, whole and damaged. What a backup of a running world has in it, the model beside asks.

mod model;

use bytes::Bytes;
use everhold_protocol::{Account, EntityId, Epoch, Tick};

use super::*;
use crate::durability::archive::{Belonging, ColumnValue, LedgerRow, WallMs};
use crate::durability::bans::Ban;
use crate::durability::rules_store::WorldFile;
use crate::durability::store::{Position, RecordHash};
use crate::ownership::{DataStamp, RulesStamp};

const RULES: RulesStamp = RulesStamp {
    id: [3; 32],
    code: 7,
    layout: 5,
};

fn header() -> BackupFrame {
    BackupFrame::Header(BackupHeader {
        id: [9; 16],
        build: "0.1.0".to_owned(),
        wall: WallMs(1_000),
        wanted: Some(RULES.id),
        has_archive: true,
        columns: vec![
            ("wealth".to_owned(), "integer".to_owned()),
            ("motto".to_owned(), "text".to_owned()),
        ],
        belongings: vec!["pebble".to_owned()],
        values: vec!["wealth".to_owned()],
    })
}

fn world() -> BackupFrame {
    BackupFrame::World(BackupWorld(WorldFile {
        rules: RULES,
        tick_hz: 20,
        text: "a world".to_owned(),
    }))
}

fn zone(name: &str, tick: u64, bytes: u64) -> BackupFrame {
    BackupFrame::Zone(BackupZone {
        zone: name.parse().unwrap(),
        position: Position {
            epoch: Epoch(4),
            tick: Tick(tick),
            hash: RecordHash([8; 32]),
        },
        fence: Epoch(6),
        rules: RULES,
        bytes,
    })
}

fn character(account: u64, is_resident: bool, payload: Option<&'static [u8]>) -> BackupFrame {
    BackupFrame::Character(BackupCharacter {
        account: Account(account),
        generation: 3,
        is_resident,
        name: Some(format!("Name {account}")),
        payload: payload.map(Bytes::from_static),
        columns: vec![ColumnValue::Integer(10), ColumnValue::Text("so".to_owned())],
        belongings: vec![Belonging {
            id: account,
            kind: 0,
            count: 2,
        }],
    })
}

fn ledger(tick: u64) -> BackupFrame {
    BackupFrame::Ledger(LedgerRow {
        stamp: DataStamp {
            epoch: Epoch(4),
            tick: Tick(tick),
        },
        seq: 1,
        wall: WallMs(tick.cast_signed()),
        command: Some((EntityId(5), 6)),
        value: 0,
        thing: Some(u64::MAX),
        amount: 12,
        from: None,
        to: Some(Account(u64::MAX)),
    })
}

/// A backup of two zones, one of which was copied again.
fn frames() -> Vec<BackupFrame> {
    vec![
        header(),
        world(),
        zone("meadow", 90, 4),
        BackupFrame::Part(Bytes::from_static(b"ab")),
        BackupFrame::Part(Bytes::from_static(b"cd")),
        character(1, false, Some(b"at rest")),
        character(2, true, None),
        character(3, true, None),
        ledger(80),
        BackupFrame::ZoneEnd,
        zone("forest", 40, 0),
        character(4, true, Some(b"rests in its zone")),
        BackupFrame::ZoneEnd,
        BackupFrame::Deleted(Account(7), 12),
        BackupFrame::Ban(Ban {
            account: Account(8),
            revision: 2,
            until_ms: Some(1_800_000_000_000),
            is_lifted: false,
            by: "anne".to_owned(),
            reason: "sells gold".to_owned(),
        }),
        character(8, false, Some(b"of no zone")),
        zone("meadow", 95, 1),
        BackupFrame::Part(Bytes::from_static(b"e")),
        character(1, true, None),
        character(2, false, Some(b"")),
        character(5, false, None),
        ledger(80),
        ledger(94),
        BackupFrame::ZoneEnd,
    ]
}

fn written(frames: &[BackupFrame]) -> Vec<u8> {
    let (mut writer, mut bytes) = BackupWriter::begin();
    frames.iter().for_each(|frame| bytes.extend(writer.frame(frame)));
    bytes.extend(writer.finish());
    bytes
}

fn read(bytes: &[u8], piece: usize) -> Result<Vec<BackupFrame>, BackupError> {
    let (mut reader, mut frames) = (BackupReader::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        while let Some(frame) = reader.poll()? {
            frames.push(frame);
        }
    }
    reader.finish().map(|()| frames)
}

fn indexed(frames: &[BackupFrame]) -> Result<BackupIndex, BackupError> {
    let mut index = BackupIndex::default();
    frames.iter().try_for_each(|frame| index.take(frame))?;
    index.finish().map(|()| index)
}

#[test]
fn frames_are_read_as_they_were_written_from_pieces_of_any_size() {
    let bytes = written(&frames());
    for piece in [1, 7, bytes.len()] {
        assert_eq!(read(&bytes, piece), Ok(frames()), "pieces of {piece}");
    }
}

#[test]
fn file_that_is_cut_short_is_found_wherever_it_is_cut() {
    let bytes = written(&frames());
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len], 64), Err(BackupError::Truncated), "{len} bytes");
    }
}

#[test]
fn flipped_bit_is_found_wherever_it_is() {
    let bytes = written(&frames());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(read(&flipped, 64).is_err(), "byte {at}");
    }
}

#[test]
fn frame_that_is_left_out_repeated_or_moved_is_found() {
    let (mut writer, mut pieces) = BackupWriter::begin();
    let mut pieces = vec![std::mem::take(&mut pieces)];
    pieces.extend(frames().iter().map(|frame| writer.frame(frame)));
    pieces.push(writer.finish());
    assert!(read(&pieces.concat(), 64).is_ok());
    for at in 1..pieces.len() - 1 {
        let mut left_out = pieces.clone();
        left_out.remove(at);
        let mut repeated = pieces.clone();
        repeated.insert(at, pieces[at].clone());
        let mut moved = pieces.clone();
        moved.swap(at, at + 1);
        for changed in [left_out, repeated, moved] {
            assert!(read(&changed.concat(), 64).is_err(), "frame {at}");
        }
    }
}

#[test]
fn what_follows_the_end_is_damage() {
    let bytes = [written(&frames()), vec![0]].concat();
    assert!(matches!(read(&bytes, 64), Err(BackupError::Damaged(_))));
}

#[test]
fn later_layout_and_another_file_are_refused_by_name() {
    let mut later = written(&frames());
    later[8] = 2;
    let error = read(&later, 64).unwrap_err();
    assert_eq!(
        (error.clone(), error.code()),
        (BackupError::Layout(2), "layout_unknown")
    );
    assert_eq!(read(b"EHZONE\r\n\x01\x00", 64), Err(BackupError::Magic));
}

#[test]
fn draft_that_is_cut_back_goes_on_as_if_nothing_had_been_written_since() {
    let (mut writer, mut bytes) = BackupWriter::begin();
    bytes.extend(writer.frame(&header()));
    let (mark, len) = (writer.clone(), bytes.len());
    bytes.extend(writer.frame(&zone("meadow", 1, 0)));
    bytes.truncate(len);
    writer = mark;
    bytes.extend(writer.frame(&world()));
    bytes.extend(writer.finish());
    assert_eq!(read(&bytes, 64), Ok(vec![header(), world()]));
}

#[test]
fn last_copy_of_a_zone_counts_and_the_others_do_not() {
    let index = indexed(&frames()).unwrap();
    let meadow = &index.zones()[&"meadow".parse().unwrap()];
    let counts = (
        meadow.unit,
        meadow.residents,
        meadow.rests,
        meadow.reserved,
        meadow.ledger,
    );
    assert_eq!(counts, (2, 1, 1, 1, 2));
    assert_eq!(index.zones().len(), 2);
    assert_eq!((index.accounts(), index.deleted()), (5, 1), "1, 2, 5, 4, and 8");
    assert_eq!(index.sums(), [("wealth".to_owned(), 40)]);
}

#[test]
fn backup_that_makes_no_sense_as_a_whole_is_refused() {
    let twice = |frames: &mut Vec<BackupFrame>| {
        let at = frames.len() - 1;
        frames.insert(at, character(4, false, Some(b"also here")));
    };
    let changes: [fn(&mut Vec<BackupFrame>); 5] = [
        twice,
        |frames| drop(frames.remove(1)),
        |frames| drop(frames.remove(0)),
        |frames| drop(frames.pop()),
        |frames| drop(frames.remove(16)),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = frames();
        change(&mut changed);
        assert!(indexed(&changed).is_err(), "change {number}");
    }
}

#[test]
fn mark_of_a_restore_is_told_from_rules() {
    let marker = RestoreMarker([7; 16]);
    let id = marker.to_rules_id();
    assert_eq!(RestoreMarker::of_rules_id(&id), Some(marker));
    assert_eq!(RestoreMarker::of_rules_id(&RULES.id), None);
    assert_eq!(RestoreMarker::refuse(Some(id)), Err(RestoreUnfinished(marker)));
    assert_eq!(RestoreMarker::refuse(Some(RULES.id)), Ok(()));
    assert_eq!(RestoreMarker::refuse(None), Ok(()));
}

//! History files, whole and damaged.

use bytes::Bytes;
use everhold_protocol::EntityId;

use super::*;
use crate::durability::store::{CheckpointHead, CheckpointKind, Position, RecordHash, StoredRecord};

fn position(tick: u64) -> Position {
    Position {
        epoch: Epoch(2),
        tick: Tick(tick),
        hash: RecordHash([tick as u8; 32]),
    }
}

fn header() -> HistoryHeader {
    HistoryHeader {
        zone: "meadow".parse().unwrap(),
        fence: (Epoch(2), Nonce(u64::MAX)),
        world: HistoryWorld {
            rules_id: Some([5; 32]),
            seed: Some(7),
            tick_hz: Some(20),
            text: Some("[world]\n".to_owned()),
        },
        evidence: Some(EvidenceNote {
            epoch: Epoch(3),
            tick: Tick(9),
            why: EvidenceWhy::Forked,
        }),
    }
}

fn frames() -> Vec<HistoryFrame> {
    let head = |tick, kind| CheckpointHead {
        position: position(tick),
        kind,
        parts: 1,
        bytes: 3,
    };
    let part = |place| HistoryFrame::Part {
        place,
        index: 0,
        bytes: Bytes::from_static(b"abc"),
    };
    let record = StoredRecord {
        tick: Tick(9),
        prev_hash: RecordHash([8; 32]),
        hash: RecordHash([9; 32]),
        body: Bytes::from_static(b"inputs"),
    };
    vec![
        HistoryFrame::Checkpoint(head(6, CheckpointKind::Base)),
        HistoryFrame::Checkpoint(head(8, CheckpointKind::Delta { parent: position(6) })),
        HistoryFrame::Quarantined(EntityId::new(1, 2), 3),
        part(0),
        part(1),
        HistoryFrame::Record(record),
    ]
}

fn file_of(header: &HistoryHeader, frames: &[HistoryFrame]) -> Vec<u8> {
    let (mut writer, mut file) = HistoryWriter::begin(header);
    frames.iter().for_each(|frame| writer.frame(frame, &mut file));
    let bytes = writer.finish(&mut file);
    assert_eq!(bytes, file.len() as u64);
    file
}

fn read(file: &[u8], piece: usize) -> Result<Vec<HistoryFrame>, HistoryError> {
    let (mut reader, mut frames) = (HistoryReader::default(), Vec::new());
    for piece in file.chunks(piece) {
        reader.push(piece);
        while let Some(frame) = reader.poll()? {
            frames.push(frame);
        }
    }
    reader.finish()?;
    Ok(frames)
}

#[test]
fn file_is_read_as_it_was_written_whatever_the_pieces() {
    let mut expected = vec![HistoryFrame::Header(header())];
    expected.extend(frames());
    let file = file_of(&header(), &frames());
    for piece in [1, 2, 7, file.len()] {
        assert_eq!(read(&file, piece).unwrap(), expected);
    }
    let bare = HistoryHeader {
        world: HistoryWorld::default(),
        evidence: None,
        ..header()
    };
    assert_eq!(read(&file_of(&bare, &[]), 5).unwrap(), [HistoryFrame::Header(bare)]);
}

#[test]
fn every_flipped_bit_is_an_error() {
    let file = file_of(&header(), &frames());
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let error = read(&damaged, 64).expect_err("a bit is another");
            let expected = match at {
                0..8 => matches!(error, HistoryError::Magic),
                8..10 => matches!(error, HistoryError::Version(_)),
                _ => !matches!(error, HistoryError::Magic | HistoryError::Version(_)),
            };
            assert!(expected, "byte {at}: {error}");
        }
    }
}

#[test]
fn file_that_is_cut_short_anywhere_is_said_to_be() {
    let file = file_of(&header(), &frames());
    for len in 0..file.len() {
        assert_eq!(read(&file[..len], 64), Err(HistoryError::Truncated), "{len} bytes");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(matches!(read(&longer, 64), Err(HistoryError::Frame { .. })));
}

#[test]
fn frames_stand_only_where_they_may() {
    let file = |frames: &[HistoryFrame]| read(&file_of(&header(), frames), 64);
    let twice = file(&[HistoryFrame::Header(header())]);
    assert!(matches!(twice, Err(HistoryError::Frame { number: 1, .. })), "{twice:?}");
    let part_first = file(&frames()[3..4]);
    assert!(matches!(part_first, Err(HistoryError::Frame { number: 1, .. })));
}

#[test]
fn length_that_no_frame_has_is_not_waited_for() {
    let mut file = file_of(&header(), &[]);
    let at = PREAMBLE_BYTES;
    file[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(&file, 64), Err(HistoryError::Frame { number: 0, .. })));
}

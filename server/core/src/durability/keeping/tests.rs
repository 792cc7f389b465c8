//! The keeping of evidence, told by what the store answers.

use everhold_protocol::{Epoch, Tick};

use super::*;
use crate::durability::evidence::EvidenceWhy;
use crate::durability::history::{HistoryReader, HistoryWorld};
use crate::durability::store::{Position, RecordHash, StoredRecord};
use crate::ownership::{Grant, Nonce};

const NOTE: EvidenceNote = EvidenceNote {
    epoch: Epoch(3),
    tick: Tick(40),
    why: EvidenceWhy::Divergent,
};

fn frames(count: u64) -> VecDeque<HistoryFrame> {
    let record = |tick| {
        HistoryFrame::Record(StoredRecord {
            tick: Tick(tick),
            prev_hash: RecordHash([1; 32]),
            hash: RecordHash([2; 32]),
            body: Bytes::from(vec![3; 1_000]),
        })
    };
    (1..=count).map(record).collect()
}

fn keeping(count: u64) -> Keeping {
    let header = HistoryHeader {
        zone: "meadow".parse().unwrap(),
        fence: (Epoch(3), Nonce(9)),
        world: HistoryWorld::default(),
        evidence: None,
    };
    Keeping::new(header, NOTE, frames(count))
}

fn away() -> Result<EvidenceAnswer, StoreError> {
    Err(StoreError::Unavailable("no room".to_owned()))
}

#[test]
fn parts_of_a_piece_are_a_history_file_that_names_why() {
    let (mut keeping, now) = (keeping(200), Instant::now());
    let mut reader = HistoryReader::default();
    let (mut parts, mut sealed) = (0, None);
    while let Some(command) = keeping.poll(now) {
        assert_eq!(keeping.poll(now), None, "one operation at a time");
        match command {
            KeepCommand::Put(index, part) => {
                assert_eq!(index, parts);
                assert!(!part.is_empty() && part.len() <= PART_BYTES_MAX);
                parts += 1;
                reader.push(&part);
            }
            KeepCommand::Seal(mark) => sealed = Some(mark),
            KeepCommand::Drop => panic!("nothing went wrong"),
        }
        keeping.handle(now, Ok(EvidenceAnswer::Kept)).unwrap();
    }
    let mark = sealed.unwrap();
    assert_eq!(keeping.outcome(), Some(&KeepOutcome::Kept(mark)));
    assert_eq!(
        (mark.parts, mark.epoch, mark.tick, mark.why),
        (parts, NOTE.epoch, NOTE.tick, NOTE.why)
    );
    assert!(parts > 2, "{mark:?}");
    let mut read = Vec::new();
    while let Some(frame) = reader.poll().unwrap() {
        read.push(frame);
    }
    reader.finish().unwrap();
    let HistoryFrame::Header(header) = &read[0] else {
        panic!("it begins with the header")
    };
    assert_eq!(header.evidence, Some(NOTE));
    assert_eq!(read[1..], Vec::from(frames(200)));
}

#[test]
fn second_piece_is_counted_and_not_written() {
    let (mut keeping, now) = (keeping(200), Instant::now());
    assert!(matches!(keeping.poll(now), Some(KeepCommand::Put(0, _))));
    keeping.handle(now, Ok(EvidenceAnswer::Counted)).unwrap();
    assert!(matches!(keeping.poll(now), Some(KeepCommand::Seal(_))));
    keeping.handle(now, Ok(EvidenceAnswer::Counted)).unwrap();
    assert_eq!(keeping.outcome(), Some(&KeepOutcome::Counted));
    assert_eq!(keeping.poll(now), None);
}

#[test]
fn store_without_room_costs_the_evidence_and_nothing_else() {
    let (mut keeping, mut now) = (keeping(200), Instant::now());
    let start = now;
    assert!(matches!(keeping.poll(now), Some(KeepCommand::Put(0, _))));
    keeping.handle(now, Ok(EvidenceAnswer::Kept)).unwrap();
    let mut tried = 0;
    while keeping.outcome().is_none() {
        match keeping.poll(now) {
            Some(KeepCommand::Put(1, _)) => tried += 1,
            Some(KeepCommand::Drop) => {}
            Some(other) => panic!("{other:?}"),
            None => now = keeping.poll_timeout().expect("it waits for time"),
        }
        if keeping.is_asked {
            keeping.handle(now, away()).unwrap();
        }
    }
    assert_eq!(tried, TRIES_MAX);
    let Some(KeepOutcome::GivenUp(why)) = keeping.outcome() else {
        panic!("it was given up")
    };
    assert!(why.contains("no room"), "{why}");
    assert!(now - start < Duration::from_secs(1), "players wait meanwhile");
}

#[test]
fn silence_in_between_costs_nothing() {
    let (mut keeping, now) = (keeping(1), Instant::now());
    for answer in [
        away(),
        away(),
        Ok(EvidenceAnswer::Kept),
        away(),
        away(),
        Ok(EvidenceAnswer::Kept),
    ] {
        let at = keeping.poll_timeout().unwrap_or(now);
        keeping.poll(at).expect("it is tried again");
        keeping.handle(at, answer).unwrap();
    }
    assert!(matches!(keeping.outcome(), Some(KeepOutcome::Kept(_))));
}

#[test]
fn overtaken_owner_keeps_nothing_and_goes_on_with_nothing() {
    let (mut keeping, now) = (keeping(1), Instant::now());
    keeping.poll(now).unwrap();
    let overtaken = keeping.handle(now, Err(StoreError::Fenced { epoch: Epoch(4) }));
    assert!(matches!(overtaken, Err(StoreError::Fenced { .. })));
}

#[test]
fn owner_of_a_forked_zone_keeps_the_records_that_it_has_in_memory() {
    let tenure = Tenure {
        zone: "meadow".parse().unwrap(),
        grant: Grant::issue(Epoch(3), Nonce(9)),
    };
    let last = Position {
        epoch: Epoch(2),
        tick: Tick(40),
        hash: RecordHash([1; 32]),
    };
    let mut journal = Journal::new(Epoch(3), last);
    let record = |tick: u8| StoredRecord {
        tick: Tick(u64::from(tick)),
        prev_hash: RecordHash([tick - 40; 32]),
        hash: RecordHash([tick - 39; 32]),
        body: Bytes::from_static(b"inputs"),
    };
    (41..=43).for_each(|tick| journal.push(record(tick)).unwrap());
    let mut keeping = Keeping::forked(&tenure, HistoryWorld::default(), &journal);
    let Some(KeepCommand::Put(0, file)) = keeping.poll(Instant::now()) else {
        panic!("it writes first")
    };
    let mut reader = HistoryReader::default();
    reader.push(&file);
    let Some(HistoryFrame::Header(header)) = reader.poll().unwrap() else {
        panic!("it begins with the header")
    };
    let note = header.evidence.unwrap();
    assert_eq!(
        (note.why, note.epoch, note.tick),
        (EvidenceWhy::Forked, Epoch(3), Tick(41))
    );
    for tick in 41..=43 {
        assert_eq!(reader.poll().unwrap(), Some(HistoryFrame::Record(record(tick))));
    }
}

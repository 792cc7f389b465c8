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

/// The time that a zone waits for its evidence.
const MAX: Duration = Duration::from_secs(4);

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

fn header() -> HistoryHeader {
    HistoryHeader {
        zone: "meadow".parse().unwrap(),
        fence: (Epoch(3), Nonce(9)),
        world: HistoryWorld::default(),
        evidence: None,
    }
}

fn keeping(count: u64) -> Keeping {
    Keeping::new(header(), NOTE, frames(count), MAX)
}

fn polled(keeping: &mut Keeping, now: Instant) -> Option<KeepCommand> {
    keeping.poll(now).map(|(command, _)| command)
}

fn away() -> Result<EvidenceAnswer, StoreError> {
    Err(StoreError::Unavailable("no room".to_owned()))
}

#[test]
fn parts_of_a_piece_are_a_history_file_that_names_why() {
    let (mut keeping, now) = (keeping(200), Instant::now());
    let mut reader = HistoryReader::default();
    let (mut parts, mut sealed) = (0, None);
    while let Some(command) = polled(&mut keeping, now) {
        assert_eq!(polled(&mut keeping, now), None, "one operation at a time");
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
    assert!(matches!(polled(&mut keeping, now), Some(KeepCommand::Put(0, _))));
    keeping.handle(now, Ok(EvidenceAnswer::Counted)).unwrap();
    assert!(matches!(polled(&mut keeping, now), Some(KeepCommand::Seal(_))));
    keeping.handle(now, Ok(EvidenceAnswer::Counted)).unwrap();
    assert_eq!(keeping.outcome(), Some(&KeepOutcome::Counted));
    assert_eq!(polled(&mut keeping, now), None);
}

#[test]
fn store_without_room_costs_the_evidence_and_nothing_else() {
    let (mut keeping, mut now) = (keeping(200), Instant::now());
    let start = now;
    assert!(matches!(polled(&mut keeping, now), Some(KeepCommand::Put(0, _))));
    keeping.handle(now, Ok(EvidenceAnswer::Kept)).unwrap();
    let mut tried = 0;
    while keeping.outcome().is_none() {
        match polled(&mut keeping, now) {
            Some(KeepCommand::Put(1, _)) => tried += 1,
            Some(KeepCommand::Drop) => {}
            Some(other) => panic!("{other:?}"),
            None => now = keeping.poll_timeout().expect("it waits for time"),
        }
        if keeping.asking.is_awaited() {
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
        polled(&mut keeping, at).expect("it is tried again");
        keeping.handle(at, answer).unwrap();
    }
    assert!(matches!(keeping.outcome(), Some(KeepOutcome::Kept(_))));
}

/// A link over which each part takes three quarters of a second: progress, and still too slow.
#[test]
fn evidence_that_takes_longer_than_the_zone_may_wait_is_given_up() {
    let (mut keeping, start) = (keeping(1_000), Instant::now());
    let (mut now, mut written) = (start, 0);
    loop {
        match keeping.poll(now) {
            Some((KeepCommand::Put(index, _), max)) => {
                assert_eq!(
                    (index, max),
                    (written, MAX - (now - start)),
                    "no answer is awaited longer"
                );
                written += 1;
            }
            Some((KeepCommand::Drop, max)) => {
                assert_eq!(max, DROP_ANSWER_MAX);
                break;
            }
            other => panic!("{other:?}"),
        }
        now = (now + Duration::from_millis(750)).min(start + MAX);
        keeping.handle(now, Ok(EvidenceAnswer::Kept)).unwrap();
    }
    assert_eq!((written, now - start), (6, MAX));
    keeping.handle(now, away()).unwrap();
    let outcome = keeping.outcome().unwrap();
    assert_eq!(*outcome, KeepOutcome::OverTime(MAX));
    assert_eq!(outcome.reported(), EvidenceOutcome::OverTime);
}

/// The answer to the seal comes late, or never: whether it is kept is not known, and the zone waits no longer.
#[test]
fn operation_that_is_silent_until_the_deadline_is_not_tried_again() {
    let (mut keeping, start) = (keeping(1), Instant::now());
    assert!(matches!(keeping.poll(start), Some((KeepCommand::Put(0, _), MAX))));
    keeping.handle(start + MAX, away()).unwrap();
    assert_eq!(keeping.poll(start + MAX), Some((KeepCommand::Drop, DROP_ANSWER_MAX)));
    let mut slow = Keeping::new(header(), NOTE, frames(1), Duration::from_secs(600));
    assert!(matches!(slow.poll(start), Some((KeepCommand::Put(0, _), ANSWER_MAX))));
}

#[test]
fn overtaken_owner_keeps_nothing_and_goes_on_with_nothing() {
    let (mut keeping, now) = (keeping(1), Instant::now());
    polled(&mut keeping, now).unwrap();
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
    let mut keeping = Keeping::forked(&tenure, HistoryWorld::default(), &journal, MAX);
    let Some(KeepCommand::Put(0, file)) = polled(&mut keeping, Instant::now()) else {
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

//! The journal's pipeline, told by circumstances.

use bytes::Bytes;

use everhold_protocol::Epoch;

use super::*;
use crate::durability::store::RecordHash;

const START: Position = Position {
    epoch: Epoch(1),
    tick: Tick(100),
    hash: RecordHash([9; 32]),
};

fn hash_of(tick: Tick) -> RecordHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&tick.0.to_le_bytes());
    RecordHash(hash)
}

fn record(tick: Tick) -> StoredRecord {
    let prev_hash = if tick == START.tick.next() {
        START.hash
    } else {
        hash_of(tick - 1)
    };
    StoredRecord {
        tick,
        prev_hash,
        hash: hash_of(tick),
        body: Bytes::new(),
    }
}

/// Returns a journal with `count` records pushed.
fn journal(count: u64) -> Journal {
    let mut journal = Journal::new(Epoch(2), START);
    for tick in (101..=100 + count).map(Tick) {
        journal.push(record(tick)).unwrap();
    }
    journal
}

fn ticks(records: Option<Vec<StoredRecord>>) -> Vec<Tick> {
    records
        .unwrap_or_default()
        .into_iter()
        .map(|record| record.tick)
        .collect()
}

fn acknowledged(tick: Tick) -> JournalEvent {
    JournalEvent::Acknowledged {
        position: Position {
            epoch: Epoch(2),
            tick,
            hash: hash_of(tick),
        },
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("a time-out".to_owned())
}

#[test]
fn one_append_is_in_flight() {
    let mut journal = journal(2);
    assert_eq!(ticks(journal.poll_append()), [101, 102].map(Tick));
    journal.push(record(Tick(103))).unwrap();
    assert_eq!(journal.poll_append(), None);
    assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(102)));
    assert_eq!(ticks(journal.poll_append()), [103].map(Tick));
    assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(103)));
    assert_eq!(journal.poll_append(), None);
}

#[test]
fn after_an_outage_appends_are_of_bounded_size() {
    let mut journal = journal(150);
    assert_eq!(ticks(journal.poll_append()), (101..=164).map(Tick).collect::<Vec<_>>());
    assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(164)));
    assert_eq!(ticks(journal.poll_append()).len(), APPEND_RECORDS_MAX);
    assert_eq!(journal.unacknowledged(), 86);
}

#[test]
fn time_out_is_unknown_and_the_same_records_are_sent_again() {
    let mut journal = journal(2);
    let sent = journal.poll_append();
    assert_eq!(
        journal.handle_answer(Err(&unavailable())),
        JournalEvent::Retry { after_ms: 10 }
    );
    assert_eq!(journal.acknowledged(), START);
    assert_eq!(journal.poll_append(), sent);
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Duplicate)),
        acknowledged(Tick(102))
    );
}

#[test]
fn retries_become_rarer_and_start_over_after_a_success() {
    let mut journal = journal(1);
    let mut wait = |answer: Result<AppendAnswer, &StoreError>| {
        journal.poll_append();
        journal.handle_answer(answer)
    };
    let waits: Vec<_> = (0..6).map(|_| wait(Err(&unavailable()))).collect();
    let expected = [10, 20, 40, 80, 160, 160].map(|after_ms| JournalEvent::Retry { after_ms });
    assert_eq!(waits, expected);
    wait(Ok(AppendAnswer::Ok));
    journal.push(record(Tick(102))).unwrap();
    journal.poll_append();
    assert_eq!(
        journal.handle_answer(Err(&unavailable())),
        JournalEvent::Retry { after_ms: 10 }
    );
}

#[test]
fn store_that_forgot_its_end_is_sent_it_again_from_the_ring() {
    let mut journal = journal(4);
    journal.poll_append();
    journal.handle_answer(Ok(AppendAnswer::Ok));
    journal.push(record(Tick(105))).unwrap();
    assert_eq!(ticks(journal.poll_append()), [105].map(Tick));
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(102) })),
        JournalEvent::Resend { from: Tick(103) }
    );
    assert_eq!(
        journal.acknowledged().tick,
        Tick(104),
        "what was acknowledged was told; it is not taken back"
    );
    assert_eq!(ticks(journal.poll_append()), [103, 104, 105].map(Tick));
    assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(105)));
}

#[test]
fn acknowledgement_never_goes_back_during_a_resend() {
    let mut journal = journal(200);
    for _ in 0..4 {
        journal.poll_append();
        journal.handle_answer(Ok(AppendAnswer::Ok));
    }
    assert_eq!(journal.acknowledged().tick, Tick(300));
    journal.push(record(Tick(301))).unwrap();
    journal.poll_append();
    journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(101) }));
    assert_eq!(ticks(journal.poll_append()).last(), Some(&Tick(165)));
    assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(300)));
    assert_eq!(ticks(journal.poll_append()).first(), Some(&Tick(166)));
}

#[test]
fn store_that_lacks_more_than_the_ring_has_gets_a_base() {
    let mut journal = journal(3);
    journal.poll_append();
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(50) })),
        JournalEvent::Reseed
    );
    assert_eq!(
        journal.poll_append(),
        None,
        "records would lead nowhere until the base is there"
    );
    let base = Position {
        epoch: Epoch(2),
        tick: Tick(102),
        hash: hash_of(Tick(102)),
    };
    assert_eq!(journal.handle_reseeded(base), acknowledged(Tick(102)));
    assert_eq!(ticks(journal.poll_append()), [103].map(Tick));
}

#[test]
fn store_that_asks_for_the_same_twice_gets_a_base() {
    let mut journal = journal(3);
    journal.poll_append();
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(100) })),
        JournalEvent::Resend { from: Tick(101) }
    );
    journal.poll_append();
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(100) })),
        JournalEvent::Reseed
    );
}

/// The store went back to what a lower epoch had, which is another history, and longer than that of this epoch; or it
/// went back, and then took a base that covers what is in flight; its answer is not there yet.
#[test]
fn store_that_is_ahead_gets_a_base_that_ends_its_history() {
    for last in [103, 104, 500].map(Tick) {
        let mut journal = journal(1);
        assert_eq!(ticks(journal.poll_append()), [101].map(Tick));
        journal.push(record(Tick(102))).unwrap();
        journal.push(record(Tick(103))).unwrap();
        assert_eq!(
            journal.handle_answer(Ok(AppendAnswer::Gap { last })),
            JournalEvent::Reseed,
            "{last}"
        );
        assert_eq!(journal.poll_append(), None, "{last}: nothing before it");
    }
}

#[test]
fn stopped_journal_sends_nothing_more() {
    let answers: [(Result<AppendAnswer, StoreError>, StopReason); 3] = [
        (Err(StoreError::Fenced { epoch: Epoch(3) }), StopReason::Fenced),
        (Ok(AppendAnswer::Fork { tick: Tick(101) }), StopReason::Fork),
        (Err(StoreError::Corrupt("a page".to_owned())), StopReason::Corrupt),
    ];
    for (answer, reason) in answers {
        let mut journal = journal(2);
        journal.poll_append();
        assert_eq!(
            journal.handle_answer(answer.as_ref().copied()),
            JournalEvent::Stop(reason)
        );
        assert_eq!(journal.poll_append(), None);
    }
}

#[test]
fn full_ring_refuses_records_until_the_store_answers() {
    let mut journal = journal(RING_RECORDS_MAX as u64);
    let next = record(journal.last().tick.next());
    assert_eq!(journal.push(next.clone()), Err(RingFull));
    assert_eq!(journal.last().tick.next(), next.tick, "a refused record was not taken");
    journal.poll_append();
    assert_eq!(
        journal.push(next.clone()),
        Err(RingFull),
        "nothing in flight is forgotten"
    );
    journal.handle_answer(Ok(AppendAnswer::Ok));
    journal.push(next).unwrap();
    assert_eq!(ticks(journal.poll_append()).first(), Some(&Tick(165)));
}

#[test]
fn what_a_base_covers_is_forgotten_but_nothing_unacknowledged() {
    let mut journal = journal(4);
    journal.poll_append();
    journal.handle_answer(Ok(AppendAnswer::Ok));
    journal.push(record(Tick(105))).unwrap();
    journal.forget(Tick::MAX);
    assert_eq!(ticks(journal.poll_append()), [105].map(Tick));
    assert_eq!(
        journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(103) })),
        JournalEvent::Reseed
    );
}

#[test]
#[should_panic(expected = "record 103 follows record 101")]
fn record_that_was_left_out_is_a_defect() {
    let mut journal = journal(1);
    let _ = journal.push(record(Tick(103)));
}

#[test]
fn lost_data_set_is_made_anew_before_anything_is_appended() {
    let mut journal = journal(3);
    journal.poll_append();
    let event = journal.handle_answer(Err(&StoreError::Lost));
    assert_eq!((event, journal.poll_append()), (JournalEvent::Create, None));
    assert_eq!(
        (journal.handle_created(), journal.poll_append()),
        (JournalEvent::Reseed, None)
    );
    let position = Position {
        epoch: Epoch(2),
        tick: Tick(103),
        hash: hash_of(Tick(103)),
    };
    assert_eq!(
        journal.handle_reseeded(position),
        JournalEvent::Acknowledged { position }
    );
    journal.push(record(Tick(104))).unwrap();
    assert_eq!(ticks(journal.poll_append()), [104].map(Tick));
}

/// A journal whose append of tick 101 is in flight while the checkpoints' link finds the data set lost, and has a base
/// of tick 103 written instead.
fn reseeded_beside_an_append() -> (Journal, Position) {
    let mut journal = journal(1);
    assert_eq!(ticks(journal.poll_append()), [101].map(Tick));
    journal.push(record(Tick(102))).unwrap();
    journal.push(record(Tick(103))).unwrap();
    assert_eq!(journal.handle_created(), JournalEvent::Reseed);
    let position = Position {
        epoch: Epoch(2),
        tick: Tick(103),
        hash: hash_of(Tick(103)),
    };
    journal.handle_reseeded(position);
    journal.push(record(Tick(104))).unwrap();
    (journal, position)
}

#[test]
fn answer_that_comes_after_a_reseed_says_nothing_of_what_was_not_sent() {
    let answers = [
        Ok(AppendAnswer::Ok),
        Ok(AppendAnswer::Duplicate),
        Ok(AppendAnswer::Gap { last: Tick(90) }),
        Ok(AppendAnswer::Fork { tick: Tick(101) }),
        Err(StoreError::Lost),
        Err(unavailable()),
    ];
    for answer in answers {
        let (mut journal, base) = reseeded_beside_an_append();
        assert_eq!(journal.poll_append(), None, "one append is in flight");
        let event = journal.handle_answer(answer.as_ref().copied());
        assert!(matches!(event, JournalEvent::Retry { .. }), "{answer:?}: {event:?}");
        assert_eq!(journal.acknowledged(), base, "{answer:?}");
        assert_eq!(ticks(journal.poll_append()), [104].map(Tick), "{answer:?}");
        assert_eq!(journal.handle_answer(Ok(AppendAnswer::Ok)), acknowledged(Tick(104)));
    }
}

#[test]
fn append_to_a_data_set_that_was_made_anew_since_is_not_acknowledged() {
    let mut journal = journal(1);
    journal.poll_append();
    journal.handle_created();
    journal.handle_answer(Ok(AppendAnswer::Ok));
    assert_eq!((journal.acknowledged(), journal.is_reseeding()), (START, true));
}

#[test]
fn fence_counts_however_late_its_answer_comes() {
    let (mut journal, _) = reseeded_beside_an_append();
    let fenced = StoreError::Fenced { epoch: Epoch(7) };
    assert_eq!(
        journal.handle_answer(Err(&fenced)),
        JournalEvent::Stop(StopReason::Fenced)
    );
}

#[test]
fn reclaimed_journal_sends_everything_again_that_was_not_acknowledged() {
    let mut journal = journal(2);
    journal.poll_append();
    journal.handle_answer(Ok(AppendAnswer::Ok));
    journal.push(record(Tick(103))).unwrap();
    journal.poll_append();
    let mut journal = journal.reclaimed(Epoch(5));
    journal.push(record(Tick(104))).unwrap();
    assert_eq!(ticks(journal.poll_append()), [103, 104].map(Tick));
    assert_eq!((journal.epoch(), journal.last().epoch), (Epoch(5), Epoch(5)));
}

#[test]
#[should_panic(expected = "epoch 2 follows epoch 2")]
fn grant_is_not_used_twice() {
    let _ = journal(1).reclaimed(Epoch(2));
}

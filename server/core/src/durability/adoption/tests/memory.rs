//! Zones that were suspended here: their way back from memory, and what comes back if it fails.

use super::*;
use crate::durability::journal::Journal;

#[test]
fn memory_that_is_the_newest_history_goes_on_without_a_read() {
    let answers = [
        Ok(None),
        Err(StoreError::Lost),
        summary(None),
        summary(stamp(2, 99)),
        summary(stamp(3, 9)),
        summary(stamp(3, 10)),
    ];
    for answer in answers {
        let text = format!("{answer:?}");
        let mut adopter = Adopter::new(Some(suspended_at(Tick(10))));
        assert_eq!(adopter.asks(), ["fence"]);
        adopter.fence(Ok(()));
        assert_eq!(adopter.asks(), ["summarize"]);
        adopter.summary(answer);
        assert_eq!(adopter.asks(), ["start from memory"], "{text}");
    }
}

#[test]
fn what_memory_lacks_of_what_a_lost_store_acknowledged_is_counted_as_lost() {
    let log = r"log GoneBack { last: Tick(10), promised: Tick(90) }";
    let table: [(u64, &[&str]); 2] = [
        (10, &["start from memory"]),
        (90, &[log, "start from memory, 80 ticks are lost"]),
    ];
    for (promised, expected) in table {
        let mut adopter = Adopter::new(Some(suspended_at(Tick(10))));
        adopter.adoption = adopter.adoption.promised(Tick(promised));
        adopter.asks();
        adopter.fence(Ok(()));
        adopter.asks();
        adopter.summary(summary(None));
        assert_eq!(adopter.asks(), expected);
    }
}

#[test]
fn memory_of_a_zone_that_the_store_has_lost_goes_on_at_once() {
    let mut adopter = Adopter::new(Some(suspended()));
    assert_eq!(adopter.asks(), ["fence"]);
    adopter.fence(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["start from memory"]);
}

#[test]
fn memory_goes_on_under_the_new_epoch_and_writes_a_base_first() {
    let last = Position {
        epoch: Epoch(3),
        tick: Tick(10),
        ..Position::GENESIS
    };
    let memory = Surrender::new(Journal::new(Epoch(3), last)).handle_zone(Zone::new(config()));
    assert_eq!(memory.last(), suspended_at(Tick(10)));
    let start = Start::from_memory(memory, FromMemory::Newest, Grant::issue(Epoch(5), Nonce(1)));
    assert_eq!((start.journal.epoch(), start.journal.last()), (Epoch(5), last));
    assert!(start.chain.is_empty());
}

/// An adopter with a memory of epoch 3 up to tick 10, which has read that the store has newer data.
fn behind(newest: Option<DataStamp>) -> Adopter {
    let mut adopter = Adopter::new(Some(suspended_at(Tick(10))));
    adopter.asks();
    adopter.fence(Ok(()));
    adopter.asks();
    adopter.now += GRACE;
    adopter.summary(summary(newest));
    assert_eq!(adopter.asks(), ["fence and read"], "nothing is known of that data yet");
    adopter
}

/// A zone that was replayed up to this position; nothing else of it matters here.
fn replayed_to(epoch: u32, tick: u64) -> Replayed {
    let last = Position {
        epoch: Epoch(epoch),
        tick: Tick(tick),
        ..Position::GENESIS
    };
    Replayed { last, ..replayed() }
}

#[test]
fn memory_behind_newer_data_is_dropped_when_that_is_found_whole() {
    // A higher epoch, or another history of the same epoch that an authority granted twice, and that is longer.
    for (epoch, tick) in [(4, 1), (3, 11)] {
        let mut adopter = behind(stamp(epoch, tick));
        adopter.read(Ok(outline(tick)));
        assert_eq!(adopter.asks(), [format!("read {tick} records from 1")]);
        adopter.adoption.handle_records(adopter.now, Ok(Vec::new()));
        assert_eq!(adopter.asks(), ["replay, refusing []"]);
        adopter.adoption.handle_replayed(Ok(replayed_to(epoch, tick)));
        assert_eq!(adopter.asks(), ["drop memory", "start"]);
    }
}

#[test]
fn memory_goes_on_if_newer_data_is_lost_and_does_not_come_back_within_its_whole_grace() {
    let mut adopter = behind(stamp(4, 1));
    adopter.now += GRACE - Duration::from_millis(1);
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["log Lost"]);
    assert_eq!(adopter.asks_after(RETRY), ["fence and read"]);
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["start from memory"], "the zone does not begin again");
}

#[test]
fn memory_goes_on_if_less_than_it_has_is_whole_of_newer_data() {
    // What is left ends before the memory, with it, or is of a newer owner.
    for (left, from_memory) in [((3, 9), true), ((3, 10), true), ((3, 11), false), ((4, 2), false)] {
        let mut adopter = behind(stamp(4, 30));
        adopter.read(Ok(outline(30)));
        for _ in 0..2 {
            assert_eq!(adopter.asks(), ["read 30 records from 1"]);
            adopter.adoption.handle_records(adopter.now, Ok(Vec::new()));
            assert_eq!(adopter.asks(), ["replay, refusing []"]);
            adopter.adoption.handle_replayed(Ok(replayed_to(left.0, left.1)));
        }
        let asked = adopter.asks();
        if from_memory {
            assert!(asked[0].starts_with("log DamagedBeyondMemory"), "{asked:?}");
            assert_eq!(asked[1..], ["start from memory without 20 ticks"]);
        } else {
            assert_eq!(asked[1..], [format!("rewind to {}", left.1)]);
            adopter.adoption.handle_rewound(adopter.now, Ok(()));
            assert_eq!(adopter.asks(), ["drop memory", "start"]);
        }
    }
}

#[test]
fn memory_goes_on_if_nothing_is_whole_of_newer_data_unless_another_build_may_read_it() {
    let broken = || ReplayError::JournalBroken { tick: Tick(1) };
    let foreign = || ReplayError::Restore {
        tick: Tick(9),
        error: RestoreError::Rules,
    };
    let other_rules = || ReplayError::Rules { tick: Tick(1) };
    let table: [(fn() -> ReplayError, bool); 3] = [(broken, true), (foreign, false), (other_rules, false)];
    for (error, goes_on) in table {
        let mut adopter = behind(stamp(4, 0));
        adopter.read(Ok(outline(0)));
        let mut asked = adopter.asks();
        while asked == ["replay, refusing []"] {
            adopter.adoption.handle_replayed(Err(error()));
            asked = adopter.asks();
        }
        if goes_on {
            assert_eq!(asked[1..], ["start from memory without 0 ticks"], "{asked:?}");
        } else {
            assert!(asked[0].starts_with("fail: ") && asked.len() == 1, "{asked:?}");
        }
    }
}

#[test]
fn memory_that_goes_on_over_damaged_data_appends_nothing_before_a_base() {
    let last = Position {
        epoch: Epoch(3),
        tick: Tick(10),
        ..Position::GENESIS
    };
    let memory = Surrender::new(Journal::new(Epoch(3), last)).handle_zone(Zone::new(config()));
    let from = FromMemory::OverDamage { lost_ticks: 20 };
    let start = Start::from_memory(memory, from, Grant::issue(Epoch(5), Nonce(1)));
    assert_eq!((start.rewound_ticks, start.journal.last()), (20, last));
    assert!(start.journal.lacks_records(), "its pipeline writes a base first");
}

#[test]
fn memory_whose_store_says_neither_yes_nor_no_is_kept_for_another_try() {
    let mut adopter = Adopter::new(Some(suspended()));
    adopter.asks();
    for step in ["fence", "summarize"] {
        // Each operation has its own tries.
        for _ in 0..30 {
            match step {
                "summarize" => adopter.summary(Err(unavailable())),
                _ => adopter.fence(Err(unavailable())),
            }
            adopter.asks();
            assert_eq!(adopter.asks_after(RETRY), [step]);
        }
        if step == "fence" {
            adopter.fence(Ok(()));
            assert_eq!(adopter.asks(), ["summarize"]);
        }
    }
    adopter.summary(Ok(None));
    assert_eq!(adopter.asks(), ["start from memory"]);
}

#[test]
fn adoption_of_memory_that_is_fenced_off_fails_and_drops_nothing() {
    let mut adopter = Adopter::new(Some(suspended()));
    adopter.asks();
    adopter.fence(Err(StoreError::Fenced { epoch: Epoch(6) }));
    assert_eq!(
        adopter.asks(),
        ["fail: fenced by epoch 6"],
        "memory dies for data, and never for a fence"
    );
}

#[test]
fn memory_is_dropped_by_no_failure_of_its_way_back() {
    for step in ["summarize", "fence"] {
        for error in [
            unavailable(),
            StoreError::Corrupt("a hole".to_owned()),
            StoreError::ParentMoved,
        ] {
            let mut adopter = Adopter::new(Some(suspended()));
            adopter.asks();
            if step == "summarize" {
                adopter.fence(Ok(()));
                adopter.asks();
            }
            let mut asked = Vec::new();
            while adopter.failed.is_none() {
                let answer = match &error {
                    StoreError::Unavailable(_) => unavailable(),
                    StoreError::ParentMoved => StoreError::ParentMoved,
                    error => StoreError::Corrupt(error.to_string()),
                };
                match step {
                    "summarize" => adopter.summary(Err(answer)),
                    _ => adopter.fence(Err(answer)),
                }
                asked.extend(adopter.asks());
                asked.extend(adopter.asks_after(RETRY));
            }
            assert!(!asked.contains(&"drop memory".to_owned()), "{step}: {error}");
        }
    }
}

#[test]
fn adoption_whose_lease_is_over_asks_for_nothing_more_and_drops_no_memory() {
    let over = "fail: the lease was over before the zone was adopted";
    for lease in [LeaseState::Suspended, LeaseState::Lost] {
        for is_lost_while_asking in [true, false] {
            let mut adopter = Adopter::new(Some(suspended()));
            adopter.asks();
            if !is_lost_while_asking {
                adopter.fence(Err(unavailable()));
                adopter.asks();
            }
            adopter.lease = lease;
            assert_eq!(adopter.asks(), [over]);
            assert_eq!(adopter.asks_after(GRACE), [""; 0]);
        }
        let mut adopter = Adopter::new(None);
        adopter.asks();
        adopter.now += GRACE;
        adopter.read(Err(StoreError::Lost));
        adopter.lease = lease;
        assert_eq!(adopter.asks(), ["log BeginsAgain", over], "nothing is written");
    }
}

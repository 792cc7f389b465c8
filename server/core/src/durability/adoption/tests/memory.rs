//! Zones that were suspended here: their way back from memory, and what comes back if it fails.

use super::*;

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
    let start = Start::from_memory(memory, Grant::issue(Epoch(5), Nonce(1)));
    assert_eq!((start.journal.epoch(), start.journal.last()), (Epoch(5), last));
    assert!(start.chain.is_empty());
}

#[test]
fn memory_behind_newer_data_is_dropped_and_the_store_has_its_whole_grace() {
    // A higher epoch, or another history of the same epoch that an authority granted twice, and that is longer.
    for newest in [stamp(4, 1), stamp(3, 11)] {
        let mut adopter = Adopter::new(Some(suspended_at(Tick(10))));
        adopter.asks();
        adopter.fence(Ok(()));
        adopter.asks();
        adopter.now += GRACE;
        adopter.summary(summary(newest));
        assert_eq!(adopter.asks(), ["drop memory", "fence and read"]);
        adopter.now += GRACE - Duration::from_millis(1);
        adopter.read(Err(StoreError::Lost));
        assert_eq!(adopter.asks(), ["log Lost"]);
    }
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

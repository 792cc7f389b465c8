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
        assert_eq!(adopter.asks(), ["start"], "{text}");
        let (start, history) = adopter.started.unwrap();
        assert_eq!((history, start.journal.epoch()), (History::Memory, Epoch(5)));
        assert!(start.chain.is_empty(), "a base under the new epoch is written first");
    }
}

#[test]
fn memory_of_a_zone_that_the_store_has_lost_goes_on_at_once() {
    let mut adopter = Adopter::new(Some(suspended()));
    assert_eq!(adopter.asks(), ["fence"]);
    adopter.fence(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["start"]);
    assert_eq!(adopter.history(), History::Memory);
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
        assert_eq!(adopter.asks(), ["fence and read"]);
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
    assert_eq!(adopter.asks(), ["start"]);
}

#[test]
fn memory_that_is_fenced_off_is_given_up() {
    let mut adopter = Adopter::new(Some(suspended()));
    adopter.asks();
    adopter.fence(Err(StoreError::Fenced { epoch: Epoch(6) }));
    assert_eq!(adopter.asks(), ["fail: fenced by epoch 6"]);
    assert!(
        adopter.given_back.is_some(),
        "memory dies for data, and never for a fence"
    );
}

#[test]
fn memory_comes_back_with_every_failure_of_its_way_back() {
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
                adopter.asks();
                adopter.asks_after(RETRY);
            }
            assert!(adopter.given_back.is_some(), "{step}: {error}");
        }
    }
}

#[test]
fn adoption_whose_lease_is_over_asks_for_nothing_more_and_gives_memory_back() {
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
            assert!(adopter.given_back.is_some());
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

//! Zones that ran other rules.

use everhold_protocol::Tick;

use super::*;
use crate::ownership::{DataStamp, Grant, OwnerMark};

/// The lease of a zone that its last owner ran under these rules, in epoch 3.
fn marked(zone: &str, number: u8) -> LeaseView {
    LeaseView {
        mark: Some(OwnerMark {
            data: stamp(3),
            rules: rules(number),
        }),
        ..released(zone, 5)
    }
}

fn data(epoch: u32) -> StoreData {
    StoreData::Newest(stamp(epoch))
}

fn stamp(epoch: u32) -> DataStamp {
    DataStamp {
        epoch: Epoch(epoch),
        tick: Tick(100),
    }
}

/// Looks ten times a second until the contender would claim a zone. Returns when that is.
fn ask(contender: &mut Contender, views: &[LeaseView]) -> Duration {
    let mut now = contender.looked_at.unwrap_or_default();
    loop {
        contender.handle_leases(now, views.to_vec());
        if let Some(view) = contender.poll_claim(now) {
            assert!(contender.is_unfit(&view));
            return now;
        }
        now += ms(100);
    }
}

#[test]
fn zone_that_ran_other_rules_is_left_alone_for_longer_each_time_and_then_claimed_once_all_the_same() {
    let mut contender = contender();
    let views = [marked("meadow", 2)];
    let mut asked_at = ask(&mut contender, &views);
    for ttls in [1, 2, 4, 8] {
        assert!(contender.handle_unfit(asked_at, &data(3)));
        let next = ask(&mut contender, &views);
        assert_eq!(next - asked_at, ttls * ms(TTL));
        asked_at = next;
    }
    assert!(!contender.handle_unfit(asked_at, &data(3)), "the mark may be wrong");
}

#[test]
fn zone_is_left_alone_only_if_the_newest_data_is_of_the_owner_that_left_the_mark() {
    let table = [
        (data(3), true),
        // The store went back to an earlier owner's data.
        (data(2), false),
        // An owner that left no mark wrote since.
        (data(4), false),
        (StoreData::Nothing, false),
        (StoreData::Incomplete { epoch: Epoch(3) }, false),
    ];
    for (data, is_left) in table {
        let mut contender = contender();
        let now = ask(&mut contender, &[marked("meadow", 2)]);
        assert_eq!(contender.handle_unfit(now, &data), is_left, "{data:?}");
    }
}

#[test]
fn lease_of_these_rules_and_one_without_a_mark_are_claimed_as_ever() {
    for view in [marked("meadow", 1), released("meadow", 5)] {
        let mut contender = contender();
        contender.handle_leases(ms(0), vec![view]);
        let view = contender.poll_claim(ms(BACKOFF)).unwrap();
        assert!(!contender.is_unfit(&view));
    }
}

#[test]
fn zone_whose_next_owner_has_these_rules_is_claimed_at_once_although_it_was_left_alone() {
    let mut contender = contender();
    for _ in 0..3 {
        let now = ask(&mut contender, &[marked("meadow", 2)]);
        assert!(contender.handle_unfit(now, &data(3)));
    }
    let now = contender.looked_at.unwrap();
    let succeeded = LeaseView {
        epoch: Epoch(4),
        ..marked("meadow", 1)
    };
    contender.handle_leases(now, vec![succeeded]);
    let view = contender.poll_claim(now + ms(BACKOFF)).unwrap();
    assert!(!contender.is_unfit(&view));
}

#[test]
fn zones_that_can_run_here_come_before_larger_ones_that_may_not() {
    let mut contender = contender();
    let larger = LeaseView {
        players: 500,
        ..marked("forest", 2)
    };
    contender.handle_leases(ms(0), vec![larger, marked("meadow", 1)]);
    assert_eq!(claim(&mut contender, BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn zone_in_memory_is_not_unfit_whatever_its_lease_says() {
    let mut contender = contender();
    let tenure = Tenure {
        zone: name("meadow"),
        grant: Grant::issue(Epoch(3), Nonce(9)),
    };
    contender.handle_suspended(tenure, stamp(3));
    contender.handle_leases(ms(0), vec![marked("meadow", 2)]);
    let view = contender.poll_claim(ms(0)).unwrap();
    assert!(!contender.is_unfit(&view));
}

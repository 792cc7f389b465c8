//! Zones that are suspended here: whose claim comes first, and what their memory is kept for.

use super::*;
use crate::ownership::{Grant, Nonce, OwnerMark};

/// The meadow, under a grant that ran out.
fn ran_out() -> Tenure {
    Tenure {
        zone: name("meadow"),
        grant: Grant::issue(Epoch(3), Nonce(9)),
    }
}

const fn stamp(epoch: u32, tick: u64) -> DataStamp {
    DataStamp {
        epoch: Epoch(epoch),
        tick: everhold_protocol::Tick(tick),
    }
}

/// A contender that has the meadow in memory; the store acknowledged its tick 100 of epoch 3.
fn suspended() -> Contender {
    let mut contender = contender();
    contender.handle_suspended(ran_out(), stamp(3, 100));
    contender
}

/// The meadow's lease after another shard was granted it.
fn taken(beat: u64) -> LeaseView {
    LeaseView {
        epoch: Epoch(4),
        nonce: Nonce(77),
        ..held("meadow", beat, 5)
    }
}

#[test]
fn suspended_zone_is_claimed_at_once_while_its_lease_is_as_it_was() {
    let mut contender = Contender::new(config(&[], 1, 1));
    contender.handle_suspended(ran_out(), stamp(3, 100));
    assert_eq!(claim(&mut contender, 0), None, "its lease was not looked at since");
    contender.handle_leases(ms(10), vec![held("forest", 1, 9), held("meadow", 7, 5)]);
    assert_eq!(claim(&mut contender, 10).as_deref(), Some("meadow"));
    contender.handle_granted();
    assert!(contender.suspended().is_empty());
}

#[test]
fn suspended_zone_takes_up_room() {
    let mut contender = Contender::new(config(&[], 1, 1));
    contender.handle_suspended(ran_out(), stamp(3, 100));
    contender.handle_leases(ms(0), vec![released("forest", 1)]);
    assert_eq!(claim(&mut contender, BACKOFF), None);
}

#[test]
fn memory_of_a_zone_that_another_shard_was_granted_is_dropped_for_its_data_only() {
    // What the store has, whether the memory is dropped, and whether the lease is claimed at once, although it is held.
    let table = [
        (StoreData::Newest(stamp(4, 101)), true, false),
        (StoreData::Newest(stamp(4, 1)), true, false),
        (StoreData::Newest(stamp(3, 100)), false, false),
        (StoreData::Newest(stamp(3, 120)), false, false),
        (StoreData::Incomplete { epoch: Epoch(4) }, false, false),
        (StoreData::Incomplete { epoch: Epoch(3) }, false, true),
        (StoreData::Unknown("away".to_owned()), false, false),
        (StoreData::Newest(stamp(3, 99)), false, true),
        (StoreData::Newest(stamp(2, 500)), false, true),
        (StoreData::Nothing, false, true),
    ];
    for (stored, is_dropped, is_claimed) in table {
        let mut contender = suspended();
        contender.handle_leases(ms(0), vec![taken(1)]);
        assert_eq!(contender.taken().collect::<Vec<_>>(), [&name("meadow")]);
        assert_eq!(claim(&mut contender, 0), None, "the store was not asked");
        assert_eq!(
            contender.handle_stored(&name("meadow"), &stored),
            is_dropped,
            "{stored:?}"
        );
        assert_eq!(contender.suspended().is_empty(), is_dropped, "{stored:?}");
        assert_eq!(claim(&mut contender, 0).is_some(), is_claimed, "{stored:?}");
    }
}

#[test]
fn memory_is_kept_beside_newer_data_whose_owner_is_gone_or_was_followed_by_another() {
    let followed = LeaseView {
        epoch: Epoch(5),
        ..taken(1)
    };
    let released = LeaseView {
        released: true,
        ..taken(1)
    };
    for (view, is_dropped) in [(followed, false), (released, false), (taken(1), true)] {
        let mut contender = suspended();
        contender.handle_leases(ms(0), vec![view.clone()]);
        let stored = StoreData::Newest(stamp(4, 101));
        assert_eq!(
            contender.handle_stored(&name("meadow"), &stored),
            is_dropped,
            "what it wrote may be damaged: {view:?}"
        );
    }
}

#[test]
fn memory_is_not_claimed_at_once_from_a_shard_that_hosted_the_zone_since() {
    for hosted in [3, 4] {
        let mut contender = suspended();
        let mark = OwnerMark {
            data: stamp(hosted, 0),
            rules: rules(1),
        };
        let lease = LeaseView {
            mark: Some(mark),
            ..taken(1)
        };
        contender.handle_leases(ms(0), vec![lease]);
        assert!(!contender.handle_stored(&name("meadow"), &StoreData::Nothing));
        assert_eq!(claim(&mut contender, 0).is_some(), hosted == 3, "hosted under {hosted}");
        if hosted == 4 {
            assert_eq!(claim(&mut contender, TTL).as_deref(), Some("meadow"), "it ran out");
        }
    }
}

#[test]
fn older_memory_is_claimed_after_a_ttl_from_a_shard_that_hosts_nothing_of_a_zone_that_was_hosted_since() {
    // The epoch of the lease's mark, what the store has, and whether the memory goes first in the end. Epoch 5 was
    // granted, and renews its lease.
    let table = [
        (4, StoreData::Nothing, true),
        (4, StoreData::Newest(stamp(3, 99)), true),
        (4, StoreData::Newest(stamp(3, 100)), false),
        (4, StoreData::Newest(stamp(4, 1)), false),
        (4, StoreData::Incomplete { epoch: Epoch(4) }, false),
        (5, StoreData::Nothing, false),
    ];
    for (hosted, stored, is_first) in table {
        let mut contender = suspended();
        for beat in 1..=3 {
            let now = (beat - 1) * TTL / 2;
            let data = stamp(hosted, 0);
            let lease = LeaseView {
                epoch: Epoch(5),
                mark: Some(OwnerMark { data, rules: rules(1) }),
                ..taken(beat)
            };
            for look in [now, now + TTL / 4] {
                contender.handle_leases(ms(look), vec![lease.clone()]);
                contender.handle_stored(&name("meadow"), &stored);
                let is_claimed = claim(&mut contender, look).is_some();
                assert_eq!(is_claimed, is_first && look == TTL, "{stored:?} at {look}");
                if is_claimed || look == TTL {
                    break;
                }
            }
        }
    }
}

#[test]
fn memory_that_the_store_is_not_known_to_have_anything_of_takes_no_zone_from_another_shard() {
    let mut contender = contender();
    contender.handle_suspended(ran_out(), stamp(0, 0));
    contender.handle_leases(ms(0), vec![taken(1)]);
    assert!(!contender.handle_stored(&name("meadow"), &StoreData::Nothing));
    assert_eq!(claim(&mut contender, 0), None);
}

#[test]
fn suspended_zone_that_its_new_owner_gives_up_is_claimed_before_others_may() {
    let mut contender = suspended();
    contender.handle_leases(ms(0), vec![taken(1)]);
    assert_eq!(claim(&mut contender, TTL - 1), None);
    assert_eq!(claim(&mut contender, TTL).as_deref(), Some("meadow"), "it ran out");
    let mut contender = suspended();
    let released = LeaseView {
        released: true,
        ..taken(2)
    };
    contender.handle_leases(ms(0), vec![released]);
    assert_eq!(claim(&mut contender, 0).as_deref(), Some("meadow"));
}

#[test]
fn suspended_zone_is_claimed_again_after_a_claim_whose_answer_got_lost() {
    let mut contender = suspended();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5)]);
    assert!(claim(&mut contender, 0).is_some());
    contender.handle_unavailable(ms(5));
    let granted = LeaseView {
        epoch: Epoch(4),
        ..held("meadow", 2, 5)
    };
    contender.handle_leases(ms(1_000), vec![granted.clone()]);
    assert_eq!(contender.taken().count(), 0);
    assert_eq!(contender.poll_claim(ms(1_000)), Some(granted));
}

#[test]
fn suspended_zone_that_the_authority_forgot_is_put_back_before_it_is_claimed() {
    let mut contender = suspended();
    contender.handle_leases(ms(0), vec![never_held("meadow")]);
    assert_eq!(
        contender.forgotten().map(|lease| &lease.tenure).collect::<Vec<_>>(),
        [&ran_out()]
    );
    assert_eq!(claim(&mut contender, TTL), None);
    contender.handle_leases(ms(TTL), vec![held("meadow", 1, 0)]);
    assert_eq!(contender.forgotten().count(), 0);
    assert_eq!(claim(&mut contender, TTL).as_deref(), Some("meadow"));
    assert!(
        !contender.handle_forgotten(ms(TTL)),
        "however high the store's fence is"
    );
}

#[test]
fn lease_that_was_put_back_is_claimed_after_a_ttl_for_another_shard_may_have_a_newer_memory() {
    let older = LeaseView {
        epoch: Epoch(2),
        ..held("meadow", 1, 5)
    };
    for forgotten in [vec![], vec![never_held("meadow")], vec![older]] {
        let mut contender = suspended();
        contender.handle_leases(ms(0), forgotten.clone());
        let mut now = 10;
        while now < TTL {
            contender.handle_leases(ms(now), vec![held("meadow", 1, 0)]);
            assert_eq!(claim(&mut contender, now), None, "{forgotten:?}");
            now += 498;
        }
        contender.handle_leases(ms(TTL), vec![held("meadow", 1, 0)]);
        assert_eq!(claim(&mut contender, TTL).as_deref(), Some("meadow"), "{forgotten:?}");
    }
}

#[test]
fn lease_that_was_put_back_is_claimed_at_once_by_a_process_that_stops_or_could_not_look() {
    let mut contender = suspended();
    contender.handle_close();
    contender.handle_leases(ms(0), vec![]);
    contender.handle_leases(ms(10), vec![held("meadow", 1, 0)]);
    assert_eq!(claim(&mut contender, 10).as_deref(), Some("meadow"));

    let mut contender = suspended();
    let unread = Leases {
        unread: [name("meadow")].into(),
        ..Leases::default()
    };
    contender.handle_leases(ms(0), unread);
    contender.handle_leases(ms(10), vec![held("meadow", 1, 0)]);
    assert_eq!(
        claim(&mut contender, 10).as_deref(),
        Some("meadow"),
        "nothing was forgotten"
    );
}

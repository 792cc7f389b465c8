//! Connections that wait for a zone: how many, for how long, and what they are told.

use everhold_protocol::limits::TICKET_SKEW_S;

use super::*;
use crate::limits::{ACCOUNT_WAITING_MAX, PLACEMENTS_PER_TURN};

#[test]
fn secret_displaces_its_own_kind_only_and_a_ticket_displaces_all() {
    let mut shard = Shard::new(10);
    for conn in 1..=ACCOUNT_WAITING_MAX as u64 {
        assert_eq!(shard.resume(conn, conn as u8), [format!("{conn} wait")]);
    }
    assert_eq!(shard.resume(5, 5), ["5 refused Full"], "all the others wait still");
    assert_eq!(shard.resume(6, 1), ["1 refused Superseded", "6 wait"]);
    let superseded = [2, 3, 4, 6].map(|conn| format!("{conn} refused Superseded"));
    assert_eq!(shard.log_in(7, 1), [&superseded[..], &["7 wait".to_owned()]].concat());
    assert_eq!(shard.resume(8, 1), ["8 wait"], "a secret displaces no ticket");
}

#[test]
fn account_that_was_refused_may_wait_when_another_connection_of_it_does_so_no_more() {
    type Change = fn(&mut Shard);
    let changes: [(&str, Change); 3] = [
        ("gone", |shard| _ = shard.gone(2)),
        ("ended", |shard| {
            shard.local.conns.insert(token(2), ConnStatus::Ended);
        }),
        ("attached", |shard| {
            shard.local.conns.insert(token(2), ConnStatus::Attached);
        }),
    ];
    for (what, change) in changes {
        let mut shard = Shard::new(10);
        for conn in 1..=ACCOUNT_WAITING_MAX as u64 {
            shard.resume(conn, conn as u8);
        }
        assert_eq!(shard.resume(5, 5), ["5 refused Full"], "{what}");
        change(&mut shard);
        assert_eq!(shard.resume(6, 6), ["6 wait"], "{what}");
    }
}

#[test]
fn connection_that_a_zone_has_attached_does_not_give_way() {
    let mut shard = Shard::with_meadow(10);
    assert_eq!(shard.resume(1, 1), ["1 resume meadow"]);
    shard.local.conns.insert(token(1), ConnStatus::Attached);
    assert_eq!(shard.resume(2, 1), ["2 resume meadow"]);
    assert_eq!(shard.log_in(3, 1), ["2 refused Superseded", "3 join meadow"]);
}

#[test]
fn connection_that_gave_way_spends_no_secret_when_its_zone_comes_up() {
    let mut shard = Shard::new(10);
    shard.resume(1, 1);
    shard.resume(2, 1);
    assert_eq!(shard.zone_up("meadow", 2), ["2 resume meadow"]);
}

#[test]
fn connection_that_waits_is_told_so_once() {
    let mut shard = Shard::new(10);
    assert_eq!(shard.resume(1, 1), ["1 wait"]);
    assert!(shard.zone_up("forest", 1).is_empty());
    assert!(shard.turns().is_empty());
    assert_eq!(shard.zone_up("meadow", 2), ["1 resume meadow"]);
}

#[test]
fn newcomer_waits_until_its_ticket_is_good_by_no_clock_and_a_returning_player_for_ever() {
    let mut shard = Shard::new(10);
    shard.log_in(1, 2);
    shard.resume(2, 1);
    shard.advance(TICKET_GOOD_S + TICKET_SKEW_S);
    assert!(shard.pulse().is_empty());
    shard.advance(1);
    assert_eq!(shard.pulse(), ["1 refused TicketExpired"]);
    shard.advance(100_000);
    assert!(shard.pulse().is_empty());
    assert_eq!(shard.zone_up("meadow", 2), ["2 resume meadow"]);
}

#[test]
fn those_that_wait_are_sent_to_the_shard_that_serves_their_zone() {
    let mut shard = Shard::new(10);
    shard.log_in(1, 2);
    shard.resume(2, 1);
    assert!(shard.served_elsewhere("forest", 4).is_empty(), "another zone");
    let sent = shard.served_elsewhere("meadow", 4);
    assert_eq!(sent, ["1 redirect meadow 4002 4", "2 redirect meadow 4002 4"]);
    assert_eq!(shard.log_in(3, 3), ["3 redirect meadow 4002 4"]);
    assert!(shard.zone_up("meadow", 5).is_empty(), "they are gone from here");
}

#[test]
fn resume_is_sent_to_the_owner_that_it_fled_from_only_when_that_renews_afterwards() {
    let mut shard = Shard::new(10);
    shard.served_elsewhere("meadow", 4);
    assert_eq!(shard.resume_above(1, 1, 4), ["1 wait"]);
    shard.advance(1);
    assert_eq!(shard.served_elsewhere("meadow", 4), ["1 redirect meadow 4002 4"]);
}

#[test]
fn session_of_a_higher_epoch_than_the_owners_is_unknown_after_two_ttl() {
    let mut shard = Shard::with_meadow(10);
    assert_eq!(shard.resume_above(1, 1, 2), ["1 wait"]);
    for (seconds, said) in [(7, vec![]), (1, vec!["1 refused SessionUnknown"])] {
        shard.advance(seconds);
        shard.routing.handle_views(at!(shard), &[], None);
        assert_eq!(shard.turns(), said);
    }
    assert_eq!(shard.resume_above(2, 1, 1), ["2 resume meadow"], "its own epoch");
}

#[test]
fn zone_that_the_world_does_not_have_is_refused_at_once() {
    let mut shard = Shard::new(10);
    let nowhere = TicketClaims {
        zone: zone("nowhere"),
        ..claims(2, 1)
    };
    assert_eq!(shard.log_in_with(1, nowhere), ["1 refused ZoneUnknown"]);
}

#[test]
fn one_turn_looks_at_so_many_and_leaves_the_others_for_the_next() {
    let mut shard = Shard::new(1_000_000);
    let waiting = PLACEMENTS_PER_TURN as u64 + 1;
    for conn in 1..=waiting {
        assert_eq!(shard.log_in(conn, conn), [format!("{conn} wait")]);
    }
    let status = Shard::with_meadow(0).local.zones.remove(&meadow()).unwrap();
    shard.local.zones.insert(meadow(), status);
    shard.routing.handle_zone_up(tenure("meadow", 1));
    for expected in [PLACEMENTS_PER_TURN, 1, 0] {
        assert_eq!(shard.routing.is_due(), expected > 0);
        shard.routing.handle_turn(at!(shard));
        assert_eq!(shard.commands().len(), expected);
    }
}

#[test]
fn change_during_a_round_of_looks_begins_another_one_after_it() {
    let mut shard = Shard::with_meadow(1_000_000);
    shard.meadow().status.hosted = None;
    for conn in 1..=PLACEMENTS_PER_TURN as u64 + 1 {
        assert_eq!(shard.log_in(conn, conn), [format!("{conn} wait")]);
    }
    shard.routing.handle_views(at!(shard), &[], None);
    shard.routing.handle_turn(at!(shard));
    assert!(shard.commands().is_empty(), "the zone does not run");
    let hosted = Shard::with_meadow(0).meadow().status.hosted;
    shard.meadow().status.hosted = hosted;
    shard.routing.handle_views(at!(shard), &[], None);
    assert_eq!(shard.turns().len(), PLACEMENTS_PER_TURN + 1);
}

#[test]
fn clients_are_named_other_shards_when_these_change() {
    let mut shard = Shard::new(10);
    let view = |beat| ShardView {
        nonce: OTHER,
        addr: addr(4_002),
        beat,
        keys: KeyFingerprints::default(),
        ttl: TTL,
    };
    let mut named = Vec::new();
    for shards in [vec![view(1)], vec![view(2)], vec![view(3)], vec![]] {
        shard.routing.handle_views(at!(shard), &[], Some(&shards));
        named.push(shard.commands().join(","));
    }
    assert_eq!(named, ["", "peers [127.0.0.1:4002]", "", "peers []"]);
}

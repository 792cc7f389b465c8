//! Looks at the authority: what is read, what is said of this shard, and what follows from what cannot be read.

use super::*;
use crate::outage::Lasted;
use crate::ownership::KeyKind;
use crate::ownership::holder::remark::{RequestFailure, Service};
use crate::ownership::key_check::Stranger;

fn shard(nonce: u64, login: u64, beat: u64) -> ShardView {
    ShardView {
        nonce: Nonce(nonce),
        addr: ([127, 0, 0, 1], 7_000).into(),
        beat,
        keys: keys(login),
        ttl: ms(TTL),
    }
}

fn shown(rig: &Rig) -> Vec<&Views> {
    let shown = rig.done.iter().filter_map(|command| match command {
        HolderCommand::Show(views) => Some(views),
        _ => None,
    });
    shown.collect()
}

#[test]
fn leases_and_directory_are_asked_for_at_once_and_shown_together() {
    let mut rig = Rig::hosting();
    rig.authority.shards = vec![shard(2, 10, 1)];
    rig.begin_turn();
    assert_eq!(rig.unanswered, [Request::Leases, Request::Shards]);
    assert!(rig.asked.iter().all(|asked| asked.within == Some(ms(ANSWER_MAX))));
    rig.answer();
    assert!(shown(&rig).is_empty(), "the directory is waited for");
    rig.settle();
    let views = Views {
        leases: rig.authority.leases.values().cloned().collect(),
        shards: Some(vec![shard(2, 10, 1)]),
    };
    assert_eq!(shown(&rig), [&views]);
}

#[test]
fn shard_says_that_it_lives_every_quarter_of_a_ttl_before_it_reads_who_else_does() {
    let mut rig = Rig::new();
    let from = rig.now;
    assert_eq!(rig.turn()[..3], [Request::Leases, Request::Announce, Request::Shards]);
    rig.run(3 * RENEW_EVERY);
    let at: Vec<Duration> = rig
        .asked(|request| *request == Request::Announce)
        .iter()
        .map(|asked| asked.at - from)
        .collect();
    assert_eq!(at, [0, 1_000, 2_000, 3_000].map(ms));
}

#[test]
fn directory_that_takes_no_announcement_is_not_read_and_announced_to_at_the_next_turn() {
    let mut rig = Rig::new();
    rig.authority.takes_no_shards = true;
    rig.authority.shards = vec![shard(2, 10, 1)];
    let asked = rig.turn();
    assert!(!asked.contains(&Request::Shards));
    assert_eq!(shown(&rig)[0].shards, None);
    assert_eq!(rig.granted().len(), ZONES.len(), "leases are claimed all the same");
    assert!(rig.turn().contains(&Request::Announce));

    rig.authority.takes_no_shards = false;
    rig.turn();
    assert!(shown(&rig).last().unwrap().shards.is_some());
    let of_directory = rig.remarks.iter().filter_map(|remark| match remark {
        Remark::Failing(RequestFailure::Directory(_), lasted) => Some((false, *lasted)),
        Remark::Answered(Service::Directory, lasted) => Some((true, *lasted)),
        _ => None,
    });
    let lasted = |ms, failures| Lasted { ms, failures };
    assert_eq!(
        of_directory.collect::<Vec<_>>(),
        [(false, lasted(0, 1)), (true, lasted(200, 2))],
        "said at its start and at its end"
    );
}

#[test]
fn nothing_is_declared_or_claimed_on_what_was_seen_before() {
    let mut rig = Rig::new();
    // A zone that somebody holds, and whose lease stands still.
    rig.authority.leases = [(name("meadow"), view("meadow", 3, OTHER))].into();
    rig.run(TTL - TURN);
    rig.authority.is_away = true;
    rig.forget();
    rig.run(4 * TTL);
    assert!(rig.asked(is_claim).is_empty());
    assert!(rig.asked(|request| matches!(request, Request::Declare(_))).is_empty());
    let nothing = Views::default();
    assert!(shown(&rig).iter().all(|views| **views == nothing));
    let said = rig
        .remarks
        .iter()
        .filter(|remark| matches!(remark, Remark::Failing(RequestFailure::Leases(_), _)));
    assert_eq!(said.count(), 1, "one line in sixteen seconds");

    let back_at = rig.now;
    rig.authority.is_away = false;
    rig.run(2 * TTL);
    let again = |remark: &&Remark| matches!(remark, Remark::Answered(Service::Leases, _));
    assert_eq!(rig.remarks.iter().filter(again).count(), 1);
    let claimed_at = rig.granted()[0].at;
    assert!(claimed_at - back_at >= ms(TTL), "it is watched anew, for a whole ttl");
}

#[test]
fn leases_of_a_node_that_is_gone_are_an_outage_and_hold_up_no_others() {
    let mut rig = Rig::new();
    rig.authority.unread = [name("meadow"), name("hills")].into();
    rig.turn();
    let first = Lasted { ms: 0, failures: 1 };
    let failing = Remark::Failing(RequestFailure::SomeLeases(2, Some(name("hills"))), first);
    assert!(rig.remarks.contains(&failing), "{:?}", rig.remarks);
    let granted: Vec<ZoneName> = rig.granted().into_iter().map(|granted| granted.tenure.zone).collect();
    assert_eq!(granted, [name("forest")]);
}

#[test]
fn hint_of_a_release_begins_the_turn_at_once() {
    let mut rig = Rig::hosting();
    let next = rig.holder.poll_timeout().unwrap();
    assert_eq!(next, rig.now + ms(TURN));
    rig.holder.handle_release_hint();
    assert!(rig.holder.poll_timeout().unwrap() <= rig.now);
    rig.poll();
    assert!(rig.unanswered.contains(&Request::Leases));
}

#[test]
fn living_shard_with_other_keys_is_said_once() {
    let mut rig = Rig::hosting();
    for beat in 1..=3 {
        rig.authority.shards = vec![shard(2, 11, beat), shard(3, 10, beat)];
        rig.turn();
    }
    let stranger = Stranger {
        addr: shard(2, 11, 1).addr,
        kind: KeyKind::Login,
    };
    let said: Vec<&Remark> = rig
        .remarks
        .iter()
        .filter(|remark| matches!(remark, Remark::Stranger(_)))
        .collect();
    assert_eq!(said, [&Remark::Stranger(stranger)]);
}

#[test]
fn lease_that_makes_no_sense_is_reported_once_and_costs_its_own_zone_alone() {
    let mut rig = Rig::new();
    rig.authority.damaged = [name("hills")].into();
    rig.run(TTL);
    rig.host_all();
    let hosted: Vec<&str> = rig.hosted.keys().map(ZoneName::as_str).collect();
    assert_eq!(hosted, ["forest", "meadow"], "the others are claimed");
    let said = |rig: &Rig| {
        let damaged = remark("hills", ZoneRemark::Damaged);
        rig.remarks.iter().filter(|remark| **remark == damaged).count()
    };
    assert_eq!(said(&rig), 1);
    rig.run(2 * TTL);
    assert_eq!(said(&rig), 1, "once, however many looks");
    let declared = rig.asked(|request| *request == Request::Declare(name("hills")));
    assert!(!declared.is_empty(), "it counts as forgotten");
    rig.authority.damaged.clear();
    rig.turn();
    rig.authority.damaged = [name("hills")].into();
    rig.turn();
    assert_eq!(said(&rig), 2, "damaged again");
}

#[test]
fn entry_that_a_dead_shard_left_behind_is_removed_from_the_directory() {
    let mut rig = Rig::hosting();
    rig.authority.shards = vec![shard(7, 10, 1), shard(20, 10, 5)];
    rig.run(TTL);
    assert_eq!(rig.authority.shards.len(), 2, "it may be slow");
    rig.authority.takes_no_shards = true;
    rig.run(4 * TTL);
    assert_eq!(rig.authority.shards.len(), 2, "no shard can announce itself");
    rig.authority.takes_no_shards = false;
    rig.run(2 * TTL - TURN);
    assert_eq!(rig.authority.shards.len(), 2, "it is watched anew");
    rig.run(2 * TURN);
    assert_eq!(rig.authority.shards, [shard(7, 10, 1)], "this one stays");
    assert_eq!(
        rig.remarks
            .iter()
            .filter(|remark| **remark == Remark::Retired(Nonce(20)))
            .count(),
        1
    );
}

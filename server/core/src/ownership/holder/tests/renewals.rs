//! Renewals: the times on which safety hangs, and what becomes of those that nothing answers.

use everhold_protocol::Epoch;

use super::*;
use crate::outage::Lasted;
use crate::ownership::holder::remark::{RequestFailure, Service};

const fn held_until(deadline: Duration) -> LeaseState {
    LeaseState::Held { deadline }
}

/// Runs until the renewals of all zones are due, and begins that turn.
fn until_renewals(rig: &mut Rig) -> Duration {
    loop {
        rig.begin_turn();
        if !rig.renewed_at("meadow").is_empty() {
            return rig.now;
        }
        rig.settle();
    }
}

#[test]
fn deadline_counts_from_before_the_renewal_was_sent_however_late_the_answer_comes() {
    for latency in [0, 1, 100, 160] {
        let mut rig = Rig::hosting();
        let sent_at = until_renewals(&mut rig);
        rig.authority.latency = ms(latency);
        rig.settle();
        let deadline = sent_at + ms(TTL - MARGIN);
        for zone in ZONES {
            assert_eq!(rig.state(zone), held_until(deadline), "{zone}, {latency} ms");
        }
    }
}

#[test]
fn renewal_counts_as_sent_when_it_was_asked_for() {
    let mut rig = Rig::hosting();
    let sent_at = until_renewals(&mut rig);
    let mut renewals = rig.asked(|request| matches!(request, Request::Renew(_)));
    renewals.retain(|asked| asked.at == sent_at);
    assert_eq!(renewals.len(), ZONES.len(), "all at once, before any is answered");
    assert!(renewals.iter().all(|asked| asked.within == Some(ms(ANSWER_MAX))));
}

#[test]
fn lease_is_told_of_its_answer_while_others_are_outstanding() {
    let mut rig = Rig::hosting();
    let sent_at = until_renewals(&mut rig);
    rig.answer();
    assert_eq!(rig.state(ZONES[0]), held_until(sent_at + ms(TTL - MARGIN)));
    assert_ne!(rig.state(ZONES[1]), rig.state(ZONES[0]));
    assert_eq!(rig.holder.poll_timeout(), None, "the turn waits");
}

#[test]
fn renewals_of_all_zones_are_one_request_and_one_that_is_answered_waits_for_no_other() {
    let mut rig = Rig::hosting();
    rig.run(4 * RENEW_EVERY);
    assert_eq!(rig.batches, [ZONES.len(); 4]);
    rig.hosted.get_mut(&name("hills")).unwrap().is_stuck = true;
    rig.run(4 * TTL);
    assert_eq!(
        rig.batches.last(),
        Some(&(ZONES.len() - 1)),
        "a wedged zone is left out"
    );
    assert_eq!(rig.state("hills"), LeaseState::Suspended);
    assert!(matches!(rig.state("meadow"), LeaseState::Held { .. }));
}

#[test]
fn renewals_are_sent_every_quarter_of_a_ttl() {
    let mut rig = Rig::hosting();
    rig.run(4 * RENEW_EVERY);
    let at = rig.renewed_at("meadow");
    assert_eq!(at.len(), 4);
    for pair in at.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((ms(RENEW_EVERY)..ms(RENEW_EVERY + TURN)).contains(&gap), "{gap:?}");
    }
}

#[test]
fn unanswered_renewals_are_sent_again_until_the_lease_is_over() {
    let mut rig = Rig::hosting();
    rig.authority.is_away = true;
    rig.run(3 * TTL);
    let at = rig.renewed_at("meadow");
    for pair in at.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((ms(RETRY_EVERY)..=ms(RETRY_EVERY + TURN)).contains(&gap), "{gap:?}");
    }
    assert_eq!(rig.state("meadow"), LeaseState::Suspended);
    let last = *at.last().unwrap();
    assert!(last < ms(10_000) + ms(TTL), "none follows the deadline: {last:?}");
}

#[test]
fn process_that_was_stopped_renews_at_once_and_is_paused_until_that_counts() {
    let mut rig = Rig::hosting();
    rig.run(RENEW_EVERY);
    let before = rig.renewed_at("meadow").len();
    rig.now += ms(501);
    rig.holder.handle_release_hint();
    // The keeper wakes before any tick thread.
    rig.poll();
    let woke_at = rig.now;
    assert_eq!(rig.renewed_at("meadow")[before..], [woke_at], "it was not due yet");
    assert!(matches!(rig.state("meadow"), LeaseState::Paused { .. }));
    rig.settle();
    assert_eq!(rig.state("meadow"), held_until(woke_at + ms(TTL - MARGIN)));
}

#[test]
fn renewal_says_how_many_players_the_zone_has() {
    let mut rig = Rig::hosting();
    rig.hosted.get_mut(&name("meadow")).unwrap().progress.players = 42;
    until_renewals(&mut rig);
    let said = rig.asked.iter().filter_map(|asked| match &asked.request {
        Request::Renew(part) => Some((part[0].tenure.zone.as_str(), part[0].players)),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [("forest", 0), ("hills", 0), ("meadow", 42)]);
}

#[test]
fn zone_that_is_being_adopted_is_renewed() {
    let mut rig = Rig::new();
    rig.turn();
    let granted = rig.granted();
    rig.run(2 * TTL);
    let GrantedLease { tenure, lease, .. } = &granted[0];
    assert_eq!(rig.renewed_at(tenure.zone.as_str()).len(), 8);
    assert!(lease.with(|lease| lease.may_speak(rig.now)));
}

#[test]
fn forgotten_lease_is_put_back_in_the_time_that_is_left() {
    let forgets: [Change; 2] = [
        |authority| drop(authority.leases.remove(&name("meadow"))),
        |authority| drop(authority.leases.insert(name("meadow"), view("meadow", 0, Nonce(0)))),
    ];
    for forget in forgets {
        let mut rig = Rig::hosting();
        forget(&mut rig.authority);
        let sent_at = until_renewals(&mut rig);
        rig.authority.latency = ms(20);
        while rig.answer() {}
        let put_back = rig.asked(|request| matches!(request, Request::Reinstate(_)));
        // One answer of 20 ms has come: only the forgotten lease is renewed before its time.
        assert_eq!(
            put_back.iter().map(|asked| asked.within).collect::<Vec<_>>(),
            [Some(ms(ANSWER_MAX - 20))]
        );
        assert_eq!(rig.state("meadow"), held_until(sent_at + ms(TTL - MARGIN)));
        assert!(rig.remarks.contains(&remark("meadow", ZoneRemark::PutBack(Epoch(2)))));
        assert_eq!(rig.authority.leases[&name("meadow")].epoch, Epoch(2));
    }
}

#[test]
fn lease_that_a_look_finds_forgotten_is_put_back_at_the_next_turn() {
    let forgets: [Change; 2] = [
        |authority| drop(authority.leases.remove(&name("meadow"))),
        |authority| drop(authority.leases.insert(name("meadow"), view("meadow", 1, OTHER))),
    ];
    for forget in forgets {
        let mut rig = Rig::hosting();
        until_renewals(&mut rig);
        rig.settle();
        forget(&mut rig.authority);
        rig.turn();
        rig.turn();
        assert_eq!(rig.authority.leases[&name("meadow")].epoch, Epoch(2));
        assert!(rig.remarks.contains(&remark("meadow", ZoneRemark::PutBack(Epoch(2)))));
    }
}

#[test]
fn lease_of_another_process_is_lost_and_not_put_back() {
    for epoch in [2, 3] {
        let mut rig = Rig::hosting();
        rig.authority
            .leases
            .insert(name("meadow"), view("meadow", epoch, OTHER));
        until_renewals(&mut rig);
        rig.settle();
        assert_eq!(rig.state("meadow"), LeaseState::Lost, "epoch {epoch}");
        assert!(rig.asked(|request| matches!(request, Request::Reinstate(_))).is_empty());
        assert!(
            rig.remarks
                .contains(&remark("meadow", ZoneRemark::Refused(Epoch(epoch))))
        );
    }
}

#[test]
fn turn_ends_early_if_no_renewal_is_answered_and_goes_on_if_one_is() {
    let mut rig = Rig::hosting();
    rig.authority.is_away = true;
    until_renewals(&mut rig);
    rig.settle();
    let last = &rig.asked.last().unwrap().request;
    assert!(matches!(last, Request::Renew(_)), "nothing else is asked: {last:?}");

    let mut rig = Rig::hosting();
    rig.authority.unread = [name("forest"), name("meadow")].into();
    until_renewals(&mut rig);
    rig.settle();
    let renewed_at = rig.renewed_at("hills")[0];
    let looks = rig.asked(|request| *request == Request::Leases);
    assert!(looks.iter().any(|asked| asked.at == renewed_at), "the turn goes on");
}

#[test]
fn renewals_that_are_not_answered_are_one_outage_until_the_last_zone_is_renewed() {
    let mut rig = Rig::hosting();
    rig.authority.unread = [name("forest"), name("meadow")].into();
    let began_at = until_renewals(&mut rig);
    rig.settle();
    let of_renewals = |remark: &&Remark| {
        matches!(
            remark,
            Remark::Failing(RequestFailure::Renewals { .. }, _) | Remark::Answered(Service::Renewals, _)
        )
    };
    let failing = RequestFailure::Renewals {
        zone: name("meadow"),
        zones: 2,
        error: away::<()>().unwrap_err().to_string(),
    };
    let first = Lasted { ms: 0, failures: 1 };
    let said: Vec<&Remark> = rig.remarks.iter().filter(of_renewals).collect();
    assert_eq!(said, [&Remark::Failing(failing, first)]);

    rig.authority.unread.remove(&name("forest"));
    rig.run(RETRY_EVERY + TURN);
    let said = rig.remarks.iter().filter(of_renewals).count();
    assert_eq!(said, 1, "the meadow is not renewed yet, and that is no news");

    rig.authority.unread.clear();
    rig.forget();
    rig.run(RETRY_EVERY + TURN);
    let said: Vec<&Remark> = rig.remarks.iter().filter(of_renewals).collect();
    let [
        Remark::Answered(
            Service::Renewals,
            Lasted {
                ms: lasted,
                failures: 2,
            },
        ),
    ] = said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!(ms(*lasted), rig.renewed_at("meadow")[0] - began_at);
}

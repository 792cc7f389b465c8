//! Claims and declarations.

use everhold_protocol::Epoch;

use super::*;
use crate::ownership::holder::remark::{RequestFailure, Service};

#[test]
fn deadline_of_a_grant_counts_from_before_anything_was_asked_for_the_claim() {
    for latency in [0, 1, 200] {
        let mut rig = Rig::new();
        rig.begin_claim();
        let sent_at = rig.now;
        rig.authority.latency = ms(latency);
        // The store's fence, and the claim.
        rig.answer();
        rig.answer();
        let granted = rig.granted();
        let deadline = sent_at + ms(TTL - MARGIN);
        let state = granted[0].lease.with(|lease| lease.state());
        assert_eq!(state, LeaseState::Held { deadline }, "{latency} ms");
        assert_eq!(granted[0].at, sent_at + ms(2 * latency), "it is held since the answer");
    }
}

#[test]
fn store_and_authority_share_the_time_of_one_answer() {
    let mut rig = Rig::new();
    rig.begin_claim();
    rig.authority.latency = ms(200);
    rig.answer();
    let within: Vec<Option<Duration>> = rig.asked(is_claim).iter().map(|asked| asked.within).collect();
    assert_eq!(within, [Some(ms(ANSWER_MAX)), Some(ms(ANSWER_MAX - 200))]);
}

#[test]
fn new_epoch_is_above_all_that_store_authority_and_this_process_have_seen() {
    // The store's fence, the highest epoch that the authority ever showed, the one that it shows now: the new epoch.
    let table = [
        (StoreFence::None, 0, 0, 1),
        (fenced(9), 3, 3, 10),
        (fenced(2), 5, 5, 6),
        (fenced(2), 5, 0, 6),
        (StoreFence::Lost, 5, 0, 6),
        (StoreFence::Lost, 0, 0, 1),
    ];
    for (fence, shown, shows, expected) in table {
        let mut rig = Rig::new();
        // Only the meadow is there to be claimed, and is not released at first.
        rig.authority.leases = [(name("meadow"), view("meadow", shown, OTHER))].into();
        rig.turn();
        let released = LeaseView {
            released: true,
            ..view("meadow", shows, OTHER)
        };
        rig.authority.leases.insert(name("meadow"), released);
        rig.authority.fence = fence.clone();
        rig.run(TTL + 2 * TURN);
        // The other zones, which the authority lacks, are declared and claimed meanwhile.
        let granted = rig.granted().into_iter().map(|granted| granted.tenure);
        let meadow = granted.filter(|tenure| tenure.zone == name("meadow"));
        let epochs: Vec<Epoch> = meadow.map(|tenure| tenure.epoch()).collect();
        assert_eq!(epochs, [Epoch(expected)], "{fence:?}, {shown}, {shows}");
    }
}

#[test]
fn nothing_is_claimed_while_the_fence_in_the_store_is_unknown() {
    let mut rig = Rig::new();
    rig.authority.fence = StoreFence::Unknown("no answer in time".to_owned());
    let asked = rig.turn();
    assert!(!asked.iter().any(|request| matches!(request, Request::Claim { .. })));
    let why = rig.remarks.iter().find_map(|remark| match remark {
        Remark::Failing(RequestFailure::Claim(_, why), _) => Some(why.as_str()),
        _ => None,
    });
    let expected = "the authority does not answer: the store's fence is unknown: no answer in time";
    assert_eq!(why, Some(expected));

    rig.authority.fence = StoreFence::None;
    rig.run(RENEW_EVERY);
    assert_eq!(rig.granted().len(), ZONES.len());
    let again = |remark: &&Remark| matches!(remark, Remark::Answered(Service::Claims, _));
    assert_eq!(rig.remarks.iter().filter(again).count(), 1);
}

#[test]
fn guardian_knows_of_a_grant_before_the_zone_is_adopted() {
    let mut rig = Rig::new();
    rig.turn();
    let zone = rig.granted()[0].tenure.zone.clone();
    let told = |command: &HolderCommand| match command {
        HolderCommand::TellGuardian(held) => held.tenures().any(|held| held.zone == zone),
        _ => false,
    };
    let adopted =
        |command: &HolderCommand| matches!(command, HolderCommand::Adopt(granted) if granted.tenure.zone == zone);
    let (told, adopted) = (
        rig.done.iter().position(told).unwrap(),
        rig.done.iter().position(adopted).unwrap(),
    );
    assert!(told < adopted);
    assert!(
        rig.remarks
            .contains(&remark(zone.as_str(), ZoneRemark::Granted(Epoch(2))))
    );
}

#[test]
fn guardian_knows_that_its_server_is_in_the_directory_before_anything_is_asked() {
    let mut rig = Rig::new();
    let first = rig.holder.poll_command(rig.now);
    assert!(matches!(first, Some(HolderCommand::TellGuardian(held)) if held.announced() == Some(ME)));
}

#[test]
fn holder_that_is_closed_claims_nothing() {
    let mut rig = Rig::new();
    rig.holder.handle_close(rig.now);
    rig.run(2 * TTL);
    assert!(rig.asked(is_claim).is_empty());
    assert!(
        !rig.asked(|request| *request == Request::Leases).is_empty(),
        "it still looks"
    );
}

#[test]
#[should_panic(expected = "a claim may be under way")]
fn holder_cannot_be_closed_while_a_claim_is_under_way() {
    let mut rig = Rig::new();
    rig.begin_claim();
    assert_eq!(rig.holder.poll_timeout(), None);
    rig.holder.handle_close(rig.now);
}

#[test]
fn refused_claim_watches_the_winner_for_a_ttl() {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.begin_claim();
    rig.authority.leases.insert(name("meadow"), view("meadow", 2, OTHER));
    rig.settle();
    assert!(rig.granted().is_empty());
    let refused_at = rig.now;
    rig.run(TTL + TURN);
    let mut granted = rig.granted();
    granted.retain(|granted| granted.tenure.zone == name("meadow"));
    assert_eq!(granted.len(), 1);
    assert!(granted[0].at - refused_at >= ms(TTL));
    assert!(!rig.remarks.iter().any(|remark| matches!(remark, Remark::Failing(..))));
}

#[test]
fn claims_that_are_not_answered_are_made_once_in_a_turn() {
    let mut rig = Rig::new();
    rig.authority.fence = StoreFence::Unknown("away".to_owned());
    // Longer than the back-off after which each lease may be claimed again.
    rig.authority.latency = ms(RETRY_EVERY);
    rig.begin_turn();
    let mut answers = 0;
    while rig.holder.poll_timeout().is_none() {
        assert!(rig.answer() && answers < 20, "the turn does not end");
        answers += 1;
    }
    assert_eq!(rig.asked(is_claim).len(), ZONES.len());
    rig.authority.fence = StoreFence::None;
    rig.authority.latency = Duration::ZERO;
    rig.run(3 * TURN);
    assert_eq!(rig.granted().len(), ZONES.len());
}

#[test]
fn claims_wait_for_renewals_that_fall_due_meanwhile() {
    let mut rig = Rig::hosting();
    for zone in ["forest", "hills"] {
        let ended = tenure(zone, 2);
        rig.holder
            .handle_ended(rig.now, ended, &EndReason::Stopped, Remains::Nothing);
        rig.hosted.remove(&name(zone));
    }
    rig.settle();
    rig.forget();
    rig.authority.latency = ms(300);
    rig.turn();
    assert_eq!(rig.granted().len(), 1, "the look and one claim took a renewal's time");
    rig.begin_turn();
    assert!(matches!(rig.unanswered[0], Request::Renew(_)), "{:?}", rig.unanswered);
    rig.settle();
    assert_eq!(rig.granted().len(), 2);
}

#[test]
fn epoch_that_was_granted_here_counts_as_seen_although_no_look_showed_it() {
    let mut rig = Rig::new();
    rig.authority.leases = [(name("meadow"), view("meadow", 4, OTHER))].into();
    rig.turn();
    let released = LeaseView {
        released: true,
        ..view("meadow", 4, OTHER)
    };
    rig.authority.leases.insert(name("meadow"), released.clone());
    rig.turn();
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 5));
    rig.host_all();
    rig.holder
        .handle_ended(rig.now, tenure("meadow", 5), &EndReason::Suspended, MEMORY);
    rig.hosted.clear();
    // The authority goes back to a time before the grant, and the store has forgotten everything.
    rig.authority.leases.insert(name("meadow"), released);
    // It is put back first.
    rig.run(TTL + 2 * TURN);
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 6));
}

#[test]
fn claim_whose_answer_got_lost_is_no_grant_and_one_outage() {
    let mut rig = Rig::new();
    rig.begin_claim();
    rig.answer();
    rig.authority.is_away = true;
    rig.settle();
    assert!(rig.granted().is_empty() && rig.holdings().is_empty());
    let failing = |remark: &&Remark| matches!(remark, Remark::Failing(RequestFailure::Claim(..), _));
    assert_eq!(
        rig.remarks.iter().filter(failing).count(),
        1,
        "claims of three zones, one line"
    );
}

/// Has the claims of a turn carried out without an answer: the authority does it, and says nothing.
fn lose_answers(rig: &mut Rig) {
    rig.begin_claim();
    rig.authority.latency = ms(TURN);
    while let Some(request) = rig.unanswered.pop_front() {
        rig.now += rig.authority.latency;
        let answer = match rig.authority.answer(request) {
            HolderAnswer::Claimed(_) => HolderAnswer::Claimed(away()),
            answer => answer,
        };
        rig.holder.handle_answer(rig.now, answer);
        rig.poll();
    }
    rig.authority.latency = Duration::ZERO;
}

/// A holder that may have the meadow alone.
fn claimant() -> Rig {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.authority.unread = ["forest", "hills"].map(name).into();
    rig
}

#[test]
fn claim_whose_answer_got_lost_is_made_again_when_its_lease_is_seen_and_counts_from_the_first_time() {
    for players in [0, 1] {
        let mut rig = claimant();
        let sent_at = rig.now;
        lose_answers(&mut rig);
        assert!(rig.granted().is_empty());
        // Whatever of the lease but its holder has changed since says nothing.
        rig.authority.leases.get_mut(&name("meadow")).unwrap().players = players;
        rig.turn();
        let granted = rig.granted();
        assert_eq!(granted.len(), 1, "at once, and not after a ttl");
        assert_eq!(
            granted[0].tenure,
            tenure("meadow", 2),
            "under the epoch that was granted then"
        );
        let deadline = sent_at + ms(TTL - MARGIN);
        let state = granted[0].lease.with(|lease| lease.state());
        assert_eq!(state, LeaseState::Held { deadline });
    }
}

#[test]
fn claim_that_is_made_twice_without_an_answer_counts_from_the_first_time() {
    let mut rig = claimant();
    let sent_at = rig.now;
    rig.begin_claim();
    rig.answer();
    let first = rig.unanswered.pop_front().unwrap();
    rig.now += ms(300);
    rig.holder.handle_answer(rig.now, HolderAnswer::Claimed(away()));
    rig.poll();
    // It was seen by no look yet, and is carried out when the next one is on its way.
    rig.begin_claim();
    rig.answer();
    let again = rig.unanswered[0].clone();
    assert_eq!(first, again, "the same is asked for");
    rig.settle();
    let deadline = sent_at + ms(TTL - MARGIN);
    let state = rig.granted()[0].lease.with(|lease| lease.state());
    assert_eq!(state, LeaseState::Held { deadline });
}

#[test]
fn lease_of_this_process_that_no_claim_without_an_answer_made_is_waited_for_as_any_other() {
    // It was granted and given up; or its grant would be over.
    let mut rig = claimant();
    rig.authority.leases.insert(name("meadow"), view("meadow", 2, ME));
    rig.run(TTL / 2);
    assert!(rig.asked(is_claim).is_empty());

    let mut rig = claimant();
    lose_answers(&mut rig);
    rig.forget();
    rig.authority.is_away = true;
    rig.run(TTL);
    rig.authority.is_away = false;
    rig.turn();
    assert!(rig.granted().is_empty(), "another may have it by now");
}

#[test]
fn zone_that_is_missing_for_the_grace_is_declared() {
    let mut rig = Rig::hosting();
    let zone = name("dale");
    rig.holder.census = Census::new([zone.clone()].into(), BTreeSet::new(), ms(2 * TTL));
    let since = rig.now;
    rig.run(2 * TTL - TURN);
    let declared = |request: &Request| matches!(request, Request::Declare(_));
    assert!(rig.asked(declared).is_empty());
    rig.run(3 * TURN);
    let at: Vec<Duration> = rig.asked(declared).iter().map(|asked| asked.at).collect();
    assert_eq!(at.len(), 1, "it is there afterwards");
    assert!(at[0] - since >= ms(2 * TTL));
    assert!(rig.remarks.contains(&remark("dale", ZoneRemark::Declared)));
}

#[test]
fn preferred_zone_is_declared_at_once_and_free_after_a_ttl() {
    let mut rig = Rig::new();
    rig.authority.leases.clear();
    let from = rig.now;
    let asked = rig.turn();
    for zone in ZONES {
        assert!(asked.contains(&Request::Declare(name(zone))), "{asked:?}");
    }
    assert!(
        !rig.remarks.contains(&remark("meadow", ZoneRemark::Declared)),
        "as expected"
    );
    rig.run(TTL + 2 * TURN);
    let granted = rig.granted();
    assert_eq!(granted.len(), ZONES.len());
    assert!(granted.iter().all(|granted| granted.at - from >= ms(TTL)));
}

#[test]
fn suspended_zone_that_the_authority_forgot_is_put_back_at_once_and_claimed_above_its_epoch_after_a_ttl() {
    let forgets: [Change; 2] = [
        |authority| drop(authority.leases.remove(&name("meadow"))),
        |authority| drop(authority.leases.insert(name("meadow"), view("meadow", 1, OTHER))),
    ];
    for forget in forgets {
        let mut rig = Rig::hosting();
        forget(&mut rig.authority);
        rig.holder
            .handle_ended(rig.now, tenure("meadow", 2), &EndReason::Suspended, MEMORY);
        rig.hosted.remove(&name("meadow"));
        let asked = rig.turn();
        let put_back = |request: &Request| match request {
            Request::Reinstate(renewals) => renewals[0].tenure == tenure("meadow", 2),
            _ => false,
        };
        assert!(asked.iter().any(put_back), "{asked:?}");
        assert!(!asked.contains(&Request::Declare(name("meadow"))), "{asked:?}");
        rig.run(TTL - 2 * TURN);
        assert!(rig.granted().is_empty(), "another shard may have a newer memory");
        let times = rig.asked(put_back).len();
        rig.run(3 * TURN);
        assert_eq!(rig.granted()[0].tenure, tenure("meadow", 3));
        assert!(
            (2..=4).contains(&times),
            "it is not taken for one that stands still, {times}"
        );
    }
}

/// A store that has seen this epoch, with data of it.
fn fenced(epoch: u32) -> StoreFence {
    StoreFence::Epoch {
        fence: Epoch(epoch),
        data: Some(stamp(epoch, 100)),
    }
}

#[test]
fn released_lease_below_the_fence_of_the_store_is_watched_for_a_ttl_preferred_or_not() {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.authority.fence = fenced(5);
    rig.turn();
    let from = rig.now;
    assert!(rig.granted().is_empty());
    rig.run(TTL + TURN);
    let granted = rig.granted();
    assert_eq!(granted[0].tenure, tenure("meadow", 6));
    assert!(granted[0].at - from >= ms(TTL - TURN));
}

#[test]
fn turn_comes_sooner_if_a_claim_falls_due() {
    let mut rig = Rig::new();
    // Nothing is preferred: a back-off of less than 50 ms is drawn.
    let config = ContenderConfig::new(ms(TTL), 8, rules(1), BTreeSet::new(), 1);
    rig.holder.contender = Contender::new(config);
    let released = LeaseView {
        released: true,
        ..view("meadow", 3, OTHER)
    };
    rig.authority.leases = [(name("meadow"), released)].into();
    rig.turn();
    let (now, next) = (rig.now, rig.holder.poll_timeout().unwrap());
    assert!((now + TURN_MIN..now + ms(50)).contains(&next), "{:?}", next - now);
    rig.turn();
    assert_eq!(rig.granted().len(), 1);
    let next = rig.holder.poll_timeout().unwrap();
    assert_eq!(next, rig.now + ms(TURN), "nothing more falls due");
}

#[test]
fn zone_that_this_world_lacks_is_never_claimed() {
    let mut rig = Rig::new();
    let lease = LeaseView {
        released: true,
        ..view("atlantis", 3, OTHER)
    };
    rig.authority.leases.insert(name("atlantis"), lease);
    rig.run(3 * TTL);
    assert!(
        rig.granted()
            .iter()
            .all(|granted| granted.tenure.zone != name("atlantis"))
    );
    assert_eq!(rig.granted().len(), ZONES.len(), "the others are");
}

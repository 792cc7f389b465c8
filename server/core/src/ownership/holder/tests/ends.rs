//! Ends of zones, and adoptions that fail.

use everhold_protocol::{EntityId, Epoch, Tick};

use super::*;
use crate::ownership::{AdoptionFailure, After};

pub(super) fn end(rig: &mut Rig, zone: &str, reason: &EndReason, remains: Remains) {
    rig.holder.handle_ended(rig.now, tenure(zone, 2), reason, remains);
    rig.hosted.remove(&name(zone));
    rig.poll();
}

pub(super) fn held_by_word(rig: &Rig) -> Vec<String> {
    rig.holdings()
        .into_iter()
        .map(|tenure| tenure.zone.to_string())
        .collect()
}

pub(super) fn releases(rig: &Rig) -> Vec<&Asked> {
    rig.asked(|request| matches!(request, Request::Release(..)))
}

/// One reason for each way that a lease may go.
fn reason_for(after: After) -> (EndReason, Remains) {
    match after {
        After::Release => (EndReason::Stopped, Remains::Nothing),
        After::Reclaim { .. } => (EndReason::Suspended, MEMORY),
        After::Expire => (EndReason::Fenced, Remains::Nothing),
        After::Shun => (EndReason::Corrupt, Remains::Nothing),
        After::Leave => unreachable!("no hosted zone ends so"),
        After::Cede => {
            let poisoned = EndReason::Poisoned(Tick(7), EntityId(1), 2, "text".to_owned());
            (poisoned, Remains::Nothing)
        }
    }
}

#[test]
fn what_becomes_of_a_lease_is_asked_told_and_claimed_as_its_end_says() {
    // Whether it is released at once, whether the guardian still has it, and whether this process claims it within half
    // a ttl, if no other does. Within ten ttls it claims it in any case: nothing is for ever.
    let table = [
        (After::Release, true, false, true),
        (
            After::Reclaim {
                acknowledged: ACKNOWLEDGED,
            },
            false,
            true,
            true,
        ),
        (After::Expire, false, false, false),
        (After::Shun, false, false, false),
        (After::Cede, true, false, false),
    ];
    for (after, is_released, is_guarded, is_claimed) in table {
        let mut rig = Rig::hosting();
        let (reason, remains) = reason_for(after);
        // The guardian hears of it anew even if nothing changes.
        rig.holder.tell_guardian();
        end(&mut rig, "meadow", &reason, remains);
        assert_eq!(releases(&rig).len(), usize::from(is_released), "{after:?}");
        rig.settle();
        let held = held_by_word(&rig);
        assert_eq!(held.contains(&"meadow".to_owned()), is_guarded, "{after:?}");
        assert_eq!(rig.authority.leases[&name("meadow")].released, is_released, "{after:?}");
        rig.run(TTL / 2);
        let claimed_soon = !rig.granted().is_empty();
        assert_eq!(claimed_soon, is_claimed, "{after:?}");
        rig.run(10 * TTL);
        assert!(claimed_soon || !rig.granted().is_empty(), "{after:?}");
    }
}

#[test]
fn guardian_has_a_zone_until_its_release_is_answered() {
    let mut rig = Rig::hosting();
    rig.holder.tell_guardian();
    end(&mut rig, "meadow", &EndReason::Stopped, Remains::Nothing);
    assert_eq!(releases(&rig)[0].within, Some(ms(ANSWER_MAX)));
    assert_eq!(held_by_word(&rig), ZONES);
    rig.settle();
    assert_eq!(held_by_word(&rig), ["forest", "hills"]);
    assert_eq!(rig.remarks, [remark("meadow", ZoneRemark::Released(Epoch(2)))]);
}

#[test]
fn release_that_fails_is_said_and_left_to_the_ttl() {
    let away = AuthorityError::Unavailable("away".to_owned()).to_string();
    let failures: [(Change, ZoneRemark); 2] = [
        (|authority| authority.is_away = true, ZoneRemark::NotReleased(away)),
        (
            |authority| drop(authority.leases.insert(name("meadow"), view("meadow", 5, OTHER))),
            ZoneRemark::NotOurs(Epoch(5)),
        ),
    ];
    for (fail, said) in failures {
        let mut rig = Rig::hosting();
        fail(&mut rig.authority);
        end(&mut rig, "meadow", &EndReason::Stopped, Remains::Nothing);
        rig.settle();
        assert_eq!(rig.remarks, [remark("meadow", said)]);
        assert_eq!(held_by_word(&rig), ["forest", "hills"]);
        assert_eq!(releases(&rig).len(), 1);
    }
}

#[test]
fn suspended_zone_is_claimed_at_the_next_look_if_nobody_else_was_granted_it() {
    let mut rig = Rig::hosting();
    end(&mut rig, "meadow", &EndReason::Suspended, MEMORY);
    rig.turn();
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 3));
}

#[test]
fn memory_of_a_zone_with_which_another_process_goes_on_is_dropped_when_its_data_is_there() {
    for reason in [EndReason::Suspended, EndReason::Fenced] {
        let mut rig = Rig::hosting();
        end(&mut rig, "meadow", &reason, MEMORY);
        rig.authority.leases.insert(name("meadow"), view("meadow", 3, OTHER));
        rig.authority.data = StoreData::Newest(ACKNOWLEDGED);
        let asked = rig.turn();
        assert!(asked.contains(&Request::Data(name("meadow"))));
        assert!(!is_dropped(&rig, "meadow"), "a grant is no data");
        rig.authority.data = StoreData::Newest(DataStamp {
            epoch: Epoch(3),
            ..ACKNOWLEDGED
        });
        rig.turn();
        assert!(is_dropped(&rig, "meadow"));
        assert!(rig.remarks.contains(&remark("meadow", ZoneRemark::Taken)));
        assert_eq!(held_by_word(&rig), ["forest", "hills"]);
        assert!(rig.granted().is_empty());
    }
}

fn is_dropped(rig: &Rig, zone: &str) -> bool {
    rig.done
        .iter()
        .any(|command| matches!(command, HolderCommand::Drop(dropped) if *dropped == name(zone)))
}

#[test]
fn zone_in_memory_is_taken_back_from_a_process_that_found_nothing() {
    let mut rig = Rig::hosting();
    end(&mut rig, "meadow", &EndReason::Suspended, MEMORY);
    rig.authority.leases.insert(name("meadow"), view("meadow", 3, OTHER));
    rig.authority.data = StoreData::Nothing;
    rig.turn();
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 4));
    assert!(!is_dropped(&rig, "meadow"));
}

#[test]
fn end_of_an_earlier_grant_is_none_of_the_later_one() {
    let mut rig = Rig::hosting();
    let earlier = tenure("meadow", 1);
    rig.holder
        .handle_ended(rig.now, earlier.clone(), &EndReason::Stopped, Remains::Nothing);
    rig.holder
        .handle_adoption_failed(rig.now, earlier, AdoptionFailure::Unreplayable, Remains::Nothing);
    rig.settle();
    assert!(rig.asked.is_empty() && rig.done.is_empty());
    rig.run(2 * RENEW_EVERY);
    assert_eq!(rig.renewed_at("meadow").len(), 2);
}

/// Runs until the meadow is granted again. The other zones, which the authority has forgotten, are claimed meanwhile.
fn granted_again_at(rig: &mut Rig) -> Duration {
    loop {
        let mut granted = rig.granted().into_iter();
        if let Some(granted) = granted.find(|granted| granted.tenure.zone == name("meadow")) {
            return granted.at;
        }
        rig.run(TURN);
    }
}

#[test]
fn zone_whose_adoption_failed_is_claimed_again_after_a_ttl_and_later_each_time_if_its_world_failed() {
    for (failure, waits) in [
        (AdoptionFailure::StoreAway, [TTL, TTL, TTL]),
        // Left to others for one, two, and four ttls, and then watched for one like any lease.
        (AdoptionFailure::Unreplayable, [2 * TTL, 3 * TTL, 5 * TTL]),
    ] {
        let mut rig = Rig::new();
        rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
        rig.turn();
        for (epoch, wait) in (2..).zip(waits) {
            let failed_at = rig.now;
            rig.holder
                .handle_adoption_failed(failed_at, tenure("meadow", epoch), failure, Remains::Nothing);
            rig.poll();
            assert!(!held_by_word(&rig).contains(&"meadow".to_owned()) && releases(&rig).is_empty());
            rig.forget();
            let waited = granted_again_at(&mut rig) - failed_at;
            // The watch begins when the claim itself is seen, up to two turns before.
            let bound = ms(wait - 2 * TURN)..ms(wait + TTL - 2 * TURN);
            assert!(bound.contains(&waited), "{failure:?}, {epoch}: {waited:?}");
        }
    }
}

#[test]
fn zone_that_cannot_run_here_is_released_at_once_and_left_for_longer_each_time() {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.turn();
    for (epoch, ttls) in [(2, 1), (3, 2), (4, 4), (5, 8), (6, 8)] {
        let failed_at = rig.now;
        rig.holder.handle_adoption_failed(
            failed_at,
            tenure("meadow", epoch),
            AdoptionFailure::Unfit,
            Remains::Nothing,
        );
        rig.settle();
        assert!(rig.authority.leases[&name("meadow")].released, "others need not wait");
        assert!(!held_by_word(&rig).contains(&"meadow".to_owned()));
        rig.forget();
        let waited = granted_again_at(&mut rig) - failed_at;
        assert!(
            (ms(ttls * TTL)..ms(ttls * TTL + 3 * TURN)).contains(&waited),
            "{epoch}: {waited:?}"
        );
    }
}

#[test]
fn zone_of_which_the_archive_has_seen_a_higher_epoch_is_claimed_above_it_once_no_owner_puts_its_lease_back() {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.turn();
    let (failed_at, failure) = (rig.now, AdoptionFailure::ArchiveAhead(Epoch(57)));
    rig.holder
        .handle_adoption_failed(failed_at, tenure("meadow", 2), failure, Remains::Nothing);
    rig.settle();
    assert!(rig.authority.leases[&name("meadow")].released);
    rig.forget();
    let waited = granted_again_at(&mut rig) - failed_at;
    assert!(waited >= ms(TTL - 2 * TURN), "its lease is a forgotten one: {waited:?}");
    let granted = rig.granted().into_iter().map(|granted| granted.tenure);
    let granted: Vec<Tenure> = granted.filter(|tenure| tenure.zone == name("meadow")).collect();
    assert_eq!(granted, [tenure("meadow", 58)]);
}

#[test]
fn adoption_that_takes_no_step_for_two_minutes_is_given_up_and_its_late_host_finds_the_lease_lost() {
    let mut rig = Rig::new();
    rig.turn();
    let granted = rig.granted();
    rig.run(119_000);
    assert!(matches!(
        granted[0].lease.with(|lease| lease.state()),
        LeaseState::Held { .. }
    ));
    rig.run(2_000);
    for GrantedLease { tenure, lease, .. } in granted {
        assert_eq!(lease.with(|lease| lease.state()), LeaseState::Lost);
        let said = remark(tenure.zone.as_str(), ZoneRemark::GivenUp(Epoch(2)));
        assert_eq!(rig.remarks.iter().filter(|remark| **remark == said).count(), 1);
        rig.holder.handle_hosted(&tenure);
        rig.holder
            .handle_ended(rig.now, tenure, &EndReason::Fenced, Remains::Nothing);
    }
    rig.poll();
    assert!(held_by_word(&rig).is_empty());
    rig.forget();
    rig.run(TTL / 2);
    assert!(
        rig.asked(|request| is_claim(request) || matches!(request, Request::Renew(_)))
            .is_empty()
    );
}

#[test]
fn adoption_that_goes_on_is_waited_for_however_long_it_takes() {
    let mut rig = Rig::new();
    rig.turn();
    let granted = rig.granted();
    rig.forget();
    for _ in 0..10 {
        granted.iter().for_each(|granted| granted.steps.note());
        rig.run(100_000);
    }
    for GrantedLease { tenure, lease, .. } in granted {
        assert!(matches!(lease.with(|lease| lease.state()), LeaseState::Held { .. }));
        rig.holder.handle_hosted(&tenure);
    }
    assert_eq!(rig.remarks, []);
}

/// A holder whose adoption of the meadow was given up, as its zone was suspended or not.
fn given_up() -> Rig {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.turn();
    rig.run(121_000);
    assert!(rig.remarks.contains(&remark("meadow", ZoneRemark::GivenUp(Epoch(2)))));
    rig.forget();
    rig.run(10 * TTL);
    let claims = |rig: &Rig| {
        let of_meadow =
            |request: &Request| matches!(request, Request::Claim { watched, .. } if watched.zone == name("meadow"));
        rig.asked(of_meadow).len()
    };
    assert_eq!(claims(&rig), 0, "it may still have the zone in memory");
    rig
}

#[test]
fn memory_of_an_adoption_that_was_given_up_goes_on_under_another_grant() {
    let mut rig = given_up();
    let (failure, remains) = (AdoptionFailure::LeaseOver, MEMORY);
    rig.holder
        .handle_adoption_failed(rig.now, tenure("meadow", 2), failure, remains);
    rig.turn();
    let granted = rig.granted();
    assert!(granted.iter().any(|granted| granted.tenure == tenure("meadow", 3)));
}

#[test]
fn zone_of_which_an_adoption_took_no_step_is_left_to_others_first() {
    let mut rig = given_up();
    let (failure, remains) = (AdoptionFailure::LeaseOver, Remains::Nothing);
    rig.holder
        .handle_adoption_failed(rig.now, tenure("meadow", 2), failure, remains);
    let of_meadow = |rig: &Rig| {
        rig.granted()
            .iter()
            .any(|granted| granted.tenure.zone == name("meadow"))
    };
    rig.run(TTL - 2 * TURN);
    assert!(!of_meadow(&rig));
    rig.run(2 * TTL);
    assert!(of_meadow(&rig), "and claimed again, if there are none");
}

#[test]
fn memory_whose_host_or_adoption_fails_is_tried_again_after_a_ttl() {
    for failure in [AdoptionFailure::NotStarted, AdoptionFailure::Panicked] {
        let mut rig = Rig::new();
        rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
        rig.turn();
        rig.holder
            .handle_adoption_failed(rig.now, tenure("meadow", 2), failure, MEMORY);
        assert_tried_again_after_a_ttl(&mut rig);
    }
}

#[test]
fn memory_of_a_zone_whose_task_failed_is_tried_again_after_a_ttl() {
    let mut rig = Rig::hosting();
    let panicked = EndReason::Panicked(Tick(7), "the durable task failed".to_owned());
    end(&mut rig, "meadow", &panicked, MEMORY);
    assert!(releases(&rig).is_empty());
    assert_tried_again_after_a_ttl(&mut rig);
}

fn assert_tried_again_after_a_ttl(rig: &mut Rig) {
    rig.forget();
    let of_meadow = |rig: &Rig| {
        rig.granted()
            .iter()
            .any(|granted| granted.tenure.zone == name("meadow"))
    };
    rig.run(TTL - 2 * TURN);
    assert!(!of_meadow(rig));
    rig.run(4 * TURN);
    assert!(of_meadow(rig));
}

#[test]
fn memory_that_is_left_to_others_is_claimed_at_once_if_they_would_go_on_from_less() {
    let panicked = EndReason::Panicked(Tick(7), "the durable task failed".to_owned());
    for (data, is_claimed) in [
        (StoreData::Nothing, true),
        (StoreData::Unknown("away".to_owned()), false),
    ] {
        let mut rig = Rig::hosting();
        end(&mut rig, "meadow", &panicked, MEMORY);
        rig.forget();
        rig.authority.leases.insert(name("meadow"), view("meadow", 3, OTHER));
        rig.authority.data = data.clone();
        rig.run(4 * TURN);
        let granted = rig.granted();
        let is_granted = granted.iter().any(|granted| granted.tenure.zone == name("meadow"));
        assert_eq!(is_granted, is_claimed, "{data:?}");
    }
}

//! The stop of the process: what it waits for, and what it leaves behind.

use everhold_protocol::Tick;

use super::ends::{end, held_by_word, releases};
use super::*;
use crate::limits::STOP_ZONES_MS_MAX;
use crate::ownership::AdoptionFailure;

/// Closes the holder, and says that every hosted zone was asked to stop.
fn stop(rig: &mut Rig) {
    rig.holder.handle_close(rig.now);
    rig.holder.handle_stop(rig.now);
    rig.poll();
}

fn has_stopped(rig: &Rig) -> bool {
    rig.done.iter().any(|command| matches!(command, HolderCommand::Stopped))
}

/// The zones of which it was said that they are given up, and how.
fn given_up(rig: &Rig) -> Vec<(String, ZoneRemark)> {
    let given_up = |remark: &Remark| match remark {
        Remark::Zone(zone, what @ (ZoneRemark::Unstopped | ZoneRemark::LeftInMemory)) => {
            Some((zone.to_string(), what.clone()))
        }
        _ => None,
    };
    rig.remarks.iter().filter_map(given_up).collect()
}

/// A holder of which the meadow alone is left: it is suspended, and the process is asked to stop.
fn stopping_with_memory(change: Change) -> Rig {
    let mut rig = Rig::hosting();
    end(&mut rig, "forest", &EndReason::Stopped, Remains::Nothing);
    end(&mut rig, "hills", &EndReason::Stopped, Remains::Nothing);
    end(&mut rig, "meadow", &EndReason::Suspended, MEMORY);
    rig.settle();
    rig.forget();
    change(&mut rig.authority);
    stop(&mut rig);
    rig
}

#[test]
fn stop_waits_for_hosted_zones_and_for_none_when_the_last_has_ended() {
    let mut rig = Rig::hosting();
    stop(&mut rig);
    for zone in ZONES {
        rig.run(RENEW_EVERY);
        assert!(!has_stopped(&rig), "{zone} has not ended");
        assert!(!rig.renewed_at(zone).is_empty(), "it keeps its lease meanwhile");
        end(&mut rig, zone, &EndReason::Stopped, Remains::Nothing);
    }
    rig.settle();
    assert!(has_stopped(&rig), "at once");
    assert!(rig.authority.leases.values().all(|lease| lease.released));
    assert_eq!(given_up(&rig), []);
}

#[test]
fn stop_without_a_zone_waits_for_nothing() {
    let mut rig = Rig::new();
    rig.authority.leases.clear();
    rig.turn();
    let from = rig.now;
    stop(&mut rig);
    rig.settle();
    assert!(has_stopped(&rig));
    assert_eq!(rig.now, from);
}

#[test]
fn suspended_zone_is_claimed_hosted_and_sealed_before_the_process_stops() {
    let changes: [Change; 3] = [
        |_| {},
        |authority| drop(authority.leases.remove(&name("meadow"))),
        |authority| drop(authority.leases.insert(name("meadow"), view("meadow", 0, Nonce(0)))),
    ];
    for change in changes {
        let mut rig = stopping_with_memory(change);
        rig.run(3 * TURN);
        let granted = rig.granted();
        assert_eq!(granted.len(), 1, "nothing but what is in memory");
        assert_eq!(granted[0].tenure, tenure("meadow", 3));
        rig.run(RENEW_EVERY);
        assert!(!has_stopped(&rig), "its adoption is waited for");
        rig.host_all();
        rig.run(RENEW_EVERY);
        assert!(!has_stopped(&rig), "and its last tick");
        rig.holder
            .handle_ended(rig.now, tenure("meadow", 3), &EndReason::Stopped, Remains::Nothing);
        rig.hosted.clear();
        rig.settle();
        assert!(has_stopped(&rig));
        assert_eq!(given_up(&rig), []);
    }
}

#[test]
fn suspended_zone_waits_for_an_authority_that_comes_back_empty_while_its_process_stops() {
    let mut rig = stopping_with_memory(|authority| authority.is_away = true);
    rig.run(STOP_ZONES_MS_MAX / 2);
    assert!(!has_stopped(&rig) && rig.granted().is_empty());
    rig.authority.is_away = false;
    rig.authority.leases.clear();
    rig.run(3 * TURN);
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 3));
    assert!(
        rig.asked(|request| *request == Request::Declare(name("meadow")))
            .is_empty(),
        "its own lease is put back"
    );
}

#[test]
fn zone_that_is_suspended_by_the_stop_itself_is_taken_up_again() {
    let mut rig = Rig::hosting();
    stop(&mut rig);
    for zone in ["forest", "hills"] {
        end(&mut rig, zone, &EndReason::Stopped, Remains::Nothing);
    }
    end(&mut rig, "meadow", &EndReason::Suspended, MEMORY);
    rig.run(2 * TURN);
    assert!(!has_stopped(&rig));
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 3));
    // Its adoption fails, for whatever reason: the memory is still there.
    for failure in [AdoptionFailure::StoreAway, AdoptionFailure::NotStarted] {
        let granted = rig.granted().pop().unwrap().tenure;
        rig.forget();
        rig.holder.handle_adoption_failed(rig.now, granted, failure, MEMORY);
        rig.run(2 * TURN);
        assert_eq!(rig.granted().len(), 1, "{failure:?}");
    }
}

#[test]
fn stop_leaves_a_zone_to_the_shard_that_goes_on_with_it() {
    // What the store has of the zone, which another shard was granted; whether the stop waits for it, and claims it.
    let newest = |tick| {
        StoreData::Newest(DataStamp {
            tick: Tick(tick),
            ..ACKNOWLEDGED
        })
    };
    let table = [
        (newest(100), false, false),
        (newest(99), true, true),
        (StoreData::Nothing, true, true),
        (StoreData::Incomplete { epoch: Epoch(3) }, true, false),
        (StoreData::Unknown("away".to_owned()), true, false),
    ];
    for (data, is_awaited, is_claimed) in table {
        let mut rig =
            stopping_with_memory(|authority| drop(authority.leases.insert(name("meadow"), view("meadow", 3, OTHER))));
        rig.authority.data = data.clone();
        // The other shard renews.
        for beat in 2..6 {
            rig.run(TURN);
            if let Some(lease) = rig.authority.leases.get_mut(&name("meadow")) {
                lease.beat = beat;
            }
        }
        assert_eq!(has_stopped(&rig), !is_awaited, "{data:?}");
        assert_eq!(!rig.granted().is_empty(), is_claimed, "{data:?}");
        assert_eq!(given_up(&rig), [], "{data:?}");
    }
}

#[test]
fn stop_gives_up_after_its_time_and_says_what_is_lost() {
    let mut rig = Rig::hosting();
    // The hills are suspended, the forest is being adopted from memory, and the meadow does not end in time.
    end(&mut rig, "hills", &EndReason::Suspended, MEMORY);
    end(&mut rig, "forest", &EndReason::Suspended, MEMORY);
    let hills = rig.authority.leases.remove(&name("hills")).unwrap();
    rig.turn();
    rig.authority.leases.insert(name("hills"), hills);
    rig.authority.unread.insert(name("hills"));
    let forest = rig.granted().pop().unwrap();
    assert_eq!(forest.tenure, tenure("forest", 3));
    rig.forget();
    let from = rig.now;
    stop(&mut rig);
    rig.run(STOP_ZONES_MS_MAX - TURN);
    assert!(!has_stopped(&rig) && given_up(&rig).is_empty());
    rig.run(2 * TURN);
    assert!(has_stopped(&rig));
    assert!(rig.now - from <= ms(STOP_ZONES_MS_MAX + 2 * TURN));
    let expected = [
        ("forest", ZoneRemark::LeftInMemory),
        ("meadow", ZoneRemark::Unstopped),
        ("hills", ZoneRemark::LeftInMemory),
    ];
    assert_eq!(given_up(&rig), expected.map(|(zone, how)| (zone.to_owned(), how)));
    assert_eq!(forest.lease.with(|lease| lease.state()), LeaseState::Lost);
    let released: Vec<&Request> = releases(&rig).iter().map(|asked| &asked.request).collect();
    let (of_forest, of_hills) = (Request::Release(forest.tenure), Request::Release(tenure("hills", 2)));
    assert_eq!(released, [&of_forest, &of_hills]);
    assert_eq!(
        held_by_word(&rig),
        ["meadow"],
        "it runs out, or the guardian releases it"
    );
}

#[test]
fn adoption_from_the_store_is_released_by_a_stop_and_not_waited_for() {
    let mut rig = Rig::new();
    rig.authority.leases.retain(|zone, _| *zone == name("meadow"));
    rig.turn();
    let meadow = rig.granted().pop().unwrap();
    rig.forget();
    stop(&mut rig);
    rig.settle();
    let asked: Vec<&Request> = rig.asked.iter().map(|asked| &asked.request).collect();
    assert_eq!(asked, [&Request::Release(meadow.tenure), &Request::Withdraw]);
    assert_eq!(
        rig.asked[1].within,
        Some(ms(ANSWER_MAX)),
        "the process ends all the same"
    );
    assert_eq!(meadow.lease.with(|lease| lease.state()), LeaseState::Lost);
    assert!(has_stopped(&rig));
    rig.now += ms(10 * TTL);
    rig.poll();
    assert_eq!(rig.asked.len(), 2, "nothing more is asked");
}

/// A holder that was granted so many zones, and adopts them all from the store.
fn adopting(zones: usize) -> Rig {
    let mut rig = Rig::new();
    let names: BTreeSet<ZoneName> = (0..zones).map(|zone| name(&format!("zone-{zone}"))).collect();
    let contender = ContenderConfig {
        adoptions_max: zones,
        ..ContenderConfig::new(ms(TTL), zones, rules(1), names.clone(), 1)
    };
    rig.holder.contender = Contender::new(contender);
    rig.holder.census = Census::new(names.clone(), names.clone(), ms(2 * TTL));
    let released = |zone: ZoneName| {
        let lease = LeaseView {
            released: true,
            ..view(zone.as_str(), 1, OTHER)
        };
        (zone, lease)
    };
    rig.authority.leases = names.into_iter().map(released).collect();
    rig.turn();
    assert_eq!(rig.granted().len(), zones);
    rig.forget();
    rig
}

#[test]
fn stop_releases_many_zones_at_once() {
    let mut rig = adopting(200);
    stop(&mut rig);
    let mut rounds = 0;
    while !rig.unanswered.is_empty() && !rig.unanswered.contains(&Request::Withdraw) {
        rounds += 1;
        for _ in 0..rig.unanswered.len() {
            rig.answer();
        }
    }
    assert_eq!((rounds, releases(&rig).len()), (4, 200));
    assert!(rig.authority.leases.values().all(|lease| lease.released));
}

#[test]
fn stop_does_not_wait_for_each_of_many_releases_while_the_authority_is_away() {
    let mut rig = adopting(200);
    rig.authority.is_away = true;
    stop(&mut rig);
    rig.settle();
    assert!(has_stopped(&rig));
    assert_eq!(releases(&rig).len(), 64, "one time-out stands for all");
    let unreleased = |remark: &&Remark| matches!(remark, Remark::Zone(_, ZoneRemark::NotReleased(_)));
    assert_eq!(rig.remarks.iter().filter(unreleased).count(), 200);
}

#[test]
fn stop_ends_although_nothing_answers() {
    let mut rig = Rig::new();
    rig.turn();
    rig.authority.is_away = true;
    rig.forget();
    stop(&mut rig);
    rig.settle();
    assert_eq!(releases(&rig).len(), ZONES.len());
    assert!(matches!(rig.done.last(), Some(HolderCommand::Stopped)));
    let left = rig
        .remarks
        .iter()
        .any(|remark| matches!(remark, Remark::StillInDirectory(_)));
    assert!(left, "{:?}", rig.remarks);
}

#[test]
fn guardian_hears_that_the_directory_was_left() {
    let mut rig = Rig::new();
    rig.authority.leases.clear();
    rig.turn();
    stop(&mut rig);
    rig.settle();
    let mut announced = rig.done.iter().filter_map(|command| match command {
        HolderCommand::TellGuardian(holdings) => Some(holdings.announced()),
        _ => None,
    });
    assert_eq!(announced.next_back(), Some(None));
}

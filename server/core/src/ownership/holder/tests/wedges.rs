//! Ticks that do not end.

use everhold_protocol::Tick;

use super::*;

/// Without a tick for half a ttl, and found so for an eighth of one.
const WEDGED: u64 = 2_000 + 500;

fn wedged(culprit: Culprit) -> Rig {
    let mut rig = Rig::hosting();
    rig.authority.culprit = culprit;
    let meadow = rig.hosted.get_mut(&name("meadow")).unwrap();
    meadow.is_stuck = true;
    meadow.progress.stepping = Tick(77);
    rig
}

fn blamed(rig: &Rig) -> Vec<&Asked> {
    rig.asked(|request| matches!(request, Request::Blame(..)))
}

fn ends_process(rig: &Rig) -> bool {
    rig.done
        .iter()
        .any(|command| matches!(command, HolderCommand::EndProcess))
}

#[test]
fn tick_that_stands_at_an_input_ends_its_process_whether_that_is_written_down_or_not() {
    for culprit in [Culprit::Quarantined, Culprit::Unwritten] {
        let mut rig = wedged(culprit);
        let since = rig.now;
        rig.run(WEDGED - TURN);
        assert!(blamed(&rig).is_empty() && !ends_process(&rig));
        rig.run(3 * TURN);
        let asked = blamed(&rig);
        assert_eq!(asked[0].request, Request::Blame(tenure("meadow", 2), Tick(77)));
        assert!((WEDGED..WEDGED + 3 * TURN).contains(&u64::try_from((asked[0].at - since).as_millis()).unwrap()));
        assert!(ends_process(&rig), "{culprit:?}");
        let ticks = [ZoneRemark::Wedged(Tick(77)), ZoneRemark::EndsProcess(Tick(77))];
        assert_eq!(rig.remarks[..2], ticks.map(|said| remark("meadow", said)));
    }
}

/// The store may be away, and does not say for longer than the leases of the other zones last.
#[test]
fn other_zones_are_renewed_while_the_culprit_is_looked_for() {
    let mut rig = wedged(Culprit::Quarantined);
    while blamed(&rig).is_empty() {
        rig.settle();
        rig.begin_turn();
    }
    assert_eq!(blamed(&rig)[0].within, None, "it is tried as long as the lease lasts");
    rig.unanswered.retain(|request| !matches!(request, Request::Blame(..)));
    rig.run(3 * TTL);
    assert_eq!(blamed(&rig).len(), 1, "asked once");
    for neighbour in ["forest", "hills"] {
        assert!(matches!(rig.state(neighbour), LeaseState::Held { .. }), "{neighbour}");
    }
    assert!(!ends_process(&rig));
    let late = HolderAnswer::Blamed(name("meadow"), Tick(77), Culprit::Quarantined);
    rig.holder.handle_answer(rig.now, late);
    rig.poll();
    assert!(ends_process(&rig));
}

#[test]
fn tick_that_stands_at_no_input_loses_its_zone_and_no_other() {
    let mut rig = wedged(Culprit::None);
    rig.run(3 * TTL);
    assert!(!ends_process(&rig));
    assert_eq!(blamed(&rig).len(), 1, "asked once");
    let renewed_last = *rig.renewed_at("meadow").last().unwrap();
    assert!(
        renewed_last <= ms(10_000) + ms(2 * RENEW_EVERY + TURN),
        "{renewed_last:?}"
    );
    assert_eq!(rig.state("meadow"), LeaseState::Suspended);
    for neighbour in ["forest", "hills"] {
        assert!(matches!(rig.state(neighbour), LeaseState::Held { .. }), "{neighbour}");
    }
    assert!(rig.remarks.contains(&remark("meadow", ZoneRemark::Shunned)));

    // The World is thrown away: others first, and then a fresh adoption may work here.
    rig.hosted.remove(&name("meadow"));
    rig.holder
        .handle_ended(rig.now, tenure("meadow", 2), &EndReason::Suspended, Remains::Nothing);
    rig.forget();
    rig.run(TTL - TURN);
    assert!(rig.authority.leases[&name("meadow")].released);
    assert!(rig.asked(is_claim).is_empty());
    rig.run(2 * TTL);
    assert!(!rig.asked(is_claim).is_empty(), "no zone is left for ever");
}

#[test]
fn zone_that_comes_back_from_a_wedged_tick_into_memory_is_claimed_anew() {
    let mut rig = wedged(Culprit::None);
    rig.run(3 * TTL);
    rig.hosted.remove(&name("meadow"));
    let remains = Remains::Memory {
        acknowledged: DataStamp {
            epoch: Epoch(2),
            tick: Tick(70),
        },
    };
    rig.holder
        .handle_ended(rig.now, tenure("meadow", 2), &EndReason::Suspended, remains);
    rig.forget();
    rig.run(2 * TURN);
    let claimed: Vec<Tenure> = rig.granted().into_iter().map(|granted| granted.tenure).collect();
    assert_eq!(
        claimed,
        [tenure("meadow", 3)],
        "the tick has ended, and its zone is nowhere else"
    );
}

#[test]
fn memory_of_a_zone_that_is_left_to_others_is_dropped_for_their_data() {
    let mut rig = wedged(Culprit::None);
    rig.run(3 * TTL);
    rig.hosted.remove(&name("meadow"));
    let acknowledged = DataStamp {
        epoch: Epoch(2),
        tick: Tick(70),
    };
    let remains = Remains::Memory { acknowledged };
    rig.authority.leases.insert(name("meadow"), view("meadow", 3, OTHER));
    rig.authority.data = StoreData::Newest(DataStamp {
        epoch: Epoch(3),
        tick: Tick(80),
    });
    rig.holder
        .handle_ended(rig.now, tenure("meadow", 2), &EndReason::Suspended, remains);
    rig.forget();
    rig.run(2 * TURN);
    let is_dropped = |command: &HolderCommand| matches!(command, HolderCommand::Drop(zone) if *zone == name("meadow"));
    assert!(rig.done.iter().any(is_dropped));
}

#[test]
fn tick_that_ends_late_is_a_hiccup() {
    let mut rig = wedged(Culprit::Quarantined);
    rig.run(WEDGED - TURN);
    let meadow = rig.hosted.get_mut(&name("meadow")).unwrap();
    meadow.is_stuck = false;
    rig.turn();
    rig.hosted.get_mut(&name("meadow")).unwrap().is_stuck = true;
    rig.run(WEDGED - TURN);
    assert!(blamed(&rig).is_empty(), "the next one is given as long");
}

#[test]
fn zone_that_stands_between_two_ticks_or_is_over_is_not_wedged() {
    let changes: [fn(&mut Progress); 2] = [
        |progress| progress.stepping = Tick(0),
        |progress| progress.has_ended = true,
    ];
    for change in changes {
        let mut rig = wedged(Culprit::Quarantined);
        change(&mut rig.hosted.get_mut(&name("meadow")).unwrap().progress);
        rig.run(2 * WEDGED);
        assert!(blamed(&rig).is_empty());
    }
}

#[test]
fn process_that_was_stopped_in_a_tick_has_no_wedged_tick() {
    let mut rig = Rig::hosting();
    rig.hosted.get_mut(&name("meadow")).unwrap().progress.stepping = Tick(77);
    rig.authority.culprit = Culprit::Quarantined;
    rig.run(RENEW_EVERY);
    // It sleeps for less than its lease, and longer than a tick may take; the keeper is the first to wake.
    rig.now += ms(WEDGED);
    rig.holder.handle_release_hint();
    rig.settle();
    rig.run(TURN);
    assert!(blamed(&rig).is_empty());
    assert!(matches!(rig.state("meadow"), LeaseState::Held { .. }));
}

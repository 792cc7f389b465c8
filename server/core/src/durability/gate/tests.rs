//! The gate, told by circumstances.

use everhold_protocol::Epoch;

use super::*;

fn gate(level: Durability) -> Gate<&'static str, &'static str> {
    Gate::new(level, Epoch(7), Tick(10), Tick(10))
}

/// Returns everything that leaves now, in order: what is told before what is shown.
fn leaving(gate: &mut Gate<&'static str, &'static str>) -> Vec<(Tick, &'static str)> {
    let mut left = Vec::new();
    while let Some(told) = gate.poll_told() {
        left.push((told.tick(), told.into_inner()));
    }
    while let Some(shown) = gate.poll_shown() {
        left.push((shown.tick(), shown.into_inner()));
    }
    left
}

#[test]
fn at_store_and_at_replica_everything_waits_for_the_acknowledgement() {
    for level in [Durability::Store, Durability::Replica] {
        let mut gate = gate(level);
        gate.hold(Tick(11), (Tick(11), "shown"), "told");
        assert_eq!(leaving(&mut gate), [], "{level}");
        assert_eq!((gate.released_tick(), gate.unacknowledged_ticks()), (Tick(10), 1));
        gate.handle_acknowledged(Tick(11));
        assert_eq!(leaving(&mut gate), [(Tick(11), "told"), (Tick(11), "shown")], "{level}");
        assert_eq!((gate.released_tick(), gate.unacknowledged_ticks()), (Tick(11), 0));
    }
}

#[test]
fn at_async_only_what_is_told_waits() {
    let mut gate = gate(Durability::Async);
    gate.hold(Tick(11), (Tick(10), "shown"), "told");
    assert_eq!(leaving(&mut gate), [(Tick(11), "shown")]);
    assert_eq!(gate.released_tick(), Tick(11));
    gate.handle_acknowledged(Tick(11));
    assert_eq!(leaving(&mut gate), [(Tick(11), "told")]);
}

#[test]
fn what_is_shown_leaves_when_all_is_stored_that_it_calls_confirmed() {
    for level in [Durability::Async, Durability::Store, Durability::Replica] {
        let mut gate = gate(level);
        for (tick, confirmed) in [(11, 10), (12, 11), (13, 11)] {
            gate.hold(Tick(tick), (Tick(confirmed), "shown"), "told");
        }
        let shown = |gate: &mut Gate<_, _>| -> Vec<u64> {
            while gate.poll_told().is_some() {}
            let count = gate.showable_ticks();
            let shown: Vec<u64> = std::iter::from_fn(|| gate.poll_shown())
                .map(|shown| shown.tick().0)
                .collect();
            assert_eq!(shown.len(), count, "{level}: what is counted is what leaves");
            shown
        };
        let before = if level == Durability::Async { vec![11] } else { vec![] };
        assert_eq!(shown(&mut gate), before, "{level}");
        gate.handle_acknowledged(Tick(11));
        let after = if level == Durability::Async {
            vec![12, 13]
        } else {
            vec![11]
        };
        assert_eq!(shown(&mut gate), after, "{level}");
    }
}

#[test]
fn ticks_that_are_not_confirmed_are_those_that_the_store_may_lack() {
    let unconfirmed = |level: Durability, tick| level.unconfirmed_ticks(Tick(tick), Tick(10));
    let at_async = [9, 10, 11, 50, 100_000].map(|tick| unconfirmed(Durability::Async, tick));
    assert_eq!(at_async, [0, 0, 1, 40, u16::MAX]);
    for level in [Durability::Store, Durability::Replica] {
        assert_eq!([11, 100_000].map(|tick| unconfirmed(level, tick)), [0, 0], "{level}");
    }
}

#[test]
fn at_store_a_tick_shows_nothing_before_it_told_everything() {
    let mut gate = gate(Durability::Store);
    gate.hold(Tick(11), (Tick(11), "shown"), "told");
    gate.handle_acknowledged(Tick(11));
    assert_eq!(gate.poll_shown(), None);
    assert!(gate.poll_told().is_some());
    assert!(gate.poll_shown().is_some());
}

#[test]
fn acknowledgement_that_comes_before_the_step_is_kept() {
    let mut gate = gate(Durability::Store);
    gate.handle_acknowledged(Tick(11));
    gate.hold(Tick(11), (Tick(11), "shown"), "told");
    assert_eq!(leaving(&mut gate).len(), 2);
}

#[test]
fn one_acknowledgement_releases_all_ticks_up_to_it_and_none_beyond() {
    let mut gate = gate(Durability::Store);
    for tick in (11..=14).map(Tick) {
        gate.hold(tick, (tick, "shown"), "told");
    }
    gate.handle_acknowledged(Tick(13));
    let ticks: Vec<Tick> = std::iter::from_fn(|| gate.poll_told())
        .map(|told| told.tick())
        .collect();
    assert_eq!(ticks, [11, 12, 13].map(Tick));
    assert_eq!(gate.released_tick(), Tick(13));
}

#[test]
fn closed_gate_lets_nothing_out_and_loses_nothing() {
    for level in [Durability::Async, Durability::Store, Durability::Replica] {
        let mut gate = gate(level);
        gate.close();
        gate.hold(Tick(11), (Tick(11), "shown"), "told");
        gate.handle_acknowledged(Tick(11));
        assert_eq!(
            (leaving(&mut gate), gate.released_tick()),
            (vec![], Tick(10)),
            "{level}"
        );
        gate.open();
        assert_eq!(
            (leaving(&mut gate).len(), gate.released_tick()),
            (2, Tick(11)),
            "{level}"
        );
    }
}

#[test]
fn released_says_under_which_epoch_it_was_told() {
    let mut gate = gate(Durability::Async);
    gate.hold(Tick(11), (Tick(10), "shown"), "told");
    assert_eq!(
        gate.poll_shown().map(|shown| (shown.epoch(), shown.tick())),
        Some((Epoch(7), Tick(11)))
    );
}

#[test]
#[should_panic(expected = "tick 13 is held after tick 11")]
fn tick_that_was_left_out_is_a_defect() {
    let mut gate = gate(Durability::Store);
    gate.hold(Tick(11), (Tick(11), "shown"), "told");
    gate.hold(Tick(13), (Tick(13), "shown"), "told");
}

#[test]
#[should_panic(expected = "tick 11 is acknowledged after tick 12")]
fn acknowledgement_that_goes_back_is_a_defect() {
    let mut gate = gate(Durability::Store);
    gate.handle_acknowledged(Tick(12));
    gate.handle_acknowledged(Tick(11));
}

#[test]
fn level_is_read_from_text_as_it_is_written() {
    for level in [Durability::Async, Durability::Store, Durability::Replica] {
        assert_eq!(level.to_string().parse(), Ok(level));
        assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
    }
    let error = "certain".parse::<Durability>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a durability level is `async`, `store`, or `replica`, not \"certain\""
    );
}

#[test]
fn zone_that_goes_on_ahead_of_its_store_releases_nothing_before_that_is_stored() {
    let mut gate: Gate<&'static str, &'static str> = Gate::new(Durability::Store, Epoch(8), Tick(10), Tick(12));
    gate.hold(Tick(13), (Tick(13), "shown"), "told");
    gate.handle_acknowledged(Tick(12));
    assert_eq!((leaving(&mut gate), gate.released_tick()), (vec![], Tick(12)));
    gate.handle_acknowledged(Tick(13));
    assert_eq!(leaving(&mut gate), [(Tick(13), "told"), (Tick(13), "shown")]);
}

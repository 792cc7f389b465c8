//! A clock whose moments are milliseconds since its first tick was due.

use super::*;
use crate::load::Rung;

const PERIOD_MS: u64 = 50;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A clock at 20 Hz, and its moments.
fn clock(ladder: Option<Ladder>) -> (TickClock, impl Fn(u64) -> Instant) {
    let began = Instant::now();
    (TickClock::new(20, ladder, began), move |at| began + ms(at))
}

/// Measures of a tick that had so much work, and was not late.
fn worked(work: Duration) -> TickMeasures {
    TickMeasures {
        work,
        ..TickMeasures::default()
    }
}

#[test]
fn first_tick_is_due_at_once() {
    let (clock, at) = clock(None);
    assert_eq!((clock.poll_wait(at(0)), clock.lateness(at(0))), (ms(0), ms(0)));
    assert_eq!(clock.ladder_state(), LadderState::IDLE);
}

#[test]
fn next_tick_is_due_a_period_after_the_last_was_and_a_long_delay_is_let_go() {
    // When the first tick is over, and when the second is due.
    let table = [
        (1, 50),
        (49, 50),
        (50, 50),
        // Late ticks are caught up ...
        (80, 50),
        (150, 50),
        // ... but for more than two.
        (151, 151),
        (1_000, 1_000),
    ];
    for (over, due) in table {
        let (mut clock, at) = clock(None);
        clock.handle_tick(&TickMeasures::default(), at(over));
        assert_eq!(clock.poll_wait(at(0)), ms(due), "over at {over} ms");
        assert_eq!(clock.poll_wait(at(due + 7)), ms(0));
        assert_eq!(clock.lateness(at(due + 7)), ms(7));
        assert_eq!(clock.lateness(at(due - 7)), ms(0));
    }
}

#[test]
fn ticks_keep_their_rate_however_long_each_takes() {
    let (mut clock, at) = clock(None);
    for (number, over) in [(1, 3), (2, 88), (3, 110), (4, 200)] {
        clock.handle_tick(&TickMeasures::default(), at(over));
        assert_eq!(clock.poll_wait(at(0)), ms(number * PERIOD_MS));
    }
}

#[test]
fn zone_that_holds_is_looked_at_four_times_a_period_and_is_not_late() {
    let (mut clock, at) = clock(None);
    for now in [0, 13, 4_000] {
        clock.handle_hold(at(now));
        assert_eq!(clock.poll_wait(at(now)), ms(PERIOD_MS) / 4);
        assert_eq!(clock.lateness(at(now)), ms(0));
    }
}

#[test]
fn ladder_hears_what_was_measured() {
    let (clock, _) = clock(None);
    let measures = TickMeasures {
        late: Duration::from_micros(100),
        work: Duration::from_micros(2_000),
        lying: 0,
        handover_us: 30,
        egress_us: 400,
        send_lag_us: 120,
        cpu_permille: 650,
    };
    let load = TickLoad {
        period_us: 50_000,
        busy_us: 2_400,
        waited_us: 130,
        cpu_permille: 650,
    };
    let lying = |lying| TickMeasures { lying, ..measures };
    let lag = |send_lag_us| TickMeasures {
        send_lag_us,
        ..measures
    };
    let endless = TickMeasures {
        late: Duration::MAX,
        work: Duration::MAX,
        lying: usize::MAX,
        handover_us: u32::MAX,
        egress_us: u32::MAX,
        ..measures
    };
    let waited = |waited_us| TickLoad { waited_us, ..load };
    let most = TickLoad {
        busy_us: u32::MAX,
        ..waited(u32::MAX)
    };
    let table = [
        (measures, load),
        (lying(2), waited(100_130)),
        (lag(129), load),
        (lag(131), waited(131)),
        (endless, most),
    ];
    for (measures, load) in table {
        assert_eq!(clock.load(&measures), load, "{measures:?}");
    }
}

#[test]
fn zone_without_a_ladder_stays_as_it_is_under_any_load() {
    let (mut clock, at) = clock(None);
    for number in 1..=400 {
        assert_eq!(clock.handle_tick(&worked(ms(500)), at(number * PERIOD_MS)), None);
    }
    assert_eq!(clock.ladder_state(), LadderState::IDLE);
}

#[test]
fn changes_of_the_rung_are_told_once_each_and_slower_time_stretches_the_period() {
    let (mut clock, at) = clock(Some(Ladder::new(20)));
    let mut changes = Vec::new();
    let mut now = at(0);
    // Twice the work that fits a period, then hardly any. The ladder's own tests say when it goes which way.
    for (ticks, work) in [(60, ms(100)), (3_000, ms(1))] {
        for _ in 0..ticks {
            now += clock.poll_wait(now);
            let before = clock.ladder_state().rung;
            let change = clock.handle_tick(&worked(work), now);
            let after = clock.ladder_state().rung;
            assert_eq!(change.is_some(), before != after);
            changes.extend(change.map(|change| (change, after)));
            let stretched = ms(PERIOD_MS) * clock.ladder_state().stretch_permille / 1_000;
            assert_eq!(clock.poll_wait(now), stretched);
        }
    }
    let ups = changes.iter().take_while(|(change, _)| *change == RungChange::Up);
    let rungs: Vec<_> = ups.map(|(_, rung)| *rung).collect();
    assert_eq!(rungs[..3], [Rung::Seldom, Rung::Small, Rung::Slower]);
    assert!(
        changes[rungs.len()..]
            .iter()
            .all(|(change, _)| *change == RungChange::Down)
    );
    assert_eq!(changes.last(), Some(&(RungChange::Down, Rung::Normal)));
}

#[test]
fn load_of_a_slower_zone_is_measured_against_its_stretched_period() {
    let (mut clock, at) = clock(Some(Ladder::new(20)));
    let mut number = 0;
    while clock.ladder_state().stretch_permille == 1_000 {
        number += 1;
        clock.handle_tick(&worked(ms(200)), at(number * PERIOD_MS));
    }
    assert_eq!(clock.load(&TickMeasures::default()).period_us, 62_500);
}

#[test]
fn microseconds_that_do_not_fit_are_as_many_as_do() {
    assert_eq!(micros(Duration::from_nanos(1_999)), 1);
    assert_eq!(micros(Duration::from_micros(u64::from(u32::MAX))), u32::MAX);
    assert_eq!(micros(Duration::MAX), u32::MAX);
}

//! A ladder that carries a zone whose cost is known.

use proptest::prelude::*;

use super::*;

const TICK_HZ: u16 = 20;
const PERIOD_US: u32 = 50_000;
const RISE_TICKS: usize = 8;
const CALM_TICKS: usize = 60;

/// A zone whose ticks have a known cost at full detail, ‰ of the normal period.
struct Carried {
    ladder: Ladder,
    /// The cost that is left at each detail, percent.
    left_percent: [u32; 3],
}

impl Carried {
    fn new(left_percent: [u32; 3]) -> Self {
        let ladder = Ladder::new(TICK_HZ);
        Self { ladder, left_percent }
    }

    /// Runs `count` ticks. Returns the state after each.
    fn ticks(&mut self, cost_permille: u32, count: usize) -> Vec<LadderState> {
        (0..count).map(|_| self.tick(cost_permille)).collect()
    }

    fn tick(&mut self, cost_permille: u32) -> LadderState {
        let ladder_state = self.ladder.state();
        let left = self.left_percent[ladder_state.rung.detail() as usize];
        self.ladder.handle_tick(&TickLoad {
            period_us: PERIOD_US * ladder_state.stretch_permille / 1_000,
            busy_us: PERIOD_US / 1_000 * cost_permille * left / 100,
            ..TickLoad::default()
        })
    }

    /// Returns the state in which it settles.
    fn settle(&mut self, cost_permille: u32) -> LadderState {
        self.ticks(cost_permille, 2_000)[1_999]
    }
}

/// Costs that no detail makes lower.
const NO_HELP: [u32; 3] = [100, 100, 100];

fn settled(cost_permille: u32) -> Rung {
    Carried::new(NO_HELP).settle(cost_permille).rung
}

/// Returns a state's place on the ladder, as a number that rises.
fn place(ladder_state: LadderState) -> (u8, u32) {
    (ladder_state.rung.place(), ladder_state.stretch_permille)
}

#[test]
fn each_rung_has_its_load() {
    assert_eq!(settled(840), Rung::Normal);
    assert_eq!(settled(860), Rung::Seldom);
    assert_eq!(settled(950), Rung::Small);
    assert_eq!(settled(1_100), Rung::Slower);
    assert_eq!(
        settled(1_900),
        Rung::Slower,
        "slower time holds nearly twice of what the zone can"
    );
    assert_eq!(settled(2_000), Rung::Queue);
    assert_eq!(settled(2_900), Rung::Queue);
    assert_eq!(settled(3_100), Rung::Refuse);
}

#[test]
fn time_is_no_slower_than_it_must_be() {
    assert_eq!(Carried::new(NO_HELP).settle(1_100).stretch_permille, 1_250);
    assert_eq!(Carried::new(NO_HELP).settle(1_600).stretch_permille, 1_750);
}

#[test]
fn what_is_left_out_spares_players_the_worse_steps() {
    assert_eq!(Carried::new([100, 80, 60]).settle(1_050).rung, Rung::Seldom);
    assert_eq!(Carried::new([100, 90, 70]).settle(1_200).rung, Rung::Small);
}

#[test]
fn twice_what_a_zone_can_do_reaches_the_queue_within_seconds() {
    let run = Carried::new(NO_HELP).ticks(2_000, 140);
    assert_eq!(run[139].rung, Rung::Queue);
    assert_eq!(run[139].dilation(), 127);
}

#[test]
fn load_that_is_gone_is_forgotten() {
    let mut carried = Carried::new(NO_HELP);
    carried.settle(4_000);
    assert_eq!(place(carried.settle(100)), place(LadderState::IDLE));
}

#[test]
fn one_hiccup_changes_nothing() {
    let mut carried = Carried::new(NO_HELP);
    carried.ticks(300, 100);
    carried.tick(100_000);
    assert!(carried.ticks(300, 100).iter().all(|s| s.rung == Rung::Normal));
}

#[test]
fn step_down_that_does_not_hold_is_tried_ever_more_seldom() {
    // Fewer entities halve the cost: with them the zone is calm, without them it is strained.
    let mut carried = Carried::new([100, 100, 50]);
    let run = carried.ticks(1_000, 6_000);
    let falls = |part: &[LadderState]| part.windows(2).filter(|w| place(w[1]) < place(w[0])).count();
    assert!(
        falls(&run[..1_000]) > falls(&run[5_000..]),
        "it swings, and less and less"
    );
    assert!((1..=3).contains(&falls(&run[5_000..])), "{}", falls(&run[5_000..]));
}

#[test]
fn a_tick_thread_that_is_always_late_slows_time_and_refuses_nobody() {
    let mut ladder = Ladder::new(TICK_HZ);
    let late = TickLoad {
        period_us: PERIOD_US,
        waited_us: 10 * PERIOD_US,
        ..TickLoad::default()
    };
    let last = (0..2_000).map(|_| ladder.handle_tick(&late)).last();
    assert_eq!(
        last.unwrap().rung,
        Rung::Queue,
        "a backlog does not say how large the excess is"
    );
}

#[test]
fn a_process_that_uses_all_of_its_cores_tells_less_and_keeps_its_speed_while_no_tick_is_late() {
    let mut ladder = Ladder::new(TICK_HZ);
    let full = TickLoad {
        period_us: PERIOD_US,
        busy_us: PERIOD_US / 4,
        cpu_permille: 1_000,
        ..TickLoad::default()
    };
    let states: Vec<_> = (0..400).map(|_| ladder.handle_tick(&full)).collect();
    assert!(states[40..].iter().all(|ladder_state| ladder_state.rung == Rung::Small));
}

#[test]
fn time_that_a_storm_slowed_is_normal_again_if_the_cores_suffice_for_it() {
    // At 4/5 of normal speed 770 thousandths are 962 of normal, and 790 are 987.
    for (cpu_permille, rung) in [(770, Rung::Small), (790, Rung::Slower)] {
        let mut ladder = Ladder::new(TICK_HZ);
        let storm = TickLoad {
            period_us: PERIOD_US,
            busy_us: PERIOD_US / 4,
            waited_us: PERIOD_US,
            cpu_permille: 1_000,
        };
        while ladder.handle_tick(&storm).rung < Rung::Slower {}
        let calm = TickLoad {
            waited_us: 0,
            cpu_permille,
            ..storm
        };
        let last = (0..100).map(|_| ladder.handle_tick(&calm)).last();
        assert_eq!(last.unwrap().rung, rung, "{cpu_permille}");
    }
}

#[test]
fn an_idle_zone_does_not_answer_for_its_neighbours() {
    let mut ladder = Ladder::new(TICK_HZ);
    let idle = TickLoad {
        period_us: PERIOD_US,
        busy_us: PERIOD_US / 100,
        cpu_permille: 1_000,
        ..TickLoad::default()
    };
    assert!((0..200).all(|_| ladder.handle_tick(&idle).rung == Rung::Normal));
}

#[test]
fn speed_that_clients_are_told_is_the_stretch_turned_over() {
    let dilation = |stretch_permille| {
        LadderState {
            stretch_permille,
            ..LadderState::IDLE
        }
        .dilation()
    };
    assert_eq!(
        [1_000, 1_250, 1_500, 1_750, 2_000].map(dilation),
        [255, 204, 170, 145, 127]
    );
}

#[test]
fn rungs_are_found_by_their_place() {
    for rung in Rung::ALL {
        assert_eq!(Rung::from_place(rung.place()), Some(rung));
    }
    assert_eq!(Rung::from_place(6), None);
}

fn help() -> impl Strategy<Value = [u32; 3]> {
    (50..=100_u32, 50..=100_u32).prop_map(|(far, small)| [100, far, far * small / 100])
}

fn loads() -> impl Strategy<Value = Vec<TickLoad>> {
    let load = (0..200_000_u32, 0..200_000_u32, 0..1_001_u32).prop_map(|(busy_us, waited_us, cpu_permille)| TickLoad {
        period_us: PERIOD_US,
        busy_us,
        waited_us,
        cpu_permille,
    });
    // Stretches of the same load: single ticks hardly move a ladder.
    prop::collection::vec((load, 1..200_usize), 1..30)
        .prop_map(|parts| parts.into_iter().flat_map(|(load, count)| vec![load; count]).collect())
}

proptest! {
    #[test]
    fn more_load_never_ends_on_a_lower_step(help in help(), less in 0..4_000_u32, more in 0..4_000_u32) {
        let (less, more) = (less.min(more), less.max(more));
        // A ladder that swings is judged by the highest step that it keeps coming back to.
        let highest = |cost| Carried::new(help).ticks(cost, 3_000)[2_000..].iter().map(|s| place(*s)).max();
        prop_assert!(highest(less) <= highest(more));
    }

    #[test]
    fn a_ladder_goes_one_step_at_a_time_and_waits_before_each(loads in loads()) {
        let mut ladder = Ladder::new(TICK_HZ);
        let mut before = (ladder.place, 0);
        for (tick, load) in loads.iter().enumerate() {
            ladder.handle_tick(load);
            let (from, since) = before;
            if ladder.place == from {
                continue;
            }
            let wait = if ladder.place > from { RISE_TICKS } else { CALM_TICKS };
            prop_assert_eq!(ladder.place.abs_diff(from), 1);
            prop_assert!(
                tick + 1 - since >= wait,
                "from {} to {} after {} ticks",
                from,
                ladder.place,
                tick + 1 - since
            );
            before = (ladder.place, tick + 1);
        }
    }

    #[test]
    fn load_that_is_gone_leaves_nothing_behind(loads in loads()) {
        let mut ladder = Ladder::new(TICK_HZ);
        for load in &loads {
            ladder.handle_tick(load);
        }
        let idle = TickLoad { period_us: PERIOD_US, ..TickLoad::default() };
        // Eight steps, with the longest calm before each.
        let ticks = 8 * (CALM_TICKS << LOAD_CALM_DOUBLINGS_MAX) + 100;
        prop_assert_eq!((0..ticks).map(|_| ladder.handle_tick(&idle)).last(), Some(LadderState::IDLE));
    }
}

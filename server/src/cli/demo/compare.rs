//! `--compare`: what it costs that output waits for the store. Both levels play the same, in worlds of their own, and
//! take turns: a machine's speed drifts, and turns let it drift for both.

use client_sim::SwarmReport;
use client_sim::meter::Percentiles;
use everhold_core::durability::gate::Durability;
use everhold_local_cluster::LocalCluster;
use everhold_os::signals::Stop;

use super::display::DemoDisplay;
use super::kills::{Killer, Schedule};
use super::report::{CompareReport, LevelReport, Ratios, cluster_faults};
use super::{DemoArguments, in_world};

/// Each level's time of play is divided into so many turns, each in a new world: enough to see drift, few enough that
/// starts and log-ins do not take most of the time.
const TURNS: usize = 4;
const _: () = assert!(TURNS.is_multiple_of(2), "each level goes first as often as the other");

/// In the order of the report.
const LEVELS: [Durability; 2] = [Durability::Store, Durability::Async];

/// Plays all turns of both levels.
pub(super) fn run(arguments: &DemoArguments, stop: &Stop, display: &mut DemoDisplay) -> anyhow::Result<CompareReport> {
    let mut takings = LEVELS.map(|_| Takings::default());
    let mut errors = Vec::new();
    for (turn, level) in turns() {
        let durability = LEVELS[level];
        display.say(&format!("turn {} of {TURNS} at `{durability}`", turn + 1));
        let mut nobody = Killer::new(Schedule::Never, arguments.shard_arguments(durability));
        let (swarm, cluster) = in_world(
            arguments,
            arguments.seconds / TURNS as f64,
            &mut nobody,
            (stop, display),
        )?;
        takings[level].take(&swarm, &cluster);
        let faults = faults(&swarm).chain(cluster_faults(&cluster));
        errors.extend(faults.map(|fault| format!("turn {} at `{durability}`: {fault}", turn + 1)));
    }
    let levels = std::array::from_fn(|level| takings[level].report(LEVELS[level]));
    Ok(CompareReport {
        players: arguments.players,
        seconds: arguments.seconds,
        turns: TURNS,
        store: arguments.store_name()?,
        guardian: !arguments.no_guardian,
        ratios: ratios(&levels),
        levels,
        errors,
    })
}

/// Returns each turn and the place in [`LEVELS`] of the level that plays it: one first, then the other first, so that a
/// steady drift favours neither.
fn turns() -> impl Iterator<Item = (usize, usize)> {
    (0..TURNS).flat_map(|turn| {
        let first = turn % LEVELS.len();
        [(turn, first), (turn, 1 - first)]
    })
}

/// Returns the faults of a turn. No shard is killed in it, so even a report without errors is at fault if a zone
/// changed hands.
fn faults(swarm: &SwarmReport) -> impl Iterator<Item = String> {
    let moved = swarm
        .failovers
        .iter()
        .map(|failover| format!("zone {} changed hands", failover.zone));
    let unclean = (!swarm.is_clean()).then(|| {
        let SwarmReport {
            lost_acknowledged,
            duplicated,
            ..
        } = swarm;
        format!("{lost_acknowledged} lost, {duplicated} duplicated, or sums that do not add up")
    });
    swarm.errors.iter().cloned().chain(moved).chain(unclean)
}

/// A level's figures, added up turn by turn. Distributions are kept as `(µs, how often)`.
#[derive(Debug, Default)]
struct Takings {
    update_us: Vec<(u64, u64)>,
    append_us: Vec<(u64, u64)>,
    tick_us: Vec<(u64, u64)>,
    bytes_down_per_player_s: f64,
    bottlenecks: usize,
}

impl Takings {
    fn take(&mut self, swarm: &SwarmReport, cluster: &LocalCluster) {
        self.update_us.extend(&swarm.update_latency_us);
        for run in cluster.all.iter().flat_map(|process| &process.runs) {
            self.append_us.extend(&run.append_us);
            self.tick_us.extend(&run.tick_us);
        }
        self.bytes_down_per_player_s += swarm.bytes_down_per_player_s / TURNS as f64;
        self.bottlenecks += usize::from(swarm.simulator.is_bottleneck);
    }

    fn report(&self, durability: Durability) -> LevelReport {
        LevelReport {
            durability: durability.to_string(),
            update_latency_ms: Percentiles::of_buckets_us(self.update_us.iter().copied()),
            append_ms: Percentiles::of_buckets_us(self.append_us.iter().copied()),
            appends: self.append_us.iter().map(|(_, count)| count).sum(),
            tick_ms: Percentiles::of_buckets_us(self.tick_us.iter().copied()),
            bytes_down_per_player_s: self.bytes_down_per_player_s,
            simulator_kept_up: self.bottlenecks == 0,
        }
    }
}

fn ratios([store, unwaiting]: &[LevelReport; 2]) -> Ratios {
    let ratio = |value: fn(&LevelReport) -> f64| {
        let divisor = value(unwaiting);
        (divisor > 0.0).then(|| value(store) / divisor)
    };
    Ratios {
        update_p50: ratio(|level| level.update_latency_ms.p50),
        update_p99: ratio(|level| level.update_latency_ms.p99),
        append_p50: ratio(|level| level.append_ms.p50),
        append_p99: ratio(|level| level.append_ms.p99),
    }
}

#[cfg(test)]
mod tests {
    use client_sim::ZoneFailover;

    use super::*;

    fn level(update_us: &[(u64, u64)]) -> LevelReport {
        let takings = Takings {
            update_us: update_us.to_vec(),
            ..Takings::default()
        };
        takings.report(Durability::Store)
    }

    #[test]
    fn levels_take_turns_and_each_goes_first_as_often() {
        let order: Vec<usize> = turns().map(|(_, level)| level).collect();
        assert_eq!(order, [0, 1, 1, 0, 0, 1, 1, 0]);
        // The mean place of each is the same, so a drift that grows steadily adds the same to both.
        let places = |wanted: usize| {
            order
                .iter()
                .enumerate()
                .filter(move |(_, level)| **level == wanted)
                .map(|(place, _)| place)
        };
        assert_eq!(places(0).sum::<usize>(), places(1).sum::<usize>());
    }

    #[test]
    fn ratios_are_those_of_merged_distributions() {
        // Two turns of 40 and 60 ms against two of 50 ms.
        let levels = [
            level(&[(40_000, 90), (60_000, 10)]),
            level(&[(50_000, 50), (50_000, 50)]),
        ];
        let found = ratios(&levels);
        assert_eq!((found.update_p50, found.update_p99), (Some(0.8), Some(1.2)));
        assert_eq!(found.append_p50, None, "nothing was appended");
    }

    #[test]
    fn comparison_in_which_a_zone_changes_hands_is_at_fault() {
        let mut swarm = SwarmReport::default();
        assert_eq!(faults(&swarm).count(), 0);
        swarm.failovers.push(ZoneFailover {
            zone: "meadow".to_owned(),
            ..ZoneFailover::default()
        });
        assert_eq!(faults(&swarm).collect::<Vec<_>>(), ["zone meadow changed hands"]);
    }

    #[test]
    fn comparison_that_lost_something_is_at_fault() {
        let mut swarm = SwarmReport::default();
        swarm.lost_acknowledged = 2;
        assert_eq!(
            faults(&swarm).collect::<Vec<_>>(),
            ["2 lost, 0 duplicated, or sums that do not add up"]
        );
    }
}

//! `--compare`: what it costs that output waits for the store, or for its replicas. All levels play the same, in worlds
//! of their own, and take turns: a machine's speed drifts, and turns let it drift for all.

use std::str::FromStr;

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
const _: () = assert!(
    TURNS.is_multiple_of(2),
    "levels play in one order as often as in the other"
);

/// The levels of durability that are compared, in the order of the report. The last is what the others are divided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ComparedLevels(pub(super) Vec<Durability>);

impl FromStr for ComparedLevels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let levels = text.split(',').map(str::parse).collect::<Result<Vec<Durability>, _>>();
        let levels = levels.map_err(|error| error.to_string())?;
        let is_repeated = |(place, level)| levels[..place].contains(level);
        if levels.len() < 2 || levels.iter().enumerate().any(is_repeated) {
            return Err("two or three levels are compared, each with another: store,async".to_owned());
        }
        Ok(Self(levels))
    }
}

/// Plays all turns of all levels.
pub(super) fn run(
    arguments: &DemoArguments,
    ComparedLevels(levels): &ComparedLevels,
    stop: &Stop,
    display: &mut DemoDisplay,
) -> anyhow::Result<CompareReport> {
    let mut takings: Vec<Takings> = levels.iter().map(|_| Takings::default()).collect();
    let mut errors = Vec::new();
    for (turn, level) in turns(levels.len()) {
        let durability = levels[level];
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
    let levels: Vec<LevelReport> = takings
        .iter()
        .zip(levels)
        .map(|(taking, level)| taking.report(*level))
        .collect();
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

/// Returns each turn and the place of the level that plays it: in their order, then the other way round, so that a
/// steady drift favours none.
fn turns(levels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..TURNS).flat_map(move |turn| {
        (0..levels).map(move |place| {
            let is_forward = turn % 2 == 0;
            (turn, if is_forward { place } else { levels - 1 - place })
        })
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
    confirmation_us: Vec<(u64, u64)>,
    append_us: Vec<(u64, u64)>,
    tick_us: Vec<(u64, u64)>,
    bytes_down_per_player_s: f64,
    bottlenecks: usize,
}

impl Takings {
    fn take(&mut self, swarm: &SwarmReport, cluster: &LocalCluster) {
        self.update_us.extend(&swarm.update_latency_us);
        self.confirmation_us.extend(&swarm.confirmation_latency_us);
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
            confirmation_latency_ms: Percentiles::of_buckets_us(self.confirmation_us.iter().copied()),
            append_ms: Percentiles::of_buckets_us(self.append_us.iter().copied()),
            appends: self.append_us.iter().map(|(_, count)| count).sum(),
            tick_ms: Percentiles::of_buckets_us(self.tick_us.iter().copied()),
            bytes_down_per_player_s: self.bytes_down_per_player_s,
            simulator_kept_up: self.bottlenecks == 0,
        }
    }
}

/// Divides each level by the last.
fn ratios(levels: &[LevelReport]) -> Vec<Ratios> {
    let Some((last, others)) = levels.split_last() else {
        return Vec::new();
    };
    let ratios = |level: &LevelReport| {
        let ratio = |value: fn(&LevelReport) -> f64| {
            let divisor = value(last);
            (divisor > 0.0).then(|| value(level) / divisor)
        };
        Ratios {
            levels: format!("{} / {}", level.durability, last.durability),
            update_p50: ratio(|level| level.update_latency_ms.p50),
            update_p99: ratio(|level| level.update_latency_ms.p99),
            confirmation_p50: ratio(|level| level.confirmation_latency_ms.p50),
            confirmation_p99: ratio(|level| level.confirmation_latency_ms.p99),
            append_p50: ratio(|level| level.append_ms.p50),
            append_p99: ratio(|level| level.append_ms.p99),
        }
    };
    others.iter().map(ratios).collect()
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
    fn levels_take_turns_in_one_order_as_often_as_in_the_other() {
        let order = |levels| turns(levels).map(|(_, level)| level).collect::<Vec<usize>>();
        assert_eq!(order(2), [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(order(3), [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]);
        // The mean place of each is the same, so a drift that grows steadily adds the same to all.
        let places = |wanted: usize| {
            let order = order(3).into_iter().enumerate();
            order.filter(move |(_, level)| *level == wanted).map(|(place, _)| place)
        };
        let sums = [0, 1, 2].map(|level| places(level).sum::<usize>());
        assert_eq!(sums, [sums[0]; 3]);
    }

    #[test]
    fn levels_that_cannot_be_compared_are_refused() {
        let levels = |text: &str| text.parse::<ComparedLevels>();
        assert_eq!(
            levels("replica,store,async").unwrap().0,
            [Durability::Replica, Durability::Store, Durability::Async]
        );
        for text in ["store", "store,store", "", "store,peer"] {
            assert!(levels(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ratios_are_those_of_merged_distributions() {
        // Two turns of 40 and 60 ms against two of 50 ms.
        let levels = [
            level(&[(40_000, 90), (60_000, 10)]),
            level(&[(50_000, 50), (50_000, 50)]),
        ];
        let found = ratios(&levels).remove(0);
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

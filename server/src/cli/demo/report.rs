//! The demo's reports: what players were told (the swarm's judgement), joined with what the shards measured of
//! themselves; and both levels of `--compare` side by side.

use std::collections::BTreeMap;

use client_sim::meter::Percentiles;
use client_sim::{SimulatorHealth, SwarmReport, ZoneFailover};
use everhold_core::durability::gate::Durability;
use everhold_core::ownership::EndReason;
use everhold_core::report::{AdoptionReport, ZoneRun};
use everhold_core::tick::TickStage;
use everhold_local_cluster::{LocalCluster, ReportedAdoption};
use everhold_protocol::Epoch;
use serde::Serialize;

use super::kills::{Killed, Schedule};

/// One zone, over all its owners.
#[derive(Debug, Serialize)]
pub(super) struct ZoneReport {
    pub(super) name: String,
    pub(super) players: usize,
    pub(super) tick_hz: f64,
    pub(super) tick_ms: Percentiles,
}

/// The flags of a demo that its report repeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoSettings {
    pub(super) durability: Durability,
    pub(super) store: &'static str,
    pub(super) guardian: bool,
}

/// All failovers of a run, each figure over all their players.
#[derive(Debug, Serialize)]
pub(super) struct GapReport {
    /// The last snapshot of the old owner to the first of the new.
    pub(super) gap_ms: Percentiles,
    /// The kill to the grant of the new epoch.
    pub(super) detect_ms: Percentiles,
    /// The grant to the zone's first tick under it.
    pub(super) adopt_ms: Percentiles,
    /// That tick to the player's first snapshot of the new owner: handshake, resume, record.
    pub(super) reconnect_ms: Percentiles,
}

/// One zone that changed hands.
#[derive(Debug, Serialize)]
pub(super) struct FailoverReport {
    /// The number of the kill, counted from 1.
    pub(super) kill: usize,
    pub(super) zone: String,
    pub(super) to_epoch: Epoch,
    /// Attached when the owner died.
    pub(super) players: usize,
    /// Carried on under the new owner.
    pub(super) resumed: usize,
    /// Last snapshot of the old owner to first of the new, per player.
    pub(super) gap_ms: Percentiles,
    /// The kill to the first snapshot of the new owner, per player.
    pub(super) from_kill_ms: Percentiles,
    /// The kill to the grant of the new epoch.
    pub(super) detect_ms: f64,
    /// The grant to the zone's first tick under it.
    pub(super) adopt_ms: f64,
    pub(super) replayed_ticks: u64,
    /// Digests that the dead owner wrote after the last checkpoint, and that the replay was compared with.
    pub(super) checked_digests: u64,
    /// All of them are equal, and so is that of the checkpoint itself.
    pub(super) digest_equal: bool,
    /// Per player.
    #[serde(skip)]
    gaps_us: Vec<u64>,
    #[serde(skip)]
    reconnects_us: Vec<u64>,
}

/// The report that `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct DemoReport {
    pub(super) players: usize,
    pub(super) seconds: f64,
    pub(super) durability: String,
    pub(super) store: &'static str,
    pub(super) guardian: bool,
    pub(super) zones: Vec<ZoneReport>,
    /// Input sent to own state reflecting it.
    pub(super) update_latency_ms: Percentiles,
    /// A record's append to its acknowledgement.
    pub(super) append_ms: Percentiles,
    /// The parts of a tick's way from the inbox to the players, in all zones.
    pub(super) phases_ms: BTreeMap<TickStage, Percentiles>,
    pub(super) bytes_down_per_player_s: f64,
    pub(super) bytes_up_per_player_s: f64,
    pub(super) kills: usize,
    /// Players that the killed shards served, added up.
    pub(super) players_of_the_killed: u32,
    /// `None` if no shard was killed.
    pub(super) gaps: Option<GapReport>,
    pub(super) failovers: Vec<FailoverReport>,
    /// Zones that the store lost and that began again.
    pub(super) lost_zones: Vec<String>,
    pub(super) lost_acknowledged: u64,
    pub(super) duplicated: u64,
    pub(super) rewound_ticks: u32,
    pub(super) gold_expected: u64,
    pub(super) gold_found: u64,
    pub(super) items_expected: u64,
    pub(super) items_found: u64,
    pub(super) simulator: SimulatorHealth,
    pub(super) errors: Vec<String>,
}

/// The figures of one level, over all its turns.
#[derive(Debug, Serialize)]
pub(super) struct LevelReport {
    pub(super) durability: String,
    /// Input sent to own state reflecting it.
    pub(super) update_latency_ms: Percentiles,
    /// Input sent to own state reflecting it for good.
    pub(super) confirmation_latency_ms: Percentiles,
    /// A record's append to its acknowledgement.
    pub(super) append_ms: Percentiles,
    /// Records acknowledged.
    pub(super) appends: u64,
    /// Work of a tick, without waiting for the next.
    pub(super) tick_ms: Percentiles,
    /// The mean of the turns, which are equally long.
    pub(super) bytes_down_per_player_s: f64,
    /// Whether the simulator kept up in all turns; else the figures are its own rather than the server's.
    pub(super) simulator_kept_up: bool,
}

/// A level divided by another; `None` where there is nothing to divide by.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Ratios {
    /// Both, as a fraction.
    pub(super) levels: String,
    pub(super) update_p50: Option<f64>,
    pub(super) update_p99: Option<f64>,
    pub(super) confirmation_p50: Option<f64>,
    pub(super) confirmation_p99: Option<f64>,
    pub(super) append_p50: Option<f64>,
    pub(super) append_p99: Option<f64>,
}

/// The report that `--compare --json` writes.
#[derive(Debug, Serialize)]
pub(super) struct CompareReport {
    pub(super) players: u32,
    /// Of play at each level.
    pub(super) seconds: f64,
    /// Of each level.
    pub(super) turns: usize,
    pub(super) store: &'static str,
    pub(super) guardian: bool,
    /// In the order in which they were asked for.
    pub(super) levels: Vec<LevelReport>,
    /// Each level but the last.
    pub(super) ratios: Vec<Ratios>,
    pub(super) errors: Vec<String>,
}

impl CompareReport {
    /// Whether players were told the truth at all levels.
    pub(super) const fn passed(&self) -> bool {
        self.errors.is_empty()
    }
}

impl DemoReport {
    /// Joins both sides.
    pub(super) fn new(
        settings: DemoSettings,
        swarm: &SwarmReport,
        cluster: &LocalCluster,
        (schedule, killed): (Schedule, &[Killed]),
    ) -> Self {
        let runs: Vec<&ZoneRun> = cluster.all.iter().flat_map(|p| &p.runs).collect();
        let mut errors = swarm.errors.clone();
        errors.extend(cluster_faults(cluster));
        let failovers = failovers(swarm, cluster, killed, &mut errors);
        if settings.durability.holds_snapshots() && swarm.rewound_ticks > 0 {
            errors.push("players were shown ticks that the new owner does not have".to_owned());
        }
        errors.extend(missing_kills(schedule, killed, &failovers));
        let lost_zones: Vec<String> = cluster
            .lost
            .iter()
            .map(|(zone, epoch)| format!("{zone} under epoch {epoch}"))
            .collect();
        Self {
            players: swarm.players,
            seconds: swarm.seconds,
            durability: settings.durability.to_string(),
            store: settings.store,
            guardian: settings.guardian,
            zones: swarm
                .zones
                .iter()
                .map(|zone| zone_report(&zone.name, zone.players, &runs))
                .collect(),
            update_latency_ms: swarm.update_latency_ms,
            append_ms: Percentiles::of_buckets_us(runs.iter().flat_map(|run| run.append_us.iter().copied())),
            phases_ms: TickStage::ALL.map(|stage| (stage, of_stage(&runs, stage))).into(),
            bytes_down_per_player_s: swarm.bytes_down_per_player_s,
            bytes_up_per_player_s: swarm.bytes_up_per_player_s,
            kills: killed.len(),
            players_of_the_killed: killed.iter().map(|killed| killed.players).sum(),
            gaps: (!failovers.is_empty()).then(|| gaps(&failovers)),
            failovers,
            lost_zones,
            lost_acknowledged: swarm.lost_acknowledged,
            duplicated: swarm.duplicated,
            rewound_ticks: swarm.rewound_ticks,
            gold_expected: swarm.gold_expected,
            gold_found: swarm.gold_found,
            items_expected: swarm.items_expected,
            items_found: swarm.items_found,
            simulator: swarm.simulator.clone(),
            errors,
        }
    }

    /// Whether everybody carried on and nothing was lost or duplicated.
    pub(super) fn passed(&self) -> bool {
        let carried_on = self.failovers.iter().all(|f| f.resumed == f.players && f.digest_equal);
        let conserved = self.gold_expected == self.gold_found && self.items_expected == self.items_found;
        carried_on && conserved && self.lost_acknowledged == 0 && self.duplicated == 0 && self.errors.is_empty()
    }
}

/// Zones that ended although no shard was told to stop, and zones that began again.
pub(super) fn cluster_faults(cluster: &LocalCluster) -> impl Iterator<Item = String> {
    let unasked = cluster
        .ends
        .iter()
        .filter(|end| end.reason != EndReason::Stopped.to_string())
        .map(|e| format!("zone {} ended under epoch {}: {}", e.zone, e.epoch, e.reason));
    let lost = cluster
        .lost
        .iter()
        .map(|(zone, epoch)| format!("the store lost zone {zone} under epoch {epoch}: it began again"));
    unasked.chain(lost)
}

/// Returns an error if there were too few kills, and one for each kill that no player noticed.
fn missing_kills(schedule: Schedule, killed: &[Killed], failovers: &[FailoverReport]) -> Vec<String> {
    let (kills, expected) = (killed.len(), schedule.kills_min());
    let unnoticed = (1..=kills).filter(|kill| failovers.iter().all(|f| f.kill != *kill));
    let mut errors: Vec<String> = unnoticed
        .map(|kill| format!("no player saw another owner after kill {kill}"))
        .collect();
    if kills < expected {
        errors.push(format!(
            "{kills} kills instead of at least {expected}: no spare was ready in time"
        ));
    }
    errors
}

fn failovers(
    swarm: &SwarmReport,
    cluster: &LocalCluster,
    killed: &[Killed],
    errors: &mut Vec<String>,
) -> Vec<FailoverReport> {
    let mut reports = Vec::new();
    for failover in &swarm.failovers {
        let adopted =
            |a: &&ReportedAdoption| a.report.zone.as_str() == failover.zone && a.report.epoch == failover.to_epoch;
        let adoption = cluster.adoptions.iter().find(adopted);
        // The last kill before the grant is what brought it about.
        let cause = adoption.and_then(|a| {
            killed
                .iter()
                .rposition(|kill| kill.boottime_ms <= a.report.granted_at_ms)
        });
        let (Some(adoption), Some(cause)) = (adoption, cause) else {
            errors.push(format!(
                "zone {} changed hands, and no kill and adoption explain it",
                failover.zone
            ));
            continue;
        };
        reports.push(failover_report(
            swarm,
            failover,
            &adoption.report,
            (cause, killed[cause]),
        ));
    }
    reports.sort_by(|a, b| (a.kill, &a.zone).cmp(&(b.kill, &b.zone)));
    reports
}

fn failover_report(
    swarm: &SwarmReport,
    failover: &ZoneFailover,
    adoption: &AdoptionReport,
    (cause, killed): (usize, Killed),
) -> FailoverReport {
    let killed_at_ms = killed.at.saturating_duration_since(swarm.origin()).as_secs_f64() * 1e3;
    let detect_ms = adoption.granted_at_ms - killed.boottime_ms;
    let ready_at_ms = killed_at_ms + detect_ms + adoption.adopt_ms;
    let first_at = &failover.first_snapshot_at_ms;
    FailoverReport {
        kill: cause + 1,
        zone: failover.zone.clone(),
        to_epoch: failover.to_epoch,
        players: failover.players,
        resumed: failover.resumed,
        gap_ms: failover.gap_ms,
        from_kill_ms: Percentiles::of_buckets_us(first_at.iter().map(|at| (micros(at - killed_at_ms), 1))),
        detect_ms,
        adopt_ms: adoption.adopt_ms,
        replayed_ticks: adoption.replayed_ticks,
        checked_digests: adoption.checked_digests,
        digest_equal: adoption.digest_equal,
        gaps_us: first_at
            .iter()
            .zip(&failover.last_snapshot_at_ms)
            .map(|(first, last)| micros(first - last))
            .collect(),
        reconnects_us: first_at.iter().map(|at| micros(at - ready_at_ms)).collect(),
    }
}

/// Whole microseconds are finer than any clock here; a negative time saturates to zero.
fn micros(ms: f64) -> u64 {
    (ms * 1e3) as u64
}

fn gaps(failovers: &[FailoverReport]) -> GapReport {
    let each = |values: fn(&FailoverReport) -> &Vec<u64>| {
        Percentiles::of_buckets_us(failovers.iter().flat_map(values).map(|us| (*us, 1)))
    };
    let by_players = |value: fn(&FailoverReport) -> f64| {
        Percentiles::of_buckets_us(failovers.iter().map(|f| (micros(value(f)), f.gaps_us.len() as u64)))
    };
    GapReport {
        gap_ms: each(|f| &f.gaps_us),
        detect_ms: by_players(|f| f.detect_ms),
        adopt_ms: by_players(|f| f.adopt_ms),
        reconnect_ms: each(|f| &f.reconnects_us),
    }
}

fn zone_report(name: &str, players: usize, runs: &[&ZoneRun]) -> ZoneReport {
    let of_zone = || runs.iter().filter(|run| run.zone.as_str() == name);
    let ticks: u64 = of_zone().map(|run| run.ticks).sum();
    let seconds: f64 = of_zone().map(|run| run.seconds).sum();
    ZoneReport {
        name: name.to_owned(),
        players,
        tick_hz: if seconds > 0.0 { ticks as f64 / seconds } else { 0.0 },
        tick_ms: Percentiles::of_buckets_us(of_zone().flat_map(|run| run.tick_us.iter().copied())),
    }
}

fn of_stage(runs: &[&ZoneRun], stage: TickStage) -> Percentiles {
    let recorded = runs.iter().filter_map(|run| run.phases.get(&stage));
    Percentiles::of_buckets_us(recorded.flatten().copied())
}

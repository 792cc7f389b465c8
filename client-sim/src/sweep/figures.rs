//! The figures of one number of players: what its swarm measured, what was seen of its server meanwhile, and the floor
//! beside them. They judge nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use everhold_protocol::ZoneName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::process::{ProcessLook, look};
use super::server::{Server, ServerLine};
use crate::meter::Percentiles;
use crate::report::{SimulatorHealth, SwarmReport};

/// Figures of one number of players, with their verdict.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SweepPoint {
    /// Number of players.
    pub players: usize,
    /// Reasons why it does not hold; empty if it does.
    pub reasons: Vec<String>,
    /// Seconds of the steady part: from the end of the warm-up to that of play.
    pub seconds: f64,
    /// Time from an intent's intended moment to the snapshot that covers it.
    pub update_latency_ms: Percentiles,
    /// Whole UDP datagrams to each player.
    pub bytes_down_per_player_s: f64,
    /// Whole UDP datagrams from each player.
    pub bytes_up_per_player_s: f64,
    /// Packets to each player.
    pub packets_down_per_player_s: f64,
    /// Packets from each player.
    pub packets_up_per_player_s: f64,
    /// Entities that a player was shown around it, on average.
    pub view_entities_mean: f64,
    /// Connections that were lost.
    pub lost_connections: u64,
    /// Findings of the checker and the swarm.
    pub errors: Vec<String>,
    /// The server.
    pub server: ServerFigures,
    /// The simulator.
    pub simulator: SimulatorHealth,
    /// The floor of the same packets, if it was measured.
    pub floor: Option<Floor>,
    /// The reason why it was not measured, if it was to be. The number may hold all the same.
    pub floor_problem: Option<String>,
}

/// A server in the steady part of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServerFigures {
    /// Ticks a second; of several zones, of the slowest.
    pub tick_hz: f64,
    /// Work of a tick, without the wait for the next.
    pub tick_ms: Percentiles,
    /// Computing time, in hundredths of one core.
    pub cpu_percent: f64,
    /// The same for each tick of each player, in microseconds.
    pub cpu_us_per_player_tick: f64,
    /// Memory at the end, bytes.
    pub rss_bytes: u64,
    /// Memory that came with each player, bytes.
    pub rss_bytes_per_player: f64,
    /// The last run of each zone as the server told it, with whatever else it says.
    pub runs: Vec<Value>,
}

/// The floor of one number of players.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Floor {
    /// Computing time of a player-tick, microseconds: the median round.
    pub us_per_player_tick: f64,
    /// Datagrams to a player in a tick.
    pub out_per_tick: f64,
    /// Bytes of each.
    pub out_bytes: usize,
    /// Datagrams from a player in a tick.
    pub in_per_tick: f64,
    /// Bytes of each.
    pub in_bytes: usize,
    /// The server's computing time divided by this.
    #[serde(default)]
    pub ratio: f64,
}

impl SweepPoint {
    /// Makes a point without a verdict yet.
    pub(super) fn new(report: SwarmReport, server: ServerFigures) -> Self {
        Self {
            players: report.players,
            reasons: Vec::new(),
            seconds: report.seconds,
            update_latency_ms: report.update_latency_ms,
            bytes_down_per_player_s: report.bytes_down_per_player_s,
            bytes_up_per_player_s: report.bytes_up_per_player_s,
            packets_down_per_player_s: report.packets_down_per_player_s,
            packets_up_per_player_s: report.packets_up_per_player_s,
            view_entities_mean: report.view_entities_mean,
            lost_connections: report.lost_connections,
            errors: report.errors,
            server,
            simulator: report.simulator,
            floor: None,
            floor_problem: None,
        }
    }

    /// Makes the point of players that did not get in.
    pub(super) fn without_play(players: usize, server: ServerFigures, why: String, trouble: Option<String>) -> Self {
        Self {
            players,
            reasons: trouble.into_iter().chain([why]).collect(),
            server,
            ..Self::default()
        }
    }

    /// Whether the server holds so many players.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.reasons.is_empty()
    }

    #[cfg(test)]
    pub(super) fn made_up(players: usize, holds: bool) -> Self {
        Self {
            players,
            reasons: if holds { Vec::new() } else { vec!["made up".to_owned()] },
            ..Self::default()
        }
    }
}

/// A server that is watched: before players came, at the begin of the steady part, and at its end so far.
pub(super) struct Watched {
    pid: u32,
    empty: Option<ProcessLook>,
    from: Option<(Instant, ProcessLook)>,
    to: Option<(Instant, ProcessLook)>,
}

impl Watched {
    pub(super) fn begin(server: &Server) -> Self {
        Self {
            pid: server.pid(),
            empty: look(server.pid()),
            from: None,
            to: None,
        }
    }

    /// Takes a look at the server in the steady part.
    pub(super) fn look(&mut self, now: Instant) {
        self.to = look(self.pid).map(|look| (now, look)).or(self.to);
        self.from = self.from.or(self.to);
    }

    pub(super) fn figures(&self, lines: &[ServerLine], zones: &[ZoneName], players: usize) -> ServerFigures {
        let (Some((from_at, from)), Some((to_at, to))) = (self.from, self.to) else {
            return ServerFigures::default();
        };
        let (tick_hz, tick_ms, runs) = ticks(lines, zones, from_at, to_at);
        let seconds = (to_at - from_at).as_secs_f64().max(f64::MIN_POSITIVE);
        let cpu_s = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        let player_ticks = players as f64 * tick_hz * seconds;
        let grown = to.rss_bytes.saturating_sub(self.empty.unwrap_or_default().rss_bytes);
        ServerFigures {
            tick_hz,
            tick_ms,
            cpu_percent: 100.0 * cpu_s / seconds,
            cpu_us_per_player_tick: 1e6 * cpu_s / player_ticks.max(1.0),
            rss_bytes: to.rss_bytes,
            rss_bytes_per_player: grown as f64 / players as f64,
            runs,
        }
    }
}

/// A zone's report, once a second: how often its ticks took how long, since it began.
struct ZoneSample<'a> {
    ticks: f64,
    seconds: f64,
    tick_us: BTreeMap<u64, u64>,
    run: &'a Value,
}

impl<'a> ZoneSample<'a> {
    fn read(run: &'a Value) -> Option<Self> {
        let buckets = run["tick_us"].as_array()?.iter();
        let tick_us = buckets.filter_map(|bucket| Some((bucket[0].as_u64()?, bucket[1].as_u64()?)));
        Some(Self {
            ticks: run["ticks"].as_f64()?,
            seconds: run["seconds"].as_f64()?,
            tick_us: tick_us.collect(),
            run,
        })
    }
}

/// Computes the ticks between two moments in the zones that have players: how many a second in the slowest, how long
/// they took in all, and what each zone told last. Other zones of the server have nothing to do, and would make the
/// figures look better than they are.
fn ticks(lines: &[ServerLine], zones: &[ZoneName], from: Instant, to: Instant) -> (f64, Percentiles, Vec<Value>) {
    let is_played = |line: &Value| zones.iter().any(|zone| line["zone"] == zone.as_str());
    let mut owned: BTreeMap<String, Vec<(Instant, ZoneSample<'_>)>> = BTreeMap::new();
    for (at, line) in lines
        .iter()
        .filter(|(_, line)| line["event"] == "stats" && is_played(line))
    {
        if let Some(told) = ZoneSample::read(line) {
            owned
                .entry(format!("{}@{}", line["zone"], line["epoch"]))
                .or_default()
                .push((*at, told));
        }
    }
    let (mut hz, mut work_us, mut runs) = (f64::INFINITY, BTreeMap::new(), Vec::new());
    for told in owned.values() {
        let last_until = |moment: Instant| told.iter().rfind(|(at, _)| *at <= moment).map(|(_, told)| told);
        let Some(end) = last_until(to) else { continue };
        runs.push(end.run.clone());
        let begin = last_until(from);
        let ticks = end.ticks - begin.map_or(0.0, |begin| begin.ticks);
        let seconds = end.seconds - begin.map_or(0.0, |begin| begin.seconds);
        hz = hz.min(if seconds > 0.0 { ticks / seconds } else { 0.0 });
        for (us, count) in &end.tick_us {
            let before = begin
                .and_then(|begin| begin.tick_us.get(us))
                .copied()
                .unwrap_or_default();
            *work_us.entry(*us).or_default() += count.saturating_sub(before);
        }
    }
    let hz = if hz.is_finite() { hz } else { 0.0 };
    (hz, Percentiles::of_buckets_us(work_us), runs)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use everhold_protocol::ZoneName;
    use serde_json::json;

    use super::ticks;

    fn zones(names: &[&str]) -> Vec<ZoneName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn only_ticks_of_the_steady_part_count() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let stats = |s: u64, ticks: u64, tick_us: &[(u64, u64)]| {
            let run = json!({
                "event": "stats", "zone": "meadow", "epoch": 1, "ticks": ticks, "seconds": s, "tick_us": tick_us,
                "news": 7
            });
            (at(s), run)
        };
        let lines = [
            (at(0), json!({"event": "serving", "pid": 1})),
            stats(1, 20, &[(900_000, 20)]),
            stats(2, 40, &[(1_000, 10), (900_000, 30)]),
            stats(3, 50, &[(1_000, 19), (2_000, 1), (900_000, 30)]),
            stats(4, 70, &[(5_000_000, 70)]),
        ];
        let (hz, tick_ms, runs) = ticks(&lines, &zones(&["meadow"]), at(2), at(3));
        assert!((hz - 10.0).abs() < 1e-9);
        assert_eq!((tick_ms.p50, tick_ms.p99, tick_ms.max), (1.0, 2.0, 2.0));
        assert_eq!((runs.len(), &runs[0]["news"]), (1, &json!(7)));
    }

    #[test]
    fn slowest_zone_says_how_many_ticks_a_second_there_were() {
        let now = Instant::now();
        let stats = |zone: &str, ticks: u64| {
            let run = json!({
                "event": "stats", "zone": zone, "epoch": 1, "ticks": ticks, "seconds": 10, "tick_us": [[500, ticks]]
            });
            (now, run)
        };
        let before = now.checked_sub(Duration::from_secs(1)).unwrap();
        let lines = [stats("a", 200), stats("b", 150), stats("nobody", 10)];
        let (hz, tick_ms, runs) = ticks(&lines, &zones(&["a", "b"]), before, now);
        assert!((hz - 15.0).abs() < 1e-9 && runs.len() == 2);
        assert_eq!(tick_ms.p99, 0.5);
    }

    #[test]
    fn server_that_told_nothing_has_no_ticks() {
        let now = Instant::now();
        let (hz, tick_ms, runs) = ticks(&[(now, json!({"event": "stats"}))], &zones(&["a"]), now, now);
        assert_eq!((hz, tick_ms.max, runs.len()), (0.0, 0.0, 0));
    }
}

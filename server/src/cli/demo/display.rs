//! The output of the demo: its progress while it runs, and tables at its end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use client_sim::meter::Percentiles;
use client_sim::{SwarmPhase, SwarmProgress};
use comfy_table::{Table, presets};
use everhold_local_cluster::LocalCluster;
use everhold_os::output;

use super::report::{CompareReport, DemoReport, GapReport};
use crate::cli::print;

/// Without a terminal a line is written this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// A block of lines that is redrawn in place on a terminal, and plain lines elsewhere.
pub(super) struct DemoDisplay {
    terminal: bool,
    drawn_lines: usize,
    plain_at: Instant,
}

impl DemoDisplay {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            drawn_lines: 0,
            plain_at: Instant::now(),
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, line: &str) {
        self.erase();
        self.write(&format!("• {line}\n"));
    }

    /// Shows the progress of the run: on a terminal in lines that the next ones replace, else in a line now and then.
    pub(super) fn show(&mut self, progress: &SwarmProgress, cluster: &LocalCluster, killed: bool) {
        let head = headline(progress);
        if !self.terminal {
            if Instant::now() >= self.plain_at {
                self.plain_at = Instant::now() + PLAIN_EVERY;
                self.write(&format!("  {head}\n"));
            }
            return;
        }
        self.erase();
        let mut block = format!("  {head}\n");
        for process in &cluster.all {
            let state = if process.killed.is_some() { "dead" } else { "up  " };
            block += &format!("  {state} {} ", process.addr);
            for run in process
                .runs
                .iter()
                .filter(|run| process.killed.is_none() && run.players > 0)
            {
                block += &format!(" {} (epoch {}, {} players)", run.zone, run.epoch, run.players);
            }
            block.push('\n');
        }
        if killed {
            block += &format!("  {} silent now\n", progress.silent);
        }
        self.drawn_lines = block.lines().count();
        self.write(&block);
    }

    /// The verdict.
    pub(super) fn finish(&mut self, report: &DemoReport) -> anyhow::Result<()> {
        self.erase();
        print(zones_table(report))?;
        if let Some(gaps) = &report.gaps {
            print(failovers_table(report))?;
            print(gaps_table(gaps))?;
        }
        print(verdict_table(report))?;
        for error in &report.errors {
            print(format_args!("error: {error}"))?;
        }
        print(if report.passed() {
            "PASSED: everybody carried on, nothing was lost"
        } else {
            "FAILED"
        })
    }

    /// Both levels, side by side.
    pub(super) fn finish_comparison(&mut self, report: &CompareReport) -> anyhow::Result<()> {
        self.erase();
        print(levels_table(report))?;
        if report.levels.iter().any(|level| !level.simulator_kept_up) {
            print("note: the players' simulator did not keep up; these figures are partly its own")?;
        }
        for error in &report.errors {
            print(format_args!("error: {error}"))?;
        }
        print(if report.passed() {
            "PASSED: nothing was lost at any level"
        } else {
            "FAILED"
        })
    }

    fn erase(&mut self) {
        if self.drawn_lines > 0 {
            let up = self.drawn_lines;
            self.write(&format!("\x1b[{up}A\x1b[J"));
            self.drawn_lines = 0;
        }
    }

    /// A terminal that is closed or stuck is no reason to stop the demo, or to wait.
    fn write(&self, text: &str) {
        output::stderr().write(text.as_bytes());
    }
}

fn headline(progress: &SwarmProgress) -> String {
    let phase = match progress.phase {
        SwarmPhase::Joining => "joining ",
        SwarmPhase::WarmingUp => "warming ",
        SwarmPhase::Running => "playing ",
        SwarmPhase::Settling => "settling",
        SwarmPhase::Done => "done    ",
    };
    format!(
        "{phase} {:5.1} s  {:>5}/{} players  update p50 {:.0} ms p99 {:.0} ms",
        progress.running_for_s,
        progress.attached,
        progress.players,
        progress.update_latency_ms.p50,
        progress.update_latency_ms.p99,
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

fn ms(quantiles: &Percentiles) -> [String; 3] {
    [quantiles.p50, quantiles.p99, quantiles.max].map(|value| format!("{value:.1}"))
}

fn zones_table(report: &DemoReport) -> Table {
    let mut table = table(&["zone", "players", "ticks/s", "tick p50 ms", "p99", "max"]);
    for zone in &report.zones {
        let [p50, p99, max] = [zone.tick_ms.p50, zone.tick_ms.p99, zone.tick_ms.max].map(|value| format!("{value:.2}"));
        table.add_row([
            zone.name.to_string(),
            zone.players.to_string(),
            format!("{:.2}", zone.tick_hz),
            p50,
            p99,
            max,
        ]);
    }
    table
}

fn failovers_table(report: &DemoReport) -> Table {
    let mut table = table(&[
        "kill",
        "zone",
        "resumed",
        "gap p50 ms",
        "p99",
        "max",
        "detect ms",
        "adopt ms",
        "replayed ticks",
        "digests",
    ]);
    for failover in &report.failovers {
        let [p50, p99, max] = ms(&failover.gap_ms);
        table.add_row([
            failover.kill.to_string(),
            failover.zone.to_string(),
            format!("{}/{}", failover.resumed, failover.players),
            p50,
            p99,
            max,
            format!("{:.0}", failover.detect_ms),
            format!("{:.1}", failover.adopt_ms),
            failover.replayed_ticks.to_string(),
            match (failover.digest_equal, failover.checked_digests) {
                (false, _) => "DIFFERENT".to_owned(),
                (true, 0) => "none due".to_owned(),
                (true, checked) => format!("{checked} equal"),
            },
        ]);
    }
    table
}

fn gaps_table(gaps: &GapReport) -> Table {
    let mut table = table(&["what a player noticed of all kills", "p50 ms", "p99", "max"]);
    for (name, quantiles) in [
        ("gap between two owners' snapshots", &gaps.gap_ms),
        ("... kill to grant (detection)", &gaps.detect_ms),
        ("... grant to first tick (adoption)", &gaps.adopt_ms),
        ("... first tick to first snapshot (reconnection)", &gaps.reconnect_ms),
    ] {
        let [p50, p99, max] = ms(quantiles);
        table.add_row([name.to_owned(), p50, p99, max]);
    }
    table
}

fn verdict_table(report: &DemoReport) -> Table {
    let [p50, p99, max] = ms(&report.update_latency_ms);
    let mut table = table(&["by what the players were told", ""]);
    table
        .add_row([
            "update latency p50 / p99 / max".to_owned(),
            format!("{p50} / {p99} / {max} ms"),
        ])
        .add_row([
            "bytes per player and second, down / up".to_owned(),
            format!(
                "{:.0} / {:.0}",
                report.bytes_down_per_player_s, report.bytes_up_per_player_s
            ),
        ])
        .add_row(["acknowledged and lost".to_owned(), report.lost_acknowledged.to_string()])
        .add_row(["duplicated".to_owned(), report.duplicated.to_string()])
        .add_row(["rewound ticks".to_owned(), report.rewound_ticks.to_string()])
        .add_row([
            "gold expected / found".to_owned(),
            format!("{} / {}", report.gold_expected, report.gold_found),
        ])
        .add_row([
            "items expected / found".to_owned(),
            format!("{} / {}", report.items_expected, report.items_found),
        ]);
    table
}

fn levels_table(report: &CompareReport) -> Table {
    let mut table = table(&[
        "output leaves at",
        "update p50 ms",
        "p99",
        "confirmation p50 ms",
        "p99",
        "append p50 ms",
        "p99",
        "appends",
        "bytes/player/s down",
    ]);
    for level in &report.levels {
        let decimals = |ms: f64| format!("{ms:.2}");
        table.add_row([
            level.durability.clone(),
            decimals(level.update_latency_ms.p50),
            decimals(level.update_latency_ms.p99),
            decimals(level.confirmation_latency_ms.p50),
            decimals(level.confirmation_latency_ms.p99),
            decimals(level.append_ms.p50),
            decimals(level.append_ms.p99),
            level.appends.to_string(),
            format!("{:.0}", level.bytes_down_per_player_s),
        ]);
    }
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    for ratios in &report.ratios {
        table.add_row([
            ratios.levels.clone(),
            ratio(ratios.update_p50),
            ratio(ratios.update_p99),
            ratio(ratios.confirmation_p50),
            ratio(ratios.confirmation_p99),
            ratio(ratios.append_p50),
            ratio(ratios.append_p99),
        ]);
    }
    table
}

//! The output for a person: progress on the standard error output, and the result on the standard output. It is the
//! only module that prints.
//!
//! A thread of its own writes the progress, so that a terminal that is stuck or gone holds up no player; what it is too
//! slow for is left out.

use std::fmt::Display as Text;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use client_sim::checker::Strangers;
use client_sim::meter::Percentiles;
use client_sim::sweep::{Sweep, SweepPoint};
use client_sim::{Control, SimulatorHealth, SwarmPhase, SwarmProgress, SwarmReport};
use comfy_table::{Table, presets};
use everhold_protocol::Epoch;

/// Pause between two lines without a terminal.
const PLAIN_PERIOD: Duration = Duration::from_secs(2);
/// Findings that are shown; the JSON report has more.
const FINDINGS_SHOWN_MAX: usize = 12;

/// Lines of progress and log that wait for a slow terminal.
const LINES_MAX: usize = 256;
/// Longest wait for lines to be written, at the simulator's end.
const FLUSH_MAX: Duration = Duration::from_millis(500);

enum DisplayLine {
    Text(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The way to standard error; it never waits.
fn lines() -> &'static SyncSender<DisplayLine> {
    static LINES: OnceLock<SyncSender<DisplayLine>> = OnceLock::new();
    LINES.get_or_init(|| {
        let (sender, lines) = sync_channel(LINES_MAX);
        // Without a thread every line is left out, and there is nobody to tell of it.
        let _thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            for line in lines {
                match line {
                    // A terminal that is gone may come back.
                    DisplayLine::Text(text) => drop(stderr().write_all(&text)),
                    DisplayLine::Flush(done) => drop(done.send(())),
                }
            }
        });
        sender
    })
}

fn say(text: impl Text) {
    let _too_slow = lines().try_send(DisplayLine::Text(text.to_string().into_bytes()));
}

/// Waits, not for long, until what was said is written.
pub(crate) fn flush() {
    let (done, written) = sync_channel(1);
    if lines().try_send(DisplayLine::Flush(done)).is_ok() {
        let _too_slow = written.recv_timeout(FLUSH_MAX);
    }
}

/// Prints a line of the result. An output that is closed is no error.
fn print(text: impl Text) -> io::Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// The writer of the log: it writes a line whole.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let _too_slow = lines().try_send(DisplayLine::Text(text.to_vec()));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The progress display: one line that is written over on a terminal, else a line every two seconds.
pub(crate) struct ProgressDisplay {
    terminal: bool,
    plain_at: Option<Instant>,
    phase: Option<SwarmPhase>,
}

impl ProgressDisplay {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            plain_at: None,
            phase: None,
        }
    }

    /// Shows the swarm as it is now, and lets it go on.
    pub(crate) fn show(&mut self, progress: &SwarmProgress) -> Control {
        if self.terminal {
            // The line is cleared to its end, so that a shorter one leaves nothing of a longer one.
            say(format_args!("\r{}\x1b[K", line(progress)));
        } else if self.phase != Some(progress.phase) || self.plain_at.is_none_or(|at| at.elapsed() >= PLAIN_PERIOD) {
            say(format_args!("{}\n", line(progress)));
            self.plain_at = Some(Instant::now());
        }
        self.phase = Some(progress.phase);
        Control::Continue
    }

    /// Shows the result.
    pub(crate) fn finish(&self, report: &SwarmReport) -> io::Result<()> {
        if self.terminal {
            say('\n');
        }
        print(table(report))?;
        for finding in report.errors.iter().take(FINDINGS_SHOWN_MAX) {
            print(format_args!("! {finding}"))?;
        }
        if report.errors.len() > FINDINGS_SHOWN_MAX {
            let more = report.errors.len() - FINDINGS_SHOWN_MAX;
            print(format_args!("! and {more} more; see --json"))?;
        }
        for why in &report.simulator.bottleneck {
            print(format_args!(
                "! the simulator itself did not keep up, so do not believe this run's latencies and gaps: {why}"
            ))?;
        }
        Ok(())
    }

    /// A server has started for so many players.
    pub(crate) fn begin(&mut self, players: usize) {
        self.phase = None;
        say(format_args!("{players} players\n"));
    }

    /// A number of players has its verdict.
    pub(crate) fn point(&self, point: &SweepPoint) {
        if self.terminal {
            say('\n');
        }
        say(format_args!(
            "{} players {}\n",
            point.players,
            if point.holds() { "hold" } else { "do not hold" }
        ));
    }

    /// Shows what a sweep found.
    pub(crate) fn finish_sweep(&self, sweep: &Sweep) -> io::Result<()> {
        print(sweep_table(sweep))?;
        for point in &sweep.points {
            for reason in &point.reasons {
                print(format_args!("! {} players: {reason}", point.players))?;
            }
            if let Some(problem) = &point.floor_problem {
                print(format_args!(
                    "! {} players: the floor was not measured: {problem}",
                    point.players
                ))?;
            }
        }
        match sweep.holds_max {
            Some(players) => print(format_args!("{players} players hold"))?,
            None => print("no number of players holds")?,
        }
        if sweep.stopped {
            print("! the sweep was stopped before its end")?;
        }
        Ok(())
    }
}

/// Says why there was no run.
pub(crate) fn error(error: &anyhow::Error) {
    say(format_args!("client-sim: {error:#}\n"));
}

fn line(progress: &SwarmProgress) -> String {
    let phase = match progress.phase {
        SwarmPhase::Joining => "joining",
        SwarmPhase::WarmingUp => "warming up",
        SwarmPhase::Running => "running",
        SwarmPhase::Settling => "settling",
        SwarmPhase::Done => "done",
    };
    let zones = progress.zones.iter().map(|zone| {
        let epochs: Vec<String> = zone.epochs.iter().map(Epoch::to_string).collect();
        let silent = if zone.silent > 0 {
            format!(" silent {}", zone.silent)
        } else {
            String::new()
        };
        format!("{} {}@{}{silent}", zone.zone, zone.attached, epochs.join("+"))
    });
    let Percentiles { p50, p99, .. } = progress.update_latency_ms;
    format!(
        "{phase:8} {:5.1} s  {}/{} in  {}  update {p50:.0}/{p99:.0} ms  {:.1}/{:.1} kB/s each  failovers {}",
        progress.running_for_s,
        progress.attached,
        progress.players,
        zones.collect::<Vec<_>>().join("  "),
        progress.bytes_down_per_player_s / 1_000.0,
        progress.bytes_up_per_player_s / 1_000.0,
        progress.failovers,
    )
}

fn ms(p: Percentiles) -> String {
    format!("p50 {:.1}  p99 {:.1}  max {:.1} ms", p.p50, p.p99, p.max)
}

/// Gold and things.
fn add_sums(table: &mut Table, report: &SwarmReport) {
    table.add_row(["gold", &format!("{} of {}", report.gold_found, report.gold_expected)]);
    table.add_row(["items", &format!("{} of {}", report.items_found, report.items_expected)]);
    if report.unheard > 0 {
        let text = format!(
            "{} players were away for longer than events are kept: sums are as found",
            report.unheard
        );
        table.add_row(["not audited", &text]);
    }
    if report.strangers != Strangers::default() {
        table.add_row(["to, from strangers", &strangers(report.strangers)]);
    }
}

fn add_failovers(table: &mut Table, report: &SwarmReport) {
    for failover in &report.failovers {
        let what = format!("{} {} → {}", failover.zone, failover.from_epoch, failover.to_epoch);
        let (resumed, players) = (failover.resumed, failover.players);
        table.add_row([
            what,
            format!("{resumed} of {players} resumed, gap {}", ms(failover.gap_ms)),
        ]);
    }
}

fn table(report: &SwarmReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let zones: Vec<String> = report
        .zones
        .iter()
        .map(|zone| format!("{} {}", zone.name, zone.players))
        .collect();
    table.add_row([
        "players",
        &format!("{} for {:.1} s: {}", report.players, report.seconds, zones.join(", ")),
    ]);
    table.add_row(["update latency", &ms(report.update_latency_ms)]);
    table.add_row(["within one owner", &ms(report.steady_latency_ms)]);
    let (down, up) = (
        report.bytes_down_per_player_s / 1_000.0,
        report.bytes_up_per_player_s / 1_000.0,
    );
    let (packets_down, packets_up) = (report.packets_down_per_player_s, report.packets_up_per_player_s);
    let traffic = format!("{down:.1} kB/s in {packets_down:.1} packets down, {up:.1} kB/s in {packets_up:.1} up");
    table.add_row(["per player", &traffic]);
    table.add_row([
        "in view",
        &format!("{:.0} entities on average", report.view_entities_mean),
    ]);
    table.add_row(["connections lost", &report.lost_connections.to_string()]);
    add_failovers(&mut table, report);
    table.add_row([
        "lost, duplicated",
        &format!("{}, {}", report.lost_acknowledged, report.duplicated),
    ]);
    table.add_row(["rewound", &format!("{} ticks", report.rewound_ticks)]);
    add_sums(&mut table, report);
    table.add_row([
        "intents",
        &format!("{}, {} not taken", report.intents, report.intents_refused),
    ]);
    table.add_row([
        "kills, chat lines heard",
        &format!("{}, {}", report.kills, report.chats),
    ]);
    table.add_row(["simulator", &simulator(&report.simulator)]);
    table.add_row([
        "verdict",
        if report.is_clean() {
            "every promise was kept"
        } else {
            "NOT CLEAN"
        },
    ]);
    table
}

fn strangers(with: Strangers) -> String {
    format!(
        "{} gold and {} items, {} gold and {} items",
        with.gold_given, with.items_given, with.gold_received, with.items_received
    )
}

fn simulator(own: &SimulatorHealth) -> String {
    let verdict = if own.is_bottleneck { "TOO SLOW" } else { "kept up" };
    let SimulatorHealth {
        frame_late_ms_p50: p50,
        frame_late_ms_p99: p99,
        frame_late_ms_max: max,
        cpu_percent: cpu,
        cpu_us_per_player_tick: each,
        frames_missed: missed,
        ..
    } = own;
    format!(
        "{verdict}: frames late p50 {p50:.1}  p99 {p99:.1}  max {max:.1} ms, {missed} missed; {cpu:.0} % of a core, \
         {each:.1} µs a frame"
    )
}

fn sweep_table(sweep: &Sweep) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "players",
        "holds",
        "ticks/s",
        "tick p50/p99 ms",
        "update p50/p99 ms",
        "in view",
        "packets/s down/up",
        "kB/s down/up",
        "server µs",
        "x floor",
        "server %",
        "KiB each",
        "simulator µs",
        "simulator %",
        "late p99 ms",
    ]);
    for point in &sweep.points {
        let (server, own) = (&point.server, &point.simulator);
        table.add_row([
            point.players.to_string(),
            if point.holds() { "yes" } else { "no" }.to_owned(),
            format!("{:.2}", server.tick_hz),
            format!("{:.1} / {:.1}", server.tick_ms.p50, server.tick_ms.p99),
            format!(
                "{:.0} / {:.0}",
                point.update_latency_ms.p50, point.update_latency_ms.p99
            ),
            format!("{:.0}", point.view_entities_mean),
            format!(
                "{:.1} / {:.1}",
                point.packets_down_per_player_s, point.packets_up_per_player_s
            ),
            format!(
                "{:.1} / {:.1}",
                point.bytes_down_per_player_s / 1_000.0,
                point.bytes_up_per_player_s / 1_000.0
            ),
            format!("{:.1}", server.cpu_us_per_player_tick),
            point
                .floor
                .as_ref()
                .map_or_else(|| "-".to_owned(), |floor| format!("{:.2}", floor.ratio)),
            format!("{:.0}", server.cpu_percent),
            format!("{:.0}", server.rss_bytes_per_player / 1_024.0),
            format!("{:.1}", own.cpu_us_per_player_tick),
            format!("{:.0}", own.cpu_percent),
            format!("{:.1}", own.frame_late_ms_p99),
        ]);
    }
    table
}

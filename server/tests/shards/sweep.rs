//! A small sweep, as `client-sim sweep` does it, with the real server in the world for load runs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use client_sim::SwarmConfig;
use client_sim::sweep::{SweepConfig, SweepNews, chart, sweep};
use everhold_local_cluster::is_running;

use crate::world::{PATIENCE, alone};

fn config(out: &Path) -> SweepConfig {
    SweepConfig {
        server: env!("CARGO_BIN_EXE_everhold").into(),
        players: vec![20, 40],
        swarm: SwarmConfig {
            seconds: 2.0,
            zones: vec!["plain".parse().expect("a zone name")],
            ..SwarmConfig::default()
        },
        durability: "store".to_owned(),
        world: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/load.toml").into()),
        udp_floor: None,
        server_cpu: None,
        pin: None,
        all: true,
        refine: None,
        out: out.to_owned(),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

#[test]
fn each_number_of_players_has_a_server_of_its_own_that_is_gone_afterwards() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut pids = Vec::new();
    let found = sweep(&config(out.path()), &mut |news| {
        if let SweepNews::Begins { pid, .. } = news {
            assert!(Path::new(&format!("/proc/{pid}")).exists());
            pids.push(pid);
        }
    });
    let found = found.expect("a sweep");
    assert_eq!(pids.len(), 2);
    let players: Vec<usize> = found.points.iter().map(|point| point.players).collect();
    assert_eq!(players, [20, 40]);
    for point in &found.points {
        // How fast this machine is under test is no matter; that everything was seen is.
        assert_eq!(point.errors, [] as [String; 0]);
        assert!(point.seconds >= 2.0 && point.lost_connections == 0);
        assert!(
            point.server.tick_hz > 1.0 && point.server.tick_ms.max > 0.0,
            "{:?}",
            point.server
        );
        assert!(point.server.rss_bytes > 1_000_000 && point.server.runs.len() == 1);
        assert_eq!(point.server.runs[0]["players"], point.players);
        assert!(point.update_latency_ms.p50 > 0.0 && point.bytes_down_per_player_s > 100.0);
    }
    assert!(chart(&found).expect("a chart").contains("players"));
    for pid in pids {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "server {pid} is left behind"
        );
    }
}

#[test]
fn sweep_that_is_stopped_ends_with_what_it_has() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a temporary directory");
    let config = config(out.path());
    let stop = Arc::clone(&config.stop);
    let found = sweep(&config, &mut |news| {
        if let SweepNews::Done(_) = news {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let found = found.expect("a sweep");
    assert!(found.stopped && found.points.len() == 1);
}

/// Names the directory of results to the copy of this test binary that is going to be killed.
const VICTIM_OUT: &str = "TEST_SWEEP_OUT";

/// Starts the line on standard error that names the victim's server.
const VICTIM_REPORT: &str = "the server is process ";

/// Not a test by itself: the sweep that `server_of_a_sweep_that_is_killed_ends` kills.
#[test]
fn victim() {
    let Some(out) = std::env::var_os(VICTIM_OUT) else {
        return;
    };
    let mut config = config(Path::new(&out));
    config.swarm.seconds = 600.0;
    let found = sweep(&config, &mut |news| {
        if let SweepNews::Begins { pid, .. } = news {
            eprintln!("{VICTIM_REPORT}{pid}");
        }
    });
    panic!("it was not killed: {found:?}");
}

#[test]
fn server_of_a_sweep_that_is_killed_ends() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut victim = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "sweep::victim", "--nocapture"])
        .env(VICTIM_OUT, out.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a sweep");
    let told = BufReader::new(victim.stderr.take().expect("a pipe")).lines();
    let mut pids = told
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(VICTIM_REPORT)?.parse::<u32>().ok());
    let pid = pids.next();
    victim.kill().expect("a sweep to kill");
    victim.wait().expect("its end");
    let pid = pid.expect("the sweep starts a server");
    let deadline = Instant::now() + PATIENCE;
    while is_running(pid) {
        assert!(Instant::now() < deadline, "server {pid} is left behind");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn server_that_does_not_start_is_an_error_that_quotes_it() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(out.path());
    config.swarm.zones = vec!["nowhere".parse().expect("a zone name")];
    let error = sweep(&config, &mut |_| {}).expect_err("no such zone");
    assert!(error.to_string().contains("no zone `nowhere`"), "{error}");
}

//! The binary: its exit codes and its report.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::world::{Lie, World};

fn run(connect: &str, keys: &Path, more: &[&str]) -> Output {
    let keys = keys.to_str().unwrap();
    let orders = [
        "run",
        "--connect",
        connect,
        "--players",
        "10",
        "--seconds",
        "2",
        "--behavior",
        "trade",
        "--keys",
        keys,
    ];
    Command::new(env!("CARGO_BIN_EXE_client-sim"))
        .args(orders)
        // What a busy test machine does to punctuality is not what is tested.
        .args(["--zones", "meadow", "--ignore-lag"])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn clean_run_ends_with_zero_and_a_report() {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::None, keys.path());
    let json = keys.path().join("report.json");
    let output = run(
        &world.addrs[0].to_string(),
        keys.path(),
        &["--json", json.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("every promise was kept"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("10/10 in  meadow 10@1"));
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(
        (&report["players"], &report["gold_found"], &report["lost_acknowledged"]),
        (&10.into(), &1_000.into(), &0.into())
    );
    assert!(
        report["update_latency_ms"]["p99"].as_f64().unwrap() > 0.0 && report["simulator"]["is_bottleneck"].is_boolean()
    );
}

#[test]
fn name_is_connected_to_whichever_of_its_addresses_answers() {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::None, keys.path());
    let output = run(&format!("localhost:{}", world.addrs[0].port()), keys.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn name_that_nobody_knows_ends_with_two_and_is_named() {
    let keys = tempfile::tempdir().unwrap();
    let output = run("no-such-host.invalid:7777", keys.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("no-such-host.invalid:7777"), "{words}");
}

#[test]
fn findings_end_with_one() {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::MintsGold, keys.path());
    let output = run(&world.addrs[0].to_string(), keys.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT CLEAN"));
}

#[test]
fn cpu_that_is_not_there_is_refused_before_anything_else() {
    let keys = tempfile::tempdir().unwrap();
    let output = run("127.0.0.1:9", keys.path(), &["--pin", "1000"]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("no CPU 1000"), "{words}");
}

#[test]
fn sweep_without_a_server_ends_with_two_and_says_why() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_client-sim"))
        .args(["sweep", "--server", "/nowhere/everhold", "--players", "10", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("/nowhere/everhold"), "{words}");
}

#[test]
fn run_that_cannot_be_ends_with_two_and_says_why() {
    let keys = tempfile::tempdir().unwrap();
    let output = run("127.0.0.1:9", keys.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("login keys") && words.contains("ticket.key"), "{words}");
}

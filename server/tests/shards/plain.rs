//! The zone for load runs, in which thousands have room, and looks at its owner's reports.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use client_sim::meter::Percentiles;
use everhold_core::report::ZoneRun;
use everhold_core::tick::TickStage;
use everhold_local_cluster::LocalCluster;
use everhold_protocol::ZoneName;

/// The zone.
pub(crate) fn plain() -> ZoneName {
    "plain".parse().expect("a zone name")
}

/// Returns the text of a world that has this zone alone, in which the body of somebody who is away stays for so long.
pub(crate) fn plain_world(linger: Duration) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/load.toml"));
    let text = text.expect("the world file is there");
    let (plain, _) = text
        .split_once("[[zone]]\nname = \"square\"")
        .expect("two zones, this one first");
    let (from, to) = ("linger_ms = 30_000", format!("linger_ms = {}", linger.as_millis()));
    assert!(plain.contains(from), "the world file says how long they stay");
    plain.replacen(from, &to, 1)
}

/// Writes that world to a file, and returns the lines of a configuration that names it and the archive. No URL: the
/// archive is where it is by default.
pub(crate) fn plain_lines(file: &Path, linger: Duration, archive: Option<&str>, interval: Duration) -> String {
    std::fs::write(file, plain_world(linger)).expect("a writable directory");
    let url = archive.map_or_else(String::new, |url| format!("url = \"{url}\"\n"));
    let interval_ms = interval.as_millis();
    format!("[world]\nrules = {file:?}\n[archive]\n{url}interval_ms = {interval_ms}\n")
}

/// Returns the newest report of a shard on the zone.
pub(crate) fn run_of(cluster: &LocalCluster, shard: usize) -> Option<&ZoneRun> {
    let mut runs = cluster.all[shard].runs.iter().rev();
    runs.find(|run| run.zone == plain())
}

/// Returns the memory of a shard, MiB.
pub(crate) fn memory_mib(cluster: &LocalCluster, shard: usize) -> u64 {
    let usage = cluster.all[shard].usage.as_ref();
    usage.and_then(|usage| usage.rss_bytes).unwrap_or_default() / (1024 * 1024)
}

type Buckets = [(u64, u64)];

/// Returns the durations that came to a distribution between two looks at it.
fn added(before: &Buckets, after: &Buckets) -> Percentiles {
    let before: BTreeMap<u64, u64> = before.iter().copied().collect();
    let new = |&(us, count): &(u64, u64)| (us, count - before.get(&us).copied().unwrap_or_default());
    Percentiles::of_buckets_us(after.iter().map(new).filter(|(_, count)| *count > 0))
}

/// Returns the durations of the ticks between two reports.
pub(crate) fn ticks_between(before: &ZoneRun, after: &ZoneRun) -> Percentiles {
    added(&before.tick_us, &after.tick_us)
}

/// Returns the durations of a stage in the ticks between two reports.
pub(crate) fn stage_between(stage: TickStage, before: &ZoneRun, after: &ZoneRun) -> Percentiles {
    let of = |run: &'_ ZoneRun| run.phases.get(&stage).cloned().unwrap_or_default();
    added(&of(before), &of(after))
}

/// Tells a figure of a long form.
#[expect(clippy::print_stdout, reason = "a test's output is shown if it is asked for")]
pub(crate) fn say(words: &str) {
    println!("{words}");
}

/// Returns the middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

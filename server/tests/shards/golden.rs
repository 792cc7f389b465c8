//! Golden worlds: what shards of earlier builds left in their stores. This build finds nothing wrong with any of them,
//! replays each to the digests that were noted, and goes on with each. `assets/golden/worlds/write` adds one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use everhold_core::limits::STATE_LAYOUT;
use everhold_local_cluster::ReportedAdoption;
use everhold_protocol::ZoneName;
use serde_json::Value;

use crate::world::World;

/// The list of all golden files: the BLAKE3 hash of each, two blanks, and its path.
const LIST: &str = "HASHES";

/// The ends of shards that left golden worlds.
const ENDS: [&str; 2] = ["killed", "stopped"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/golden/worlds")
}

fn yard() -> ZoneName {
    "yard".parse().expect("a name")
}

/// The names of the golden worlds, in order.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).expect("golden worlds are there");
    let entries = entries.map(|entry| entry.expect("readable"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 2, "each layout since the first has one: {names:?}");
    names
}

/// The lines of a configuration that names the golden worlds' file.
fn rules() -> String {
    format!("[world]\nrules = {:?}\n", directory().join("world.toml"))
}

/// The layout of the state of a golden world.
fn layout(name: &str) -> u16 {
    let layout = name.strip_prefix("state-").and_then(|rest| rest.split('-').next());
    layout
        .and_then(|layout| layout.parse().ok())
        .expect("a name begins with the layout")
}

/// Whether a world that was left so goes on under this build: of an earlier layout only what a stop has sealed, as
/// stops do since the build after 537cc04.
fn goes_on(name: &str, end: &str) -> bool {
    let is_sealed = end == "stopped" && name != "state-4-537cc04";
    is_sealed || layout(name) == STATE_LAYOUT
}

/// Copies what one left, as a store needs it.
fn copy(name: &str, end: &str, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(directory().join(name).join(end)).expect("it is there") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// The words on its replay of the build that wrote it.
fn noted(name: &str, end: &str) -> Value {
    let text = std::fs::read_to_string(directory().join(name).join(format!("{end}.json")));
    serde_json::from_str(&text.expect("it is there")).expect("JSON")
}

/// Runs a command. Returns what it printed, if it ended well.
fn everhold(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_everhold"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The digests that a replay was told to print, by tick.
fn digests(replayed: &Value) -> Vec<(u64, String)> {
    let lines = replayed["digests"].as_array().expect("digests");
    let line = |line: &Value| {
        let digest = line["digest"].as_str().expect("a digest").to_owned();
        (line["tick"].as_u64().expect("a tick"), digest)
    };
    lines.iter().map(line).collect()
}

#[test]
fn golden_worlds_and_history_files_are_replayed_to_the_digests_that_were_noted() {
    for (name, end) in names().iter().flat_map(|name| ENDS.map(|end| (name, end))) {
        let scratch = tempfile::tempdir().expect("a directory");
        let config = scratch.path().join("shard.toml");
        std::fs::write(&config, rules()).expect("writable");
        let state = scratch.path().join("world");
        copy(name, end, &state);
        let [config, state] = [&config, &state].map(|path| path.to_str().expect("text"));
        let place = ["--config", config, "--state", state];
        let noted = noted(name, end);

        let found = everhold(&[&["verify", "--replay", "--json"], &place[..]].concat());
        let zone = &found["zones"][0];
        assert_eq!(zone["zone"], "yard", "{name}/{end}: {found}");
        if layout(name) != STATE_LAYOUT {
            // The layout is a part of the rules: a history of an earlier one is read, and replayed by its own build.
            continue;
        }
        assert!(
            zone["replayed"].as_u64() > Some(0) || noted["replayed_ticks"] == 0,
            "{name}/{end}: {found}"
        );
        assert!(zone["restored"].as_u64() > Some(0), "{name}/{end}: {found}");

        let file = directory().join(name).join(format!("{end}.ehz"));
        let file = file.to_str().expect("text");
        let replayed = everhold(&["replay", "--digests", "--json", "--config", config, file]);
        assert_eq!(digests(&replayed), digests(&noted), "{name}/{end}");
        assert_eq!(replayed["last_tick"], noted["last_tick"], "{name}/{end}");
        assert!(digests(&noted).len() > 4, "{name}/{end}: it is rich");
    }
}

#[test]
fn shard_of_this_build_goes_on_with_every_golden_world() {
    let all = names();
    let all = all.iter().flat_map(|name| ENDS.map(|end| (name, end)));
    for (name, end) in all.filter(|(name, end)| goes_on(name, end)) {
        let mut world = World::with_default_leases();
        copy(name, end, &world.cluster.world());
        let shard = world.shard_configured(&[yard()], &rules());
        let of_shard = |adoption: &&ReportedAdoption| adoption.process == shard;
        let adoption = world
            .cluster
            .adoptions
            .iter()
            .find(of_shard)
            .expect("it was waited for");
        let report = &adoption.report;
        assert_eq!(
            Some(report.last_tick.0),
            noted(name, end)["last_tick"].as_u64(),
            "{name}/{end}"
        );
        assert!(
            report.digest_equal && report.rewound_ticks == 0,
            "{name}/{end}: {report:?}"
        );
    }
}

/// The golden files, each with its hash, in order of path.
fn hashes() -> Vec<(String, String)> {
    let mut hashes = Vec::new();
    let mut folders = vec![directory()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(directory())
                .expect("below it")
                .to_string_lossy()
                .into_owned();
            if name != LIST && name != "write" {
                let bytes = std::fs::read(&path).expect("readable");
                hashes.push((name, blake3::hash(&bytes).to_hex().to_string()));
            }
        }
    }
    hashes.sort();
    hashes
}

/// `EVERHOLD_BLESS=1` enters files that are not listed, and changes no line.
#[test]
fn golden_files_are_never_written_again() {
    let path = directory().join(LIST);
    let mut list = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("EVERHOLD_BLESS").is_some() {
        for (name, hash) in hashes() {
            if !list.lines().any(|line| line.ends_with(&format!("  {name}"))) {
                list.push_str(&format!("{hash}  {name}\n"));
            }
        }
        std::fs::write(&path, &list).expect("writable");
    }
    let mut listed: Vec<(String, String)> = list
        .lines()
        .map(|line| line.split_once("  ").expect("a hash and a path"))
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect();
    listed.sort();
    assert_eq!(
        listed,
        hashes(),
        "a golden file is another, is gone, or is not entered in {LIST}"
    );
}

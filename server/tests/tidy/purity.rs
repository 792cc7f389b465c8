//! No I/O and no clock outside the folders that are for it; nothing in the simulation that could differ after a
//! restore.

use std::process::Command;

use crate::report;
use crate::source;

/// The I/O that a pure crate must not do, by the names that need no library.
const IO: [&str; 10] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
];

/// Names that make a restored World step differently, or the same World on another machine.
const UNSTEADY: [(&str, &str); 20] = [
    ("HashMap", "its order is chance: use BTreeMap, or a Vec in order of id"),
    ("HashSet", "its order is chance: use BTreeSet, or a Vec in order of id"),
    (
        "EntityHashMap",
        "its order follows Entity bits, which differ after a restore",
    ),
    (
        "EntityHashSet",
        "its order follows Entity bits, which differ after a restore",
    ),
    (
        "Local",
        "a system's memory is not in the state: make it a component or a resource",
    ),
    ("Changed", "a restored World has changed everything: compare with state"),
    (
        "Added",
        "a restored World has added everything: keep a mark in the state",
    ),
    (
        "RemovedComponents",
        "removals are forgotten by a restore: queue in the state",
    ),
    (
        "MessageReader",
        "messages across ticks are not in the state: queue in the state",
    ),
    (
        "MessageWriter",
        "messages across ticks are not in the state: queue in the state",
    ),
    (
        "add_observer",
        "observers run in the order of structure: write a system",
    ),
    ("f32", "sums depend on their order: use integers"),
    ("f64", "sums depend on their order: use integers"),
    ("rand", "chance is a function of seed, tick, id, and purpose"),
    ("sin", "libm differs between machines: use integers"),
    ("cos", "libm differs between machines: use integers"),
    ("atan2", "libm differs between machines: use integers"),
    ("powf", "libm differs between machines: use integers"),
    ("exp", "libm differs between machines: use integers"),
    ("ln", "libm differs between machines: use integers"),
];

/// Files that may use a word nevertheless, and why.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "server/core/src/zone/index.rs",
    "HashMap",
    "looked up by key and never iterated; rebuilt after a restore",
)];

/// Whether `line` has `name` as a whole word, or, if it has `::`, as it is.
fn uses(line: &str, name: &str) -> bool {
    if name.contains("::") {
        return line.contains(name);
    }
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|word| word == name)
}

fn module_of(path: &str) -> &str {
    let inside = path.split("/src/").nth(1).unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// Crates that decide and do not touch.
const PURE: [(&str, &str); 3] = [
    ("protocol", "everhold-protocol"),
    ("server/core", "everhold-core"),
    ("server/sim", "everhold-sim"),
];

/// Packages that are for tests: no program that is shipped is built with one of them.
const FOR_TESTS: [&str; 4] = ["everhold-fuzz", "everhold-models", "everhold-sim", "everhold-testing"];

/// Libraries that no pure crate may depend on, however indirectly: with none of them it can be built for a browser,
/// too.
const OUTSIDE: [&str; 14] = [
    "tokio",
    "mio",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "fred",
    "rusqlite",
    "rustix",
    "nix",
    "socket2",
    "getrandom",
    "crossbeam",
    "tracing-subscriber",
    "tempfile",
];

#[test]
fn pure_crates_do_no_io() {
    let mut breaches = Vec::new();
    for source in PURE.iter().flat_map(|(folder, _)| source::shipped(folder)) {
        for (number, line) in source.shipped() {
            for name in IO.iter().filter(|name| uses(&line, name)) {
                let fix = "pass it in as a value or an event, or move it to a driver";
                breaches.push(format!("{}:{number}: `{name}` in a pure crate: {fix}", source.path));
            }
        }
    }
    report(&breaches);
}

/// The names of all packages that a package is built with, its own among them.
fn built_with(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .current_dir(source::root())
        .output()
        .expect("cargo can be run");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("cargo writes UTF-8");
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn pure_crates_depend_on_nothing_that_touches_the_outside() {
    let mut breaches = Vec::new();
    for (folder, package) in PURE {
        let libraries = built_with(package);
        assert!(libraries.len() > 5, "{package} has dependencies");
        let touching = OUTSIDE
            .iter()
            .filter(|name| libraries.iter().any(|library| library == *name));
        breaches.extend(touching.map(|name| {
            format!("{folder}/Cargo.toml: `{name}` is built into {package}: what needs it belongs into a driver")
        }));
    }
    report(&breaches);
}

#[test]
fn no_release_build_contains_what_is_for_tests() {
    let mut breaches = Vec::new();
    for package in ["everhold", "client-sim"] {
        let libraries = built_with(package);
        let found = FOR_TESTS
            .iter()
            .filter(|name| libraries.iter().any(|library| library == *name));
        breaches
            .extend(found.map(|name| {
                format!("`{name}` is built into {package}: depend on it under `[dev-dependencies]` alone")
            }));
    }
    report(&breaches);
}

#[test]
fn a_library_that_touches_the_outside_is_seen() {
    let libraries = built_with("everhold-net");
    assert!(
        ["tokio", "quinn-proto", "everhold-core"]
            .iter()
            .all(|name| libraries.iter().any(|library| library == name))
    );
}

#[test]
fn simulation_uses_nothing_that_a_restore_would_change() {
    let mut breaches = Vec::new();
    let sources = source::shipped("server/core");
    let simulated = sources
        .iter()
        .filter(|source| ["zone", "game"].contains(&module_of(&source.path)));
    let mut files = 0;
    for source in simulated {
        files += 1;
        for (number, line) in source.shipped() {
            let used = UNSTEADY.iter().filter(|(name, _)| uses(&line, name));
            let used = used.filter(|(name, _)| {
                !EXCEPTIONS
                    .iter()
                    .any(|(path, word, _)| (*path, word) == (source.path.as_str(), name))
            });
            breaches.extend(used.map(|(name, why)| format!("{}:{number}: `{name}`: {why}", source.path)));
        }
    }
    assert!(files >= 40, "zone and game are where they were");
    report(&breaches);
}

#[test]
fn exceptions_are_still_needed() {
    let sources = source::shipped("server/core");
    let needed = |path: &str, name: &str| {
        let lines = sources
            .iter()
            .filter(|source| source.path == path)
            .flat_map(|source| source.shipped());
        lines.into_iter().any(|(_, line)| uses(&line, name))
    };
    let idle = EXCEPTIONS.iter().filter(|(path, name, _)| !needed(path, name));
    report(
        &idle
            .map(|(path, name, _)| format!("{path} has no `{name}` any more: take the exception out"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn words_are_found_whole() {
    assert!(uses("fn f(mut count: Local<'_, u32>)", "Local") && !uses("LocalZone::new()", "Local"));
    assert!(uses("let x = a.sin();", "sin") && !uses("since(single)", "sin"));
    assert!(uses("std::fs::read(path)", "std::fs") && !uses("offsets", "std::fs"));
}

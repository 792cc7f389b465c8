//! No I/O and no clock outside the folders that are for it; nothing in the simulation that could differ after a restore.

use crate::report;
use crate::source;

/// Where the server touches the world outside.
const OUTSIDE: [&str; 5] = ["io", "shard", "testing", "cli", "main"];

const IO: [&str; 15] = [
    "tokio",
    "quinn",
    "quinn_proto",
    "rusqlite",
    "fred",
    "socket2",
    "getrandom",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
];

/// What makes a restored World step differently, or the same World on another machine.
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
    "server/src/zone/index.rs",
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

/// The lines of a crate's files that use one of the names for I/O; `pure` says which modules must not.
fn io_in(crate_name: &str, pure: impl Fn(&str) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in source::shipped(crate_name)
        .iter()
        .filter(|source| pure(module_of(&source.path)))
    {
        for (number, line) in source.shipped() {
            for name in IO.iter().filter(|name| uses(&line, name)) {
                let fix = "pass it in as a value or an event, or move it to `io`";
                breaches.push(format!("{}:{number}: `{name}` in a pure module: {fix}", source.path));
            }
        }
    }
    breaches
}

#[test]
fn only_the_outside_of_the_server_does_io() {
    report(&io_in("server", |module| !OUTSIDE.contains(&module)));
}

#[test]
fn protocol_does_no_io() {
    report(&io_in("protocol", |_| true));
}

#[test]
fn simulation_uses_nothing_that_a_restore_would_change() {
    let mut breaches = Vec::new();
    let sources = source::shipped("server");
    let simulated = sources
        .iter()
        .filter(|source| ["zone", "rules"].contains(&module_of(&source.path)));
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
    assert!(files >= 4, "zone and rules are where they were");
    report(&breaches);
}

#[test]
fn exceptions_are_still_needed() {
    let sources = source::shipped("server");
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

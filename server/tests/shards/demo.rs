//! A demo that is ended before its time leaves neither a process nor a directory behind, however it was ended.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::world::{PATIENCE, alone};

/// Three guardians, three servers, the janitor.
const PROCESSES: usize = 7;

/// Processes that have this directory on their command line.
fn processes_in(directory: &Path) -> Vec<String> {
    let directory = directory.to_string_lossy();
    let entries = fs::read_dir("/proc").expect("a table of processes").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|line| line.contains(&*directory)).collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Demo {
    child: Child,
    directory: TempDir,
}

impl Demo {
    /// A demo whose processes are all there, in a directory of its own.
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new(env!("CARGO_BIN_EXE_everhold"))
            .args(["demo", "--players", "20", "--seconds", "600", "--kill", "never"])
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a demo");
        let demo = Self { child, directory };
        until("all processes of the demo are there", || {
            processes_in(demo.directory.path()).len() >= PROCESSES
        });
        demo
    }

    fn end_by(&mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("the demo lives");
        self.child.wait().expect("a status")
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.directory.path()).is_ok_and(|mut entries| entries.next().is_none())
    }

    fn assert_leaves_nothing(&self) {
        until("all processes of the demo are gone", || {
            processes_in(self.directory.path()).is_empty()
        });
        assert!(self.is_empty(), "its directory is left behind");
    }
}

#[test]
fn a_demo_ends_in_good_order_when_it_is_asked_to() {
    let _alone = alone();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut demo = Demo::start();
        assert_eq!(demo.end_by(signal).code(), Some(code));
        // At once: it waits for its shards, and for its directory's end.
        assert!(demo.is_empty(), "its directory is left behind");
        demo.assert_leaves_nothing();
    }
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    let _alone = alone();
    let mut demo = Demo::start();
    assert_eq!(demo.end_by(Signal::KILL).code(), None);
    demo.assert_leaves_nothing();
}

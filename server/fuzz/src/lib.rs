//! Fuzz targets: functions that take any bytes and must neither panic nor break their invariants. They open no socket
//! and no file.
//!
//! The binary `fuzz` (feature `libfuzzer`) searches for inputs that reach new code; `tests/corpus.rs` replays those
//! that are kept in `corpus/`, one folder for each target.

pub mod control;
pub mod datagrams;
pub mod files;
pub mod machine;
pub mod stored;
pub mod zones;

/// A function to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// The target's name, which is that of its corpus.
    pub name: &'static str,
    /// Takes any bytes. A panic is a fault.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target {
        name: "input_datagram",
        run: datagrams::input,
    },
    Target {
        name: "snapshot_datagram",
        run: datagrams::snapshot,
    },
    Target {
        name: "client_message",
        run: control::client_message,
    },
    Target {
        name: "server_message",
        run: control::server_message,
    },
    Target {
        name: "hello",
        run: control::hello,
    },
    Target {
        name: "ticket",
        run: control::ticket,
    },
    Target {
        name: "client_machine",
        run: machine::client,
    },
    Target {
        name: "inbox",
        run: zones::inbox,
    },
    Target {
        name: "zone",
        run: zones::history,
    },
    Target {
        name: "record",
        run: stored::record,
    },
    Target {
        name: "checkpoint",
        run: stored::checkpoint,
    },
    Target {
        name: "world_file",
        run: files::world,
    },
    Target {
        name: "configuration",
        run: files::configuration,
    },
];

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

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
pub struct FuzzTarget {
    /// The target's name, which is that of its corpus.
    pub name: &'static str,
    /// Takes any bytes. A panic is a fault.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [FuzzTarget; 14] = [
    FuzzTarget {
        name: "input_datagram",
        run: datagrams::input,
    },
    FuzzTarget {
        name: "snapshot_datagram",
        run: datagrams::snapshot,
    },
    FuzzTarget {
        name: "client_message",
        run: control::client_message,
    },
    FuzzTarget {
        name: "server_message",
        run: control::server_message,
    },
    FuzzTarget {
        name: "hello",
        run: control::hello,
    },
    FuzzTarget {
        name: "ticket",
        run: control::ticket,
    },
    FuzzTarget {
        name: "client_machine",
        run: machine::client,
    },
    FuzzTarget {
        name: "inbox",
        run: zones::inbox,
    },
    FuzzTarget {
        name: "zone",
        run: zones::history,
    },
    FuzzTarget {
        name: "record",
        run: stored::record,
    },
    FuzzTarget {
        name: "history_file",
        run: stored::history_file,
    },
    FuzzTarget {
        name: "checkpoint",
        run: stored::checkpoint,
    },
    FuzzTarget {
        name: "world_file",
        run: files::world,
    },
    FuzzTarget {
        name: "configuration",
        run: files::configuration,
    },
];

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<FuzzTarget> {
    TARGETS.into_iter().find(|target| target.name == name)
}

//! The hot paths whose instructions are counted: each once, on a world that has run for some ticks. Everything depends
//! on fixed seeds.

use std::hint::black_box;

use everhold_core::durability::record::Record;
use everhold_core::replication::{Replicator, ViewConfig};
use everhold_core::zone::{Cut, Zone};
use everhold_protocol::{Epoch, InputFrame, Tick, TickHeader};

use crate::run::BenchRun;
use crate::{Crowding, Turning, Walkers, scene};

/// Players of every world: enough that their costs outweigh the fixed ones.
const PLAYERS: usize = 1_000;
/// Ticks before the one that is measured: buffers have grown.
const TICKS_BEFORE: usize = 3;
/// Ticks before the measured snapshots: no player is new to another, and all have turned.
const SNAPSHOTS_BEFORE: u64 = 41;

/// A path's name, and the function that prepares and measures it.
pub type HotPath = (&'static str, fn());

/// Every hot path.
pub const HOT_PATHS: [HotPath; 13] = [
    ("inbox", inbox),
    ("record_encode", record_encode),
    ("record_decode", record_decode),
    ("step", step),
    ("scene", scene_of_a_zone),
    ("digest", digest),
    ("freeze_base", freeze_base),
    ("encode_base", encode_base),
    ("restore", restore),
    ("snapshots_spread", snapshots_spread),
    ("snapshots_restless", snapshots_restless),
    ("snapshots_stacked", snapshots_stacked),
    ("input_decode", input_decode),
];

/// Runs a path. The instructions inside this function are counted.
#[inline(never)]
fn measured<T>(path: impl FnOnce() -> T) -> T {
    black_box(path())
}

fn run() -> BenchRun {
    let mut run = BenchRun::new(PLAYERS, Crowding::Spread, Turning::Always);
    for _ in 0..TICKS_BEFORE {
        let entries = run.entries();
        run.tick(entries);
    }
    run
}

fn inbox() {
    let mut run = run();
    let entries = run.entries();
    assert_eq!(measured(|| run.drain(entries)), PLAYERS);
}

fn record_encode() {
    let mut run = run();
    let inputs = run.inputs();
    measured(|| run.freeze(inputs));
}

fn record_decode() {
    let mut run = run();
    let inputs = run.inputs();
    let (stored, inputs) = run.freeze(inputs);
    let record = measured(|| Record::decode(&stored));
    assert_eq!(record.map(|record| record.inputs), Ok(inputs));
}

fn step() {
    let mut run = run();
    let inputs = run.inputs();
    measured(|| run.zone().step(&inputs));
}

fn scene_of_a_zone() {
    let mut run = run();
    measured(|| run.scene());
}

fn digest() {
    let mut run = run();
    measured(|| run.zone().digest());
}

fn freeze_base() {
    let mut run = run();
    measured(|| run.zone().freeze(Cut::Base));
}

fn encode_base() {
    let frozen = run().zone().freeze(Cut::Base);
    measured(|| frozen.encode());
}

fn restore() {
    let mut run = run();
    let base = run.zone().capture(Cut::Base);
    let config = run.config.clone();
    let restored = measured(|| Zone::restore(config, &[&base.body]));
    assert!(restored.is_ok(), "a base restores");
}

fn snapshots_spread() {
    snapshots(Crowding::Spread, Turning::Seldom);
}

fn snapshots_restless() {
    snapshots(Crowding::Spread, Turning::Always);
}

fn snapshots_stacked() {
    snapshots(Crowding::Stacked, Turning::Seldom);
}

fn snapshots(crowding: Crowding, turning: Turning) {
    let (mut scene, mut walkers) = (scene(PLAYERS, crowding), Walkers::new(PLAYERS, turning));
    let mut replicator = Replicator::new(ViewConfig::default());
    for tick in (1..=SNAPSHOTS_BEFORE).map(Tick) {
        walkers.walk(&mut scene);
        replicator.snapshots(&scene, TickHeader::stored(Epoch(1), tick));
    }
    walkers.walk(&mut scene);
    measured(|| replicator.snapshots(&scene, TickHeader::stored(Epoch(1), Tick(SNAPSHOTS_BEFORE + 1))));
}

fn input_decode() {
    let datagrams = run().datagrams();
    let frames = measured(|| {
        datagrams
            .iter()
            .map(|bytes| InputFrame::decode(bytes))
            .filter(Result::is_ok)
            .count()
    });
    assert_eq!(frames, PLAYERS);
}

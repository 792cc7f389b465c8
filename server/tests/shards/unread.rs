//! Logs of shards that are not read: a log's reader that is gone, and one that has stopped reading. Nothing else
//! changes.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use everhold_protocol::Epoch;
use everhold_testing::player::OldConnections;
use everhold_testing::redis::Persistence;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// The lease of these tests, twice over.
const TWO_LEASES: Duration = Duration::from_secs(2);

/// Fills the pipe: the next write to it waits for ever.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let flags = fcntl_getfl(writer.as_fd()).expect("flags");
    fcntl_setfl(writer.as_fd(), flags | OFlags::NONBLOCK).expect("flags");
    // Whole pages first, then what is left of the last one.
    for chunk in [4_096, 1] {
        while writer.write(&vec![b'x'; chunk]).is_ok() {}
    }
    fcntl_setfl(writer.as_fd(), flags).expect("flags");
    (reader, writer)
}

/// Server and guardian have much to say: the store is away for longer than the lease, then the server is stopped and
/// killed by its guardian. The zone plays on each time, and at the end nothing is left.
async fn plays_on(log: impl Into<OwnedFd>) {
    let mut world = World::on_redis(Persistence::None);
    world.cluster.log_to(log.into());
    let owner = world.shard(&all_zones());
    let spare = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.until_told_of(world.cluster.all[spare].addr).await;

    world.redis().signal(Signal::STOP);
    tokio::time::sleep(TWO_LEASES).await;
    world.redis().signal(Signal::CONT);
    let later = player.until_attached_above(epoch).await;
    player.until_snapshot().await;

    let adopted = world.cluster.adoptions.len();
    world.cluster.listen();
    let holder = if world.cluster.adoptions[adopted..]
        .iter()
        .any(|a| a.process == spare && a.report.zone == meadow())
    {
        spare
    } else {
        owner
    };
    world.cluster.signal(holder, Signal::STOP).expect("a signal");
    let status = world
        .cluster
        .wait_until_dead(holder, PATIENCE)
        .expect("its guardian kills it");
    assert_eq!(status, "exit status: 137", "and says how it ended");
    assert!(player.until_attached_above(later).await > later);
    player.until_snapshot().await;

    let pids: Vec<u32> = world.cluster.all.iter().map(|process| process.pid).collect();
    world.cluster.stop().expect("a stop in good order");
    for pid in pids {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "server {pid} is left behind"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_is_gone_changes_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    plays_on(writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_has_stopped_reading_changes_nothing() {
    let (_reader, writer) = full();
    plays_on(writer).await;
}

//! Durability level `replica`, with players: replicas stop and come back, and a primary dies together with a shard.

use std::time::Duration;

use client_sim::SwarmReport;
use everhold_testing::redis::SentinelGroup;
use rustix::process::Signal;

use crate::play::{Form, PATIENCE, Play, World, zone};

/// Level `replica`: the configuration has no flag for the number of replicas.
const CONFIGURATION: &str = "[durability]\nlevel = \"replica\"\nreplicas = 2\n";

/// Servers that take no write without two replicas. They notice that one is gone only after longer than it is gone in
/// these tests: until then it is `WAIT` that holds what must not be shown.
const GUARDED: [&str; 4] = ["--min-replicas-to-write", "2", "--min-replicas-max-lag", "10"];

const FORM: Form = Form {
    players: 60,
    seconds: 0.0,
};

/// Time for which players play on, at level `store`, while no replica hears of it.
const UNHEARD: Duration = Duration::from_secs(2);

fn world_at_replica(redis: &SentinelGroup, directory: &tempfile::TempDir) -> World {
    let file = directory.path().join("replica.toml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    World::with(&redis.url(), &["--config", &file.to_string_lossy()])
}

fn replicas(redis: &SentinelGroup) -> Vec<usize> {
    let primary = redis.primary();
    (0..3).filter(|server| *server != primary).collect()
}

#[test]
fn players_wait_while_a_replica_is_stopped_and_go_on_when_it_is_back() {
    let (redis, directory) = (SentinelGroup::start_with(&GUARDED), tempfile::tempdir().unwrap());
    let mut world = world_at_replica(&redis, &directory);
    let play = Play::start(&world, &FORM);
    play.until_all_play("at first");
    let stopped = replicas(&redis)[0];
    redis.server(stopped).signal(Signal::STOP);
    play.until("nothing is shown that it has not confirmed", |now| {
        now.silent == now.players
    });
    let alarmed = |cluster: &everhold_local_cluster::LocalCluster| {
        let mut alarms = cluster.unconfirmed.iter();
        alarms.any(|(_, zone, why)| {
            let why = why.as_deref().unwrap_or_default();
            *zone == crate::play::zone() && why.contains("1 replicas of Redis confirm")
        })
    };
    world
        .cluster
        .wait_until("an alarm says why", PATIENCE, alarmed)
        .unwrap();
    redis.server(stopped).signal(Signal::CONT);
    play.until_all_play("after the replica is back");
    let is_over = |cluster: &everhold_local_cluster::LocalCluster| {
        let of_meadow = cluster.unconfirmed.iter().rfind(|(_, name, _)| *name == zone());
        of_meadow.is_some_and(|(_, _, why)| why.is_none())
    };
    world
        .cluster
        .wait_until("the alarm is over", PATIENCE, is_over)
        .unwrap();
    let report = play.finish(&mut world);
    assert_eq!(report.rewound_ticks, 0);
}

/// The replicas are cut off; players play on for a while, as far as they are let; then the primary dies together with
/// the shard that serves meadow. Returns what became of the players.
fn play_through_a_double_death(mut redis: SentinelGroup, mut world: World) -> (SwarmReport, World) {
    let play = Play::start(&world, &FORM);
    play.until_all_play("at first");
    let primary = redis.primary();
    for replica in replicas(&redis) {
        assert_eq!(redis.server(replica).command(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    }
    std::thread::sleep(UNHEARD);
    redis.kill(primary);
    let owner = world.owner();
    world.cluster.kill(owner).unwrap();
    redis.wait_until_primary_is_not(primary);
    redis.start_again(primary);
    redis.wait_until_whole();
    let settled = |cluster: &everhold_local_cluster::LocalCluster| cluster.is_settled();
    world
        .cluster
        .wait_until("the other shard has its zones", PATIENCE, settled)
        .unwrap();
    play.until_all_play("after both deaths");
    (play.end(&mut world), world)
}

#[test]
fn primary_and_shard_that_die_together_take_nothing_with_them() {
    let (redis, directory) = (SentinelGroup::start_with(&GUARDED), tempfile::tempdir().unwrap());
    let world = world_at_replica(&redis, &directory);
    let (report, world) = play_through_a_double_death(redis, world);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.rewound_ticks, 0);
    assert!(!report.failovers.is_empty(), "meadow changed hands");
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}

/// The same at level `store`: what it acknowledged is gone with the primary, so that the test above proves something.
#[test]
fn at_store_a_primary_whose_replicas_lag_takes_ticks_with_it_that_were_shown() {
    let redis = SentinelGroup::start();
    let world = World::with(&redis.url(), &[]);
    let (report, _) = play_through_a_double_death(redis, world);
    assert!(report.rewound_ticks > 0, "{report:#?}");
}

//! Leases and the directory of shards in another place than zone data and homes.

use std::path::Path;
use std::process::{Command, Stdio};

use everhold_testing::redis::{Persistence, RedisServer};

use crate::redis::{assert_whole_after_a_kill, playing};
use crate::world::{World, all_zones};

/// A player plays on a shard, which dies, and plays on at the heir, which finds lease and zone in their places.
async fn assert_failover(world: &mut World, arguments: &[&str]) {
    let owner = world.shard_with(&all_zones(), arguments);
    let heir = world.shard_with(&[], arguments);
    let (mut player, _, _) = playing(world).await;
    assert_whole_after_a_kill(world, owner, heir, &mut player).await;
}

fn has_key(redis: &RedisServer, key: &str) -> bool {
    redis.command(&["EXISTS", &format!("everhold:{key}")]) == "1"
}

/// Returns the output of `inspect` for a world.
fn inspect(state: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_everhold"))
        .args(["inspect", "--json", "--state"])
        .arg(state)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_in_files_with_leases_in_redis_are_followed_by_the_spare() {
    let redis = RedisServer::start(Persistence::None);
    let mut world = World::new();
    let url = redis.url();
    assert_failover(&mut world, &["--authority", &url]).await;
    assert!(has_key(&redis, "{meadow}:lease") && has_key(&redis, "shards"));
    assert!(!has_key(&redis, "{meadow}:meta") && !has_key(&redis, "home:7"));
    let state = world.cluster.world();
    assert!(state.join("zone-meadow.db").is_file());
    let rows = inspect(&state, &["--authority", &url]);
    assert!(rows.contains("meadow") && rows.contains("fence_epoch"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_in_redis_with_leases_in_files_are_followed_by_the_spare() {
    let mut world = World::on_redis(Persistence::None);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = format!("file:{}", directory.path().display());
    assert_failover(&mut world, &["--authority", &authority]).await;
    assert!(directory.path().join("world.db").is_file());
    let redis = world.redis();
    assert!(has_key(redis, "{meadow}:meta") && has_key(redis, "home:7"));
    assert!(!has_key(redis, "{meadow}:lease") && !has_key(redis, "shards"));
}

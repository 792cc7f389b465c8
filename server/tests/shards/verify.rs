//! `everhold verify` on real files: what is damaged is found, with a code each, and what is whole is not.

use std::process::{Command, Stdio};

use everhold_local_cluster::Who;
use everhold_testing::redis::RedisServer;
use rustix::process::Signal;

use crate::world::{World, meadow};

/// Deltas often, and no base between the first ones and that of the stop: the journal goes on from the first ones, so
/// all of it is there, whenever the stop comes.
const CHECKPOINTS: &str = "[durability]\ndelta_ms = 300\nbase_ms = 60_000\n[archive]\ninterval_ms = 60_000\n";

/// Runs the command on a world, with these flags. Returns its exit code, and what it printed.
pub(crate) fn verified(world: &World, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everhold"));
    command
        .arg("verify")
        .args(flags)
        .arg("--state")
        .arg(world.cluster.world());
    if let Some(url) = world.redis.as_ref().map(RedisServer::url) {
        command.args(["--store", &url]);
    }
    let output = command.stdin(Stdio::null()).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), text)
}

/// A world that was played in and stopped.
async fn stopped() -> World {
    let mut world = World::with_endless_leases();
    let shard = world.shard_configured(&[meadow()], CHECKPOINTS);
    let (mut player, ..) = crate::redis::playing(&world).await;
    for _ in 0..60 {
        player.until_snapshot().await;
    }
    world
        .cluster
        .signal_to(shard, Who::Guardian, Signal::TERM)
        .expect("a signal");
    world.until_stopped(shard);
    world
}

/// Changes a file of the world by SQL.
fn change(world: &World, file: &str, sql: &str) {
    let file = rusqlite::Connection::open(world.cluster.world().join(file)).expect("it is there");
    assert!(file.execute(sql, []).expect("SQL") > 0, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_store_and_archive_is_found_with_a_code_each() {
    let table = [
        (
            "zone-meadow.db",
            "UPDATE record SET body = x'00' WHERE tick = (SELECT max(tick) - 1 FROM record)",
            "record_damaged",
        ),
        (
            "zone-meadow.db",
            "DELETE FROM record WHERE tick = (SELECT max(tick) - 1 FROM record)",
            "records_missing",
        ),
        (
            "zone-meadow.db",
            "UPDATE part SET bytes = substr(bytes, 1, length(bytes) - 1) WHERE rowid = (SELECT max(rowid) FROM part)",
            "checkpoint_unread",
        ),
        (
            "zone-meadow.db",
            "DELETE FROM part WHERE rowid = (SELECT max(rowid) FROM part)",
            "checkpoint_unread",
        ),
        (
            "world.db",
            "UPDATE rules_file SET text = replace(text, 'hp = 100', 'hp = 101')",
            "world_file_damaged",
        ),
        ("archive.db", "UPDATE characters SET gold = gold + 1", "row_differs"),
        ("archive.db", "UPDATE zone_blob_parts SET bytes = x'00'", "blob_damaged"),
    ];
    let world = stopped().await;
    let (code, words) = verified(&world, &["--replay"]);
    assert!(code == Some(0) && words.contains("nothing is damaged"), "{words}");
    for (file, sql, expected) in table {
        let path = world.cluster.world().join(file);
        let whole = std::fs::read(&path).expect("readable");
        change(&world, file, sql);
        let (code, words) = verified(&world, &[]);
        assert!(
            code == Some(1) && words.contains(&format!("[{expected}]")),
            "{sql}: {code:?}: {words}"
        );
        for suffix in ["-wal", "-shm"] {
            let _gone = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
        std::fs::write(&path, whole).expect("writable");
    }
    assert_eq!(verified(&world, &[]).0, Some(0), "it is whole again");
}

#[test]
fn place_without_a_world_is_told_from_damage() {
    let world = World::with_endless_leases();
    let (code, words) = verified(&world, &[]);
    assert!(
        code == Some(2) && words.contains("there is no world"),
        "{code:?}: {words}"
    );
}

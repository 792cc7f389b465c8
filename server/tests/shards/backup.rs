//! A backup that is made while people play, and the world that is begun from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client_sim::{Control, SwarmConfig};
use everhold_protocol::{Epoch, ServerMessage, SessionId, Tick};
use everhold_testing::player::{OldConnections, Player};
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::{Persistence, RedisServer};

use crate::archive::{BALANCES, DATABASE, GIFTS, assert_balanced, in_file, in_postgres, stop};
use crate::ledger::{all_trade, trade_orders, traders};
use crate::rest::{log_in, possessions, quick, until_characters};
use crate::verify::verified;
use crate::visitor::{Visitor, resume};
use crate::world::{PATIENCE, World, all_zones, meadow};

/// An account that is banned when the backup is made.
const BANNED: &str = "77";
/// An account that logged out before the backup, and left its zone.
const RESTED: u64 = 700_001;
/// An account whose session is resumed in the restored world.
const RESUMING: u64 = 700_002;
/// Accounts that log in and out while the backup is made.
const RESTLESS: std::ops::Range<u64> = 700_010..700_018;

/// The configuration that the shards of a world were started with.
fn config(world: &World) -> PathBuf {
    world.cluster.keys().with_file_name("other.toml")
}

/// The command `everhold` on this world, or, with `state`, on another place.
fn command(world: &World, words: &[&str], state: Option<&Path>) -> Command {
    let place = world.cluster.world();
    let mut command = Command::new(&world.cluster.binary);
    command.args(words).arg("--config").arg(config(world));
    command.arg("--state").arg(state.unwrap_or(&place));
    if let Some(url) = world.redis.as_ref().filter(|_| state.is_none()).map(RedisServer::url) {
        command.args(["--store", &url]);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it. Returns its exit code and what it said.
fn run(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), text)
}

fn everhold(world: &World, words: &[&str], state: Option<&Path>) -> (Option<i32>, String) {
    run(command(world, words, state))
}

fn succeeds(world: &World, words: &[&str]) -> String {
    let (code, text) = everhold(world, words, None);
    assert_eq!(code, Some(0), "{words:?}: {text}");
    text
}

/// The lines of a backup's summary, without the name of its file.
fn summary(text: &str) -> Vec<&str> {
    let counts = text
        .lines()
        .filter_map(|line| line.split_once(": ").filter(|(file, _)| file.ends_with(".backup")));
    let sums = text.lines().filter(|line| line.starts_with("all characters together"));
    counts.map(|(_, counts)| counts).chain(sums).collect()
}

fn backup_path(world: &World, name: &str) -> String {
    let path = world.cluster.keys().with_file_name(name);
    path.to_string_lossy().into_owned()
}

/// Players who trade until they are told to stop, on a thread of their own.
struct Traders {
    are_to_stop: Arc<AtomicBool>,
    play: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Traders {
    fn start(world: &World, shard: usize) -> Self {
        let orders = SwarmConfig {
            zones: all_zones(),
            ..trade_orders(world, world.cluster.all[shard].addr, traders())
        };
        let (are_to_stop, play) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopping, playing) = (Arc::clone(&are_to_stop), Arc::clone(&play));
        let thread = std::thread::spawn(move || {
            let report = client_sim::run(orders, &mut |progress| {
                playing.fetch_or(all_trade(progress, 2.0), Ordering::Relaxed);
                if stopping.load(Ordering::Relaxed) {
                    Control::Stop
                } else {
                    Control::Continue
                }
            });
            drop(report.expect("a run"));
        });
        Self {
            are_to_stop,
            play,
            thread,
        }
    }

    async fn until_they_play(&self) {
        let since = Instant::now();
        while !self.play.load(Ordering::Relaxed) {
            assert!(since.elapsed() < 2 * PATIENCE, "they do not play");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn stop(self) {
        self.are_to_stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("they played");
    }
}

/// Logs in and out, for as long as a backup is made in another thread. Returns what that said.
async fn back_up_among_restless(world: &World, path: &str) -> String {
    let is_over = Arc::new(AtomicBool::new(false));
    let (command, over) = (command(world, &["backup", path], None), Arc::clone(&is_over));
    let backup = std::thread::spawn(move || {
        let said = run(command);
        over.store(true, Ordering::Relaxed);
        said
    });
    // Some of them are in the middle of it when they are copied.
    for account in RESTLESS.cycle() {
        log_in(world, account).await.logout();
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    let (code, said) = backup.join().expect("a backup");
    assert_eq!(code, Some(0), "{said}");
    said
}

/// The session that a visitor is attached to, once its zone has it.
async fn attached_after_waiting(visitor: &mut Visitor) -> SessionId {
    loop {
        match visitor.hear().await {
            ServerMessage::Wait => {}
            ServerMessage::Attached(attached) => return attached.session,
            other => panic!("not attached: {other:?}"),
        }
    }
}

/// The highest epoch that any zone has had.
fn highest_epoch(world: &World) -> Epoch {
    let epochs = world.cluster.adoptions.iter().map(|adoption| adoption.report.epoch);
    epochs.max().expect("an owner")
}

/// Asserts that this shard adopted every zone under a higher epoch, and goes on from where it was.
fn assert_every_zone_is_above(world: &World, shard: usize, highest: Epoch) {
    let adoptions = world.cluster.adoptions.iter();
    let risen = adoptions.filter(|adoption| adoption.process == shard);
    let risen: BTreeMap<_, _> = risen
        .map(|a| (a.report.zone.clone(), (a.report.epoch, a.report.last_tick)))
        .collect();
    assert_eq!(risen.len(), all_zones().len());
    for (zone, (epoch, tick)) in &risen {
        assert!(
            *epoch > highest && *tick > Tick(0),
            "{zone} goes on: {risen:?}, above {highest}"
        );
    }
}

/// Backs a world up while people play, wipes it, and restores it.
async fn assert_restored_whole(world: &mut World, lines: &str, wipe: impl FnOnce(&mut World)) -> usize {
    let shards = [
        world.shard_configured(&all_zones()[..1], lines),
        world.shard_configured(&all_zones()[1..], lines),
    ];
    let rested = log_in(world, RESTED).await;
    let before = possessions(&rested);
    rested.logout();
    until_characters(world, shards[0], 0);
    let mut resuming = Visitor::log_in(world, RESUMING).await;
    let (session, secret, epoch) = resuming.hear_attached().await;
    for account in RESTLESS {
        log_in(world, account).await.logout();
    }
    succeeds(world, &["account", "ban", BANNED, "--by", "anne"]);
    let traders = Traders::start(world, shards[0]);
    traders.until_they_play().await;
    let path = backup_path(world, "first.backup");
    let said = back_up_among_restless(world, &path).await;
    traders.stop();
    drop(resuming);
    world.cluster.listen();
    let highest = highest_epoch(world);
    for shard in shards {
        world.cluster.kill(shard).expect("a kill");
    }
    wipe(world);

    succeeds(world, &["restore", &path]);
    let again = succeeds(world, &["backup", &backup_path(world, "second.backup")]);
    assert_eq!(
        summary(&said),
        summary(&again),
        "what was restored is what was backed up"
    );
    let shown = succeeds(world, &["account", "show", BANNED]);
    assert!(shown.contains("anne"), "{shown}");
    let config = config(world);
    let (code, words) = verified(world, &["--config", &config.to_string_lossy()]);
    assert_eq!(code, Some(0), "{words}");

    let shard = world.shard_configured(&all_zones(), lines);
    assert_every_zone_is_above(world, shard, highest);
    let credential = resume(&meadow(), session, secret, epoch);
    let mut resumed = Visitor::knock(&world.keys, world.cluster.all[shard].addr, credential).await;
    assert_eq!(attached_after_waiting(&mut resumed).await, session);
    let woken = log_in(world, RESTED).await;
    assert_eq!(possessions(&woken), before);
    woken.logout();
    drop(resumed);
    shard
}

#[tokio::test(flavor = "multi_thread")]
async fn world_in_files_is_restored_as_it_was_backed_up_during_play() {
    let mut world = World::with_default_leases();
    let lines = quick(&world, "");
    let wipe = |world: &mut World| std::fs::remove_dir_all(world.cluster.world()).expect("it was there");
    let shard = assert_restored_whole(&mut world, &lines, wipe).await;
    stop(&mut world, shard);
    let file = world.cluster.world().join("archive.db");
    let coins = assert_balanced(&in_file(&file, BALANCES, 5));
    assert_eq!(coins.len(), traders() + 2 + RESTLESS.count());
    assert!(in_file(&file, GIFTS, 1)[0][0] > 0, "they traded");
}

#[tokio::test(flavor = "multi_thread")]
async fn world_on_redis_and_postgres_is_restored_as_it_was_backed_up_during_play() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let lines = quick(&world, &format!("url = \"{}\"\n", server.url(DATABASE)));
    let wipe = |world: &mut World| {
        assert_eq!(world.redis().command(&["FLUSHALL"]), "OK");
        server.sql("postgres", &format!("DROP DATABASE {DATABASE} WITH (FORCE)"));
        server.create_database(DATABASE);
    };
    let shard = assert_restored_whole(&mut world, &lines, wipe).await;
    stop(&mut world, shard);
    let coins = assert_balanced(&in_postgres(&server, BALANCES));
    assert_eq!(coins.len(), traders() + 2 + RESTLESS.count());
    assert!(in_postgres(&server, GIFTS)[0][0] > 0, "they traded");
}

#[tokio::test(flavor = "multi_thread")]
async fn world_without_an_archive_is_restored_with_everybody_at_home() {
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let lines = world.numbers("quick.toml", "linger_ms = 30_000", "linger_ms = 100");
    let shard = world.shard_configured(&all_zones(), &lines);
    let player = log_in(&world, 7).await;
    let before = possessions(&player);
    player.logout();
    let other = log_in(&world, 8).await;
    let path = backup_path(&world, "world.backup");
    let said = succeeds(&world, &["backup", &path]);
    drop(other);
    world.cluster.kill(shard).expect("a kill");
    assert_eq!(world.redis().command(&["FLUSHALL"]), "OK");
    succeeds(&world, &["restore", &path]);
    let again = succeeds(&world, &["backup", &backup_path(&world, "again.backup")]);
    assert_eq!(summary(&said), summary(&again));
    world.shard_configured(&all_zones(), &lines);
    // The ticket says where a new character would be born.
    let elsewhere = &all_zones()[1];
    let mut again = world.player(7, elsewhere, OldConnections::Close);
    again.until_attached_above(Epoch::NONE).await;
    assert_eq!(possessions(&again), before);
}

/// A world in files with a player in it, that was backed up, and its shard.
async fn backed_up(mut world: World) -> (World, usize, String, Player) {
    let shard = world.shard_configured(&all_zones(), "[archive]\ninterval_ms = 1000\n");
    let player = log_in(&world, 7).await;
    let path = backup_path(&world, "world.backup");
    succeeds(&world, &["backup", &path]);
    (world, shard, path, player)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_while_a_shard_lives_or_over_a_world() {
    let (mut world, shard, path, _player) = backed_up(World::unguarded()).await;
    let (code, text) = everhold(&world, &["restore", &path], None);
    assert!(code == Some(1) && text.contains("[shards_alive]"), "{code:?}: {text}");
    world.cluster.kill(shard).expect("a kill");
    let (code, text) = everhold(&world, &["restore", &path], None);
    assert!(text.contains("watching for"), "its leases were not released: {text}");
    assert!(code == Some(1) && text.contains("[not_empty]"), "{code:?}: {text}");
    world.shard_configured(&all_zones(), "");
    let (code, text) = everhold(&world, &["backup", &path], None);
    assert!(
        code == Some(64) && text.contains("is there already"),
        "{code:?}: {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_that_is_cut_short_or_changed_is_found_and_nothing_is_written() {
    let (world, _shard, path, _player) = backed_up(World::new()).await;
    let whole = std::fs::read(&path).expect("a backup");
    succeeds(&world, &["verify", "--backup", &path]);
    let elsewhere = world.cluster.keys().with_file_name("elsewhere");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let mut later = whole.clone();
    later[8] = 9;
    let damaged = [
        (whole[..whole.len() - 9].to_vec(), "[backup_truncated]"),
        (flipped, "[backup_damaged]"),
        (later, "[layout_unknown]"),
        (b"hello".to_vec(), "[no_backup]"),
    ];
    for (bytes, code) in damaged {
        std::fs::write(&path, bytes).expect("writable");
        let (status, text) = everhold(&world, &["restore", &path], Some(&elsewhere));
        assert!(status == Some(1) && text.contains(code), "{code}: {status:?}: {text}");
        assert!(!elsewhere.exists(), "{code}: nothing is written");
        let (status, text) = everhold(&world, &["verify", "--backup", &path], None);
        assert!(status == Some(1) && text.contains(code), "{code}: {status:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_that_was_killed_starts_no_shard_and_is_done_anew() {
    let (mut world, shard, path, player) = backed_up(World::new().sabotaged()).await;
    let before = possessions(&player);
    drop(player);
    world.cluster.kill(shard).expect("a kill");
    std::fs::remove_dir_all(world.cluster.world()).expect("it was there");
    let (code, text) = everhold(&world, &["--failpoint", "zone-restored@harbor", "restore", &path], None);
    assert_eq!(code, None, "it is killed: {text}");

    let place = world.cluster.world();
    let keys = world.cluster.keys();
    let (code, text) = crate::world::shard_that_ends(&place, &keys, &["--no-guardian", "--listen", "127.0.0.1:0"]);
    assert!(
        code == Some(1) && text.contains("run `everhold restore FILE` once more"),
        "{code:?}: {text}"
    );
    let (code, text) = everhold(&world, &["backup", &backup_path(&world, "half.backup")], None);
    assert!(
        code == Some(1) && text.contains("[restore_unfinished]"),
        "{code:?}: {text}"
    );

    let said = succeeds(&world, &["restore", &path]);
    assert!(said.contains("it is done anew"), "{said}");
    let (code, words) = verified(&world, &[]);
    assert_eq!(code, Some(0), "{words}");
    world.shard_configured(&all_zones(), "[archive]\ninterval_ms = 1000\n");
    let again = log_in(&world, 7).await;
    assert_eq!(possessions(&again), before);
}

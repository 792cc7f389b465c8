//! Stored data is damaged: one bit flips in the store, the zone's shard dies, and another adopts it.

use everhold_core::durability::store::{CheckpointKind, Position, ZoneOutline, ZoneStore};
use everhold_core::ownership::{Authority, OwnerMark};
use everhold_local_cluster::ReportedAdoption;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Tick};
use everhold_store::redis::{RedisStore, RedisTarget};
use everhold_store::sqlite::{SqliteAuthority, SqliteStore};
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::redis::playing;
use crate::verify::verified;
use crate::world::{PATIENCE, World, meadow};

/// Checkpoints so often that a test soon has two bases, with deltas.
const CHECKPOINTS: &str = "[durability]\ndelta_ms = 300\nbase_ms = 1500\n";

/// The place of the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    Base,
    Delta,
    Record(Tick),
}

/// Flips a bit of a zone that no process writes to.
fn flip(world: &World, outline: &ZoneOutline, struck: Struck) {
    let heads = outline.chain.iter().rev();
    let mut positions = heads.map(|head| (head.position, head.kind == CheckpointKind::Base));
    let position = positions.find(|(_, is_base)| *is_base == (struck == Struck::Base));
    let (position, _) = position.expect("the chain has both");
    match &world.redis {
        Some(redis) => {
            let (key, field) = match struck {
                Struck::Record(tick) => ("journal", tick.to_string()),
                Struck::Base | Struck::Delta => ("parts", field(position)),
            };
            let script = "local v = redis.call('HGET', KEYS[1], ARGV[1]) \
                local at = #v - 2 \
                local byte = bit.bxor(string.byte(v, at), 1) \
                local flipped = string.sub(v, 1, at - 1) .. string.char(byte) .. string.sub(v, at + 1) \
                redis.call('HSET', KEYS[1], ARGV[1], flipped) \
                return 'flipped'";
            let key = format!("everhold:{{meadow}}:{key}");
            assert_eq!(redis.command(&["EVAL", script, "1", &key, &field]), "flipped");
        }
        None => {
            let file =
                rusqlite::Connection::open(world.cluster.world().join("zone-meadow.db")).expect("the zone's file");
            let (table, column, place) = match struck {
                Struck::Record(tick) => ("record", "body", format!("tick = {tick}")),
                Struck::Base | Struck::Delta => {
                    let Position { epoch, tick, .. } = position;
                    (
                        "part",
                        "bytes",
                        format!("tick = {tick} AND epoch = {epoch} AND idx = 0"),
                    )
                }
            };
            let select = format!("SELECT {column} FROM {table} WHERE {place}");
            let mut bytes: Vec<u8> = file.query_row(&select, [], |row| row.get(0)).expect("it is there");
            let at = bytes.len() - 3;
            bytes[at] ^= 1;
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {place}");
            assert_eq!(file.execute(&update, [bytes]).expect("it can be written"), 1);
        }
    }
}

fn field(Position { epoch, tick, hash }: Position) -> String {
    let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{epoch} {tick} {hex} 0")
}

/// Looks at the world with `everhold verify`. Returns its exit code.
fn found_by_verify(world: &World) -> Option<i32> {
    verified(world, &[]).0
}

/// Whether there are two bases, a delta on the newer one, and at least four records after it.
fn is_worth_damaging(outline: &ZoneOutline) -> bool {
    let bases = outline.chain.iter().filter(|head| head.kind == CheckpointKind::Base);
    let head = outline.chain.last();
    let (_, last) = outline.journal.unwrap_or_default();
    let follows = head.is_some_and(|head| head.kind != CheckpointKind::Base && head.position.tick + 4 <= last);
    bases.count() == 2 && follows
}

async fn store(world: &World) -> Box<dyn ZoneStore> {
    match &world.redis {
        Some(redis) => {
            let target = RedisTarget::new(&redis.url(), "everhold").expect("its own URL");
            Box::new(RedisStore::open(&target).await.expect("it answers"))
        }
        None => Box::new(SqliteStore::open(&world.cluster.world()).expect("the world")),
    }
}

/// Stops the owner at a moment at which its data is worth damaging, and kills it.
async fn kill_worth_damaging(world: &mut World, owner: usize) -> ZoneOutline {
    let store = store(world).await;
    loop {
        let outline = store.outline(&meadow(), None).await.expect("readable");
        if is_worth_damaging(&outline) {
            world.cluster.signal(owner, Signal::STOP).expect("it lives");
            let outline = store.outline(&meadow(), None).await.expect("readable");
            if is_worth_damaging(&outline) {
                world.cluster.kill(owner).expect("a kill");
                return store.outline(&meadow(), None).await.expect("readable");
            }
            world.cluster.signal(owner, Signal::CONT).expect("it lives");
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Plays, damages what is stored, and lets a spare adopt it. Checks that the player is told what the report says, and
/// that the next owner finds a whole zone. Returns the report, and the last tick that the store had.
async fn adopted_in_spite_of(mut world: World, struck: impl Fn(&ZoneOutline) -> Struck) -> (ReportedAdoption, Tick) {
    let owner = world.shard_configured(&[meadow()], CHECKPOINTS);
    let heir = world.shard_configured(&[], CHECKPOINTS);
    let (mut player, epoch, _) = playing(&world).await;
    player.until_told_of(world.cluster.all[heir].addr).await;
    world.cluster.signal(heir, Signal::STOP).expect("it lives");
    let outline = kill_worth_damaging(&mut world, owner).await;
    assert_eq!(found_by_verify(&world), Some(0), "nothing is damaged yet");
    let struck = struck(&outline);
    flip(&world, &outline, struck);
    assert_eq!(found_by_verify(&world), Some(1), "{struck:?} is found");
    world.cluster.signal(heir, Signal::CONT).expect("it lives");

    let (new_epoch, _) = world.until_adopted(&meadow(), heir, epoch);
    let attached = player.until("attached anew", |notice| match notice {
        Notice::Attached {
            epoch, rewound_ticks, ..
        } if *epoch == new_epoch => Some(*rewound_ticks),
        _ => None,
    });
    let rewound_ticks = u64::from(attached.await);
    player.until_snapshot().await;
    let by_heir = |adoption: &&ReportedAdoption| adoption.process == heir && adoption.report.zone == meadow();
    let adoption = world.cluster.adoptions.iter().find(by_heir).expect("it was waited for");
    let adoption = adoption.clone();
    assert!(
        rewound_ticks >= adoption.report.rewound_ticks.min(1),
        "players are told: {rewound_ticks}"
    );
    assert!(adoption.report.digest_equal && world.cluster.lost.is_empty());

    // The damaged chain is gone, and a base of the new epoch is there at once: the next one finds nothing wrong.
    let store = store(&world).await;
    let is_whole = async || {
        let outline = store.outline(&meadow(), None).await.expect("readable");
        outline.chain.iter().any(|head| head.position.epoch == new_epoch)
    };
    let until = tokio::time::Instant::now() + PATIENCE;
    while !is_whole().await {
        assert!(tokio::time::Instant::now() < until, "no base is written");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let third = world.shard_configured(&[], CHECKPOINTS);
    world.cluster.kill(heir).expect("a kill");
    world.until_adopted(&meadow(), third, new_epoch);
    let last = world.cluster.adoptions.last().expect("it was waited for");
    assert_eq!((last.report.rewound_ticks, last.report.checkpoints_given_up), (0, 0));
    (adoption, outline.end())
}

fn on_files() -> World {
    World::unguarded()
}

fn on_redis() -> World {
    World::unguarded_on_redis(Persistence::None)
}

async fn assert_nothing_is_lost(world: World, struck: Struck) {
    let (adoption, end) = adopted_in_spite_of(world, |_| struck).await;
    let report = adoption.report;
    assert_eq!((report.last_tick, report.rewound_ticks), (end, 0), "{report:?}");
    assert!(report.checkpoints_given_up > 0, "{report:?}");
}

async fn assert_loss_is_counted(world: World) {
    let third_last = |outline: &ZoneOutline| Tick(outline.end().0 - 2);
    let (adoption, end) = adopted_in_spite_of(world, |outline| Struck::Record(third_last(outline))).await;
    let report = adoption.report;
    assert_eq!((report.last_tick + 3, report.rewound_ticks), (end, 3), "{report:?}");
    assert_eq!(report.checkpoints_given_up, 0);
    assert!(report.epoch > Epoch::FIRST);
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_whose_newest_base_is_damaged_in_its_file_loses_nothing() {
    assert_nothing_is_lost(on_files(), Struck::Base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_whose_newest_base_is_damaged_in_redis_loses_nothing() {
    assert_nothing_is_lost(on_redis(), Struck::Base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_whose_newest_delta_is_damaged_in_its_file_loses_nothing() {
    assert_nothing_is_lost(on_files(), Struck::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_whose_newest_delta_is_damaged_in_redis_loses_nothing() {
    assert_nothing_is_lost(on_redis(), Struck::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_of_which_a_record_is_damaged_in_its_file_goes_on_before_it_and_says_so() {
    assert_loss_is_counted(on_files()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_of_which_a_record_is_damaged_in_redis_goes_on_before_it_and_says_so() {
    assert_loss_is_counted(on_redis()).await;
}

/// Returns the mark that the owner of the meadow has left in its lease.
async fn mark(authority: &SqliteAuthority) -> Option<OwnerMark> {
    let leases = authority.leases().await.expect("readable");
    leases.views.iter().find(|view| view.zone == meadow())?.mark
}

/// A backup of the zone's file is put back after its shard died. Nothing in it is damaged, and what it lacks is counted
/// by the mark in the lease.
#[tokio::test(flavor = "multi_thread")]
async fn zone_whose_file_went_back_to_an_older_copy_says_how_much_is_lost() {
    let mut world = on_files();
    let owner = world.shard_configured(&[meadow()], CHECKPOINTS);
    let (_player, epoch, _) = playing(&world).await;
    let file = world.cluster.world().join("zone-meadow.db");
    let copy = world.cluster.world().join("backup");
    let backup = rusqlite::Connection::open(&file).expect("the zone's file");
    backup
        .execute("VACUUM INTO ?1", [copy.to_str().expect("text")])
        .expect("a copy");
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the world");
    let copied = store(&world)
        .await
        .outline(&meadow(), None)
        .await
        .expect("readable")
        .end();
    let promised = loop {
        match mark(&authority).await {
            Some(mark) if mark.data.tick > copied => break mark.data.tick,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    world.cluster.kill(owner).expect("a kill");
    drop(backup);
    std::fs::rename(&copy, &file).expect("the same directory");
    for beside in ["zone-meadow.db-wal", "zone-meadow.db-shm"] {
        let _gone = std::fs::remove_file(world.cluster.world().join(beside));
    }

    let heir = world.shard_configured(&[], CHECKPOINTS);
    world.until_adopted(&meadow(), heir, epoch);
    let report = &world.cluster.adoptions.last().expect("it was waited for").report;
    assert!(
        report.last_tick <= copied && report.last_tick + report.rewound_ticks >= promised,
        "{promised}: {report:?}"
    );
    assert_eq!(report.checkpoints_given_up, 0);
}

//! Players at rest: a character leaves its zone when the archive has it, and comes back as it was, whatever was
//! forgotten, killed, or away meanwhile.

use everhold_local_cluster::LocalCluster;
use everhold_protocol::{Epoch, RefusalCode};
use everhold_testing::player::{OldConnections, Player};
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::Persistence;

use crate::visitor::{Visitor, resume};
use crate::world::{PATIENCE, World, meadow};

const DATABASE: &str = "world";

/// Lines of a configuration in which away players rest at once, and the archive hears of it soon.
pub(crate) fn quick(world: &World, archive: &str) -> String {
    let numbers = world.numbers("quick.toml", "linger_ms = 30_000", "linger_ms = 100");
    format!("{numbers}[archive]\ninterval_ms = 1000\n{archive}")
}

/// Waits until a shard says that its meadow has so many characters.
pub(crate) fn until_characters(world: &mut World, shard: usize, count: u32) {
    let has = |cluster: &LocalCluster| {
        let mut runs = cluster.all[shard].runs.iter().rev();
        runs.find(|run| run.zone == meadow())
            .is_some_and(|run| run.characters == count)
    };
    let what = format!("the meadow has {count} characters");
    world
        .cluster
        .wait_until(&what, PATIENCE, has)
        .expect("they come and go");
}

/// A player that has just logged in.
pub(crate) async fn log_in(world: &World, account: u64) -> Player {
    let mut player = world.player(account, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    player
}

/// The possessions of a player, and the place of its character.
pub(crate) fn possessions(player: &Player) -> (u64, usize, (i32, i32)) {
    let own = player.own();
    (own.gold, own.items.len(), (own.x, own.y))
}

#[tokio::test(flavor = "multi_thread")]
async fn character_that_logged_out_leaves_its_zone_and_comes_back_as_it_was() {
    let mut world = World::with_default_leases();
    let lines = quick(&world, "");
    let shard = world.shard_configured(&[meadow()], &lines);
    let player = log_in(&world, 7).await;
    let before = possessions(&player);
    player.logout();
    until_characters(&mut world, shard, 0);
    let again = log_in(&world, 7).await;
    assert_eq!(possessions(&again), before);
    until_characters(&mut world, shard, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_is_resumed_after_its_character_has_left_the_zone_and_its_owner_has_died() {
    let mut world = World::new();
    let lines = quick(&world, "");
    let owner = world.shard_configured(&[meadow()], &lines);
    let mut visitor = Visitor::log_in(&world, 7).await;
    let (session, secret, epoch) = visitor.hear_attached().await;
    drop(visitor);
    until_characters(&mut world, owner, 0);
    let heir = world.shard_configured(&[], &lines);
    world.cluster.kill(owner).expect("a kill");
    world.until_adopted(&meadow(), heir, epoch);
    let credential = resume(&meadow(), session, secret, epoch);
    let addr = world.cluster.all[heir].addr;
    let mut again = Visitor::knock(&world.keys, addr, credential).await;
    let (resumed, ..) = again.hear_attached().await;
    assert_eq!(resumed, session);
}

#[tokio::test(flavor = "multi_thread")]
async fn character_that_the_store_has_forgotten_comes_back_from_the_archive() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let lines = quick(&world, &format!("url = \"{}\"\n", server.url(DATABASE)));
    let shard = world.shard_configured(&[meadow()], &lines);
    let player = log_in(&world, 7).await;
    let before = possessions(&player);
    player.logout();
    until_characters(&mut world, shard, 0);
    let forgotten = world.redis().command(&["DEL", "everhold:home:7"]);
    assert_eq!(forgotten, "1", "the store had it");
    let again = log_in(&world, 7).await;
    assert_eq!(possessions(&again), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_that_is_away_refuses_strangers_and_nobody_else() {
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let lines = quick(&world, &format!("url = \"{}\"\n", server.url(DATABASE)));
    let shard = world.shard_configured(&[meadow()], &lines);
    let player = log_in(&world, 7).await;
    let before = possessions(&player);
    player.logout();
    until_characters(&mut world, shard, 0);
    server.kill();
    let mut stranger = Visitor::log_in(&world, 8).await;
    assert_eq!(stranger.hear_refusal().await, RefusalCode::Internal);
    let again = log_in(&world, 7).await;
    assert_eq!(possessions(&again), before, "the store has it");
    // It stays in its zone for as long as the archive cannot take it.
    again.logout();
    let third = log_in(&world, 7).await;
    assert_eq!(possessions(&third), before);
    server.start_again();
    let stranger = log_in(&world, 8).await;
    stranger.logout();
    third.logout();
    until_characters(&mut world, shard, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn world_without_an_archive_keeps_its_characters_in_their_zones() {
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let numbers = world.numbers("quick.toml", "linger_ms = 30_000", "linger_ms = 100");
    let shard = world.shard_configured(&[meadow()], &numbers);
    let player = log_in(&world, 7).await;
    let before = possessions(&player);
    player.logout();
    let other = log_in(&world, 8).await;
    until_characters(&mut world, shard, 2);
    let again = log_in(&world, 7).await;
    assert_eq!(possessions(&again), before);
    drop(other);
}

//! A shard with more players than it can hold: it tells less, slows down, lets newcomers wait, and goes on.

use everhold_core::load::Rung;
use everhold_core::report::ZoneRun;
use everhold_core::tick::TickStage;
use everhold_local_cluster::LocalCluster;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Tick};
use everhold_testing::player::{OldConnections, Player};

use crate::world::{PATIENCE, World, meadow};

/// Each player makes a tick so much longer: twenty fill the 50 ms that it has, forty fill them twice.
const BURN_US: &str = "2500";

/// Twice as many as the shard can hold.
const PLAYERS: u64 = 40;

async fn until_queued(player: &mut Player, wanted: u32) {
    let at = |notice: &Notice| matches!(notice, Notice::Queued { position } if *position == wanted).then_some(());
    player.until(&format!("waits at position {wanted}"), at).await;
}

/// A snapshot's tick and speed.
async fn until_shown(player: &mut Player, after: Tick) -> (Tick, u8) {
    let shown = player.until("a later snapshot", |notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > after => Some((header.tick, header.dilation)),
        _ => None,
    });
    shown.await
}

fn run(cluster: &LocalCluster) -> Option<&ZoneRun> {
    cluster.all[0].runs.iter().find(|run| run.zone == meadow())
}

fn until_rung(world: &mut World, what: &str, reached: impl Fn(Rung) -> bool) {
    let stands = |cluster: &LocalCluster| run(cluster).is_some_and(|run| reached(run.load.rung));
    world.cluster.wait_until(what, PATIENCE, stands).expect(what);
}

async fn players(world: &World, count: u64) -> Vec<Player> {
    let login = |account| world.player(account, &meadow(), OldConnections::Close);
    let mut players: Vec<Player> = (0..count).map(login).collect();
    for player in &mut players {
        player.until_attached_above(Epoch::NONE).await;
    }
    players
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_twice_the_players_it_can_hold_goes_on_and_lets_newcomers_wait() {
    let mut world = World::new().alone().sabotaged();
    world.shard_with(&[meadow()], &["--burn-us-per-player", BURN_US]);
    let mut players = players(&world, PLAYERS).await;
    until_rung(&mut world, "newcomers must wait", |rung| rung == Rung::Queue);

    let mut first = world.player(1_000, &meadow(), OldConnections::Close);
    until_queued(&mut first, 1).await;
    let mut second = world.player(1_001, &meadow(), OldConnections::Close);
    until_queued(&mut second, 2).await;
    first.logout();
    until_queued(&mut second, 1).await;

    let heard = players[0].arrivals().last().expect("a snapshot").tick;
    let (tick, dilation) = until_shown(&mut players[0], heard).await;
    assert!(dilation < 255, "clients know that time is slow");
    until_shown(&mut players[0], tick + 20).await;
    players[1].lose_connections();
    assert_eq!(
        players[1].until_attached_above(Epoch::NONE).await,
        Epoch(1),
        "whoever has a session does not wait, and the lease was never lost"
    );

    // Fifteen are left: fewer than the shard can hold.
    players.drain(15..).for_each(|player| player.logout());
    until_rung(&mut world, "newcomers come in again", |rung| rung < Rung::Queue);
    assert_eq!(second.until_attached_above(Epoch::NONE).await, Epoch(1));
    until_shown(&mut players[0], tick + 40).await;
    assert_kept_and_told(&world);
}

/// Lease and zone were kept, and the report says why the shard was slow.
fn assert_kept_and_told(world: &World) {
    let cluster = &world.cluster;
    assert!(cluster.ends.is_empty(), "the zone never ended: {:?}", cluster.ends);
    assert!(
        cluster
            .adoptions
            .iter()
            .all(|adoption| adoption.report.epoch == Epoch(1))
    );
    let run = run(cluster).expect("it was waited for");
    assert!(
        run.load.entered[1..5].iter().all(|entered| *entered > 0),
        "{:?}",
        run.load
    );
    assert_eq!(run.load.queued_ever, 2);
    let longest = |stage: TickStage| run.phases[&stage].iter().map(|(us, _)| *us).max().unwrap_or(0);
    assert!(longest(TickStage::Step) > 90_000, "the step is what took long");
    assert!(longest(TickStage::Drain) < longest(TickStage::Step));
    let usage = cluster.all[0].usage.as_ref().expect("told once a second");
    assert!(usage.cpu_ms > 1_000 && usage.counters["datagrams_out"] > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_with_as_many_players_as_it_may_have_lets_newcomers_wait_until_one_leaves() {
    let mut world = World::new().alone();
    world.shard_configured(&[meadow()], "[load]\nplayers_max = 2\n");
    let players = players(&world, 2).await;
    let mut third = world.player(1_000, &meadow(), OldConnections::Close);
    until_queued(&mut third, 1).await;
    players[0].logout();
    third.until_attached_above(Epoch::NONE).await;
}

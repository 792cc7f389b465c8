//! At level `async` players see what is not stored yet, and hear of nothing in it that it is done.

use std::time::{Duration, Instant};

use client_sim::Control;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Heading, Intent, Tick};
use everhold_testing::player::OldConnections;

use crate::outage::{all_play, orders};
use crate::world::{World, meadow};

/// Well above the time from an intent to its confirmation, and below the two seconds after which a zone holds.
const STANDSTILL: Duration = Duration::from_millis(1_500);

/// A write lock on the file of a zone: its owner's writes wait for as long as this lives.
struct Locked(rusqlite::Connection);

impl Locked {
    fn meadow(world: &World) -> Self {
        let file = world.cluster.world().join("zone-meadow.db");
        let connection = rusqlite::Connection::open(file).expect("the zone has a file");
        connection
            .busy_timeout(crate::world::PATIENCE)
            .and_then(|()| connection.execute_batch("BEGIN IMMEDIATE"))
            .expect("a writer's turn comes");
        Self(connection)
    }

    /// Returns the tick of the newest record, which stays the newest.
    fn last_tick(&self) -> Tick {
        let last = self.0.query_row("SELECT max(tick) FROM record", (), |row| row.get(0));
        Tick(last.map(i64::cast_unsigned).expect("the zone has records"))
    }
}

/// An owner of the meadow at level `async`, and a spare.
fn owner_and_spare(world: &mut World) -> (usize, usize) {
    let level = ["--durability", "async"];
    (world.shard_with(&[meadow()], &level), world.shard_with(&[], &level))
}

#[tokio::test(flavor = "multi_thread")]
async fn intent_that_is_shown_and_lost_was_not_confirmed_and_is_done_by_the_next_owner() {
    let mut world = World::with_default_leases();
    let (owner, spare) = owner_and_spare(&mut world);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    let confirmed = |seq| move |notice: &Notice| (*notice == Notice::Confirmed { seq }).then_some(());
    player.until("what is stored is confirmed", confirmed(1)).await;

    let locked = Locked::meadow(&world);
    player.push(Intent::Move(Heading::new(0, 100).expect("a heading")));
    let mut shown = 0;
    let shown_twice = |notice: &Notice| {
        assert_ne!(*notice, Notice::Confirmed { seq: 2 }, "its record is not stored");
        shown += u32::from(matches!(notice, Notice::Snapshot { header, .. } if header.last_input_seq == 2));
        (shown == 2).then_some(())
    };
    player.until("what is not stored is shown", shown_twice).await;
    world.cluster.kill(owner).expect("a kill");
    let last_tick = locked.last_tick();
    drop(locked);

    assert_eq!(world.until_adopted(&meadow(), spare, epoch).1, last_tick);
    let attached = |notice: &Notice| match notice {
        Notice::Attached {
            last_input_seq,
            lost_inputs,
            ..
        } => Some((*last_input_seq, *lost_inputs)),
        _ => None,
    };
    assert_eq!(player.until("attached anew", attached).await, (1, 0));
    player.until("what was lost is done after all", confirmed(2)).await;
}

#[test]
fn nothing_that_traders_were_told_is_lost_with_a_shard_whose_store_stood_still() {
    let mut world = World::with_default_leases();
    let (owner, spare) = owner_and_spare(&mut world);
    let mut stands_still: Option<(Locked, Instant)> = None;
    let mut last_tick = None;
    let report = client_sim::run(orders(&world, world.cluster.all[owner].addr), &mut |progress| {
        match stands_still.take() {
            None if last_tick.is_none() && all_play(progress, 2.0) => {
                stands_still = Some((Locked::meadow(&world), Instant::now()));
            }
            Some((locked, since)) if since.elapsed() > STANDSTILL => {
                world.cluster.kill(owner).expect("a kill");
                last_tick = Some(locked.last_tick());
            }
            standing => stands_still = standing,
        }
        let is_over = last_tick.is_some() && progress.zones[0].epochs == [Epoch(2)] && all_play(progress, 0.0);
        if is_over { Control::Stop } else { Control::Continue }
    });
    let report = report.expect("a run");
    assert!(report.is_clean(), "{report:#?}");
    let (_, adopted_at) = world.until_adopted(&meadow(), spare, Epoch::FIRST);
    assert_eq!(Some(adopted_at), last_tick, "what came after it was shown, and is lost");
}

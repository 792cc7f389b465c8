//! Shards die, and players carry on.

use everhold::testing::player::OldConnections;
use everhold_protocol::client::Notice;
use everhold_protocol::{Heading, Intent};

use crate::world::{World, all_zones, meadow};

#[tokio::test(flavor = "multi_thread")]
async fn a_player_carries_on_at_the_spare_when_its_shard_is_killed() {
    let mut world = World::new();
    let owner = world.shard(&all_zones());
    let spare = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(0).await;
    player.push(Intent::Move(Heading::new(100, 0).unwrap()));
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq: 1 }).then_some(());
    player.until("the input is confirmed", confirmed).await;
    let before = player.own();

    world.fleet.kill(owner).unwrap();
    world.until_adopted(&meadow(), spare, epoch);
    let after = player.until("attached anew", |notice| match notice {
        Notice::Attached { epoch: new, last_input_seq, lost_inputs, own, .. } if *new > epoch => {
            Some((*last_input_seq, *lost_inputs, own.clone()))
        }
        _ => None,
    });
    let (last_input_seq, lost_inputs, own) = after.await;
    assert_eq!((last_input_seq, lost_inputs), (1, 0), "what was confirmed is known to the adopter");
    assert_eq!((own.gold, own.items), (before.gold, before.items), "and what the player owns");
    player.until_snapshot().await;
}

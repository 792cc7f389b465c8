//! Homes of characters that a store of homes has lost, while the zones are whole.

use everhold_protocol::client::Notice;
use everhold_protocol::{SessionId, ZoneName};
use everhold_testing::player::{OldConnections, Player};
use everhold_testing::redis::Persistence;

use crate::world::{World, all_zones, meadow};

/// Waits until the player is attached, and returns its character's zone and session.
async fn attached(player: &mut Player) -> (ZoneName, SessionId) {
    let is_attached = |notice: &Notice| match notice {
        Notice::Attached { zone, session, .. } => Some((zone.clone(), *session)),
        _ => None,
    };
    player.until("attached", is_attached).await
}

/// A replica that is promoted lacks the last writes, and a master of a Cluster that comes back empty has none: in both
/// cases connections are replaced.
#[tokio::test(flavor = "multi_thread")]
async fn home_that_the_store_lost_alone_is_set_again_by_the_zone_of_its_character() {
    let mut world = World::on_redis(Persistence::None);
    world.shard(&all_zones());
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let character = attached(&mut player).await;
    drop(player);

    let home = world.redis().command(&["KEYS", "*home:7"]);
    assert!(home.contains("home:7"), "{home:?}");
    assert_eq!(world.redis().command(&["DEL", home.trim()]), "1");
    // How many it ended does not matter.
    let _ended = world.redis().command(&["CLIENT", "KILL", "TYPE", "normal"]);
    world.redis().wait_until("the home is there again", |redis| {
        redis.command(&["EXISTS", home.trim()]) == "1"
    });

    let elsewhere: ZoneName = "forest".parse().expect("a name");
    let mut again = world.player(7, &elsewhere, OldConnections::Close);
    assert_eq!(attached(&mut again).await, character, "the account has one character");
}

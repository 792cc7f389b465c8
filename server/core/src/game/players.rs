//! New characters: where they are born, and what they have to begin with. The session is there already.

use bevy_ecs::prelude::*;
use everhold_protocol::{GoldCause, Heading, Item, ItemCause, Tick};

use super::rules::chance::{Purpose, roll};
use super::settings::GameSettings;
use super::state::{Belongings, Body, Course, Health, Readiness};
use super::value::{self, ValueDigest};
use crate::zone::registry::Id;
use crate::zone::shared::Shared;
use crate::zone::state::{Clock, Ids};

/// Makes a session a character, somewhere, with what the rules give to begin with.
pub(crate) fn spawn_player(world: &mut World, player: Entity) {
    let Some(&Id(id)) = world.get::<Id>(player) else {
        return;
    };
    let settings = world.resource::<GameSettings>().clone();
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let rules = settings.rules.player();
    let belongings = Belongings {
        gold: 0,
        items: Shared::default(),
    };
    world.entity_mut(player).insert((
        Body::from(settings.map.spawn_point(roll(seed, tick, id, Purpose::SpawnPoint))),
        Course {
            heading: Heading::STILL,
        },
        Health {
            hp: rules.hp,
            max: rules.hp,
        },
        Readiness {
            strike: Tick(0),
            chat: Tick(0),
        },
        ValueDigest::of(&belongings),
        belongings,
    ));
    value::mint_gold(world, player, rules.start_gold, GoldCause::Start);
    for &kind in settings.rules.start_items() {
        let uid = world.resource_mut::<Ids>().allocate();
        let item = Item { uid, kind };
        value::gain(world, player, item, ItemCause::Start, None).expect("start items fit an inventory");
    }
}

//! The fit of a zone's state to other numbers: the one place where a world that ran under some rules is made one that
//! these rules can run. It looks at the state and at the new numbers only, never at the old ones, so that a replay of
//! the epoch's start comes to the same.
//!
//! Nothing that a player owns is taken away: gold stays, and so does an item whose kind these rules do not have, which
//! no rule looks at. What has no owner is made to fit: monsters without a camp and items beyond the ground's bound go.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use everhold_protocol::EntityId;

use super::rules::Point;
use super::rules::chance::{Purpose, roll};
use super::settings::GameSettings;
use super::state::{Body, Downed, Due, Health, Lying, Mind, Readiness};
use crate::zone::registry::Id;
use crate::zone::state::{Clock, Session};

/// Fits the whole state to the numbers that the World has now.
pub(super) fn refit(world: &mut World) {
    let settings = world.resource::<GameSettings>().clone();
    fit_camps(world, &settings);
    fit_ground(world, &settings);
    fit_places(world, &settings);
    fit_health(world, &settings);
    fit_times(world, &settings);
}

/// Monsters of camps that are gone go, and camps that have none and await none get one.
fn fit_camps(world: &mut World, settings: &GameSettings) {
    let camps = 0..u16::try_from(settings.map.rules().camps.len()).expect("a zone's camps are bounded");
    let mut manned = BTreeSet::new();
    let mut homeless = Vec::new();
    for (entity, id, mind) in world.query::<(Entity, &Id, &Mind)>().iter(world) {
        if camps.contains(&mind.camp) {
            manned.insert(mind.camp);
        } else {
            homeless.push((id.0, entity));
        }
    }
    despawn(world, homeless);
    let tick = world.resource::<Clock>().tick;
    let latest = tick + settings.tick_rules.monster_respawn;
    let mut due = world.resource_mut::<Due>();
    let awaited = std::mem::take(&mut due.monsters);
    for (at, camp) in awaited.into_iter().filter(|(_, camp)| camps.contains(camp)) {
        manned.insert(camp);
        due.monsters.insert((at.min(latest), camp));
    }
    let empty = camps.filter(|camp| !manned.contains(camp));
    due.monsters.extend(empty.map(|camp| (tick, camp)));
    due.item = due.item.min(tick + settings.tick_rules.item_spawn);
}

/// Of items on the ground the oldest stay, as many as there may be: a scene holds no more.
fn fit_ground(world: &mut World, settings: &GameSettings) {
    let mut lying = world.query_filtered::<(Entity, &Id), With<Lying>>();
    let mut lying: Vec<(EntityId, Entity)> = lying.iter(world).map(|(entity, id)| (id.0, entity)).collect();
    lying.sort_unstable();
    let kept = lying.len().min(settings.map.rules().items_max as usize);
    despawn(world, lying.split_off(kept));
}

/// A body outside of the zone, or in an obstacle, is put where it can stand: to the nearest edge, a monster
/// else to its camp, everything else to a spawn point.
fn fit_places(world: &mut World, settings: &GameSettings) {
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let camps = &settings.map.rules().camps;
    let fitted = |id: EntityId, mind: Option<&Mind>, place: Point| {
        let edge = settings.map.clamp(place);
        if settings.map.is_free(edge) {
            return edge;
        }
        let camp = mind.and_then(|mind| camps.get(usize::from(mind.camp)));
        let spawn = || settings.map.spawn_point(roll(seed, tick, id, Purpose::SpawnPoint));
        camp.copied().unwrap_or_else(spawn)
    };
    let mut placed = world.query::<(&Id, &mut Body, Option<&Mind>)>();
    for (id, mut body, mind) in placed.iter_mut(world) {
        let place = body.point();
        if !settings.map.is_free(place) {
            *body = fitted(id.0, mind, place).into();
        }
    }
}

/// A character that was unhurt is so still, none has more than all hit points, and the dead stay dead.
fn fit_health(world: &mut World, settings: &GameSettings) {
    let (player, monster) = (settings.rules.player().hp, settings.rules.monster().hp);
    let mut healths = world.query_filtered::<(&mut Health, Has<Session>), Or<(With<Session>, With<Mind>)>>();
    for (mut health, is_player) in healths.iter_mut(world) {
        let max = if is_player { player } else { monster };
        let hp = if health.hp >= health.max {
            max
        } else {
            health.hp.min(max)
        };
        health.set_if_neq(Health { hp, max });
    }
}

/// No timer runs for longer than these rules ever set it, at this tick rate.
fn fit_times(world: &mut World, settings: &GameSettings) {
    let tick = world.resource::<Clock>().tick;
    let rules = &settings.tick_rules;
    for mut ready in world.query::<&mut Readiness>().iter_mut(world) {
        let fitted = Readiness {
            strike: ready.strike.min(tick + rules.strike_cooldown),
            chat: ready.chat.min(tick + rules.chat_cooldown),
        };
        ready.set_if_neq(fitted);
    }
    for mut downed in world.query::<&mut Downed>().iter_mut(world) {
        let until = downed.until.min(tick + rules.player_respawn);
        downed.set_if_neq(Downed { until });
    }
    for mut mind in world.query::<&mut Mind>().iter_mut(world) {
        let bite = mind.bite.min(tick + rules.bite_cooldown);
        if mind.bite != bite {
            mind.bite = bite;
        }
    }
}

/// Removes entities, in order of id.
fn despawn(world: &mut World, mut entities: Vec<(EntityId, Entity)>) {
    entities.sort_unstable();
    for (_, entity) in entities {
        world.despawn(entity);
    }
}

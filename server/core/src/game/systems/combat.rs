//! Blows, deaths, and new lives.

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Event, GoldCause};

use super::monsters::Bites;
use crate::game::intents::{Contests, Strike};
use crate::game::rules::chance::{Purpose, below, roll};
use crate::game::rules::combat::{Blow, blow, may_strike};
use crate::game::settings::GameSettings;
use crate::game::state::{Body, Downed, Due, Health, Mind, Readiness};
use crate::game::value;
use crate::zone::effects::emit;
use crate::zone::index::EntityIndex;
use crate::zone::registry::Id;
use crate::zone::state::{Clock, Resting, Session};

/// Characters at rest stay as they went: they may be kept elsewhere already.
type Awake = (With<Session>, Without<Resting>);

/// Resolves the tick's strikes, one after the other, in an order that chance decides anew each tick: the first of two
/// players may kill the other before it strikes.
pub(crate) fn strike(world: &mut World) {
    let mut strikes = std::mem::take(&mut world.resource_mut::<Contests>().strikes);
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    // Stable: strikes of one player stay in the order of the record, which every replay shares.
    strikes.sort_by_cached_key(|strike| (roll(seed, tick, strike.striker, Purpose::Initiative), strike.striker));
    for strike in strikes {
        strike_one(world, strike);
    }
}

fn strike_one(world: &mut World, Strike { striker, target }: Strike) {
    let entity_index = world.resource::<EntityIndex>();
    let (Some(from), Some(to)) = (entity_index.entity(striker), entity_index.entity(target)) else {
        return;
    };
    let (here, there) = (world.entity(from), world.entity(to));
    if from == to || here.contains::<Downed>() || there.contains::<Downed>() || there.contains::<Resting>() {
        return;
    }
    let (Some(at), Some(readiness)) = (here.get::<Body>(), here.get::<Readiness>()) else {
        return;
    };
    let (Some(target_at), Some(health)) = (there.get::<Body>(), there.get::<Health>()) else {
        return;
    };
    let settings = world.resource::<GameSettings>();
    let rules = settings.rules.strike();
    let tick = world.resource::<Clock>().tick;
    if !may_strike(tick, readiness.strike, at.point(), target_at.point(), rules.range_cm) {
        return;
    }
    let ready = tick + settings.tick_rules.strike_cooldown;
    let left = blow(health.hp, rules.damage);
    if let Some(mut readiness) = world.get_mut::<Readiness>(from) {
        readiness.strike = ready;
    }
    land(world, (from, striker), (to, target), left);
}

/// A blow lands: the target is hurt, or dies by the striker's hand.
fn land(world: &mut World, by: (Entity, EntityId), target: (Entity, EntityId), left: Blow) {
    let Some(mut health) = world.get_mut::<Health>(target.0) else {
        return;
    };
    match left {
        Blow::Hurt(hp) => health.hp = hp,
        Blow::Killed => {
            health.hp = 0;
            if world.get::<Mind>(target.0).is_some() {
                slay(world, by, target);
            } else {
                down(world, by, target);
            }
        }
    }
}

/// A player dies. It keeps what it has.
fn down(world: &mut World, by: (Entity, EntityId), (victim, victim_id): (Entity, EntityId)) {
    let until = world.resource::<Clock>().tick + world.resource::<GameSettings>().tick_rules.player_respawn;
    world.entity_mut(victim).insert(Downed { until });
    emit(world, victim, Event::Death { by: by.1 });
    emit(world, by.0, Event::Kill { victim: victim_id });
}

/// A monster dies. Its gold comes into being in the killer's purse, and its camp will have another.
fn slay(world: &mut World, by: (Entity, EntityId), (victim, victim_id): (Entity, EntityId)) {
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let settings = world.resource::<GameSettings>().clone();
    let monster = settings.rules.monster();
    if let Some(camp) = world.get::<Mind>(victim).map(|mind| mind.camp) {
        world
            .resource_mut::<Due>()
            .monsters
            .insert((tick + settings.tick_rules.monster_respawn, camp));
    }
    world.despawn(victim);
    emit(world, by.0, Event::Kill { victim: victim_id });
    let spread = monster.loot_gold_max - monster.loot_gold_min + 1;
    let loot = monster.loot_gold_min + below(roll(seed, tick, victim_id, Purpose::Loot), spread);
    value::mint_gold(world, by.0, loot, GoldCause::Loot);
}

/// Resolves the tick's bites, in order of the biters' ids. A player who is dead by now is not bitten again.
pub(crate) fn bite(world: &mut World) {
    let mut bites = std::mem::take(&mut world.resource_mut::<Bites>().0);
    bites.sort_unstable_by_key(|bite| bite.biter);
    let damage = world.resource::<GameSettings>().rules.monster().bite_damage;
    let ready = world.resource::<Clock>().tick + world.resource::<GameSettings>().tick_rules.bite_cooldown;
    for bite in bites {
        let entity_index = world.resource::<EntityIndex>();
        let (Some(from), Some(to)) = (entity_index.entity(bite.biter), entity_index.entity(bite.prey)) else {
            continue;
        };
        if world.get::<Downed>(to).is_some() {
            continue;
        }
        let Some(left) = world.get::<Health>(to).map(|health| blow(health.hp, damage)) else {
            continue;
        };
        if let Some(mut mind) = world.get_mut::<Mind>(from) {
            mind.bite = ready;
        }
        land(world, (from, bite.biter), (to, bite.prey), left);
    }
}

/// The dead whose time has come live again, whole, at a spawn point.
pub(crate) fn revive(world: &mut World, downed: &mut QueryState<(Entity, &Id, &Downed), Awake>) {
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let mut due: Vec<(EntityId, Entity)> = downed
        .iter(world)
        .filter(|(_, _, down)| down.until <= tick)
        .map(|(entity, id, _)| (id.0, entity))
        .collect();
    due.sort_unstable();
    for (id, entity) in due {
        let place = world
            .resource::<GameSettings>()
            .map
            .spawn_point(roll(seed, tick, id, Purpose::SpawnPoint));
        let mut player = world.entity_mut(entity);
        player.remove::<Downed>();
        if let Some(mut health) = player.get_mut::<Health>() {
            health.hp = health.max;
        }
        if let Some(mut body) = player.get_mut::<Body>() {
            *body = place.into();
        }
        emit(world, entity, Event::Respawn);
    }
}

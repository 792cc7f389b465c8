//! Items on the ground: they appear, and somebody picks them up.

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{EntityId, Item, ItemCause};

use crate::game::intents::{Contests, PickUp};
use crate::game::rules::chance::{Purpose, below, roll};
use crate::game::settings::GameSettings;
use crate::game::state::{Body, Downed, Due, Lying};
use crate::game::value;
use crate::zone::effects::reject;
use crate::zone::index::EntityIndex;
use crate::zone::registry::Id;
use crate::zone::state::{Clock, Ids};

/// Gives each wanted item to one of those who want it. Chance decides who is first: it depends on neither order of
/// arrival nor distance, and every replay agrees.
pub(crate) fn pick_up(world: &mut World) {
    let mut claims = std::mem::take(&mut world.resource_mut::<Contests>().pick_ups);
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    claims.sort_by_cached_key(|claim| {
        let contest = roll(seed ^ claim.item.0, tick, claim.claimant, Purpose::Contest);
        (claim.item, contest, claim.claimant, claim.seq)
    });
    for rivals in claims.chunk_by(|a, b| a.item == b.item) {
        let mut winner = None;
        for &claim in rivals {
            match winner {
                Some(_) => refuse(world, claim, RejectReason::Contested),
                None => match take(world, claim) {
                    Ok(()) => winner = Some(claim.claimant),
                    Err(reason) => refuse(world, claim, reason),
                },
            }
        }
    }
}

fn refuse(world: &mut World, claim: PickUp, reason: RejectReason) {
    if let Some(player) = world.resource::<EntityIndex>().entity(claim.claimant) {
        reject(world, player, claim.seq, reason);
    }
}

fn take(world: &mut World, claim: PickUp) -> Result<(), RejectReason> {
    let entity_index = world.resource::<EntityIndex>();
    let player = entity_index.entity(claim.claimant).ok_or(RejectReason::NoTarget)?;
    if world.get::<Downed>(player).is_some() {
        return Err(RejectReason::Dead);
    }
    let ground = entity_index.entity(claim.item).ok_or(RejectReason::NoTarget)?;
    let kind = world.get::<Lying>(ground).ok_or(RejectReason::NoTarget)?.kind;
    let (Some(at), Some(item_at)) = (world.get::<Body>(player), world.get::<Body>(ground)) else {
        return Err(RejectReason::NoTarget);
    };
    if !at.point().reaches(
        item_at.point(),
        world.resource::<GameSettings>().rules.player().reach_cm,
    ) {
        return Err(RejectReason::TooFar);
    }
    let item = Item { uid: claim.item, kind };
    value::gain(
        world,
        player,
        item,
        ItemCause::PickedUp,
        Some((claim.claimant, claim.seq)),
    )?;
    world.despawn(ground);
    Ok(())
}

/// While there is room on the ground, an item appears now and then.
pub(crate) fn grow(world: &mut World, lying: &mut QueryState<&Id, With<Lying>>) {
    let tick = world.resource::<Clock>().tick;
    if world.resource::<Due>().item > tick {
        return;
    }
    let settings = world.resource::<GameSettings>();
    let (next, room) = (
        tick + settings.tick_rules.item_spawn,
        settings.map.rules().items_max as usize,
    );
    world.resource_mut::<Due>().item = next;
    if lying.iter(world).count() < room {
        spawn_item(world);
    }
}

/// An item of some kind, somewhere.
pub(crate) fn spawn_item(world: &mut World) -> EntityId {
    let id = world.resource_mut::<Ids>().allocate();
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let settings = world.resource::<GameSettings>();
    let body = Body::from(settings.map.any_place(roll(seed, tick, id, Purpose::ItemPlace)));
    let kind = below(
        roll(seed, tick, id, Purpose::ItemKind),
        settings.rules.item().kinds.len() as u64,
    ) as u16;
    world.spawn((Id(id), body, Lying { kind }));
    id
}

//! Gold and items change here and nowhere else, so that no change goes untold and the digest of what a player owns is
//! always true.

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::snapshot::value_digest;
use everhold_protocol::{Event, GoldCause, Item, ItemCause};

use super::rules::gift;
use super::state::Belongings;
use crate::zone::effects::emit;

/// The digest of a player's purse and inventory, as snapshots carry it. Derived from [`Belongings`].
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueDigest(pub u32);

impl ValueDigest {
    /// The digest of these belongings.
    #[must_use]
    pub fn of(belongings: &Belongings) -> Self {
        Self(value_digest(belongings.gold, &belongings.items))
    }
}

/// Sets the purse and says why. `entity` is a player.
pub(crate) fn set_gold(world: &mut World, entity: Entity, total: u64, cause: GoldCause) {
    let Some(mut belongings) = world.get_mut::<Belongings>(entity) else {
        return;
    };
    // Neither purse nor gift ever exceeds what an `i64` can tell the difference of: see `gift::give_gold`.
    let delta = total.wrapping_sub(belongings.gold) as i64;
    belongings.gold = total;
    renew_digest(world, entity);
    emit(world, entity, Event::Gold { total, delta, cause });
}

/// Puts an item into the inventory and says why.
pub(crate) fn gain(world: &mut World, entity: Entity, item: Item, cause: ItemCause) -> Result<(), RejectReason> {
    let mut belongings = world.get_mut::<Belongings>(entity).ok_or(RejectReason::NoTarget)?;
    gift::stow(&mut belongings.items, item)?;
    renew_digest(world, entity);
    emit(world, entity, Event::ItemGained { item, cause });
    Ok(())
}

/// Takes an item out of the inventory and says why. The caller has checked that it is there.
pub(crate) fn lose(world: &mut World, entity: Entity, item: Item, cause: ItemCause) {
    let Some(mut belongings) = world.get_mut::<Belongings>(entity) else {
        return;
    };
    if gift::withdraw(&mut belongings.items, item.uid).is_ok() {
        renew_digest(world, entity);
        emit(world, entity, Event::ItemLost { item, cause });
    }
}

fn renew_digest(world: &mut World, entity: Entity) {
    let Some(now) = world.get::<Belongings>(entity).map(ValueDigest::of) else {
        return;
    };
    if let Some(mut digest) = world.get_mut::<ValueDigest>(entity) {
        *digest = now;
    }
}

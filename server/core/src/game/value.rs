//! Gold and items change here and nowhere else, so that no change goes untold, every one is a move of value, and the
//! digest of what a player owns is always true.

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::snapshot::value_digest;
use everhold_protocol::{EntityId, Event, GoldCause, Item, ItemCause, SessionId};

use super::archive::ValueKind;
use super::rules::gift;
use super::state::Belongings;

use crate::zone::ValueMove;
use crate::zone::effects::{emit, tell_move};
use crate::zone::registry::Id;
use crate::zone::state::Session;

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

/// The intent that moves value, a session and its place in the sequence; `None`: no player's.
pub(crate) type Command = Option<(SessionId, u64)>;

/// Adds gold that comes into being to the purse of a player, and says why. What the purse cannot hold does not come
/// into being.
pub(crate) fn mint_gold(world: &mut World, player: Entity, amount: u64, cause: GoldCause) {
    let Some(total) = purse(world, player).checked_add(amount).filter(|_| amount > 0) else {
        return;
    };
    set_gold(world, player, total, cause);
    tell(world, (None, Some(player)), (ValueKind::Gold, None, amount), None);
}

/// Moves gold from one player's purse to another's.
pub(crate) fn give_gold(
    world: &mut World,
    (giver, receiver): (Entity, Entity),
    amount: u64,
    command: Command,
) -> Result<(), RejectReason> {
    let (left, total) = gift::give_gold(purse(world, giver), purse(world, receiver), amount)?;
    let (from, to) = (id_of(world, giver), id_of(world, receiver));
    set_gold(world, giver, left, GoldCause::GiftTo(to));
    set_gold(world, receiver, total, GoldCause::GiftFrom(from));
    let parties = (Some(giver), Some(receiver));
    tell(world, parties, (ValueKind::Gold, None, amount), command);
    Ok(())
}

/// Puts an item that comes into the hands of players into the inventory of one, and says why.
pub(crate) fn gain(
    world: &mut World,
    player: Entity,
    item: Item,
    cause: ItemCause,
    command: Command,
) -> Result<(), RejectReason> {
    stow(world, player, item, cause)?;
    let what = (ValueKind::Item, Some(item.uid), 1);
    tell(world, (None, Some(player)), what, command);
    Ok(())
}

/// Moves an item from one player's inventory to another's.
pub(crate) fn give_item(
    world: &mut World,
    (giver, receiver): (Entity, Entity),
    uid: EntityId,
    command: Command,
) -> Result<(), RejectReason> {
    let belongings = world.get::<Belongings>(giver).ok_or(RejectReason::NotYours)?;
    let item = find(&belongings.items, uid).ok_or(RejectReason::NotYours)?;
    let (from, to) = (id_of(world, giver), id_of(world, receiver));
    // The receiver first: if its inventory is full, nothing has happened.
    stow(world, receiver, item, ItemCause::GiftFrom(from))?;
    take_out(world, giver, item, ItemCause::GiftTo(to));
    let what = (ValueKind::Item, Some(uid), 1);
    tell(world, (Some(giver), Some(receiver)), what, command);
    Ok(())
}

fn purse(world: &World, player: Entity) -> u64 {
    world.get::<Belongings>(player).map_or(0, |belongings| belongings.gold)
}

fn id_of(world: &World, entity: Entity) -> EntityId {
    world.get::<Id>(entity).map_or(EntityId(0), |id| id.0)
}

fn find(items: &[Item], uid: EntityId) -> Option<Item> {
    items
        .binary_search_by_key(&uid, |item| item.uid)
        .ok()
        .map(|place| items[place])
}

/// Sets the purse and says why.
fn set_gold(world: &mut World, player: Entity, total: u64, cause: GoldCause) {
    let Some(mut belongings) = world.get_mut::<Belongings>(player) else {
        return;
    };
    // Neither purse nor gift ever exceeds what an `i64` can tell the difference of: see `gift::give_gold`.
    let delta = total.wrapping_sub(belongings.gold) as i64;
    belongings.gold = total;
    renew_digest(world, player);
    emit(world, player, Event::Gold { total, delta, cause });
}

fn stow(world: &mut World, player: Entity, item: Item, cause: ItemCause) -> Result<(), RejectReason> {
    let mut belongings = world.get_mut::<Belongings>(player).ok_or(RejectReason::NoTarget)?;
    gift::stow(&mut belongings.items, item)?;
    renew_digest(world, player);
    emit(world, player, Event::ItemGained { item, cause });
    Ok(())
}

fn take_out(world: &mut World, player: Entity, item: Item, cause: ItemCause) {
    let Some(mut belongings) = world.get_mut::<Belongings>(player) else {
        return;
    };
    if gift::withdraw(&mut belongings.items, item.uid).is_ok() {
        renew_digest(world, player);
        emit(world, player, Event::ItemLost { item, cause });
    }
}

fn tell(
    world: &mut World,
    (from, to): (Option<Entity>, Option<Entity>),
    (kind, thing, amount): (ValueKind, Option<EntityId>, u64),
    command: Command,
) {
    let account = |entity: Option<Entity>| Some(world.get::<Session>(entity?)?.account);
    let told = ValueMove {
        value: kind.index(),
        thing,
        amount,
        from: account(from),
        to: account(to),
        command,
    };
    tell_move(world, told);
}

fn renew_digest(world: &mut World, entity: Entity) {
    let Some(now) = world.get::<Belongings>(entity).map(ValueDigest::of) else {
        return;
    };
    if let Some(mut digest) = world.get_mut::<ValueDigest>(entity) {
        *digest = now;
    }
}

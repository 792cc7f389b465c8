//! Purses and inventories: what may change hands. Nothing is created or destroyed here.

use everhold_protocol::event::RejectReason;
use everhold_protocol::limits::INVENTORY_ITEMS_MAX;
use everhold_protocol::{EntityId, Item};

/// The two purses after a gift of gold: the giver's, the receiver's.
pub fn give_gold(giver: u64, receiver: u64, amount: u64) -> Result<(u64, u64), RejectReason> {
    let left = giver.checked_sub(amount).ok_or(RejectReason::NotEnoughGold)?;
    let total = receiver.checked_add(amount).ok_or(RejectReason::Full)?;
    // A purse is told as a change, which is signed: one that an `i64` cannot say does not fit either.
    if amount == 0 || i64::try_from(amount).is_err() {
        return Err(RejectReason::NotEnoughGold);
    }
    Ok((left, total))
}

/// Puts an item where it belongs in the order of uid.
pub fn stow(items: &mut Vec<Item>, item: Item) -> Result<(), RejectReason> {
    if items.len() >= INVENTORY_ITEMS_MAX {
        return Err(RejectReason::Full);
    }
    let place = items.partition_point(|other| other.uid < item.uid);
    items.insert(place, item);
    Ok(())
}

/// Takes an item out.
pub fn withdraw(items: &mut Vec<Item>, uid: EntityId) -> Result<Item, RejectReason> {
    let place = items
        .binary_search_by_key(&uid, |item| item.uid)
        .map_err(|_| RejectReason::NotYours)?;
    Ok(items.remove(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(uid: u64) -> Item {
        Item {
            uid: EntityId(uid),
            kind: 0,
        }
    }

    #[test]
    fn gift_moves_gold_and_keeps_the_sum() {
        assert_eq!(give_gold(100, 7, 60), Ok((40, 67)));
        assert_eq!(give_gold(100, 7, 100), Ok((0, 107)));
    }

    #[test]
    fn gift_of_more_than_one_has_is_refused() {
        assert_eq!(give_gold(100, 7, 101), Err(RejectReason::NotEnoughGold));
        assert_eq!(give_gold(100, 7, 0), Err(RejectReason::NotEnoughGold));
    }

    #[test]
    fn purse_that_would_overflow_refuses_the_gift() {
        assert_eq!(give_gold(100, u64::MAX - 50, 51), Err(RejectReason::Full));
    }

    #[test]
    fn inventory_stays_in_order_and_ends_at_its_limit() {
        let mut items = Vec::new();
        for uid in (1..=INVENTORY_ITEMS_MAX as u64).rev() {
            stow(&mut items, item(uid)).unwrap();
        }
        assert!(items.is_sorted());
        assert_eq!(stow(&mut items, item(99)), Err(RejectReason::Full));
    }

    #[test]
    fn withdrawn_item_is_gone() {
        let mut items = vec![item(3), item(5)];
        assert_eq!(withdraw(&mut items, EntityId(5)), Ok(item(5)));
        assert_eq!(withdraw(&mut items, EntityId(5)), Err(RejectReason::NotYours));
    }
}

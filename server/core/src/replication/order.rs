//! The order of ids in a list, kept from tick to tick: the lists of a running zone change little, and sorting them anew
//! would cost as much as the rest of the work on them.

use everhold_protocol::EntityId;

/// The indices of a list, in order of their ids.
#[derive(Debug, Default)]
pub(super) struct IdOrder {
    /// Each id and its index in the list, ascending.
    sorted: Vec<(EntityId, u32)>,
    is_known: Vec<bool>,
}

impl IdOrder {
    /// Takes a list: its length, and the id at each index.
    pub(super) fn update(&mut self, len: usize, id_at: impl Fn(usize) -> EntityId) {
        self.is_known.clear();
        self.is_known.resize(len, false);
        let is_known = &mut self.is_known;
        self.sorted.retain(|&(id, index)| {
            let index = index as usize;
            let stays = index < len && id_at(index) == id;
            if stays {
                is_known[index] = true;
            }
            stays
        });
        if self.sorted.len() == len {
            return;
        }
        let strangers = (0..len).zip(0..).filter(|&(index, _)| !is_known[index]);
        let known = self.sorted.len();
        self.sorted
            .extend(strangers.map(|(index, place)| (id_at(index), place)));
        self.sorted[known..].sort_unstable();
        // A stable sort finds the two ascending runs, and merges them.
        self.sorted.sort();
    }

    /// Returns the list's indices, in order of their ids.
    pub(super) fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.sorted.iter().map(|&(_, index)| index as usize)
    }

    /// Returns the list index of the id at this place in their order.
    pub(super) fn index(&self, place: usize) -> usize {
        self.sorted[place].1 as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_list_is_put_in_order_whatever_came_before(
            lists in prop::collection::vec(prop::collection::hash_set(0..40_u64, 0..30), 1..6),
        ) {
            let mut order = IdOrder::default();
            for list in lists {
                let ids: Vec<EntityId> = list.into_iter().map(EntityId).collect();
                order.update(ids.len(), |index| ids[index]);
                let mut sorted = ids.clone();
                sorted.sort_unstable();
                let found: Vec<EntityId> = order.indices().map(|index| ids[index]).collect();
                prop_assert_eq!(found, sorted);
            }
        }
    }
}

//! Entities as plain values, as a restore collects them from a chain of captures before it spawns anything: a later
//! capture goes over an earlier one.

use std::any::Any;
use std::collections::BTreeMap;

use bevy_ecs::component::Component;
use bevy_ecs::world::{EntityWorldMut, World};
use everhold_protocol::EntityId;

use super::field::Corrupt;
use super::registry::{Id, State};

/// Rows by id, kept in one column for each kind of component.
pub(crate) struct Rows {
    /// The place of each id's row in the columns.
    places: BTreeMap<EntityId, usize>,
    /// The number of places given out. That of an entity that is gone is not given out again.
    len: usize,
    /// In order of kind.
    columns: Vec<(u8, Box<dyn ReadColumn>)>,
}

impl Rows {
    /// No rows, of these columns in order of kind.
    pub(crate) const fn new(columns: Vec<(u8, Box<dyn ReadColumn>)>) -> Self {
        Self {
            places: BTreeMap::new(),
            len: 0,
            columns,
        }
    }

    /// Forgets an entity.
    pub(crate) fn forget(&mut self, id: EntityId) {
        self.places.remove(&id);
    }

    /// Forgets one component. One that came and went between two captures was never written down.
    pub(crate) fn remove(&mut self, id: EntityId, kind: u8) -> Result<(), Corrupt> {
        let Some(&place) = self.places.get(&id) else {
            return Ok(());
        };
        let column = self.columns.iter_mut().find(|(known, _)| *known == kind);
        column.ok_or(Corrupt)?.1.remove(place);
        Ok(())
    }

    /// Takes the components that `mask` names (bit = kind), of a layout, over what was there.
    pub(crate) fn merge(&mut self, id: EntityId, (mask, layout): (u64, u16), input: &mut &[u8]) -> Result<(), Corrupt> {
        let place = *self.places.entry(id).or_insert(self.len);
        self.len = self.len.max(place + 1);
        let mut unknown = mask;
        for (kind, column) in &mut self.columns {
            if mask & 1 << *kind != 0 {
                column.read(place, layout, input)?;
                unknown &= !(1 << *kind);
            }
        }
        if unknown == 0 { Ok(()) } else { Err(Corrupt) }
    }

    /// Returns an entity's component of this type, if it has one.
    pub(crate) fn get<C: State + Component>(&self, id: EntityId) -> Option<&C> {
        let place = *self.places.get(&id)?;
        let (_, column) = self.columns.iter().find(|(kind, _)| *kind == C::KIND)?;
        let column: &Vec<Option<C>> = column.as_any().downcast_ref()?;
        column.get(place)?.as_ref()
    }

    /// Spawns every entity with what it has, in order of id.
    pub(crate) fn place(mut self, world: &mut World) {
        for (id, place) in self.places {
            let mut entity = world.spawn(Id(id));
            for (_, column) in &mut self.columns {
                column.place(place, &mut entity);
            }
        }
    }
}

/// The components of some type, each in the place of its row.
pub(crate) trait ReadColumn {
    /// Itself, for those who know its type.
    fn as_any(&self) -> &dyn Any;
    /// Takes a row's component of a layout from the front of `input`.
    fn read(&mut self, place: usize, layout: u16, input: &mut &[u8]) -> Result<(), Corrupt>;
    /// Forgets a row's component.
    fn remove(&mut self, place: usize);
    /// Inserts a row's component, if it has one.
    fn place(&mut self, place: usize, entity: &mut EntityWorldMut<'_>);
}

impl<C: State + Component> ReadColumn for Vec<Option<C>> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&mut self, place: usize, layout: u16, input: &mut &[u8]) -> Result<(), Corrupt> {
        let component = Some(C::get_at(layout, input)?);
        match self.get_mut(place) {
            Some(known) => *known = component,
            None => {
                self.resize_with(place, || None);
                self.push(component);
            }
        }
        Ok(())
    }

    fn remove(&mut self, place: usize) {
        if let Some(component) = self.get_mut(place) {
            *component = None;
        }
    }

    fn place(&mut self, place: usize, entity: &mut EntityWorldMut<'_>) {
        if let Some(component) = self.get_mut(place).and_then(Option::take) {
            entity.insert(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Tick;

    use super::*;
    use crate::ownership::state_layout;
    use crate::zone::field::Field;
    use crate::zone::state::{InputSeq, Resting};

    const ID: EntityId = EntityId(7);

    fn rows() -> Rows {
        let (seqs, rests) = (Vec::<Option<InputSeq>>::new(), Vec::<Option<Resting>>::new());
        Rows::new(vec![(InputSeq::KIND, Box::new(seqs)), (Resting::KIND, Box::new(rests))])
    }

    const SEQ: u64 = 1 << InputSeq::KIND;
    const REST: u64 = 1 << Resting::KIND;

    fn bytes(values: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|value| value.put(&mut out));
        out
    }

    fn merge(rows: &mut Rows, mask: u64, values: &[u64]) {
        rows.merge(ID, (mask, state_layout()), &mut &bytes(values)[..]).unwrap();
    }

    /// Places the rows in a World. Returns the entity's last number there, and since when it rests; `None` if it is not
    /// there.
    fn placed(rows: Rows) -> Option<(Option<u64>, Option<Tick>)> {
        let mut world = World::new();
        rows.place(&mut world);
        let mut found = world.query::<(&Id, Option<&InputSeq>, Option<&Resting>)>();
        let row = found.iter(&world).find(|(id, ..)| id.0 == ID);
        row.map(|(_, seq, rest)| (seq.map(|seq| seq.last), rest.map(|rest| rest.since)))
    }

    #[test]
    fn later_capture_goes_over_an_earlier_one_and_leaves_what_it_does_not_name() {
        let mut rows = rows();
        merge(&mut rows, SEQ | REST, &[1, 20]);
        merge(&mut rows, SEQ, &[2]);
        assert_eq!(placed(rows), Some((Some(2), Some(Tick(20)))));
    }

    #[test]
    fn removed_component_is_gone_and_one_that_was_never_written_is_no_error() {
        let mut rows = rows();
        assert_eq!(rows.remove(ID, Resting::KIND), Ok(()));
        merge(&mut rows, SEQ | REST, &[1, 20]);
        assert_eq!(rows.remove(ID, Resting::KIND), Ok(()));
        assert_eq!(placed(rows), Some((Some(1), None)));
    }

    #[test]
    fn entity_that_left_and_came_back_has_nothing_of_before() {
        let mut rows = rows();
        merge(&mut rows, SEQ | REST, &[1, 20]);
        rows.forget(ID);
        merge(&mut rows, SEQ, &[5]);
        assert_eq!(placed(rows), Some((Some(5), None)));
    }

    #[test]
    fn kind_that_is_not_declared_is_corrupt() {
        let mut rows = rows();
        let mask = (SEQ | 1 << 63, state_layout());
        assert_eq!(rows.merge(ID, mask, &mut &bytes(&[1])[..]), Err(Corrupt));
        assert_eq!(rows.remove(ID, 63), Err(Corrupt));
    }
}

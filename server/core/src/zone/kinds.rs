//! The kinds of a zone's state: for each declared component and resource one object that knows its type, and cuts,
//! hashes, and places it. It does not say which kinds there are: that is declared to the
//! [`ZoneBuilder`](super::declare::ZoneBuilder).

use std::marker::PhantomData;

use bevy_ecs::change_detection::Tick as ChangeTick;
use bevy_ecs::component::Component;
use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;

use super::field::Corrupt;
use super::frozen::{Column, FrozenResource, FrozenTable, digest_column, digest_resource};
use super::registry::{Id, State};
use super::rows::{ReadColumn, Rows};

/// Every kind of a zone's state, in order of kind.
#[derive(Default)]
pub(crate) struct Kinds {
    components: Vec<Box<dyn ComponentKind>>,
    resources: Vec<Box<dyn ResourceKind>>,
}

impl Kinds {
    /// Adds a component.
    ///
    /// # Panics
    /// If its number is taken, or does not fit a mask.
    pub(crate) fn add_component<C: State + Component>(&mut self, world: &mut World) {
        assert!(u32::from(C::KIND) < u64::BITS, "kind {} does not fit a mask", C::KIND);
        let kind: Box<dyn ComponentKind> = Box::new(Columns::<C>::new(world));
        let place = self.components.partition_point(|other| other.kind() < C::KIND);
        let taken = self.components.get(place).is_some_and(|other| other.kind() == C::KIND);
        assert!(!taken, "kind {} is declared twice", C::KIND);
        self.components.insert(place, kind);
    }

    /// Adds a resource.
    ///
    /// # Panics
    /// If its number is taken.
    pub(crate) fn add_resource<R: State + Resource>(&mut self) {
        let kind: Box<dyn ResourceKind> = Box::new(Single::<R>(PhantomData));
        let place = self.resources.partition_point(|other| other.kind() < R::KIND);
        let taken = self.resources.get(place).is_some_and(|other| other.kind() == R::KIND);
        assert!(!taken, "kind {} is declared twice", R::KIND);
        self.resources.insert(place, kind);
    }

    /// Copies the components of every table; `tables` has the ids of each. What changed after `since` is what a delta
    /// tells.
    pub(crate) fn cut_components(&mut self, world: &World, since: Option<ChangeTick>, tables: &mut [FrozenTable]) {
        self.components
            .iter_mut()
            .for_each(|kind| kind.cut(world, since, tables));
    }

    /// Copies the resources. What changed after `since` is what a delta tells.
    pub(crate) fn cut_resources(&self, world: &World, since: Option<ChangeTick>) -> Vec<FrozenResource> {
        self.resources.iter().map(|kind| kind.cut(world, since)).collect()
    }

    /// Sums the hashes of all components and resources, as far as a layout has them: order has no part in it.
    pub(crate) fn digest(&mut self, world: &World, layout: u16) -> u64 {
        let components = self.components.iter_mut().map(|kind| kind.digest(world, layout));
        let resources = self.resources.iter().map(|kind| kind.digest(world, layout));
        components.chain(resources).fold(0, u64::wrapping_add)
    }

    /// Whether an entity has a component of this kind now.
    pub(crate) fn is_on(&self, world: &World, entity: Entity, kind: u8) -> bool {
        self.components
            .iter()
            .any(|known| known.kind() == kind && known.is_on(world, entity))
    }

    /// Writes an entity's components for people: each with the name of its type, in order of kind.
    pub(crate) fn describe(&self, world: &World, entity: Entity) -> Vec<(&'static str, String)> {
        let kinds = self.components.iter();
        kinds.filter_map(|kind| kind.describe(world, entity)).collect()
    }

    /// Replaces one resource by what bytes of a layout say.
    pub(crate) fn place_resource(
        &self,
        world: &mut World,
        (kind, layout): (u8, u16),
        input: &mut &[u8],
    ) -> Result<(), Corrupt> {
        let known = self.resources.iter().find(|known| known.kind() == kind);
        known.ok_or(Corrupt)?.place(world, layout, input)
    }

    /// Rows of these kinds, none yet.
    pub(crate) fn rows(&self) -> Rows {
        Rows::new(
            self.components
                .iter()
                .map(|kind| (kind.kind(), kind.column()))
                .collect(),
        )
    }
}

/// A component of some type.
trait ComponentKind: Send + Sync {
    fn kind(&self) -> u8;
    fn cut(&mut self, world: &World, since: Option<ChangeTick>, tables: &mut [FrozenTable]);
    fn digest(&mut self, world: &World, layout: u16) -> u64;
    fn is_on(&self, world: &World, entity: Entity) -> bool;
    fn describe(&self, world: &World, entity: Entity) -> Option<(&'static str, String)>;
    fn column(&self) -> Box<dyn ReadColumn>;
}

/// The ids of a table that has a column of `C`, and that column. Disabled entities are included: no rule disables one,
/// and if one did, nothing of it would be lost.
type IdsAndColumn<C> = (&'static Id, Has<Disabled>, Ref<'static, C>);

/// Every table of the World that has a column of `C`. Two queries may meet the same tables in another order each: it
/// depends on when each of them met a table first. So a table is known by its ids.
struct Columns<C: Component>(QueryState<IdsAndColumn<C>>);

impl<C: Component> Columns<C> {
    fn new(world: &mut World) -> Self {
        Self(QueryState::new(world))
    }
}

impl<C: State + Component> ComponentKind for Columns<C> {
    fn kind(&self) -> u8 {
        C::KIND
    }

    fn cut(&mut self, world: &World, since: Option<ChangeTick>, tables: &mut [FrozenTable]) {
        let columns = self
            .0
            .contiguous_iter(world)
            .expect("every component is kept in tables");
        for (ids, _, column) in columns {
            if let Some(first) = ids.first() {
                let table = tables.iter_mut().find(|table| table.begins_with(*first));
                let table = table.expect("the ids of each table were cut");
                table.add(Column::cut(&column, since));
            }
        }
    }

    fn digest(&mut self, world: &World, layout: u16) -> u64 {
        let tables = self
            .0
            .contiguous_iter(world)
            .expect("every component is kept in tables");
        let shares = tables.map(|(ids, _, column)| digest_column(ids, &column, layout));
        shares.fold(0, u64::wrapping_add)
    }

    fn is_on(&self, world: &World, entity: Entity) -> bool {
        world.get::<C>(entity).is_some()
    }

    fn describe(&self, world: &World, entity: Entity) -> Option<(&'static str, String)> {
        let name = std::any::type_name::<C>();
        let name = name.rsplit("::").next().unwrap_or(name);
        Some((name, format!("{:?}", world.get::<C>(entity)?)))
    }

    fn column(&self) -> Box<dyn ReadColumn> {
        Box::new(Vec::<Option<C>>::new())
    }
}

/// A resource of some type.
trait ResourceKind: Send + Sync {
    fn kind(&self) -> u8;
    fn cut(&self, world: &World, since: Option<ChangeTick>) -> FrozenResource;
    fn digest(&self, world: &World, layout: u16) -> u64;
    fn place(&self, world: &mut World, layout: u16, input: &mut &[u8]) -> Result<(), Corrupt>;
}

/// The one resource of type `R`.
struct Single<R>(PhantomData<fn() -> R>);

impl<R: State + Resource> ResourceKind for Single<R> {
    fn kind(&self) -> u8 {
        R::KIND
    }

    fn cut(&self, world: &World, since: Option<ChangeTick>) -> FrozenResource {
        let resource = world.resource_ref::<R>();
        FrozenResource {
            kind: R::KIND,
            is_told: since.is_none_or(|since| resource.is_changed_after(since)),
            value: Box::new((*resource).clone()),
        }
    }

    fn digest(&self, world: &World, layout: u16) -> u64 {
        digest_resource(world.resource::<R>(), layout)
    }

    fn place(&self, world: &mut World, layout: u16, input: &mut &[u8]) -> Result<(), Corrupt> {
        world.insert_resource(R::get_at(layout, input)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use everhold_protocol::{EntityId, Tick};

    use super::*;
    use crate::ownership::state_layout;
    use crate::zone::frozen::Frozen;
    use crate::zone::state::{Clock, InputSeq};

    /// Entities with different ones of it are in different tables.
    #[derive(Component)]
    struct Apart<const N: u64>;

    #[test]
    fn tables_that_a_digest_met_one_by_one_are_cut_with_their_own_columns() {
        let (mut world, mut kinds) = (World::new(), Kinds::default());
        kinds.add_component::<InputSeq>(&mut world);
        let mut ids = QueryState::<&Id>::new(&mut world);
        macro_rules! spawn_apart {
            ($($n:literal)*) => {$(
                world.spawn((Id(EntityId($n)), InputSeq { last: 100 + $n }, Apart::<$n>));
                let _met = kinds.digest(&world, state_layout());
            )*};
        }
        spawn_apart!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        let tables = ids.contiguous_iter(&world).expect("ids are kept in tables");
        let mut tables: Vec<_> = tables.map(|ids| FrozenTable::new(ids.to_vec())).collect();
        assert_eq!(tables.len(), 16);
        kinds.cut_components(&world, None, &mut tables);
        let frozen = Frozen {
            tick: Tick(0),
            base: true,
            rules_id: [0; 32],
            resources: Vec::new(),
            gone: BTreeSet::new(),
            removed: BTreeSet::new(),
            tables,
        };
        assert_eq!(
            frozen.encode().digest.0,
            kinds.digest(&world, state_layout()),
            "an id with another entity's value has another hash"
        );
    }

    #[test]
    #[should_panic(expected = "kind 6 is declared twice")]
    fn number_that_two_components_have_is_a_mistake() {
        let (mut world, mut kinds) = (World::new(), Kinds::default());
        kinds.add_component::<InputSeq>(&mut world);
        kinds.add_component::<InputSeq>(&mut world);
    }

    #[test]
    #[should_panic(expected = "kind 1 is declared twice")]
    fn number_that_two_resources_have_is_a_mistake() {
        let mut kinds = Kinds::default();
        kinds.add_resource::<Clock>();
        kinds.add_resource::<Clock>();
    }
}

//! The registry: one declaration per component or resource of a zone's World.
//!
//! A type is `state` (captured, restored, digested), `derived` (rebuilt from the state) or `output` (empty between ticks). `state!`
//! declares all state in one place and derives everything that must treat each kind alike; a test walks the World and fails on a
//! type that is declared nowhere. State also says who may see it, and only what it allows can be put into a scene.

use bevy_ecs::component::Component;
use bevy_ecs::world::DeferredWorld;
use everhold_protocol::EntityId;

use super::index::Ledger;

/// An entity's stable id. Queries, hooks, and captures know an entity by it; `Entity` never orders, seeds, or is stored.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[component(immutable)]
pub struct Id(pub EntityId);

/// Who may be told a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// No client.
    Nobody,
    /// The client whose character it is.
    Owner,
    /// Every client that sees the entity.
    Everyone,
}

/// How a type of the World is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Captured, restored, digested.
    State(Sight),
    /// Rebuilt from the state.
    Derived,
    /// Empty between ticks.
    Output,
}

/// A declared type, by the name that the World registers it under.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// `std::any::type_name`.
    pub name: &'static str,
    /// How it is treated.
    pub treatment: Treatment,
}

impl Declared {
    fn new<T>(treatment: Treatment) -> Self {
        Self {
            name: std::any::type_name::<T>(),
            treatment,
        }
    }
}

/// Every type that a zone's World may hold, bevy's own aside.
#[must_use]
pub fn declarations() -> Vec<Declared> {
    use Treatment::{Derived, Output, State};
    let beside_the_state = [
        // The key of every captured row.
        Declared::new::<Id>(State(Sight::Everyone)),
        Declared::new::<super::config::Setting>(Derived),
        Declared::new::<super::index::Directory>(Derived),
        Declared::new::<Ledger>(Derived),
        Declared::new::<super::grid::PreyGrid>(Derived),
        Declared::new::<super::value::ValueDigest>(Derived),
        Declared::new::<super::tell::Told>(Output),
        Declared::new::<super::intents::Wishes>(Output),
        Declared::new::<super::systems::monsters::Bites>(Output),
    ];
    super::state::STATE.iter().copied().chain(beside_the_state).collect()
}

/// A declared component or resource of the state.
pub trait State: super::field::Field {
    /// Its number in captures; never used again for another type.
    const KIND: u8;
    /// Who may be told.
    const SIGHT: Sight;
}

/// Fails the build of a scene that shows what not everybody may see.
pub(crate) const fn seen_by_everyone<C: State>() {
    assert!(matches!(C::SIGHT, Sight::Everyone));
}

/// Fails the build of an answer that tells the owner what nobody may see.
pub(crate) const fn seen_by_owner<C: State>() {
    assert!(!matches!(C::SIGHT, Sight::Nobody));
}

/// Notes that a component of kind `C` leaves its entity, on despawn too: change detection cannot tell a delta about what is gone.
pub(crate) fn note_removal<C: State>(mut world: DeferredWorld<'_>, context: bevy_ecs::lifecycle::HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    if let Some(mut ledger) = world.get_resource_mut::<Ledger>() {
        ledger.note_removed(id, C::KIND);
    }
}

/// Declares the state: components (each entity has any subset) and resources (each exists once).
///
/// Derives the types, their bytes and hashes, [`Row`](super::state::Row) (an entity as plain values), the columns that a cut copies
/// and a digest reads, and the hooks that note removals.
macro_rules! state {
    (
        components { $(
            $(#[$cm:meta])* $ckind:literal $csight:ident $cfield:ident: $comp:ident {
                $($(#[$cfm:meta])* $cf:ident: $ct:ty),* $(,)?
            }
        )* }
        resources { $(
            $(#[$rm:meta])* $rkind:literal $rsight:ident $rfield:ident: $res:ident {
                $($(#[$rfm:meta])* $rf:ident: $rt:ty),* $(,)?
            }
        )* }
    ) => {
        $(
            $(#[$cm])*
            #[derive(bevy_ecs::component::Component, Clone, Debug, PartialEq, Eq)]
            pub struct $comp { $($(#[$cfm])* pub $cf: $ct),* }
            $crate::zone::registry::state!(@bytes $ckind $csight $comp { $($cf),* });
        )*
        $(
            $(#[$rm])*
            #[derive(bevy_ecs::resource::Resource, Clone, Debug, Default, PartialEq, Eq)]
            pub struct $res { $($(#[$rfm])* pub $rf: $rt),* }
            $crate::zone::registry::state!(@bytes $rkind $rsight $res { $($rf),* });
        )*

        /// The state's types, for the coverage test.
        pub const STATE: &[$crate::zone::registry::Declared] = &[
            $($crate::zone::registry::Declared {
                name: concat!(module_path!(), "::", stringify!($comp)),
                treatment: $crate::zone::registry::Treatment::State($crate::zone::registry::Sight::$csight),
            },)*
            $($crate::zone::registry::Declared {
                name: concat!(module_path!(), "::", stringify!($res)),
                treatment: $crate::zone::registry::Treatment::State($crate::zone::registry::Sight::$rsight),
            },)*
        ];

        /// An entity of the World with everything that is state, and when each last changed. Disabled entities are included: no rule
        /// disables one, and if one did, nothing of it would be lost.
        pub(crate) type RowQuery = bevy_ecs::query::QueryState<
            (
                &'static $crate::zone::registry::Id,
                bevy_ecs::query::Has<bevy_ecs::entity_disabling::Disabled>,
                ($(Option<bevy_ecs::world::Ref<'static, $comp>>,)*),
            ),
        >;

        /// An entity as plain values: what a restore collects before it spawns anything.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Row { $(pub(crate) $cfield: Option<$comp>,)* }

        impl Row {
            /// Takes the components that `mask` names (bit = kind) over what was there.
            pub(crate) fn merge(&mut self, mask: u64, input: &mut &[u8]) -> Result<(), $crate::zone::field::Corrupt> {
                let mut known = 0u64;
                $(
                    known |= 1 << $ckind;
                    if mask & 1 << $ckind != 0 {
                        self.$cfield = Some($crate::zone::field::Field::get(input)?);
                    }
                )*
                if mask & !known == 0 { Ok(()) } else { Err($crate::zone::field::Corrupt) }
            }

            /// Forgets one component.
            pub(crate) fn remove(&mut self, kind: u8) -> Result<(), $crate::zone::field::Corrupt> {
                match kind {
                    $($ckind => self.$cfield = None,)*
                    _ => return Err($crate::zone::field::Corrupt),
                }
                Ok(())
            }

            /// Inserts what there is.
            pub(crate) fn place(self, entity: &mut bevy_ecs::world::EntityWorldMut<'_>) {
                $(if let Some(component) = self.$cfield { entity.insert(component); })*
            }
        }

        /// Whether an entity has a component of this kind now.
        pub(crate) fn has(world: &bevy_ecs::world::World, entity: bevy_ecs::entity::Entity, kind: u8) -> bool {
            match kind {
                $($ckind => world.get::<$comp>(entity).is_some(),)*
                _ => false,
            }
        }

        /// A table of the World as it was cut.
        #[derive(Debug)]
        pub(crate) struct FrozenTable {
            ids: Vec<$crate::zone::registry::Id>,
            $($cfield: Option<$crate::zone::frozen::Column<$comp>>,)*
        }

        impl FrozenTable {
            /// Copies every table. What changed after `since` is what a delta tells.
            pub(crate) fn cut(
                world: &bevy_ecs::world::World,
                query: &mut RowQuery,
                since: Option<bevy_ecs::change_detection::Tick>,
            ) -> Vec<Self> {
                let tables = query.contiguous_iter(world).expect("every component is kept in tables");
                tables
                    .map(|(ids, _, ($($cfield,)*))| Self {
                        ids: ids.to_vec(),
                        $($cfield: $cfield.map(|column| $crate::zone::frozen::Column::cut(&column, since)),)*
                    })
                    .collect()
            }

            /// Appends the rows of which something is to be told, each as its id, its mask, and its components in order of declaration, and counts
            /// them.
            pub(crate) fn put(&self, out: &mut Vec<u8>) -> u64 {
                use $crate::zone::field::Field;
                let mut count = 0;
                for (row, id) in self.ids.iter().enumerate() {
                    let mut mask = 0u64;
                    $(
                        let $cfield = self.$cfield.as_ref().and_then(|column| column.told(row));
                        mask |= u64::from($cfield.is_some()) << $ckind;
                    )*
                    if mask == 0 {
                        continue;
                    }
                    count += 1;
                    id.0.put(out);
                    $crate::zone::field::put_varint(mask, out);
                    $(if let Some(component) = $cfield {
                        component.put(out);
                    })*
                }
                count
            }

            /// Its share of the digest.
            pub(crate) fn digest(&self) -> u64 {
                [$(self.$cfield.as_ref().map_or(0, |column| column.digest(&self.ids))),*]
                    .into_iter()
                    .fold(0, u64::wrapping_add)
            }
        }

        /// The tables' share of the digest: a sum over all components, so that no order has a part in it.
        pub(crate) fn digest_tables(world: &bevy_ecs::world::World, query: &mut RowQuery) -> u64 {
            let mut sum = 0u64;
            for (ids, _, ($($cfield,)*)) in query.contiguous_iter(world).expect("every component is kept in tables") {
                $(if let Some(column) = $cfield {
                    sum = sum.wrapping_add($crate::zone::frozen::digest_column(ids, &column));
                })*
            }
            sum
        }

        /// The resources as they were cut, each with whether it is to be told.
        #[derive(Debug)]
        pub(crate) struct FrozenResources { $($rfield: ($res, bool),)* }

        impl FrozenResources {
            /// Copies them. What changed after `since` is what a delta tells.
            pub(crate) fn cut(world: &bevy_ecs::world::World, since: Option<bevy_ecs::change_detection::Tick>) -> Self {
                use bevy_ecs::change_detection::DetectChanges;
                $(let $rfield = world.resource_ref::<$res>();)*
                Self { $(
                    $rfield: (
                        (*$rfield).clone(),
                        since.is_none_or(|since| $rfield.is_changed_after(since)),
                    ),
                )* }
            }

            /// Appends the number of those that are to be told, and each as its kind, its length, and its bytes, in order of declaration.
            pub(crate) fn put(&self, out: &mut Vec<u8>) {
                use $crate::zone::field::{Field, put_varint};
                put_varint([$(u64::from(self.$rfield.1)),*].iter().sum(), out);
                let mut bytes = Vec::new();
                $(if let (resource, true) = &self.$rfield {
                    bytes.clear();
                    resource.put(&mut bytes);
                    out.push($rkind);
                    put_varint(bytes.len() as u64, out);
                    out.extend_from_slice(&bytes);
                })*
            }

            /// Their share of the digest.
            pub(crate) fn digest(&self) -> u64 {
                [$($crate::zone::frozen::digest_resource(&self.$rfield.0)),*]
                    .into_iter()
                    .fold(0, u64::wrapping_add)
            }
        }

        /// The resources' share of the digest.
        pub(crate) fn digest_resources(world: &bevy_ecs::world::World) -> u64 {
            [$($crate::zone::frozen::digest_resource(world.resource::<$res>())),*]
                .into_iter()
                .fold(0, u64::wrapping_add)
        }

        /// Replaces one resource by what the bytes say.
        pub(crate) fn place_resource(
            world: &mut bevy_ecs::world::World,
            kind: u8,
            input: &mut &[u8],
        ) -> Result<(), $crate::zone::field::Corrupt> {
            match kind {
                $($rkind => world.insert_resource(<$res as $crate::zone::field::Field>::get(input)?),)*
                _ => return Err($crate::zone::field::Corrupt),
            }
            Ok(())
        }

        /// Puts empty resources and the removal hooks into a new World. To be called before the first spawn.
        pub(crate) fn install(world: &mut bevy_ecs::world::World) {
            $(world.insert_resource($res::default());)*
            $(world.register_component_hooks::<$comp>().on_remove($crate::zone::registry::note_removal::<$comp>);)*
        }
    };
    (@bytes $kind:literal $sight:ident $name:ident { $($f:ident),* }) => {
        impl $crate::zone::field::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::zone::field::Field::put(&self.$f, out);)*
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::zone::field::Corrupt> {
                Ok(Self { $($f: $crate::zone::field::Field::get(input)?),* })
            }
            fn mix(&self, mixer: &mut $crate::zone::mixer::Mixer) {
                $($crate::zone::field::Field::mix(&self.$f, mixer);)*
            }
        }
        impl $crate::zone::registry::State for $name {
            const KIND: u8 = $kind;
            const SIGHT: $crate::zone::registry::Sight = $crate::zone::registry::Sight::$sight;
        }
    };
}
pub(crate) use state;

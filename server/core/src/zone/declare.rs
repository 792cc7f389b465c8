//! Declarations: the engine and the game each say which types a zone's World holds, and what runs in a tick. `state!`
//! declares state and derives its bytes and hashes; the [`ZoneBuilder`] collects who declares what. It names no type of
//! either.

use bevy_ecs::component::{Component, Mutable};
use bevy_ecs::error::{BevyError, ErrorContext, FallbackErrorHandler};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, SingleThreadedExecutor};
use everhold_protocol::ZoneName;

use super::kinds::Kinds;
use super::registry::{Declared, Id, State, Treatment, Visibility, note_removal};

/// A zone that is being built: nothing is in its World but what is declared here.
pub struct ZoneBuilder<'a> {
    name: &'a ZoneName,
    tick_hz: u16,
    world: World,
    schedule: Schedule,
    kinds: Kinds,
    declared: Vec<Declared>,
}

/// The parts of a zone that a builder has built.
pub(crate) struct Built {
    pub(crate) world: World,
    pub(crate) schedule: Schedule,
    pub(crate) kinds: Kinds,
    pub(crate) declared: Vec<Declared>,
}

impl<'a> ZoneBuilder<'a> {
    /// An empty World, and a schedule of one thread in which a system without an order is an error. `shuffle_seed`
    /// shuffles systems whose order is not fixed: there are none, and tests make sure.
    pub(crate) fn new(name: &'a ZoneName, tick_hz: u16, shuffle_seed: Option<u64>) -> Self {
        let mut world = World::new();
        world.insert_resource(FallbackErrorHandler(rethrow));
        let mut schedule = Schedule::default();
        schedule.set_executor(SingleThreadedExecutor::new());
        schedule.set_build_settings(ScheduleBuildSettings {
            ambiguity_detection: LogLevel::Error,
            hierarchy_detection: LogLevel::Error,
            shuffle_seed,
            ..Default::default()
        });
        // The key of every captured row.
        let declared = vec![Declared::new::<Id>(Treatment::State(Visibility::Everyone))];
        Self {
            name,
            tick_hz,
            world,
            schedule,
            kinds: Kinds::default(),
            declared,
        }
    }

    /// The zone's name.
    #[must_use]
    pub const fn name(&self) -> &'a ZoneName {
        self.name
    }

    /// Ticks per second, at least 1.
    #[must_use]
    pub const fn tick_hz(&self) -> u16 {
        self.tick_hz
    }

    /// Declares a component of the state. To be called before the first spawn, as everything here.
    ///
    /// # Panics
    /// If another component has its number.
    pub fn component<C: State + Component<Mutability = Mutable>>(&mut self) {
        self.declare::<C>(Treatment::State(C::VISIBILITY));
        self.kinds.add_component::<C>(&mut self.world);
        self.world.register_component_hooks::<C>().on_remove(note_removal::<C>);
    }

    /// Declares a resource of the state, which is empty at first.
    ///
    /// # Panics
    /// If another resource has its number.
    pub fn resource<R: State + Resource<Mutability = Mutable> + Default>(&mut self) {
        self.declare::<R>(Treatment::State(R::VISIBILITY));
        self.kinds.add_resource::<R>();
        self.world.insert_resource(R::default());
    }

    /// Declares a resource that is rebuilt from the state, or never changes.
    pub fn derived<R: Resource>(&mut self, resource: R) {
        self.declare::<R>(Treatment::Derived);
        self.world.insert_resource(resource);
    }

    /// Declares a component that is rebuilt from the state.
    pub fn derived_component<C: Component>(&mut self) {
        self.declare::<C>(Treatment::Derived);
    }

    /// Declares a resource that is empty between ticks.
    pub fn output<R: Resource + Default>(&mut self) {
        self.declare::<R>(Treatment::Output);
        self.world.insert_resource(R::default());
    }

    /// The World, for queries and hooks. What it holds is declared with the other functions.
    pub const fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// The systems of a tick. Each needs its place in one chain.
    pub const fn schedule(&mut self) -> &mut Schedule {
        &mut self.schedule
    }

    /// Ends the declarations.
    pub(crate) fn finish(self) -> Built {
        Built {
            world: self.world,
            schedule: self.schedule,
            kinds: self.kinds,
            declared: self.declared,
        }
    }

    fn declare<T>(&mut self, treatment: Treatment) {
        self.declared.push(Declared::new::<T>(treatment));
    }
}

/// Bevy's executor catches a system's panic and would go on with the rest of the tick: this passes it on instead.
fn rethrow(mut error: BevyError, context: ErrorContext) {
    match error.take_payload() {
        Some(payload) => std::panic::resume_unwind(payload),
        None => panic!("{} {} failed: {error}", context.kind(), context.name()),
    }
}

/// Declares state: components (each entity has any subset) and resources (each exists once).
///
/// Derives the types, their bytes and hashes, and `declare_state`, which declares all of them to a [`ZoneBuilder`].
///
/// A field that a later layout added is declared after all others as `name: Type = since(LAYOUT, default)`. It is
/// written and hashed from that layout on, and is its default in whatever was written before: so a state of an earlier
/// layout is read, and has the digest that it was written with. Fields are never taken out, moved, or given another
/// type; each change raises [`crate::limits::STATE_LAYOUT`].
macro_rules! state {
    (
        components { $(
            $(#[$cm:meta])* $ckind:literal $csight:ident $comp:ident {
                $($(#[$cfm:meta])* $cf:ident: $ct:ty $(= since($cs:expr, $cd:expr))?),* $(,)?
            }
        )* }
        resources { $(
            $(#[$rm:meta])* $rkind:literal $rsight:ident $res:ident {
                $($(#[$rfm:meta])* $rf:ident: $rt:ty $(= since($rs:expr, $rd:expr))?),* $(,)?
            }
        )* }
    ) => {
        $(
            $(#[$cm])*
            #[derive(bevy_ecs::component::Component, Clone, Debug, PartialEq, Eq)]
            pub struct $comp { $($(#[$cfm])* pub $cf: $ct),* }
            $crate::zone::declare::state!(@bytes $ckind $csight $comp { $($cf $(since $cs, $cd)?;)* });
        )*
        $(
            $(#[$rm])*
            #[derive(bevy_ecs::resource::Resource, Clone, Debug, Default, PartialEq, Eq)]
            pub struct $res { $($(#[$rfm])* pub $rf: $rt),* }
            $crate::zone::declare::state!(@bytes $rkind $rsight $res { $($rf $(since $rs, $rd)?;)* });
        )*

        /// Declares the state of this file.
        pub(crate) fn declare_state(zone: &mut $crate::zone::declare::ZoneBuilder<'_>) {
            $(zone.component::<$comp>();)*
            $(zone.resource::<$res>();)*
        }
    };
    (@bytes $kind:literal $visibility:ident $name:ident { $($f:ident $(since $s:expr, $d:expr)?;)* }) => {
        impl $crate::zone::field::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $crate::zone::registry::State::put_at(self, $crate::ownership::state_layout(), out);
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::zone::field::Corrupt> {
                $crate::zone::registry::State::get_at($crate::ownership::state_layout(), input)
            }
            fn mix(&self, hasher: &mut $crate::zone::hasher::StateHasher) {
                $crate::zone::registry::State::mix_at(self, $crate::ownership::state_layout(), hasher);
            }
        }
        impl $crate::zone::registry::State for $name {
            const KIND: u8 = $kind;
            const VISIBILITY: $crate::zone::registry::Visibility = $crate::zone::registry::Visibility::$visibility;

            fn put_at(&self, _layout: u16, out: &mut Vec<u8>) {
                $(if $crate::zone::declare::state!(@has _layout $($s)?) {
                    $crate::zone::field::Field::put(&self.$f, out);
                })*
            }
            fn get_at(_layout: u16, input: &mut &[u8]) -> Result<Self, $crate::zone::field::Corrupt> {
                Ok(Self {
                    $($f: $crate::zone::declare::state!(
                        @get _layout, $crate::zone::field::Field::get(input)? $(, $s, $d)?
                    )),*
                })
            }
            fn mix_at(&self, _layout: u16, hasher: &mut $crate::zone::hasher::StateHasher) {
                $(if $crate::zone::declare::state!(@has _layout $($s)?) {
                    $crate::zone::field::Field::mix(&self.$f, hasher);
                })*
            }
        }
    };
    (@has $layout:ident) => { true };
    (@has $layout:ident $since:expr) => { $layout >= $since };
    (@get $layout:ident, $read:expr) => { $read };
    (@get $layout:ident, $read:expr, $since:expr, $default:expr) => {
        if $layout >= $since { $read } else { $default }
    };
}
pub(crate) use state;

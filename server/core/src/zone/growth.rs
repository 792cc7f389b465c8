//! For tests of two builds side by side: a component that one build has with one field and the next with two. A process
//! has it only if it was told to.

use std::sync::OnceLock;

use bevy_ecs::prelude::*;

use super::declare::{ZoneBuilder, state};
use crate::limits::STATE_LAYOUT;
use crate::ownership::state_layout::{state_layout, write_next_layout};

/// The layout that adds a field.
const NEXT_LAYOUT: u16 = STATE_LAYOUT + 1;

state! {
    components {
        /// Counts for a session how often it was attached.
        63 Nobody Growth {
            /// All attaches.
            attaches: u64,
            /// Those since the next layout, which added this field.
            attaches_since: u64 = since(NEXT_LAYOUT, 0),
        }
    }
    resources {}
}

static IS_SET: OnceLock<()> = OnceLock::new();

/// Has this process declare the component: with one field, in today's layout, or with two, in the next one.
///
/// # Panics
/// If it is set already, or the number of fields is another.
pub fn set(fields: u8) {
    assert!(matches!(fields, 1 | 2), "one field or two");
    IS_SET.set(()).expect("a process has one state");
    if fields == 2 {
        write_next_layout();
    }
}

pub(crate) fn declare(zone: &mut ZoneBuilder<'_>) {
    if IS_SET.get().is_some() {
        declare_state(zone);
    }
}

/// Notes that a session is attached.
pub(crate) fn note_attach(world: &mut World, session: Entity) {
    if IS_SET.get().is_none() {
        return;
    }
    let mut growth = world.get::<Growth>(session).cloned().unwrap_or(Growth {
        attaches: 0,
        attaches_since: 0,
    });
    growth.attaches += 1;
    growth.attaches_since += u64::from(state_layout() > STATE_LAYOUT);
    world.entity_mut(session).insert(growth);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::field::Field;
    use crate::zone::hasher::StateHasher;
    use crate::zone::registry::State;

    const BEFORE: u16 = STATE_LAYOUT;
    const NEXT: u16 = NEXT_LAYOUT;

    fn bytes(growth: &Growth, layout: u16) -> Vec<u8> {
        let mut out = Vec::new();
        growth.put_at(layout, &mut out);
        out
    }

    fn hash(growth: &Growth, layout: u16) -> u64 {
        let mut hasher = StateHasher::new(1);
        growth.mix_at(layout, &mut hasher);
        hasher.finish()
    }

    #[test]
    fn field_of_a_later_layout_is_its_default_in_bytes_of_an_earlier_one_and_not_in_their_digest() {
        let grown = Growth {
            attaches: 7,
            attaches_since: 3,
        };
        let before = Growth {
            attaches_since: 0,
            ..grown.clone()
        };
        let (old, new) = (bytes(&grown, BEFORE), bytes(&grown, NEXT));
        assert_eq!((old.len(), new.len()), (1, 2));
        assert_eq!(Growth::get_at(BEFORE, &mut &old[..]), Ok(before.clone()));
        assert_eq!(Growth::get_at(NEXT, &mut &new[..]), Ok(grown.clone()));
        assert_eq!(hash(&grown, BEFORE), hash(&before, BEFORE));
        assert_ne!(hash(&grown, NEXT), hash(&before, NEXT));
        assert!(Growth::get_at(NEXT, &mut &old[..]).is_err(), "a field is missing");
        // What is written without a word of a layout is of today's.
        let mut today = Vec::new();
        grown.put(&mut today);
        assert_eq!(today, old);
    }
}

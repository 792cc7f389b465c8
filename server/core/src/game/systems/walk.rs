//! Walking: one step for each player and monster that may move. They never block each other, so the order does not
//! matter.

use bevy_ecs::prelude::*;
use everhold_protocol::Heading;

use crate::game::rules::movement;
use crate::game::settings::GameSettings;
use crate::game::state::{Body, Course, Downed, Mind};
use crate::zone::state::Resting;

type Upright = (Without<Downed>, Without<Resting>);

/// One step along the course.
pub(crate) fn walk(
    settings: Res<'_, GameSettings>,
    mut walkers: Query<'_, '_, (&mut Body, &Course, Has<Mind>), Upright>,
) {
    // Not a `for` loop, which asks for the next table at every row.
    walkers.iter_mut().for_each(|(mut body, course, is_monster)| {
        if course.heading == Heading::STILL {
            return;
        }
        let step_cm = if is_monster {
            settings.tick_rules.monster_step_cm
        } else {
            settings.tick_rules.player_step_cm
        };
        body.set_if_neq(movement::walk(&settings.map, body.point(), course.heading, step_cm).into());
    });
}

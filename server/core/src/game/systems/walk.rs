//! Walking: one step for each player and monster that may move. They never block each other, so the order does not
//! matter.

use bevy_ecs::prelude::*;
use everhold_protocol::Heading;

use crate::game::rules::movement;
use crate::game::setting::Setting;
use crate::game::state::{Body, Course, Downed, Mind};
use crate::zone::state::Resting;

type Upright = (Without<Downed>, Without<Resting>);

/// One step along the course.
pub(crate) fn walk(setting: Res<'_, Setting>, mut walkers: Query<'_, '_, (&mut Body, &Course, Has<Mind>), Upright>) {
    // Not a `for` loop, which asks for the next table at every row.
    walkers.iter_mut().for_each(|(mut body, course, is_monster)| {
        if course.heading == Heading::STILL {
            return;
        }
        let step_cm = if is_monster {
            setting.pace.monster_step_cm
        } else {
            setting.pace.player_step_cm
        };
        body.set_if_neq(movement::walk(&setting.map, body.point(), course.heading, step_cm).into());
    });
}

//! Monsters: they wander about their camp, chase the nearest player they see, and bite.

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Heading, Tick};

use crate::game::grid::PreyGrid;
use crate::game::rules::chance::{Purpose, roll};
use crate::game::rules::{Point, ZoneMap, movement};
use crate::game::settings::GameSettings;
use crate::game::state::{Body, Course, Downed, Due, Health, Mind};
use crate::zone::index::EntityIndex;
use crate::zone::registry::Id;
use crate::zone::state::{Clock, Ids, Resting, Session};

/// Players that a monster may chase.
type Prey = (With<Session>, Without<Downed>, Without<Resting>);

/// A monster that is close enough and ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bite {
    pub(crate) biter: EntityId,
    pub(crate) prey: EntityId,
}

/// The tick's bites. Output: [`super::combat::bite`] takes them in the same tick.
#[derive(Resource, Default)]
pub(crate) struct Bites(pub(crate) Vec<Bite>);

/// Rebuilds the grid of players, for the monsters that look around in this tick.
pub(crate) fn map_prey(
    clock: Res<'_, Clock>,
    settings: Res<'_, GameSettings>,
    mut grid: ResMut<'_, PreyGrid>,
    prey: Query<'_, '_, (&Id, &Body), Prey>,
    monsters: Query<'_, '_, (&Id, &Body), With<Mind>>,
) {
    let watchers = monsters
        .iter()
        .filter(|(id, _)| looks_around(clock.tick, id.0, settings.tick_rules.think));
    grid.watch(
        watchers.map(|(_, body)| body.point()),
        settings.rules.monster().sight_cm,
    );
    grid.rebuild(prey.iter());
}

/// Chooses each monster's prey (now and then) and course (always). Monsters do not see each other, so their order does
/// not matter.
pub(crate) fn think(
    clock: Res<'_, Clock>,
    settings: Res<'_, GameSettings>,
    grid: Res<'_, PreyGrid>,
    entity_index: Res<'_, EntityIndex>,
    prey: Query<'_, '_, &Body, Prey>,
    mut monsters: Query<'_, '_, (&Id, &Body, &mut Course, &mut Mind), Without<Session>>,
) {
    let find = |id: EntityId| {
        entity_index
            .entity(id)
            .and_then(|entity| prey.get(entity).ok())
            .map(Body::point)
    };
    for (&Id(id), body, mut course, mut mind) in &mut monsters {
        let here = body.point();
        let camp = camp(&settings.map, mind.camp);
        let leash = settings.rules.monster().leash_cm;
        let chosen = if looks_around(clock.tick, id, settings.tick_rules.think) {
            grid.nearest(here, settings.rules.monster().sight_cm)
        } else {
            mind.prey
        };
        let chase = chosen
            .and_then(|prey| Some((prey, find(prey)?)))
            .filter(|&(_, at)| camp.reaches(at, leash));
        let prey = chase.map(|(prey, _)| prey);
        if mind.prey != prey {
            mind.prey = prey;
        }
        let heading = match chase {
            Some((_, at)) if here.reaches(at, settings.rules.monster().bite_range_cm / 2) => Heading::STILL,
            Some((_, at)) => movement::towards(here, at),
            None if !camp.reaches(here, leash) => movement::towards(here, camp),
            None => {
                // A monster keeps its way for a stretch of ticks, whose number takes the place of the tick.
                let stretch = Tick(clock.tick.0 / settings.tick_rules.wander);
                movement::stroll(roll(clock.seed, stretch, id, Purpose::Wander))
            }
        };
        course.set_if_neq(Course { heading });
    }
}

/// Monsters take turns in looking around, so that no tick pays for all of them.
fn looks_around(tick: Tick, id: EntityId, every: u64) -> bool {
    tick.0.wrapping_add(id.0).is_multiple_of(every)
}

fn camp(map: &ZoneMap, camp: u16) -> Point {
    map.rules().camps.get(usize::from(camp)).copied().unwrap_or_default()
}

/// Notes which monsters bite.
pub(crate) fn seek_bites(
    clock: Res<'_, Clock>,
    settings: Res<'_, GameSettings>,
    entity_index: Res<'_, EntityIndex>,
    mut bites: ResMut<'_, Bites>,
    prey: Query<'_, '_, &Body, Prey>,
    monsters: Query<'_, '_, (&Id, &Body, &Mind)>,
) {
    let range_cm = settings.rules.monster().bite_range_cm;
    for (&Id(biter), body, mind) in &monsters {
        let Some(prey_id) = mind.prey.filter(|_| mind.bite <= clock.tick) else {
            continue;
        };
        let at = entity_index.entity(prey_id).and_then(|entity| prey.get(entity).ok());
        if at.is_some_and(|at| body.point().reaches(at.point(), range_cm)) {
            bites.0.push(Bite { biter, prey: prey_id });
        }
    }
}

/// Camps whose time has come get their monster back.
pub(crate) fn repopulate(world: &mut World) {
    let tick = world.resource::<Clock>().tick;
    while let Some(&(_, camp)) = world
        .resource::<Due>()
        .monsters
        .first()
        .filter(|(when, _)| *when <= tick)
    {
        world.resource_mut::<Due>().monsters.pop_first();
        spawn_monster(world, camp);
    }
}

/// A monster at its camp.
pub(crate) fn spawn_monster(world: &mut World, camp_index: u16) {
    let id = world.resource_mut::<Ids>().allocate();
    let settings = world.resource::<GameSettings>();
    let hp = settings.rules.monster().hp;
    let body = Body::from(camp(&settings.map, camp_index));
    world.spawn((
        Id(id),
        body,
        Course {
            heading: Heading::STILL,
        },
        Health { hp, max: hp },
        Mind {
            camp: camp_index,
            prey: None,
            bite: Tick(0),
        },
    ));
}

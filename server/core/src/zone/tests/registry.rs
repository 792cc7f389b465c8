//! Nothing is in a World that was not declared, and outputs do not outlive their tick.

use std::collections::BTreeSet;

use super::*;
use crate::zone::registry::Treatment;
use crate::zone::state::Clock;

/// The types that bevy puts into every World: they hold nothing of ours.
const ENGINE: &[&str] = &[
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::lifecycle::AddEvent>",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::lifecycle::InsertEvent>",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::lifecycle::DiscardEvent>",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::lifecycle::RemoveEvent>",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::lifecycle::DespawnEvent>",
    "bevy_ecs::resource::IsResource",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::archetype::ArchetypeCreated>",
    "bevy_ecs::entity_disabling::DefaultQueryFilters",
    "bevy_ecs::entity_disabling::Disabled",
    "bevy_ecs::error::handler::FallbackErrorHandler",
    "bevy_ecs::schedule::schedule::Schedules",
    "bevy_ecs::event::EventWrapperComponent<bevy_ecs::schedule::schedule::ScheduleBuilt>",
];

fn undeclared(zone: &Zone) -> Vec<String> {
    let declared: BTreeSet<&str> = zone.declared().iter().map(|declared| declared.name).collect();
    let registered = zone
        .world
        .components()
        .iter_registered()
        .map(|(_, info)| info.name().to_string());
    registered
        .filter(|name| !ENGINE.contains(&name.as_str()) && !declared.contains(name.as_str()))
        .collect()
}

#[test]
fn every_type_of_the_world_is_declared() {
    let mut zone = crowd(
        &[
            ("camps = []", "camps = [[2400, 2500]]"),
            ("items_max = 0", "items_max = 5"),
        ],
        3,
    );
    idle(&mut zone, 30);
    zone.capture(Cut::Base);
    assert_eq!(undeclared(&zone), Vec::<String>::new());
}

#[test]
fn undeclared_resource_is_noticed() {
    #[derive(Resource)]
    struct Smuggled;
    let mut zone = zone(&[]);
    zone.world.insert_resource(Smuggled);
    assert!(undeclared(&zone)[0].ends_with("Smuggled"));
}

#[test]
fn undeclared_message_is_noticed() {
    #[derive(bevy_ecs::message::Message)]
    struct Whisper;
    let mut zone = zone(&[]);
    bevy_ecs::message::MessageRegistry::register_message::<Whisper>(&mut zone.world);
    assert!(undeclared(&zone)[0].contains("Whisper"));
}

#[test]
fn no_type_is_declared_twice() {
    let zone = zone(&[]);
    let declared = zone.declared();
    let names: BTreeSet<&str> = declared.iter().map(|declared| declared.name).collect();
    assert_eq!(names.len(), declared.len());
    assert!(declared.iter().any(|declared| declared.treatment == Treatment::Output));
}

#[test]
fn outputs_are_empty_between_ticks() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    for seq in 1..40 {
        zone.step(&[
            intent(a, seq, Intent::Strike { target: b }),
            intent(b, seq, Intent::PickUp { item: EntityId(1) }),
        ]);
        assert!(zone.world.resource::<effects::Effects>().events.is_empty());
        assert!(zone.world.resource::<effects::Effects>().answers.is_empty());
    }
}

#[test]
#[should_panic(expected = "ambiguous")]
fn system_outside_the_chain_does_not_build() {
    fn rogue(mut clock: ResMut<'_, Clock>) {
        clock.seed += 1;
    }
    let mut zone = zone(&[]);
    zone.schedule.add_systems(rogue);
    zone.step(&[]);
}

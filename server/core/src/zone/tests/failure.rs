//! A zone that failed is never stepped again, and says which input it was at.

use std::panic::{AssertUnwindSafe, catch_unwind};

use everhold_protocol::Epoch;

use super::*;
use crate::game::test_zone::{PlantedBug, TestZone};

fn message(panicked: Box<dyn std::any::Any + Send>) -> String {
    match panicked.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn panicking_input_is_named_by_the_probe() {
    let mut zone = zone(&[]);
    let old_epoch = epoch_start(&config(&[]), Epoch(1));
    let probe = zone.probe();
    let panicked = catch_unwind(AssertUnwindSafe(|| zone.step(&[join(1), old_epoch, join(2)])));
    assert!(message(panicked.unwrap_err()).contains("does not follow"));
    assert_eq!(probe.suspect(), Some(Suspect { index: 1, intent: None }));
}

#[test]
fn probe_is_empty_when_no_input_is_being_applied() {
    let zone = crowd(&[], 2);
    assert_eq!(zone.probe().suspect(), None);
}

#[test]
fn probe_names_session_and_number_of_an_intent() {
    let probe = Probe::default();
    probe.enter(4, &intent(EntityId(9), 3, go(0, 1)));
    assert_eq!(
        probe.suspect(),
        Some(Suspect {
            index: 4,
            intent: Some((EntityId(9), 3))
        })
    );
}

#[test]
fn panic_in_a_system_leaves_the_step_instead_of_half_a_tick() {
    let mut zone = TestZone {
        bug: Some(PlantedBug::Panic),
        shuffle_seed: None,
    }
    .begin(&config(&[]));
    idle(&mut zone, 2);
    let panicked = catch_unwind(AssertUnwindSafe(|| zone.step(&[])));
    assert!(message(panicked.unwrap_err()).contains("planted"));
    assert_eq!(zone.probe().suspect(), None);
}

#[test]
fn failed_zone_refuses_every_further_use() {
    let mut zone = TestZone {
        bug: Some(PlantedBug::Panic),
        shuffle_seed: None,
    }
    .begin(&config(&[]));
    idle(&mut zone, 2);
    catch_unwind(AssertUnwindSafe(|| zone.step(&[]))).unwrap_err();
    let uses: [fn(&mut Zone); 3] = [
        |zone| drop(zone.step(&[])),
        |zone| drop(zone.capture(Cut::Base)),
        |zone| _ = zone.digest(),
    ];
    for again in uses {
        let panicked = catch_unwind(AssertUnwindSafe(|| again(&mut zone)));
        assert!(message(panicked.unwrap_err()).contains("not to be used again"));
    }
}

//! Explores each model within its bounds, and each with every defect that is planted: nothing is found in the first,
//! and a counter-example in each of the others. The findings are printed as a table. The time is printed as well, and
//! judges nothing.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use everhold_core::durability::Durability;
use everhold_models::appends::{AppendBounds, AppendMutant, Appends};
use everhold_models::explore::{Explored, explore};
use everhold_models::heads::{HeadBounds, HeadMutant, Heads};
use everhold_models::ownership::{Ownership, OwnershipBounds, OwnershipMutant};
use stateright::{Expectation, Model};

/// Explores a model without a defect, within each of some bounds: every `always` holds in all, and of every `sometimes`
/// there is an example in one.
fn assert_sound<M>(name: &str, models: Vec<(&str, M)>)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let mut never: BTreeSet<&str> = BTreeSet::new();
    for property in models[0].1.properties() {
        never.extend((property.expectation == Expectation::Sometimes).then_some(property.name));
    }
    let hoped_for = never.clone();
    for (bounds, model) in models {
        let began = Instant::now();
        let explored = explore(model);
        print_row(&format!("{name}, {bounds}"), &explored, began);
        for found in explored.found.keys() {
            assert!(hoped_for.contains(found), "{name}: broken: {}", explored.story(found));
            never.remove(found);
        }
    }
    assert!(never.is_empty(), "{name}: never: {never:?}");
}

/// Explores a model with a defect: this property breaks.
fn assert_found<M>(name: &str, property: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let began = Instant::now();
    let explored = explore(model);
    print_row(name, &explored, began);
    let found: Vec<_> = explored.found.keys().collect();
    assert!(
        explored.found.contains_key(property),
        "{name}: `{property}` holds, and found is {found:?}"
    );
}

#[expect(
    clippy::print_stdout,
    reason = "the table is for a reader who runs the test with --nocapture"
)]
fn print_row(name: &str, explored: &Explored, began: Instant) {
    let Explored {
        unique, reached, depth, ..
    } = explored;
    let took = began.elapsed().as_secs_f64();
    println!("{name:<60} {unique:>9} {reached:>10} {depth:>4} {took:>7.2} s");
}

const EARLY: &str = "nothing leaves before it is stored at its level";

const TOLD: &str = "what was told stays while anything has it";

const DROPPED: &str = "memory dies for data only";

const APPENDS: AppendBounds = AppendBounds {
    ticks: 2,
    time_outs: 1,
    losses: 1,
    bases: 1,
    reclaims: 0,
    pauses: 0,
};

const BASE_FIRST: AppendBounds = AppendBounds {
    ticks: 3,
    time_outs: 0,
    ..APPENDS
};

const SILENCE: AppendBounds = AppendBounds {
    losses: 0,
    reclaims: 1,
    pauses: 1,
    ..APPENDS
};

#[test]
fn appends_hold() {
    let mut models = Vec::new();
    for level in [Durability::Store, Durability::Async] {
        models.push(("a store that forgets", Appends::new(level, APPENDS, None)));
        models.push(("a lease that runs out", Appends::new(level, SILENCE, None)));
    }
    models.push((
        "a base before the loss",
        Appends::new(Durability::Store, BASE_FIRST, None),
    ));
    assert_sound("appends", models);
}

#[test]
fn defects_of_appends_are_found() {
    let table = [
        (AppendMutant::AcknowledgedWhenSent, SILENCE, EARLY),
        (AppendMutant::CountedForLater, SILENCE, EARLY),
        (
            AppendMutant::SilenceIsConsent,
            SILENCE,
            "what is acknowledged is stored",
        ),
        (
            AppendMutant::CreatedInSilence,
            APPENDS,
            "what is acknowledged is stored",
        ),
        (
            AppendMutant::AnyBaseReseeds,
            BASE_FIRST,
            "no machine contradicts itself",
        ),
        (AppendMutant::NoFence, SILENCE, "a fenced owner writes nothing"),
        (
            AppendMutant::OpenWhilePaused,
            SILENCE,
            "nothing leaves while the lease is in doubt",
        ),
        (AppendMutant::NewestIsTold, SILENCE, "what leaves keeps its order"),
    ];
    for (mutant, bounds, property) in table {
        let model = Appends::new(Durability::Store, bounds, Some(mutant));
        assert_found(&format!("  {mutant:?}"), property, model);
    }
}

const HEADS: HeadBounds = HeadBounds {
    ticks: 6,
    time_outs: 2,
    damages: 1,
    adoptions: 1,
};

#[test]
fn heads_hold() {
    assert_sound("heads", vec![("answers lost, bytes damaged", Heads::new(HEADS, None))]);
}

#[test]
fn defects_of_heads_are_found() {
    let table = [
        (HeadMutant::NotReleased, "a head does not run ahead of what is stored"),
        (HeadMutant::TrimmedToNewest, "an adopter finds a history that is whole"),
        (HeadMutant::DirtySetLost, "nothing is given up that is not damaged"),
        (
            HeadMutant::ReadBeforeFence,
            "a new owner goes on with what was acknowledged",
        ),
        (HeadMutant::EndForgotten, "what is lost is said"),
        (HeadMutant::NotRewound, "a damaged checkpoint costs no tick"),
    ];
    for (mutant, property) in table {
        let model = Heads::new(HEADS, Some(mutant));
        assert_found(&format!("  {mutant:?}"), property, model);
    }
}

const LEASES_FORGOTTEN: OwnershipBounds = OwnershipBounds {
    shards: 2,
    ticks: 2,
    epochs: 2,
    authority_losses: 1,
    store_losses: 0,
    pauses: 1,
    crashes: 0,
    keeps_deadlines: true,
};

const DATA_FORGOTTEN: OwnershipBounds = OwnershipBounds {
    authority_losses: 0,
    store_losses: 1,
    ..LEASES_FORGOTTEN
};

const BOTH_FORGOTTEN: OwnershipBounds = OwnershipBounds {
    ticks: 1,
    store_losses: 1,
    pauses: 0,
    ..LEASES_FORGOTTEN
};

const CLAIMED_BACK: OwnershipBounds = OwnershipBounds {
    ticks: 1,
    epochs: 3,
    ..DATA_FORGOTTEN
};

const NOTHING_FORGOTTEN: OwnershipBounds = OwnershipBounds {
    epochs: 3,
    store_losses: 0,
    crashes: 1,
    ..DATA_FORGOTTEN
};

const DEADLINES_IGNORED: OwnershipBounds = OwnershipBounds {
    pauses: 0,
    crashes: 0,
    keeps_deadlines: false,
    ..NOTHING_FORGOTTEN
};

const DEATHS: OwnershipBounds = OwnershipBounds {
    shards: 3,
    ticks: 1,
    authority_losses: 0,
    pauses: 0,
    crashes: 1,
    ..LEASES_FORGOTTEN
};

#[test]
fn ownership_holds() {
    let models = vec![
        ("an authority that forgets", Ownership::new(LEASES_FORGOTTEN, None)),
        ("a store that forgets", Ownership::new(DATA_FORGOTTEN, None)),
        ("a store that forgets, three epochs", Ownership::new(CLAIMED_BACK, None)),
        ("both forget", Ownership::new(BOTH_FORGOTTEN, None)),
        ("a memory and newer data", Ownership::new(NOTHING_FORGOTTEN, None)),
        ("no deadline is kept", Ownership::new(DEADLINES_IGNORED, None)),
        ("three shards that die", Ownership::new(DEATHS, None)),
    ];
    assert_sound("ownership", models);
}

#[test]
fn defects_of_ownership_are_found() {
    let table = [
        (OwnershipMutant::NoFence, LEASES_FORGOTTEN, DROPPED),
        (
            OwnershipMutant::EpochAlone,
            LEASES_FORGOTTEN,
            "one process writes under an epoch",
        ),
        (OwnershipMutant::DroppedAtGrant, LEASES_FORGOTTEN, DROPPED),
        (OwnershipMutant::ReadBeforeFence, DEADLINES_IGNORED, TOLD),
        (OwnershipMutant::ForgottenIsFree, BOTH_FORGOTTEN, TOLD),
        (OwnershipMutant::MemoryUnasked, NOTHING_FORGOTTEN, TOLD),
        (OwnershipMutant::NoGrace, CLAIMED_BACK, TOLD),
    ];
    for (mutant, bounds, property) in table {
        let model = Ownership::new(bounds, Some(mutant));
        assert_found(&format!("  {mutant:?}"), property, model);
    }
}

//! The books by which a run is judged: after something was lost of a zone, every other zone is judged as before, and
//! the zone itself from where it begins again. How a cluster comes to lose something is not told here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Origin, Position};
use everhold_core::ownership::Tenure;
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_sim::services::Services;
use everhold_sim::store::{StoredKind, StoredPlace};
use everhold_store::conformance::{SuiteHistory, tenure};

const LATER: &str = "what was told is in every later state";
const STORED: &str = "nothing is released before it is stored";

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

/// Has the first owner of a zone store so many ticks, and tell of the last. Returns its tenure and its history.
fn tell(services: &mut Services, zone: &ZoneName, last: u64) -> (Tenure, SuiteHistory) {
    let (owner, mut history) = (tenure(zone, 1, 1), SuiteHistory::new(1));
    services.note_adopted(&owner, Position::GENESIS, false);
    services.store.fence(&owner).unwrap();
    services.append(&owner, &history.records_to(Tick(last))).unwrap();
    services.note_released(&owner, Tick(last));
    assert_eq!(broken(services), Vec::<&str>::new());
    (owner, history)
}

/// Returns the invariants that broke since it was last asked.
fn broken(services: &mut Services) -> Vec<&'static str> {
    let breaches = std::mem::take(&mut services.breaches);
    breaches.into_iter().map(|breach| breach.invariant).collect()
}

/// Has the next owner go on from this end. Returns its tenure, and what that breaks.
fn adopt(services: &mut Services, zone: &ZoneName, epoch: u32, last: Position) -> (Tenure, Vec<&'static str>) {
    let owner = tenure(zone, epoch, u64::from(epoch));
    services.check_told(&owner, last);
    services.note_adopted(&owner, last, false);
    (owner, broken(services))
}

#[test]
fn zone_that_is_lost_ends_the_checks_of_no_other() {
    let (mut services, meadow, forest) = (Services::default(), zone("meadow"), zone("forest"));
    tell(&mut services, &meadow, 4);
    let (_, history) = tell(&mut services, &forest, 4);
    services.store.forget_zone(&meadow);
    services.note_rewound();
    assert!(!services.is_anywhere(&meadow, &[]) && services.is_anywhere(&forest, &[]));
    services.note_nowhere(&meadow, &[]);
    let earlier = SuiteHistory::new(1).records_to(Tick(3))[2].clone();
    let lost_tick = Position {
        tick: Tick(3),
        hash: earlier.hash,
        ..history.last()
    };
    assert_eq!(adopt(&mut services, &forest, 2, lost_tick).1, [LATER]);
    services.check_end(&forest, lost_tick);
    assert_eq!(broken(&mut services), ["an adopter goes on from all that is stored"]);
}

#[test]
fn zone_that_begins_again_is_checked_again() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    tell(&mut services, &meadow, 4);
    services.store.forget_everything();
    services.note_nowhere(&meadow, &[]);
    let (owner, began) = adopt(&mut services, &meadow, 2, Position::GENESIS);
    assert!(began.is_empty());
    services.note_released(&owner, Tick(2));
    assert_eq!(broken(&mut services), [STORED]);

    services.store.fence(&tenure(&meadow, 1, 1)).unwrap();
    let records = SuiteHistory::new(2).other().records_to(Tick(2));
    services.append(&owner, &records).unwrap();
    services.note_released(&owner, Tick(2));
    assert_eq!(broken(&mut services), Vec::<&str>::new());
    assert_eq!(adopt(&mut services, &meadow, 3, Position::GENESIS).1, [LATER]);
}

#[test]
fn end_that_a_store_forgot_may_be_missed_and_nothing_before_it() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (owner, mut history) = tell(&mut services, &meadow, 2);
    let (dump, left) = (services.store.dump(), history.last());
    services.append(&owner, &history.records_to(Tick(4))).unwrap();
    services.note_released(&owner, Tick(4));
    services.store.restore_to(&dump);
    services.note_rewound();
    assert!(
        services.is_anywhere(&meadow, &[history.last().stamp()]),
        "a shard has it in memory"
    );
    services.note_nowhere(&meadow, &[]);
    assert_eq!(services.told(&meadow), Some(Tick(2)));
    assert_eq!(adopt(&mut services, &meadow, 2, left).1, Vec::<&str>::new());
    let before = Position { tick: Tick(1), ..left };
    assert_eq!(adopt(&mut services, &meadow, 3, before).1, [LATER]);
}

#[test]
fn older_memory_has_not_what_a_later_epoch_told() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, history) = tell(&mut services, &meadow, 2);
    let (root, memory) = (
        history.last(),
        Position {
            tick: Tick(9),
            ..history.last()
        },
    );
    let (owner, _) = adopt(&mut services, &meadow, 2, root);
    let records = SuiteHistory::after(2, root).records_to(Tick(5));
    services.append(&owner, &records).unwrap();
    services.note_released(&owner, Tick(5));
    services.store.forget_everything();
    assert!(
        !services.is_anywhere(&meadow, &[memory.stamp()]),
        "it ends with other ticks"
    );
    services.note_nowhere(&meadow, &[memory.stamp()]);
    assert_eq!(services.told(&meadow), Some(Tick(2)), "what both have must survive");
}

#[test]
fn store_that_went_back_to_another_history_has_not_what_was_told_however_long_that_is() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, history) = tell(&mut services, &meadow, 9);
    let dump = services.store.dump();
    services.store.forget_everything();
    services.note_nowhere(&meadow, &[]);
    let (owner, _) = adopt(&mut services, &meadow, 2, Position::GENESIS);
    services.store.create(&owner, Origin::Nothing).unwrap();
    let records = SuiteHistory::new(2).other().records_to(Tick(4));
    services.append(&owner, &records).unwrap();
    services.note_released(&owner, Tick(4));
    assert!(services.holds_told(&meadow));

    services.store.restore_to(&dump);
    services.note_rewound();
    assert!(!services.holds_told(&meadow), "its tick 9 is of the world before");
    services.note_nowhere(&meadow, &[]);
    assert_eq!(adopt(&mut services, &meadow, 3, history.last()).1, Vec::<&str>::new());
    services.check_end(&meadow, history.last());
    assert_eq!(broken(&mut services), Vec::<&str>::new());
}

#[test]
fn epoch_that_neither_store_nor_shard_knows_of_any_more_may_be_another_owners() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, history) = tell(&mut services, &meadow, 2);
    let (dump, root) = (services.store.dump(), history.last());
    let second = |nonce| tenure(&meadow, 2, nonce);
    services.store.forget_everything();
    services.note_nowhere(&meadow, &[]);
    // The last write of an owner that died arrives after it.
    let write = |services: &mut Services, owner: &Tenure| {
        services.store.fence(owner).unwrap();
        let records = SuiteHistory::after(2, root).records_to(Tick(3));
        services.append(owner, &records).unwrap();
        broken(services)
    };
    services.store.restore_to(&dump);
    assert_eq!(write(&mut services, &second(1)), Vec::<&str>::new());
    for is_known in [true, false] {
        services.store.restore_to(&dump);
        services.note_rewound();
        if !is_known {
            services.note_unknown(&meadow);
        }
        let broken = write(&mut services, &second(2));
        let one_writer = "one writing owner per zone and epoch";
        assert_eq!(broken.contains(&one_writer), is_known, "{broken:?}");
    }
}

#[test]
fn memory_of_a_shard_that_is_cut_off_may_be_passed_over_and_no_other() {
    for is_in_reach in [true, false] {
        let (mut services, meadow) = (Services::default(), zone("meadow"));
        let (_, history) = tell(&mut services, &meadow, 4);
        let memory = [history.last().stamp()];
        let next = tenure(&meadow, 1, 2);
        assert!(!services.note_cut_off(&next, Position::GENESIS), "the store has it");
        services.store.forget_everything();
        services.note_rewound();
        assert!(services.is_anywhere(&meadow, &memory));

        let in_reach = memory.into_iter().filter(|_| is_in_reach).collect();
        services.in_reach.insert(meadow.clone(), in_reach);
        assert_eq!(services.note_cut_off(&next, Position::GENESIS), !is_in_reach);
        services.check_told(&next, Position::GENESIS);
        assert_eq!(broken(&mut services) == [LATER], is_in_reach);
        if !is_in_reach {
            services.note_adopted(&next, Position::GENESIS, false);
            services.store.fence(&next).unwrap();
            let records = SuiteHistory::new(1).other().records_to(Tick(2));
            services.append(&next, &records).unwrap();
            services.note_released(&next, Tick(2));
            assert_eq!(broken(&mut services), Vec::<&str>::new(), "its epoch is its own");
            services.check_told(&tenure(&meadow, 2, 3), Position::GENESIS);
            assert_eq!(broken(&mut services), [LATER], "it is judged as before from there on");
        }
    }
}

#[test]
fn what_is_released_is_stored_under_its_own_epoch() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (first, mut history) = tell(&mut services, &meadow, 2);
    let root = history.last();
    let (owner, _) = adopt(&mut services, &meadow, 2, root);
    services.append(&first, &history.records_to(Tick(4))).unwrap();
    services.note_released(&owner, Tick(2));
    assert_eq!(broken(&mut services), Vec::<&str>::new(), "it goes on from there");
    services.note_released(&owner, Tick(3));
    assert_eq!(broken(&mut services), [STORED], "only the epoch before wrote that");
}

#[test]
fn memory_counts_for_what_is_stored_no_further_than_it_was() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, mut history) = tell(&mut services, &meadow, 2);
    history.records_to(Tick(4));
    let owner = tenure(&meadow, 2, 1);
    services.note_adopted(&owner, history.last(), true);
    services.note_released(&owner, Tick(2));
    assert_eq!(broken(&mut services), Vec::<&str>::new());
    services.note_released(&owner, Tick(4));
    assert_eq!(broken(&mut services), [STORED]);
}

#[test]
fn damage_excuses_what_comes_after_it_until_it_is_made_good() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    tell(&mut services, &meadow, 9);
    let is_excused = |services: &Services, last: u64| services.is_end_damaged(&meadow, Tick(last));
    assert!(!is_excused(&services, 4));
    let (dump, place) = (services.store.dump(), StoredPlace::Record(Tick(5)));
    services.store.flip_bit(&meadow, place, &mut SplitMix64::new(1));
    services.note_damaged(&meadow, place, false);
    services.forget_mended(&meadow);
    assert!(is_excused(&services, 4));
    assert!(!is_excused(&services, 3), "tick 4 can be read");
    services.store.restore_to(&dump);
    services.forget_mended(&meadow);
    assert!(!is_excused(&services, 4));
}

/// Tears something that is stored of a zone.
fn tear(services: &mut Services, zone: &ZoneName, place: StoredPlace) {
    assert!(services.store.tear(zone, place, &mut SplitMix64::new(1)));
    services.note_damaged(zone, place, false);
}

const MEMORY: &str = "memory dies for data, never for a grant";

/// Returns what breaks when a World of a zone is thrown away.
fn throw_away(services: &mut Services, zone: &ZoneName) -> Vec<&'static str> {
    services.check_kept(zone, || "it was thrown away".to_owned());
    broken(services)
}

#[test]
fn damage_is_no_loss_as_long_as_something_stands_in_its_stead() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (owner, mut history) = tell(&mut services, &meadow, 4);
    put_checkpoint(&mut services, &owner, history.last(), None);
    services.append(&owner, &history.records_to(Tick(8))).unwrap();
    put_checkpoint(&mut services, &owner, history.last(), None);
    services.note_released(&owner, Tick(8));
    let base = |services: &Services, kind| services.store.places(&meadow, kind)[0];

    let newest = base(&services, StoredKind::Base);
    tear(&mut services, &meadow, newest);
    assert!(services.is_anywhere(&meadow, &[]), "the base before it and the journal");
    assert_eq!(throw_away(&mut services, &meadow), Vec::<&str>::new());

    tear(&mut services, &meadow, StoredPlace::Record(Tick(7)));
    assert!(!services.is_anywhere(&meadow, &[]));
    assert_eq!(throw_away(&mut services, &meadow), Vec::<&str>::new(), "no shard knows");
    services.note_nowhere(&meadow, &[]);
    assert_eq!(services.told(&meadow), Some(Tick(6)), "the rest can be read");

    let previous = base(&services, StoredKind::PreviousChain);
    tear(&mut services, &meadow, previous);
    services.note_nowhere(&meadow, &[]);
    assert_eq!(services.told(&meadow), None, "nothing can be read");
}

#[test]
fn record_under_a_whole_checkpoint_is_not_missed() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (owner, history) = tell(&mut services, &meadow, 4);
    put_checkpoint(&mut services, &owner, history.last(), None);
    tear(&mut services, &meadow, StoredPlace::Record(Tick(2)));
    assert!(services.is_anywhere(&meadow, &[]));
}

#[test]
fn damage_excuses_no_world_that_was_not_stored() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (owner, mut history) = tell(&mut services, &meadow, 4);
    let dump = services.store.dump();
    services.append(&owner, &history.records_to(Tick(6))).unwrap();
    services.note_released(&owner, Tick(6));
    services.store.restore_to(&dump);
    tear(&mut services, &meadow, StoredPlace::Record(Tick(4)));
    assert_eq!(throw_away(&mut services, &meadow), [MEMORY]);
}

#[test]
fn memory_is_replaced_by_what_has_as_much_of_what_was_told() {
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, history) = tell(&mut services, &meadow, 4);
    let memory = history.last().stamp();
    let successor = tenure(&meadow, 2, 2);
    services.check_replaced(&successor, memory, history.last());
    assert_eq!(broken(&mut services), Vec::<&str>::new());
    let before = Position {
        tick: Tick(3),
        ..history.last()
    };
    services.check_replaced(&successor, memory, before);
    assert_eq!(broken(&mut services), [MEMORY]);
}

#[test]
fn damage_excuses_what_only_a_delta_on_the_damaged_checkpoint_had() {
    for (stored, is_excused) in [(6, true), (7, true), (8, false)] {
        let (mut services, meadow) = (Services::default(), zone("meadow"));
        let (owner, mut history) = tell(&mut services, &meadow, 2);
        let previous = put_checkpoint(&mut services, &owner, history.last(), None);
        services.append(&owner, &history.records_to(Tick(4))).unwrap();
        let base = put_checkpoint(&mut services, &owner, history.last(), None);
        assert_ne!(previous, base);
        let place = StoredPlace::Part {
            position: base,
            index: 0,
        };
        services.store.flip_bit(&meadow, place, &mut SplitMix64::new(1));
        services.note_damaged(&meadow, place, services.store.is_needed(&meadow, place));
        services.append(&owner, &history.records_to(Tick(stored))).unwrap();
        // A zone at `async` does not wait for its records.
        history.records_to(Tick(8));
        put_checkpoint(&mut services, &owner, history.last(), Some(base));
        assert!(!services.is_end_damaged(&meadow, Tick(stored)));
        services.note_fenced(&meadow);
        assert_eq!(services.is_end_damaged(&meadow, Tick(stored)), is_excused, "{stored}");
    }
}

/// Writes a base, or a delta on `parent`, and returns its position.
fn put_checkpoint(services: &mut Services, owner: &Tenure, position: Position, parent: Option<Position>) -> Position {
    let body = Bytes::from_static(b"the zone");
    let head = CheckpointHead {
        position,
        kind: parent.map_or(CheckpointKind::Base, |parent| CheckpointKind::Delta { parent }),
        parts: 1,
        bytes: body.len() as u64,
    };
    services.store.put_part(owner, position, 0, body).unwrap();
    services.move_head(owner, head).unwrap();
    position
}

#[test]
fn memory_of_a_higher_epoch_goes_on_beside_a_longer_history_of_a_lower_one() {
    const ALL: &str = "an adopter goes on from all that is stored";
    let (mut services, meadow) = (Services::default(), zone("meadow"));
    let (_, first) = tell(&mut services, &meadow, 4);
    let dump = services.store.dump();
    let root = SuiteHistory::new(1).records_to(Tick(2))[1].clone();
    let root = Position {
        tick: Tick(2),
        hash: root.hash,
        ..first.last()
    };
    let (owner, mut memory) = (tenure(&meadow, 2, 2), SuiteHistory::after(2, root));
    services.append(&owner, &memory.records_to(Tick(3))).unwrap();
    broken(&mut services);
    services.store.restore_to(&dump);
    services.check_end(&meadow, memory.last());
    assert_eq!(
        broken(&mut services),
        Vec::<&str>::new(),
        "the store went back to tick 4 of epoch 1"
    );
    let older = Position {
        epoch: Epoch(1),
        ..memory.last()
    };
    services.check_end(&meadow, older);
    assert_eq!(broken(&mut services), [ALL]);
}

//! Faults in what players own.

use everhold_protocol::Epoch;

use super::*;

#[test]
fn two_newcomers_with_the_same_thing_are_found() {
    let mut checker = Checker::new(2);
    for player in [ANN, BEN] {
        let own = OwnState {
            items: vec![BREAD],
            ..OwnState::default()
        };
        let session = session(player);
        checker.on_attached(
            player,
            &Attachment {
                session,
                epoch: Epoch(1),
                event_seq: 1,
                last_input_seq: 0,
                rewound_ticks: 0,
                own: &own,
            },
        );
        let event = Event::ItemGained {
            item: BREAD,
            cause: ItemCause::Start,
        };
        checker.on_event(
            player,
            &SeqEvent {
                seq: 1,
                tick: Tick(1),
                event,
            },
        );
    }
    assert_found(&checker.into_verdict(), "is in 2 inventories", 0, 2);
}

#[test]
fn purse_that_is_not_the_sum_of_its_events_is_found() {
    let mut story = Story::begin();
    story.tell(
        ANN,
        Event::Gold {
            total: 90,
            delta: -5,
            cause: GoldCause::GiftTo(session(BEN)),
        },
    );
    story.tell(
        BEN,
        Event::Gold {
            total: 105,
            delta: 5,
            cause: GoldCause::GiftFrom(session(ANN)),
        },
    );
    // One for the purse; five gold are missing from the sum; and a gift that nobody ordered is one answer too many.
    assert_found(&story.end(), "the purse is not the sum", 1 + 5, 1);
}

#[test]
fn gift_that_the_receiver_never_heard_of_is_found() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 30);
    story.gold(ANN, -30, GoldCause::GiftTo(session(BEN)));
    assert_found(
        &story.end(),
        "do not match: 30 gold and 0 items given, 0 and 0 received",
        1 + 30,
        0,
    );
}

#[test]
fn gift_that_the_giver_never_heard_of_is_found() {
    let mut story = Story::begin();
    story.gold(BEN, 30, GoldCause::GiftFrom(session(ANN)));
    assert_found(&story.end(), "do not match", 1, 30);
}

#[test]
fn inventory_that_a_resume_changed_is_found() {
    let mut story = Story::begin();
    story.attach(
        ANN,
        2,
        0,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    // The inventory, and the bread that is in nobody's.
    assert_found(&story.end(), "the inventory is not the sum", 1 + 1, 0);
}

#[test]
fn snapshot_with_another_purse_is_found_once() {
    let mut story = Story::begin();
    story.show(BEN, 0, 99, &[]);
    story.show(BEN, 0, 99, &[]);
    story.checker.on_value_mismatch(BEN, 1);
    assert_found(&story.end(), "after event 1", 1, 0);
}

#[test]
fn mismatch_that_only_the_client_machine_saw_is_found() {
    let mut story = Story::begin();
    story.checker.on_value_mismatch(BEN, 1);
    assert_found(&story.end(), "the client machine's purse", 1, 0);
}

#[test]
fn thing_in_two_inventories_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: BREAD.uid });
    story.gains(BEN, BREAD, ItemCause::PickedUp);
    // Two owners, and it came into being twice.
    assert_found(&story.end(), "is in 2 inventories", 0, 2);
}

#[test]
fn thing_picked_up_twice_and_handed_on_is_found() {
    let mut story = Story::begin();
    for player in [ANN, BEN] {
        story.checker.on_asked(player, 1, &Intent::PickUp { item: ROPE.uid });
    }
    story.gains(ANN, ROPE, ItemCause::PickedUp);
    story.asks_item(ANN, 2, BEN, ROPE);
    story.loses(ANN, ROPE, ItemCause::GiftTo(session(BEN)));
    story.gains(BEN, ROPE, ItemCause::GiftFrom(session(ANN)));
    story.gains(BEN, ROPE, ItemCause::PickedUp);
    // It came into being twice, and Ben gained what he had.
    assert_found(&story.end(), "came into being 2 times", 0, 2);
}

#[test]
fn thing_that_vanishes_is_found() {
    let mut story = Story::begin();
    story.asks_item(ANN, 1, BEN, BREAD);
    story.loses(ANN, BREAD, ItemCause::GiftTo(session(BEN)));
    // In nobody's inventory, and a gift with one side.
    assert_found(&story.end(), "is in no inventory", 2, 0);
}

#[test]
fn thing_that_nobody_gave_is_found() {
    let mut story = Story::begin();
    story.gains(BEN, ROPE, ItemCause::GiftFrom(session(ANN)));
    assert_found(&story.end(), "came from nowhere", 1, 1);
}

#[test]
fn thing_lost_without_having_is_found() {
    let mut story = Story::begin();
    story.asks_item(BEN, 1, ANN, ROPE);
    story.loses(BEN, ROPE, ItemCause::GiftTo(session(7)));
    assert_found(&story.end(), "loses without having", 1, 0);
}

//! Gifts to and from characters that no player of the run has, and to players that had not joined.

use everhold_protocol::Epoch;

use super::*;
use crate::checker::Strangers;

/// A character that no player of the run has.
const STRANGER: EntityId = EntityId::new(1, 7);

#[test]
fn gifts_to_and_from_strangers_are_no_loss() {
    let mut story = Story::begin();
    let to = STRANGER;
    story.checker.on_asked(ANN, 1, &Intent::GiveGold { to, amount: 30 });
    story
        .checker
        .on_asked(ANN, 2, &Intent::GiveItem { to, item: BREAD.uid });
    story.gold(ANN, -30, GoldCause::GiftTo(STRANGER));
    story.loses(ANN, BREAD, ItemCause::GiftTo(STRANGER));
    story.gold(BEN, 5, GoldCause::GiftFrom(STRANGER));
    story.gains(BEN, ROPE, ItemCause::GiftFrom(STRANGER));
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.gold_expected, verdict.gold_found), (175, 175));
    assert_eq!((verdict.items_expected, verdict.items_found), (1, 1));
    let strangers = Strangers {
        gold_given: 30,
        gold_received: 5,
        items_given: 1,
        items_received: 1,
    };
    assert_eq!(verdict.strangers, strangers);
}

#[test]
fn thing_that_a_stranger_hands_on_is_no_second_one() {
    let mut story = Story::begin();
    let to = STRANGER;
    story
        .checker
        .on_asked(ANN, 1, &Intent::GiveItem { to, item: BREAD.uid });
    story.loses(ANN, BREAD, ItemCause::GiftTo(STRANGER));
    story.gains(BEN, BREAD, ItemCause::GiftFrom(STRANGER));
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.items_expected, verdict.items_found), (1, 1));
}

#[test]
fn gold_lost_between_players_is_found_beside_gifts_to_strangers() {
    let mut story = Story::begin();
    let to = STRANGER;
    story.checker.on_asked(ANN, 1, &Intent::GiveGold { to, amount: 30 });
    story.gold(ANN, -30, GoldCause::GiftTo(STRANGER));
    story.asks_gold(ANN, 2, BEN, 10);
    story.gold(ANN, -10, GoldCause::GiftTo(session(BEN)));
    assert_found(&story.end(), "170 gold came into being, 160 is", 1 + 10, 0);
}

#[test]
fn gold_that_a_stranger_gave_once_and_came_twice_is_found() {
    let mut story = Story::begin();
    story.gold(BEN, 30, GoldCause::GiftFrom(STRANGER));
    story.tell(
        BEN,
        Event::Gold {
            total: 190,
            delta: 30,
            cause: GoldCause::GiftFrom(STRANGER),
        },
    );
    // The purse is not the sum of its events, and there is more gold than came.
    assert_found(&story.end(), "the purse is not the sum", 1, 30);
}

#[test]
fn thing_that_went_to_a_stranger_and_comes_into_being_again_is_found() {
    let mut story = Story::begin();
    let (to, item) = (STRANGER, ROPE.uid);
    for player in [ANN, BEN] {
        story.checker.on_asked(player, 1, &Intent::PickUp { item });
    }
    story.gains(ANN, ROPE, ItemCause::PickedUp);
    story.checker.on_asked(ANN, 2, &Intent::GiveItem { to, item });
    story.loses(ANN, ROPE, ItemCause::GiftTo(STRANGER));
    story.gains(BEN, ROPE, ItemCause::PickedUp);
    assert_found(&story.end(), "came into being 2 times", 0, 1);
}

#[test]
fn thing_that_a_stranger_gives_to_two_is_found() {
    let mut story = Story::begin();
    for player in [ANN, BEN] {
        story.gains(player, ROPE, ItemCause::GiftFrom(STRANGER));
    }
    // It has two owners, and came twice.
    assert_found(&story.end(), "is in 2 inventories", 0, 2);
}

#[test]
fn thing_that_went_to_a_stranger_and_is_still_there_is_found() {
    let mut story = Story::begin();
    let to = STRANGER;
    story
        .checker
        .on_asked(ANN, 1, &Intent::GiveItem { to, item: BREAD.uid });
    story.loses(ANN, BREAD, ItemCause::GiftTo(STRANGER));
    story.gains(BEN, BREAD, ItemCause::GiftFrom(session(ANN)));
    // It is nowhere by the books, and the gift has one side.
    assert_found(&story.end(), "came from nowhere", 1, 1);
}

/// A player joins with so much gold after event `event_seq`.
fn joins(checker: &mut Checker, player: usize, gold: u64, event_seq: u64) {
    let own = OwnState {
        gold,
        ..OwnState::default()
    };
    let attachment = Attachment {
        session: session(player),
        epoch: Epoch(1),
        event_seq,
        last_input_seq: 0,
        rewound_ticks: 0,
        own: &own,
    };
    checker.on_attached(player, &attachment);
}

fn tells(checker: &mut Checker, player: usize, seq: u64, total: u64, delta: i64, cause: GoldCause) {
    let event = Event::Gold { total, delta, cause };
    checker.on_event(
        player,
        &SeqEvent {
            seq,
            tick: Tick(1),
            event,
        },
    );
}

fn verdict(mut checker: Checker) -> Verdict {
    checker.on_settled(ANN);
    checker.on_settled(BEN);
    checker.into_verdict()
}

#[test]
fn gift_to_a_player_that_joins_later_is_counted_once() {
    let mut checker = Checker::new(2);
    joins(&mut checker, ANN, 100, 0);
    assert!(checker.has_joined(session(ANN)) && !checker.has_joined(session(BEN)));
    let to = session(BEN);
    checker.on_asked(ANN, 1, &Intent::GiveGold { to, amount: 30 });
    tells(&mut checker, ANN, 1, 70, -30, GoldCause::GiftTo(session(BEN)));
    joins(&mut checker, BEN, 130, 4);
    tells(&mut checker, BEN, 4, 130, 30, GoldCause::GiftFrom(session(ANN)));
    assert!(checker.has_joined(session(BEN)));
    let verdict = verdict(checker);
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.gold_expected, verdict.gold_found), (200, 200));
}

/// Ben is attached again before he has heard of what was before his time, and has got a gift of Ann's meanwhile.
fn gift_between_two_attaches(ann_hears: bool) -> Verdict {
    let mut checker = Checker::new(2);
    joins(&mut checker, ANN, 100, 0);
    joins(&mut checker, BEN, 100, 4);
    if ann_hears {
        let to = session(BEN);
        checker.on_asked(ANN, 1, &Intent::GiveGold { to, amount: 30 });
        tells(&mut checker, ANN, 1, 70, -30, GoldCause::GiftTo(session(BEN)));
    }
    joins(&mut checker, BEN, 130, 5);
    tells(&mut checker, BEN, 4, 100, 1, GoldCause::Loot);
    tells(&mut checker, BEN, 5, 130, 30, GoldCause::GiftFrom(session(ANN)));
    verdict(checker)
}

#[test]
fn gift_to_a_player_that_is_attached_again_at_once_has_two_sides() {
    let verdict = gift_between_two_attaches(true);
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.gold_expected, verdict.gold_found), (200, 200));
}

#[test]
fn gift_to_a_player_that_is_attached_again_at_once_and_has_no_giver_is_found() {
    assert_found(&gift_between_two_attaches(false), "0 gold and 0 items given, 30", 1, 30);
}

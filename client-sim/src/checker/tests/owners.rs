//! Histories over several owners: what one of them told must hold under every later one.

use everhold_protocol::Epoch;

use super::*;

impl Story {
    /// A next owner resumes both, knowing as many events and inputs as were told.
    fn owner_changes(&mut self, inputs: [u64; 2], items: [&[Item]; 2]) {
        self.epoch = self.epoch.next().unwrap();
        for player in [ANN, BEN] {
            let own = self.own(player, items[player]);
            self.attach(player, self.seqs[player], inputs[player], &own);
        }
    }

    fn own(&self, player: usize, items: &[Item]) -> OwnState {
        OwnState {
            gold: self.gold[player],
            items: items.to_vec(),
            ..OwnState::default()
        }
    }
}

#[test]
fn value_that_wanders_under_owner_after_owner_adds_up() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 10);
    story.gift(10);
    story.show(ANN, 1, 90, &[BREAD]);
    story.owner_changes([1, 0], [&[BREAD], &[]]);
    story.asks_item(ANN, 2, BEN, BREAD);
    story.loses(ANN, BREAD, ItemCause::GiftTo(session(BEN)));
    story.gains(BEN, BREAD, ItemCause::GiftFrom(session(ANN)));
    story.show(ANN, 2, 90, &[]);
    story.owner_changes([2, 0], [&[], &[BREAD]]);
    story.gold(BEN, 7, GoldCause::Loot);
    story.owner_changes([2, 0], [&[], &[BREAD]]);
    story.show(BEN, 0, 117, &[BREAD]);
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.gold_expected, verdict.gold_found), (207, 207));
    assert_eq!((verdict.items_expected, verdict.items_found), (1, 1));
}

#[test]
fn gift_that_the_giver_heard_from_one_owner_and_the_receiver_from_the_next_is_clean() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 10);
    story.gold(ANN, -10, GoldCause::GiftTo(session(BEN)));
    story.owner_changes([1, 0], [&[BREAD], &[]]);
    story.gold(BEN, 10, GoldCause::GiftFrom(session(ANN)));
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

#[test]
fn gift_that_vanished_between_two_owners_is_found() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 10);
    story.gold(ANN, -10, GoldCause::GiftTo(session(BEN)));
    story.owner_changes([1, 0], [&[BREAD], &[]]);
    // The gift with one side, and the ten gold.
    assert_found(&story.end(), "do not match", 1 + 10, 0);
}

#[test]
fn order_answered_by_an_owner_two_later_is_clean() {
    let mut story = Story::begin();
    story.asks_gold(BEN, 1, ANN, 500);
    story.owner_changes([0, 0], [&[BREAD], &[]]);
    story.owner_changes([0, 1], [&[BREAD], &[]]);
    let reason = RejectReason::NotEnoughGold;
    story.tell(BEN, Event::Rejected { seq: 1, reason });
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

#[test]
fn order_that_the_next_owner_carries_out_again_is_found() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 10);
    story.gift(10);
    story.owner_changes([1, 0], [&[BREAD], &[]]);
    story.gift(10);
    assert_found(&story.end(), "1 orders to give gold, 2 answers", 0, 1);
}

#[test]
fn order_that_the_next_owner_refuses_after_it_was_carried_out_is_found() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 100);
    story.gift(100);
    story.owner_changes([1, 0], [&[BREAD], &[]]);
    let reason = RejectReason::NotEnoughGold;
    story.tell(ANN, Event::Rejected { seq: 1, reason });
    assert_found(&story.end(), "1 orders to give gold, 2 answers", 0, 1);
}

#[test]
fn thing_that_two_owners_hand_out_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(ANN, 1, &Intent::PickUp { item: ROPE.uid });
    story.gains(ANN, ROPE, ItemCause::PickedUp);
    story.owner_changes([1, 0], [&[BREAD, ROPE], &[]]);
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: ROPE.uid });
    story.gains(BEN, ROPE, ItemCause::PickedUp);
    // It came into being twice, and is in two inventories.
    assert_found(&story.end(), "came into being 2 times", 0, 2);
}

#[test]
fn event_that_only_an_attach_spoke_of_and_the_next_owner_forgot_is_found() {
    let mut story = Story::begin();
    story.epoch = Epoch(2);
    story.attach(BEN, 3, 0, &story.own(BEN, &[]));
    story.epoch = Epoch(3);
    story.attach(BEN, 1, 0, &story.own(BEN, &[]));
    assert_found(&story.end(), "event 3 was told, now only 1", 2, 0);
}

#[test]
fn event_that_only_a_snapshot_spoke_of_and_the_next_owner_forgot_is_found() {
    let mut story = Story::begin();
    story.seqs[BEN] += 1;
    story.show(BEN, 0, 100, &[]);
    story.seqs[BEN] -= 1;
    story.owner_changes([0, 0], [&[BREAD], &[]]);
    story.show(BEN, 0, 100, &[]);
    assert_found(&story.end(), "event 2 was told, now only 1", 1, 0);
}

#[test]
fn snapshot_of_a_tick_that_is_taken_back_promised_no_event() {
    let mut story = Story::begin();
    story.seqs[BEN] += 1;
    story.show(BEN, 0, 100, &[]);
    story.seqs[BEN] -= 1;
    story.epoch = Epoch(2);
    let own = story.own(BEN, &[]);
    story.checker.on_attached(
        BEN,
        &Attachment {
            session: session(BEN),
            epoch: Epoch(2),
            event_seq: 1,
            last_input_seq: 0,
            rewound_ticks: 2,
            own: &own,
        },
    );
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!(verdict.rewound_ticks, 2);
}

#[test]
fn snapshot_of_a_tick_that_is_not_stored_promises_neither_input_nor_event() {
    let mut story = Story::begin();
    story.seqs[BEN] += 1;
    story.unconfirmed_ticks = 1;
    story.show(BEN, 7, 100, &[]);
    story.seqs[BEN] -= 1;
    story.owner_changes([0, 5], [&[BREAD], &[]]);
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

#[test]
fn input_that_was_told_done_and_is_forgotten_is_lost_whatever_snapshots_promised() {
    let mut story = Story::begin();
    story.unconfirmed_ticks = 1;
    story.show(BEN, 7, 100, &[]);
    story.checker.on_confirmed(BEN, 6);
    story.owner_changes([0, 5], [&[BREAD], &[]]);
    assert_found(&story.end(), "input 6 was confirmed, now only 5", 1, 0);
}

#[test]
fn inputs_that_several_owners_forgot_are_added_up() {
    let mut story = Story::begin();
    story.show(BEN, 7, 100, &[]);
    story.owner_changes([0, 5], [&[BREAD], &[]]);
    story.show(BEN, 9, 100, &[]);
    story.owner_changes([0, 8], [&[BREAD], &[]]);
    assert_found(&story.end(), "input 9 was confirmed, now only 8", 2 + 1, 0);
}

#[test]
fn owner_that_speaks_after_its_successor_is_found() {
    let mut story = Story::begin();
    story.epoch = Epoch(3);
    story.show(ANN, 0, 100, &[BREAD]);
    story.epoch = Epoch(2);
    story.show(ANN, 0, 100, &[BREAD]);
    assert_found(&story.end(), "from epoch 3 tick 2 to epoch 2 tick 3", 1, 0);
}

#[test]
fn orders_of_a_long_run_stay_bounded_and_the_newest_are_known() {
    let mut story = Story::begin();
    for seq in 1..=100_000 {
        story.checker.on_asked(BEN, seq, &Intent::PickUp { item: ROPE.uid });
        story.tell(
            BEN,
            Event::Rejected {
                seq,
                reason: RejectReason::NoTarget,
            },
        );
        story.checker.on_asked(ANN, seq, &Intent::PickUp { item: ROPE.uid });
    }
    let kept = |player: usize| story.checker.books[player].orders_kept();
    assert_eq!((kept(BEN), kept(ANN)), (0, 1_024));
    // Ann's newest can still be told from an answer to nothing.
    story.tell(
        ANN,
        Event::Rejected {
            seq: 100_000,
            reason: RejectReason::NoTarget,
        },
    );
    assert_found(&story.end(), "100000 orders to pick up, 1 answers", 99_999, 0);
}

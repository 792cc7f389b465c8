//! Histories of two players, each with one fault planted: a checker that finds nothing in them is worth nothing.

use everhold_protocol::event::{Event, GoldCause, ItemCause, RejectReason};
use everhold_protocol::snapshot::value_digest;
use everhold_protocol::{EntityId, Intent, Item, OwnState, SeqEvent, SnapshotHeader};

use super::{Attachment, Checker, Verdict};

const ANN: usize = 0;
const BEN: usize = 1;
const BREAD: Item = Item {
    uid: EntityId::new(1, 50),
    kind: 0,
};
const ROPE: Item = Item {
    uid: EntityId::new(1, 60),
    kind: 2,
};

fn session(player: usize) -> EntityId {
    EntityId::new(1, player as u32 + 1)
}

/// Tells two players their history, counting events as a server would.
struct Story {
    checker: Checker,
    seqs: [u32; 2],
    gold: [u64; 2],
    tick: u64,
}

impl Story {
    /// Ann starts with 100 gold and a bread, Ben with 100 gold.
    fn begin() -> Self {
        let mut story = Self {
            checker: Checker::new(2),
            seqs: [0; 2],
            gold: [0; 2],
            tick: 1,
        };
        for player in [ANN, BEN] {
            let items = if player == ANN { vec![BREAD] } else { vec![] };
            let own = OwnState {
                hp: 100,
                gold: 100,
                items,
                ..OwnState::default()
            };
            story.attach(player, 2 - player as u32, 0, &own);
            story.gold(player, 100, GoldCause::Start);
        }
        story.tell(
            ANN,
            Event::ItemGained {
                item: BREAD,
                cause: ItemCause::Start,
            },
        );
        story
    }

    fn attach(&mut self, player: usize, event_seq: u32, last_input_seq: u32, own: &OwnState) {
        let attachment = Attachment {
            session: session(player),
            epoch: 1,
            event_seq,
            last_input_seq,
            rewound_ticks: 0,
            own,
        };
        self.checker.on_attached(player, &attachment);
    }

    fn tell(&mut self, player: usize, event: Event) {
        self.seqs[player] += 1;
        self.retell(player, self.seqs[player], event);
    }

    fn retell(&mut self, player: usize, seq: u32, event: Event) {
        self.checker.on_event(
            player,
            &SeqEvent {
                seq,
                tick: self.tick,
                event,
            },
        );
    }

    fn gold(&mut self, player: usize, delta: i64, cause: GoldCause) {
        self.gold[player] = self.gold[player].checked_add_signed(delta).unwrap();
        self.tell(
            player,
            Event::Gold {
                total: self.gold[player],
                delta,
                cause,
            },
        );
    }

    fn gift(&mut self, amount: i64) {
        self.gold(ANN, -amount, GoldCause::GiftTo(session(BEN)));
        self.gold(BEN, amount, GoldCause::GiftFrom(session(ANN)));
    }

    fn show(&mut self, player: usize, last_input_seq: u32, gold: u64, items: &[Item]) {
        self.tick += 1;
        let event_seq = self.seqs[player];
        let header = SnapshotHeader {
            epoch: 1,
            tick: self.tick,
            last_input_seq,
            event_seq,
            ..snapshot(value_digest(gold, items))
        };
        self.checker.on_snapshot(player, &header);
    }

    fn end(mut self) -> Verdict {
        self.checker.on_settled(ANN);
        self.checker.on_settled(BEN);
        self.checker.into_verdict()
    }
}

fn snapshot(value_digest: u32) -> SnapshotHeader {
    SnapshotHeader {
        epoch: 1,
        tick: 0,
        dilation: 255,
        last_input_seq: 0,
        event_seq: 0,
        x: 0,
        y: 0,
        hp: 100,
        value_digest,
    }
}

/// The verdict must name the fault and count it on the right side.
#[track_caller]
fn assert_found(verdict: &Verdict, words: &str, lost: u64, duplicated: u64) {
    let found = verdict.violations.iter().any(|violation| violation.contains(words));
    assert!(found, "no violation says {words:?}: {:#?}", verdict.violations);
    assert_eq!(
        (verdict.lost_acknowledged, verdict.duplicated),
        (lost, duplicated),
        "{:#?}",
        verdict.violations
    );
}

#[test]
fn honest_history_is_clean_and_adds_up() {
    let mut story = Story::begin();
    story.checker.on_asked(
        ANN,
        1,
        &Intent::GiveGold {
            to: session(BEN),
            amount: 30,
        },
    );
    story.checker.on_asked(
        ANN,
        2,
        &Intent::GiveItem {
            to: session(BEN),
            item: BREAD.uid,
        },
    );
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: ROPE.uid });
    story.checker.on_asked(BEN, 2, &Intent::PickUp { item: ROPE.uid });
    story.gift(30);
    story.tell(
        ANN,
        Event::ItemLost {
            item: BREAD,
            cause: ItemCause::GiftTo(session(BEN)),
        },
    );
    story.tell(
        BEN,
        Event::ItemGained {
            item: BREAD,
            cause: ItemCause::GiftFrom(session(ANN)),
        },
    );
    story.tell(
        BEN,
        Event::ItemGained {
            item: ROPE,
            cause: ItemCause::PickedUp,
        },
    );
    story.tell(
        BEN,
        Event::Rejected {
            seq: 2,
            reason: RejectReason::NoTarget,
        },
    );
    story.gold(BEN, 7, GoldCause::Loot);
    story.tell(
        BEN,
        Event::Kill {
            victim: EntityId::new(1, 99),
        },
    );
    story.show(ANN, 2, 70, &[]);
    story.show(BEN, 2, 137, &[BREAD, ROPE]);
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!((verdict.gold_expected, verdict.gold_found), (207, 207));
    assert_eq!((verdict.items_expected, verdict.items_found, verdict.kills), (2, 2, 1));
}

#[test]
fn returning_player_brings_what_it_had() {
    let mut checker = Checker::new(1);
    let own = OwnState {
        gold: 40,
        items: vec![ROPE],
        ..OwnState::default()
    };
    let attachment = Attachment {
        session: session(9),
        epoch: 3,
        event_seq: 12,
        last_input_seq: 5,
        rewound_ticks: 0,
        own: &own,
    };
    checker.on_attached(0, &attachment);
    let early = Event::Gold {
        total: 40,
        delta: -10,
        cause: GoldCause::GiftTo(session(8)),
    };
    checker.on_event(
        0,
        &SeqEvent {
            seq: 12,
            tick: 1,
            event: early,
        },
    );
    let news = Event::Gold {
        total: 45,
        delta: 5,
        cause: GoldCause::Loot,
    };
    checker.on_event(
        0,
        &SeqEvent {
            seq: 13,
            tick: 2,
            event: news,
        },
    );
    checker.on_settled(0);
    let verdict = checker.into_verdict();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    assert_eq!(
        (verdict.gold_expected, verdict.gold_found, verdict.items_found),
        (55 - 10, 45, 1)
    );
}

#[test]
fn resume_with_missed_events_is_clean() {
    let mut story = Story::begin();
    story.show(ANN, 3, 100, &[BREAD]);
    let own = OwnState {
        gold: 90,
        items: vec![BREAD],
        ..OwnState::default()
    };
    story.checker.on_asked(
        ANN,
        4,
        &Intent::GiveGold {
            to: session(BEN),
            amount: 10,
        },
    );
    story.attach(ANN, 3, 4, &own);
    story.gift(10);
    story.show(ANN, 4, 90, &[BREAD]);
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

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
                epoch: 1,
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
        checker.on_event(player, &SeqEvent { seq: 1, tick: 1, event });
    }
    assert_found(&checker.into_verdict(), "is in 2 inventories", 0, 2);
}

#[test]
fn missing_event_is_found() {
    let mut story = Story::begin();
    story.seqs[ANN] += 2;
    story.tell(ANN, Event::Respawn);
    assert_found(&story.end(), "event 3 was due, 5 came", 2, 0);
}

#[test]
fn gap_that_the_client_machine_saw_counts_once() {
    let mut story = Story::begin();
    story.checker.on_event_gap(ANN, 3, 5);
    story.seqs[ANN] += 2;
    story.tell(ANN, Event::Respawn);
    assert_found(&story.end(), "event 3 was due, 5 came", 2, 0);
}

#[test]
fn event_told_again_as_new_is_found() {
    let mut story = Story::begin();
    story.retell(BEN, 1, Event::Respawn);
    assert_found(&story.end(), "event 1 was told again", 0, 1);
}

#[test]
fn event_with_other_content_is_found() {
    let mut story = Story::begin();
    story.checker.on_event_repeated(BEN, 1, true);
    story.checker.on_event_repeated(BEN, 1, false);
    assert_found(&story.end(), "event 1 was told again", 0, 1);
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
    story.checker.on_asked(
        ANN,
        1,
        &Intent::GiveGold {
            to: session(BEN),
            amount: 30,
        },
    );
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
fn order_carried_out_twice_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(
        ANN,
        1,
        &Intent::GiveGold {
            to: session(BEN),
            amount: 5,
        },
    );
    story.gift(5);
    story.gift(5);
    assert_found(&story.end(), "1 orders to give gold, 2 answers", 0, 1);
}

#[test]
fn order_never_answered_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: ROPE.uid });
    story.show(BEN, 1, 100, &[]);
    assert_found(&story.end(), "1 orders to pick up, 0 answers", 1, 0);
}

#[test]
fn confirmed_input_that_a_resume_forgot_is_found() {
    let mut story = Story::begin();
    story.show(BEN, 7, 100, &[]);
    story.attach(
        BEN,
        1,
        5,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    assert_found(&story.end(), "input 7 was confirmed, now only 5", 2, 0);
}

#[test]
fn event_that_a_resume_forgot_is_found() {
    let mut story = Story::begin();
    story.gold(BEN, 7, GoldCause::Loot);
    story.attach(
        BEN,
        1,
        0,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    // The forgotten event, the purse that differs from it, and the seven gold.
    assert_found(&story.end(), "event 2 was told, now only 1", 1 + 1 + 7, 0);
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
fn missed_events_that_a_resume_never_sent_are_found() {
    let mut story = Story::begin();
    story.attach(
        BEN,
        3,
        0,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    assert_found(&story.end(), "event 2 was due, 4 came", 2, 0);
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
fn world_that_goes_back_is_found() {
    let mut story = Story::begin();
    story.show(ANN, 0, 100, &[BREAD]);
    story.tick -= 1;
    story.show(ANN, 0, 100, &[BREAD]);
    assert_found(&story.end(), "the world went back", 1, 0);
}

#[test]
fn thing_in_two_inventories_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: BREAD.uid });
    story.tell(
        BEN,
        Event::ItemGained {
            item: BREAD,
            cause: ItemCause::PickedUp,
        },
    );
    // Two owners, and it came into being twice.
    assert_found(&story.end(), "is in 2 inventories", 0, 2);
}

#[test]
fn thing_picked_up_twice_and_handed_on_is_found() {
    let mut story = Story::begin();
    for player in [ANN, BEN] {
        story.checker.on_asked(player, 1, &Intent::PickUp { item: ROPE.uid });
    }
    story.tell(
        ANN,
        Event::ItemGained {
            item: ROPE,
            cause: ItemCause::PickedUp,
        },
    );
    story.checker.on_asked(
        ANN,
        2,
        &Intent::GiveItem {
            to: session(BEN),
            item: ROPE.uid,
        },
    );
    story.tell(
        ANN,
        Event::ItemLost {
            item: ROPE,
            cause: ItemCause::GiftTo(session(BEN)),
        },
    );
    story.tell(
        BEN,
        Event::ItemGained {
            item: ROPE,
            cause: ItemCause::GiftFrom(session(ANN)),
        },
    );
    story.tell(
        BEN,
        Event::ItemGained {
            item: ROPE,
            cause: ItemCause::PickedUp,
        },
    );
    // It came into being twice, and Ben gained what he had.
    assert_found(&story.end(), "came into being 2 times", 0, 2);
}

#[test]
fn thing_that_vanishes_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(
        ANN,
        1,
        &Intent::GiveItem {
            to: session(BEN),
            item: BREAD.uid,
        },
    );
    story.tell(
        ANN,
        Event::ItemLost {
            item: BREAD,
            cause: ItemCause::GiftTo(session(BEN)),
        },
    );
    // In nobody's inventory, and a gift with one side.
    assert_found(&story.end(), "is in no inventory", 2, 0);
}

#[test]
fn thing_that_nobody_gave_is_found() {
    let mut story = Story::begin();
    story.tell(
        BEN,
        Event::ItemGained {
            item: ROPE,
            cause: ItemCause::GiftFrom(session(ANN)),
        },
    );
    assert_found(&story.end(), "came from nowhere", 1, 1);
}

#[test]
fn thing_lost_without_having_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(
        BEN,
        1,
        &Intent::GiveItem {
            to: session(ANN),
            item: ROPE.uid,
        },
    );
    story.tell(
        BEN,
        Event::ItemLost {
            item: ROPE,
            cause: ItemCause::GiftTo(session(7)),
        },
    );
    assert_found(&story.end(), "loses without having", 1, 0);
}

#[test]
fn chat_line_said_twice_is_found() {
    let mut story = Story::begin();
    for _ in 0..2 {
        story.tell(
            BEN,
            Event::Chat {
                from: session(ANN),
                text: "fair winds #4".to_owned(),
            },
        );
    }
    let verdict = story.end();
    assert_eq!(verdict.chats, 2);
    assert_found(&verdict, "line 4", 0, 1);
}

#[test]
fn violations_beyond_those_kept_in_words_are_counted() {
    let mut story = Story::begin();
    for seq in 0..1_000 {
        story.checker.on_event_repeated(BEN, seq, false);
    }
    let verdict = story.end();
    assert_eq!((verdict.violations_total, verdict.duplicated), (1_000, 1_000));
    assert!(verdict.violations.len() < 100);
}

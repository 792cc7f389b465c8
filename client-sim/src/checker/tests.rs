//! Histories of two players, each with one fault planted: a checker that finds nothing in them is worth nothing.

use everhold_protocol::event::{Event, GoldCause, ItemCause, RejectReason};
use everhold_protocol::snapshot::value_digest;
use everhold_protocol::{EntityId, Epoch, Intent, Item, OwnState, SeqEvent, SnapshotHeader, Tick};

use super::{Attachment, Checker, Verdict};

mod owners;
mod sequence;
mod strangers;
mod value;

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
    seqs: [u64; 2],
    gold: [u64; 2],
    epoch: Epoch,
    tick: Tick,
    /// Of every snapshot that is shown.
    unconfirmed_ticks: u16,
}

impl Story {
    /// Ann starts with 100 gold and a bread, Ben with 100 gold.
    fn begin() -> Self {
        let mut story = Self {
            checker: Checker::new(2),
            seqs: [0; 2],
            gold: [0; 2],
            epoch: Epoch(1),
            tick: Tick(1),
            unconfirmed_ticks: 0,
        };
        for player in [ANN, BEN] {
            let items = if player == ANN { vec![BREAD] } else { vec![] };
            let own = OwnState {
                hp: 100,
                gold: 100,
                items,
                ..OwnState::default()
            };
            story.attach(player, 2 - player as u64, 0, &own);
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

    fn attach(&mut self, player: usize, event_seq: u64, last_input_seq: u64, own: &OwnState) {
        let attachment = Attachment {
            session: session(player),
            epoch: self.epoch,
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

    fn retell(&mut self, player: usize, seq: u64, event: Event) {
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

    fn loses(&mut self, player: usize, item: Item, cause: ItemCause) {
        self.tell(player, Event::ItemLost { item, cause });
    }

    fn gains(&mut self, player: usize, item: Item, cause: ItemCause) {
        self.tell(player, Event::ItemGained { item, cause });
    }

    fn asks_gold(&mut self, player: usize, seq: u64, to: usize, amount: u64) {
        let to = session(to);
        self.checker.on_asked(player, seq, &Intent::GiveGold { to, amount });
    }

    fn asks_item(&mut self, player: usize, seq: u64, to: usize, item: Item) {
        let (to, item) = (session(to), item.uid);
        self.checker.on_asked(player, seq, &Intent::GiveItem { to, item });
    }

    fn gift(&mut self, amount: i64) {
        self.gold(ANN, -amount, GoldCause::GiftTo(session(BEN)));
        self.gold(BEN, amount, GoldCause::GiftFrom(session(ANN)));
    }

    fn show(&mut self, player: usize, last_input_seq: u64, gold: u64, items: &[Item]) {
        self.tick += 1;
        let event_seq = self.seqs[player];
        let header = SnapshotHeader {
            epoch: self.epoch,
            tick: self.tick,
            unconfirmed_ticks: self.unconfirmed_ticks,
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
        epoch: Epoch(1),
        tick: Tick(0),
        unconfirmed_ticks: 0,
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
    story.asks_gold(ANN, 1, BEN, 30);
    story.asks_item(ANN, 2, BEN, BREAD);
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: ROPE.uid });
    story.checker.on_asked(BEN, 2, &Intent::PickUp { item: ROPE.uid });
    story.gift(30);
    story.loses(ANN, BREAD, ItemCause::GiftTo(session(BEN)));
    story.gains(BEN, BREAD, ItemCause::GiftFrom(session(ANN)));
    story.gains(BEN, ROPE, ItemCause::PickedUp);
    let reason = RejectReason::NoTarget;
    story.tell(BEN, Event::Rejected { seq: 2, reason });
    story.gold(BEN, 7, GoldCause::Loot);
    let victim = EntityId::new(1, 99);
    story.tell(BEN, Event::Kill { victim });
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
        epoch: Epoch(3),
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
            tick: Tick(1),
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
            tick: Tick(2),
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
    story.asks_gold(ANN, 4, BEN, 10);
    story.attach(ANN, 3, 4, &own);
    story.gift(10);
    story.show(ANN, 4, 90, &[BREAD]);
    let verdict = story.end();
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

//! The book of one player: what it was told, in order, and whether it hangs together. Of other players it knows only
//! their names.

use std::collections::{BTreeMap, HashMap};

use everhold_protocol::event::{Event, GoldCause, ItemCause};
use everhold_protocol::limits::UNCONFIRMED_INTENTS_MAX;
use everhold_protocol::{EntityId, Epoch, Intent, Item, OwnState, SeqEvent, SessionId, SnapshotHeader, Tick};

use super::before::{Opening, before};
use super::order::OrderKind;
use super::violation::ItemOddity;
use super::{Attachment, Ledger, Violation};
use crate::behavior::chat;

/// Orders of one player whose refusal would be known as theirs, the newest: a long run must not keep all. Eight times
/// what can be unconfirmed leaves room for confirmed ones whose events are still on their way, and for a successor that
/// carries recent ones out again.
const ORDERS_KEPT_MAX: usize = 8 * UNCONFIRMED_INTENTS_MAX;

/// Whether an event is from before the player's time: what it says of others was told to them in an earlier life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    History,
    News,
}

/// One player's history.
#[derive(Debug)]
pub(super) struct Book {
    player: u32,
    session: Option<SessionId>,
    settled: bool,
    /// The last event that the zone has forgotten: up to it purse and inventory do not follow from what was told.
    unsure_until: u64,
    opening: Option<Opening>,
    last_event: u64,
    gold: u64,
    items: BTreeMap<EntityId, Item>,
    /// Digest of gold and items, until the next event.
    digest: Option<u32>,
    /// The state that an attach told, to be compared when the events have come so far.
    promised: Option<(u64, OwnState)>,
    mismatch_at: Option<u64>,
    confirmed: u64,
    /// The last event that a confirmed snapshot spoke of.
    event_shown: u64,
    seen: Option<(Epoch, Tick)>,
    lines_heard: HashMap<SessionId, u32>,
    open_orders: BTreeMap<u64, OrderKind>,
    asked: [u64; OrderKind::ALL.len()],
    answered: [u64; OrderKind::ALL.len()],
}

impl Book {
    pub(super) fn new(player: u32) -> Self {
        Self {
            player,
            session: None,
            settled: false,
            unsure_until: 0,
            opening: None,
            last_event: 0,
            gold: 0,
            items: BTreeMap::new(),
            digest: None,
            promised: None,
            mismatch_at: None,
            confirmed: 0,
            event_shown: 0,
            seen: None,
            lines_heard: HashMap::new(),
            open_orders: BTreeMap::new(),
            asked: [0; OrderKind::ALL.len()],
            answered: [0; OrderKind::ALL.len()],
        }
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled && self.unsure_until == 0
    }

    pub(super) fn gold(&self) -> u64 {
        self.gold
    }

    pub(super) fn items(&self) -> impl Iterator<Item = EntityId> {
        self.items.keys().copied()
    }

    pub(super) fn on_attached(&mut self, attachment: &Attachment<'_>, ledger: &mut Ledger) {
        ledger.rewound_ticks = ledger.rewound_ticks.max(attachment.rewound_ticks);
        let own = attachment.own.clone();
        if self.session.is_none() {
            self.session = Some(attachment.session);
            self.confirmed = attachment.last_input_seq;
            self.opening = Some(Opening {
                event_seq: attachment.event_seq,
                history: attachment.event_seq,
                own,
                early: Vec::new(),
            });
            if attachment.event_seq == 0 {
                self.open(ledger);
            }
            return;
        }
        self.renumber_orders(self.confirmed.saturating_sub(attachment.last_input_seq));
        self.check_inputs_known(attachment.last_input_seq, ledger);
        self.on_confirmed(attachment.last_input_seq);
        self.check_events_known(attachment, ledger);
        if let Some(opening) = &mut self.opening {
            opening.event_seq = attachment.event_seq;
            opening.own = own;
            return;
        }
        self.promised = Some((attachment.event_seq, own));
        self.check_promise(ledger);
    }

    pub(super) fn on_event(&mut self, event: &SeqEvent, ledger: &mut Ledger) {
        if let Some(opening) = &mut self.opening {
            let due = opening.event_seq;
            if event.seq <= due {
                opening.early.push(event.clone());
            }
            if event.seq >= due {
                self.open(ledger);
            }
            if event.seq <= due {
                return;
            }
        }
        self.take(event, Age::News, ledger);
    }

    pub(super) fn on_event_gap(&mut self, expected: u64, got: u64, ledger: &mut Ledger) {
        // Before the opening is complete, its replay finds the gap; an attach that knows fewer events than before has
        // been counted itself.
        if self.opening.is_some() || got <= expected {
            return;
        }
        ledger.findings.add(&Violation::EventsLost {
            player: self.player,
            expected,
            got,
        });
        // The event after the gap follows; the loss is counted here.
        self.last_event = self.last_event.max(got - 1);
    }

    /// Follows the last attach from here on: the zone has forgotten events up to `to`, which is no fault.
    pub(super) fn on_events_forgotten(&mut self, to: u64, ledger: &mut Ledger) {
        ledger.unheard.insert(self.player);
        self.unsure_until = self.promised.as_ref().map_or(to, |(due, _)| *due);
        if let Some(opening) = &mut self.opening {
            opening.early.retain(|event| event.seq > to);
            return;
        }
        self.last_event = self.last_event.max(to);
        self.check_promise(ledger);
    }

    pub(super) fn on_snapshot(&mut self, header: &SnapshotHeader, ledger: &mut Ledger) {
        let now = (header.epoch, header.tick);
        if let Some(before) = self.seen.replace(now)
            && now <= before
        {
            ledger.findings.add(&Violation::WentBack {
                player: self.player,
                from: before,
                to: now,
            });
        }
        self.check_inputs_known(header.last_input_seq, ledger);
        // What is shown before it is stored may be lost with its owner, and is no promise.
        if header.unconfirmed_ticks == 0 {
            self.on_confirmed(header.last_input_seq);
            self.event_shown = header.event_seq;
        }
        let comparable = self.opening.is_none() && self.promised.is_none() && header.event_seq == self.last_event;
        if comparable && self.digest() != header.value_digest {
            self.mismatch("purse or inventory", ledger);
        }
    }

    pub(super) fn on_value_mismatch(&mut self, event_seq: u64, ledger: &mut Ledger) {
        if self.mismatch_at != Some(event_seq) {
            self.mismatch_at = Some(event_seq);
            let what = "the client machine's purse or inventory";
            ledger.findings.add(&Violation::ValueMismatch {
                player: self.player,
                event_seq,
                what,
            });
        }
    }

    pub(super) fn on_asked(&mut self, seq: u64, intent: &Intent) {
        if let Some(order) = OrderKind::of(intent) {
            self.asked[order as usize] += 1;
            self.open_orders.insert(seq, order);
            if self.open_orders.len() > ORDERS_KEPT_MAX {
                self.open_orders.pop_first();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn orders_kept(&self) -> usize {
        self.open_orders.len()
    }

    pub(super) fn on_settled(&mut self) {
        self.settled = true;
    }

    /// Ends the history: what is still open now stays open.
    pub(super) fn close(&mut self, ledger: &mut Ledger) {
        if self.opening.is_some() {
            self.open(ledger);
        }
        let promised = self.promised.take().map_or(0, |(due, _)| due);
        let due = promised.max(self.event_shown);
        if due > self.last_event {
            let (expected, got) = (self.last_event + 1, due + 1);
            ledger.findings.add(&Violation::EventsLost {
                player: self.player,
                expected,
                got,
            });
        }
        if !self.is_settled() {
            return;
        }
        for order in OrderKind::ALL {
            let (asked, answered) = (self.asked[order as usize], self.answered[order as usize]);
            if asked != answered {
                ledger.findings.add(&Violation::OrdersUnbalanced {
                    player: self.player,
                    order,
                    asked,
                    answered,
                });
            }
        }
    }

    /// Works out what there was before the first attach, when all events up to it are in, and then takes them in turn.
    fn open(&mut self, ledger: &mut Ledger) {
        let Some(Opening {
            event_seq,
            history,
            own,
            early,
        }) = self.opening.take()
        else {
            return;
        };
        let (gold, items) = before(&own, &early);
        self.gold = gold;
        self.items = items;
        self.last_event = early.first().map_or(event_seq, |event| event.seq.saturating_sub(1));
        let (history, news) = early.split_at(early.partition_point(|event| event.seq <= history));
        for event in history {
            self.take(event, Age::History, ledger);
        }
        // What it has beyond its history it brings along, from an earlier life or as a new character's outfit.
        ledger.minted += self.gold;
        self.items.keys().for_each(|uid| ledger.item_brought(*uid));
        // It was attached again before it had heard everything from before its time.
        for event in news {
            self.take(event, Age::News, ledger);
        }
        self.promised = Some((event_seq, own));
        self.check_promise(ledger);
    }

    fn take(&mut self, event: &SeqEvent, age: Age, ledger: &mut Ledger) {
        let (player, expected) = (self.player, self.last_event + 1);
        if event.seq < expected {
            ledger
                .findings
                .add(&Violation::EventRepeated { player, seq: event.seq });
            return;
        }
        if event.seq > expected {
            ledger.findings.add(&Violation::EventsLost {
                player,
                expected,
                got: event.seq,
            });
        }
        self.last_event = event.seq;
        match &event.event {
            Event::Gold { total, delta, cause } => self.on_gold(*total, *delta, *cause, age, ledger),
            Event::ItemGained { item, cause } => self.on_item_gained(*item, *cause, age, ledger),
            Event::ItemLost { item, cause } => self.on_item_lost(*item, *cause, age, ledger),
            Event::Chat { from, text } => self.on_chat(*from, text, age, ledger),
            Event::Kill { .. } if age == Age::News => ledger.kills += 1,
            Event::Rejected { seq, .. } => {
                if let Some(order) = self.open_orders.remove(seq) {
                    self.answered[order as usize] += 1;
                }
            }
            Event::Kill { .. } | Event::Death { .. } | Event::Respawn => {}
        }
        self.check_promise(ledger);
    }

    fn on_gold(&mut self, total: u64, delta: i64, cause: GoldCause, age: Age, ledger: &mut Ledger) {
        self.digest = None;
        let grows = !matches!(cause, GoldCause::GiftTo(_));
        if self.gold.checked_add_signed(delta) != Some(total) || grows != (delta > 0) {
            self.mismatch("the purse", ledger);
        }
        self.gold = total;
        let me = self.session.unwrap_or_default();
        let amount = delta.unsigned_abs();
        match cause {
            _ if age == Age::History => {}
            GoldCause::Start | GoldCause::Loot => ledger.minted += amount,
            GoldCause::GiftFrom(giver) => {
                ledger.gold_came(giver, me, amount);
            }
            GoldCause::GiftTo(receiver) => {
                ledger.gold_went(me, receiver, amount);
                self.answered[OrderKind::GiveGold as usize] += 1;
            }
        }
    }

    fn on_item_gained(&mut self, item: Item, cause: ItemCause, age: Age, ledger: &mut Ledger) {
        self.digest = None;
        if self.items.insert(item.uid, item).is_some() {
            self.item_odd(ItemOddity::GainedAgain, item.uid, ledger);
        }
        match cause {
            _ if age == Age::History => {}
            ItemCause::Start => ledger.item_born(item.uid),
            ItemCause::PickedUp => {
                ledger.item_born(item.uid);
                self.answered[OrderKind::PickUp as usize] += 1;
            }
            ItemCause::GiftFrom(giver) => {
                let me = self.session.unwrap_or_default();
                ledger.item_came(giver, me, item);
            }
            ItemCause::GiftTo(_) => self.mismatch("the inventory", ledger),
        }
    }

    fn on_item_lost(&mut self, item: Item, cause: ItemCause, age: Age, ledger: &mut Ledger) {
        self.digest = None;
        if self.items.remove(&item.uid).is_none() {
            self.item_odd(ItemOddity::LostUnowned, item.uid, ledger);
        }
        match cause {
            _ if age == Age::History => {}
            ItemCause::GiftTo(receiver) => {
                let me = self.session.unwrap_or_default();
                ledger.item_went(me, receiver, item);
                self.answered[OrderKind::GiveItem as usize] += 1;
            }
            ItemCause::Start | ItemCause::PickedUp | ItemCause::GiftFrom(_) => self.mismatch("the inventory", ledger),
        }
    }

    fn on_chat(&mut self, from: SessionId, text: &str, age: Age, ledger: &mut Ledger) {
        if age == Age::History {
            return;
        }
        ledger.chats += 1;
        let Some(number) = chat::line_number(text) else { return };
        let last = self.lines_heard.insert(from, number).unwrap_or_default();
        if number <= last {
            ledger.findings.add(&Violation::ChatRepeated {
                player: self.player,
                from,
                number,
                last,
            });
        }
    }

    /// All intents up to this one are done.
    pub(super) fn on_confirmed(&mut self, seq: u64) {
        self.confirmed = self.confirmed.max(seq);
    }

    /// An owner that has not applied what was confirmed has lost it.
    fn check_inputs_known(&mut self, known: u64, ledger: &mut Ledger) {
        if known < self.confirmed {
            let confirmed = self.confirmed;
            ledger.findings.add(&Violation::InputsLost {
                player: self.player,
                confirmed,
                known,
            });
            self.confirmed = known;
        }
    }

    /// An owner that knows of fewer events than the player was told of, by whatever, has forgotten some.
    fn check_events_known(&mut self, attachment: &Attachment<'_>, ledger: &mut Ledger) {
        let known = attachment.event_seq;
        let attached = match (&self.opening, &self.promised) {
            (Some(opening), _) => opening.event_seq,
            (None, Some((due, _))) => *due,
            (None, None) => 0,
        };
        // Snapshots of ticks that are said to be taken back are taken back with what they spoke of.
        let shown = if attachment.rewound_ticks == 0 {
            self.event_shown
        } else {
            0
        };
        let told = self.last_event.max(attached).max(shown);
        if known < told {
            ledger.findings.add(&Violation::EventsForgotten {
                player: self.player,
                told,
                known,
            });
        }
        self.last_event = self.last_event.min(known);
        self.event_shown = self.event_shown.min(known);
        if let Some(opening) = &mut self.opening {
            opening.early.retain(|event| event.seq <= known);
        }
    }

    /// After lost inputs the client machine numbers those that still wait anew, without the gap.
    fn renumber_orders(&mut self, lost_inputs: u64) {
        if lost_inputs == 0 {
            return;
        }
        let orders = std::mem::take(&mut self.open_orders).into_iter();
        let waiting = orders.filter(|(seq, _)| *seq > self.confirmed);
        self.open_orders = waiting.map(|(seq, order)| (seq - lost_inputs, order)).collect();
    }

    /// Compares the state that the last attach told, once all events up to it are in.
    fn check_promise(&mut self, ledger: &mut Ledger) {
        let Some((_, own)) = self.promised.take_if(|(due, _)| *due == self.last_event) else {
            return;
        };
        if own.gold != self.gold {
            self.mismatch("the purse", ledger);
        }
        if !own.items.iter().eq(self.items.values()) {
            self.mismatch("the inventory", ledger);
        }
        self.gold = own.gold;
        self.items = own.items.into_iter().map(|item| (item.uid, item)).collect();
        self.digest = None;
    }

    fn digest(&mut self) -> u32 {
        *self.digest.get_or_insert_with(|| {
            let items: Vec<Item> = self.items.values().copied().collect();
            everhold_protocol::snapshot::value_digest(self.gold, &items)
        })
    }

    /// Counts once for each event: the same difference shows in every later snapshot until the next one.
    fn mismatch(&mut self, what: &'static str, ledger: &mut Ledger) {
        let event_seq = self.last_event;
        if event_seq <= self.unsure_until {
            return;
        }
        if self.mismatch_at.replace(event_seq) != Some(event_seq) {
            ledger.findings.add(&Violation::ValueMismatch {
                player: self.player,
                event_seq,
                what,
            });
        }
    }

    fn item_odd(&self, what: ItemOddity, uid: EntityId, ledger: &mut Ledger) {
        let (player, event_seq) = (self.player, self.last_event);
        if event_seq <= self.unsure_until {
            return;
        }
        ledger.findings.add(&Violation::ItemOdd {
            player,
            event_seq,
            what,
            uid,
        });
    }
}

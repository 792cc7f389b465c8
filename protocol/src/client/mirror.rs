//! The world as one client knows it, and the check that events and digests agree.

use crate::event::{Event, SeqEvent};
use crate::ids::{Epoch, Item, SessionId, Tick};
use crate::limits::INVENTORY_ITEMS_MAX;
use crate::message::{Attached, OwnState};
use crate::snapshot::{EntityUpdate, EntityView, Snapshot, SnapshotHeader, Velocity, value_digest};

use super::events::{EventLog, EventPlace, Resumed};
use super::surroundings::Surroundings;

/// The world as one client knows it.
#[derive(Debug, Default)]
pub struct Mirror {
    /// The player: place and hit points from snapshots, purse and inventory from the last `Attached` and the events
    /// after it.
    pub own: OwnState,
    /// The epoch of the attach.
    pub epoch: Epoch,
    /// The tick of the last snapshot, or of the attach if none came since.
    pub tick: Tick,
    /// The session, once attached.
    pub session: Option<SessionId>,
    /// The last event received.
    pub event_seq: u64,
    /// The last input that the zone has applied and stored.
    pub last_confirmed: u64,
    surroundings: Surroundings,
    events: EventLog,
    /// Whether `own` was ever sent.
    attached: bool,
    /// Whether a snapshot came since the attach.
    shown: bool,
    /// Digest of `own`'s purse and inventory.
    digest: u32,
    /// The event up to which `own` is exact: ahead of `event_seq` while missed events come in.
    exact_seq: u64,
    /// Purse and inventory by the events alone, until they catch up with the attach.
    audit: Option<Purse>,
    /// The event after which a mismatch was reported, so that it is reported once.
    mismatch_told: Option<u64>,
}

/// Purse and inventory by the events alone.
#[derive(Clone, Debug)]
struct Purse {
    gold: u64,
    items: Vec<Item>,
}

/// Applies an event to purse and inventory (in order of uid). A server that gives more items than an inventory holds is
/// found by the digest.
fn apply_value(gold: &mut u64, items: &mut Vec<Item>, event: &Event) {
    match event {
        Event::Gold { total, .. } => *gold = *total,
        Event::ItemGained { item, .. } => {
            let place = items.binary_search_by_key(&item.uid, |held| held.uid);
            if let Err(place) = place
                && items.len() < INVENTORY_ITEMS_MAX
            {
                items.insert(place, *item);
            }
        }
        Event::ItemLost { item, .. } => items.retain(|held| held.uid != item.uid),
        Event::Chat { .. } | Event::Kill { .. } | Event::Death { .. } | Event::Respawn | Event::Rejected { .. } => {}
    }
}

/// A difference of purse and inventory from what the server says they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) tick: Tick,
    pub(super) event_seq: u64,
}

/// An event's place in the sequence, and its effect.
pub(super) struct EventOutcome {
    pub(super) place: EventPlace,
    pub(super) mismatch: Option<Mismatch>,
}

impl Mirror {
    /// Takes a session that the client knows by its secret, before it ever attached.
    pub(super) fn expect_session(&mut self, session: SessionId, epoch: Epoch, event_seq: u64) {
        (self.session, self.epoch, self.event_seq) = (Some(session), epoch, event_seq);
        self.events.begin(event_seq);
    }

    /// Returns the event up to which the server may drop events.
    pub(super) const fn event_ack(&self) -> u64 {
        self.events.last()
    }

    /// Returns how many ticks the last snapshot is ahead of `tick`: shown by one owner, not had by the next.
    pub(super) fn ticks_ahead_of(&self, tick: Tick) -> u32 {
        u32::try_from(self.tick.since(tick)).unwrap_or(u32::MAX)
    }

    /// Begins a session by ticket: whatever was known is void.
    pub(super) fn log_in(&mut self, attached: &Attached) {
        self.events.begin(attached.events_forgotten.min(attached.event_seq));
        self.start(attached, None);
    }

    /// Takes a later attach to the same session. Returns how its events go on, and a mismatch if none was missed and
    /// yet the purse differs.
    pub(super) fn resume(&mut self, attached: &Attached) -> (Resumed, Option<Mismatch>) {
        let resumed = self.events.resume(attached.event_seq, attached.events_forgotten);
        let own = Purse {
            gold: self.own.gold,
            items: std::mem::take(&mut self.own.items),
        };
        // Before the first attach there is nothing to audit; without some events it cannot fit.
        let exact = self.attached && self.exact_seq <= self.event_seq;
        let told = self.audit.take().or_else(|| exact.then_some(own));
        let audit = told.filter(|_| resumed == Resumed::InOrder);
        self.start(attached, audit);
        (resumed, self.close_audit(self.tick))
    }

    fn start(&mut self, attached: &Attached, audit: Option<Purse>) {
        self.own = attached.own.clone();
        self.own.items.sort_by_key(|item| item.uid);
        (self.epoch, self.tick) = (attached.epoch, attached.resumed_tick);
        self.session = Some(attached.session);
        (self.event_seq, self.exact_seq) = (self.events.last(), attached.event_seq);
        (self.audit, self.shown, self.mismatch_told) = (audit, false, None);
        self.attached = true;
        self.surroundings.clear();
        self.renew_digest();
    }

    /// Returns the entities around the player, as they are at [`Mirror::tick`] if they still move as was told last: off
    /// by a few centimetres, or for a moment by more if the datagram that said so was lost. In order of id; never the
    /// player itself.
    pub fn entities(&self) -> impl Iterator<Item = EntityView> + '_ {
        self.surroundings.at(self.tick)
    }

    /// Returns the approximate number of [`Mirror::entities`].
    #[must_use]
    pub fn entities_len(&self) -> usize {
        self.surroundings.len()
    }

    /// Puts an entity that stands still into the surroundings, as if it had just been sent: to try a behaviour without
    /// a server.
    pub fn place(&mut self, view: EntityView) {
        let update = EntityUpdate::Seen(view, Velocity::STILL);
        self.surroundings.learn(self.tick, &[update], self.session, false);
    }

    /// Takes a snapshot, unless it is of another epoch or not newer than the last: of an older one only the
    /// surroundings are used. Purse and inventory are checked if this client has received exactly the events that they
    /// follow from.
    pub(super) fn show(&mut self, snapshot: &Snapshot) -> Option<(SnapshotHeader, Option<Mismatch>)> {
        let Snapshot { header, updates, .. } = snapshot;
        let newer = header.tick > self.tick || (header.tick == self.tick && !self.shown);
        if header.epoch != self.epoch {
            return None;
        }
        self.surroundings.learn(header.tick, updates, self.session, !newer);
        if !newer {
            return None;
        }
        (self.tick, self.shown) = (header.tick, true);
        (self.own.x, self.own.y, self.own.hp) = (header.x, header.y, header.hp);
        let differs = header.event_seq == self.event_seq && header.value_digest != self.digest;
        let mismatch = differs.then(|| self.tell_mismatch(header.tick)).flatten();
        Some((*header, mismatch))
    }

    /// Takes one reliable event.
    pub(super) fn hear(&mut self, event: &SeqEvent) -> EventOutcome {
        let place = self.events.hear(event);
        if matches!(place, EventPlace::Again { .. }) {
            return EventOutcome { place, mismatch: None };
        }
        self.event_seq = event.seq;
        if let Some(audit) = &mut self.audit {
            apply_value(&mut audit.gold, &mut audit.items, &event.event);
        }
        if event.seq > self.exact_seq {
            self.exact_seq = event.seq;
            apply_value(&mut self.own.gold, &mut self.own.items, &event.event);
            self.renew_digest();
        }
        EventOutcome {
            place,
            mismatch: self.close_audit(event.tick),
        }
    }

    fn renew_digest(&mut self) {
        self.digest = value_digest(self.own.gold, &self.own.items);
    }

    /// Compares purse and inventory with the attach, once the events have caught up with it.
    fn close_audit(&mut self, tick: Tick) -> Option<Mismatch> {
        if self.event_seq < self.exact_seq {
            return None;
        }
        let audit = self.audit.take()?;
        let differs = audit.gold != self.own.gold || audit.items != self.own.items;
        differs.then(|| self.tell_mismatch(tick)).flatten()
    }

    fn tell_mismatch(&mut self, tick: Tick) -> Option<Mismatch> {
        let event_seq = self.event_seq;
        let told = self.mismatch_told.replace(event_seq) == Some(event_seq);
        (!told).then_some(Mismatch { tick, event_seq })
    }
}

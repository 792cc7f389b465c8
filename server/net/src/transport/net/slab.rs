//! The links of a net thread, each at the index of its connection handle, and beside them, small enough to be walked
//! fifty times a second, when each must be looked at.

use std::time::{Duration, Instant};

use quinn_proto::ConnectionHandle;

use super::link::Link;
use crate::transport::mailbox::LinkKey;

/// Time after its last datagram during which a connection is left to be served by its next one: acknowledgements and
/// timers wait for that. Two of the longest ticks (100 ms) of a zone that shows its players every second one, and a
/// little. A packet of its own for each acknowledgement would be a load that comes with overload.
const FRESH: Duration = Duration::from_millis(220);

#[derive(Clone, Copy, Debug, Default)]
struct LinkSchedule {
    /// The time at which the connection last got a datagram to send.
    shown: Option<Instant>,
    /// The time at which the connection is to be served, unless its next datagram does that.
    due: Option<Instant>,
}

/// The links of a net thread, by slot.
#[derive(Default)]
pub(super) struct Slab {
    links: Vec<Option<Box<Link>>>,
    schedules: Vec<LinkSchedule>,
    live: usize,
    next_serial: u32,
}

impl Slab {
    /// Makes the key of the connection that is about to be inserted.
    pub(super) fn next_key(&mut self, handle: ConnectionHandle) -> LinkKey {
        self.next_serial = self.next_serial.wrapping_add(1);
        LinkKey {
            slot: u32::try_from(handle.0).expect("fewer connections than 2^32"),
            serial: self.next_serial,
        }
    }

    /// Puts a new link into its slot.
    pub(super) fn insert(&mut self, link: Link) {
        let slot = link.key.slot as usize;
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
            self.schedules.resize(slot + 1, LinkSchedule::default());
        }
        self.links[slot] = Some(Box::new(link));
        self.schedules[slot] = LinkSchedule::default();
        self.live += 1;
    }

    /// Takes a link out.
    pub(super) fn remove(&mut self, key: LinkKey) -> Option<Box<Link>> {
        self.get_mut(key)?;
        self.live -= 1;
        self.schedules[key.slot as usize] = LinkSchedule::default();
        self.links[key.slot as usize].take()
    }

    /// Returns the link, if it still exists.
    pub(super) fn get_mut(&mut self, key: LinkKey) -> Option<&mut Link> {
        let link = self.links.get_mut(key.slot as usize)?.as_deref_mut()?;
        (link.key == key).then_some(link)
    }

    /// Returns the link at a connection's handle.
    pub(super) fn at_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Link> {
        self.links.get_mut(handle.0)?.as_deref_mut()
    }

    /// Returns the number of links.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Returns the keys of all links.
    pub(super) fn keys(&self) -> Vec<LinkKey> {
        self.links.iter().flatten().map(|link| link.key).collect()
    }

    /// Notes that a link got a datagram to send: it is served next with its next one, or when that is late.
    pub(super) fn note_shown(&mut self, key: LinkKey, now: Instant) {
        let now = Some(now);
        self.schedules[key.slot as usize] = LinkSchedule { shown: now, due: now };
    }

    /// Notes that something came from a link's peer: it is due at the next sweep, unless it gets a datagram to send.
    pub(super) fn note_received(&mut self, key: LinkKey, now: Instant) {
        self.schedules[key.slot as usize].due = Some(now);
    }

    /// Notes that a link was served, and when it is due again.
    pub(super) fn note_served(&mut self, key: LinkKey, due: Option<Instant>, is_shown: bool) {
        let schedule = &mut self.schedules[key.slot as usize];
        schedule.due = due;
        schedule.shown = schedule.shown.filter(|_| is_shown);
    }

    /// Collects the links that are due and were not served by a recent datagram.
    pub(super) fn collect_due(&self, now: Instant, into: &mut Vec<LinkKey>) {
        for (schedule, link) in self.schedules.iter().zip(&self.links) {
            let is_due = schedule.due.is_some_and(|due| due <= now);
            if is_due
                && schedule
                    .shown
                    .is_none_or(|shown| now.saturating_duration_since(shown) > FRESH)
                && let Some(link) = link
            {
                into.push(link.key);
            }
        }
    }
}

//! The sequence of reliable events as one client receives it. It judges repeats and gaps, not the events' meaning.

use std::collections::VecDeque;

use crate::event::SeqEvent;

/// Events whose content is remembered, to tell a true repeat from a false one: as many as a server keeps for a session.
const RECENT_EVENTS_MAX: usize = 256;

/// The place of an event in this client's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventPlace {
    /// It is the next.
    New,
    /// It is new, but `expected` was due.
    AfterGap { expected: u64 },
    /// It was received before. `excused`: right after an attach, when the server may not know yet what was.
    Again { same: bool, excused: bool },
}

/// The way in which a later attach continues the events of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// They go on.
    InOrder,
    /// The zone has fewer than this client received; `expected` was due.
    Lost { expected: u64 },
    /// The zone has dropped these, which this client never received.
    Forgotten { from: u64, to: u64 },
}

/// The events received.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// The last event received, or that will never be.
    last: u64,
    /// Whether the client is attached and has received nothing new since.
    excused: bool,
    recent: VecDeque<(u64, [u8; 8])>,
}

impl EventLog {
    /// Begins a session of which nothing up to `last` is to come: the caller has received it, or the zone has dropped
    /// it.
    pub(super) fn begin(&mut self, last: u64) {
        *self = Self {
            last,
            excused: true,
            recent: VecDeque::new(),
        };
    }

    /// Continues after a later attach to the same session, whose last event is `event_seq`, and which has dropped all
    /// up to `forgotten`.
    pub(super) fn resume(&mut self, event_seq: u64, forgotten: u64) -> Resumed {
        self.excused = true;
        let from = self.last.saturating_add(1);
        if event_seq < self.last {
            self.last = event_seq;
            self.recent.retain(|&(seq, _)| seq <= event_seq);
            return Resumed::Lost { expected: from };
        }
        let to = forgotten.min(event_seq);
        if to < from {
            return Resumed::InOrder;
        }
        self.last = to;
        Resumed::Forgotten { from, to }
    }

    /// Returns the last event received, up to which the server may drop events.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Judges one event, and counts it if it is new.
    pub(super) fn hear(&mut self, event: &SeqEvent) -> EventPlace {
        let print = fingerprint(event);
        let expected = self.last.checked_add(1);
        let place = if expected == Some(event.seq) {
            EventPlace::New
        } else if let Some(expected) = expected.filter(|expected| event.seq > *expected) {
            EventPlace::AfterGap { expected }
        } else {
            return EventPlace::Again {
                same: self.recent.contains(&(event.seq, print)),
                excused: self.excused,
            };
        };
        (self.last, self.excused) = (event.seq, false);
        self.recent.push_back((event.seq, print));
        if self.recent.len() > RECENT_EVENTS_MAX {
            self.recent.pop_front();
        }
        place
    }
}

/// Returns eight bytes that differ if the events do. Half a kilobyte per client instead of the events themselves.
fn fingerprint(event: &SeqEvent) -> [u8; 8] {
    let bytes = rmp_serde::to_vec(event).expect("an event was read from such bytes, so it can be written");
    let hash = blake3::hash(&bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

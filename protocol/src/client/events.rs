//! The sequence of reliable events as one client hears it. It judges repeats and gaps; what an event means is not its matter.

use std::collections::VecDeque;

use crate::event::SeqEvent;

/// Events whose content is remembered, to tell a true repeat from a false one: as many as a server keeps for a session.
const RECENT_EVENTS_MAX: usize = 256;

/// What an event is to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is the next.
    New,
    /// It is new, but `expected` was due.
    AfterGap { expected: u64 },
    /// It was heard before. `excused`: right after an attach, when the server may not know yet what was.
    Again { same: bool, excused: bool },
}

/// What a later attach says of the events that were heard under earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// They go on.
    InOrder,
    /// The zone has fewer than were heard; `expected` was due.
    Lost { expected: u64 },
    /// The zone has forgotten these, which were never heard.
    Forgotten { from: u64, to: u64 },
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// The last event heard, or that will never be heard.
    last: u64,
    /// Attached, and nothing new heard since.
    excused: bool,
    recent: VecDeque<(u64, [u8; 8])>,
}

impl EventLog {
    /// A session of which nothing up to `last` is to come: the caller has heard it, or the zone has forgotten it.
    pub(super) fn begin(&mut self, last: u64) {
        *self = Self {
            last,
            excused: true,
            recent: VecDeque::new(),
        };
    }

    /// A later attach to the same session, whose last event is `event_seq`, and which has forgotten all up to `forgotten`.
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

    /// The last event heard, up to which the server may forget.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Judges one event, and counts it if it is new.
    pub(super) fn hear(&mut self, event: &SeqEvent) -> Heard {
        let print = fingerprint(event);
        let expected = self.last.checked_add(1);
        let heard = if expected == Some(event.seq) {
            Heard::New
        } else if let Some(expected) = expected.filter(|expected| event.seq > *expected) {
            Heard::AfterGap { expected }
        } else {
            return Heard::Again {
                same: self.recent.contains(&(event.seq, print)),
                excused: self.excused,
            };
        };
        (self.last, self.excused) = (event.seq, false);
        self.recent.push_back((event.seq, print));
        if self.recent.len() > RECENT_EVENTS_MAX {
            self.recent.pop_front();
        }
        heard
    }
}

/// Eight bytes that differ if the events do. Half a kilobyte per client instead of the events themselves.
fn fingerprint(event: &SeqEvent) -> [u8; 8] {
    let bytes = rmp_serde::to_vec(event).expect("an event was read from such bytes, so it can be written");
    let hash = blake3::hash(&bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

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
    AfterGap { expected: u32 },
    /// It was heard before. `excused`: right after an attach, when the server may not know yet what was.
    Again { same: bool, excused: bool },
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// The last event heard; or, as long as none was, the session's last one at the login.
    last: u32,
    /// Logged in by ticket and nothing heard yet. The session may have a past, of which the server repeats what it still has:
    /// wherever that begins, it is no gap.
    fresh: bool,
    /// Attached, and nothing new heard since.
    excused: bool,
    recent: VecDeque<(u32, [u8; 8])>,
}

impl EventLog {
    /// A login by ticket into a session whose last event is `event_seq`.
    pub(super) fn begin(&mut self, event_seq: u32) {
        *self = Self {
            last: event_seq,
            fresh: true,
            excused: true,
            recent: VecDeque::new(),
        };
    }

    /// A session of which the caller has heard up to `event_seq`.
    pub(super) fn begin_after(&mut self, event_seq: u32) {
        *self = Self {
            last: event_seq,
            fresh: false,
            excused: true,
            recent: VecDeque::new(),
        };
    }

    /// A later attach to the same session. Returns the number that was due if the session now has fewer events than were heard.
    pub(super) fn resume(&mut self, event_seq: u32) -> Option<u32> {
        self.excused = true;
        if event_seq >= self.last {
            return None;
        }
        let expected = self.last.saturating_add(1);
        self.last = event_seq;
        self.recent.retain(|&(seq, _)| seq <= event_seq);
        Some(expected)
    }

    /// The last event heard.
    pub(super) const fn last(&self) -> u32 {
        self.last
    }

    /// Up to which event the server may forget: nothing before the first was heard, since more of the past may be under way.
    pub(super) const fn acknowledged(&self) -> u32 {
        if self.fresh { 0 } else { self.last }
    }

    /// Judges one event, and counts it if it is new.
    pub(super) fn hear(&mut self, event: &SeqEvent) -> Heard {
        let print = fingerprint(event);
        let expected = self.last.checked_add(1);
        let heard = if expected == Some(event.seq) || (self.fresh && (1..=self.last).contains(&event.seq)) {
            Heard::New
        } else if let Some(expected) = expected.filter(|expected| event.seq > *expected) {
            Heard::AfterGap { expected }
        } else {
            return Heard::Again {
                same: self.recent.contains(&(event.seq, print)),
                excused: self.excused,
            };
        };
        (self.last, self.fresh, self.excused) = (event.seq, false, false);
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

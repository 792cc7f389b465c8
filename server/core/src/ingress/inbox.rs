//! The inbox turns what connections sent into the inputs of one tick. It opens no socket, decides no game rule, and
//! never refuses anything to a client: the client repeats what it drops.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everhold_protocol::hash::BuildIdHasher;
use everhold_protocol::limits::FRAME_INTENTS_MAX;
use everhold_protocol::{ReceivedFrame, SessionId};

use super::input::{AttachToken, Input};
use crate::limits::{
    EVENT_ACK_EVENTS_MIN, EVENT_ACK_TICKS_MAX, TICK_ENTRIES_MAX, TICK_INPUTS_MAX, TICK_SESSION_INTENTS_MAX,
};

/// Inputs that one entry becomes at most: a frame's intents and its acknowledgement.
const ENTRY_INPUTS_MAX: usize = FRAME_INTENTS_MAX + 1;

/// An entry that waits for the tick thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxEntry {
    /// A decoded datagram of an attached connection.
    Frame {
        /// The session that the connection was bound to.
        session: SessionId,
        /// The connection.
        token: AttachToken,
        /// The frame.
        frame: ReceivedFrame,
    },
    /// A `Join` or `Resume`. It is dropped if it was withdrawn before its turn: while a zone holds, a client without an
    /// answer gives up and asks again, and its one secret is not valid for every attempt.
    Attach {
        /// The `Join` or `Resume`.
        input: Input,
        /// The connection's question, which it may withdraw.
        asked: Asked,
    },
    /// An input that the shard itself pushes: `EpochStart`, `Detach`, `Logout`, `Quarantine`, `Lodge`, `Evict`,
    /// `Outrank`, `Dismiss`. It is never dropped here.
    Input(Input),
}

/// Whether a connection still waits for the answer to an attach. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// Marks that no connection waits any more.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Asked {}

/// Counts of what the inbox did with its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxCounters {
    /// Intents put into a record, and the inputs that replaced some of them.
    pub intents: u64,
    /// Event acknowledgements put into a record.
    pub acks: u64,
    /// Intents that were in a record already: the price of repeating them, and no fault.
    pub repeats: u64,
    /// Intents that do not follow the session's last one: those between were lost and will be repeated.
    pub gaps: u64,
    /// Intents beyond [`TICK_SESSION_INTENTS_MAX`].
    pub over_session_limit: u64,
    /// Frames of a connection that does not, or no longer, speak for the session.
    pub stale_frames: u64,
    /// Joins and resumes that were withdrawn before their turn.
    pub withdrawn: u64,
    /// Drains that left entries for the next tick.
    pub full_drains: u64,
}

/// The inbox's knowledge of an attached session.
#[derive(Debug)]
struct AttachedSession {
    token: AttachToken,
    /// Whether anything from the connection was put into a record: the zone then knows that the answer to the attach
    /// arrived.
    is_heard: bool,
    /// The highest intent put into a record, or applied before the attach.
    frozen_seq: u64,
    /// The highest event acknowledgement put into a record.
    acked_seq: u64,
    /// The drain of that acknowledgement, or the one that followed the attach.
    acked_drain: u32,
    /// The drain that `taken` counts for.
    drain: u32,
    /// Intents taken by that drain.
    taken: u32,
}

/// Turns entries into inputs: one `drain` a tick. Kept by the tick thread.
///
/// It lets exactly the session's next intents into a record, so that repeated datagrams are not journaled; whether an
/// intent is a duplicate is still decided by the zone, whose state is the only truth. Order is the order of arrival.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Looked up, never iterated: its order decides nothing.
    sessions: HashMap<SessionId, AttachedSession, BuildIdHasher>,
    /// Modulo 2³²: only differences count.
    drains: u32,
    counters: InboxCounters,
}

impl Inbox {
    /// Returns an inbox that knows no session.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `token` speak for `session`, whose zone has applied intents up to `last_input_seq`. Called when the zone
    /// has stepped the `Join` or `Resume`, before any later drain.
    pub fn note_attached(&mut self, session: SessionId, token: AttachToken, last_input_seq: u64) {
        let drains = self.drains;
        let attached = AttachedSession {
            token,
            is_heard: false,
            frozen_seq: last_input_seq,
            acked_seq: 0,
            acked_drain: drains,
            drain: drains,
            taken: 0,
        };
        self.sessions.insert(session, attached);
    }

    /// Stops `token` from speaking for `session`. Ignored if a later token does.
    pub fn note_detached(&mut self, session: SessionId, token: AttachToken) {
        if self
            .sessions
            .get(&session)
            .is_some_and(|attached| attached.token == token)
        {
            self.sessions.remove(&session);
        }
    }

    /// Appends the inputs of one tick to `out`, in order of arrival. It stops pulling from `entries` before the tick
    /// could have more than [`TICK_INPUTS_MAX`] inputs, or after [`TICK_ENTRIES_MAX`] entries: the rest stays where it
    /// is, for the next tick.
    pub fn drain(&mut self, entries: impl Iterator<Item = InboxEntry>, out: &mut Vec<Input>) {
        self.drains = self.drains.wrapping_add(1);
        let mut entries = entries.take(TICK_ENTRIES_MAX);
        let bound = out.len() + TICK_INPUTS_MAX - ENTRY_INPUTS_MAX;
        loop {
            if out.len() > bound {
                self.counters.full_drains += 1;
                return;
            }
            match entries.next() {
                None => return,
                Some(InboxEntry::Attach { asked, .. }) if asked.is_withdrawn() => self.counters.withdrawn += 1,
                Some(InboxEntry::Attach { input, .. } | InboxEntry::Input(input)) => self.take_input(input, out),
                Some(InboxEntry::Frame { session, token, frame }) => self.take_frame(session, token, frame, out),
            }
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counters(&self) -> InboxCounters {
        self.counters
    }

    fn take_input(&mut self, input: Input, out: &mut Vec<Input>) {
        match input {
            // Every session is away from here on; what follows in this tick from an earlier attach is stale.
            Input::EpochStart { .. } => self.sessions.clear(),
            Input::Detach { session, token } | Input::Logout { session, token } => self.note_detached(session, token),
            _ => {}
        }
        out.push(input);
    }

    fn take_frame(&mut self, session: SessionId, token: AttachToken, frame: ReceivedFrame, out: &mut Vec<Input>) {
        let drain = self.drains;
        let Some(attached) = self
            .sessions
            .get_mut(&session)
            .filter(|attached| attached.token == token)
        else {
            self.counters.stale_frames += 1;
            return;
        };
        if attached.drain != drain {
            attached.drain = drain;
            attached.taken = 0;
        }
        for intent in frame.intents {
            if intent.seq <= attached.frozen_seq {
                self.counters.repeats += 1;
            } else if attached.taken as usize == TICK_SESSION_INTENTS_MAX {
                self.counters.over_session_limit += 1;
            } else if intent.seq - attached.frozen_seq > 1 {
                self.counters.gaps += 1;
            } else {
                attached.frozen_seq = intent.seq;
                attached.taken += 1;
                attached.is_heard = true;
                self.counters.intents += 1;
                let seq = intent.seq;
                out.push(match intent.intent {
                    Ok(intent) => Input::Intent { session, seq, intent },
                    Err(_) => Input::Invalid { session, seq },
                });
            }
        }
        if attached.ack_due(frame.event_ack, drain) {
            attached.is_heard = true;
            attached.acked_seq = frame.event_ack;
            attached.acked_drain = drain;
            self.counters.acks += 1;
            out.push(Input::EventAck {
                session,
                event_seq: frame.event_ack,
            });
        }
    }
}

impl AttachedSession {
    /// Whether an acknowledgement up to `event_seq` is worth an input: it frees events of the outbox, and that can wait
    /// a little. The first of a connection that has sent nothing else ends the grace of the secret that it was attached
    /// with.
    const fn ack_due(&self, event_seq: u64, drain: u32) -> bool {
        let advance = event_seq.saturating_sub(self.acked_seq);
        !self.is_heard
            || advance >= EVENT_ACK_EVENTS_MIN
            || (advance > 0 && drain.wrapping_sub(self.acked_drain) >= EVENT_ACK_TICKS_MAX)
    }
}

#[cfg(test)]
mod tests;

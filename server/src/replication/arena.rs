//! Memory for all datagrams of a tick. It knows nothing of what is in them.
//!
//! A tick's datagrams are slices of one buffer, which lives until the last of them was sent. Then the buffer is used again: a fresh one
//! of several megabytes each tick would cost more in page faults than all the copying into it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use everhold_protocol::SessionId;

/// Buffers kept for use again: a tick's datagrams wait for the acknowledgement of the tick's record and then for the congestion window,
/// together a few ticks. While more are out (the store does not answer), the surplus is freed as its datagrams are.
const ARENAS_KEPT_MAX: usize = 8;

/// The buffers of the last ticks, the one that was used longest ago first.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    kept: VecDeque<BytesMut>,
}

impl Arenas {
    /// An empty buffer with room for `bytes`: one whose datagrams are all gone, if there is one.
    pub(super) fn take(&mut self, bytes: usize) -> BytesMut {
        for index in 0..self.kept.len() {
            if self.kept[index].try_reclaim(bytes)
                && let Some(arena) = self.kept.remove(index)
            {
                return arena;
            }
        }
        BytesMut::with_capacity(bytes)
    }

    /// Makes datagrams of a filled buffer: each session's ends where it says, the next begins there.
    pub(super) fn share(&mut self, mut arena: BytesMut, ends: Vec<(SessionId, u32)>) -> Datagrams {
        let bytes = arena.split().freeze();
        if self.kept.len() == ARENAS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(arena);
        Datagrams { bytes, ends }
    }
}

/// The datagrams of a tick, one for each session, in no particular order. Those of thousands are one buffer and their ends: a handle on
/// each would cost the tick as much as to fill it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    bytes: Bytes,
    ends: Vec<(SessionId, u32)>,
}

impl Datagrams {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, one behind the other.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where in [`Datagrams::bytes`] each session's is.
    pub fn ranges(&self) -> impl Iterator<Item = (SessionId, Range<u32>)> + '_ {
        let mut start = 0;
        let range = move |&(session, end)| (session, std::mem::replace(&mut start, end)..end);
        self.ends.iter().map(range)
    }

    /// Each session's.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &[u8])> + '_ {
        let cut = |(session, range): (_, Range<u32>)| (session, &self.bytes[range.start as usize..range.end as usize]);
        self.ranges().map(cut)
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::EntityId;

    use super::*;

    fn fill(arenas: &mut Arenas, text: &[u8]) -> (Bytes, usize) {
        let mut arena = arenas.take(text.len());
        let memory = arena.as_ptr() as usize;
        arena.extend_from_slice(text);
        let datagrams = arenas.share(arena, vec![(SessionId::default(), text.len() as u32)]);
        (datagrams.bytes().clone(), memory)
    }

    #[test]
    fn each_session_has_its_own_part() {
        let mut arenas = Arenas::default();
        let mut arena = arenas.take(8);
        arena.extend_from_slice(b"onetwo");
        let (one, two) = (EntityId(1), EntityId(2));
        let datagrams = arenas.share(arena, vec![(one, 3), (two, 6)]);
        let told: Vec<_> = datagrams.iter().collect();
        assert_eq!(told, [(one, &b"one"[..]), (two, &b"two"[..])]);
    }

    #[test]
    fn buffer_is_used_again_once_its_last_datagram_is_gone() {
        let mut arenas = Arenas::default();
        let (first, memory) = fill(&mut arenas, b"first");
        let (second, other) = fill(&mut arenas, b"again");
        assert_ne!(memory, other, "the first datagram is still on its way");
        drop(first);
        let (third, reused) = fill(&mut arenas, b"third");
        assert_eq!(reused, memory);
        assert_eq!((&second[..], &third[..]), (&b"again"[..], &b"third"[..]));
    }

    #[test]
    fn datagrams_that_never_leave_pin_no_more_buffers_than_their_own() {
        let mut arenas = Arenas::default();
        let held: Vec<Bytes> = (0..100_u8).map(|n| fill(&mut arenas, &[n; 64]).0).collect();
        assert!(arenas.kept.len() <= ARENAS_KEPT_MAX);
        assert!(held.iter().zip(0..).all(|(datagram, n)| datagram[..] == [n; 64]));
    }
}

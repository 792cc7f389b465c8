//! Memory for all datagrams of a tick. It knows nothing of their content.
//!
//! A tick's datagrams are slices of one buffer, which lives until the last of them was sent. Then the buffer is used
//! again: a fresh one of several megabytes each tick would cost more in page faults than all the copying into it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use everhold_protocol::SessionId;

/// Buffers kept for reuse: a tick's datagrams wait for the acknowledgement of the tick's record and then for the
/// congestion window, together a few ticks. While more are out (the store does not answer), the surplus is freed as its
/// datagrams are.
const ARENAS_KEPT_MAX: usize = 8;

/// A buffer that is being filled.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// As long as the longest tick so far: behind the last end there is garbage.
    bytes: Vec<u8>,
    ends: Vec<(SessionId, u32)>,
}

impl Arena {
    /// Returns room for a datagram of at most `bytes`.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.len();
        if self.bytes.len() < start + bytes {
            self.bytes.resize((start + bytes).next_power_of_two(), 0);
        }
        &mut self.bytes[start..start + bytes]
    }

    /// Makes the first `bytes` of the room a session's datagram.
    pub(super) fn push(&mut self, session: SessionId, bytes: usize) {
        self.ends.push((session, (self.len() + bytes) as u32));
    }

    fn len(&self) -> usize {
        self.ends.last().map_or(0, |(_, end)| *end as usize)
    }
}

/// A share in an arena, which keeps its bytes from being overwritten.
struct ArenaShare(Arc<Arena>);

impl AsRef<[u8]> for ArenaShare {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes[..self.0.len()]
    }
}

/// The buffers of the last ticks, the least recently used first.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    kept: VecDeque<Arc<Arena>>,
}

impl Arenas {
    /// Returns an empty buffer: one whose datagrams are all gone, if there is one.
    pub(super) fn take(&mut self) -> Arena {
        let free = self.kept.iter_mut().position(|arena| Arc::get_mut(arena).is_some());
        let arena = free.and_then(|index| self.kept.remove(index)).and_then(Arc::into_inner);
        let mut arena = arena.unwrap_or_default();
        arena.ends.clear();
        arena
    }

    /// Makes datagrams of a filled buffer.
    pub(super) fn share(&mut self, arena: Arena) -> Datagrams {
        let arena = Arc::new(arena);
        if self.kept.len() == ARENAS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(arena.clone());
        Datagrams {
            bytes: Bytes::from_owner(ArenaShare(arena.clone())),
            arena,
        }
    }
}

/// The datagrams of a tick, one for each session, in no particular order. Those of thousands are one buffer and their
/// ends: a handle on each would cost the tick as much as to fill it.
#[derive(Clone, Debug, Default)]
pub struct Datagrams {
    arena: Arc<Arena>,
    bytes: Bytes,
}

impl PartialEq for Datagrams {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Datagrams {}

impl Datagrams {
    /// Returns the number of datagrams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arena.ends.len()
    }

    /// Whether there is no datagram.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arena.ends.is_empty()
    }

    /// Returns all datagrams, one behind the other.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns each session's range in [`Datagrams::bytes`].
    pub fn ranges(&self) -> impl Iterator<Item = (SessionId, Range<u32>)> + '_ {
        let mut start = 0;
        let range = move |&(session, end)| (session, std::mem::replace(&mut start, end)..end);
        self.arena.ends.iter().map(range)
    }

    /// Returns each session's datagram.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &[u8])> + '_ {
        let cut = |(session, range): (_, Range<u32>)| (session, &self.bytes[range.start as usize..range.end as usize]);
        self.ranges().map(cut)
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::EntityId;

    use super::*;

    fn push(arena: &mut Arena, session: SessionId, text: &[u8]) {
        // More room than needed: a datagram's length is not known before.
        arena.room(text.len() + 3)[..text.len()].copy_from_slice(text);
        arena.push(session, text.len());
    }

    fn fill(arenas: &mut Arenas, text: &[u8]) -> (Bytes, usize) {
        let mut arena = arenas.take();
        push(&mut arena, SessionId::default(), text);
        let memory = arena.bytes.as_ptr() as usize;
        (arenas.share(arena).bytes().clone(), memory)
    }

    #[test]
    fn each_session_has_its_own_part() {
        let mut arenas = Arenas::default();
        let mut arena = arenas.take();
        let (one, two) = (EntityId(1), EntityId(2));
        push(&mut arena, one, b"one");
        push(&mut arena, two, b"two");
        let datagrams = arenas.share(arena);
        let told: Vec<_> = datagrams.iter().collect();
        assert_eq!(told, [(one, &b"one"[..]), (two, &b"two"[..])]);
        assert_eq!(datagrams.bytes()[..], b"onetwo"[..]);
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

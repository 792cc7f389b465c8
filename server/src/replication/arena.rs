//! Memory for all datagrams of a tick. It knows nothing of what is in them.
//!
//! A tick's datagrams are slices of one buffer, which lives until the last of them was sent. Then the buffer is used again: a fresh one
//! of several megabytes each tick would cost more in page faults than all the copying into it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers kept for use again: a tick's datagrams wait for the acknowledgement of the tick's record and then for the congestion window,
/// together a few ticks. While more are out (the store does not answer), the surplus is freed as its datagrams are.
const ARENAS_KEPT_MAX: usize = 8;

/// The buffers of the last ticks, the one that was used longest ago first.
#[derive(Debug, Default)]
pub struct Arenas {
    kept: VecDeque<BytesMut>,
}

impl Arenas {
    /// An empty buffer with room for `bytes`: one whose datagrams are all gone, if there is one.
    pub fn take(&mut self, bytes: usize) -> BytesMut {
        for index in 0..self.kept.len() {
            if self.kept[index].try_reclaim(bytes)
                && let Some(arena) = self.kept.remove(index)
            {
                return arena;
            }
        }
        BytesMut::with_capacity(bytes)
    }

    /// Cuts a filled buffer into datagrams: each owner's ends where it says, the next begins there.
    pub fn share<T: Copy>(&mut self, mut arena: BytesMut, ends: &[(T, usize)]) -> Vec<(T, Bytes)> {
        let filled = arena.split().freeze();
        if self.kept.len() == ARENAS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(arena);
        let mut start = 0;
        let cut = |&(owner, end): &(T, usize)| (owner, filled.slice(std::mem::replace(&mut start, end)..end));
        ends.iter().map(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(arenas: &mut Arenas, text: &[u8]) -> (Bytes, usize) {
        let mut arena = arenas.take(text.len());
        let memory = arena.as_ptr() as usize;
        arena.extend_from_slice(text);
        let (_, datagram) = arenas.share(arena, &[((), text.len())]).remove(0);
        (datagram, memory)
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

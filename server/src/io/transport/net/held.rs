//! Datagrams that wait for their connection's next packet.
//!
//! A net thread waits for memory most of the time: what it keeps of thousands of connections fits no cache, and each time it turns to
//! one of them that has to be fetched anew. So it turns to a player once a tick and not twice: a datagram is held back for a moment, and
//! if meanwhile a packet comes from its player, it is the answer to that, together with the acknowledgement. Players' packets come at all
//! times, so this also spreads a tick's burst. What is still there when the moment is over leaves in the order of the batch.
//!
//! The moment is about as long as it takes to serve every connection of the thread once, so that it costs hardly any time: the last ones
//! would have waited that long anyway, and where there are few they leave at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::desk::{LinkKey, Post, Posts};
use crate::io::transport::counters::TransportCounters;
use crate::limits::{HOLD_MS_MAX, HOLD_US_PER_CONNECTION};

/// See the module.
pub(super) struct Held {
    /// In the order in which they came.
    batches: VecDeque<Batch>,
    /// By the connection's slot.
    waiting: Vec<Option<Waiting>>,
    next_batch: u32,
    counters: Arc<TransportCounters>,
}

struct Batch {
    id: u32,
    bytes: Bytes,
    posts: Vec<Post>,
    /// How many of the posts need no look any more.
    seen: usize,
    /// How many of them are still waiting.
    left: usize,
    /// When the wait is over.
    due: Instant,
}

/// What a connection is to be sent.
#[derive(Clone, Copy)]
struct Waiting {
    serial: u32,
    batch: u32,
    start: u32,
    end: u32,
}

impl Held {
    pub(super) fn new(counters: Arc<TransportCounters>) -> Self {
        Self {
            batches: VecDeque::new(),
            waiting: Vec::new(),
            next_batch: 0,
            counters,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Holds a batch, as long as is right for so many connections. Returns what connections of it were already waiting for: that is to be
    /// sent before anything else is done, or the newer could overtake it.
    #[must_use]
    pub(super) fn push(&mut self, posts: Posts, connections: usize, now: Instant) -> Vec<(LinkKey, Bytes)> {
        let Posts { bytes, posts, since } = posts;
        if posts.is_empty() {
            return Vec::new();
        }
        let hold = Duration::from_micros(HOLD_US_PER_CONNECTION * connections as u64);
        let id = self.next_batch;
        self.next_batch = id.wrapping_add(1);
        self.batches.push_back(Batch {
            id,
            bytes,
            posts: Vec::new(),
            seen: 0,
            left: posts.len(),
            due: since + hold.min(Duration::from_millis(HOLD_MS_MAX)),
        });
        let mut older = Vec::new();
        for Post { key, range } in &posts {
            older.extend(self.take(key.slot, now));
            let slot = key.slot as usize;
            if self.waiting.len() <= slot {
                self.waiting.resize(slot + 1, None);
            }
            self.waiting[slot] = Some(Waiting {
                serial: key.serial,
                batch: id,
                start: range.start,
                end: range.end,
            });
        }
        if let Some(batch) = self.batches.back_mut().filter(|batch| batch.id == id) {
            batch.posts = posts;
        }
        older
    }

    /// What the connection at a slot waits for.
    pub(super) fn take(&mut self, slot: u32, now: Instant) -> Option<(LinkKey, Bytes)> {
        let waiting = self.waiting.get_mut(slot as usize)?.take()?;
        let index = self.batches.iter().position(|batch| batch.id == waiting.batch)?;
        let batch = &mut self.batches[index];
        let bytes = batch.bytes.slice(waiting.start as usize..waiting.end as usize);
        batch.left -= 1;
        if batch.left == 0 {
            let late = now.saturating_duration_since(batch.due);
            self.counters.send_lag.set(late);
            self.batches.remove(index);
        }
        let serial = waiting.serial;
        Some((LinkKey { slot, serial }, bytes))
    }

    /// The next datagram whose wait is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(LinkKey, Bytes)> {
        let batch = self.batches.iter_mut().find(|batch| batch.due <= now)?;
        let waiting = &self.waiting;
        let is_left = |post: &Post| {
            let waiting = waiting[post.key.slot as usize];
            waiting.is_some_and(|waiting| (waiting.serial, waiting.batch) == (post.key.serial, batch.id))
        };
        let ahead = batch.posts[batch.seen..].iter().position(is_left)?;
        let slot = batch.posts[batch.seen + ahead].key.slot;
        batch.seen += ahead + 1;
        self.take(slot, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> LinkKey {
        LinkKey { slot, serial: 7 }
    }

    /// A datagram of one byte, its own number, for each slot.
    fn posts(slots: &[u32], since: Instant) -> Posts {
        let bytes: Vec<u8> = (0..slots.len() as u8).collect();
        let post = |(&slot, start): (&u32, u32)| Post {
            key: key(slot),
            range: start..start + 1,
        };
        Posts {
            bytes: bytes.into(),
            posts: slots.iter().zip(0..).map(post).collect(),
            since,
        }
    }

    fn due(held: &mut Held, now: Instant) -> Vec<(u32, u8)> {
        let pop = std::iter::from_fn(|| held.pop_due(now));
        pop.map(|(key, bytes)| (key.slot, bytes[0])).collect()
    }

    fn held() -> (Held, Arc<TransportCounters>) {
        let counters = Arc::default();
        (Held::new(Arc::clone(&counters)), counters)
    }

    const MOMENT: Duration = Duration::from_micros(3 * HOLD_US_PER_CONNECTION);

    #[test]
    fn datagram_leaves_with_its_connections_next_packet_or_when_the_moment_is_over() {
        let (mut held, counters) = held();
        let start = Instant::now();
        assert!(held.push(posts(&[4, 2, 9], start), 3, start).is_empty());
        assert_eq!(held.take(2, start), Some((key(2), Bytes::from_static(&[1]))));
        assert_eq!(held.take(2, start), None);
        assert_eq!(held.take(77, start), None, "nobody has anything for it");
        let over = start + MOMENT;
        assert!(due(&mut held, over.checked_sub(Duration::from_nanos(1)).unwrap()).is_empty() && !held.is_empty());
        assert_eq!(due(&mut held, over + Duration::from_millis(3)), [(4, 0), (9, 2)]);
        assert!(held.is_empty());
        assert_eq!(
            counters.send_lag.micros(),
            3_000,
            "the wait that was meant does not count"
        );
    }

    #[test]
    fn older_datagram_goes_before_a_newer_one() {
        let (mut held, _) = held();
        let start = Instant::now();
        assert!(held.push(posts(&[1, 2], start), 3, start).is_empty());
        let older = held.push(posts(&[3, 2], start), 3, start);
        assert_eq!(older, [(key(2), Bytes::from_static(&[1]))]);
        assert_eq!(due(&mut held, start + MOMENT), [(1, 0), (3, 0), (2, 1)]);
    }

    #[test]
    fn two_for_one_connection_in_a_batch_leave_in_order() {
        let (mut held, _) = held();
        let start = Instant::now();
        let older = held.push(posts(&[5, 5, 5], start), 3, start);
        assert_eq!(older.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(due(&mut held, start + MOMENT), [(5, 2)]);
        assert!(held.is_empty());
    }

    #[test]
    fn empty_batch_is_nothing_to_wait_for() {
        let (mut held, _) = held();
        let start = Instant::now();
        assert!(held.push(posts(&[], start), 3, start).is_empty() && held.is_empty());
    }

    #[test]
    fn batch_is_held_no_longer_than_the_bound_however_many_connections_there_are() {
        let (mut held, _) = held();
        let start = Instant::now();
        assert!(held.push(posts(&[1, 2], start), 10_000, start).is_empty());
        assert_eq!(due(&mut held, start + Duration::from_millis(HOLD_MS_MAX)).len(), 2);
    }
}

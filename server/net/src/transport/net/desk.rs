//! Where the rest of the process leaves what a net thread is to do. Whoever leaves something never waits, and wakes the thread only from
//! a deep sleep: between two turns it looks by itself.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};
use everhold_core::limits::{DATAGRAM_BATCHES_MAX, FORWARDED_PACKETS_MAX};
use everhold_protocol::RefusalCode;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::wire::Packet;
use crate::transport::counters::TransportCounters;

/// A connection of one net thread. It never means another one, also when its place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkKey {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// Whom a datagram is for, and where in its batch's bytes it is.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) key: LinkKey,
    pub(crate) range: Range<u32>,
}

/// A batch of datagrams, and when it was left.
#[derive(Debug)]
pub(super) struct Posts {
    pub(super) bytes: Bytes,
    pub(super) posts: Vec<Post>,
    pub(super) since: Instant,
}

/// The thread is to close every connection with this code, and to end.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: RefusalCode,
    /// Told when the peers know, or have had the time to. Without it nobody waits for that.
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Connections whose handles want something. Each is in it once at most, so it is bounded by their number.
    callers: Mutex<Vec<LinkKey>>,
    stop: Mutex<Option<Stop>>,
    /// One of the two above has something.
    called: AtomicBool,
    posts: Sender<Posts>,
    forwarded: Sender<Packet>,
    asleep: AtomicBool,
    bell: OwnedFd,
    counters: Arc<TransportCounters>,
}

/// The thread's own ends of a desk.
#[derive(Debug)]
pub(super) struct Trays {
    pub(super) posts: Receiver<Posts>,
    pub(super) forwarded: Receiver<Packet>,
}

impl Desk {
    pub(super) fn new(counters: Arc<TransportCounters>) -> io::Result<(Self, Trays)> {
        let (posts_in, posts) = bounded(DATAGRAM_BATCHES_MAX);
        let (forwarded_in, forwarded) = bounded(FORWARDED_PACKETS_MAX);
        let desk = Self {
            callers: Mutex::default(),
            stop: Mutex::default(),
            called: AtomicBool::new(false),
            posts: posts_in,
            forwarded: forwarded_in,
            asleep: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            counters,
        };
        Ok((desk, Trays { posts, forwarded }))
    }

    /// A connection's handles have left something in its outbox.
    pub(crate) fn call(&self, key: LinkKey) {
        locked(&self.callers).push(key);
        self.called.store(true, Ordering::Release);
        self.wake();
    }

    /// Leaves a batch of datagrams. If the thread is that far behind, they are dropped and counted.
    pub(crate) fn send(&self, bytes: Bytes, posts: Vec<Post>) {
        let since = Instant::now();
        match self.posts.try_send(Posts { bytes, posts, since }) {
            Ok(()) => self.wake(),
            Err(back) => self
                .counters
                .datagrams_overflow
                .add(back.into_inner().posts.len() as u64),
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self, stop: Stop) {
        *locked(&self.stop) = Some(stop);
        self.called.store(true, Ordering::Release);
        self.wake();
    }

    /// Leaves a packet that came out of another thread's socket.
    pub(super) fn forward(&self, mut packet: Packet) {
        packet.is_forwarded = true;
        match self.forwarded.try_send(packet) {
            Ok(()) => {
                self.counters.forwarded.bump();
                self.wake();
            }
            Err(_) => self.counters.forward_overflow.bump(),
        }
    }

    /// Swaps the callers since the last time for an empty list. Whether there is anything at all to look at.
    pub(super) fn take_callers(&self, into: &mut Vec<LinkKey>) -> bool {
        let called = self.called.swap(false, Ordering::AcqRel);
        if called {
            into.clear();
            std::mem::swap(into, &mut *locked(&self.callers));
        }
        called
    }

    pub(super) fn take_stop(&self) -> Option<Stop> {
        locked(&self.stop).take()
    }

    /// Announces a deep sleep. `false`: something was left just now, stay awake.
    pub(super) fn lie_down(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Either whoever leaves something sees `asleep`, or this sees what was left.
        fence(Ordering::SeqCst);
        let quiet = !self.called.load(Ordering::Relaxed) && self.posts.is_empty() && self.forwarded.is_empty();
        if !quiet {
            self.asleep.store(false, Ordering::Relaxed);
        }
        quiet
    }

    /// Announces that the sleep is over, and silences the bell.
    pub(super) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        // Nothing to read: it did not ring.
        let _silent = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Readable when somebody has left something for a thread in deep sleep.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // It can fail only if the bell has rung 2^64 times and nobody heard it.
            let _rings_already = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is left is whole before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LinkKey = LinkKey { slot: 3, serial: 9 };

    fn desk() -> (Desk, Trays) {
        Desk::new(Arc::default()).expect("an eventfd")
    }

    fn posts(count: usize) -> Vec<Post> {
        let post = |_| Post { key: KEY, range: 0..0 };
        (0..count).map(post).collect()
    }

    fn rings(desk: &Desk) -> bool {
        rustix::io::read(desk.bell(), &mut [0; 8]).is_ok()
    }

    #[test]
    fn thread_does_not_lie_down_on_what_was_just_left() {
        let (desk, trays) = desk();
        assert!(desk.lie_down());
        desk.get_up();
        desk.send(Bytes::new(), posts(1));
        assert!(!desk.lie_down());
        assert_eq!(trays.posts.try_iter().count(), 1);
        desk.call(KEY);
        assert!(!desk.lie_down());
        let mut callers = Vec::new();
        assert!(desk.take_callers(&mut callers));
        assert_eq!(callers, [KEY]);
        assert!(!desk.take_callers(&mut callers), "nobody has called since");
        assert!(desk.lie_down());
    }

    #[test]
    fn bell_rings_once_and_only_for_a_thread_in_deep_sleep() {
        let (desk, _trays) = desk();
        desk.call(KEY);
        assert!(!rings(&desk), "it is awake and looks by itself");
        desk.take_callers(&mut Vec::new());
        assert!(desk.lie_down());
        desk.call(KEY);
        desk.send(Bytes::new(), posts(1));
        assert!(rings(&desk));
        assert!(!rings(&desk));
    }

    #[test]
    fn batches_for_a_thread_that_is_far_behind_are_dropped_and_counted() {
        let (desk, trays) = desk();
        for _ in 0..DATAGRAM_BATCHES_MAX + 2 {
            desk.send(Bytes::new(), posts(5));
        }
        assert_eq!(trays.posts.len(), DATAGRAM_BATCHES_MAX);
        assert_eq!(desk.counters.datagrams_overflow.count(), 10);
    }
}

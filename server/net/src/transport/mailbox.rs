//! A net thread's mailbox: what the rest of the process wants of the thread. Senders never wait, and wake the thread
//! only while it is parked: between two turns it looks by itself. Nothing is sent to a peer here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use crossbeam::channel::{Receiver, Sender, bounded};
use everhold_core::limits::{DATAGRAM_BATCHES_MAX, FORWARDED_PACKETS_MAX};
use everhold_protocol::RefusalCode;
use quinn_proto::EcnCodepoint;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::counters::TransportCounters;

/// Identifies a connection of one net thread. A key is never used for a second connection, not even when its slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkKey {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// A datagram for one connection: a range of its batch's bytes.
#[derive(Debug)]
pub(super) struct OutgoingDatagram {
    pub(super) key: LinkKey,
    pub(super) range: Range<u32>,
}

/// A batch of datagrams for connections of one net thread.
#[derive(Debug)]
pub(super) struct OutgoingDatagrams {
    pub(super) bytes: Bytes,
    pub(super) datagrams: Vec<OutgoingDatagram>,
    /// The time at which the batch was left in the mailbox.
    pub(super) since: Instant,
}

/// A UDP packet as it came out of a socket.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    /// An allocation of its own. QUIC keeps slices of it for data that came out of order, and counts the whole packet:
    /// of a block that packets share, a peer could keep 64 KiB with one byte.
    pub(super) bytes: BytesMut,
    /// Whether it came out of another thread's socket.
    pub(super) is_forwarded: bool,
}

/// An order to a net thread: close every connection with this code, and end.
#[derive(Debug)]
pub(super) struct StopOrder {
    pub(super) code: RefusalCode,
    /// Told when the peers know, or have had the time to. Without it the thread does not wait for them.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// The senders' side of a mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// The ready list: connections with something in their outbox. Each is in it once at most, so it is bounded by
    /// their number.
    ready: Mutex<Vec<LinkKey>>,
    stop: Mutex<Option<StopOrder>>,
    /// Whether `ready` or `stop` has something.
    is_pending: AtomicBool,
    outgoing: Sender<OutgoingDatagrams>,
    forwarded: Sender<Packet>,
    is_parked: AtomicBool,
    /// An eventfd.
    waker: OwnedFd,
    counters: Arc<TransportCounters>,
}

/// The thread's own side of a mailbox.
#[derive(Debug)]
pub(super) struct MailboxReceiver {
    pub(super) outgoing: Receiver<OutgoingDatagrams>,
    pub(super) forwarded: Receiver<Packet>,
}

impl Mailbox {
    pub(super) fn new(counters: Arc<TransportCounters>) -> io::Result<(Self, MailboxReceiver)> {
        let (outgoing, outgoing_receiver) = bounded(DATAGRAM_BATCHES_MAX);
        let (forwarded, forwarded_receiver) = bounded(FORWARDED_PACKETS_MAX);
        let mailbox = Self {
            ready: Mutex::default(),
            stop: Mutex::default(),
            is_pending: AtomicBool::new(false),
            outgoing,
            forwarded,
            is_parked: AtomicBool::new(false),
            waker: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            counters,
        };
        let receiver = MailboxReceiver {
            outgoing: outgoing_receiver,
            forwarded: forwarded_receiver,
        };
        Ok((mailbox, receiver))
    }

    /// Puts a connection on the ready list: its handles have left something in its outbox.
    pub(super) fn mark_ready(&self, key: LinkKey) {
        locked(&self.ready).push(key);
        self.is_pending.store(true, Ordering::Release);
        self.wake();
    }

    /// Leaves a batch of datagrams. If the thread is `DATAGRAM_BATCHES_MAX` batches behind, they are dropped and
    /// counted.
    pub(super) fn send(&self, bytes: Bytes, datagrams: Vec<OutgoingDatagram>) {
        let batch = OutgoingDatagrams {
            bytes,
            datagrams,
            since: Instant::now(),
        };
        match self.outgoing.try_send(batch) {
            Ok(()) => self.wake(),
            Err(back) => self
                .counters
                .datagrams_overflow
                .add(back.into_inner().datagrams.len() as u64),
        }
    }

    /// Orders the thread to end.
    pub(super) fn stop(&self, stop: StopOrder) {
        *locked(&self.stop) = Some(stop);
        self.is_pending.store(true, Ordering::Release);
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

    /// Swaps the ready list for an empty one. Returns whether there is anything to look at, in the list or in
    /// [`Mailbox::take_stop`].
    pub(super) fn take_ready(&self, into: &mut Vec<LinkKey>) -> bool {
        let is_pending = self.is_pending.swap(false, Ordering::AcqRel);
        if is_pending {
            into.clear();
            std::mem::swap(into, &mut *locked(&self.ready));
        }
        is_pending
    }

    pub(super) fn take_stop(&self) -> Option<StopOrder> {
        locked(&self.stop).take()
    }

    /// Announces that the thread is about to park. `false`: something was left just now, do not.
    pub(super) fn prepare_to_park(&self) -> bool {
        self.is_parked.store(true, Ordering::Relaxed);
        // Either the sender sees `is_parked`, or this sees what was left.
        fence(Ordering::SeqCst);
        let is_empty =
            !self.is_pending.load(Ordering::Relaxed) && self.outgoing.is_empty() && self.forwarded.is_empty();
        if !is_empty {
            self.is_parked.store(false, Ordering::Relaxed);
        }
        is_empty
    }

    /// Announces that the thread is awake again, and resets the waker.
    pub(super) fn finish_park(&self) {
        self.is_parked.store(false, Ordering::Relaxed);
        // There is nothing to read if something else woke the thread.
        let _not_woken = rustix::io::read(&self.waker, &mut [0; 8]);
    }

    /// Returns what becomes readable when something was left while the thread is parked.
    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_parked.load(Ordering::Relaxed) && self.is_parked.swap(false, Ordering::Relaxed) {
            // It can fail only after 2^64 wakes that were not read.
            let _is_awake = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
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

    fn mailbox() -> (Mailbox, MailboxReceiver) {
        Mailbox::new(Arc::default()).expect("an eventfd")
    }

    fn datagrams(count: usize) -> Vec<OutgoingDatagram> {
        let datagram = |_| OutgoingDatagram { key: KEY, range: 0..0 };
        (0..count).map(datagram).collect()
    }

    fn is_woken(mailbox: &Mailbox) -> bool {
        rustix::io::read(mailbox.waker(), &mut [0; 8]).is_ok()
    }

    #[test]
    fn thread_does_not_park_on_what_was_just_left() {
        let (mailbox, receiver) = mailbox();
        assert!(mailbox.prepare_to_park());
        mailbox.finish_park();
        mailbox.send(Bytes::new(), datagrams(1));
        assert!(!mailbox.prepare_to_park());
        assert_eq!(receiver.outgoing.try_iter().count(), 1);
        mailbox.mark_ready(KEY);
        assert!(!mailbox.prepare_to_park());
        let mut ready = Vec::new();
        assert!(mailbox.take_ready(&mut ready));
        assert_eq!(ready, [KEY]);
        assert!(!mailbox.take_ready(&mut ready), "nothing was left since");
        assert!(mailbox.prepare_to_park());
    }

    #[test]
    fn thread_is_woken_once_and_only_while_it_is_parked() {
        let (mailbox, _receiver) = mailbox();
        mailbox.mark_ready(KEY);
        assert!(!is_woken(&mailbox), "it is awake and looks by itself");
        mailbox.take_ready(&mut Vec::new());
        assert!(mailbox.prepare_to_park());
        mailbox.mark_ready(KEY);
        mailbox.send(Bytes::new(), datagrams(1));
        assert!(is_woken(&mailbox));
        assert!(!is_woken(&mailbox));
    }

    #[test]
    fn batches_for_a_thread_that_is_far_behind_are_dropped_and_counted() {
        let (mailbox, receiver) = mailbox();
        for _ in 0..DATAGRAM_BATCHES_MAX + 2 {
            mailbox.send(Bytes::new(), datagrams(5));
        }
        assert_eq!(receiver.outgoing.len(), DATAGRAM_BATCHES_MAX);
        assert_eq!(mailbox.counters.datagrams_overflow.count(), 10);
    }
}

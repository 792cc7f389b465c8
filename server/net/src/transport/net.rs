//! Net threads: each carries its own connections on its own UDP socket, over `quinn-proto`, without a task, a lock, or
//! a timer for each.
//!
//! A task per connection on a runtime costs about twice as much, most of it for waking. Here a connection that plays is
//! touched when its input comes in, which is read and passed on, and when its snapshot goes out, which takes the
//! acknowledgement along. Timers are looked at in the same moment. What cannot wait for a snapshot (handshakes, control
//! messages, farewells) is sent in the same turn; what gets no snapshot is swept fifty times a second.
//!
//! ```text
//! turn:  take packets in ──► send the batches, taking packets in between chunks ──► do what handles want
//!          ▲                                              └──► serve the urgent ──► sweep the others when it is time
//!          └── a nap of 1 ms if anything happened, else parked until a packet or something in the mailbox comes
//! ```
//!
//! Each turn sees one ready list and the batches that had come by then, so no turn is without end. A process whose net
//! thread fails cannot serve its players any more, and ends at once: others adopt its zones.

mod admit;
mod link;
mod slab;
mod threads;
mod pending;
mod wire;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_core::limits::CLOSE_MS_MAX;
use quinn_proto::Endpoint;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

pub(super) use self::threads::{NetThreads, OpenSockets};

use self::link::{Counted, Link, LinkContext, LinkStatus};
use self::pending::PendingEvents;
use self::slab::Slab;
use self::wire::Wire;
use super::cid::ConnectionIds;
use super::half_open::HalfOpen;
use super::mailbox::{LinkKey, Mailbox, MailboxReceiver, OutgoingDatagram, OutgoingDatagrams, Packet, StopOrder};
use super::shared::TransportShared;

/// The pause between two turns while there is something to do: packets are taken in batches, and wait no longer than
/// this.
const NAP: Duration = Duration::from_millis(1);
/// Period at which connections without outgoing datagrams are served. The delay that QUIC promises for an
/// acknowledgement is 25 ms.
const SWEEP: Duration = Duration::from_millis(20);
/// Datagrams that share one reading of the clock; after so many the socket is read again.
const CHUNK: usize = 64;
/// A packet of so many bytes may have left something behind: the datagram that would not fit beside what is in it.
const FULL_PACKET_BYTES: usize = 400;
/// Batches that are taken off the socket before something else gets its turn.
const RECEIVE_BATCHES_MAX: usize = 16;

/// One net thread: its socket, its endpoint, and its connections.
struct NetThread {
    index: u8,
    ids: ConnectionIds,
    mailbox: Arc<Mailbox>,
    /// The mailboxes of all net threads, by index.
    mailboxes: Vec<Arc<Mailbox>>,
    received: MailboxReceiver,
    shared: Arc<TransportShared>,
    wire: Wire,
    endpoint: Endpoint,
    links: Slab,
    half_open: HalfOpen<LinkKey>,
    urgent: Vec<LinkKey>,
    /// Players with a control message to send. It leaves in the next turn, or with a datagram before that.
    soon: Vec<LinkKey>,
    stalled: Vec<LinkKey>,
    /// Events, not yet sent, of connections that QUIC has forgotten.
    pending: Vec<PendingEvents>,
    swept: Instant,
    stopping: Option<(StopOrder, Instant)>,
    arrived: Vec<Packet>,
    ready: Vec<LinkKey>,
    due: Vec<LinkKey>,
    outgoing: Vec<u8>,
}

impl NetThread {
    fn new(
        index: u8,
        ids: ConnectionIds,
        (mailboxes, received): (&[Arc<Mailbox>], MailboxReceiver),
        shared: Arc<TransportShared>,
        endpoint: Endpoint,
        socket: UdpSocket,
    ) -> std::io::Result<Self> {
        Ok(Self {
            index,
            ids,
            mailbox: Arc::clone(&mailboxes[usize::from(index)]),
            mailboxes: mailboxes.to_vec(),
            received,
            wire: Wire::new(socket, Arc::clone(&shared.counters))?,
            shared,
            endpoint,
            links: Slab::default(),
            half_open: HalfOpen::default(),
            urgent: Vec::new(),
            soon: Vec::new(),
            stalled: Vec::new(),
            pending: Vec::new(),
            swept: Instant::now(),
            stopping: None,
            arrived: Vec::new(),
            ready: Vec::new(),
            due: Vec::new(),
            outgoing: Vec::new(),
        })
    }

    /// Runs until a stop is requested. Returns the channel of the waiter, if there is one.
    fn run(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let is_busy = self.turn();
            self.wire.end_turn();
            if let Some(stop) = self.take_finished_stop() {
                return stop.done;
            }
            if is_busy {
                std::thread::sleep(NAP);
            } else {
                self.park();
            }
        }
    }

    /// Runs one turn. `true`: something happened, and more may soon.
    fn turn(&mut self) -> bool {
        let soon = std::mem::take(&mut self.soon);
        let mut is_busy = self.receive();
        is_busy |= self.send_batches();
        is_busy |= self.answer_ready();
        self.serve_soon(soon);
        self.serve_urgent();
        self.sweep();
        self.send_pending();
        is_busy
            || !self.soon.is_empty()
            || !self.urgent.is_empty()
            || !self.stalled.is_empty()
            || !self.pending.is_empty()
    }

    /// Waits until a packet comes, something is left in the mailbox, or a sweep is due.
    fn park(&self) {
        if !self.mailbox.prepare_to_park() {
            return;
        }
        let has_links = self.links.live() > 0;
        let until_sweep = Timespec::try_from(SWEEP).ok().filter(|_| has_links);
        let waker = self.mailbox.waker();
        let socket = self.wire.fd();
        let mut fds = [PollFd::new(&waker, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        // Whatever woke it, the next turn finds out.
        let _ready = poll(&mut fds, until_sweep.as_ref());
        self.mailbox.finish_park();
    }

    /// Takes in the packets of the socket and those that other threads have forwarded. `true` if there was anything.
    fn receive(&mut self) -> bool {
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut is_any = false;
        for _ in 0..RECEIVE_BATCHES_MAX {
            let is_more = self.wire.receive(&mut arrived);
            arrived.extend(self.received.forwarded.try_iter());
            if arrived.is_empty() {
                break;
            }
            is_any = true;
            // What was said of a connection before its peer sent this counts for it.
            self.answer_ready();
            let now = Instant::now();
            for packet in arrived.drain(..) {
                self.take_packet(now, packet);
            }
            self.serve_urgent();
            if !is_more {
                break;
            }
        }
        self.arrived = arrived;
        is_any
    }

    /// Does what the handles of the connections on the ready list want, and begins a stop that was ordered. `true` if
    /// there was anything.
    fn answer_ready(&mut self) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        let is_pending = self.mailbox.take_ready(&mut ready);
        if is_pending {
            let now = Instant::now();
            for key in ready.drain(..) {
                self.with_link(key, now, Link::answer);
                let playing = self.links.get_mut(key).filter(|link| link.is_playing());
                if let Some(link) = playing {
                    link.has_to_send = true;
                    self.soon.push(key);
                } else {
                    self.hurry(key);
                }
            }
            if let Some(stop) = self.mailbox.take_stop() {
                self.begin_stop(stop, now);
            }
        }
        self.ready = ready;
        is_pending
    }

    /// Sends the batches that have come by now. `true` if there was any.
    fn send_batches(&mut self) -> bool {
        let waiting = self.received.outgoing.len();
        for batch in self.received.outgoing.clone().try_iter().take(waiting) {
            self.send_batch(&batch);
        }
        waiting > 0
    }

    fn send_batch(&mut self, batch: &OutgoingDatagrams) {
        for (index, datagrams) in batch.datagrams.chunks(CHUNK).enumerate() {
            if index > 0 {
                self.receive();
            }
            // What connections have to say beside the datagram goes into the same packet.
            self.answer_ready();
            let now = Instant::now();
            for OutgoingDatagram { key, range } in datagrams {
                self.show(now, *key, batch.bytes.slice(range.start as usize..range.end as usize));
            }
        }
        self.shared.counters.send_lag.set(batch.since.elapsed());
    }

    /// Sends one datagram, with what else its connection has to send.
    fn show(&mut self, now: Instant, key: LinkKey, bytes: Bytes) {
        let counters = &self.shared.counters;
        let Some(link) = self.links.get_mut(key).filter(|link| link.is_playing()) else {
            return counters.datagrams_gone.bump();
        };
        let mut datagrams = link.connection.datagrams();
        let is_roomy = datagrams.send_buffer_space() >= bytes.len();
        if datagrams.send(bytes, true).is_err() {
            return counters.datagrams_gone.bump();
        }
        counters.datagrams_out.bump();
        if !is_roomy {
            counters.datagrams_congested.bump();
        }
        let is_timed_out = link.connection.poll_timeout().is_some_and(|due| due <= now);
        if is_timed_out {
            return self.serve_shown(key, now);
        }
        link.has_to_send = false;
        transmit(link, now, &mut self.wire, &mut self.outgoing);
        self.links.note_shown(key, now);
    }

    fn serve_shown(&mut self, key: LinkKey, now: Instant) {
        self.serve(key, now);
        if self.links.get_mut(key).is_some() {
            self.links.note_shown(key, now);
        }
    }

    fn serve_urgent(&mut self) {
        if self.urgent.is_empty() {
            return;
        }
        let mut urgent = std::mem::take(&mut self.urgent);
        let now = Instant::now();
        for key in urgent.drain(..) {
            self.serve(key, now);
        }
        // Serving one makes none urgent; what its handles order meanwhile is on the next turn's ready list.
        self.urgent = urgent;
    }

    /// Serves the connections that had a control message to send a turn ago, and still have.
    fn serve_soon(&mut self, soon: Vec<LinkKey>) {
        if soon.is_empty() {
            return;
        }
        let now = Instant::now();
        for key in soon {
            if self.links.get_mut(key).is_some_and(|link| link.has_to_send) {
                self.serve(key, now);
            }
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let mut due = std::mem::take(&mut self.due);
        self.links.collect_due(now, &mut due);
        for key in due.drain(..) {
            self.serve(key, now);
        }
        self.due = due;
    }

    /// Serves a connection: its timers, its deadline, and all that it has to send.
    fn serve(&mut self, key: LinkKey, now: Instant) {
        if let Some(link) = self.links.get_mut(key)
            && link.connection.poll_timeout().is_some_and(|due| due <= now)
        {
            link.connection.handle_timeout(now);
        }
        let status = self.with_link(key, now, |link, context| {
            link.is_urgent = false;
            link.has_to_send = false;
            let status = link.drive(context);
            if status == LinkStatus::Lives {
                link.check_deadline(context);
            }
            status
        });
        if status == Some(LinkStatus::Drained) {
            return self.remove(key);
        }
        let Some(link) = self.links.get_mut(key) else { return };
        transmit(link, now, &mut self.wire, &mut self.outgoing);
        let timeout = link.connection.poll_timeout();
        let due = [timeout, link.deadline()].into_iter().flatten().min();
        let is_playing = link.is_playing();
        self.links.note_served(key, due, is_playing);
        self.after(key);
    }

    /// Files a link that was driven: as half-open or not, and as stalled if its events do not fit.
    fn after(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.counted == Counted::Stranger {
            if link.is_proven() {
                link.counted = Counted::Player;
                self.half_open.prove(key);
            } else if link.is_over() {
                link.counted = Counted::Nothing;
                self.half_open.remove(key);
            }
        }
        if link.has_pending_events() && !std::mem::replace(&mut link.is_stalled, true) {
            self.stalled.push(key);
        }
    }

    /// Marks a link to be served in this turn.
    fn hurry(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get_mut(key)
            && !std::mem::replace(&mut link.is_urgent, true)
        {
            self.urgent.push(key);
        }
    }

    /// Sends the events for which the shard had no room; links whose events are all sent read on.
    fn send_pending(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.pending.retain_mut(|pending| pending.send(&shared));
        for key in std::mem::take(&mut self.stalled) {
            let Some(link) = self.links.get_mut(key) else { continue };
            if link.send_pending(&shared) {
                self.stalled.push(key);
            } else {
                link.is_stalled = false;
                self.hurry(key);
            }
        }
    }

    fn remove(&mut self, key: LinkKey) {
        let Some(link) = self.links.remove(key) else { return };
        match link.counted {
            Counted::Stranger => self.half_open.remove(key),
            Counted::Player => self.half_open.remove_player(link.origin),
            Counted::Nothing => {}
        }
        if link.has_pending_events() {
            self.pending.push(link.into_pending());
        }
    }

    fn with_link<T>(
        &mut self,
        key: LinkKey,
        now: Instant,
        act: impl FnOnce(&mut Link, &mut LinkContext<'_>) -> T,
    ) -> Option<T> {
        let link = self.links.get_mut(key)?;
        let mut context = LinkContext {
            now,
            shared: &self.shared,
            mailbox: &self.mailbox,
            endpoint: &mut self.endpoint,
        };
        Some(act(link, &mut context))
    }

    /// Closes every connection. The peers know when all have drained.
    fn begin_stop(&mut self, stop: StopOrder, now: Instant) {
        for key in self.links.keys() {
            self.with_link(key, now, |link, context| link.shut(stop.code, context));
            self.serve(key, now);
        }
        let until = match stop.done {
            Some(_) => now + Duration::from_millis(CLOSE_MS_MAX),
            None => now,
        };
        self.stopping = Some((stop, until));
    }

    /// Takes the stop if it is complete: every peer knows, or has had the time to.
    fn take_finished_stop(&mut self) -> Option<StopOrder> {
        let left = self.links.live();
        let is_over = |until: Instant| left == 0 || until <= Instant::now();
        let (stop, _) = self.stopping.take_if(|(_, until)| is_over(*until))?;
        if left > 0 && stop.done.is_some() {
            tracing::debug!(left, "some peers have not acknowledged that the transport is closed");
        }
        Some(stop)
    }
}

/// Sends all that a connection may send now. A playing one stops at a packet that is not full: it had no more to say,
/// and to ask once more would cost as much as to make a packet.
fn transmit(link: &mut Link, now: Instant, wire: &mut Wire, outgoing: &mut Vec<u8>) {
    loop {
        outgoing.clear();
        let Some(transmit) = link.connection.poll_transmit(now, 1, outgoing) else {
            return;
        };
        wire.send(&transmit, outgoing);
        if link.is_playing() && transmit.size < FULL_PACKET_BYTES {
            return;
        }
    }
}

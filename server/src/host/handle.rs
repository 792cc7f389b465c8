//! The handle on a hosted zone, by which the router and the lease keeper reach its threads, and the gauges that they
//! share. It decides nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::Sender;
use everhold_core::cluster::Hosted;
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::ingress::{AttachToken, Input, Lodge};
use everhold_core::load::{Caller, Residents};
use everhold_core::ownership::Tenure;
use everhold_core::zone::Probe;
use everhold_protocol::{Account, RefusalCode, Tick};
use tokio::sync::mpsc;

use super::egress::PendingAttach;
use super::guard::LeaseGuard;
use super::load::LoadGauges;

/// Counters that tick thread, durable task, lease keeper, and router share.
#[derive(Debug, Default)]
pub struct ZoneGauges {
    /// The newest tick stepped.
    pub tick: AtomicU64,
    /// The newest tick whose record is acknowledged.
    pub acknowledged_tick: AtomicU64,
    /// Attached sessions.
    pub attached: AtomicU32,
    /// The tick that the tick thread is in; 0 between two ticks.
    pub stepping: AtomicU64,
    /// The input that it is at.
    pub probe: Arc<Probe>,
    /// The zone's load.
    pub load: LoadGauges,
    /// The zone is over: nothing of it may be renewed, routed to, or awaited.
    pub ended: AtomicBool,
}

/// The handle on a hosted zone, for the router, the keeper, and the shard. Cheap to clone.
#[derive(Clone)]
pub struct ZoneHandle {
    /// The zone, and the right it is hosted by.
    pub tenure: Tenure,
    /// The lease, asked before every tick and every release.
    pub guard: Arc<LeaseGuard>,
    /// The counters that its threads share.
    pub gauges: Arc<ZoneGauges>,
    /// The time on `CLOCK_BOOTTIME` at which hosting began.
    pub(super) since: Duration,
    pub(super) residents: Arc<Mutex<Residents>>,
    pub(super) entries: Sender<InboxEntry>,
    pub(super) orders: mpsc::UnboundedSender<HostOrder>,
}

/// An order of the router to the durable task. Unbounded, because each order stands for a connection, and those are
/// bounded.
pub(crate) enum HostOrder {
    /// A `Join` or `Resume` of this connection is on its way through the zone.
    Attach(AttachToken, Box<PendingAttach>),
    /// The connection is gone.
    Gone(AttachToken),
    /// Its player ends the session.
    LogOut(AttachToken),
    /// One last tick and its checkpoint; the zone ends when both are stored.
    Stop,
}

impl ZoneHandle {
    /// Sends a connection's `Join` or `Resume` through the zone, and before it the character, if it comes back from
    /// rest; the reply goes to the connection when it is released. `false`: the inbox is full, and no request was sent.
    #[must_use]
    pub fn attach(&self, pending: PendingAttach, lodge: Option<Lodge>, input: Input) -> bool {
        let token = pending.conn.token();
        let lodge = lodge.map(|lodge| InboxEntry::Input(Input::Lodge(lodge)));
        let entries = lodge.into_iter().chain([pending.entry(input)]);
        // The order first: the reply must find its connection.
        let ordered = self.orders.send(HostOrder::Attach(token, Box::new(pending))).is_ok();
        let sent = ordered
            && entries
                .map(|entry| self.entries.try_send(entry))
                .all(|sent| sent.is_ok());
        if ordered && !sent {
            self.detach(token);
        }
        sent
    }

    /// Tells the zone that a connection is gone. A host that has ended has no sessions to detach.
    pub fn detach(&self, token: AttachToken) {
        let _ended_before = self.orders.send(HostOrder::Gone(token));
    }

    /// Tells the zone that the player of a connection ends the session. The connection is closed when that is stored.
    /// `false`: the host has ended, and with it all its connections.
    #[must_use]
    pub fn log_out(&self, token: AttachToken) -> bool {
        self.orders.send(HostOrder::LogOut(token)).is_ok()
    }

    /// Ends an account's session from outside. A full inbox takes no order: it is given again until the session is
    /// over.
    pub fn dismiss(&self, account: Account, code: RefusalCode) {
        let input = Input::Dismiss { account, code };
        let _full_or_ended = self.entries.try_send(InboxEntry::Input(input));
    }

    /// Stops the zone in good order: its last tick, a checkpoint of it, everything acknowledged. Then it ends.
    pub fn stop(&self) {
        let _ended_before = self.orders.send(HostOrder::Stop);
    }

    /// The newest tick stepped.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(self.gauges.tick.load(Ordering::Relaxed))
    }

    /// Returns the zone's entry for the directory, as long as it runs here.
    #[must_use]
    pub fn hosted(&self) -> Option<Hosted> {
        self.runs().then(|| Hosted {
            epoch: self.tenure.epoch(),
            since: self.since,
            may_speak: self.guard.may_speak(),
        })
    }

    /// Judges a client that shows this ticket, as far as the zone's acknowledged ticks say.
    #[must_use]
    pub fn caller(&self, account: Account, ticket: &[u8; 16]) -> Caller {
        let residents = self.residents.lock().expect("no holder of the residents panics");
        residents.judge(account, ticket, self.tick())
    }

    /// Whether the zone has the account's character, in the world or at rest, as far as its acknowledged ticks say.
    #[must_use]
    pub fn has(&self, account: Account) -> bool {
        let residents = self.residents.lock().expect("no holder of the residents panics");
        residents.has(account)
    }

    /// Whether the zone still runs here.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.gauges.ended.load(Ordering::Acquire)
    }
}

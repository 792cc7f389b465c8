//! Hosts one owned zone: its tick thread, and the task that makes its ticks durable and lets their output go.
//!
//! ```text
//!  router ──entries──► tick thread ──TickOut──► durable task ──Released──► connections
//!                          ▲                      │    ▲
//!                          └──── TickOrder ───────┘    └── state store
//! ```
//!
//! The tick thread steps at its own pace and never waits for I/O; the durable task owns journal, gate, and
//! checkpointer, and is the only one that talks to the store and to players. Both ask the zone's [`LeaseGuard`] before
//! they act.

mod adopt;
mod asking;
mod blame;
mod durable;
mod egress;
mod guard;
mod homes;
mod load;
mod memory;
mod notices;
mod run;
mod tick;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::Sender;
use everhold_core::cluster::HomeStore;
use everhold_core::cluster::Hosted;
use everhold_core::durability::adoption::Start;
use everhold_core::durability::gate::Durability;
use everhold_core::durability::store::ZoneStore;
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::ingress::{AttachToken, Input};
use everhold_core::load::{Caller, Residents};
use everhold_core::ownership::{EndReason, Tenure};
use everhold_core::replication::ViewConfig;
use everhold_core::tick::{TickLoop, TickStart};
use everhold_core::zone::Probe;
use everhold_os::clock;
use everhold_protocol::{Account, Tick};
use tokio::sync::{mpsc, oneshot};

pub use adopt::adopt;
pub use blame::blame;
pub use egress::PendingAttach;
pub use guard::LeaseGuard;
pub use load::LoadGauges;

use self::tick::TickThread;
use crate::process::ProcessGauge;
use crate::reporter::Reporter;

/// The configuration of a hosted zone.
#[derive(Clone)]
pub struct HostConfig {
    /// The zone, and the right to act for it.
    pub tenure: Tenure,
    /// Ticks per second.
    pub tick_hz: u16,
    /// Whether the zone climbs the overload ladder.
    pub ladder: bool,
    /// The level of durability that output waits for.
    pub durability: Durability,
    /// Ticks between deltas, and at most between bases.
    pub checkpoint_ticks: (u64, u64),
    /// The limits of each player's view.
    pub view: ViewConfig,
    /// The id of the rules, for `EpochStart`.
    pub rules_id: [u8; 32],
}

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

/// The router's handle on a hosted zone. Cheap to clone.
#[derive(Clone)]
pub struct ZoneHandle {
    /// The zone, and the right it is hosted by.
    pub tenure: Tenure,
    /// The lease, asked before every tick and every release.
    pub guard: Arc<LeaseGuard>,
    /// The counters that its threads share.
    pub gauges: Arc<ZoneGauges>,
    /// The time on the clock of [`clock::boottime`] at which hosting began.
    since: Duration,
    residents: Arc<Mutex<Residents>>,
    entries: Sender<InboxEntry>,
    orders: mpsc::UnboundedSender<HostOrder>,
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
    /// One last tick and its checkpoint; then say when both are stored.
    Stop(oneshot::Sender<()>),
}

impl ZoneHandle {
    /// Sends a connection's `Join` or `Resume` through the zone; the reply goes to the connection when it is released.
    /// `false`: the inbox is full, and nothing was sent.
    #[must_use]
    pub fn attach(&self, pending: PendingAttach, input: Input) -> bool {
        let token = pending.conn.token();
        let entry = pending.entry(input);
        // The order first: the reply must find its connection.
        let ordered = self.orders.send(HostOrder::Attach(token, Box::new(pending))).is_ok();
        let sent = ordered && self.entries.try_send(entry).is_ok();
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

    /// Stops the zone in good order: its last tick, a checkpoint of it, everything acknowledged. Resolves when the
    /// lease may be released.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(HostOrder::Stop(done)).is_ok() {
            let _ended_before = stopped.await;
        }
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

    /// Whether the zone still runs here.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.gauges.ended.load(Ordering::Acquire)
    }
}

/// A zone that is over here.
pub struct Ended {
    /// The zone, and the right it was hosted by.
    pub tenure: Tenure,
    /// The cause of the end, as the report says it.
    pub reason: EndReason,
    /// The zone in memory, if it is suspended and can go on from there.
    pub memory: Option<SuspendedZone>,
}

/// Starts hosting a zone. `services.ended` hears once, when it is over. Call it inside the runtime that is to carry the
/// durable task.
pub fn start(config: HostConfig, start: Start, services: HostServices) -> std::io::Result<ZoneHandle> {
    let Start {
        mut zone,
        journal,
        chain,
        quarantine,
    } = start;
    let residents = Arc::new(Mutex::new(Residents::of(&mut zone)));
    let ticks_start = TickStart {
        grant: config.tenure.grant,
        rules_id: config.rules_id,
        last: journal.last().hash,
        quarantine: &quarantine,
        view: config.view,
    };
    let gauges = Arc::new(ZoneGauges {
        probe: zone.probe(),
        ..ZoneGauges::default()
    });
    gauges.tick.store(zone.tick().0, Ordering::Relaxed);
    gauges
        .acknowledged_tick
        .store(journal.acknowledged().tick.0, Ordering::Relaxed);
    let (orders, ordered) = mpsc::unbounded_channel();
    let guard = Arc::clone(&services.guard);
    // The pause that was declared for the adoption is over: from here on the zone ticks, or loses its lease.
    guard.note_tick();
    let ticks = TickThread::start(
        &config,
        TickLoop::new(zone, &ticks_start),
        Arc::clone(&guard),
        Arc::clone(&gauges),
        Arc::clone(&services.process),
    )?;
    let handle = ZoneHandle {
        tenure: config.tenure.clone(),
        guard,
        gauges: Arc::clone(&gauges),
        since: clock::boottime(),
        residents: Arc::clone(&residents),
        entries: ticks.entries,
        orders,
    };
    let connections = egress::Connections::new(
        config.tenure.zone.clone(),
        config.tick_hz,
        handle.entries.clone(),
        residents,
    );
    let ended = services.ended.clone();
    let task = durable::DurableTask::new(config, journal, &chain, services, gauges, connections, ticks.orders);
    let task = tokio::spawn(task.run(ticks.ticked, ordered));
    tokio::spawn(watch(task, ended, handle.clone()));
    Ok(handle)
}

/// Ends the zone whose durable task panicked: that says nothing any more, and the zone would never be adopted.
async fn watch(task: tokio::task::JoinHandle<()>, ended: mpsc::UnboundedSender<Ended>, handle: ZoneHandle) {
    if let Err(error) = task.await {
        handle.gauges.ended.store(true, Ordering::Release);
        tracing::error!(zone = %handle.tenure.zone, %error, "a durable task failed");
        let reason = EndReason::Panicked(handle.tick(), "the durable task failed".to_owned());
        let _process_ends = ended.send(Ended {
            tenure: handle.tenure,
            reason,
            memory: None,
        });
    }
}

/// The parts of the process that a host uses.
pub struct HostServices {
    /// The store of records and checkpoints.
    pub store: Arc<dyn ZoneStore>,
    /// The store in which the homes of characters are written anew if they are lost.
    pub homes: Arc<dyn HomeStore>,
    /// The zone's lease.
    pub guard: Arc<LeaseGuard>,
    /// Living shards to name to clients.
    pub peers: Arc<dyn Fn() -> Vec<std::net::SocketAddr> + Send + Sync>,
    /// The process's use of its cores, for the load.
    pub process: Arc<ProcessGauge>,
    /// The report of the zone's run.
    pub reporter: Reporter,
    /// Hears why the zone is over.
    pub ended: mpsc::UnboundedSender<Ended>,
}

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
mod archived;
mod blame;
mod durable;
mod egress;
mod evidence;
mod guard;
mod handle;
mod load;
mod memory;
mod notices;
mod run;
mod tick;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everhold_core::cluster::HomeStore;
use everhold_core::durability::adoption::Start;
use everhold_core::durability::gate::Durability;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{Position, RecordHash, ZoneStore};
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::egress::Egress;
use everhold_core::load::Residents;
use everhold_core::ownership::{EndReason, RulesStamp, Tenure};
use everhold_core::replication::ViewConfig;
use everhold_core::tick::{TickLoop, TickStart};
use everhold_core::zone::{Game, Zone};
use everhold_os::{clock, vital};
use everhold_protocol::{SessionId, Tick};
use tokio::sync::{Semaphore, mpsc};

pub use adopt::{Adopted, NotAdopted, adopt};
pub use blame::blame;
pub use egress::PendingAttach;
pub use guard::LeaseGuard;
pub(crate) use handle::HostOrder;
pub use handle::{ZoneGauges, ZoneHandle};
pub use load::LoadGauges;
pub(crate) use notices::log_adoption;

use self::tick::TickThread;
use crate::process::ProcessGauge;
use crate::reporter::Reporter;
use crate::stores::ArchiveDoor;

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
    /// The rules: their id for `EpochStart`, and all for the seal of a stop.
    pub rules: RulesStamp,
    /// The time that evidence of a forked zone may take to be written: its next owner waits meanwhile.
    pub evidence_max: Duration,
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
///
/// # Errors
/// The tick thread does not start. The zone is suspended as it was to begin.
pub fn start(config: HostConfig, start: Start, services: HostServices) -> Result<ZoneHandle, NotAdopted> {
    let Start {
        mut zone,
        journal,
        chain,
        quarantine,
        moves,
        rewound_ticks,
    } = start;
    let residents = Arc::new(Mutex::new(Residents::of(&mut zone)));
    let ticks_start = ticks_start(&config, journal.last().hash, &quarantine);
    let gauges = gauges_of(&zone, journal.acknowledged().tick);
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
    );
    let ticks = match ticks {
        Ok(ticks) => ticks,
        Err((error, zone)) => return Err(NotAdopted::not_started(error, *zone, (journal, moves))),
    };
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
        Egress::new(config.tenure.zone.clone(), config.tick_hz).rewound(rewound_ticks),
        handle.entries.clone(),
        residents,
    );
    let ended = services.ended.clone();
    let (began_after, ticked) = (journal.acknowledged(), durable::TickMail::new(ticks.ticked));
    let thread = Arc::new(tokio::sync::Mutex::new(ticked));
    let task = durable::DurableTask::new(
        config,
        (journal, moves),
        &chain,
        services,
        gauges,
        connections,
        ticks.orders,
    );
    let task = tokio::spawn(task.run(Arc::clone(&thread), ordered));
    let watch = DurableWatch {
        thread,
        began_after,
        ended,
        handle: handle.clone(),
    };
    vital::spawn("watch of a durable task", watch.run(task));
    Ok(handle)
}

fn ticks_start<'a>(config: &HostConfig, last: RecordHash, quarantine: &'a [(SessionId, u64)]) -> TickStart<'a> {
    TickStart {
        grant: config.tenure.grant,
        rules_id: config.rules.id,
        last,
        quarantine,
        view: config.view,
        durability: config.durability,
    }
}

fn gauges_of(zone: &Zone, acknowledged: Tick) -> Arc<ZoneGauges> {
    let gauges = ZoneGauges {
        probe: zone.probe(),
        ..ZoneGauges::default()
    };
    gauges.tick.store(zone.tick().0, Ordering::Relaxed);
    gauges.acknowledged_tick.store(acknowledged.0, Ordering::Relaxed);
    Arc::new(gauges)
}

/// A watch on the durable task of a zone. One that panics says nothing any more; the zone's World is none of its own,
/// and is kept.
struct DurableWatch {
    thread: durable::TickThreadEnd,
    /// The end of what the store had when the zone was hosted.
    began_after: Position,
    ended: mpsc::UnboundedSender<Ended>,
    handle: ZoneHandle,
}

impl DurableWatch {
    /// Ends the zone if the task panics, with what the tick thread gives back.
    async fn run(self, task: tokio::task::JoinHandle<()>) {
        let Err(error) = task.await else { return };
        let Self { handle, ended, .. } = &self;
        handle.gauges.ended.store(true, Ordering::Release);
        let zone = &handle.tenure.zone;
        tracing::error!(%zone, %error, "a durable task failed: its zone is suspended");
        let memory = memory::orphaned(self.acknowledged(), &mut *self.thread.lock().await, zone).await;
        let _process_ends = ended.send(Ended {
            tenure: handle.tenure.clone(),
            reason: EndReason::Panicked(handle.tick(), "the durable task failed".to_owned()),
            memory,
        });
    }

    /// Returns the end of what the store is known to have had. Its hash is asked by no one that goes on from memory.
    fn acknowledged(&self) -> Position {
        let tick = Tick(self.handle.gauges.acknowledged_tick.load(Ordering::Acquire));
        if tick <= self.began_after.tick {
            return self.began_after;
        }
        Position {
            epoch: self.handle.tenure.epoch(),
            tick,
            ..self.began_after
        }
    }
}

/// An archive, and what a zone's rows in it are made of.
#[derive(Clone)]
pub struct ArchiveService {
    /// The database.
    pub door: Arc<ArchiveDoor>,
    /// The game, which says what is to be said of a character.
    pub game: Arc<dyn Game>,
    /// Ticks between two commits.
    pub interval_ticks: u64,
    /// The turns of zones that are restored from it, of all zones of the process: each has a blob in memory, and
    /// computes.
    pub turns: Arc<Semaphore>,
}

/// The parts of the process that a host uses.
pub struct HostServices {
    /// The store of records and checkpoints.
    pub store: Arc<dyn ZoneStore>,
    /// The store of world files, and the file of the zone's rules: it is kept there as long as the zone needs it.
    pub world_file: (Arc<dyn RulesStore>, Arc<WorldFile>),
    /// The store in which the homes of characters are written anew if they are lost.
    pub homes: Arc<dyn HomeStore>,
    /// The database that the zone is written behind into, if there is one.
    pub archive: Option<ArchiveService>,
    /// The turns of homes that are on their way to that store, of all zones of the process.
    pub home_turns: Arc<Semaphore>,
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

//! The tick thread: drains the inbox, freezes the record, steps the zone, and hands everything on. It waits for nothing but its next tick.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::{Receiver, TryRecvError};
use everhold_core::durability::record::Record;
use everhold_core::durability::store::{Position, RecordHash, StoredRecord};
use everhold_core::ingress::Input;
use everhold_core::ingress::inbox::{Inbox, InboxEntry};
use everhold_core::limits::UNACKNOWLEDGED_TICKS_MAX;
use everhold_core::load::Standing;
use everhold_core::replication::{Datagrams, Replicator};
use everhold_core::report::Phase;
use everhold_core::zone::probe::panic_text;
use everhold_core::zone::{Cut, Frozen, Outputs, Reply, Scene, Zone};
use everhold_protocol::{Account, SessionId, Tick};
use tokio::sync::mpsc;

use super::pace::Pace;
use super::run::TickTimes;
use super::{HostConfig, LeaseGuard, ZoneGauges};

/// A digest goes into every so-many-th record: once a second at 20 Hz, for it costs as much as a step does.
const DIGEST_EVERY_TICKS: u64 = 20;

/// What one tick hands on.
pub(super) struct TickOut {
    pub(super) record: StoredRecord,
    pub(super) told: Outputs,
    pub(super) shown: Datagrams,
    pub(super) frozen: Option<Frozen>,
    pub(super) times: TickTimes,
    pub(super) standing: Standing,
}

/// What the tick thread says to the durable task.
pub(super) enum TickMessage {
    Ticked(Box<TickOut>),
    /// The answer to [`TickOrder::Roster`].
    Roster(Vec<Account>),
    /// The last message: why the thread is over.
    Panicked(Tick, String),
    /// The last message: the thread is over, and this is the zone after its last tick.
    Surrendered(Box<Zone>),
}

/// What the durable task asks of the tick thread.
pub(super) enum TickOrder {
    Cut(Cut),
    CaptureConfirmed,
    CaptureFailed,
    /// Whose characters live here?
    Roster,
    /// One more tick, with this cut, and no other.
    Seal(Cut),
}

pub(super) struct TickThread {
    zone: Zone,
    scene: Scene,
    replicator: Replicator,
    inbox: Inbox,
    inputs: Vec<Input>,
    epoch: u32,
    prev_hash: RecordHash,
    pace: Pace,
    guard: Arc<LeaseGuard>,
    gauges: Arc<ZoneGauges>,
    entries: Receiver<InboxEntry>,
    orders: Receiver<TickOrder>,
    out: mpsc::Sender<TickMessage>,
    cut: Option<Cut>,
    sealing: bool,
}

impl TickThread {
    #[expect(
        clippy::too_many_arguments,
        reason = "the ends of the channels that `host::start` has just made, named there"
    )]
    pub(super) fn new(
        config: &HostConfig,
        zone: Zone,
        last: Position,
        quarantine: &[(SessionId, u64)],
        guard: Arc<LeaseGuard>,
        gauges: Arc<ZoneGauges>,
        pace: Pace,
        entries: Receiver<InboxEntry>,
        orders: Receiver<TickOrder>,
        out: mpsc::Sender<TickMessage>,
    ) -> Self {
        let epoch = config.grant.epoch.number();
        let start = Input::EpochStart {
            epoch,
            nonce: config.grant.nonce.0,
            rules_id: config.rules_id,
        };
        Self {
            zone,
            scene: Scene::default(),
            replicator: Replicator::new(config.view),
            inbox: Inbox::default(),
            inputs: first_inputs(start, quarantine),
            epoch,
            prev_hash: last.hash,
            pace,
            guard,
            gauges,
            entries,
            orders,
            out,
            cut: None,
            sealing: false,
        }
    }

    /// Runs until the zone ends. A panic in a rule throws the World away with the thread; nothing of that tick is told.
    pub(super) fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_ticks()));
        let last = match outcome {
            Ok(()) => TickMessage::Surrendered(Box::new(self.zone)),
            Err(panic) => {
                let text = panic_text(panic.as_ref());
                // A step raises the tick before anything that may fail.
                let tick = self.zone.tick();
                tracing::error!(tick, panic = text, "a rule failed; this zone's world is thrown away");
                TickMessage::Panicked(tick, text)
            }
        };
        self.gauges.ended.store(true, Ordering::Release);
        // The durable task reads this, or has ended before.
        let _ended_before = self.out.blocking_send(last);
    }

    fn run_ticks(&mut self) {
        loop {
            self.pace.wait();
            if self.gauges.ended.load(Ordering::Acquire) || !self.take_orders() {
                return;
            }
            if !self.may_tick() {
                self.pace.hold();
                continue;
            }
            if !self.tick() {
                return;
            }
        }
    }

    /// `false`: the durable task is gone.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(TickOrder::Cut(cut)) => self.cut = Some(cut),
                Ok(TickOrder::CaptureConfirmed) => self.zone.capture_confirmed(),
                Ok(TickOrder::CaptureFailed) => self.zone.capture_failed(),
                // A full channel drops the answer; whoever asked does without.
                Ok(TickOrder::Roster) => _ = self.out.try_send(TickMessage::Roster(self.zone.accounts())),
                Ok(TickOrder::Seal(cut)) => (self.cut, self.sealing) = (Some(cut), true),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Whether lease and store allow a tick now. A checkpoint that is wanted is worth one more tick than the store would allow: it may be
    /// what the store is waiting for.
    fn may_tick(&self) -> bool {
        let behind = self
            .zone
            .tick()
            .saturating_sub(self.gauges.acknowledged_tick.load(Ordering::Acquire));
        let holds = behind >= UNACKNOWLEDGED_TICKS_MAX && self.cut.is_none();
        self.guard.may_act() && !holds && self.out.capacity() > 0
    }

    /// One tick. `false`: it was the last.
    fn tick(&mut self) -> bool {
        let standing = self.pace.standing();
        self.replicator.set_detail(standing.rung.detail());
        let mut times = TickTimes::begin(self.pace.lateness());
        self.gauges.stepping.store(self.zone.tick() + 1, Ordering::Release);
        self.inbox.drain(self.entries.try_iter(), &mut self.inputs);
        times.end(Phase::Drain);
        let record = self.freeze();
        times.end(Phase::Freeze);
        let told = self.zone.step(&self.inputs);
        self.inputs.clear();
        self.note_attaches(&told);
        #[cfg(feature = "testing")]
        crate::failpoint::burn_tick(self.scene.sessions.len());
        times.end(Phase::Step);
        self.zone.scene(&mut self.scene);
        times.end(Phase::Scene);
        let speed = standing.dilation();
        let shown = self.replicator.snapshots(&self.scene, self.epoch, told.tick, speed);
        times.end(Phase::Snapshots);
        let frozen = self.cut.take().map(|cut| self.zone.freeze(cut));
        if frozen.is_some() {
            times.end(Phase::Capture);
        }
        self.guard.note_tick();
        self.gauges.tick.store(told.tick, Ordering::Release);
        self.gauges.stepping.store(0, Ordering::Release);
        self.gauges.attached.store(
            u32::try_from(self.scene.sessions.len()).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        let lying = self.out.max_capacity() - self.out.capacity();
        self.pace.handle_tick(times.late, times.work, lying);
        let out = TickOut {
            record,
            told,
            shown,
            frozen,
            times,
            standing: self.pace.standing(),
        };
        // `may_tick` saw room, and this thread is the only sender.
        self.out.try_send(TickMessage::Ticked(Box::new(out))).is_ok() && !self.sealing
    }

    /// Freezes the tick's record before anything is stepped: what happens is decided by it alone.
    fn freeze(&mut self) -> StoredRecord {
        let tick = self.zone.tick() + 1;
        let digest_due = tick.is_multiple_of(DIGEST_EVERY_TICKS);
        let record = Record {
            epoch: self.epoch,
            tick,
            prev_hash: self.prev_hash,
            digest_before: digest_due.then(|| self.zone.digest()),
            inputs: std::mem::take(&mut self.inputs),
        };
        let stored = record.encode();
        self.prev_hash = stored.hash;
        self.inputs = record.inputs;
        stored
    }

    /// The inbox must know whose frames count, and from which one on, before the next tick drains it.
    fn note_attaches(&mut self, told: &Outputs) {
        for (token, reply) in &told.replies {
            match reply {
                Reply::Attached {
                    session,
                    last_input_seq,
                    ..
                } => {
                    self.inbox.note_attached(*session, *token, *last_input_seq);
                }
                Reply::Superseded(session) => self.inbox.note_detached(*session, *token),
                // The inbox has seen the log-out itself.
                Reply::Refused(_) | Reply::LoggedOut(_) => {}
            }
        }
    }
}

/// An epoch begins with its `EpochStart`. Then the zone is told what to refuse, before anybody can send it again.
fn first_inputs(start: Input, quarantine: &[(SessionId, u64)]) -> Vec<Input> {
    let refusals = quarantine
        .iter()
        .map(|&(session, seq)| Input::Quarantine { session, seq });
    std::iter::once(start).chain(refusals).collect()
}

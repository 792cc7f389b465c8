//! The tick thread: waits for a tick to be due, gives the zone's [`TickLoop`] what came in, and hands on what it gives.
//! It waits for nothing else, and decides nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TryRecvError};
use everhold_core::durability::store::Position;
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::limits::{INBOX_ENTRIES_MAX, UNACKNOWLEDGED_TICKS_MAX};
use everhold_core::load::{Ladder, LadderState};
use everhold_core::tick::{TickClock, TickConditions, TickLoop, TickOrder, TickOut, TickStage, TickTimes};
use everhold_core::zone::probe::panic_text;
use everhold_core::zone::{Frozen, Zone};
use everhold_protocol::{Account, Tick, ZoneName};
use tokio::sync::mpsc;

use super::{HostConfig, LeaseGuard, ZoneGauges};
use crate::process::ProcessGauge;

/// A tick, how long it took, and the place on the ladder at which it left the zone.
pub(super) struct Ticked {
    pub(super) out: TickOut,
    pub(super) times: TickTimes,
    pub(super) ladder_state: LadderState,
}

/// A message of the tick thread to the durable task.
pub(super) enum TickMessage {
    Ticked(Box<Ticked>),
    /// The answer to [`TickOrder::Roster`].
    Roster(Vec<Account>),
    /// The last message: why the thread is over.
    Panicked(Tick, String),
    /// The last message: the thread is over, and this is the zone after its last tick.
    Surrendered(Box<Surrendered>),
}

/// A zone whose thread is over, with the orders that it did not take.
pub(super) struct Surrendered {
    ticks: TickLoop,
    orders: Receiver<TickOrder>,
}

impl Surrendered {
    /// Passes all orders on. Returns the rosters that were asked for, and the cut, if one was ordered.
    pub(super) fn take_orders(&mut self) -> (Vec<Vec<Account>>, Option<Frozen>) {
        let orders = self.orders.try_iter();
        let rosters = orders.filter_map(|order| self.ticks.handle_order(order)).collect();
        (rosters, self.ticks.poll_cut())
    }

    /// Returns the end of the zone's history.
    pub(super) fn last(&self) -> Position {
        self.ticks.last()
    }

    /// Gives the zone back.
    pub(super) fn into_zone(self) -> Zone {
        self.ticks.into_zone()
    }
}

/// The far ends of the tick thread's channels.
pub(super) struct TickHandle {
    pub(super) entries: Sender<InboxEntry>,
    /// Unbounded, because the durable task has one capture in flight, and orders nothing else often.
    pub(super) orders: Sender<TickOrder>,
    pub(super) ticked: mpsc::Receiver<TickMessage>,
}

pub(super) struct TickThread {
    zone: ZoneName,
    ticks: TickLoop,
    clock: TickClock,
    guard: Arc<LeaseGuard>,
    gauges: Arc<ZoneGauges>,
    process: Arc<ProcessGauge>,
    entries: Receiver<InboxEntry>,
    orders: Receiver<TickOrder>,
    out: mpsc::Sender<TickMessage>,
}

impl TickThread {
    /// Starts the thread of a zone, whose first tick is due at once. It runs until the zone ends.
    ///
    /// # Errors
    /// The operating system starts no thread. The zone comes back with its error.
    pub(super) fn start(
        config: &HostConfig,
        ticks: TickLoop,
        guard: Arc<LeaseGuard>,
        gauges: Arc<ZoneGauges>,
        process: Arc<ProcessGauge>,
    ) -> Result<TickHandle, (std::io::Error, Box<Zone>)> {
        let (entries, inbox) = crossbeam::channel::bounded(INBOX_ENTRIES_MAX);
        let (orders, ordered) = crossbeam::channel::unbounded();
        let (out, ticked) = mpsc::channel(UNACKNOWLEDGED_TICKS_MAX as usize * 2);
        let ladder = config.ladder.then(|| Ladder::new(config.tick_hz));
        let thread = Self {
            zone: config.tenure.zone.clone(),
            ticks,
            clock: TickClock::new(config.tick_hz, ladder, Instant::now()),
            guard,
            gauges,
            process,
            entries: inbox,
            orders: ordered,
            out,
        };
        // A thread that does not start drops its closure, and the zone is to outlive that.
        let place = Arc::new(Mutex::new(Some(thread)));
        let taken = Arc::clone(&place);
        let spawned = std::thread::Builder::new()
            .name(format!("zone-{}", config.tenure.zone))
            .spawn(move || take(&taken).run());
        match spawned {
            Ok(_) => Ok(TickHandle {
                entries,
                orders,
                ticked,
            }),
            Err(error) => Err((error, Box::new(take(&place).ticks.into_zone()))),
        }
    }

    /// Runs until the zone ends. A panic in a rule throws the World away with the thread; nothing of that tick is told.
    fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_ticks()));
        let last = match outcome {
            Ok(()) => TickMessage::Surrendered(Box::new(Surrendered {
                ticks: self.ticks,
                orders: self.orders,
            })),
            Err(panic) => {
                let (tick, text) = (self.ticks.tick(), panic_text(panic.as_ref()));
                tracing::error!(
                    tick = tick.0,
                    panic = text,
                    "a rule failed; this zone's world is thrown away"
                );
                TickMessage::Panicked(tick, text)
            }
        };
        self.gauges.ended.store(true, Ordering::Release);
        // The durable task reads this, or has ended before.
        let _ended_before = self.out.blocking_send(last);
    }

    fn run_ticks(&mut self) {
        loop {
            std::thread::sleep(self.clock.poll_wait(Instant::now()));
            if self.gauges.ended.load(Ordering::Acquire) || !self.take_orders() {
                return;
            }
            let conditions = TickConditions {
                may_act: self.guard.may_act(),
                acknowledged: Tick(self.gauges.acknowledged_tick.load(Ordering::Acquire)),
                room: self.out.capacity(),
            };
            if !self.ticks.may_tick(&conditions) {
                self.clock.handle_hold(Instant::now());
                continue;
            }
            let ticked = self.tick(conditions.acknowledged);
            // There was room, and this thread is the only sender.
            if self.out.try_send(TickMessage::Ticked(Box::new(ticked))).is_err() || self.ticks.is_sealed() {
                return;
            }
        }
    }

    /// Passes all orders on. `false`: the durable task is gone.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    if let Some(roster) = self.ticks.handle_order(order) {
                        // A full channel drops the answer; the durable task does without.
                        let _full = self.out.try_send(TickMessage::Roster(roster));
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn tick(&mut self, acknowledged: Tick) -> Ticked {
        let began = Instant::now();
        let mut times = TickTimes::begin(self.clock.lateness(began), began);
        self.gauges
            .stepping
            .store(self.ticks.tick().next().0, Ordering::Release);
        #[cfg(feature = "testing")]
        let attached = self.ticks.attached();
        let out = self.ticks.step(
            self.entries.try_iter(),
            acknowledged,
            self.clock.ladder_state(),
            |stage: TickStage| {
                #[cfg(feature = "testing")]
                if stage == TickStage::Step {
                    crate::failpoint::burn_tick(attached);
                }
                times.end(stage, Instant::now());
            },
        );
        self.guard.note_tick();
        self.gauges.tick.store(out.outputs.tick.0, Ordering::Release);
        self.gauges.stepping.store(0, Ordering::Release);
        let attached = u32::try_from(self.ticks.attached()).unwrap_or(u32::MAX);
        self.gauges.attached.store(attached, Ordering::Relaxed);
        let lying = self.out.max_capacity() - self.out.capacity();
        let measures = self.gauges.load.measures(&times, lying, &self.process);
        let change = self.clock.handle_tick(&measures, Instant::now());
        let ladder_state = self.clock.ladder_state();
        if let Some(change) = change {
            self.gauges.load.note_change(&self.zone, change, ladder_state);
        }
        Ticked {
            out,
            times,
            ladder_state,
        }
    }
}

/// Takes the thread out of its place: either the thread itself does, or, if it did not start, its starter.
fn take(place: &Mutex<Option<TickThread>>) -> TickThread {
    let thread = place.lock().expect("no holder of the place panics").take();
    thread.expect("it is taken once")
}

//! The durable task of a hosted zone: carries out what the zone's [`Pipeline`] asks for, and tells it what became of
//! it. It decides nothing.

mod archive;
mod commands;
mod operations;

use std::sync::Arc;
use std::time::Instant;

use everhold_core::durability::archivist::ArchivistConfig;
use everhold_core::durability::history::HistoryWorld;
use everhold_core::durability::journal::Journal;
use everhold_core::durability::keeping::Keeping;
use everhold_core::durability::pending_moves::PendingMoves;
use everhold_core::durability::store::CheckpointHead;
use everhold_core::durability::{Pipeline, PipelineConfig, PipelineTick};
use everhold_core::ownership::EndReason;
use everhold_core::replication::Datagrams;
use everhold_core::tick::{TickOrder, TickStage};
use everhold_core::zone::Outputs;
use tokio::sync::mpsc;

use self::operations::{OperationOutcome, Operations};
use super::egress::Connections;
use super::run::RunFigures;
use super::tick::{Surrendered, TickMessage, Ticked};
use super::{HostConfig, HostOrder, HostServices, ZoneGauges, blame, evidence};

/// The mail of a tick thread, shared: a durable task that panics leaves it behind, with the zone.
pub(super) type TickThreadEnd = Arc<tokio::sync::Mutex<TickMail>>;

/// The messages of a tick thread, and the zone that it gave back.
pub(super) struct TickMail {
    pub(super) messages: mpsc::Receiver<TickMessage>,
    /// The zone after its last tick: from then on its orders are carried out by the durable task.
    pub(super) surrendered: Option<Box<Surrendered>>,
}

impl TickMail {
    /// Returns the mail of a thread that has said nothing yet.
    pub(super) const fn new(messages: mpsc::Receiver<TickMessage>) -> Self {
        let surrendered = None;
        Self { messages, surrendered }
    }
}

pub(super) struct DurableTask {
    config: HostConfig,
    services: HostServices,
    gauges: Arc<ZoneGauges>,
    pipeline: Pipeline<Datagrams, Outputs>,
    operations: Operations,
    connections: Connections,
    tick_orders: crossbeam::channel::Sender<TickOrder>,
    run: RunFigures,
}

impl DurableTask {
    pub(super) fn new(
        config: HostConfig,
        (journal, moves): (Journal, PendingMoves),
        chain: &[CheckpointHead],
        services: HostServices,
        gauges: Arc<ZoneGauges>,
        connections: Connections,
        tick_orders: crossbeam::channel::Sender<TickOrder>,
    ) -> Self {
        let plan = PipelineConfig::new(config.durability, config.checkpoint_ticks, config.tick_hz);
        let mut pipeline = Pipeline::new(plan, journal, chain);
        if let Some(service) = &services.archive {
            let archivist = ArchivistConfig {
                zone: config.tenure.zone.clone(),
                interval_ticks: service.interval_ticks,
                tick_hz: config.tick_hz,
            };
            pipeline = pipeline.with_archive(archivist, moves);
        }
        Self {
            pipeline,
            operations: Operations::new(&services, config.tenure.clone()),
            config,
            services,
            gauges,
            connections,
            tick_orders,
            run: RunFigures::new(),
        }
    }

    /// Runs until the zone is over here. Should this panic, `thread` is left to the caller.
    pub(super) async fn run(mut self, thread: TickThreadEnd, mut ordered: mpsc::UnboundedReceiver<HostOrder>) {
        let mut mail = thread.lock().await;
        let mut pulse = tokio::time::interval(PipelineConfig::TURN_EVERY);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = true;
        let reason = loop {
            tokio::select! {
                message = mail.messages.recv(), if ticks => {
                    ticks = message.is_some();
                    self.handle_tick_message(message, &mut mail.surrendered);
                }
                Some(order) = ordered.recv() => self.handle_order(order),
                answer = self.operations.answered() => self.handle_answer(answer),
                _ = pulse.tick() => self.pipeline.handle_home_doubts(self.services.homes.doubts()),
            }
            // `attach` sends its order before its input: with all orders taken before anything is told, a reply finds
            // its connection.
            self.take_orders(&mut ordered);
            self.serve_surrendered(&mut mail.surrendered);
            #[cfg(feature = "testing")]
            if self.gauges.attached.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                crate::failpoint::fail_once(crate::failpoint::Part::Durable);
            }
            if let Some(reason) = self.carry_out_commands() {
                break reason;
            }
            self.report();
        };
        // Connections whose order is still queued must be closed with the others.
        ordered.close();
        self.take_orders(&mut ordered);
        let store = Arc::clone(&self.services.store);
        let (tenure, guard) = (&self.config.tenure, &self.services.guard);
        let reason = blame::blamed(store.as_ref(), tenure, guard, &self.gauges.probe, reason).await;
        if matches!(reason, EndReason::Fork) {
            let world = HistoryWorld {
                rules_id: Some(self.config.rules.id),
                tick_hz: Some(self.config.tick_hz),
                ..HistoryWorld::default()
            };
            let keeping = Keeping::forked(tenure, world, self.pipeline.journal(), self.config.evidence_max);
            evidence::keep_all(store.as_ref(), tenure, guard, keeping).await;
        }
        self.end(reason, &mut mail).await;
    }

    fn handle_tick_message(&mut self, message: Option<TickMessage>, surrendered: &mut Option<Box<Surrendered>>) {
        match message {
            Some(TickMessage::Ticked(ticked)) => self.handle_tick(*ticked),
            Some(TickMessage::Roster(accounts)) => self.pipeline.handle_roster(accounts),
            // Said before the end of the channel, which decides.
            Some(TickMessage::Surrendered(zone)) => *surrendered = Some(zone),
            Some(TickMessage::Panicked(tick, text)) => self.pipeline.handle_panicked(tick, text),
            None => self.pipeline.handle_ticks_over(),
        }
    }

    /// Carries out the orders to a zone whose thread is over: a store that loses it while it stops is written anew.
    fn serve_surrendered(&mut self, surrendered: &mut Option<Box<Surrendered>>) {
        let Some(surrendered) = surrendered else {
            return;
        };
        #[cfg(feature = "testing")]
        crate::failpoint::fail_once(crate::failpoint::Part::Sealed);
        let (rosters, frozen) = surrendered.take_orders();
        rosters
            .into_iter()
            .for_each(|accounts| self.pipeline.handle_roster(accounts));
        if let Some(frozen) = frozen {
            self.pipeline.handle_frozen(frozen);
        }
    }

    fn handle_tick(&mut self, ticked: Ticked) {
        let Ticked {
            out,
            times,
            ladder_state,
        } = ticked;
        let lay = times.ended_at().elapsed();
        self.gauges.load.note_handover(lay);
        self.run.note_tick(&times, ladder_state);
        self.run.note(TickStage::Handover, lay);
        self.pipeline.handle_tick(PipelineTick {
            record: out.record,
            snapshots: out.snapshots,
            confirmed: out.confirmed,
            outputs: out.outputs,
            moves: out.moves,
            frozen: out.frozen,
        });
    }

    fn take_orders(&mut self, ordered: &mut mpsc::UnboundedReceiver<HostOrder>) {
        while let Ok(order) = ordered.try_recv() {
            self.handle_order(order);
        }
    }

    fn handle_order(&mut self, order: HostOrder) {
        match order {
            HostOrder::Attach(token, pending) => self.connections.expect(token, *pending),
            HostOrder::Gone(token) => self.connections.forget(token),
            HostOrder::LogOut(token) => self.connections.log_out(token),
            HostOrder::Stop => self.pipeline.handle_stop(),
        }
    }

    fn handle_answer(&mut self, answer: OperationOutcome) {
        let now = Instant::now();
        match answer {
            OperationOutcome::Appended(answer, wait) => {
                self.run.note_append(wait);
                self.pipeline.handle_appended(now, answer);
            }
            OperationOutcome::Written(answer) => self.pipeline.handle_written(now, answer),
            OperationOutcome::Created(answer) => self.pipeline.handle_created(now, answer),
            OperationOutcome::Captured(Ok((capture, facts))) => self.pipeline.handle_captured(capture, facts),
            OperationOutcome::Captured(Err(error)) => self.pipeline.handle_capture_lost(now, error.to_string()),
            OperationOutcome::Archived(answer) => self.pipeline.handle_archived(now, answer),
            OperationOutcome::RestKept(account, answer) => self.pipeline.handle_rest_kept(now, account, answer),
            OperationOutcome::HomeSet(account, answer) => self.pipeline.handle_home_set(now, account, answer),
        }
    }
}

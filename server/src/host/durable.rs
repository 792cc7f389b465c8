//! The durable task of a hosted zone: appends its records, writes its checkpoints, and lets its output go when the gate says so.
//!
//! All decisions are made by pure machines ([`Journal`], [`Gate`], [`Checkpointer`], the lease); this task feeds them answers and does
//! what they ask, one store operation of each kind at a time.

mod writing;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use everhold_core::durability::checkpoint::{CheckpointConfig, Checkpointer};
use everhold_core::durability::gate::Gate;
use everhold_core::durability::journal::{Journal, JournalEvent, StopReason};
use everhold_core::durability::store::{AppendAnswer, CheckpointHead, Position, StoreError};
use everhold_core::limits::SHOWN_TICKS_MAX;
use everhold_core::outage::{Lasted, Outage};
use everhold_core::ownership::EndReason;
use everhold_core::ownership::lease::LeaseState;
use everhold_core::replication::Datagrams;
use everhold_core::report::{Phase, ShardEvent};
use everhold_core::zone::Outputs;
use tokio::sync::{mpsc, oneshot};

use self::writing::Write;
use super::adopt::answer;
use super::egress::Egress;
use super::encoding::Encoding;
use super::run::Run;
use super::tick::{TickMessage, TickOrder, TickOut, UNACKNOWLEDGED_TICKS_MAX};
use super::{Ended, HostConfig, HostOrder, HostServices, ZoneGauges, blame, homes, memory};

/// A store operation that takes longer counts as unanswered; the same is sent again.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The task looks after lease and gate at least this often, even if nothing happens.
const PULSE: Duration = Duration::from_millis(20);

type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

pub(super) struct DurableTask {
    config: HostConfig,
    services: HostServices,
    gauges: Arc<ZoneGauges>,
    journal: Journal,
    gate: Gate<Datagrams, Outputs>,
    checkpointer: Checkpointer,
    egress: Egress,
    tick_orders: crossbeam::channel::Sender<TickOrder>,
    append: Option<StoreFuture<AppendAnswer>>,
    append_sent: Instant,
    append_after: Instant,
    appends_fail: Outage,
    encoding: Encoding,
    write: Option<(Write, StoreFuture<()>)>,
    write_after: Instant,
    writes_fail: Outage,
    /// The data set is lost, and is being made anew. No part or head is written meanwhile.
    create: Option<StoreFuture<()>>,
    creates_fail: Outage,
    stopping: Option<oneshot::Sender<()>>,
    sealed: bool,
    run: Run,
}

impl DurableTask {
    pub(super) fn new(
        config: HostConfig,
        journal: Journal,
        chain: &[CheckpointHead],
        services: HostServices,
        gauges: Arc<ZoneGauges>,
        egress: Egress,
        tick_orders: crossbeam::channel::Sender<TickOrder>,
    ) -> Self {
        let epoch = config.grant.epoch.number();
        let (delta_ticks, base_ticks) = config.checkpoint_ticks;
        let plan = CheckpointConfig {
            delta_ticks,
            base_ticks,
            ..CheckpointConfig::new(config.tick_hz)
        };
        let now = Instant::now();
        let (acknowledged, tick) = (journal.acknowledged().tick, journal.last().tick);
        Self {
            journal,
            gate: Gate::new(config.durability, epoch, acknowledged, tick),
            checkpointer: Checkpointer::new(plan, chain, tick),
            config,
            services,
            gauges,
            egress,
            tick_orders,
            append: None,
            append_sent: now,
            append_after: now,
            appends_fail: Outage::default(),
            encoding: Encoding::default(),
            write: None,
            write_after: now,
            writes_fail: Outage::default(),
            create: None,
            creates_fail: Outage::default(),
            stopping: None,
            sealed: false,
            run: Run::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut ticked: mpsc::Receiver<TickMessage>,
        mut ordered: mpsc::UnboundedReceiver<HostOrder>,
    ) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let reason = loop {
            let step = tokio::select! {
                message = ticked.recv(), if !self.sealed => self.handle_tick_message(message),
                Some(order) = ordered.recv() => {
                    self.handle_order(order);
                    Ok(())
                }
                answer = poll(self.append.as_mut()) => self.handle_append(answer),
                capture = self.encoding.finished() => capture.map(|(at, capture)| self.checkpointer.handle_captured(at, capture)),
                answer = poll(self.write.as_mut().map(|(_, future)| future)) => self.handle_write(answer),
                answer = poll(self.create.as_mut()) => self.handle_created(answer),
                _ = pulse.tick() => Ok(()),
            };
            // An attach's order is sent before its input: taking all orders before anything is told, its reply finds its connection.
            self.take_orders(&mut ordered);
            if let Err(reason) = step.and_then(|()| self.advance()) {
                break reason;
            }
        };
        // Connections whose order is still queued must be closed with the others.
        ordered.close();
        self.take_orders(&mut ordered);
        let whose = self.store();
        let (guard, probe) = (Arc::clone(&self.services.guard), Arc::clone(&self.gauges.probe));
        let reason = blame::blamed(whose, &guard, &probe, reason).await;
        self.end(reason, ticked).await;
    }

    fn handle_tick_message(&mut self, message: Option<TickMessage>) -> Result<(), EndReason> {
        match message {
            Some(TickMessage::Ticked(out)) => self.handle_tick(*out),
            Some(TickMessage::Roster(accounts)) => {
                let (store, zone, _) = self.store();
                tokio::spawn(homes::restore(store, zone, accounts));
                Ok(())
            }
            // Said before the end of the channel, which decides.
            Some(TickMessage::Surrendered(_)) => Ok(()),
            Some(TickMessage::Panicked(tick, text)) => Err(EndReason::Panicked(tick, text)),
            None if self.stopping.is_some() => {
                self.sealed = true;
                Ok(())
            }
            None => Err(EndReason::Panicked(
                self.journal.last().tick + 1,
                "the tick thread is gone".to_owned(),
            )),
        }
    }

    fn handle_tick(&mut self, out: TickOut) -> Result<(), EndReason> {
        let lay = out.times.ended_at().elapsed();
        self.gauges.load.note_handover(lay);
        self.run.note_tick(&out.times, out.standing);
        self.run.note(Phase::Handover, lay);
        let tick = out.told.tick;
        let position = Position {
            epoch: self.config.grant.epoch.number(),
            tick,
            hash: out.record.hash,
        };
        if self.journal.push(out.record).is_err() {
            // The zone holds long before: only a store that goes on asking for what the ring has and never takes it gets here.
            return Err(EndReason::RingFull);
        }
        self.gate.hold(tick, out.shown, out.told);
        self.checkpointer.handle_tick(tick);
        if let Some(frozen) = out.frozen {
            self.encoding.start(position, frozen);
        }
        Ok(())
    }

    fn take_orders(&mut self, ordered: &mut mpsc::UnboundedReceiver<HostOrder>) {
        while let Ok(order) = ordered.try_recv() {
            self.handle_order(order);
        }
    }

    fn handle_order(&mut self, order: HostOrder) {
        match order {
            HostOrder::Attach(token, pending) => self.egress.expect(token, *pending),
            HostOrder::Gone(token) => self.egress.forget(token),
            HostOrder::LogOut(token) => self.egress.log_out(token),
            HostOrder::Stop(done) => {
                self.stopping = Some(done);
                self.checkpointer.handle_wanted();
            }
        }
    }

    fn handle_append(&mut self, answer: Result<AppendAnswer, StoreError>) -> Result<(), EndReason> {
        self.append = None;
        self.run.note_append(self.append_sent.elapsed());
        match &answer {
            Ok(_) => {
                if let Some(Lasted { ms, failures }) = self.appends_fail.end(Instant::now()) {
                    tracing::info!(zone = %self.config.zone, ms, failures, "appends are confirmed again");
                }
            }
            Err(error) => {
                if let Some(Lasted { ms, failures }) = self.appends_fail.note(Instant::now()) {
                    tracing::warn!(zone = %self.config.zone, %error, ms, failures, "an append was not confirmed");
                }
            }
        }
        match self.journal.handle_answer(answer.as_ref().copied()) {
            JournalEvent::Acknowledged { position } => self.acknowledge(position),
            JournalEvent::Retry { after_ms } => self.append_after = Instant::now() + Duration::from_millis(after_ms),
            JournalEvent::Resend { from } => {
                tracing::warn!(zone = %self.config.zone, from, "the store has a gap; its records are sent again");
            }
            JournalEvent::Reseed => {
                tracing::warn!(zone = %self.config.zone, "the store's gap is older than memory; a base will bridge it");
                self.checkpointer.handle_reseed_wanted();
            }
            JournalEvent::Create => self.start_create(),
            JournalEvent::Stop(reason) => return Err(end_reason(reason)),
        }
        Ok(())
    }

    fn acknowledge(&mut self, position: Position) {
        #[cfg(feature = "testing")]
        crate::failpoint::reach(crate::failpoint::Failpoint::EpochStarted, &self.config.zone);
        self.gate.handle_acknowledged(position.tick);
        self.gauges.acknowledged_tick.store(position.tick, Ordering::Release);
    }

    /// Starts whatever may be started, and releases whatever may leave.
    fn advance(&mut self) -> Result<(), EndReason> {
        match self.services.guard.over() {
            Some(LeaseState::Lost) => return Err(EndReason::Fenced),
            Some(_) => return Err(EndReason::Suspended),
            None => {}
        }
        let behind = self.journal.unacknowledged() >= UNACKNOWLEDGED_TICKS_MAX;
        if behind {
            // The zone holds because of the store, and this task lives: the lease is worth renewing.
            self.services.guard.note_tick();
        }
        if behind || self.stopping.is_some() {
            // A zone that stands still may have a checkpoint to write all the same.
            self.checkpointer.handle_tick(self.journal.last().tick);
        }
        if self.services.guard.may_act() {
            self.start_append();
            self.start_checkpoint_step();
        }
        self.release();
        if self.run.is_due() {
            if self.services.guard.may_speak() {
                self.egress.tell_peers((self.services.peers)());
            }
            self.tell_run();
        }
        if self.stopping.is_some() && self.sealed && self.journal.unacknowledged() == 0 && self.checkpointer.is_idle() {
            return Err(EndReason::Stopped);
        }
        Ok(())
    }

    fn start_append(&mut self) {
        if self.append.is_some() || Instant::now() < self.append_after {
            return;
        }
        let Some(records) = self.journal.poll_append() else {
            return;
        };
        let (store, zone, grant) = (
            Arc::clone(&self.services.store),
            self.config.zone.clone(),
            self.config.grant,
        );
        self.append_sent = Instant::now();
        self.append = Some(Box::pin(async move {
            answer(STORE_TIMEOUT, store.append(&zone, grant, &records)).await
        }));
    }

    /// The gate's check stands immediately before the sending: after a pause of the process at most what was being sent leaves.
    fn release(&mut self) {
        if !self.services.guard.may_speak() {
            self.gate.close();
            return;
        }
        self.gate.open();
        let began = Instant::now();
        while self.services.guard.may_speak()
            && let Some(told) = self.gate.poll_told()
        {
            self.egress.tell(told, self.services.peers.as_ref());
        }
        // What one acknowledgement releases at once is shown in order. After a long wait for it only the end is: each datagram tells what
        // changed in its tick, and a burst would cost more than the refreshes that repair what is left out.
        let mut shown: VecDeque<_> = std::iter::from_fn(|| self.gate.poll_shown()).collect();
        shown.drain(..shown.len().saturating_sub(SHOWN_TICKS_MAX));
        let any = !shown.is_empty();
        for shown in shown {
            if self.services.guard.may_speak() {
                self.egress.show(shown);
            }
        }
        if any {
            let took = began.elapsed();
            self.gauges.load.note_egress(took);
            self.run.note(Phase::Egress, took);
        }
    }

    fn tell_run(&mut self) {
        let run = self.run.tell(&self.config, &self.gauges, self.gate.released_tick());
        self.services.reporter.tell(ShardEvent::Stats(run));
    }

    /// The last words: players are sent elsewhere, at once and without a word about the world. Nothing that is still held is told.
    async fn end(mut self, reason: EndReason, ticked: mpsc::Receiver<TickMessage>) {
        self.gauges.ended.store(true, Ordering::Release);
        self.egress.end();
        self.tell_run();
        let (zone, grant) = (self.config.zone.clone(), self.config.grant);
        tracing::info!(%zone, epoch = grant.epoch.number(), %reason, "a zone is over here");
        self.services.reporter.tell(ShardEvent::Ended {
            zone: zone.clone(),
            epoch: grant.epoch.number(),
            reason: reason.to_string(),
            released_tick: self.gate.released_tick(),
        });
        if let Some(done) = self.stopping.take() {
            let _nobody_waits = done.send(());
        }
        let ended = self.services.ended.clone();
        let memory = if reason == EndReason::Suspended {
            memory::surrendered(self.journal, ticked).await
        } else {
            None
        };
        let _process_ends = ended.send(Ended {
            zone,
            grant,
            reason,
            memory,
        });
    }

    fn order(&self, order: TickOrder) {
        // A tick thread that is gone has said why, or was sealed.
        let _ended_before = self.tick_orders.send(order);
    }

    fn store(
        &self,
    ) -> (
        Arc<dyn everhold_core::durability::store::StateStore>,
        everhold_protocol::ZoneName,
        everhold_core::ownership::Grant,
    ) {
        (
            Arc::clone(&self.services.store),
            self.config.zone.clone(),
            self.config.grant,
        )
    }
}

const fn end_reason(reason: StopReason) -> EndReason {
    match reason {
        StopReason::Fenced => EndReason::Fenced,
        StopReason::Fork => EndReason::Fork,
        StopReason::Corrupt => EndReason::Corrupt,
    }
}

/// Resolves when the future does; never, if there is none.
async fn poll<T>(future: Option<&mut StoreFuture<T>>) -> Result<T, StoreError> {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

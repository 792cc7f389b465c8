//! The durable task's side of its pipeline: it carries the commands out, and says the last words. Which command is due
//! when, the pipeline decides.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use everhold_core::durability::PipelineCommand;
use everhold_core::durability::store::Seal;
use everhold_core::ownership::EndReason;
use everhold_core::replication::Datagrams;
use everhold_core::report::ShardEvent;
use everhold_core::tick::{TickOrder, TickStage};
use everhold_core::zone::Outputs;

use super::super::{Ended, memory, notices};
use super::{DurableTask, TickMail};

/// The sending of one turn, for the load gauges: only a turn that shows something counts.
#[derive(Default)]
struct Sending {
    began: Option<Instant>,
    shows: bool,
}

impl DurableTask {
    /// Does what the pipeline asks for, until it asks for nothing more. Returns why the zone is over, if it is.
    pub(super) fn carry_out_commands(&mut self) -> Option<EndReason> {
        self.pipeline.handle_turn();
        let mut sending = Sending::default();
        while let Some(command) = self.pipeline.poll_command(Instant::now(), self.services.guard.state()) {
            if let ControlFlow::Break(reason) = self.carry_out(command, &mut sending) {
                return Some(reason);
            }
        }
        if let Sending {
            began: Some(began),
            shows: true,
        } = sending
        {
            let took = began.elapsed();
            self.gauges.load.note_egress(took);
            self.run.note(TickStage::Egress, took);
        }
        None
    }

    fn carry_out(
        &mut self,
        command: PipelineCommand<Datagrams, Outputs>,
        sending: &mut Sending,
    ) -> ControlFlow<EndReason> {
        match command {
            PipelineCommand::Append(records) => self.operations.append(records),
            PipelineCommand::PutPart { position, index, bytes } => self.operations.put_part(position, index, bytes),
            PipelineCommand::MoveHead(head) => self.operations.move_head(head),
            PipelineCommand::WriteSeal(position) => {
                let rules = self.config.rules;
                self.operations.seal(Seal { position, rules });
            }
            PipelineCommand::DropParts(position, parts) => self.operations.drop_parts(position, parts),
            PipelineCommand::Create => self.operations.create(),
            PipelineCommand::Encode(frozen) => self.operations.encode(frozen),
            PipelineCommand::Cut(cut) => self.order(TickOrder::Cut(cut)),
            PipelineCommand::Seal(cut) => self.order(TickOrder::Seal(cut)),
            PipelineCommand::CaptureConfirmed => self.order(TickOrder::CaptureConfirmed),
            PipelineCommand::CaptureFailed => self.order(TickOrder::CaptureFailed),
            PipelineCommand::Roster => self.order(TickOrder::Roster),
            PipelineCommand::SetHome(account) => self.operations.set_home(account),
            PipelineCommand::KeepRest(rest) => self.operations.keep_rest(rest),
            PipelineCommand::Input(input) => self.connections.push(input),
            PipelineCommand::Acknowledged(tick) => {
                #[cfg(feature = "testing")]
                crate::failpoint::reach(crate::failpoint::Failpoint::EpochStarted, &self.config.tenure.zone);
                self.gauges.acknowledged_tick.store(tick.0, Ordering::Release);
            }
            PipelineCommand::NoteAlive => self.services.guard.note_tick(),
            PipelineCommand::Tell(told) => {
                sending.began.get_or_insert_with(Instant::now);
                self.connections.tell(told, self.services.peers.as_ref());
            }
            PipelineCommand::Show(shown) => {
                sending.began.get_or_insert_with(Instant::now);
                sending.shows = true;
                self.connections.show(shown);
            }
            PipelineCommand::LagChanged(state, ticks) => {
                let tenure = &self.config.tenure;
                notices::log_lag(&tenure.zone, state, ticks);
                self.services.reporter.tell(ShardEvent::CheckpointLag {
                    zone: tenure.zone.clone(),
                    epoch: tenure.epoch(),
                    state,
                    lag_ticks: ticks,
                });
            }
            PipelineCommand::Archive(command) => self.operations.archive(command),
            PipelineCommand::LogArchive(notice) => {
                if let Some(alarm) = notices::archive_alarm(&self.config.tenure, &notice) {
                    self.services.reporter.tell(alarm);
                }
                notices::log_archive(&self.config.tenure.zone, &notice);
            }
            PipelineCommand::Log(notice) => {
                if let Some(alarm) = notices::alarm(&self.config.tenure, &notice) {
                    self.services.reporter.tell(alarm);
                }
                notices::log_pipeline(&self.config.tenure.zone, notice);
            }
            PipelineCommand::End(reason) => return ControlFlow::Break(reason),
        }
        ControlFlow::Continue(())
    }

    fn order(&self, order: TickOrder) {
        // A tick thread that is gone has said why, or was sealed.
        let _ended_before = self.tick_orders.send(order);
    }

    pub(super) fn report(&mut self) {
        if self.run.is_due() {
            if self.services.guard.may_speak() {
                self.connections.tell_peers((self.services.peers)());
            }
            self.report_run();
        }
    }

    fn report_run(&mut self) {
        let mut run = self.run.tell(&self.config, &self.gauges, self.pipeline.released_tick());
        run.checkpoint_lag_ticks = self.pipeline.checkpoint_lag();
        run.characters = self.connections.characters();
        run.archive_lag_ticks = self.pipeline.archive_lag();
        self.services.reporter.tell(ShardEvent::Stats(Box::new(run)));
    }

    /// The last words: players are sent elsewhere, at once and without a word about the world. Nothing that is still
    /// held is told.
    pub(super) async fn end(mut self, reason: EndReason, mail: &mut TickMail) {
        self.gauges.ended.store(true, Ordering::Release);
        self.connections.end();
        self.report_run();
        let tenure = self.config.tenure.clone();
        let (zone, epoch) = (tenure.zone.clone(), tenure.epoch());
        tracing::info!(%zone, %epoch, %reason, "a zone is over here");
        self.services.reporter.tell(ShardEvent::Ended {
            zone,
            epoch,
            reason: reason.to_string(),
            released_tick: self.pipeline.released_tick(),
        });
        let memory = match self.pipeline.into_surrender(&reason) {
            Some(surrender) => memory::surrendered(surrender, mail, &tenure.zone).await,
            None => None,
        };
        let _process_ends = self.services.ended.send(Ended { tenure, reason, memory });
    }
}

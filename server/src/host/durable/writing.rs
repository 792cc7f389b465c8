//! What the durable task writes besides records: checkpoints, part by part and then the head, and a data set that the store has lost.

use std::time::{Duration, Instant};

use everhold_core::durability::checkpoint::{CheckpointCommand, CheckpointEvent};
use everhold_core::durability::journal::JournalEvent;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Origin, StoreError};
use everhold_core::outage::Lasted;
use everhold_core::ownership::EndReason;

use super::super::adopt::answer;
use super::super::tick::TickOrder;
use super::{DurableTask, STORE_TIMEOUT, end_reason};

/// A lost data set is asked to be made anew this often.
const CREATE_RETRY: Duration = Duration::from_millis(100);

/// What of a checkpoint is being written.
#[derive(Clone, Copy)]
pub(super) enum Write {
    Part,
    Head,
}

impl DurableTask {
    /// The store came back without this zone: it is written anew from memory, whole.
    pub(super) fn start_create(&mut self) {
        if self.create.is_some() {
            return;
        }
        tracing::error!(zone = %self.config.zone, "the store has lost this zone's data; it is written anew from memory");
        let (store, zone, grant) = self.store();
        let create = async move { answer(STORE_TIMEOUT, store.create(&zone, grant, Origin::Memory)).await };
        self.create = Some(Box::pin(create));
    }

    pub(super) fn handle_created(&mut self, outcome: Result<(), StoreError>) -> Result<(), EndReason> {
        self.create = None;
        match outcome {
            Ok(()) => {
                if let Some(Lasted { ms, failures }) = self.creates_fail.end(Instant::now()) {
                    tracing::info!(zone = %self.config.zone, ms, failures, "the zone's data set is made anew");
                }
                // The event asks for what is done here in any case: a base, and soon.
                let _reseed = self.journal.handle_created();
                self.checkpointer.handle_reseed_wanted();
                self.order(TickOrder::Roster);
                Ok(())
            }
            Err(StoreError::Fenced { .. }) => Err(EndReason::Fenced),
            Err(error) => {
                if let Some(Lasted { ms, failures }) = self.creates_fail.note(Instant::now()) {
                    tracing::warn!(zone = %self.config.zone, %error, ms, failures, "the zone's data set is not made anew yet");
                }
                let (store, zone, grant) = self.store();
                self.create = Some(Box::pin(async move {
                    tokio::time::sleep(CREATE_RETRY).await;
                    answer(STORE_TIMEOUT, store.create(&zone, grant, Origin::Memory)).await
                }));
                Ok(())
            }
        }
    }

    pub(super) fn handle_write(&mut self, answer: Result<(), StoreError>) -> Result<(), EndReason> {
        let (write, _done) = self.write.take().expect("an answer belongs to a write in flight");
        match (write, answer) {
            (Write::Part, Ok(())) => self.checkpointer.handle_part_put(),
            (Write::Head, Ok(())) => {
                #[cfg(feature = "testing")]
                crate::failpoint::reach(crate::failpoint::Failpoint::HeadMoved, &self.config.zone);
                self.checkpointer.handle_head_moved();
                // Parts may go through where heads do not: only a whole one ends it.
                if let Some(Lasted { ms, failures }) = self.writes_fail.end(Instant::now()) {
                    tracing::info!(zone = %self.config.zone, ms, failures, "checkpoints are written again");
                }
            }
            (_, Err(error)) => {
                if let Some(Lasted { ms, failures }) = self.writes_fail.note(Instant::now()) {
                    tracing::warn!(zone = %self.config.zone, %error, ms, failures, "a checkpoint was not written");
                }
                match self.checkpointer.handle_failed(&error) {
                    CheckpointEvent::Later { after_ms } => {
                        self.write_after = Instant::now() + Duration::from_millis(after_ms);
                    }
                    CheckpointEvent::Lost => self.start_create(),
                    CheckpointEvent::Stop(reason) => return Err(end_reason(reason)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn start_checkpoint_step(&mut self) {
        self.checkpointer.handle_released(self.gate.released_tick());
        while self.write.is_none() && self.create.is_none() && Instant::now() >= self.write_after {
            let Some(command) = self.checkpointer.poll_command() else {
                return;
            };
            match command {
                CheckpointCommand::Cut(cut) if self.stopping.is_some() => self.order(TickOrder::Seal(cut)),
                CheckpointCommand::Cut(cut) => self.order(TickOrder::Cut(cut)),
                CheckpointCommand::CaptureConfirmed(head) => self.confirm_capture(head),
                CheckpointCommand::CaptureFailed => self.order(TickOrder::CaptureFailed),
                CheckpointCommand::PutPart { position, index, bytes } => {
                    let (store, zone, grant) = self.store();
                    let put = async move {
                        answer(STORE_TIMEOUT, store.put_part(&zone, grant, position, index, bytes)).await
                    };
                    self.write = Some((Write::Part, Box::pin(put)));
                }
                CheckpointCommand::MoveHead(head) => {
                    #[cfg(feature = "testing")]
                    crate::failpoint::reach(crate::failpoint::Failpoint::HeadUnmoved, &self.config.zone);
                    let (store, zone, grant) = self.store();
                    let moved = async move { answer(STORE_TIMEOUT, store.move_head(&zone, grant, head)).await };
                    self.write = Some((Write::Head, Box::pin(moved)));
                }
            }
        }
    }

    fn confirm_capture(&mut self, head: CheckpointHead) {
        self.order(TickOrder::CaptureConfirmed);
        if head.kind == CheckpointKind::Base {
            if self.journal.is_reseeding() && head.position.tick < self.journal.acknowledged().tick {
                // This base was under way before the gap was found, and does not reach over it.
                self.checkpointer.handle_reseed_wanted();
            } else if self.journal.is_reseeding()
                && let JournalEvent::Acknowledged { position } = self.journal.handle_reseeded(head.position)
            {
                self.acknowledge(position);
            }
            self.journal.forget(head.position.tick);
        }
    }
}

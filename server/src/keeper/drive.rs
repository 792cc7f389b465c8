//! The keeper's loop: what happened goes into the holder, and what the holder commands is carried out. It decides
//! nothing.

use std::sync::Arc;

use everhold_core::ownership::Guardian;
use everhold_core::ownership::holder::command::{GrantedLease, HolderCommand, Request};
use everhold_os::{clock, vital};
use tokio::sync::mpsc;

use super::handle::{Granted, KeeperEvent, KeeperOrder};
use super::{Keeper, log};
use crate::host::LeaseGuard;

impl Keeper {
    /// Runs until it has stopped, or the last handle is gone.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<KeeperOrder>) {
        if let Err(error) = self.guardian.start(Guardian::word_every(self.asker.ttl)) {
            tracing::error!(%error, "the guardian hears nothing");
        }
        let authority = Arc::clone(&self.asker.authority);
        loop {
            if self.holder.poll_timeout().is_some() {
                self.note_progress();
            }
            while let Some(command) = self.holder.poll_command(clock::boottime()) {
                match command {
                    HolderCommand::Stopped => return self.finish().await,
                    command => self.carry_out(command),
                }
            }
            // While answers are outstanding, orders wait.
            let next_turn = self.holder.poll_timeout();
            let wait = next_turn.map(|at| at.saturating_sub(clock::boottime()));
            tokio::select! {
                Some(answer) = self.answers.join_next() => {
                    let answer = answer.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    self.holder.handle_answer(clock::boottime(), answer);
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = authority.wait_for_release(), if wait.is_some() => self.holder.handle_release_hint(),
                order = next_order(&mut self.put_off, &mut orders), if wait.is_some() => match order {
                    Some(order) => self.handle_orders(order, &mut orders),
                    None => return,
                },
            }
        }
    }

    /// Takes an order, and those behind it up to one that waits for rest: thousands of zones end at once in a stop, and
    /// their leases are not to be released one by one.
    fn handle_orders(&mut self, order: KeeperOrder, orders: &mut mpsc::UnboundedReceiver<KeeperOrder>) {
        self.handle_order(order);
        while let Ok(order) = orders.try_recv() {
            if order.waits_for_rest() {
                self.put_off = Some(order);
                return;
            }
            self.handle_order(order);
        }
    }

    fn handle_order(&mut self, order: KeeperOrder) {
        match order {
            KeeperOrder::Hosted(zone) => {
                self.holder.handle_hosted(&zone.tenure);
                self.hosted.insert(zone.tenure.zone.clone(), zone);
            }
            KeeperOrder::Ended(tenure, reason, remains) => {
                self.hosted.retain(|_, hosted| hosted.tenure != tenure);
                self.holder.handle_ended(clock::boottime(), tenure, &reason, remains);
            }
            KeeperOrder::AdoptionFailed(tenure, failure, remains) => {
                self.holder
                    .handle_adoption_failed(clock::boottime(), tenure, failure, remains);
            }
            KeeperOrder::Close(done) => {
                self.holder.handle_close(clock::boottime());
                let _nobody_waits = done.send(());
            }
            KeeperOrder::Stop(done) => {
                self.holder.handle_stop(clock::boottime());
                self.stopped = Some(done);
            }
        }
    }

    fn carry_out(&mut self, command: HolderCommand) {
        match command {
            HolderCommand::Ask { request, within } => {
                let hosted = match &request {
                    Request::Blame(tenure, _) => self.hosted.get(&tenure.zone).cloned(),
                    _ => None,
                };
                for part in self.asker.parts(request) {
                    let asker = Arc::clone(&self.asker);
                    self.answers.spawn(asker.ask(part, within, hosted.clone()));
                }
            }
            HolderCommand::Adopt(granted) => {
                let GrantedLease {
                    tenure,
                    lease,
                    at,
                    steps,
                    reseed_grace,
                    promised,
                } = granted;
                let guard = Arc::new(LeaseGuard::new(lease));
                self.tell(KeeperEvent::Granted(Granted {
                    tenure,
                    guard,
                    at,
                    steps,
                    reseed_grace,
                    promised,
                }));
            }
            HolderCommand::ReportUnfit(unfit) => self.tell(KeeperEvent::Unfit(unfit)),
            HolderCommand::ReportVacancy(news) => self.tell(KeeperEvent::Vacancy(news)),
            HolderCommand::Drop(zone) => self.tell(KeeperEvent::Taken(zone)),
            HolderCommand::Show(views) => (self.show)(views),
            HolderCommand::TellGuardian(holdings) => self.guardian.tell(holdings),
            HolderCommand::Log(remark) => log::log(&remark),
            HolderCommand::EndProcess => vital::end_process(),
            HolderCommand::Stopped => unreachable!("it ends the loop"),
        }
    }

    fn note_progress(&mut self) {
        for hosted in self.hosted.values() {
            let progress = hosted.progress();
            #[cfg(feature = "testing")]
            if progress.players > 0 {
                crate::failpoint::fail(crate::failpoint::Part::Keeper);
            }
            self.holder.handle_progress(&hosted.tenure, progress);
        }
    }

    async fn finish(mut self) {
        self.guardian.finish().await;
        if let Some(stopped) = self.stopped {
            let _nobody_waits = stopped.send(());
        }
    }

    fn tell(&self, event: KeeperEvent) {
        let _stopping = self.events.send(event);
    }
}

/// Returns the order that was put off, or waits for the next.
async fn next_order(
    put_off: &mut Option<KeeperOrder>,
    orders: &mut mpsc::UnboundedReceiver<KeeperOrder>,
) -> Option<KeeperOrder> {
    match put_off.take() {
        Some(order) => Some(order),
        None => orders.recv().await,
    }
}

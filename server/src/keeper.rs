//! The keeper drives the [`Holder`] of this process's leases. It has its own thread and runtime, so that neither
//! sockets nor a busy store can starve a renewal. It decides nothing: what happened goes into the holder, and what the
//! holder commands is carried out.

mod ask;
mod config;
mod handle;
mod hosted;
mod log;

use std::collections::BTreeMap;
use std::sync::Arc;

use everhold_core::durability::store::ZoneStore;
use everhold_core::ownership::holder::command::{Answer, Command, Granted as Grants, Request, Views};
use everhold_core::ownership::{Guardian, Holder};
use everhold_os::clock;
use everhold_os::vital::{self, Vital};
use everhold_protocol::ZoneName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::ask::Asker;
pub use self::config::KeeperConfig;
use self::handle::Order;
pub use self::handle::{Granted, KeeperEvent, KeeperEvents, KeeperHandle};
use self::hosted::HostedZone;
use crate::guardian::GuardianLink;
use crate::host::LeaseGuard;
use crate::stores::Coordination;

/// Holds leases and contends for more.
pub struct Keeper {
    holder: Holder,
    asker: Arc<Asker>,
    answers: JoinSet<Answer>,
    hosted: BTreeMap<ZoneName, HostedZone>,
    guardian: GuardianLink,
    events: mpsc::UnboundedSender<KeeperEvent>,
    /// Hears what the authority shows, a few times a second.
    show: Box<dyn Fn(Views) + Send>,
    stopped: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// Starts the keeper's thread. `show` is called on it with what the authority shows, and must not wait.
    pub fn start(
        (coordination, store): (Coordination, Arc<dyn ZoneStore>),
        config: KeeperConfig,
        show: impl Fn(Views) + Send + 'static,
    ) -> std::io::Result<(KeeperHandle, KeeperEvents)> {
        let (handle, told, (orders, events)) = handle::channels();
        let KeeperConfig { holder, addr, guardian } = config;
        let asker = Asker {
            authority: coordination.authority,
            membership: coordination.membership,
            store,
            me: holder.me,
            addr,
            keys: holder.keys.clone(),
            ttl: holder.lease.ttl,
        };
        let keeper = Self {
            holder: Holder::new(holder),
            asker: Arc::new(asker),
            answers: JoinSet::new(),
            hosted: BTreeMap::new(),
            guardian,
            events,
            show: Box::new(show),
            stopped: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("lease-keeper".to_owned())
            .spawn(move || {
                let _vital = Vital::new("lease keeper");
                runtime.block_on(keeper.run(orders));
            })?;
        Ok((handle, told))
    }

    /// Runs until it has stopped, or the last handle is gone.
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
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
                    Command::Stopped => return self.finish().await,
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
                order = orders.recv(), if wait.is_some() => match order {
                    Some(order) => self.handle_order(order),
                    None => return,
                },
            }
        }
    }

    fn handle_order(&mut self, order: Order) {
        match order {
            Order::Hosted(zone) => {
                self.holder.handle_hosted(&zone.zone, zone.grant);
                self.hosted.insert(zone.zone.clone(), zone);
            }
            Order::Ended(zone, grant, reason, remains) => {
                self.hosted
                    .retain(|name, hosted| *name != zone || hosted.grant != grant);
                self.holder.handle_ended(&zone, grant, &reason, remains);
            }
            Order::AdoptionFailed(zone, grant, failure) => self.holder.handle_adoption_failed(&zone, grant, failure),
            Order::Close(done) => {
                self.holder.handle_close();
                let _nobody_waits = done.send(());
            }
            Order::Stop(done) => {
                self.holder.handle_stop(clock::boottime());
                self.stopped = Some(done);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Ask { request, within } => {
                let hosted = match &request {
                    Request::Blame(zone, ..) => self.hosted.get(zone).cloned(),
                    _ => None,
                };
                self.answers.spawn(Arc::clone(&self.asker).ask(request, within, hosted));
            }
            Command::Adopt(Grants { zone, grant, lease, at }) => {
                let guard = Arc::new(LeaseGuard::new(lease));
                self.tell(KeeperEvent::Granted(Granted { zone, grant, guard, at }));
            }
            Command::Drop(zone) => self.tell(KeeperEvent::Taken(zone)),
            Command::Show(views) => (self.show)(views),
            Command::TellGuardian(holdings) => self.guardian.tell(holdings),
            Command::Log(remark) => log::log(&remark),
            Command::EndProcess => vital::end_process(),
            Command::Stopped => unreachable!("it ends the loop"),
        }
    }

    fn note_progress(&mut self) {
        for (zone, hosted) in &self.hosted {
            let progress = hosted.progress();
            #[cfg(feature = "testing")]
            if progress.players > 0 {
                crate::failpoint::fail(crate::failpoint::Part::Keeper);
            }
            self.holder.handle_progress(zone, hosted.grant, progress);
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

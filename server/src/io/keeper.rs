//! The keeper holds this process's leases. It has its own thread and runtime, so that neither sockets nor a busy store can starve a
//! renewal; it renews a zone only if its tick advanced or it stands still on purpose, so that a wedged tick loses its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everhold_protocol::ZoneName;
use tokio::sync::{mpsc, oneshot};

use crate::durability::store::{StateStore, StoreError};
use crate::io::clock;
use crate::io::host::{LeaseGuard, ZoneGauges};
use crate::io::router::RouterEvent;
use crate::ownership::contender::{Contender, ContenderConfig};
use crate::ownership::lease::{Lease, LeaseCommand, LeaseConfig};
use crate::ownership::{Authority, AuthorityError, Grant, LeaseView, Nonce};

/// An adoption that takes longer is given up: its replay hangs, or its store does. Replay runs far faster than real time.
const ADOPTION_MAX: Duration = Duration::from_secs(120);

/// A zone was granted to this process and waits to be adopted.
pub struct Granted {
    /// The zone.
    pub zone: ZoneName,
    /// The right to act for it.
    pub grant: Grant,
    /// The lease, renewed from now on.
    pub guard: Arc<LeaseGuard>,
    /// When it was granted, on `CLOCK_BOOTTIME`.
    pub at: Duration,
}

/// What the shard asks of the keeper.
pub enum KeeperOrder {
    /// The zone is adopted and runs with these gauges.
    Hosted(ZoneName, Grant, Arc<ZoneGauges>),
    /// The zone is over here: renew it no more, and release it if that is how it ended.
    Ended(ZoneName, Grant, After),
    /// Claim nothing more: the process is stopping.
    Close(oneshot::Sender<()>),
    /// Release what was granted and never hosted, withdraw from the directory, and stop.
    Stop(oneshot::Sender<()>),
}

/// What becomes of the lease of a zone that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Anybody may claim it at once.
    Release,
    /// It runs out.
    Expire,
    /// It runs out, and this process does not claim it again: its world failed here.
    Shun,
}

/// What the keeper works with.
pub struct Keeper {
    authority: Arc<dyn Authority>,
    store: Arc<dyn StateStore>,
    me: Nonce,
    addr: SocketAddr,
    lease: LeaseConfig,
    contender: Contender,
    held: BTreeMap<ZoneName, Held>,
    shunned: BTreeSet<ZoneName>,
    announce_at: Duration,
    closed: bool,
    granted: mpsc::UnboundedSender<Granted>,
    router: mpsc::UnboundedSender<RouterEvent>,
}

struct Held {
    grant: Grant,
    since: Duration,
    guard: Arc<LeaseGuard>,
    gauges: Option<Arc<ZoneGauges>>,
}

impl Keeper {
    /// A keeper that holds nothing yet. `me` serves players at `addr`.
    pub fn new(
        (authority, store): (Arc<dyn Authority>, Arc<dyn StateStore>),
        (me, addr): (Nonce, SocketAddr),
        lease: LeaseConfig,
        contender: ContenderConfig,
        granted: mpsc::UnboundedSender<Granted>,
        router: mpsc::UnboundedSender<RouterEvent>,
    ) -> Self {
        Self {
            authority,
            store,
            me,
            addr,
            lease,
            contender: Contender::new(contender),
            held: BTreeMap::new(),
            shunned: BTreeSet::new(),
            announce_at: Duration::ZERO,
            closed: false,
            granted,
            router,
        }
    }

    /// Starts the keeper's thread; it ends with [`KeeperOrder::Stop`] or when the sender of orders is gone.
    pub fn spawn(self, orders: mpsc::UnboundedReceiver<KeeperOrder>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("lease-keeper".to_owned())
            .spawn(move || {
                let run = AssertUnwindSafe(|| runtime.block_on(self.run(orders)));
                if catch_unwind(run).is_err() {
                    tracing::error!("the lease keeper failed; this process holds nothing any more and ends");
                    std::process::abort();
                }
            })?;
        Ok(())
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<KeeperOrder>) {
        // Ten looks at the leases between two renewals: a release is noticed in a tenth of a second, and so is a pause.
        let period = (self.lease.renew_every / 10).max(Duration::from_millis(10));
        let mut turns = tokio::time::interval(period);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => self.turn().await,
                order = orders.recv() => match order {
                    Some(KeeperOrder::Hosted(zone, grant, gauges)) => self.note_hosted(&zone, grant, gauges),
                    Some(KeeperOrder::Ended(zone, grant, after)) => self.end(&zone, grant, after).await,
                    Some(KeeperOrder::Close(done)) => {
                        self.closed = true;
                        let _nobody_waits = done.send(());
                    }
                    Some(KeeperOrder::Stop(done)) => {
                        self.give_up_adoptions(After::Release, Duration::ZERO).await;
                        if let Err(error) = self.authority.withdraw(self.me).await {
                            tracing::warn!(%error, "the directory still names this shard");
                        }
                        let _nobody_waits = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    async fn turn(&mut self) {
        self.give_up_adoptions(After::Shun, ADOPTION_MAX).await;
        self.renew().await;
        self.announce().await;
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "the leases cannot be read");
            return;
        }
        self.claim().await;
    }

    /// Renews what is due. Asking each guard is also what notices a pause of the whole process.
    async fn renew(&mut self) {
        for (zone, held) in &self.held {
            let _may_act = held.guard.may_act();
            let Some((LeaseCommand::Renew, sent_at)) = held.guard.poll() else {
                continue;
            };
            let players = held
                .gauges
                .as_ref()
                .map_or(0, |gauges| gauges.attached.load(Ordering::Relaxed));
            match self.authority.renew(zone, held.grant, players).await {
                Ok(()) => held.guard.handle(|lease, now| lease.handle_renewed(sent_at, now)),
                Err(AuthorityError::Held(holder)) => {
                    tracing::warn!(%zone, epoch = holder.epoch, "the lease is somebody else's");
                    held.guard.handle(|lease, _| lease.handle_refused());
                }
                Err(error) => {
                    tracing::warn!(%zone, %error, "a renewal was not answered");
                    held.guard.handle(Lease::handle_unavailable);
                }
            }
        }
    }

    async fn announce(&mut self) {
        let now = clock::boottime();
        if now < self.announce_at {
            return;
        }
        match self.authority.announce(self.me, self.addr).await {
            Ok(()) => self.announce_at = now + self.lease.renew_every,
            Err(error) => tracing::warn!(%error, "the directory does not hear this shard"),
        }
    }

    async fn look(&mut self) -> Result<(), AuthorityError> {
        let leases = self.authority.leases().await?;
        let shards = self.authority.shards().await?;
        let claimable = leases
            .iter()
            .filter(|view| !self.shunned.contains(&view.zone))
            .cloned()
            .collect();
        self.contender.handle_leases(clock::boottime(), claimable);
        // The router is gone when the process stops.
        let _stopping = self.router.send(RouterEvent::Views(leases, shards));
        Ok(())
    }

    async fn claim(&mut self) {
        while !self.closed
            && let Some(watched) = self.contender.poll_claim(clock::boottime())
        {
            let sent_at = clock::boottime();
            match self.try_claim(&watched).await {
                Ok(grant) => {
                    self.contender.handle_granted();
                    self.adopt(watched.zone, grant, sent_at);
                }
                Err(AuthorityError::Held(view)) => self.contender.handle_refused(clock::boottime(), *view),
                Err(error) => {
                    tracing::warn!(zone = %watched.zone, %error, "a claim was not answered");
                    self.contender.handle_unavailable(clock::boottime());
                }
            }
        }
    }

    /// The new epoch is above what authority *and* store have seen: either may have forgotten.
    async fn try_claim(&self, watched: &LeaseView) -> Result<Grant, AuthorityError> {
        // Renewals wait on this same thread: a store that hangs must not hold them up.
        let summary = tokio::time::timeout(self.lease.retry_every, self.store.summary(&watched.zone)).await;
        let summary = summary.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())));
        let summary = summary.map_err(|e| AuthorityError::Unavailable(format!("the store's fence is unknown: {e}")))?;
        let floor = summary.map_or(0, |summary| summary.fence_epoch);
        self.authority.claim(watched, self.me, self.addr, floor).await
    }

    fn adopt(&mut self, zone: ZoneName, grant: Grant, sent_at: Duration) {
        let at = clock::boottime();
        tracing::info!(%zone, epoch = grant.epoch.number(), "granted");
        let guard = Arc::new(LeaseGuard::new(Lease::new(self.lease, sent_at, at)));
        self.held.insert(
            zone.clone(),
            Held {
                grant,
                since: at,
                guard: Arc::clone(&guard),
                gauges: None,
            },
        );
        let _stopping = self.granted.send(Granted { zone, grant, guard, at });
    }

    fn note_hosted(&mut self, zone: &ZoneName, grant: Grant, gauges: Arc<ZoneGauges>) {
        if let Some(held) = self.held.get_mut(zone).filter(|held| held.grant == grant) {
            held.gauges = Some(gauges);
            self.contender.handle_adopted(zone);
        }
    }

    /// Ends what was granted at least `age` ago and is not hosted yet; its host, should it start all the same, finds its lease lost.
    async fn give_up_adoptions(&mut self, after: After, age: Duration) {
        let now = clock::boottime();
        let late = |held: &Held| held.gauges.is_none() && now.saturating_sub(held.since) >= age;
        let late: Vec<(ZoneName, Grant)> = self
            .held
            .iter()
            .filter(|(_, held)| late(held))
            .map(|(zone, held)| (zone.clone(), held.grant))
            .collect();
        for (zone, grant) in late {
            tracing::warn!(%zone, epoch = grant.epoch.number(), "an adoption is given up");
            self.held[&zone].guard.handle(|lease, _| lease.handle_refused());
            self.end(&zone, grant, after).await;
        }
    }

    async fn end(&mut self, zone: &ZoneName, grant: Grant, after: After) {
        if self.held.get(zone).is_none_or(|held| held.grant != grant) {
            return;
        }
        self.held.remove(zone);
        self.contender.handle_dropped(zone);
        match after {
            After::Release => match self.authority.release(zone, grant).await {
                Ok(()) => tracing::info!(%zone, epoch = grant.epoch.number(), "released"),
                Err(AuthorityError::Held(holder)) => {
                    tracing::info!(%zone, epoch = holder.epoch, "nothing to release: somebody else holds it");
                }
                Err(error) => tracing::warn!(%zone, %error, "the lease was not released and will run out"),
            },
            After::Expire => {}
            After::Shun => {
                self.shunned.insert(zone.clone());
            }
        }
    }
}

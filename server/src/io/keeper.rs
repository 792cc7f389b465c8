//! The keeper holds this process's leases. It has its own thread and runtime, so that neither sockets nor a busy store can starve a
//! renewal; it renews a zone only if its tick advanced or it stands still on purpose, so that a wedged tick loses its lease.

mod wedged;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everhold_protocol::ZoneName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::durability::store::{StateStore, StoreError};
use crate::io::clock;
use crate::io::guardian::GuardianLink;
use crate::io::host::{LeaseGuard, ZoneGauges};
use crate::io::router::RouterEvent;
use crate::ownership::contender::{Contender, ContenderConfig};
use crate::ownership::lease::{Lease, LeaseConfig};
use crate::ownership::{Authority, AuthorityError, Census, Grant, Guardian, KeyFingerprints, LeaseView, Nonce};

/// An adoption that takes longer is given up: its replay hangs, or its store does. Replay runs far faster than real time.
const ADOPTION_MAX: Duration = Duration::from_secs(120);

/// Turns are no closer together than this, whatever falls due.
const TURN_MIN: Duration = Duration::from_millis(1);

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

/// What the keeper tells the shard.
pub enum KeeperEvent {
    /// A zone is ours: adopt it, or take it up again.
    Granted(Granted),
    /// A suspended zone was granted to somebody else: its memory is of no use.
    Taken(ZoneName),
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
    /// It ran out while the zone is in memory: it is claimed anew if nobody else was granted it.
    Reclaim,
    /// It runs out.
    Expire,
    /// It runs out, and this process does not claim it again: its world failed here.
    Shun,
    /// Anybody else may claim it at once: its world failed here, at an input that is quarantined.
    Cede,
}

/// What a keeper needs to know.
pub struct KeeperConfig {
    /// This process.
    pub me: Nonce,
    /// Where it serves players.
    pub addr: SocketAddr,
    /// The keys that it takes as good.
    pub keys: KeyFingerprints,
    /// A lease's times.
    pub lease: LeaseConfig,
    /// How it contends.
    pub contender: ContenderConfig,
    /// The world's zones.
    pub zones: BTreeSet<ZoneName>,
    /// How long a zone must be missing from the authority before it is declared again.
    pub reseed_grace: Duration,
    /// Hears what is held, and that the keeper's thread lives.
    pub guardian: GuardianLink,
}

/// Holds leases and contends for more.
pub struct Keeper {
    authority: Arc<dyn Authority>,
    store: Arc<dyn StateStore>,
    me: Nonce,
    addr: SocketAddr,
    keys: KeyFingerprints,
    lease: LeaseConfig,
    contender: Contender,
    census: Census,
    held: BTreeMap<ZoneName, Held>,
    shunned: BTreeSet<ZoneName>,
    announce_at: Duration,
    closed: bool,
    /// The authority did not answer at the last look.
    deaf: bool,
    guardian: GuardianLink,
    events: mpsc::UnboundedSender<KeeperEvent>,
    router: mpsc::UnboundedSender<RouterEvent>,
}

struct Held {
    grant: Grant,
    since: Duration,
    guard: Arc<LeaseGuard>,
    gauges: Option<Arc<ZoneGauges>>,
    wedged_since: Option<Duration>,
}

/// Whether the authority answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    All,
    NotAll,
}

impl Keeper {
    /// A keeper that holds nothing yet.
    pub fn new(
        (authority, store): (Arc<dyn Authority>, Arc<dyn StateStore>),
        config: KeeperConfig,
        events: mpsc::UnboundedSender<KeeperEvent>,
        router: mpsc::UnboundedSender<RouterEvent>,
    ) -> Self {
        Self {
            authority,
            store,
            me: config.me,
            addr: config.addr,
            keys: config.keys,
            lease: config.lease,
            contender: Contender::new(config.contender),
            census: Census::new(config.zones, config.reseed_grace),
            held: BTreeMap::new(),
            shunned: BTreeSet::new(),
            announce_at: Duration::ZERO,
            closed: false,
            deaf: false,
            guardian: config.guardian,
            events,
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
        if let Err(error) = self.guardian.start(self.lease.ttl / Guardian::LOOKS_PER_TTL) {
            tracing::error!(%error, "the guardian hears nothing");
        }
        let authority = Arc::clone(&self.authority);
        let mut next_turn = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next_turn) => {}
                () = authority.wait_for_release() => {}
                order = orders.recv() => match order {
                    Some(KeeperOrder::Stop(done)) => {
                        self.stop().await;
                        let _nobody_waits = done.send(());
                        return;
                    }
                    Some(order) => {
                        self.handle_order(order).await;
                        continue;
                    }
                    None => return,
                },
            }
            self.turn().await;
            next_turn = tokio::time::Instant::now() + self.until_next_turn();
        }
    }

    /// Ten looks at the leases between two renewals, so that a pause of the process is noticed in a tenth of a second; sooner, if a claim
    /// falls due.
    fn until_next_turn(&self) -> Duration {
        let period = (self.lease.renew_every / 10).max(TURN_MIN);
        let claim = self.contender.poll_timeout();
        claim.map_or(period, |at| {
            at.saturating_sub(clock::boottime()).clamp(TURN_MIN, period)
        })
    }

    async fn handle_order(&mut self, order: KeeperOrder) {
        match order {
            KeeperOrder::Hosted(zone, grant, gauges) => self.note_hosted(&zone, grant, gauges),
            KeeperOrder::Ended(zone, grant, after) => self.end(&zone, grant, after).await,
            KeeperOrder::Close(done) => {
                self.closed = true;
                let _nobody_waits = done.send(());
            }
            KeeperOrder::Stop(_) => unreachable!("it ends the loop"),
        }
    }

    async fn stop(&mut self) {
        self.give_up_adoptions(After::Release, Duration::ZERO).await;
        for (zone, grant) in self.contender.suspended().clone() {
            self.release(&zone, grant).await;
            self.guardian.note_ended(&zone, grant);
        }
        if let Err(error) = self.authority.withdraw(self.me).await {
            tracing::warn!(%error, "the directory still names this shard");
        }
        self.guardian.finish().await;
    }

    async fn turn(&mut self) {
        self.end_if_wedged().await;
        self.give_up_adoptions(After::Shun, ADOPTION_MAX).await;
        if self.renew().await == Answered::NotAll {
            // Whatever else is asked now would wait as long, and the next renewal with it.
            return;
        }
        if let Err(error) = self.announce_and_look().await {
            // Turns are many, and this is said once.
            if !std::mem::replace(&mut self.deaf, true) {
                tracing::warn!(%error, "the leases cannot be read");
            }
            return;
        }
        if std::mem::take(&mut self.deaf) {
            tracing::info!("the leases can be read again");
        }
        self.declare_missing().await;
        self.claim().await;
    }

    /// Renews what is due, all at once. Asking each guard is also what notices a pause of the whole process.
    async fn renew(&mut self) -> Answered {
        let mut renewals = JoinSet::new();
        for (zone, held) in &self.held {
            let _may_act = held.guard.may_act();
            let Some(sent_at) = held.guard.poll_renewal() else {
                continue;
            };
            let players = held
                .gauges
                .as_ref()
                .map_or(0, |gauges| gauges.attached.load(Ordering::Relaxed));
            let (authority, zone, grant, addr) = (Arc::clone(&self.authority), zone.clone(), held.grant, self.addr);
            let guard = Arc::clone(&held.guard);
            let max = self.answer_max();
            renewals.spawn(async move {
                let renewal = renew_or_reinstate(authority.as_ref(), &zone, grant, addr, players);
                let outcome = answer(max, renewal).await;
                note_renewal(&zone, &guard, sent_at, outcome)
            });
        }
        let answered = renewals.join_all().await;
        if answered.contains(&Answered::NotAll) {
            Answered::NotAll
        } else {
            Answered::All
        }
    }

    /// An authority that takes longer does not answer: half the time between two renewals.
    fn answer_max(&self) -> Duration {
        self.lease.renew_every / 2
    }

    async fn announce_and_look(&mut self) -> Result<(), AuthorityError> {
        let now = clock::boottime();
        if now >= self.announce_at {
            let announced = self.authority.announce(self.me, self.addr, &self.keys);
            answer(self.answer_max(), announced).await?;
            self.announce_at = now + self.lease.renew_every;
        }
        let leases = answer(self.answer_max(), self.authority.leases()).await?;
        let shards = answer(self.answer_max(), self.authority.shards()).await?;
        let claimable = leases
            .iter()
            .filter(|view| !self.shunned.contains(&view.zone))
            .cloned()
            .collect();
        let now = clock::boottime();
        self.census.handle_leases(now, &leases);
        self.contender.handle_leases(now, claimable);
        while let Some(zone) = self.contender.poll_taken() {
            tracing::info!(%zone, "the suspended zone was granted to another shard");
            self.guardian.note_taken(&zone);
            let _stopping = self.events.send(KeeperEvent::Taken(zone));
        }
        // The router is gone when the process stops.
        let _stopping = self.router.send(RouterEvent::Views(leases, shards));
        Ok(())
    }

    /// Declares what no holder has put back for a while, and at once what is suspended here: then the one who would put it back is this
    /// process, by a claim.
    async fn declare_missing(&mut self) {
        let mut missing = self.census.missing(clock::boottime());
        let suspended = self.contender.suspended().keys();
        missing.extend(suspended.filter(|zone| self.census.is_missing(zone)).cloned());
        for zone in missing {
            match answer(self.answer_max(), self.authority.declare_zone(&zone)).await {
                Ok(()) => tracing::warn!(%zone, "no shard has declared this zone: it is declared here"),
                Err(error) => tracing::warn!(%zone, %error, "the zone is not declared yet"),
            }
        }
    }

    async fn claim(&mut self) {
        while !self.closed
            && let Some(watched) = self.contender.poll_claim(clock::boottime())
        {
            let sent_at = clock::boottime();
            match answer(self.answer_max(), self.try_claim(&watched)).await {
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

    /// The new epoch is above what authority, store, *and* this process have seen: each may have forgotten.
    async fn try_claim(&self, watched: &LeaseView) -> Result<Grant, AuthorityError> {
        // Renewals wait on this same thread: a store that hangs must not hold them up.
        let summary = tokio::time::timeout(self.lease.retry_every, self.store.summary(&watched.zone)).await;
        let summary = summary.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())));
        let fence = match summary {
            Ok(summary) => summary.map_or(0, |summary| summary.fence_epoch),
            Err(StoreError::Lost) => 0,
            Err(e) => {
                return Err(AuthorityError::Unavailable(format!(
                    "the store's fence is unknown: {e}"
                )));
            }
        };
        let floor = fence.max(self.census.epoch_seen(&watched.zone));
        self.authority.claim(watched, self.me, self.addr, floor).await
    }

    fn adopt(&mut self, zone: ZoneName, grant: Grant, sent_at: Duration) {
        let at = clock::boottime();
        tracing::info!(%zone, epoch = grant.epoch.number(), "granted");
        self.guardian.note_granted(&zone, grant);
        let guard = Arc::new(LeaseGuard::new(Lease::new(self.lease, sent_at, at)));
        self.held.insert(
            zone.clone(),
            Held {
                grant,
                since: at,
                guard: Arc::clone(&guard),
                gauges: None,
                wedged_since: None,
            },
        );
        let granted = Granted { zone, grant, guard, at };
        let _stopping = self.events.send(KeeperEvent::Granted(granted));
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
            After::Release => self.release(zone, grant).await,
            After::Reclaim => self.contender.handle_suspended(zone, grant),
            After::Expire => {}
            After::Shun => {
                self.shunned.insert(zone.clone());
            }
            After::Cede => {
                self.shunned.insert(zone.clone());
                self.release(zone, grant).await;
            }
        }
        // A suspended zone's grant is the newest there is: should this process die, it is to be released all the same.
        if after != After::Reclaim {
            self.guardian.note_ended(zone, grant);
        }
    }

    async fn release(&self, zone: &ZoneName, grant: Grant) {
        match answer(self.answer_max(), self.authority.release(zone, grant)).await {
            Ok(()) => tracing::info!(%zone, epoch = grant.epoch.number(), "released"),
            Err(AuthorityError::Held(holder)) => {
                tracing::info!(%zone, epoch = holder.epoch, "nothing to release: somebody else holds it");
            }
            Err(error) => tracing::warn!(%zone, %error, "the lease was not released and will run out"),
        }
    }
}

/// A renewal that finds an authority which has forgotten the lease puts it back.
async fn renew_or_reinstate(
    authority: &dyn Authority,
    zone: &ZoneName,
    grant: Grant,
    addr: SocketAddr,
    players: u32,
) -> Result<(), AuthorityError> {
    match authority.renew(zone, grant, players).await {
        Err(AuthorityError::Held(view)) if view.epoch < grant.epoch.number() => {}
        Err(AuthorityError::ZoneUnknown(_)) => {}
        outcome => return outcome,
    }
    tracing::error!(%zone, epoch = grant.epoch.number(), "the authority has forgotten this lease; it is put back");
    authority.reinstate(zone, grant, addr, players).await
}

fn note_renewal(
    zone: &ZoneName,
    guard: &LeaseGuard,
    sent_at: Duration,
    outcome: Result<(), AuthorityError>,
) -> Answered {
    match outcome {
        Ok(()) => guard.handle(|lease, now| lease.handle_renewed(sent_at, now)),
        Err(AuthorityError::Held(holder)) => {
            tracing::warn!(%zone, epoch = holder.epoch, "the lease is somebody else's");
            guard.handle(|lease, _| lease.handle_refused());
        }
        Err(error) => {
            tracing::warn!(%zone, %error, "a renewal was not answered");
            guard.handle(Lease::handle_unavailable);
            return Answered::NotAll;
        }
    }
    Answered::All
}

/// The authority's answer; none within `max` is an unknown outcome.
async fn answer<T>(
    max: Duration,
    operation: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    let outcome = tokio::time::timeout(max, operation).await;
    outcome.unwrap_or_else(|_| Err(AuthorityError::Unavailable(format!("no answer within {max:?}"))))
}

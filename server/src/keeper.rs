//! The keeper holds this process's leases. It has its own thread and runtime, so that neither sockets nor a busy store can starve a
//! renewal; it renews a zone only if its tick advanced or it stands still on purpose, so that a wedged tick loses its lease.

mod held;
mod look;
mod renewal;
mod wedged;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_core::outage::{Lasted, Outage};
use everhold_core::ownership::contender::{Contender, ContenderConfig};
use everhold_core::ownership::key_check::KeyWatch;
use everhold_core::ownership::lease::LeaseConfig;
use everhold_core::ownership::{
    Authority, AuthorityError, Census, Grant, Guardian, KeyFingerprints, LeaseView, Membership, Nonce,
};
use everhold_os::clock;
use everhold_os::vital::Vital;
use everhold_protocol::ZoneName;
use tokio::sync::{mpsc, oneshot};

use self::held::Held;
use self::look::Seen;
use self::renewal::Answered;
use crate::guardian::GuardianLink;
use crate::host::{LeaseGuard, ZoneGauges};
use crate::router::RouterHandle;
use crate::stores::Coordination;

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
    membership: Arc<dyn Membership>,
    store: Arc<dyn ZoneStore>,
    me: Nonce,
    addr: SocketAddr,
    keys: KeyFingerprints,
    key_watch: KeyWatch,
    lease: LeaseConfig,
    contender: Contender,
    census: Census,
    held: BTreeMap<ZoneName, Held>,
    shunned: BTreeSet<ZoneName>,
    announce_at: Duration,
    closed: bool,
    outages: Outages,
    guardian: GuardianLink,
    events: mpsc::UnboundedSender<KeeperEvent>,
    router: RouterHandle,
}

/// What the authority may fail to answer for long, turn after turn.
#[derive(Debug, Default)]
struct Outages {
    renewals: Outage,
    /// Zones whose latest renewal was not answered.
    unrenewed: BTreeSet<ZoneName>,
    looks: Outage,
    directory: Outage,
    claims: Outage,
    declarations: Outage,
}

impl Keeper {
    /// A keeper that holds nothing yet.
    pub fn new(
        (coordination, store): (Coordination, Arc<dyn ZoneStore>),
        config: KeeperConfig,
        events: mpsc::UnboundedSender<KeeperEvent>,
        router: RouterHandle,
    ) -> Self {
        Self {
            authority: coordination.authority,
            membership: coordination.membership,
            store,
            me: config.me,
            addr: config.addr,
            key_watch: KeyWatch::new(config.keys.clone()),
            keys: config.keys,
            lease: config.lease,
            contender: Contender::new(config.contender),
            census: Census::new(config.zones, config.reseed_grace),
            held: BTreeMap::new(),
            shunned: BTreeSet::new(),
            announce_at: Duration::ZERO,
            closed: false,
            outages: Outages::default(),
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
                let _vital = Vital::new("lease keeper");
                runtime.block_on(self.run(orders));
            })?;
        Ok(())
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<KeeperOrder>) {
        self.guardian.note_announced(self.me);
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
        match self.membership.withdraw(self.me).await {
            Ok(()) => self.guardian.note_withdrawn(),
            Err(error) => tracing::warn!(%error, "the directory still names this shard"),
        }
        self.guardian.finish().await;
    }

    async fn turn(&mut self) {
        #[cfg(feature = "testing")]
        if self.held.values().any(|held| held.players() > 0) {
            crate::failpoint::fail(crate::failpoint::Part::Keeper);
        }
        self.end_if_wedged().await;
        self.give_up_adoptions(After::Shun, ADOPTION_MAX).await;
        if self.renew().await == Answered::None {
            // Whatever else is asked now would wait as long, and the next renewal with it.
            return;
        }
        if self.announce_and_look().await == Seen::Nothing {
            // What was seen before is not what is claimed now.
            return;
        }
        self.declare_missing().await;
        self.claim().await;
    }

    /// An authority that takes longer does not answer: half the time between two renewals.
    fn answer_max(&self) -> Duration {
        self.lease.renew_every / 2
    }

    /// Declares what no holder has put back for a while, and at once what is suspended here: then the one who would put it back is this
    /// process, by a claim.
    async fn declare_missing(&mut self) {
        let mut missing = self.census.missing(clock::boottime());
        let suspended = self.contender.suspended().keys();
        missing.extend(suspended.filter(|zone| self.census.is_missing(zone)).cloned());
        for zone in missing {
            match answer(self.answer_max(), self.authority.declare_zone(&zone)).await {
                Ok(()) => {
                    self.outages.declarations.end(Instant::now());
                    tracing::warn!(%zone, "no shard has declared this zone: it is declared here");
                }
                Err(error) => {
                    if let Some(Lasted { ms, failures }) = self.outages.declarations.note(Instant::now()) {
                        tracing::warn!(%zone, %error, ms, failures, "a zone is not declared yet");
                    }
                }
            }
        }
    }

    async fn claim(&mut self) {
        while !self.closed
            && let Some(watched) = self.contender.poll_claim(clock::boottime())
        {
            let sent_at = clock::boottime();
            let claim = answer(self.answer_max(), self.try_claim(&watched)).await;
            if matches!(claim, Ok(_) | Err(AuthorityError::Held(_)))
                && let Some(Lasted { ms, failures }) = self.outages.claims.end(Instant::now())
            {
                tracing::info!(ms, failures, "claims are answered again");
            }
            match claim {
                Ok(grant) => {
                    self.contender.handle_granted();
                    self.adopt(watched.zone, grant, sent_at);
                }
                Err(AuthorityError::Held(view)) => self.contender.handle_refused(clock::boottime(), *view),
                Err(error) => {
                    self.contender.handle_unavailable(clock::boottime());
                    if let Some(Lasted { ms, failures }) = self.outages.claims.note(Instant::now()) {
                        tracing::warn!(zone = %watched.zone, %error, ms, failures, "a claim was not answered");
                    }
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
}

/// The authority's answer; none within `max` is an unknown outcome.
async fn answer<T>(
    max: Duration,
    operation: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    let outcome = tokio::time::timeout(max, operation).await;
    outcome.unwrap_or_else(|_| Err(AuthorityError::Unavailable(format!("no answer within {max:?}"))))
}

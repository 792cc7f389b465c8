//! The shard's ends of the channels to the keeper and from it. They decide nothing.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::ownership::holder::command::UnfitZone;
use everhold_core::ownership::{AdoptionFailure, AdoptionSteps, EndReason, Remains, Tenure, VacancyNews};
use everhold_protocol::{Tick, ZoneName};
use tokio::sync::{mpsc, oneshot};

use super::hosted::HostedZone;
use crate::host::{LeaseGuard, ZoneHandle};

/// A zone that was granted to this process and waits to be adopted.
pub struct Granted {
    /// The zone, and the right to act for it.
    pub tenure: Tenure,
    /// The lease, renewed from now on.
    pub guard: Arc<LeaseGuard>,
    /// The time on `CLOCK_BOOTTIME` at which it was granted.
    pub at: Duration,
    /// The steps of its adoption, to be counted.
    pub steps: AdoptionSteps,
    /// The time for which the adoption waits for a shard with memory, if the store has lost the zone.
    pub reseed_grace: Duration,
    /// The last tick that the store acknowledged, as the lease says; 0 if it says nothing.
    pub promised: Tick,
}

/// An event that the keeper tells the shard.
pub enum KeeperEvent {
    /// A zone was granted: adopt it, or take it up again.
    Granted(Granted),
    /// A zone was not claimed, because it ran other rules.
    Unfit(UnfitZone),
    /// A zone has had no owner for long, or has one again.
    Vacancy(VacancyNews),
    /// Another process goes on with a suspended zone, and the store has its data of a higher epoch: the memory here is
    /// of no use. A grant alone is no reason to drop it.
    Taken(ZoneName),
}

/// An order of the shard to the keeper.
pub(super) enum KeeperOrder {
    Hosted(HostedZone),
    Ended(Tenure, EndReason, Remains),
    AdoptionFailed(Tenure, AdoptionFailure, Remains),
    Close(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

impl KeeperOrder {
    /// Whether it waits until nothing is under way. What became of a zone does not.
    pub(super) const fn waits_for_rest(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Stop(_))
    }
}

/// The shard's hold on the keeper. The keeper ends when the last one is dropped, or when it has stopped; then orders do
/// nothing.
#[derive(Clone)]
pub struct KeeperHandle {
    /// Not bounded: each order but two stands for a zone that was granted, and the shard does not wait for a keeper
    /// that waits for an authority.
    orders: mpsc::UnboundedSender<KeeperOrder>,
}

/// The receiver of what the keeper tells. Not bounded: each event stands for a grant, and renewals wait for no shard.
pub struct KeeperEvents(mpsc::UnboundedReceiver<KeeperEvent>);

/// The keeper's ends.
pub(super) type Ends = (mpsc::UnboundedReceiver<KeeperOrder>, mpsc::UnboundedSender<KeeperEvent>);

/// Makes both channels.
pub(super) fn channels() -> (KeeperHandle, KeeperEvents, Ends) {
    let (orders, ordered) = mpsc::unbounded_channel();
    let (events, told) = mpsc::unbounded_channel();
    (KeeperHandle { orders }, KeeperEvents(told), (ordered, events))
}

impl KeeperEvents {
    /// The next event; `None` when the keeper has ended.
    pub async fn next(&mut self) -> Option<KeeperEvent> {
        self.0.recv().await
    }
}

impl KeeperHandle {
    /// Tells that a zone is adopted and runs.
    pub fn hosted(&self, zone: &ZoneHandle) {
        self.tell(KeeperOrder::Hosted(zone.into()));
    }

    /// Tells that a hosted zone is over, why, and what is left of it.
    pub fn ended(&self, tenure: Tenure, reason: EndReason, remains: Remains) {
        self.tell(KeeperOrder::Ended(tenure, reason, remains));
    }

    /// Tells that a granted zone was not adopted, why, and what is left of it.
    pub fn adoption_failed(&self, tenure: Tenure, failure: AdoptionFailure, remains: Remains) {
        self.tell(KeeperOrder::AdoptionFailed(tenure, failure, remains));
    }

    /// Has the keeper claim nothing more but what is suspended here: what else was granted was told when this returns.
    pub async fn close(&self) {
        self.until_done(KeeperOrder::Close).await;
    }

    /// Has the keeper end when no zone is hosted or in memory any more, or the zones have had their time: it releases
    /// what was granted and is not hosted, and leaves the directory.
    pub async fn stop(&self) {
        self.until_done(KeeperOrder::Stop).await;
    }

    async fn until_done(&self, order: impl FnOnce(oneshot::Sender<()>) -> KeeperOrder) {
        let (done, is_done) = oneshot::channel();
        self.tell(order(done));
        let _ended_before = is_done.await;
    }

    fn tell(&self, order: KeeperOrder) {
        let _ended_before = self.orders.send(order);
    }
}

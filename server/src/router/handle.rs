//! The router as the rest of the process sees it. A handle only tells it what happened; it waits for nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use everhold_core::ownership::{LeaseView, ShardView, Tenure};
use everhold_protocol::Account;
use tokio::sync::{mpsc, watch};

use crate::host::ZoneHandle;

/// An event for the router that comes from no connection.
pub(super) enum RouterEvent {
    /// The authority's view.
    Views {
        leases: Vec<LeaseView>,
        shards: Option<Vec<ShardView>>,
    },
    ZoneUp(ZoneHandle),
    ZoneEnded(Tenure),
    /// These accounts are banned.
    Banned(BTreeSet<Account>),
    Close,
}

/// A handle on the router. Cheap to clone; the router ends when the last one is gone.
#[derive(Clone)]
pub struct RouterHandle {
    /// Unbounded: the events are a few a second, one for each look at the authority and each zone that begins or ends,
    /// and those that tell them must not wait: a keeper has leases to renew.
    events: mpsc::UnboundedSender<RouterEvent>,
    peers: watch::Receiver<Vec<SocketAddr>>,
}

impl RouterHandle {
    pub(super) const fn new(
        events: mpsc::UnboundedSender<RouterEvent>,
        peers: watch::Receiver<Vec<SocketAddr>>,
    ) -> Self {
        Self { events, peers }
    }

    /// Shows the authority's view, a few times a second: leases as far as they could be read, and shards if they could
    /// be.
    pub fn views(&self, leases: Vec<LeaseView>, shards: Option<Vec<ShardView>>) {
        self.send(RouterEvent::Views { leases, shards });
    }

    /// Tells that a zone runs here.
    pub fn zone_up(&self, zone: ZoneHandle) {
        self.send(RouterEvent::ZoneUp(zone));
    }

    /// Tells that a zone no longer runs here under this grant.
    pub fn zone_ended(&self, tenure: Tenure) {
        self.send(RouterEvent::ZoneEnded(tenure));
    }

    /// Lets no newcomer in any more: the process is stopping.
    pub fn close(&self) {
        self.send(RouterEvent::Close);
    }

    /// Living shards other than this one, to be named to clients.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.borrow().clone()
    }

    fn send(&self, event: RouterEvent) {
        // The router is gone when the process stops.
        let _stopping = self.events.send(event);
    }
}

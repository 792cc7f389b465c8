//! The router's side of a command: each becomes one call to a connection, a zone, or the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everhold_core::cluster::routing::{Attach, QueueMeter, RoutingCommand};
use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::store::StoreError;
use everhold_core::ingress::AttachToken;
use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_net::transport::Conn;
use everhold_protocol::Account;

use super::Router;
use crate::host::{LoadGauges, PendingAttach};

impl Router {
    pub(super) fn carry_out(&mut self, command: RoutingCommand) {
        match command {
            RoutingCommand::SetHome {
                conn,
                account,
                home,
                after,
            } => {
                let answer = set_home(Arc::clone(&self.store), account, home, after);
                self.homes.spawn(async move { (conn, answer.await) });
            }
            RoutingCommand::Attach(attach) => self.attach(&attach),
            RoutingCommand::Detach { conn, zone } => {
                if let Some(zone) = self.local.zones.get(&zone) {
                    zone.detach(conn);
                }
            }
            RoutingCommand::Logout { conn, zone } => {
                if !self.local.zones.get(&zone).is_some_and(|zone| zone.log_out(conn)) {
                    self.routing.handle_logout_failed(conn);
                }
            }
            RoutingCommand::Reply { conn, message } => self.with(conn, |conn| _ = conn.send_control(&message)),
            RoutingCommand::Redirect { conn, message } => self.with(conn, |conn| conn.send_away(&message)),
            RoutingCommand::Refuse { conn, refusal } => {
                self.with(conn, |conn| conn.close(refusal.code, &refusal.detail))
            }
            RoutingCommand::ForgetZone(zone) => _ = self.local.zones.remove(&zone),
            RoutingCommand::Meter { zone, meter } => {
                if let Some(zone) = self.local.zones.get(&zone) {
                    show(&zone.gauges.load, meter);
                }
            }
            RoutingCommand::NamePeers(peers) => _ = self.peers.send_replace(peers),
            RoutingCommand::ReportHome(error) => {
                tracing::warn!(%error, "a login is refused because its home cannot be read");
            }
        }
    }

    fn with(&self, conn: AttachToken, act: impl FnOnce(&Conn)) {
        if let Some(conn) = self.local.conns.get(&conn) {
            act(conn);
        }
    }

    fn attach(&mut self, attach: &Attach) {
        let secret = self.resume_keys.make(attach.account, random_bytes());
        let input = attach.input(*blake3::hash(&secret).as_bytes());
        let conn = self.local.conns.get(&attach.conn).cloned();
        let taken = conn
            .zip(self.local.zones.get(&attach.zone))
            .is_some_and(|(conn, zone)| {
                let pending = PendingAttach::new(conn, secret, attach.logs_out);
                zone.attach(pending, input)
            });
        if !taken {
            self.routing.handle_attach_failed(attach.conn);
        }
    }
}

/// Sets an account's home unless it has one. Returns the home that it had before, if any.
async fn set_home(
    store: Arc<dyn HomeStore>,
    account: Account,
    home: Home,
    after: Duration,
) -> Result<Option<Home>, StoreError> {
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    store.set_home(account, None, &home).await
}

fn show(load: &LoadGauges, meter: QueueMeter) {
    match meter {
        QueueMeter::Queued => _ = load.queued_ever.fetch_add(1, Ordering::Relaxed),
        QueueMeter::Refused => _ = load.refused.fetch_add(1, Ordering::Relaxed),
        QueueMeter::Length(length) => load.queued.store(length, Ordering::Relaxed),
    }
}

fn random_bytes() -> [u8; SECRET_RANDOM_BYTES] {
    let mut bytes = [0; SECRET_RANDOM_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

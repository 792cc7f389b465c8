//! The router's side of a command: each becomes one call to a connection, a zone, or the store.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use everhold_core::cluster::entrance::EntranceCommand;
use everhold_core::cluster::routing::{Attach, QueueMeter, RoutingCommand};
use everhold_core::ingress::AttachToken;
use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_net::transport::Conn;
use everhold_protocol::ServerMessage;

use super::Router;
use crate::host::{LoadGauges, PendingAttach};

impl Router {
    pub(super) fn carry_out(&mut self, command: RoutingCommand) {
        match command {
            RoutingCommand::AskAccount {
                conn,
                account,
                query,
                after,
            } => {
                let reply = self.places.clone().ask(account, query, after);
                self.look_ups.spawn(async move { (conn, reply.await) });
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
            RoutingCommand::Dismiss { account, zone, code } => {
                if let Some(zone) = self.local.zones.get(&zone) {
                    zone.dismiss(account, code);
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
            RoutingCommand::ReportLookUp(why) => {
                tracing::warn!(why, "a login is refused because its account cannot be looked up");
            }
        }
    }

    pub(super) fn carry_out_at_entrance(&mut self, command: EntranceCommand) {
        match command {
            EntranceCommand::Ask {
                conn,
                account,
                place,
                after,
                within,
            } => {
                let answer = self.places.clone().ask_for_ban(account, place, (after, within));
                self.ban_look_ups.spawn(async move { (conn, answer.await) });
            }
            EntranceCommand::Wait(conn) => self.with(conn, |conn| _ = conn.send_control(&ServerMessage::Wait)),
            EntranceCommand::Admit { conn, login, logs_out } => {
                self.routing.handle_login(self.local.now(), conn, login);
                if logs_out {
                    self.routing.handle_logout(conn);
                }
            }
            EntranceCommand::Banned(account) => self.routing.handle_banned(&BTreeSet::from([account])),
            EntranceCommand::Refuse(conn, refusal) => self.with(conn, |conn| conn.close(refusal.code, &refusal.detail)),
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
                zone.attach(pending, attach.lodge.clone(), input)
            });
        if !taken {
            self.routing.handle_attach_failed(attach.conn);
        }
    }
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

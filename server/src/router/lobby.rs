//! Admission to a zone: newcomers come in, wait in its queue, or are refused; those who have a character in the world walk past.

use std::sync::atomic::Ordering;

use everhold_core::ingress::AttachToken;
use everhold_core::load::{Admission, Caller, LoginQueue, Verdict};
use everhold_net::transport::Conn;
use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{RefusalCode, ServerMessage, ZoneName};

use super::Router;
use super::waiting::{Claim, QueuePlace, Waiting};
use crate::host::ZoneHandle;

/// The clients that wait for one zone, and those that it serves.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    queue: LoginQueue<AttachToken>,
    /// Connections that were handed to the zone.
    players: u32,
}

impl Router {
    /// A connection asks to enter a zone that runs here.
    pub(super) fn request_entry(&mut self, token: AttachToken) {
        let waiting = self.waiting.get_mut(token).expect("`place` has just seen it");
        let handle = &self.zones[&waiting.zone];
        let Claim::Join(claims) = &waiting.claim else {
            self.attach(token);
            return;
        };
        let caller = handle.caller(claims.account, &claims.id);
        let lobby = self.lobbies.entry(waiting.zone.clone()).or_default();
        let admission = admission(handle, lobby, self.config.players_max);
        match lobby.queue.handle_arrival(token, caller, admission) {
            Verdict::Admit => self.attach(token),
            Verdict::Wait { position } => {
                waiting.place = QueuePlace::Kept;
                waiting.conn.send_control(&ServerMessage::Queued { position });
                handle.gauges.load.queued_ever.fetch_add(1, Ordering::Relaxed);
                note_length(handle, lobby);
            }
            Verdict::Refuse => {
                handle.gauges.load.refused.fetch_add(1, Ordering::Relaxed);
                let detail = "the zone has more to do than it can, and many wait already; try again later";
                self.refuse(token, RefusalCode::Overloaded, detail);
            }
            Verdict::TicketUsed => self.refuse(token, RefusalCode::TicketUsed, "the ticket was used before"),
        }
    }

    /// If this account is logging in by another connection already, the new one takes its place: in the queue, or by seeking anew. Returns
    /// the connection if it has no place yet.
    pub(super) fn succeed(&mut self, conn: Conn, claims: &TicketClaims) -> Option<Conn> {
        let Some(earlier) = self.waiting.login(claims.account) else {
            return Some(conn);
        };
        let waiting = self.waiting.get(earlier).expect("a login waits");
        let handle = self.zones.get(&waiting.zone).filter(|_| waiting.queues());
        if handle.is_some_and(|handle| handle.caller(claims.account, &claims.id) == Caller::TicketSpent) {
            conn.close(RefusalCode::TicketUsed, "the ticket was used before");
            return None;
        }
        let mut waiting = self.waiting.remove(earlier).expect("looked up above");
        let detail = "a newer connection of this account logs in";
        std::mem::replace(&mut waiting.conn, conn.clone()).close(RefusalCode::Superseded, detail);
        let lobby = self.lobbies.get_mut(&waiting.zone).filter(|_| waiting.queues());
        let position = lobby.and_then(|lobby| lobby.queue.handle_successor(earlier, conn.token()));
        let Some(position) = position else { return Some(conn) };
        self.accounts.log_in(claims.account, &conn);
        conn.send_control(&ServerMessage::Queued { position });
        // A log-out was the wish of the earlier connection.
        (waiting.claim, waiting.logs_out) = (Claim::Join(claims.clone()), false);
        self.waiting.insert(waiting);
        None
    }

    /// Lets in whom the zones can take now, and tells the others where they stand.
    pub(super) fn admit_queued(&mut self) {
        let mut admitted = Vec::new();
        for (zone, lobby) in self.lobbies.iter_mut().filter(|(_, lobby)| !lobby.queue.is_empty()) {
            let Some(handle) = self.zones.get(zone).filter(|handle| handle.runs()) else {
                continue;
            };
            admitted.extend(
                lobby
                    .queue
                    .poll_admitted(admission(handle, lobby, self.config.players_max)),
            );
            for (token, position) in lobby.queue.poll_positions() {
                if let Some(waiting) = self.waiting.get(token) {
                    waiting.conn.send_control(&ServerMessage::Queued { position });
                }
            }
            note_length(handle, lobby);
        }
        for token in admitted {
            self.attach(token);
        }
    }

    /// A connection was handed to the zone.
    pub(super) fn enter(&mut self, token: AttachToken, zone: ZoneName) {
        self.lobbies.entry(zone.clone()).or_default().players += 1;
        self.placed.insert(token, zone);
    }

    /// A connection that may have been handed to a zone is over.
    pub(super) fn leave(&mut self, token: AttachToken) {
        if let Some(handle) = self.take_out(token) {
            handle.detach(token);
        }
    }

    /// The player of a connection ends its session. Whoever carries the wish out closes the connection when that is stored: the zone, at once
    /// or, if the connection still waits, when it is attached.
    pub(super) fn log_out(&mut self, conn: &Conn) {
        let token = conn.token();
        if let Some(waiting) = self.waiting.get_mut(token) {
            waiting.logs_out = true;
            return;
        }
        if self.leaving.contains(&token) {
            return;
        }
        if self.take_out(token).is_some_and(|handle| handle.log_out(token)) {
            self.leaving.insert(token);
        } else {
            conn.close(
                RefusalCode::Stopping,
                "the zone is no longer served here: the log-out is not done",
            );
        }
    }

    /// A connection that was handed to a zone is in it no more.
    fn take_out(&mut self, token: AttachToken) -> Option<&ZoneHandle> {
        let zone = self.placed.remove(&token)?;
        if let Some(lobby) = self.lobbies.get_mut(&zone) {
            lobby.players -= 1;
        }
        self.zones.get(&zone)
    }

    /// A connection that may be waiting is over; it loses its place.
    pub(super) fn give_up(&mut self, token: AttachToken) {
        let Some(waiting) = self.waiting.remove(token).filter(Waiting::queues) else {
            return;
        };
        if let Some(lobby) = self.lobbies.get_mut(&waiting.zone) {
            lobby.queue.handle_gone(token);
            if let Some(handle) = self.zones.get(&waiting.zone) {
                note_length(handle, lobby);
            }
        }
    }

    /// Nobody comes in any more.
    pub(super) fn close_queues(&mut self) {
        for lobby in self.lobbies.values_mut() {
            lobby.queue = LoginQueue::default();
        }
    }

    /// The zone is no longer here. Those who queue for it wait for whoever serves it next.
    pub(super) fn close_lobby(&mut self, zone: &ZoneName) {
        self.lobbies.remove(zone);
        self.waiting.forget_queue(zone);
    }
}

fn admission(handle: &ZoneHandle, lobby: &Lobby, players_max: u32) -> Admission {
    Admission {
        rung: handle.gauges.load.rung(),
        players: lobby.players,
        players_max,
    }
}

fn note_length(handle: &ZoneHandle, lobby: &Lobby) {
    let length = u32::try_from(lobby.queue.len()).unwrap_or(u32::MAX);
    handle.gauges.load.queued.store(length, Ordering::Relaxed);
}

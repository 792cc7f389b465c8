//! Admission to the zones that run here: a newcomer is admitted, or waits in the zone's login queue, or is refused; a
//! client whose character is in the world already is admitted at once. It judges no credential: the zone does.

use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{RefusalCode, ServerMessage};

use super::Routing;
use super::command::QueueMeter;
use super::local::Moment;
use super::waiting::{EntryClaim, QueuePlace, WaitingConn};
use crate::ingress::AttachToken;
use crate::load::{Admission, Caller, EntryVerdict, LoginQueue, Rung};
use crate::ownership::Grant;

/// A zone that came up here, with the clients that it serves and those that wait for it.
#[derive(Debug)]
pub(super) struct LocalZone {
    /// The right that it is hosted by.
    pub(super) grant: Grant,
    pub(super) queue: LoginQueue<AttachToken>,
    /// Connections that were sent into it.
    pub(super) players: u32,
}

impl LocalZone {
    pub(super) fn new(grant: Grant) -> Self {
        Self {
            grant,
            queue: LoginQueue::default(),
            players: 0,
        }
    }

    const fn admission(&self, rung: Rung, players_max: u32) -> Admission {
        Admission {
            rung,
            players: self.players,
            players_max,
        }
    }

    fn length(&self) -> QueueMeter {
        QueueMeter::Length(u32::try_from(self.queue.len()).unwrap_or(u32::MAX))
    }
}

impl Routing {
    /// Lets a connection whose zone runs here enter it, wait, or be refused.
    pub(super) fn request_entry(&mut self, at: Moment<'_>, conn: AttachToken) {
        let waiting = self.waiting.get_mut(conn).expect("`place` has just seen it");
        let EntryClaim::Join(claims) = &waiting.claim else {
            self.attach(at, conn);
            return;
        };
        let zone = waiting.zone.clone();
        let status = at.local.zone(&zone).expect("`place` has just seen that it runs here");
        let caller = at.local.caller(&zone, claims.account, &claims.id);
        let local = self.zones.get_mut(&zone).expect("a zone that runs here has come up");
        let admission = local.admission(status.rung, self.config.players_max);
        match local.queue.handle_arrival(conn, caller, admission) {
            EntryVerdict::Admit => self.attach(at, conn),
            EntryVerdict::Wait { position } => {
                waiting.place = QueuePlace::Kept;
                self.commands.reply(conn, ServerMessage::Queued { position });
                self.commands.meter(&zone, QueueMeter::Queued);
                self.commands.meter(&zone, local.length());
            }
            EntryVerdict::Refuse => {
                self.commands.meter(&zone, QueueMeter::Refused);
                let detail = "the zone has more to do than it can, and many wait already; try again later";
                self.refuse(conn, RefusalCode::Overloaded, detail);
            }
            EntryVerdict::TicketUsed => self.refuse(conn, RefusalCode::TicketUsed, "the ticket was used before"),
        }
    }

    /// Gives a connection the place of an earlier one by which the same account is logging in, if there is one: in the
    /// queue, or by seeking anew. Returns whether the connection has its answer; if not, it has no place yet.
    pub(super) fn succeed(&mut self, at: Moment<'_>, conn: AttachToken, claims: &TicketClaims) -> bool {
        let Some(earlier) = self.waiting.login(claims.account) else {
            return false;
        };
        let waiting = self.waiting.get(earlier).expect("a login waits");
        let queue_is_here = waiting.queues() && self.zones.contains_key(&waiting.zone);
        if queue_is_here && at.local.caller(&waiting.zone, claims.account, &claims.id) == Caller::TicketSpent {
            self.commands
                .refuse(conn, RefusalCode::TicketUsed, "the ticket was used before");
            return true;
        }
        let mut waiting = self.waiting.remove(earlier).expect("looked up above");
        let detail = "a newer connection of this account logs in";
        self.commands.refuse(earlier, RefusalCode::Superseded, detail);
        let local = self.zones.get_mut(&waiting.zone).filter(|_| waiting.queues());
        let position = local.and_then(|local| local.queue.handle_successor(earlier, conn));
        let Some(position) = position else { return false };
        self.accounts.log_in(at, claims.account, conn, &mut self.commands);
        self.commands.reply(conn, ServerMessage::Queued { position });
        // A log-out was the wish of the earlier connection.
        (waiting.conn, waiting.claim, waiting.logs_out) = (conn, EntryClaim::Join(claims.clone()), false);
        self.waiting.insert(waiting);
        true
    }

    /// Lets in as many as the zones can take now, and tells the others their positions.
    pub(super) fn admit_queued(&mut self, at: Moment<'_>) {
        let mut admitted = Vec::new();
        for (zone, local) in self.zones.iter_mut().filter(|(_, local)| !local.queue.is_empty()) {
            let Some(status) = at.local.zone(zone).filter(|status| status.hosted.is_some()) else {
                continue;
            };
            let admission = local.admission(status.rung, self.config.players_max);
            admitted.extend(local.queue.poll_admitted(admission));
            for (conn, position) in local.queue.poll_positions() {
                self.commands.reply(conn, ServerMessage::Queued { position });
            }
            self.commands.meter(zone, local.length());
        }
        for conn in admitted {
            self.attach(at, conn);
        }
    }

    /// Takes a connection that is over its place in the queue, if it waits in one.
    pub(super) fn give_up(&mut self, conn: AttachToken) {
        let Some(waiting) = self.waiting.remove(conn).filter(WaitingConn::queues) else {
            return;
        };
        if let Some(local) = self.zones.get_mut(&waiting.zone) {
            local.queue.handle_gone(conn);
            self.commands.meter(&waiting.zone, local.length());
        }
    }
}

//! Connections that are let into a zone of this process. One whose character the zone does not have waits until it is
//! looked up what there is to bring: it counts as one of the zone's players already.

use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{Account, RefusalCode, ZoneName};

use super::Routing;
use super::command::{Attach, AttachRequest, RoutingCommand};
use super::homes::FoundCharacter;
use super::local::Moment;
use super::waiting::{EntryClaim, QueuePlace, WaitingConn};
use crate::ingress::{AttachToken, Birth, Lodge};
use crate::limits::TICKET_MEMORY_SLACK_S;
use crate::ownership::DataStamp;

impl Routing {
    /// Lets a waiting connection into its zone, which runs here. From now on it counts as one of the zone's players.
    pub(super) fn attach(&mut self, at: Moment<'_>, conn: AttachToken) {
        let waiting = self.waiting.remove(conn).expect("it has just been seen to wait");
        if self.commands.has_ended(at, conn) {
            // It gave way to another, and would spend what that one has shown, too.
            return;
        }
        let zone = waiting.zone.clone();
        let local = self.zones.get_mut(&zone).expect("a zone that runs here has come up");
        local.players += 1;
        self.placed.insert(conn, zone.clone());
        let account = waiting.claim.account();
        if at.local.has(&zone, account) {
            self.send_in(at, waiting, None);
            return;
        }
        let status = at.local.zone(&zone).expect("it has just been seen to run");
        let asked = DataStamp {
            epoch: local.grant.epoch(),
            tick: status.tick,
        };
        let reserves = !matches!(waiting.claim, EntryClaim::Resume(_));
        self.arriving.insert(conn, waiting);
        let command = self.look_ups.begin_bring(conn, account, zone, (asked, reserves));
        self.commands.push(command);
    }

    /// Sends a connection in with what was found of its character.
    pub(super) fn bring(&mut self, at: Moment<'_>, conn: AttachToken, asked: DataStamp, arrival: FoundCharacter) {
        let Some(waiting) = self.arriving.remove(&conn) else {
            return;
        };
        if self.commands.has_ended(at, conn) {
            return;
        }
        self.send_in(at, waiting, Some((asked, arrival)));
    }

    /// Seeks the zone anew of a connection whose character lives in another one than it was let into.
    pub(super) fn send_on(&mut self, at: Moment<'_>, conn: AttachToken, zone: ZoneName) {
        let Some(mut waiting) = self.arriving.remove(&conn) else {
            return;
        };
        self.take_out(conn);
        if self.commands.has_ended(at, conn) {
            return;
        }
        if waiting.queues() {
            // Its turn came here. Its ticket was heard in time.
            waiting.place = QueuePlace::Lost;
        }
        waiting.zone = zone;
        self.waiting.insert(waiting);
        self.place(at, conn);
    }

    /// Refuses a connection whose character cannot be looked up.
    pub(super) fn refuse_arrival(&mut self, conn: AttachToken) {
        if self.arriving.remove(&conn).is_some() {
            self.take_out(conn);
            let detail = "the character cannot be looked up; try again";
            self.commands.refuse(conn, RefusalCode::Internal, detail);
        }
    }

    /// Lets those that were let into a zone which is over here, and are not in it yet, wait for its next owner.
    ///
    /// Those that have ended are forgotten when they are gone.
    pub(super) fn take_back_arrivals(&mut self, zone: &ZoneName) {
        let of_zone = self.arriving.iter().filter(|(_, waiting)| waiting.zone == *zone);
        let conns: Vec<AttachToken> = of_zone.map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.look_ups.forget(conn);
            let arriving = self.arriving.remove(&conn);
            self.waiting.extend(arriving.filter(|_| !self.commands.is_ending(conn)));
        }
    }

    fn send_in(&mut self, at: Moment<'_>, waiting: WaitingConn, found: Option<(DataStamp, FoundCharacter)>) {
        let WaitingConn {
            conn,
            zone,
            claim,
            logs_out,
            ..
        } = waiting;
        let account = claim.account();
        let birth = birth(found.as_ref());
        let request = match claim {
            EntryClaim::Homing(claims) | EntryClaim::Join(claims) => {
                let status = at.local.zone(&zone);
                let tick = status.map(|status| status.tick).unwrap_or_default();
                AttachRequest::Join {
                    ticket: claims.id,
                    ticket_forget_tick: tick + ticket_memory_ticks(&claims, at.unix_s, self.config.tick_hz),
                    birth,
                }
            }
            EntryClaim::Resume(claim) => AttachRequest::Resume {
                session: claim.session,
                secret: *blake3::hash(&claim.secret).as_bytes(),
                event_seq: claim.event_seq,
            },
        };
        if logs_out {
            self.take_out(conn);
            self.leaving.insert(conn);
        }
        self.commands.push(RoutingCommand::Attach(Attach {
            conn,
            zone,
            account,
            request,
            logs_out,
            lodge: found.and_then(|found| lodge(account, found)),
        }));
    }

    /// Counts a connection that was sent into a zone as one of its players no more. Returns the zone, if it is still
    /// here.
    pub(super) fn take_out(&mut self, conn: AttachToken) -> Option<ZoneName> {
        let zone = self.placed.remove(&conn)?;
        self.zones.get_mut(&zone)?.players -= 1;
        Some(zone)
    }
}

fn birth(found: Option<&(DataStamp, FoundCharacter)>) -> Birth {
    match found {
        Some(&(asked, FoundCharacter::Unborn(generation))) => Birth::Allowed { asked, generation },
        Some((_, FoundCharacter::Rests(..))) | None => Birth::Never,
    }
}

fn lodge(account: Account, (asked, arrival): (DataStamp, FoundCharacter)) -> Option<Lodge> {
    match arrival {
        FoundCharacter::Rests(generation, payload) => Some(Lodge {
            account,
            asked,
            generation,
            payload,
        }),
        FoundCharacter::Unborn(_) => None,
    }
}

/// Ticks for which a zone remembers the ticket's id.
fn ticket_memory_ticks(claims: &TicketClaims, unix_s: u64, tick_hz: u16) -> u64 {
    let left_s = claims.expires_unix_s.saturating_sub(unix_s);
    (left_s + TICKET_MEMORY_SLACK_S) * u64::from(tick_hz)
}

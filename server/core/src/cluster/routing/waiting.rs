//! Connections that said hello and are not attached yet, found by their id, by their zone, and by the account that logs
//! in. It sends nothing and closes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{Account, ZoneName};

use crate::cluster::directory::RouteRequest;
use crate::ingress::{AttachToken, ResumeClaim};

/// A connection that is not attached yet.
#[derive(Debug)]
pub(super) struct WaitingConn {
    pub(super) conn: AttachToken,
    pub(super) zone: ZoneName,
    pub(super) request: RouteRequest,
    pub(super) claim: EntryClaim,
    pub(super) told_to_wait: bool,
    pub(super) place: QueuePlace,
    /// Whether its player has ended the session already: it is logged out as soon as it is attached.
    pub(super) logs_out: bool,
}

/// A connection's place in the login queue of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePlace {
    /// It never had one.
    Never,
    /// It has one.
    Kept,
    /// It had one, until the zone was no longer here. Its ticket was heard in time, and is good here for as long as it
    /// waits.
    Lost,
}

impl WaitingConn {
    /// A connection that has said hello just now.
    pub(super) const fn new(conn: AttachToken, zone: ZoneName, request: RouteRequest, claim: EntryClaim) -> Self {
        Self {
            conn,
            zone,
            request,
            claim,
            told_to_wait: false,
            place: QueuePlace::Never,
            logs_out: false,
        }
    }

    /// Whether it has a place in its zone's login queue.
    pub(super) fn queues(&self) -> bool {
        self.place == QueuePlace::Kept
    }

    /// Whether it has a ticket that was good until before `unix_s`: no other shard would take it.
    pub(super) const fn is_expired(&self, unix_s: u64) -> bool {
        matches!(&self.claim, EntryClaim::Join(claims) if claims.expires_unix_s < unix_s)
    }
}

/// The credential by which a connection will attach.
#[derive(Debug)]
pub(super) enum EntryClaim {
    /// A ticket whose account's home is being looked up.
    Homing(TicketClaims),
    /// A ticket.
    Join(TicketClaims),
    /// A resume secret.
    Resume(ResumeClaim),
}

impl EntryClaim {
    /// The account that it is of.
    pub(super) const fn account(&self) -> Account {
        match self {
            Self::Homing(claims) | Self::Join(claims) => claims.account,
            Self::Resume(claim) => claim.account,
        }
    }

    /// The account, if it logs in by ticket.
    const fn login(&self) -> Option<Account> {
        match self {
            Self::Homing(_) | Self::Join(_) => Some(self.account()),
            Self::Resume(_) => None,
        }
    }
}

/// All connections that wait. An account has one connection in it that logs in by ticket at most.
#[derive(Debug, Default)]
pub(super) struct WaitingList {
    waiting: BTreeMap<AttachToken, WaitingConn>,
    logins: BTreeMap<Account, AttachToken>,
    /// Those whose zone is certain, by zone.
    by_zone: BTreeMap<ZoneName, BTreeSet<AttachToken>>,
    /// Those to be looked at again, a bounded number in each turn.
    due: VecDeque<AttachToken>,
    /// Whether something has changed since `due` was filled.
    stale: bool,
}

impl WaitingList {
    pub(super) fn get(&self, conn: AttachToken) -> Option<&WaitingConn> {
        self.waiting.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: AttachToken) -> Option<&mut WaitingConn> {
        self.waiting.get_mut(&conn)
    }

    /// Adds a connection. One that logs in by ticket must be the only one of its account: see [`WaitingList::login`].
    pub(super) fn insert(&mut self, waiting: WaitingConn) {
        let conn = waiting.conn;
        if let Some(account) = waiting.claim.login() {
            self.logins.insert(account, conn);
        }
        if !matches!(waiting.claim, EntryClaim::Homing(_)) {
            self.by_zone.entry(waiting.zone.clone()).or_default().insert(conn);
        }
        self.waiting.insert(conn, waiting);
    }

    /// Adds connections that waited before.
    pub(super) fn extend(&mut self, waiting: impl IntoIterator<Item = WaitingConn>) {
        waiting.into_iter().for_each(|waiting| self.insert(waiting));
    }

    pub(super) fn remove(&mut self, conn: AttachToken) -> Option<WaitingConn> {
        let waiting = self.waiting.remove(&conn)?;
        if let Some(account) = waiting.claim.login()
            && self.logins.get(&account) == Some(&conn)
        {
            self.logins.remove(&account);
        }
        if let Some(conns) = self.by_zone.get_mut(&waiting.zone) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_zone.remove(&waiting.zone);
            }
        }
        Some(waiting)
    }

    /// The connection by which this account is logging in.
    pub(super) fn login(&self, account: Account) -> Option<AttachToken> {
        self.logins.get(&account).copied()
    }

    /// Takes those out that never had a place in a queue and whose ticket was good until before `unix_s`.
    pub(super) fn take_expired(&mut self, unix_s: u64) -> Vec<WaitingConn> {
        let is_expired = |conn: &AttachToken| {
            let waiting = self.waiting.get(conn);
            waiting.is_some_and(|waiting| waiting.place == QueuePlace::Never && waiting.is_expired(unix_s))
        };
        let expired: Vec<_> = self.logins.values().copied().filter(is_expired).collect();
        expired.into_iter().filter_map(|conn| self.remove(conn)).collect()
    }

    /// Notes the home that was found for a connection, unless that has gone away meanwhile.
    pub(super) fn settle(&mut self, conn: AttachToken, home: ZoneName) {
        let Some(mut waiting) = self.remove(conn) else {
            return;
        };
        waiting.zone = home;
        waiting.claim = match waiting.claim {
            EntryClaim::Homing(claims) => EntryClaim::Join(claims),
            settled => settled,
        };
        self.insert(waiting);
    }

    /// Takes every connection of this zone its place in the queue.
    pub(super) fn forget_queue(&mut self, zone: &ZoneName) {
        for conn in self.by_zone.get(zone).into_iter().flatten() {
            if let Some(waiting) = self.waiting.get_mut(conn).filter(|waiting| waiting.queues()) {
                waiting.place = QueuePlace::Lost;
            }
        }
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = WaitingConn> + use<> {
        std::mem::take(self).waiting.into_values()
    }

    /// Notes that something has changed that may let some of them go on.
    pub(super) fn note_change(&mut self) {
        self.stale = true;
    }

    /// Whether some are to be looked at again.
    pub(super) fn is_due(&self) -> bool {
        self.stale || !self.due.is_empty()
    }

    /// Takes up to `count` of those to be looked at again. After a change these are all that wait for a zone that
    /// `is_served`: no other can go on. A change during such a round begins another one after it.
    pub(super) fn take_due(&mut self, count: usize, is_served: impl Fn(&ZoneName) -> bool) -> Vec<AttachToken> {
        if self.due.is_empty() && std::mem::take(&mut self.stale) {
            let served = self.by_zone.iter().filter(|(zone, _)| is_served(zone));
            self.due = served.flat_map(|(_, conns)| conns).copied().collect();
        }
        self.due.drain(..count.min(self.due.len())).collect()
    }
}

//! Connections that said hello and are not attached yet, found by their token, by their zone, and by the account that logs in.

use std::collections::{BTreeSet, HashMap, VecDeque};

use everhold_core::cluster::RouteRequest;
use everhold_core::ingress::AttachToken;
use everhold_net::transport::Conn;
use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{Account, SessionId, ZoneName};

/// A connection that is not attached yet.
pub(super) struct Waiting {
    pub(super) conn: Conn,
    pub(super) zone: ZoneName,
    pub(super) request: RouteRequest,
    pub(super) claim: Claim,
    pub(super) told_to_wait: bool,
    pub(super) place: QueuePlace,
    /// Its player has ended the session already: it is logged out as soon as it is attached.
    pub(super) logs_out: bool,
}

/// A place in the login queue of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePlace {
    /// Not yet.
    Never,
    /// It has one.
    Kept,
    /// It had one, until the zone was no longer here. Its ticket was heard in time, and is good here for as long as it waits.
    Lost,
}

impl Waiting {
    /// A connection that has said hello just now.
    pub(super) const fn new(conn: Conn, zone: ZoneName, request: RouteRequest, claim: Claim) -> Self {
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
        matches!(&self.claim, Claim::Join(claims) if claims.expires_unix_s < unix_s)
    }
}

/// How it will attach.
pub(super) enum Claim {
    /// The home is being looked up.
    Homing(TicketClaims),
    Join(TicketClaims),
    Resume {
        account: Account,
        session: SessionId,
        secret: [u8; 32],
        event_seq: u64,
    },
}

impl Claim {
    /// Whose it is.
    pub(super) const fn account(&self) -> Account {
        match self {
            Self::Homing(claims) | Self::Join(claims) => claims.account,
            Self::Resume { account, .. } => *account,
        }
    }

    /// The account, if it logs in by ticket.
    const fn login(&self) -> Option<Account> {
        match self {
            Self::Homing(_) | Self::Join(_) => Some(self.account()),
            Self::Resume { .. } => None,
        }
    }
}

/// See the module. An account has one connection in it that logs in by ticket at most.
#[derive(Default)]
pub(super) struct WaitingRoom {
    waiting: HashMap<AttachToken, Waiting>,
    logins: HashMap<Account, AttachToken>,
    /// Those whose zone is certain, by zone.
    by_zone: HashMap<ZoneName, BTreeSet<AttachToken>>,
    /// Those to be looked at again, a bounded number in each turn.
    due: VecDeque<AttachToken>,
    /// Something has changed since `due` was filled.
    stale: bool,
}

impl WaitingRoom {
    pub(super) fn get(&self, token: AttachToken) -> Option<&Waiting> {
        self.waiting.get(&token)
    }

    pub(super) fn get_mut(&mut self, token: AttachToken) -> Option<&mut Waiting> {
        self.waiting.get_mut(&token)
    }

    /// Adds a connection. One that logs in by ticket must be the only one of its account: see [`WaitingRoom::login`].
    pub(super) fn insert(&mut self, waiting: Waiting) {
        let token = waiting.conn.token();
        if let Some(account) = waiting.claim.login() {
            self.logins.insert(account, token);
        }
        if !matches!(waiting.claim, Claim::Homing(_)) {
            self.by_zone.entry(waiting.zone.clone()).or_default().insert(token);
        }
        self.waiting.insert(token, waiting);
    }

    pub(super) fn remove(&mut self, token: AttachToken) -> Option<Waiting> {
        let waiting = self.waiting.remove(&token)?;
        if let Some(account) = waiting.claim.login() {
            self.logins.remove(&account);
        }
        if let Some(tokens) = self.by_zone.get_mut(&waiting.zone) {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.by_zone.remove(&waiting.zone);
            }
        }
        Some(waiting)
    }

    /// The connection by which this account is logging in.
    pub(super) fn login(&self, account: Account) -> Option<AttachToken> {
        self.logins.get(&account).copied()
    }

    /// Takes those out who never had a place in a queue and whose ticket was good until before `unix_s`.
    pub(super) fn take_expired(&mut self, unix_s: u64) -> Vec<Waiting> {
        let is_expired = |token: &AttachToken| {
            let waiting = self.waiting.get(token);
            waiting.is_some_and(|waiting| waiting.place == QueuePlace::Never && waiting.is_expired(unix_s))
        };
        let expired: Vec<_> = self.logins.values().copied().filter(is_expired).collect();
        expired.into_iter().filter_map(|token| self.remove(token)).collect()
    }

    /// The home of a connection has been found. `false`: the connection has gone.
    pub(super) fn settle(&mut self, token: AttachToken, home: ZoneName) -> bool {
        let Some(mut waiting) = self.remove(token) else {
            return false;
        };
        waiting.zone = home;
        waiting.claim = match waiting.claim {
            Claim::Homing(claims) => Claim::Join(claims),
            settled => settled,
        };
        self.insert(waiting);
        true
    }

    /// No connection of this zone has a place in its queue any more.
    pub(super) fn forget_queue(&mut self, zone: &ZoneName) {
        for token in self.by_zone.get(zone).into_iter().flatten() {
            if let Some(waiting) = self.waiting.get_mut(token).filter(|waiting| waiting.queues()) {
                waiting.place = QueuePlace::Lost;
            }
        }
    }

    /// Takes everybody out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        std::mem::take(self).waiting.into_values()
    }

    /// Something has changed that may let some of them go on.
    pub(super) fn note_change(&mut self) {
        self.stale = true;
    }

    /// Whether somebody is to be looked at again.
    pub(super) fn is_due(&self) -> bool {
        self.stale || !self.due.is_empty()
    }

    /// Up to `count` of those to be looked at again. After a change that is everybody who waits for a zone that `is_served`: nobody else can
    /// go on. A change during such a round begins another one after it.
    pub(super) fn take_due(&mut self, count: usize, is_served: impl Fn(&ZoneName) -> bool) -> Vec<AttachToken> {
        if self.due.is_empty() && std::mem::take(&mut self.stale) {
            let served = self.by_zone.iter().filter(|(zone, _)| is_served(zone));
            self.due = served.flat_map(|(_, tokens)| tokens).copied().collect();
        }
        self.due.drain(..count.min(self.due.len())).collect()
    }
}

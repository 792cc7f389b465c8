//! What an account may keep waiting, however many connections it opens, and which of them gives way.
//!
//! | the newer connection shows | it takes the place of |
//! |---|---|
//! | a ticket | all others: its bearer has just been let in by the login service |
//! | a resume secret | those that show the same one; if [`ACCOUNT_WAITING_MAX`] others wait, it is refused itself |
//!
//! A secret proves less than a ticket: that its bearer was the account's player once. Whether it is spent only the zone knows, and the
//! connection may be far from any zone. So whoever has an old one moves nobody but itself.

use std::collections::HashMap;

use everhold_core::ingress::AttachToken;
use everhold_core::limits::ACCOUNT_WAITING_MAX;
use everhold_net::transport::Conn;
use everhold_os::clock;
use everhold_protocol::limits::{SECRET_BYTES, TICKET_SKEW_S};
use everhold_protocol::{Account, RefusalCode};

use super::Router;

/// The connections of each account that are not attached: they wait here, or for the answer of a zone.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    unattached: HashMap<Account, Vec<Unattached>>,
    accounts: HashMap<AttachToken, Account>,
}

#[derive(Debug)]
struct Unattached {
    conn: Conn,
    /// What it has shown; `None` for a ticket.
    secret: Option<[u8; SECRET_BYTES]>,
}

impl Accounts {
    /// A connection has shown a ticket of the account. All others that are not attached give way: a player whose connection broke comes back
    /// on another.
    pub(super) fn log_in(&mut self, account: Account, conn: &Conn) {
        let others = self.unattached.remove(&account).unwrap_or_default();
        others.iter().for_each(Unattached::give_way);
        self.add(account, conn, None);
    }

    /// A connection has shown a secret that was made for the account. `false`: as many others wait as may, and it is to be refused.
    #[must_use]
    pub(super) fn come_back(&mut self, account: Account, conn: &Conn, secret: [u8; SECRET_BYTES]) -> bool {
        let others = self.unattached.entry(account).or_default();
        let same = others.iter().filter(|other| other.secret == Some(secret));
        same.for_each(Unattached::give_way);
        others.retain(Unattached::waits);
        if others.len() >= ACCOUNT_WAITING_MAX {
            return false;
        }
        self.add(account, conn, Some(secret));
        true
    }

    fn add(&mut self, account: Account, conn: &Conn, secret: Option<[u8; SECRET_BYTES]>) {
        self.accounts.insert(conn.token(), account);
        let conn = conn.clone();
        self.unattached
            .entry(account)
            .or_default()
            .push(Unattached { conn, secret });
    }

    /// The connection is over.
    pub(super) fn leave(&mut self, token: AttachToken) {
        let Some(account) = self.accounts.remove(&token) else {
            return;
        };
        if let Some(unattached) = self.unattached.get_mut(&account) {
            unattached.retain(|other| other.conn.token() != token);
            if unattached.is_empty() {
                self.unattached.remove(&account);
            }
        }
    }
}

impl Unattached {
    /// Whether it still is: nobody says here when a connection is attached.
    fn waits(&self) -> bool {
        !self.conn.is_bound() && !self.conn.ended()
    }

    fn give_way(&self) {
        if self.waits() {
            let detail = "a newer connection asks for the same session";
            self.conn.close(RefusalCode::Superseded, detail);
        }
    }
}

impl Router {
    /// Closes the newcomers whose ticket has run out while nobody served their zone: an unused ticket is good for a minute and no longer.
    /// Those who queue, or did, were heard in time, and returning players wait as long as it takes.
    pub(super) fn expire_newcomers(&mut self) {
        for waiting in self.waiting.take_expired(tickets_over_before_unix_s()) {
            let detail = "the ticket has expired before anybody served the zone: log in again";
            waiting.conn.close(RefusalCode::TicketExpired, detail);
        }
    }
}

/// A ticket whose last second is before this one is good nowhere any more, whatever the clocks of hosts are.
pub(super) fn tickets_over_before_unix_s() -> u64 {
    clock::unix_s().saturating_sub(TICKET_SKEW_S)
}

//! One place for each account: what a player may keep waiting, however many connections it opens.

use std::collections::HashMap;

use everhold_protocol::limits::TICKET_SKEW_S;
use everhold_protocol::{Account, RefusalCode};

use super::Router;
use crate::ingress::AttachToken;
use crate::io::clock;
use crate::io::transport::Conn;

/// The newest connection of each account. Those before it are attached, or are being closed.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    newest: HashMap<Account, Conn>,
    accounts: HashMap<AttachToken, Account>,
}

impl Accounts {
    /// A connection has proven to be the account's. The one before it gives way if it is not attached: a player whose connection broke
    /// comes back on another, and nobody can fill a server with connections that wait for the same session.
    pub(super) fn enter(&mut self, account: Account, conn: &Conn) {
        self.accounts.insert(conn.token(), account);
        if let Some(earlier) = self.newest.insert(account, conn.clone())
            && !earlier.is_bound()
        {
            earlier.close(RefusalCode::Superseded, "a newer connection asks for the same session");
        }
    }

    /// The connection is over.
    pub(super) fn leave(&mut self, token: AttachToken) {
        let Some(account) = self.accounts.remove(&token) else {
            return;
        };
        if self.newest.get(&account).is_some_and(|conn| conn.token() == token) {
            self.newest.remove(&account);
        }
    }
}

impl Router {
    /// Closes the newcomers whose ticket has run out while nobody served their zone: an unused ticket is good for a minute and no longer.
    /// Those who queue were heard in time, and returning players wait as long as it takes.
    pub(super) fn expire_newcomers(&mut self) {
        for waiting in self.waiting.take_expired(clock::unix_s().saturating_sub(TICKET_SKEW_S)) {
            let detail = "the ticket has expired before anybody served the zone: log in again";
            waiting.conn.close(RefusalCode::TicketExpired, detail);
        }
    }
}

//! The bound on connections of one account that wait, and the choice of the one that gives way to a newer one. It
//! closes none itself.
//!
//! | the newer connection shows | it takes the place of |
//! |---|---|
//! | a ticket | all others: its bearer has just been let in by the login service |
//! | a resume secret | those that show the same one; if [`ACCOUNT_WAITING_MAX`] others wait, it is refused itself |
//!
//! A secret proves less than a ticket: that its bearer was the account's player once. Whether it is spent only the zone
//! knows, and the connection may be far from any zone. So the bearer of an old secret displaces no connection but its
//! own, and never a ticket.

use std::collections::{BTreeMap, BTreeSet};

use everhold_protocol::limits::SECRET_BYTES;
use everhold_protocol::{Account, RefusalCode};

use super::command::Commands;
use super::local::{ConnStatus, Moment};
use crate::ingress::AttachToken;
use crate::limits::ACCOUNT_WAITING_MAX;

/// The connections of each account that are not attached: they wait here, or for the answer of a zone.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    unattached: BTreeMap<Account, Vec<Unattached>>,
    accounts: BTreeMap<AttachToken, Account>,
}

#[derive(Clone, Copy, Debug)]
struct Unattached {
    conn: AttachToken,
    /// The secret that it has shown; `None` for a ticket.
    secret: Option<[u8; SECRET_BYTES]>,
}

impl Accounts {
    /// Adds a connection that has shown a ticket of the account. All others that are not attached give way: a player
    /// whose connection broke comes back on another.
    pub(super) fn log_in(&mut self, at: Moment<'_>, account: Account, conn: AttachToken, commands: &mut Commands) {
        for other in self.unattached.remove(&account).unwrap_or_default() {
            other.give_way(at, commands);
        }
        self.add(account, conn, None);
    }

    /// Adds a connection that has shown a secret which was made for the account. Returns whether it may wait; if as
    /// many others wait as may, it is to be refused.
    #[must_use]
    pub(super) fn come_back(
        &mut self,
        at: Moment<'_>,
        account: Account,
        conn: AttachToken,
        secret: [u8; SECRET_BYTES],
        commands: &mut Commands,
    ) -> bool {
        let others = self.unattached.entry(account).or_default();
        for same in others.iter().filter(|other| other.secret == Some(secret)) {
            same.give_way(at, commands);
        }
        others.retain(|other| other.waits(at, commands));
        if others.len() >= ACCOUNT_WAITING_MAX {
            return false;
        }
        self.add(account, conn, Some(secret));
        true
    }

    fn add(&mut self, account: Account, conn: AttachToken, secret: Option<[u8; SECRET_BYTES]>) {
        self.accounts.insert(conn, account);
        let unattached = self.unattached.entry(account).or_default();
        unattached.push(Unattached { conn, secret });
    }

    /// Returns the connections of these accounts, attached ones too.
    pub(super) fn conns_of(&self, accounts: &BTreeSet<Account>) -> Vec<(AttachToken, Account)> {
        let all = self.accounts.iter().map(|(conn, account)| (*conn, *account));
        all.filter(|(_, account)| accounts.contains(account)).collect()
    }

    /// Forgets a connection that is gone.
    pub(super) fn leave(&mut self, conn: AttachToken) {
        let Some(account) = self.accounts.remove(&conn) else {
            return;
        };
        if let Some(unattached) = self.unattached.get_mut(&account) {
            unattached.retain(|other| other.conn != conn);
            if unattached.is_empty() {
                self.unattached.remove(&account);
            }
        }
    }
}

impl Unattached {
    /// Whether it still waits: routing is not told when a zone has attached a connection.
    fn waits(self, at: Moment<'_>, commands: &Commands) -> bool {
        !commands.has_ended(at, self.conn) && at.local.conn(self.conn) == ConnStatus::Unattached
    }

    fn give_way(self, at: Moment<'_>, commands: &mut Commands) {
        if self.waits(at, commands) {
            let detail = "a newer connection asks for the same session";
            commands.refuse(self.conn, RefusalCode::Superseded, detail);
        }
    }
}

//! Connections of accounts that are banned while they are here: those that wait are refused, and a zone is told to end
//! the session of those that were sent into it. Whether an account is banned is decided elsewhere.

use std::collections::BTreeSet;

use everhold_protocol::{Account, RefusalCode};

use super::Routing;
use super::command::RoutingCommand;
use crate::ingress::AttachToken;

/// The sentence that goes with the code. It names no reason: that is for operators.
pub(crate) const BANNED_DETAIL: &str = "the account is banned";

impl Routing {
    /// Notes that these accounts are banned. Call it again while a connection of theirs may still be let in: a zone
    /// may be too full to take the order, and a connection may be attached a moment later.
    pub fn handle_banned(&mut self, accounts: &BTreeSet<Account>) {
        for (conn, account) in self.accounts.conns_of(accounts) {
            if !self.commands.is_ending(conn) {
                self.end_banned(conn, account);
            }
        }
    }

    fn end_banned(&mut self, conn: AttachToken, account: Account) {
        let waits = self.waiting.get(conn).is_some();
        let arrives = self.arriving.remove(&conn).is_some();
        if waits || arrives {
            self.give_up(conn);
            self.look_ups.forget(conn);
            self.take_out(conn);
            self.commands.refuse(conn, RefusalCode::Banned, BANNED_DETAIL);
        } else if let Some(zone) = self.placed.get(&conn).cloned() {
            let code = RefusalCode::Banned;
            self.commands.push(RoutingCommand::Dismiss { account, zone, code });
        }
    }
}

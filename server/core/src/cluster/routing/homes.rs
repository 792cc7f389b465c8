//! Homes that are being looked up: what the store is asked for, how often, and what its answer means. It asks no store
//! itself.
//!
//! A ticket says where a *new* character is born. The home is set if there is none, in the same operation that reads
//! it, so that two shards which see a new account at the same time agree.

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_protocol::{Account, ZoneName};

use super::command::RoutingCommand;
use crate::cluster::Home;
use crate::durability::store::StoreError;
use crate::ingress::AttachToken;

/// Tries to reach the store for a home, after the first, before a login is refused ...
const HOME_RETRIES_MAX: u32 = 8;
/// ... and the wait before each.
const HOME_RETRY: Duration = Duration::from_millis(250);

/// The look-ups that have no answer yet. One goes on when its connection is gone: a character that is born stays so.
#[derive(Debug, Default)]
pub(super) struct HomeLookUps {
    running: BTreeMap<AttachToken, LookUp>,
}

#[derive(Debug)]
struct LookUp {
    account: Account,
    born: ZoneName,
    /// Times that the store was asked again.
    retries: u32,
}

/// The meaning of the store's answer to a look-up.
#[derive(Debug)]
pub(super) enum HomeAnswer {
    /// The account's character lives, or is born, in this zone.
    Known(ZoneName),
    /// The store is to be asked again.
    Again(RoutingCommand),
    /// The home cannot be read.
    Unreadable(StoreError),
}

impl HomeLookUps {
    /// Begins a look-up for a connection whose ticket says where a new character is born.
    pub(super) fn begin(&mut self, conn: AttachToken, account: Account, born: ZoneName) -> RoutingCommand {
        let look_up = LookUp {
            account,
            born,
            retries: 0,
        };
        let command = look_up.command(conn, Duration::ZERO);
        self.running.insert(conn, look_up);
        command
    }

    /// Judges the store's answer: the home that the account had before, if any. `None` if there is no such look-up.
    pub(super) fn handle_answer(
        &mut self,
        conn: AttachToken,
        answer: Result<Option<Home>, StoreError>,
    ) -> Option<HomeAnswer> {
        let look_up = self.running.get_mut(&conn)?;
        if matches!(answer, Err(StoreError::Unavailable(_))) && look_up.retries < HOME_RETRIES_MAX {
            look_up.retries += 1;
            return Some(HomeAnswer::Again(look_up.command(conn, HOME_RETRY)));
        }
        let look_up = self.running.remove(&conn)?;
        Some(match answer {
            Ok(None) => HomeAnswer::Known(look_up.born),
            Ok(Some(home)) => HomeAnswer::Known(home.zone),
            Err(error) => HomeAnswer::Unreadable(error),
        })
    }
}

impl LookUp {
    fn command(&self, conn: AttachToken, after: Duration) -> RoutingCommand {
        RoutingCommand::SetHome {
            conn,
            account: self.account,
            home: Home::first(self.born.clone()),
            after,
        }
    }
}

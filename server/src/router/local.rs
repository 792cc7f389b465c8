//! The zones and connections of this process, as routing sees them. It decides nothing.

use std::collections::HashMap;

use everhold_core::cluster::routing::{ConnStatus, LocalState, Moment, ZoneStatus};
use everhold_core::ingress::AttachToken;
use everhold_core::load::Caller;
use everhold_net::transport::Conn;
use everhold_os::clock;
use everhold_protocol::{Account, ZoneName};

use crate::host::ZoneHandle;

/// Handles on what routing knows by name.
#[derive(Default)]
pub(super) struct Local {
    pub(super) zones: HashMap<ZoneName, ZoneHandle>,
    /// Connections that have said hello and are not over.
    pub(super) conns: HashMap<AttachToken, Conn>,
}

impl Local {
    /// The moment in which it is called.
    pub(super) fn now(&self) -> Moment<'_> {
        Moment {
            now: clock::boottime(),
            unix_s: clock::unix_s(),
            local: self,
        }
    }
}

impl LocalState for Local {
    fn zone(&self, zone: &ZoneName) -> Option<ZoneStatus> {
        self.zones.get(zone).map(|handle| ZoneStatus {
            hosted: handle.hosted(),
            rung: handle.gauges.load.rung(),
            tick: handle.tick(),
        })
    }

    fn caller(&self, zone: &ZoneName, account: Account, ticket: &[u8; 16]) -> Caller {
        self.zones[zone].caller(account, ticket)
    }

    fn has(&self, zone: &ZoneName, account: Account) -> bool {
        self.zones[zone].has(account)
    }

    fn conn(&self, conn: AttachToken) -> ConnStatus {
        match self.conns.get(&conn) {
            Some(conn) if conn.ended() => ConnStatus::Ended,
            Some(conn) if conn.is_bound() => ConnStatus::Attached,
            Some(_) => ConnStatus::Unattached,
            None => ConnStatus::Ended,
        }
    }
}

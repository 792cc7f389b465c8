//! The events that a connection leaves behind until its shard has room for them.

use std::collections::VecDeque;

use everhold_protocol::RefusalCode;
use tokio::sync::mpsc::error::TrySendError;

use crate::transport::ConnEvent;
use crate::transport::shared::{AddressPlace, Slots, TransportShared};

/// Events of a connection that its shard had no room for, with what the connection is counted in. It outlives the
/// connection until they are sent.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    pub(super) slots: Option<Slots>,
    pub(super) place: Option<AddressPlace>,
    /// At most two: `Hello` or `Logout`, and `Closed`.
    pub(super) events: VecDeque<ConnEvent>,
}

impl PendingEvents {
    /// Sends the events for which the shard has room. Returns whether some are left.
    pub(super) fn send(&mut self, shared: &TransportShared) -> bool {
        while let Some(event) = self.events.pop_front() {
            match shared.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.events.push_front(event);
                    return true;
                }
                // A shard that no longer listens is stopping, and closes its transport itself.
                Err(TrySendError::Closed(ConnEvent::Hello { conn, .. })) => conn.close(RefusalCode::Stopping, ""),
                Err(TrySendError::Closed(_)) => {}
            }
        }
        false
    }
}

//! The world as one client knows it.

use crate::ids::{SessionId, Tick};
use crate::message::OwnState;
use crate::snapshot::EntityView;

/// The world as one client knows it.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// The player: place and hit points from snapshots, purse and inventory from events and the last `Attached`.
    pub own: OwnState,
    /// What the last snapshot showed.
    pub entities: Vec<EntityView>,
    /// The highest epoch attached under.
    pub epoch: u32,
    /// The tick of the last snapshot, or of the attach.
    pub tick: Tick,
    /// The session, once attached.
    pub session: Option<SessionId>,
    /// The last event heard.
    pub event_seq: u32,
    /// The last input confirmed.
    pub last_confirmed: u32,
}

//! The scene after a tick: plain columns of what can be seen, copied out of the World for interest and replication.

use everhold_protocol::{EntityView, SessionId};

use crate::ingress::AttachToken;

/// An attached session and what its snapshot header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneSession {
    /// The session; its player's entity has the same id.
    pub session: SessionId,
    /// The connection that speaks for it. Another one has seen nothing yet.
    pub attach: AttachToken,
    /// The last input applied.
    pub last_input_seq: u64,
    /// The last event.
    pub event_seq: u64,
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
    /// Hit points.
    pub hp: u16,
    /// Digest of purse and inventory.
    pub value_digest: u32,
}

/// Everything visible, and everybody who looks. Reused from tick to tick.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Every visible entity, in no particular order: nothing that is told depends on it but the order of equals.
    pub entities: Vec<EntityView>,
    /// Every attached session.
    pub sessions: Vec<SceneSession>,
}

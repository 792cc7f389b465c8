//! The protocol of Everhold clients and servers. It opens no socket, reads no clock, and knows no ECS.
//!
//! Two kinds of bytes travel on one QUIC connection (ALPN [`ALPN`]):
//!
//! | bytes | where | codec | module |
//! |---|---|---|---|
//! | control: [`ClientMessage`], [`ServerMessage`] | a stream opened by the client | framed `rmp-serde` | [`message`] |
//! | [`InputFrame`] (up), [`Snapshot`] (down) | datagrams | packed by hand | [`input`], [`snapshot`] |
//!
//! [`client`] is the client's half as a state machine without I/O: a game client, the simulated players of
//! `client-sim`, and the server's own tests all drive the same one.

pub mod ids;
pub mod limits;
pub mod hash;
pub mod rng;
pub mod codec;
pub mod text;
pub mod intent;
pub mod event;
pub mod message;
pub mod input;
pub mod snapshot;
pub mod ticket;
pub mod client;

pub use client::{Client, ClientConfig};
pub use codec::{DecodeError, Reader, Writer};
pub use event::{Event, GoldCause, ItemCause, SeqEvent};
pub use ids::{Account, EntityId, Epoch, Item, SessionId, Tick, ZoneName};
pub use input::{InputFrame, ReceivedFrame, SeqIntent};
pub use intent::{Heading, Intent, IntentError};
pub use message::{
    Attached, ClientMessage, Credential, FrameDecoder, FrameError, OwnState, RefusalCode, ServerMessage,
};
pub use snapshot::{
    EntityKind, EntityUpdate, EntityView, HeaderForm, Snapshot, SnapshotHeader, TickHeader, Velocity, value_digest,
};
pub use ticket::{TicketClaims, TicketError};

/// The ALPN protocol name. Its number rises when older peers could not even be told why they are refused; all other
/// changes raise [`PROTOCOL_VERSION`].
pub const ALPN: &[u8] = b"everhold/1";

/// The version that [`ClientMessage::Hello`] names. A server refuses any other with [`RefusalCode::Version`], whatever
/// else is in that `Hello`: the version is read first, and every version writes it in the same place
/// ([`message::hello_version`]).
pub const PROTOCOL_VERSION: u16 = 4;

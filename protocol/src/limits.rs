//! Bounds that both sides keep. Each has a unit in its name and a reason in its doc; `const` asserts relate them.

/// Payload of one datagram, bytes. QUIC's least path MTU is 1,200 B; quinn spends up to 38 B of it on headers and the
/// tag.
pub const DATAGRAM_BYTES_MAX: usize = 1_144;

/// The least `max_datagram_frame_size` (RFC 9221, 3) that a client may announce, bytes: the payload, one byte of type,
/// and up to eight of length, which a server's QUIC reserves although two are enough. With a smaller one, or none, it
/// is refused.
pub const DATAGRAM_FRAME_BYTES_MIN: usize = DATAGRAM_BYTES_MAX + 1 + 8;

/// Deviation of an entity from where viewers believe it to be, from which they are told, cm: less than a character is
/// wide.
pub const DEVIATION_CM_MAX: i32 = 10;

/// Ticks in which every entity in sight is sent at least once: a loss is repaired within a second at 20 Hz, and an
/// entity that comes into sight is seen by then.
pub const REFRESH_TICKS: u64 = 20;

/// Ticks without a record after which an entity is forgotten. Three refreshes (or, when a server tells of far entities
/// less often, one and a half) are lost together about once in a thousand times at a loss of 10 %.
pub const FORGET_TICKS: u64 = 3 * REFRESH_TICKS;

/// One control message, bytes: far above a login, far below what a stream window holds.
pub const CONTROL_BYTES_MAX: usize = 16 * 1024;

/// The first control message of a connection, bytes: a ticket and little more, since its sender is still a stranger.
pub const HELLO_BYTES_MAX: usize = 2 * 1024;

/// Intents that one input frame repeats. At 20 Hz, eight bridge 400 ms of loss.
pub const FRAME_INTENTS_MAX: usize = 8;

/// Intents that a client may have unconfirmed. It stops making new ones beyond; at 20 Hz this bridges an adoption of
/// six seconds.
pub const UNCONFIRMED_INTENTS_MAX: usize = 128;

/// Chat text, bytes of UTF-8: a frame of [`FRAME_INTENTS_MAX`] of them still fits a datagram.
pub const CHAT_BYTES_MAX: usize = 120;

/// Marks that chat text may pile on one character. Biblical Hebrew and Burmese come to five, Tibetan to seven; text
/// that runs out of its line has tens.
pub const CHAT_MARKS_MAX: u32 = 8;

/// Invisible characters that may follow each other in chat text: an emoji's selector and joiner are two. More would
/// hide something.
pub const CHAT_INVISIBLE_MAX: u32 = 2;

/// Slots of an inventory.
pub const INVENTORY_ITEMS_MAX: usize = 24;

/// A resume secret, bytes: 256 bits cannot be guessed.
pub const SECRET_BYTES: usize = 32;

/// Longest validity of a login ticket, seconds: the zone remembers the id of each used one for so long.
pub const TICKET_LIFETIME_S_MAX: u64 = 60;

/// Greatest difference between the clocks of the login service and a shard, seconds.
pub const TICKET_SKEW_S: u64 = 5;

/// Time from the first packet of a connection to its whole `Hello`, ms: ten round trips of a bad link.
pub const LOGIN_MS_MAX: u64 = 3_000;

/// Silence of a client after which its connection is gone, ms. Players send several times a second; a client that waits
/// or queues, and has nothing to say, sends a PING every few seconds.
pub const IDLE_MS_MAX: u64 = 10_000;

/// Control messages per second that a client may send, with a burst of twice as many. It has little to say but
/// `Logout`.
pub const CONTROL_MESSAGES_PER_S: u32 = 30;

/// Datagrams that a client may send for each tick of the zone's rate. Together with [`DATAGRAMS_EXTRA_PER_S`] that is
/// 50 a second at 20 Hz, with a burst of as many. Datagrams above it are dropped, and a client that goes on so for ten
/// seconds is closed with `RateExceeded`.
pub const DATAGRAMS_PER_TICK: u32 = 2;

/// Datagrams a second that a client may send besides, whatever the zone's tick rate.
pub const DATAGRAMS_EXTRA_PER_S: u32 = 10;

/// Undecodable datagrams forgiven in a row; one more is forgiven each second. QUIC delivers whole datagrams, so an
/// honest client sends none.
pub const DATAGRAMS_MALFORMED_MAX: u32 = 16;

const _: () = assert!(FRAME_INTENTS_MAX * (CHAT_BYTES_MAX + 8) + 32 <= DATAGRAM_BYTES_MAX);
const _: () = assert!(HELLO_BYTES_MAX <= CONTROL_BYTES_MAX);

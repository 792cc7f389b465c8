//! Every bound of the server: a name with its unit last, a default, a reason.

/// Inputs that one tick takes. At 10,000 players each may send one a tick and some two; what does not fit waits for the next tick.
pub const TICK_INPUTS_MAX: usize = 20_000;
/// Entries of a zone's inbox between transport and tick thread; beyond it frames are dropped and counted (clients repeat them).
pub const INBOX_ENTRIES_MAX: usize = 65_536;
/// Records that wait in memory for their acknowledgement: at 20 Hz three minutes of a store that does not answer.
pub const RING_RECORDS_MAX: usize = 4_096;
/// Records of one append: bounds the size of one store operation after an outage.
pub const APPEND_RECORDS_MAX: usize = 64;
/// One part of a checkpoint's body, bytes: bounds how long one store operation holds the store.
pub const PART_BYTES_MAX: usize = 64 * 1024;
/// Events kept for a session until the client has them. Beyond it the oldest are forgotten; `Attached` carries the whole own state.
pub const OUTBOX_EVENTS_MAX: usize = 256;
/// Sessions of one zone, awake or away.
pub const ZONE_SESSIONS_MAX: usize = 20_000;
/// Ticket ids that a zone remembers; each is forgotten when the ticket has expired.
pub const USED_TICKETS_MAX: usize = 65_536;
/// Version of the layout of a captured state and of what decides a record's effect; it rises with every change that an older reader
/// would misread, and is part of every `rules_id`.
pub const STATE_LAYOUT: u16 = 1;

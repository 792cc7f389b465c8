//! Every bound of the server: a name with its unit last, a default, a reason. Those that a client must know, too, are in the protocol's limits.

pub use everhold_protocol::limits::{
    CONTROL_MESSAGES_PER_S, DATAGRAMS_EXTRA_PER_S, DATAGRAMS_MALFORMED_MAX, DATAGRAMS_PER_TICK, IDLE_MS_MAX,
    LOGIN_MS_MAX,
};

/// Inputs that one tick takes. At 10,000 players each may send one a tick and some two; what does not fit waits for the next tick.
pub const TICK_INPUTS_MAX: usize = 20_000;
/// Entries of a zone's inbox between transport and tick thread; beyond it frames are dropped and counted (clients repeat them).
pub const INBOX_ENTRIES_MAX: usize = 65_536;
/// Ticks that may wait for their acknowledgement before a zone holds. At 20 Hz two seconds: a store that hiccups is bridged, and a store
/// that is gone does not make players act in a world that they cannot see.
pub const UNACKNOWLEDGED_TICKS_MAX: u64 = 40;
/// A change is told again after so many ticks. Two packets in a row are lost together more often than two that are apart.
pub const CHANGE_REPEAT_TICKS: u64 = 3;
/// A newcomer is shown everything once more after so many ticks, in case the first time was lost.
pub const NEWCOMER_REPEAT_TICKS: u64 = 2;
/// Ticks whose snapshots are sent at once. At 20 Hz a fifth of a second, in which most of what was left out is told again.
pub const SHOWN_TICKS_MAX: usize = 4;
/// Records that wait in memory for their acknowledgement: at 20 Hz three minutes of a store that does not answer.
pub const RING_RECORDS_MAX: usize = 4_096;
/// Records of one append: bounds the size of one store operation after an outage.
pub const APPEND_RECORDS_MAX: usize = 64;
/// One part of a checkpoint's body, bytes: bounds how long one store operation holds the store.
pub const PART_BYTES_MAX: usize = 64 * 1024;
/// Events kept for a session until the client has them. Beyond it the oldest are forgotten; `Attached` carries the whole own state.
pub const OUTBOX_EVENTS_MAX: usize = 256;
/// Answers to one secret, beyond the first, that may all be lost: a client gives up a connection without one after 3 s, so these are half a
/// minute in which each is late. 32 bytes each, until an input shows which of them has come.
pub const UNHEARD_SECRETS_MAX: usize = 8;
/// Sessions of one zone, awake or away: ten times as many as a core serves, for a character stays when its player leaves.
pub const ZONE_SESSIONS_MAX: usize = 50_000;
/// Connections of one account that wait at a shard, each with another secret, or one of them with a ticket. A player has one or two secrets
/// that may be good: its newest, and the one before, whose answer may be lost.
pub const ACCOUNT_WAITING_MAX: usize = 4;
/// Ticket ids that a zone remembers; each is forgotten when the ticket has expired.
pub const USED_TICKETS_MAX: usize = 65_536;

/// Entries that one drain of an inbox looks at, useful or not: a full channel, so that a flood of repeats cannot hold a tick.
pub const TICK_ENTRIES_MAX: usize = INBOX_ENTRIES_MAX;
/// Intents of one session that one tick takes: two frames. A client that was silent catches up at most so fast; the rest it repeats.
pub const TICK_SESSION_INTENTS_MAX: usize = 2 * everhold_protocol::limits::FRAME_INTENTS_MAX;
/// An event acknowledgement becomes an input when it advances by so many events ...
pub const EVENT_ACK_EVENTS_MIN: u64 = 8;
/// ... or, if it advances at all, after so many ticks: a second at 20 Hz. Both keep the journal from carrying one per event.
pub const EVENT_ACK_TICKS_MAX: u32 = 20;

/// Keys of one kind that are good at a time: the one in use, and the one that it replaces or that will replace it.
pub const KEYS_GOOD_MAX: usize = 2;
/// The longest key file that is read, bytes: two certificates in PEM have about 1,500.
pub const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// A certificate that expires within so many seconds is warned of: thirty days, in which a rotation with all its clients is done.
pub const CERTIFICATE_WARNING_S: u64 = 30 * 86_400;

/// Connections of one shard that have shown a ticket or a secret of this world: 5,000 players and as many that park or come back. At most
/// [`CONNECTION_BYTES_MAX`] each, mostly a tenth of it.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections between first packet and verified `Hello`, besides [`CONNECTIONS_MAX`]; beyond it each newcomer takes the place of an
/// older one. About 31 KiB each.
pub const HALF_OPEN_MAX: usize = 1_024;
/// Half-open connections above which a stranger must first show, by a Retry, that its address is its own.
pub const HALF_OPEN_UNVALIDATED_MAX: usize = 128;
/// Connection attempts per second from one address (an IPv6 /64): a network of many players behind one address is served, one host that
/// does nothing but shake hands gets a fiftieth of a core at most.
pub const ADDRESS_ATTEMPTS_PER_S: u32 = 50;
/// Attempts of one address at once: five hundred players of one network come back after a failover.
pub const ADDRESS_ATTEMPTS_BURST: u32 = 500;
/// Connections of one address at the same time: a tenth of what the server has.
pub const ADDRESS_CONNECTIONS_MAX: usize = 1_000;
/// Addresses that are remembered, about 128 bytes each: 8 MiB.
pub const ADDRESSES_MAX: usize = 65_536;
/// Of these, those that have proven nothing: forged ones must not push out true ones.
pub const ADDRESSES_UNVALIDATED_MAX: usize = ADDRESSES_MAX / 2;
/// Connection attempts that wait for the accept loop; it answers each in microseconds.
pub const INCOMING_MAX: usize = 1_024;
/// Bytes kept of one attempt before it is accepted: a client's first flight fits many times.
pub const INCOMING_BYTES_MAX: u64 = 16 * 1024;
/// Bytes kept of all attempts before they are accepted.
pub const INCOMING_BYTES_TOTAL_MAX: u64 = 16 * 1024 * 1024;
/// Receive window of the control stream and of the connection, bytes: two of the largest control messages.
pub const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// Unacknowledged control bytes that the connection keeps for a peer.
pub const SEND_WINDOW_BYTES: u64 = 64 * 1024;
/// Datagrams received and not yet read, bytes; the oldest is dropped.
pub const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
/// Datagrams accepted and not yet sent, bytes: about seven full ones. Older snapshots die here: a newer one supersedes them.
pub const DATAGRAM_SEND_BYTES: usize = 8 * 1024;
/// Buffers of the UDP socket, each way, bytes: out, a whole tick's burst to some thousands of players; in, thousands who knock at once when
/// another shard has died, each with a packet of 1,200 B (with 1 MiB some were not heard, and the gap's p99 was half as long again). The
/// price is a queue of up to 100 ms in front of a net thread that cannot keep up.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How long one send waits for room in a full socket buffer, once a turn, ms: a card of 1 Gbit/s empties a tenth of it in so long.
pub const SEND_WAIT_MS_MAX: u64 = 4;
/// Threads that carry connections, unless configured: one of today's cores serves what [`CONNECTIONS_MAX`] allows.
pub const NET_THREADS: usize = 1;
/// Threads that carry connections, at most. A connection id has eight bits for them.
pub const NET_THREADS_MAX: usize = 64;
/// Batches of datagrams that wait for a net thread: eight ticks of eight zones. Beyond it whole batches are dropped; the next supersede them.
pub const DATAGRAM_BATCHES_MAX: usize = 64;
/// Packets that wait for the net thread that owns their connection: only players who have just moved to another network send them.
pub const FORWARDED_PACKETS_MAX: usize = 1_024;
/// Bytes that a connection may always have in flight, whatever was lost: ten packets, as at its beginning (RFC 9002, 7.2).
pub const WINDOW_BYTES_MIN: u64 = 12_000;
/// Control messages that wait for a slow reader: a whole outbox after a resume, twice.
pub const CONTROL_QUEUE_MESSAGES_MAX: usize = 2 * OUTBOX_EVENTS_MAX + 64;
/// Bytes of control messages that wait for a slow reader.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Packets per second that a client may send, and as many at once; at higher tick rates eight for each tick. An honest one sends two a tick
/// and an acknowledgement for every second one it gets, some 50 a second at 20 Hz, and a few hundred at once when it reads all it missed.
/// What is beyond is not even decrypted.
pub const PACKETS_PER_S: u32 = 400;
/// Seconds' worth of excess (at twice the allowed rate; sooner if faster) after which a peer that sends too much is closed.
pub const RATE_EXCESS_S: u32 = 10;
/// How long a closing connection waits for its last words to be acknowledged, ms.
pub const CLOSE_MS_MAX: u64 = 500;
/// Pieces of a stream that QUIC keeps until what is missing before them comes: quinn's bound; beyond it pieces are put together, or the
/// connection is closed.
const STREAM_PIECES_MAX: usize = 2_048;
/// What one such piece takes, however short it is, bytes: the packet it came in, 48, the counter of those who hold that, 48, and its entry.
const STREAM_PIECE_BYTES: usize = 160;
/// Bytes that QUIC lets longer packets take beyond what is used of them, before it copies that: three halves of the window.
const STREAM_SLACK_BYTES: usize = STREAM_WINDOW_BYTES as usize * 3 / 2;
/// What QUIC and TLS keep of a connection besides the buffers above, bytes: 30 to 50 KiB as measured.
const CONNECTION_STATE_BYTES: usize = 64 * 1024;
/// What a peer that fills everything it may can make this side keep, bytes, counted as allocated: both windows of the control stream, in as
/// many pieces as there may be, and the message that is being put together, datagrams both ways, and messages that it does not read.
pub const CONNECTION_BYTES_MAX: usize = STREAM_WINDOW_BYTES as usize
    + everhold_protocol::limits::CONTROL_BYTES_MAX
    + SEND_WINDOW_BYTES as usize
    + DATAGRAM_RECEIVE_BYTES
    + DATAGRAM_SEND_BYTES
    + CONTROL_QUEUE_BYTES_MAX
    + STREAM_PIECES_MAX * STREAM_PIECE_BYTES
    + STREAM_SLACK_BYTES
    + CONNECTION_STATE_BYTES;
/// Share of the machine's memory that all connections may come to take, in a hundred; a start that allows more says so. The rest is the
/// world's.
pub const CONNECTIONS_MEMORY_PERCENT_MAX: u64 = 60;
/// Seconds for which a client that was here may skip the Retry of a crowded server: a day, so that who plays every evening does.
pub const ADDRESS_TOKEN_S: u64 = 24 * 60 * 60;
/// A ticket's id is remembered for so many seconds longer than the ticket lives: clocks of hosts differ, and game time may run slower.
pub const TICKET_MEMORY_SLACK_S: u64 = 60;
/// Events of connections that wait for the shard; beyond it connections wait, each on its own.
pub const CONN_EVENTS_MAX: usize = 4_096;

const _: () = assert!(HALF_OPEN_UNVALIDATED_MAX <= HALF_OPEN_MAX);
const _: () = assert!(ADDRESS_CONNECTIONS_MAX <= CONNECTIONS_MAX);
const _: () = assert!(CONNECTION_BYTES_MAX <= 1024 * 1024, "what one connection may cost");
const _: () = assert!(NET_THREADS_MAX <= 256, "a connection id has one byte for the thread");
const _: () = assert!(TICKET_MEMORY_SLACK_S > everhold_protocol::limits::TICKET_SKEW_S);
const _: () = assert!(CONTROL_QUEUE_MESSAGES_MAX > OUTBOX_EVENTS_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES as usize >= 2 * everhold_protocol::limits::CONTROL_BYTES_MAX);
const _: () = assert!(TICK_INPUTS_MAX > TICK_SESSION_INTENTS_MAX);
/// Entities of one zone's scene: more than two for each session. Interest packs their places into 17 bits of a sort key.
pub const SCENE_ENTITIES_MAX: usize = 131_072;

const _: () = assert!(ZONE_SESSIONS_MAX * 2 <= SCENE_ENTITIES_MAX);

/// Numbers of zones: twelve bits of every id that a zone allocates, so that ids are unique in the whole world.
pub const ZONE_NUMBER_MAX: u16 = 4_095;
/// Monsters and items on the ground of one zone, at most: beside all its sessions they fit a scene.
pub const ZONE_THINGS_MAX: usize = SCENE_ENTITIES_MAX - ZONE_SESSIONS_MAX;
/// A world file, bytes: several zones with every obstacle and camp that they may have. Reading takes about ten times as much memory.
pub const WORLD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Obstacles that a step from one place can meet: whoever walks there looks at all of them in every tick.
pub const OBSTACLES_NEAR_MAX: usize = 256;
/// Cells of the obstacle indices of all zones of a world, four bytes each: 64 MiB, which seventy zones of 10 km x 10 km have.
pub const MAP_CELLS_MAX: usize = 16 * 1024 * 1024;
/// Entries of these indices, two bytes each: 32 MiB. An obstacle has one in each cell that it is in or near.
pub const MAP_ENTRIES_MAX: usize = 16 * 1024 * 1024;
/// Length of an item kind's name, bytes: what one reads at a glance.
pub const KIND_NAME_BYTES_MAX: usize = 64;
/// Chat lines that one tick may be configured to carry: each costs an event for each listener, so even these are far too many for a crowd.
pub const CHAT_LINES_PER_TICK_MAX: u16 = 256;
/// Lines times listeners that one tick may be configured to tell: each is an event of some microseconds, so these are a second of a core.
pub const CHAT_TELLS_PER_TICK_MAX: u32 = 200_000;
/// Version of the layout of a captured state and of what decides a record's effect; it rises with every change that an older reader
/// would misread, and is part of every `rules_id`.
pub const STATE_LAYOUT: u16 = 4;
const _: () = assert!(DATAGRAM_SEND_BYTES >= 4 * everhold_protocol::limits::DATAGRAM_BYTES_MAX);

/// Strain at which players are shown every second tick, thousandths of what a zone can do: they hardly notice, and above it queues grow
/// fast (at 85 % of a server's time a customer waits six times as long as it is served).
pub const LOAD_SELDOM_PERMILLE: u32 = 850;
/// Strain at which players are told of fewer entities: the step before did not help, and nothing of it is missed in a fight.
pub const LOAD_SMALL_PERMILLE: u32 = 900;
/// Strain at which game time slows down: everybody notices, so only if a tick would not fit its period.
pub const LOAD_SLOWER_PERMILLE: u32 = 980;
/// Strain at which newcomers wait: time is as slow as it may be, and a tick still does not fit.
pub const LOAD_QUEUE_PERMILLE: u32 = 980;
/// Strain at which newcomers are refused: three times as much as the zone can do. No place in a queue is worth anything then.
pub const LOAD_REFUSE_PERMILLE: u32 = 1_500;
/// Below so much work of its own, thousandths, a zone has no part in how busy the process is: at 20 Hz one millisecond a tick.
pub const LOAD_IDLE_PERMILLE: u32 = 20;
/// What is left of a zone's load when it shows its players every second tick, thousandths: measured, where most of it is packets.
pub const LOAD_LEFT_SELDOM_PERMILLE: u32 = 700;
/// A step is taken back so far below the strain at which it was taken, thousandths: what it saves must not bring it back.
pub const LOAD_HYSTERESIS_PERMILLE: u32 = 150;
/// The same from slower time on: what a tick takes at another speed is calculated, not guessed.
pub const LOAD_SLOWER_HYSTERESIS_PERMILLE: u32 = 50;
/// The most that a busy processor counts by itself, thousandths: a core that is full, and whose ticks and datagrams leave in time, is well
/// used and not overloaded. What players see of less detail is little; slower time needs something that is late.
pub const LOAD_CPU_PERMILLE_MAX: u32 = 950;
/// A step up takes so much strain in a row, ms of game time: longer than one checkpoint, handshake storm, or hiccup of the machine.
pub const LOAD_RISE_MS: u32 = 400;
/// The same for slower time and all beyond it, which everybody notices: a machine that stalls for a moment is no reason.
pub const LOAD_SLOW_RISE_MS: u32 = 1_000;
/// A step down takes so much calm in a row, ms of game time: several steps up fit, so that the ladder is always quicker up than down.
pub const LOAD_CALM_MS: u32 = 3_000;
/// How often that calm is doubled when a step down did not hold: up to 24 s of game time.
pub const LOAD_CALM_DOUBLINGS_MAX: u32 = 3;
/// Most that one tick counts, thousandths of its period: a hiccup must not look like an overload for longer than it lasts.
pub const LOAD_BUSY_PERMILLE_MAX: u32 = 4_000;
/// How much longer than normal a tick may last, thousandths: at 20 Hz 100 ms, the slowest at which a fight is still one, and well below
/// the silence after which clients look elsewhere.
pub const STRETCH_PERMILLE_MAX: u32 = 2_000;
/// Waiting connections that routing looks at in one turn: a few tenths of a millisecond, so that a newcomer or a log-out does not wait
/// for all of ten thousand.
pub const PLACEMENTS_PER_TURN: usize = 256;
/// Newcomers that wait for one zone: a tenth of all connections. Who comes later would wait for minutes.
pub const LOGIN_QUEUE_MAX: usize = 1_000;
/// Time between two looks at the queue, ms: a step up takes two of them, so the ladder sees what the last admissions cost.
pub const LOGIN_ROUND_MS: u64 = 250;
/// Newcomers that such a look admits at least, if any ...
pub const LOGIN_ADMISSIONS_MIN: u32 = 1;
/// ... and one more for so many players: a strained zone grows by a sixteenth in a second at most, a calm one four times as fast.
pub const LOGIN_ADMISSIONS_SHARE: u32 = 64;

/// Lines that wait to be written to standard error: a burst of an outage. With [`OUTPUT_LINE_BYTES_MAX`] 16 MiB at the very most.
pub const OUTPUT_LINES_MAX: usize = 1_024;
/// One line of the log, bytes: what is longer is cut. A panic's backtrace fits.
pub const OUTPUT_LINE_BYTES_MAX: usize = 16 * 1024;
/// At its end a process waits so long for its last lines to be written, ms: a reader that reads takes a thousandth of it.
pub const OUTPUT_FLUSH_MS_MAX: u64 = 500;
/// A state that lasts is said at its start, at its end, and in between so often, ms.
pub const OUTAGE_SAID_EVERY_MS: u64 = 30_000;
/// From a signal to the end of a server, ms: 10 s for its zones to be stored, the rest for leases and connections. What is not done by then
/// the next owner does, as after a crash. Service managers wait 30 s and more before they kill.
pub const STOP_MS_MAX: u64 = 15_000;
/// After so much more, ms, a guardian kills a server that did not end itself: it was stopped, or it is stuck in the kernel.
pub const STOP_KILL_MS: u64 = 2_000;
/// A signal is a second one if it comes so long after the first, ms. Sooner it is the same wish: a closing terminal signals each process of
/// its group, some of them twice.
pub const SIGNAL_AGAIN_MS: u64 = 1_000;

const _: () = assert!(LOGIN_QUEUE_MAX * 10 <= CONNECTIONS_MAX);
const _: () = assert!(
    LOAD_RISE_MS < LOAD_SLOW_RISE_MS && LOAD_SLOW_RISE_MS * 2 < LOAD_CALM_MS,
    "each step is quicker up than down"
);
const _: () = assert!(LOAD_SELDOM_PERMILLE > LOAD_HYSTERESIS_PERMILLE);
const _: () = assert!(STRETCH_PERMILLE_MAX >= 1_000 && 255_000 / STRETCH_PERMILLE_MAX > 0);

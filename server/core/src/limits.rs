//! Every bound of the server: a name with its unit last, a default, a reason. Bounds that a client must know, too, are
//! in the protocol's limits.

pub use everhold_protocol::limits::{
    CONTROL_MESSAGES_PER_S, DATAGRAMS_EXTRA_PER_S, DATAGRAMS_MALFORMED_MAX, DATAGRAMS_PER_TICK, IDLE_MS_MAX,
    LOGIN_MS_MAX,
};

/// Inputs that one tick takes. At 10,000 players each may send one a tick and some two; the rest waits for the next
/// tick.
pub const TICK_INPUTS_MAX: usize = 20_000;
/// Entries of a zone's inbox between transport and tick thread; beyond it frames are dropped and counted (clients
/// repeat them).
pub const INBOX_ENTRIES_MAX: usize = 65_536;
/// Ticks that may wait for their acknowledgement before a zone holds. At 20 Hz two seconds: a store that hiccups is
/// bridged, and a store that is gone does not make players act in a world that they cannot see.
pub const UNACKNOWLEDGED_TICKS_MAX: u64 = 40;
/// A change is told again after so many ticks. Two packets in a row are lost together more often than two that are
/// apart.
pub const CHANGE_REPEAT_TICKS: u64 = 3;
/// Ticks after which a newcomer is shown everything once more, in case the first time was lost.
pub const NEWCOMER_REPEAT_TICKS: u64 = 2;
/// Ticks whose snapshots are sent at once. At 20 Hz a fifth of a second, in which most of what was left out is told
/// again.
pub const SHOWN_TICKS_MAX: usize = 4;
/// Replicas that a record may have to wait for at level `replica`: a primary sends each of them everything itself, and
/// few have more than two.
pub const CONFIRMING_REPLICAS_MAX: u32 = 16;
/// Records that wait in memory for their acknowledgement: three minutes at 20 Hz without an answer of the store.
pub const RING_RECORDS_MAX: usize = 4_096;
/// Records of one append: bounds the size of one store operation after an outage.
pub const APPEND_RECORDS_MAX: usize = 64;
/// One part of a checkpoint's body, bytes: bounds how long one store operation holds the store.
pub const PART_BYTES_MAX: usize = 64 * 1024;
/// Time for which checkpoints may fail while appends succeed before it is an alarm, s: half a minute of retries is a
/// store that fails over, a minute is one that somebody must look at.
pub const CHECKPOINT_LAG_ALARM_S: u64 = 60;
/// Time after which the zone holds because of it, s. At 20 Hz these are 18,000 ticks: 5,000 players are replayed in ten
/// seconds, and 10,000 leave 360 MB of records.
pub const CHECKPOINT_LAG_HOLD_S: u64 = 900;
/// Time that an archive has, besides three of its intervals, before its lag is an alarm, s: a large zone is written in
/// that to a busy database.
pub const ARCHIVE_LAG_ALARM_S: u64 = 3;
/// Zones of a process that are restored from the archive at once, as many as are adopted: each has a blob in memory, up
/// to 64 MB of the largest zone.
pub const RESTORES_MAX: usize = 2;
/// Homes of one zone's characters on their way to the store at once: with an answer a millisecond, 50,000 of them are
/// there in four seconds.
pub const HOMES_IN_FLIGHT_MAX: usize = 16;
/// Homes of all zones of a process on their way at once: enough to fill the link to a store, few enough to leave
/// log-ins a turn.
pub const PROCESS_HOMES_IN_FLIGHT_MAX: usize = 64;
/// A page of an adoption's reading, bytes: one store operation of milliseconds. One that is not read in time is asked
/// for in halves, down to one part.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Parts of a page.
pub const PAGE_PARTS_MAX: usize = PAGE_BYTES_MAX / PART_BYTES_MAX;
/// Records of a page, if they are small: a long journal of an idle zone is not read tick by tick over a slow link.
pub const PAGE_RECORDS_MAX: u32 = 1_024;
/// A frame of a history file, bytes: a record of the fullest tick is far smaller, and a damaged length is found before
/// it is waited for.
pub const HISTORY_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Evidence of one zone, bytes: a base of 10,000 players and the journal of a minute. A larger history is not kept.
pub const EVIDENCE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A frame of a backup, bytes: the longest world file, or a character at rest with all that it has, with room for more.
pub const BACKUP_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Columns of characters that a game declares: rows that people read, and a statement binds at most 32,767 values.
pub const ARCHIVE_COLUMNS_MAX: usize = 64;
/// Kinds of belongings, and of value, that a game declares: each is a row of a table, and a kind of items is one.
pub const ARCHIVE_KINDS_MAX: usize = 65_536;
/// Name of a kind or of an event in the archive, bytes: it stands in every row.
pub const ARCHIVE_KIND_BYTES_MAX: usize = 64;
/// A text in a row of the archive, bytes: a line for people, not a document.
pub const ARCHIVE_TEXT_BYTES_MAX: usize = 1_024;
/// A character's name, bytes: 32 letters of any script, and an index entry of every database.
pub const ARCHIVE_NAME_BYTES_MAX: usize = 128;
/// A character at rest, bytes: everything that it is and has, some kilobytes in most games.
pub const ARCHIVE_PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// One part of a zone's blob in the archive, bytes: a statement of a fraction of a second on a slow link, and 64 of
/// them for the largest zone.
pub const ARCHIVE_PART_BYTES_MAX: usize = 1024 * 1024;
/// Rows of one commit, of every table together: a fraction of a second of a database's time. A zone that has more
/// changes divides them among commits.
pub const ARCHIVE_COMMIT_ROWS_MAX: usize = 65_536;
/// Content of one commit, bytes: a transaction is over within the time for which others wait for its locks.
pub const ARCHIVE_COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Belongings of one character: what a game shows of an inventory, many times over.
pub const ARCHIVE_BELONGINGS_MAX: usize = 4_096;
/// Rows of a page of the archive's reading: at the largest payload 16 MB. One that is not read in time is asked for in
/// halves.
pub const ARCHIVE_PAGE_ROWS_MAX: u32 = 64;
/// Rows of a page of a ledger's reading, of about a hundred bytes each: a fraction of a second of a database's time.
pub const LEDGER_PAGE_ROWS_MAX: u32 = 4_096;
/// Moves of value that wait for the archive, rows: 20 minutes of 50 a second, about 6 MB. Beyond it they are added up.
pub const LEDGER_ROWS_MAX: usize = 65_536;
/// Moves of value of earlier owners that wait until it is known which of them the archive has, rows: four outages in
/// each of which an owner died with all that it may have.
pub const LEDGER_INHERITED_ROWS_MAX: usize = 4 * LEDGER_ROWS_MAX;
/// Epochs of a zone whose beginnings are remembered: as many owners in turn died before they committed anything to the
/// archive, or as many committed since the backup to which it went back.
pub const FORKS_MAX: usize = 16;
/// Events kept for a session until the client has them. Beyond it the oldest are dropped; `Attached` carries the whole
/// own state.
pub const OUTBOX_EVENTS_MAX: usize = 256;
/// Events in a session's outbox from which on it hears nothing that is told to many, such as chat. Eight lines a tick
/// and a round trip of half a second leave 80 there. Without this bound the outbox of a client that acknowledges
/// nothing would change with each line, and enter every checkpoint.
pub const OUTBOX_COMMON_EVENTS_MAX: usize = OUTBOX_EVENTS_MAX / 2;
/// Answers to one secret, beyond the first, that may all be lost: a client gives up a connection without an answer
/// after 3 s, so these are half a minute in which each is late. 32 bytes each, until an input shows which of them
/// arrived.
pub const UNHEARD_SECRETS_MAX: usize = 8;
/// Sessions of one zone, awake or away: ten times as many as a core serves, because a character stays when its player
/// leaves.
pub const ZONE_SESSIONS_MAX: usize = 50_000;
/// Connections of one account that wait at a shard, each with another secret, or one of them with a ticket. A player
/// has one or two secrets that may be valid: the newest, and the one before, whose answer may be lost.
pub const ACCOUNT_WAITING_MAX: usize = 4;
/// Ticket ids that a zone remembers; each is dropped when the ticket has expired.
pub const USED_TICKETS_MAX: usize = 65_536;

/// Entries that one drain of an inbox reads, useful or not: a full channel, so that a flood of repeats cannot hold a
/// tick.
pub const TICK_ENTRIES_MAX: usize = INBOX_ENTRIES_MAX;
/// Intents of one session that one tick takes: two frames. A client that was silent catches up no faster; it repeats
/// the rest.
pub const TICK_SESSION_INTENTS_MAX: usize = 2 * everhold_protocol::limits::FRAME_INTENTS_MAX;
/// Events by which an acknowledgement must advance to become an input ...
pub const EVENT_ACK_EVENTS_MIN: u64 = 8;
/// ... or ticks after which it does if it advances at all: a second at 20 Hz. Both keep the journal from carrying one
/// for each event.
pub const EVENT_ACK_TICKS_MAX: u32 = 20;

/// Keys of one kind that are valid at a time: the one in use, and the one that it replaces or that will replace it.
pub const KEYS_GOOD_MAX: usize = 2;
/// The longest key file that is read, bytes: two certificates in PEM have about 1,500.
pub const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Seconds before its expiry from which a certificate is warned of: thirty days, in which a rotation with all its
/// clients is done.
pub const CERTIFICATE_WARNING_S: u64 = 30 * 86_400;

/// Connections of one shard that have shown a valid ticket or secret: 5,000 players and as many that park or come back.
/// At most [`CONNECTION_BYTES_MAX`] each, mostly a tenth of it.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections between first packet and verified `Hello`, besides [`CONNECTIONS_MAX`]; beyond it each new one takes the
/// place of an older one. About 31 KiB each.
pub const HALF_OPEN_MAX: usize = 1_024;
/// Half-open connections above which an unknown client must first prove its address by a Retry.
pub const HALF_OPEN_UNVALIDATED_MAX: usize = 128;
/// Connection attempts per second from one address (an IPv6 /64): many players behind one address are served, and a
/// host that only shakes hands gets a fiftieth of a core at most.
pub const ADDRESS_ATTEMPTS_PER_S: u32 = 50;
/// Attempts of one address at once: five hundred players of one network come back after a failover.
pub const ADDRESS_ATTEMPTS_BURST: u32 = 500;
/// Connections of one address at the same time: a tenth of all.
pub const ADDRESS_CONNECTIONS_MAX: usize = 1_000;
/// Addresses that are remembered, about 128 bytes each: 8 MiB.
pub const ADDRESSES_MAX: usize = 65_536;
/// Remembered addresses that are not validated: forged ones must not push out true ones.
pub const ADDRESSES_UNVALIDATED_MAX: usize = ADDRESSES_MAX / 2;
/// Connection attempts that wait for the accept loop; it answers each in microseconds.
pub const INCOMING_MAX: usize = 1_024;
/// Bytes kept of one attempt before it is accepted: a client's first flight fits many times.
pub const INCOMING_BYTES_MAX: u64 = 16 * 1024;
/// Bytes kept of all attempts together before they are accepted.
pub const INCOMING_BYTES_TOTAL_MAX: u64 = 16 * 1024 * 1024;
/// Receive window of the control stream and of the connection, bytes: two of the largest control messages.
pub const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// Unacknowledged control bytes that the connection keeps for a peer.
pub const SEND_WINDOW_BYTES: u64 = 64 * 1024;
/// Datagrams received and not yet read, bytes; the oldest is dropped.
pub const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
/// Datagrams accepted and not yet sent, bytes: about seven full ones. Beyond it the oldest snapshots are dropped: a
/// newer one supersedes them.
pub const DATAGRAM_SEND_BYTES: usize = 8 * 1024;
/// Buffers of the UDP socket, each way, bytes: out, a whole tick's burst to some thousands of players; in, the first
/// packets (1,200 B) of thousands of clients that connect at once when another shard has died (with 1 MiB some were
/// lost, and the gap's p99 was half as long again). The price is a queue of up to 100 ms in front of a net thread that
/// cannot keep up.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait of one send for room in a full socket buffer, once a turn, ms: a card of 1 Gbit/s empties a tenth of it
/// in that time.
pub const SEND_WAIT_MS_MAX: u64 = 4;
/// Default of the threads that carry connections: one of today's cores serves [`CONNECTIONS_MAX`].
pub const NET_THREADS: usize = 1;
/// Threads that carry connections, at most. A connection id has eight bits for them.
pub const NET_THREADS_MAX: usize = 64;
/// Batches of datagrams that wait for a net thread: eight ticks of eight zones. Beyond it whole batches are dropped;
/// the next supersede them.
pub const DATAGRAM_BATCHES_MAX: usize = 64;
/// Packets that wait for the net thread that owns their connection: only players whose network has just changed send
/// them.
pub const FORWARDED_PACKETS_MAX: usize = 1_024;
/// Bytes that a connection may always have in flight, whatever was lost: ten packets, as at its beginning (RFC 9002,
/// 7.2).
pub const WINDOW_BYTES_MIN: u64 = 12_000;
/// Control messages that wait for a slow reader: a whole outbox after a resume, twice.
pub const CONTROL_QUEUE_MESSAGES_MAX: usize = 2 * OUTBOX_EVENTS_MAX + 64;
/// Bytes of control messages that wait for a slow reader.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Packets per second that a client may send, and as many at once; at higher tick rates eight for each tick. An honest
/// client sends at most two a tick and an acknowledgement for every second packet it gets, some 50 a second at 20 Hz,
/// and a few hundred at once when it reads all it missed. Packets beyond it are not even decrypted.
pub const PACKETS_PER_S: u32 = 400;
/// Seconds' worth of excess (at twice the allowed rate; sooner if faster) after which a peer that sends too much is
/// disconnected.
pub const RATE_EXCESS_S: u32 = 10;
/// Longest wait of a closing connection for the acknowledgement of its last messages, ms.
pub const CLOSE_MS_MAX: u64 = 500;
/// Pieces of a stream that QUIC keeps until the bytes before them come: quinn's bound; beyond it pieces are merged, or
/// the connection is closed.
const STREAM_PIECES_MAX: usize = 2_048;
/// Memory of one such piece, however short it is, bytes: the packet it came in, 48; the counter of that packet's
/// holders, 48; and its entry.
const STREAM_PIECE_BYTES: usize = 160;
/// Unused bytes that QUIC keeps of longer packets before it copies the used ones: three halves of the window.
const STREAM_SLACK_BYTES: usize = STREAM_WINDOW_BYTES as usize * 3 / 2;
/// State of QUIC and TLS for a connection besides the buffers above, bytes: 30 to 50 KiB as measured.
const CONNECTION_STATE_BYTES: usize = 64 * 1024;
/// Memory that a peer can make this side keep, bytes, counted as allocated: both windows of the control stream, in as
/// many pieces as there may be, and the message that is being put together, datagrams both ways, and messages that the
/// peer does not read.
pub const CONNECTION_BYTES_MAX: usize = STREAM_WINDOW_BYTES as usize
    + everhold_protocol::limits::CONTROL_BYTES_MAX
    + SEND_WINDOW_BYTES as usize
    + DATAGRAM_RECEIVE_BYTES
    + DATAGRAM_SEND_BYTES
    + CONTROL_QUEUE_BYTES_MAX
    + STREAM_PIECES_MAX * STREAM_PIECE_BYTES
    + STREAM_SLACK_BYTES
    + CONNECTION_STATE_BYTES;
/// Share of the machine's memory that all connections may come to take, percent; a start that allows more logs it. The
/// rest is the world's.
pub const CONNECTIONS_MEMORY_PERCENT_MAX: u64 = 60;
/// Seconds for which a known client may skip the Retry of a crowded server: a day, so that daily players do.
pub const ADDRESS_TOKEN_S: u64 = 24 * 60 * 60;
/// Seconds for which a ticket's id is remembered beyond the ticket's life: clocks of hosts differ, and game time may
/// run slower.
pub const TICKET_MEMORY_SLACK_S: u64 = 60;
/// Longest time for which a used ticket must be remembered, s: its whole life, by the clock that is most behind.
pub const TICKET_MEMORY_S_MAX: u64 =
    everhold_protocol::limits::TICKET_LIFETIME_S_MAX + everhold_protocol::limits::TICKET_SKEW_S + TICKET_MEMORY_SLACK_S;
/// Events of connections that wait for the shard; beyond it each connection waits with its own.
pub const CONN_EVENTS_MAX: usize = 4_096;

const _: () = assert!(HALF_OPEN_UNVALIDATED_MAX <= HALF_OPEN_MAX);
const _: () = assert!(ADDRESS_CONNECTIONS_MAX <= CONNECTIONS_MAX);
const _: () = assert!(CONNECTION_BYTES_MAX <= 1024 * 1024, "what one connection may cost");
const _: () = assert!(NET_THREADS_MAX <= 256, "a connection id has one byte for the thread");
const _: () = assert!(TICKET_MEMORY_SLACK_S > everhold_protocol::limits::TICKET_SKEW_S);
const _: () = assert!(CONTROL_QUEUE_MESSAGES_MAX > OUTBOX_EVENTS_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES as usize >= 2 * everhold_protocol::limits::CONTROL_BYTES_MAX);
const _: () = assert!(TICK_INPUTS_MAX > TICK_SESSION_INTENTS_MAX);
/// Entities of one zone's scene: more than two for each session. Interest packs their places into 17 bits of a sort
/// key.
pub const SCENE_ENTITIES_MAX: usize = 131_072;

const _: () = assert!(ZONE_SESSIONS_MAX * 2 <= SCENE_ENTITIES_MAX);

/// Numbers of zones: twelve bits of every id that a zone allocates, so that ids are unique in the whole world.
pub const ZONE_NUMBER_MAX: u16 = 4_095;
/// Monsters and items on the ground of one zone, at most: beside all its sessions they fit a scene.
pub const ZONE_THINGS_MAX: usize = SCENE_ENTITIES_MAX - ZONE_SESSIONS_MAX;
/// Size of a world file, bytes: several zones with every obstacle and camp that they may have. Reading takes about ten
/// times as much memory.
pub const WORLD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Obstacles that a step from one place can meet: each walker there tests all of them in every tick.
pub const OBSTACLES_NEAR_MAX: usize = 256;
/// Cells of the obstacle indices of all zones of a world, four bytes each: 64 MiB, which seventy zones of 10 km x 10 km
/// have.
pub const MAP_CELLS_MAX: usize = 16 * 1024 * 1024;
/// Entries of these indices, two bytes each: 32 MiB. An obstacle has one in each cell that it is in or near.
pub const MAP_ENTRIES_MAX: usize = 16 * 1024 * 1024;
/// Length of an item kind's name, bytes: short enough to read at a glance.
pub const KIND_NAME_BYTES_MAX: usize = 64;
/// Chat lines that one tick may be configured to carry: each costs an event for each listener, so even these are far
/// too many for a crowd.
pub const CHAT_LINES_PER_TICK_MAX: u16 = 256;
/// Lines times listeners that one tick may be configured to carry: each is an event of some microseconds, so these are
/// a second of a core.
pub const CHAT_TELLS_PER_TICK_MAX: u32 = 200_000;
/// Version of the layout of a captured state and of what decides a record's effect; it rises with every change that an
/// older reader would misread, and is part of every `rules_id`.
pub const STATE_LAYOUT: u16 = 5;
/// The oldest layout that this build reads; each since then has a golden file.
pub const STATE_LAYOUT_MIN: u16 = 4;
const _: () = assert!(STATE_LAYOUT_MIN <= STATE_LAYOUT);
/// Records of characters at rest that a zone has kept at once: enough for thousands a second, and no flood of the
/// store.
pub const RESTS_IN_FLIGHT_MAX: usize = 16;
/// Time for which the store keeps a character at rest, s: for most who come back on the same day no database is asked.
/// Longer than the window in which a session is resumed.
pub const REST_RECORD_S: u64 = 2 * 3_600;
/// Generations by which a character goes above an archive that has a higher one, by ticks that were undone: more than
/// it can have gone to rest and woken in them.
pub const OUTRANK_GENERATIONS: u64 = 1_000;
/// Time for which a zone remembers that a character left it, s, in ticks: what was looked up of the account before is
/// not believed, nor what was looked up longer ago than this. A log-in that is looked up takes milliseconds, and waits
/// in no queue in between.
pub const LEFT_MEMORY_S: u64 = 60;
const _: () = assert!(DATAGRAM_SEND_BYTES >= 4 * everhold_protocol::limits::DATAGRAM_BYTES_MAX);

/// Strain from which players get a snapshot every second tick, ‰ of what a zone can do: they hardly notice, and above
/// it queues grow fast (at 85 % of a server's time a customer waits six times as long as it is served).
pub const LOAD_SELDOM_PERMILLE: u32 = 850;
/// Strain from which players are told of fewer entities, ‰: the step before did not help, and nothing of it is missed
/// in a fight.
pub const LOAD_SMALL_PERMILLE: u32 = 900;
/// Strain from which game time slows down, ‰: every player notices, so only if a tick would not fit its period.
pub const LOAD_SLOWER_PERMILLE: u32 = 980;
/// Strain from which newcomers wait, ‰: time is as slow as it may be, and a tick still does not fit.
pub const LOAD_QUEUE_PERMILLE: u32 = 980;
/// Strain from which newcomers are refused, ‰: with time twice as slow, three times as much as the zone can do. A place
/// in a queue is worth nothing then.
pub const LOAD_REFUSE_PERMILLE: u32 = 1_500;
/// Own work below which a zone is no reason for a busy process, ‰ of the period: at 20 Hz one millisecond a tick.
pub const LOAD_IDLE_PERMILLE: u32 = 20;
/// Load that is left of a zone that sends snapshots every second tick, ‰: measured, where most of the load is packets.
pub const LOAD_LEFT_SELDOM_PERMILLE: u32 = 700;
/// Hysteresis, ‰: a step is taken back only if the strain expected without it is this far below the strain at which it
/// is taken.
pub const LOAD_HYSTERESIS_PERMILLE: u32 = 150;
/// The same hysteresis from slower time on, ‰: the load at another speed is calculated, not guessed.
pub const LOAD_SLOWER_HYSTERESIS_PERMILLE: u32 = 50;
/// Most that a busy processor counts by itself, ‰: a full core whose ticks and datagrams leave in time is well used and
/// not overloaded. Less detail costs players little; slower time needs something that is late.
pub const LOAD_CPU_PERMILLE_MAX: u32 = 950;
/// Strain in a row that a step up takes, ms of game time: longer than one checkpoint, burst of handshakes, or hiccup of
/// the machine.
pub const LOAD_RISE_MS: u32 = 400;
/// The same for slower time and the steps beyond it, which every player notices, ms: a machine that stalls for a moment
/// is no reason.
pub const LOAD_SLOW_RISE_MS: u32 = 1_000;
/// Calm in a row that a step down takes, ms of game time: several steps up fit, so that the ladder is always quicker up
/// than down.
pub const LOAD_CALM_MS: u32 = 3_000;
/// Times that this calm is doubled when a step down did not hold: up to 24 s of game time.
pub const LOAD_CALM_DOUBLINGS_MAX: u32 = 3;
/// Most that one tick counts, ‰ of its period: a hiccup must not look like an overload for longer than it lasts.
pub const LOAD_BUSY_PERMILLE_MAX: u32 = 4_000;
/// Longest tick, ‰ of its normal period: at 20 Hz 100 ms, the slowest at which a fight is still playable, and well
/// below the silence after which clients try another address.
pub const STRETCH_PERMILLE_MAX: u32 = 2_000;
/// Waiting connections that routing looks at in one turn: a few tenths of a millisecond, so that a newcomer or a
/// log-out does not wait for all of ten thousand.
pub const PLACEMENTS_PER_TURN: usize = 256;
/// Newcomers that wait for one zone: a tenth of all connections. Later ones would wait for minutes.
pub const LOGIN_QUEUE_MAX: usize = 1_000;
/// Time between two rounds of admission, ms: a step up takes two of them, so the ladder sees what the last admissions
/// cost.
pub const LOGIN_ROUND_MS: u64 = 250;
/// Newcomers that a round admits at least, if it admits any ...
pub const LOGIN_ADMISSIONS_MIN: u32 = 1;
/// ... and the players for each of which it admits one more: a strained zone grows by a sixteenth in a second at most,
/// a calm one four times as fast.
pub const LOGIN_ADMISSIONS_SHARE: u32 = 64;

/// Lines that wait to be written to standard error: a burst of an outage. With [`OUTPUT_LINE_BYTES_MAX`] 16 MiB at the
/// very most.
pub const OUTPUT_LINES_MAX: usize = 1_024;
/// Length of a log line, bytes; longer ones are cut. A panic's backtrace fits.
pub const OUTPUT_LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest wait of an ending process for its last lines to be written, ms: a reader that reads takes a thousandth of
/// it.
pub const OUTPUT_FLUSH_MS_MAX: u64 = 500;
/// Time between two log lines on a state that lasts, ms. Its start and its end are logged as well.
pub const OUTAGE_SAID_EVERY_MS: u64 = 30_000;
/// From a signal to the end of a server, ms: [`STOP_ZONES_MS_MAX`] for its zones to be stored, the rest for leases and
/// connections. The next owner does the rest, as after a crash. Service managers wait 30 s and more before they kill.
pub const STOP_MS_MAX: u64 = 15_000;
/// Time of a stop for the zones to be stored, those that are suspended among them, ms. A zone that does not stop within
/// it (because the store is gone) is left to its lease, and what the store lacks of one in memory is lost.
pub const STOP_ZONES_MS_MAX: u64 = 10_000;
/// Time after that at which a guardian kills a server that did not end, ms: it was stopped, or it is stuck in the
/// kernel.
pub const STOP_KILL_MS: u64 = 2_000;
/// Time after a first signal from which another counts as a second one, ms. Sooner it is the same request: a closing
/// terminal signals each process of its group, some of them twice.
pub const SIGNAL_AGAIN_MS: u64 = 1_000;

const _: () = assert!(STOP_ZONES_MS_MAX < STOP_MS_MAX);
const _: () = assert!(LOGIN_QUEUE_MAX * 10 <= CONNECTIONS_MAX);
const _: () = assert!(
    LOAD_RISE_MS < LOAD_SLOW_RISE_MS && LOAD_SLOW_RISE_MS * 2 < LOAD_CALM_MS,
    "each step is quicker up than down"
);
const _: () = assert!(LOAD_SELDOM_PERMILLE > LOAD_HYSTERESIS_PERMILLE);
const _: () = assert!(STRETCH_PERMILLE_MAX >= 1_000 && 255_000 / STRETCH_PERMILLE_MAX > 0);
/// Bytes of an operator's name, and of the reason of a ban: a sentence, not a document, for each log-in reads it.
pub const BAN_TEXT_BYTES_MAX: usize = 500;
/// Changes of bans that a store tells of: so many in one second are heard by every shard. Of more, the players of the
/// oldest are stopped at their next log-in only. Each shard reads what is new of them once a second.
pub const BAN_NEWS_MAX: usize = 1_000;
/// Time between two looks of a shard for news of bans, ms: an attached player is stopped within this, and the two round
/// trips of the store that follow.
pub const BAN_NEWS_MS: u64 = 1_000;
/// Time for which a shard looks for connections of an account whose ban it has heard of, s: a log-in that was let in
/// before the ban may be on its way to its zone for as long as store and archive are asked for its character.
pub const BAN_WATCH_S: u64 = 60;
/// Time after which a store that somebody began to fill with bans, and did not end to, is begun anew, s: a million bans
/// take less, and meanwhile the archive is asked at each log-in.
pub const BAN_FILL_S_MAX: u64 = 120;

-- One row: the number of this archive, which its backups share. The version of these tables is PRAGMA user_version.
CREATE TABLE everhold_archive (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    identity BLOB NOT NULL DEFAULT (randomblob(16))
) STRICT;
INSERT INTO everhold_archive (only_row) VALUES (1);

-- What the game has declared: columns of characters, kinds of belongings, kinds of value, each with a sentence.
CREATE TABLE declarations (
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    about TEXT NOT NULL,
    PRIMARY KEY (subject, name)
) STRICT, WITHOUT ROWID;

-- The zones: the fence, which is the highest epoch that has written here, and the last commit. No fence is data.
CREATE TABLE zones (
    zone TEXT PRIMARY KEY,
    fence_epoch INTEGER NOT NULL,
    fence_nonce INTEGER NOT NULL,
    commit_epoch INTEGER,
    commit_tick INTEGER,
    commit_hash BLOB,
    commit_number INTEGER,
    wall_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The two newest blobs of each zone, to restore it from: opaque bytes, as of one tick.
CREATE TABLE zone_blobs (
    zone TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    hash BLOB NOT NULL,
    parts INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    PRIMARY KEY (zone, epoch, number)
) STRICT, WITHOUT ROWID;

-- The bytes of blobs, in parts of 1 MiB, each with its BLAKE3 checksum.
CREATE TABLE zone_blob_parts (
    zone TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    part INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (zone, epoch, number, part)
) STRICT;

-- The characters, one for an account, with the game's own columns. No zone: the character rests. Epoch and tick say when
-- a zone wrote it last. A deleted one leaves its row. Account numbers above 2^63 are negative here.
CREATE TABLE characters (
    account INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    zone TEXT,
    epoch INTEGER,
    tick INTEGER,
    wall_ms INTEGER NOT NULL,
    payload_bytes INTEGER,
    is_deleted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX characters_by_zone ON characters (zone, account);

-- The names of characters. Two that differ in their case alone are one.
CREATE TABLE names (
    name_key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    account INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX names_by_account ON names (account);

-- Characters at rest or on their way, as the game encodes them, each with its BLAKE3 checksum.
CREATE TABLE payloads (
    account INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- What each character has: a thing, or a heap of one kind.
CREATE TABLE belongings (
    account INTEGER NOT NULL,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX belongings_by_id ON belongings (id);

-- Every change of value: how much of what went from whom to whom. No giver: the world made it; no taker: the world took
-- it. A row with `undone_by` was taken back: that epoch went on from an earlier tick.
CREATE TABLE ledger (
    zone TEXT NOT NULL,
    tick INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    session INTEGER,
    command INTEGER,
    value TEXT NOT NULL,
    thing INTEGER,
    amount INTEGER NOT NULL,
    giver INTEGER,
    taker INTEGER,
    undone_by INTEGER,
    PRIMARY KEY (zone, tick, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_by_thing ON ledger (thing) WHERE thing IS NOT NULL;
CREATE INDEX ledger_by_giver ON ledger (giver, wall_ms) WHERE giver IS NOT NULL;
CREATE INDEX ledger_by_taker ON ledger (taker, wall_ms) WHERE taker IS NOT NULL;

-- Events that people may ask for later, such as `joined` and `left`. No zone: it was outside of all.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    zone TEXT,
    tick INTEGER,
    epoch INTEGER,
    seq INTEGER,
    wall_ms INTEGER NOT NULL,
    event TEXT NOT NULL,
    account INTEGER,
    detail TEXT NOT NULL,
    undone_by INTEGER,
    UNIQUE (zone, tick, epoch, seq)
) STRICT;
CREATE INDEX audit_by_account ON audit (account, wall_ms) WHERE account IS NOT NULL;
CREATE INDEX audit_by_event ON audit (event, wall_ms);

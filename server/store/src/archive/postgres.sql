-- One row: the version of these tables, and the number of this archive, which its backups share.
CREATE TABLE everhold_archive (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schema_version integer NOT NULL,
    identity bytea NOT NULL DEFAULT uuid_send(gen_random_uuid())
);

-- What the game has declared: columns of characters, kinds of belongings, kinds of value, each with a sentence.
CREATE TABLE declarations (
    subject text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    about text NOT NULL,
    PRIMARY KEY (subject, name)
);

-- The zones: the fence, which is the highest epoch that has written here, and the last commit. No fence is data.
CREATE TABLE zones (
    zone text COLLATE "C" PRIMARY KEY,
    fence_epoch bigint NOT NULL,
    fence_nonce bigint NOT NULL,
    commit_epoch bigint,
    commit_tick bigint,
    commit_hash bytea,
    commit_number bigint,
    wall_ms bigint
);

-- The two newest blobs of each zone, to restore it from: opaque bytes, as of one tick.
CREATE TABLE zone_blobs (
    zone text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    number bigint NOT NULL,
    tick bigint NOT NULL,
    hash bytea NOT NULL,
    parts bigint NOT NULL,
    bytes bigint NOT NULL,
    wall_ms bigint NOT NULL,
    PRIMARY KEY (zone, epoch, number)
);

-- The bytes of blobs, in parts of 1 MiB, each with its BLAKE3 checksum.
CREATE TABLE zone_blob_parts (
    zone text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    number bigint NOT NULL,
    part bigint NOT NULL,
    checksum bytea NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (zone, epoch, number, part)
);
ALTER TABLE zone_blob_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The characters, one for an account, with the game's own columns. No zone: the character rests. Epoch and tick say when
-- a zone wrote it last. A deleted one leaves its row. Account numbers above 2^63 are negative here.
CREATE TABLE characters (
    account bigint PRIMARY KEY,
    generation bigint NOT NULL,
    zone text COLLATE "C",
    epoch bigint,
    tick bigint,
    wall_ms bigint NOT NULL,
    payload_bytes bigint,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX characters_by_zone ON characters (zone, account);

-- The names of characters. Two that differ in their case alone are one.
CREATE TABLE names (
    name_key text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    account bigint NOT NULL
);
CREATE INDEX names_by_account ON names (account);

-- Characters at rest or on their way, as the game encodes them, each with its BLAKE3 checksum.
CREATE TABLE payloads (
    account bigint PRIMARY KEY,
    generation bigint NOT NULL,
    checksum bytea NOT NULL,
    bytes bytea NOT NULL
);

-- What each character has: a thing, or a heap of one kind.
CREATE TABLE belongings (
    account bigint NOT NULL,
    id bigint NOT NULL,
    kind text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (account, id)
);
CREATE INDEX belongings_by_id ON belongings (id);

-- Every change of value: how much of what went from whom to whom. No giver: the world made it; no taker: the world took
-- it. A row with `undone_by` was taken back: that epoch went on from an earlier tick.
CREATE TABLE ledger (
    zone text COLLATE "C" NOT NULL,
    tick bigint NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    wall_ms bigint NOT NULL,
    session bigint,
    command bigint,
    value text NOT NULL,
    thing bigint,
    amount bigint NOT NULL,
    giver bigint,
    taker bigint,
    undone_by bigint,
    PRIMARY KEY (zone, tick, epoch, seq)
);
CREATE INDEX ledger_by_thing ON ledger (thing) WHERE thing IS NOT NULL;
CREATE INDEX ledger_by_giver ON ledger (giver, wall_ms) WHERE giver IS NOT NULL;
CREATE INDEX ledger_by_taker ON ledger (taker, wall_ms) WHERE taker IS NOT NULL;

-- Events that people may ask for later, such as `joined` and `left`. No zone: it was outside of all.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    zone text COLLATE "C",
    tick bigint,
    epoch bigint,
    seq bigint,
    wall_ms bigint NOT NULL,
    event text NOT NULL,
    account bigint,
    detail text NOT NULL,
    undone_by bigint,
    UNIQUE (zone, tick, epoch, seq)
);
CREATE INDEX audit_by_account ON audit (account, wall_ms) WHERE account IS NOT NULL;
CREATE INDEX audit_by_event ON audit (event, wall_ms);

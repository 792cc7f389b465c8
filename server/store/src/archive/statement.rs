//! The statements of an archive, with placeholders `$1`, `$2` …: those that never change, and those that name the
//! game's columns. What differs between the databases, each has beside its code.

use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};

/// A database's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// That of SQLite.
    Sqlite,
    /// That of PostgreSQL.
    Postgres,
}

impl Dialect {
    /// Returns the definition of a declared column, from its type on.
    pub(crate) const fn column(self, kind: ColumnKind) -> &'static str {
        match (self, kind) {
            (Self::Sqlite, ColumnKind::Integer) => "INTEGER NOT NULL DEFAULT 0",
            (Self::Sqlite, ColumnKind::Real) => "REAL NOT NULL DEFAULT 0",
            (Self::Sqlite, ColumnKind::Text) => "TEXT NOT NULL DEFAULT ''",
            (Self::Sqlite, ColumnKind::Bool) => "INTEGER NOT NULL DEFAULT 0",
            (Self::Postgres, ColumnKind::Integer) => "bigint NOT NULL DEFAULT 0",
            (Self::Postgres, ColumnKind::Real) => "double precision NOT NULL DEFAULT 0",
            (Self::Postgres, ColumnKind::Text) => "text NOT NULL DEFAULT ''",
            (Self::Postgres, ColumnKind::Bool) => "boolean NOT NULL DEFAULT false",
        }
    }

    /// Gives a statement the placeholders of the database: `?1` in place of `$1`, for SQLite.
    fn placed(self, sql: String) -> String {
        match self {
            Self::Sqlite => sql.replace('$', "?"),
            Self::Postgres => sql,
        }
    }
}

/// Statements that name no column of the game.
pub(crate) mod fixed {
    /// Raises a zone's fence, and gives its last commit; no row: it is higher.
    pub(crate) const FENCE: &str = "INSERT INTO zones AS z (zone, fence_epoch, fence_nonce) VALUES ($1, $2, $3) \
         ON CONFLICT (zone) DO UPDATE SET fence_epoch = excluded.fence_epoch, fence_nonce = excluded.fence_nonce \
         WHERE z.fence_epoch < excluded.fence_epoch \
            OR (z.fence_epoch = excluded.fence_epoch AND z.fence_nonce = excluded.fence_nonce) \
         RETURNING commit_epoch, commit_tick, commit_hash, commit_number";

    /// Reads the archive's number.
    pub(crate) const IDENTITY: &str = "SELECT identity FROM everhold_archive";

    /// Reads what is declared.
    pub(crate) const DECLARATIONS: &str = "SELECT subject, name, kind, about FROM declarations";

    /// Reads a zone.
    pub(crate) const ZONE: &str = "SELECT zone, fence_epoch, fence_nonce, commit_epoch, commit_tick, commit_hash, \
         commit_number FROM zones WHERE zone = $1";

    /// Reads a page of zones.
    pub(crate) const ZONES: &str = "SELECT zone, fence_epoch, fence_nonce, commit_epoch, commit_tick, commit_hash, \
         commit_number FROM zones WHERE zone > $1 ORDER BY zone LIMIT $2";

    /// Reads a zone's blobs, the newest first.
    pub(crate) const BLOBS: &str = "SELECT epoch, tick, hash, number, parts, bytes FROM zone_blobs WHERE zone = $1 \
         ORDER BY epoch DESC, number DESC";

    /// Writes a part of a blob.
    pub(crate) const PUT_PART: &str = "INSERT INTO zone_blob_parts (zone, epoch, number, part, checksum, bytes) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (zone, epoch, number, part) \
         DO UPDATE SET checksum = excluded.checksum, bytes = excluded.bytes";

    /// Reads a part of a blob.
    pub(crate) const PART: &str = "SELECT checksum, bytes FROM zone_blob_parts \
         WHERE zone = $1 AND epoch = $2 AND number = $3 AND part = $4";

    /// Counts the parts of a blob, and their bytes.
    pub(crate) const COUNT_PARTS: &str = "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM zone_blob_parts \
         WHERE zone = $1 AND epoch = $2 AND number = $3 AND part < $4";

    /// Makes a blob the newest.
    pub(crate) const PUT_BLOB: &str = "INSERT INTO zone_blobs (zone, epoch, number, tick, hash, parts, bytes, wall_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    /// Deletes all blobs of a zone but the two newest.
    pub(crate) const DROP_BLOBS: &str = "DELETE FROM zone_blobs WHERE zone = $1 AND (epoch, number) NOT IN \
         (SELECT epoch, number FROM zone_blobs WHERE zone = $1 ORDER BY epoch DESC, number DESC LIMIT 2)";

    /// Deletes the parts of a zone that belong to no blob, up to those of a commit.
    pub(crate) const DROP_PARTS: &str = "DELETE FROM zone_blob_parts WHERE zone = $1 AND (epoch, number) < ($2, $3) \
         AND (epoch, number) NOT IN (SELECT epoch, number FROM zone_blobs WHERE zone = $1)";

    /// Makes a commit the zone's last.
    pub(crate) const MOVE: &str = "UPDATE zones SET commit_epoch = $2, commit_tick = $3, commit_hash = $4, \
         commit_number = $5, wall_ms = $6 WHERE zone = $1";

    /// Marks the ledger of ticks that were taken back.
    pub(crate) const UNDO_LEDGER: &str = "UPDATE ledger SET undone_by = $2 \
         WHERE zone = $1 AND tick > $3 AND epoch <= $4 AND undone_by IS NULL";

    /// Marks the audit rows of ticks that were taken back.
    pub(crate) const UNDO_AUDIT: &str = "UPDATE audit SET undone_by = $2 \
         WHERE zone = $1 AND tick > $3 AND epoch <= $4 AND undone_by IS NULL";

    /// Marks the ledger of whole epochs that were taken back, of ticks that are gone on from in another history.
    pub(crate) const UNDO_LEDGER_EPOCHS: &str = "UPDATE ledger SET undone_by = $2 \
         WHERE zone = $1 AND tick <= $3 AND epoch > $5 AND epoch <= $4 AND undone_by IS NULL";

    /// Marks the audit rows of such epochs.
    pub(crate) const UNDO_AUDIT_EPOCHS: &str = "UPDATE audit SET undone_by = $2 \
         WHERE zone = $1 AND tick <= $3 AND epoch > $5 AND epoch <= $4 AND undone_by IS NULL";

    /// Has the ledger stand again of a history that was taken back, and that is gone on from after all: what epochs
    /// after its last one took back.
    pub(crate) const STAND_LEDGER: &str = "UPDATE ledger SET undone_by = NULL \
         WHERE zone = $1 AND undone_by IS NOT NULL AND undone_by > $2 AND epoch <= $2 AND tick <= $3";

    /// Has the audit rows of such a history stand again.
    pub(crate) const STAND_AUDIT: &str = "UPDATE audit SET undone_by = NULL \
         WHERE zone = $1 AND undone_by IS NOT NULL AND undone_by > $2 AND epoch <= $2 AND tick <= $3";

    /// Reads an account's belongings.
    pub(crate) const BELONGINGS: &str = "SELECT id, kind, count FROM belongings WHERE account = $1 ORDER BY id";

    /// Reads a zone's ledger after a key, without what was taken back.
    pub(crate) const LEDGER: &str = "SELECT tick, epoch, seq, wall_ms, session, command, value, thing, amount, giver, \
         taker FROM ledger WHERE zone = $1 AND (tick, epoch, seq) > ($2, $3, $4) AND undone_by IS NULL";

    /// The order of a ledger.
    pub(crate) const LEDGER_ORDER: &str = "ORDER BY tick, epoch, seq";

    /// Writes an audit row outside a zone.
    pub(crate) const AUDIT: &str = "INSERT INTO audit (wall_ms, event, account, detail) VALUES ($1, $2, $3, $4)";

    /// Indexes of few rows, made where they are missing: the rows that were taken back, and an account's newest ban,
    /// however often it joined and left.
    pub(crate) const INDEXES: &str = "\
         CREATE INDEX IF NOT EXISTS ledger_undone ON ledger (zone) WHERE undone_by IS NOT NULL; \
         CREATE INDEX IF NOT EXISTS audit_undone ON audit (zone) WHERE undone_by IS NOT NULL; \
         CREATE INDEX IF NOT EXISTS audit_bans ON audit (account, id) WHERE event IN ('banned', 'unbanned')";

    /// Reads an account's newest ban.
    pub(crate) const BAN: &str = "SELECT account, detail FROM audit WHERE account = $1 \
         AND event IN ('banned', 'unbanned') ORDER BY id DESC LIMIT 1";

    /// Reads a page of the newest bans from an account on.
    pub(crate) const BANS: &str = "SELECT account, detail FROM audit a WHERE account >= $1 \
         AND event IN ('banned', 'unbanned') AND id = (SELECT max(id) FROM audit b \
         WHERE b.account = a.account AND b.event IN ('banned', 'unbanned')) ORDER BY account LIMIT $2";

    /// Deletes what a character has beside its row.
    pub(crate) const FORGET: [&str; 3] = [
        "DELETE FROM names WHERE account = $1",
        "DELETE FROM payloads WHERE account = $1",
        "DELETE FROM belongings WHERE account = $1",
    ];
}

/// Statements that name the columns of the game.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    /// Reads one account.
    pub(crate) account: String,
    /// Reads a page of accounts from a number on.
    pub(crate) accounts: String,
    /// Reads a page of accounts of a zone from a number on.
    pub(crate) accounts_in_zone: String,
    /// Reads a page of accounts of a zone whose rows are of a tick or a later one, or of none.
    pub(crate) accounts_since: String,
    /// Deletes a character.
    pub(crate) delete: String,
    /// Writes one character: the writing zone, then the columns of `into`.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "SQLite alone writes one by one")
    )]
    pub(crate) put: String,
    /// The columns of an insert into `characters`, in brackets.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "PostgreSQL alone writes many at once")
    )]
    pub(crate) into: String,
    /// The end of an insert into `characters` whose writing zone is `$1`: of two rows of an account the higher
    /// generation stands, and of the same the one that the zone of its place writes. It gives the accounts that were
    /// written.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "PostgreSQL alone writes many at once")
    )]
    pub(crate) unless_newer: String,
}

impl Statements {
    pub(crate) fn new(dialect: Dialect, schema: &ArchiveSchema) -> Self {
        let names = || schema.columns().iter().map(|column| &column.name);
        let each = |part: fn(&String) -> String| names().map(part).collect::<String>();
        let reads = each(|name| format!(", c.\"{name}\""));
        let into = each(|name| format!(", \"{name}\""));
        let into = format!("(account, generation, zone, epoch, tick, wall_ms, payload_bytes{into})");
        let sets = each(|name| format!(", \"{name}\" = excluded.\"{name}\""));
        let unless_newer = format!(
            "ON CONFLICT (account) DO UPDATE SET generation = excluded.generation, zone = excluded.zone, \
             epoch = excluded.epoch, tick = excluded.tick, wall_ms = excluded.wall_ms, \
             payload_bytes = excluded.payload_bytes, is_deleted = false{sets} \
             WHERE c.generation < excluded.generation OR (c.generation = excluded.generation \
             AND NOT c.is_deleted AND c.zone = $1 AND excluded.zone = $1) RETURNING account"
        );
        let places: String = (3..9 + schema.columns().len()).map(|at| format!(", ${at}")).collect();
        let reads = format!(
            "SELECT c.account, c.generation, c.is_deleted, c.zone, c.epoch, c.tick, c.wall_ms, c.payload_bytes, \
             n.name, p.generation, p.checksum, p.bytes{reads} FROM characters c \
             LEFT JOIN names n ON n.account = c.account LEFT JOIN payloads p ON p.account = c.account WHERE"
        );
        let page = "c.account >= $1 ORDER BY c.account LIMIT $2";
        Self {
            account: dialect.placed(format!("{reads} c.account = $1")),
            accounts: dialect.placed(format!("{reads} {page}")),
            accounts_in_zone: dialect.placed(format!("{reads} c.zone = $3 AND {page}")),
            accounts_since: dialect.placed(format!(
                "{reads} c.zone = $3 AND (c.epoch IS NULL OR (c.epoch, c.tick) >= ($4, $5)) AND {page}"
            )),
            delete: dialect.placed(delete(schema)),
            put: dialect.placed(format!(
                "INSERT INTO characters AS c {into} VALUES ($2{places}) {unless_newer}"
            )),
            unless_newer: dialect.placed(unless_newer),
            into,
        }
    }
}

/// Makes the statement that deletes a character, and sets the game's columns to what they are at first.
fn delete(schema: &ArchiveSchema) -> String {
    let resets = schema.columns().iter().map(|column| {
        let first = match column.kind {
            ColumnKind::Integer | ColumnKind::Real => "0",
            ColumnKind::Text => "''",
            ColumnKind::Bool => "false",
        };
        format!(", \"{}\" = {first}", column.name)
    });
    let resets: String = resets.collect();
    format!(
        "UPDATE characters SET generation = $2, is_deleted = true, zone = NULL, epoch = NULL, tick = NULL, \
         wall_ms = $3, payload_bytes = NULL{resets} WHERE account = $1 AND generation < $2"
    )
}

//! The database beneath an archive, as the suite of [`Archive`] sees it: a place to open archives in, and what is kept
//! there of which no answer tells. It judges nothing.

use std::future::Future;

use everhold_core::durability::archive::Archive;
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::ZoneName;

/// A database in which archives are opened. What no trait tells of an archive, the suite looks up here, and damages
/// behind the archive's back.
pub trait ArchiveDatabase: Sync {
    /// The archive.
    type Link: Archive;

    /// Opens one more connection to the same archive.
    fn open(&self, schema: ArchiveSchema) -> impl Future<Output = Result<Self::Link, String>> + Send;

    /// Returns a zone's rows of the ledger, in order of epoch and tick.
    fn ledger(&self, zone: &ZoneName) -> Vec<KeptLedgerRow>;

    /// Returns a zone's audit rows, in order of epoch and tick; `None`: those outside a zone.
    fn audit(&self, zone: Option<&ZoneName>) -> Vec<KeptAuditRow>;

    /// Returns the accounts whose characters are in a zone, those that are deleted not among them.
    fn residents(&self, zone: &ZoneName) -> Vec<u64>;

    /// Returns the name of an account, if it has one.
    fn name(&self, account: u64) -> Option<String>;

    /// Returns the number of rows that an account has beside its own: names, payloads, belongings.
    fn rows_beside(&self, account: u64) -> u64;

    /// Returns the number of parts of blobs that a zone has, strays among them.
    fn blob_parts(&self, zone: &ZoneName) -> u64;

    /// Changes the bytes of a part of the blob of a zone's commit of this number.
    fn damage_part(&self, zone: &ZoneName, number: u64, part: u32);

    /// Changes the bytes of an account's payload.
    fn damage_payload(&self, account: u64);

    /// Loses the bytes of an account's payload.
    fn lose_payload(&self, account: u64);
}

/// A row of the ledger as a database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLedgerRow {
    /// The epoch and the tick.
    pub stamp: (u32, u64),
    /// The place among the rows of its tick.
    pub seq: u32,
    /// The session, and the place in its sequence.
    pub command: Option<(u64, u64)>,
    /// The kind's name.
    pub value: String,
    /// The amount.
    pub amount: i64,
    /// The accounts that gave and took.
    pub parties: (Option<u64>, Option<u64>),
    /// The epoch that took it back.
    pub undone_by: Option<u32>,
}

/// An audit row as a database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAuditRow {
    /// The epoch and the tick, if it is of a zone.
    pub stamp: Option<(u32, u64)>,
    /// The event.
    pub event: String,
    /// The account that it is about.
    pub account: Option<u64>,
    /// The epoch that took it back.
    pub undone_by: Option<u32>,
}

/// An archive's database that can be asked in SQL.
pub trait SqlDatabase: Sync {
    /// The archive.
    type Link: Archive;

    /// Opens one more connection to the same archive.
    fn open(&self, schema: ArchiveSchema) -> impl Future<Output = Result<Self::Link, String>> + Send;

    /// Runs a statement and returns its rows, each value as text and nothing as `\N`.
    fn sql(&self, statement: &str) -> Vec<Vec<String>>;

    /// Returns these bytes as a literal of its SQL.
    fn bytes(&self, hex: &str) -> String;

    /// Sets the version of its tables.
    fn set_version(&self, version: i32);
}

impl<D: SqlDatabase> ArchiveDatabase for D {
    type Link = D::Link;

    async fn open(&self, schema: ArchiveSchema) -> Result<D::Link, String> {
        SqlDatabase::open(self, schema).await
    }

    fn ledger(&self, zone: &ZoneName) -> Vec<KeptLedgerRow> {
        let rows = self.sql(&format!(
            "SELECT epoch, tick, seq, session, command, value, amount, giver, taker, undone_by FROM ledger \
             WHERE zone = '{zone}' ORDER BY epoch, tick, seq"
        ));
        let row = |row: &Vec<String>| KeptLedgerRow {
            stamp: (number(&row[0]), number(&row[1])),
            seq: number(&row[2]),
            command: known(&row[3]).zip(known(&row[4])),
            value: row[5].clone(),
            amount: number(&row[6]),
            parties: (known(&row[7]), known(&row[8])),
            undone_by: known(&row[9]),
        };
        rows.iter().map(row).collect()
    }

    fn audit(&self, zone: Option<&ZoneName>) -> Vec<KeptAuditRow> {
        let of = zone.map_or_else(|| "IS NULL".to_owned(), |zone| format!("= '{zone}'"));
        let rows = self.sql(&format!(
            "SELECT epoch, tick, event, account, undone_by FROM audit WHERE zone {of} ORDER BY epoch, tick, seq"
        ));
        let row = |row: &Vec<String>| KeptAuditRow {
            stamp: known(&row[0]).zip(known(&row[1])),
            event: row[2].clone(),
            account: known(&row[3]),
            undone_by: known(&row[4]),
        };
        rows.iter().map(row).collect()
    }

    fn residents(&self, zone: &ZoneName) -> Vec<u64> {
        let rows = self.sql(&format!(
            "SELECT account FROM characters WHERE zone = '{zone}' ORDER BY account"
        ));
        rows.iter().map(|row| number(&row[0])).collect()
    }

    fn name(&self, account: u64) -> Option<String> {
        let rows = self.sql(&format!("SELECT name FROM names WHERE account = {account}"));
        assert!(rows.len() < 2, "an account has one name: {rows:?}");
        rows.into_iter().flatten().next()
    }

    fn rows_beside(&self, account: u64) -> u64 {
        let tables = ["names", "payloads", "belongings"];
        let counts =
            tables.map(|table| count(self, &format!("SELECT count(*) FROM {table} WHERE account = {account}")));
        counts.iter().sum()
    }

    fn blob_parts(&self, zone: &ZoneName) -> u64 {
        count(
            self,
            &format!("SELECT count(*) FROM zone_blob_parts WHERE zone = '{zone}'"),
        )
    }

    fn damage_part(&self, zone: &ZoneName, number: u64, part: u32) {
        let other = self.bytes("00");
        self.sql(&format!(
            "UPDATE zone_blob_parts SET bytes = {other} WHERE zone = '{zone}' AND number = {number} AND part = {part}"
        ));
    }

    fn damage_payload(&self, account: u64) {
        let other = self.bytes("00ff");
        self.sql(&format!(
            "UPDATE payloads SET bytes = {other} WHERE account = {account}"
        ));
    }

    fn lose_payload(&self, account: u64) {
        self.sql(&format!("DELETE FROM payloads WHERE account = {account}"));
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    known(text).unwrap_or_else(|| panic!("{text:?} is no number"))
}

/// Reads a number. `None`: there is nothing.
fn known<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text == "\\N" {
        return None;
    }
    Some(text.parse().unwrap_or_else(|_| panic!("{text:?} is no number")))
}

/// Returns the number in the only row of a statement's answer.
fn count(database: &impl SqlDatabase, statement: &str) -> u64 {
    let rows = database.sql(statement);
    let [row] = &rows[..] else {
        panic!("{statement}: {rows:?}")
    };
    number(&row[0])
}

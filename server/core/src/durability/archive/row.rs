//! The rows of the archive: characters, belongings, ledger, audit. What is not written as it was given is refused here,
//! before a database sees it. Which rows are written, is decided elsewhere.

use bytes::Bytes;
use everhold_protocol::{Account, SessionId, ZoneName};
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::limits::{
    ARCHIVE_BELONGINGS_MAX, ARCHIVE_KIND_BYTES_MAX, ARCHIVE_NAME_BYTES_MAX, ARCHIVE_PAYLOAD_BYTES_MAX,
    ARCHIVE_TEXT_BYTES_MAX,
};
use crate::ownership::DataStamp;
use crate::zone::archive_schema::{ArchiveKind, ArchiveSchema, ColumnKind};

/// The event of an audit row: the account's player entered the zone.
pub const AUDIT_JOINED: &str = "joined";

/// The event of an audit row: the account's player left the zone.
pub const AUDIT_LEFT: &str = "left";

/// A time on the wall, ms since 1970-01-01 UTC. It is for people: nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallMs(pub i64);

/// The value of a declared column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ColumnValue {
    /// Of [`ColumnKind::Integer`].
    Integer(i64),
    /// Of [`ColumnKind::Real`]: finite.
    Real(f64),
    /// Of [`ColumnKind::Text`].
    Text(String),
    /// Of [`ColumnKind::Bool`].
    Bool(bool),
}

impl ColumnValue {
    /// Returns the type of the column that it fits into.
    #[must_use]
    pub const fn kind(&self) -> ColumnKind {
        match self {
            Self::Integer(_) => ColumnKind::Integer,
            Self::Real(_) => ColumnKind::Real,
            Self::Text(_) => ColumnKind::Text,
            Self::Bool(_) => ColumnKind::Bool,
        }
    }

    fn check(&self, name: &str) -> Result<(), ArchiveError> {
        match self {
            Self::Real(value) if !value.is_finite() => refuse(format!("the column `{name}` is not finite")),
            Self::Text(text) => check_text(name, text, ARCHIVE_TEXT_BYTES_MAX),
            Self::Real(_) | Self::Integer(_) | Self::Bool(_) => Ok(()),
        }
    }
}

/// The place where a character is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CharacterPlace {
    /// In this zone, or on its way there.
    Zone(ZoneName),
    /// Logged out, in no zone.
    Rest,
}

impl CharacterPlace {
    /// Returns the zone, if it is in one.
    #[must_use]
    pub const fn zone(&self) -> Option<&ZoneName> {
        match self {
            Self::Zone(zone) => Some(zone),
            Self::Rest => None,
        }
    }
}

/// A thing, or a heap of one kind, that a character has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Belonging {
    /// The thing's number, unique among the character's. One that is unique in the world can be followed in the ledger.
    pub id: u64,
    /// The kind: an index into the declared ones.
    pub kind: u32,
    /// The number of things in the heap.
    pub count: i64,
}

/// A character as it is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct CharacterRow {
    /// The account.
    pub account: Account,
    /// Rises with every move from zone to zone, to rest, and back.
    pub generation: u64,
    /// The place.
    pub place: CharacterPlace,
    /// The name; `None` leaves it as it is.
    pub name: Option<String>,
    /// All that a zone needs to have the character again, as the game encodes it; `None`, while a zone has it.
    pub payload: Option<Bytes>,
    /// A value for each declared column, in their order.
    pub columns: Vec<ColumnValue>,
    /// All belongings; `None` leaves them as they are.
    pub belongings: Option<Vec<Belonging>>,
}

impl CharacterRow {
    /// Makes the row of an account whose character is about to be born in this zone: nothing is known of it yet.
    #[must_use]
    pub fn reserved(account: Account, generation: u64, zone: ZoneName, schema: &ArchiveSchema) -> Self {
        let blank = |kind| match kind {
            ColumnKind::Integer => ColumnValue::Integer(0),
            ColumnKind::Real => ColumnValue::Real(0.0),
            ColumnKind::Text => ColumnValue::Text(String::new()),
            ColumnKind::Bool => ColumnValue::Bool(false),
        };
        Self {
            account,
            generation,
            place: CharacterPlace::Zone(zone),
            name: None,
            payload: None,
            columns: schema.columns().iter().map(|column| blank(column.kind)).collect(),
            belongings: None,
        }
    }

    /// Checks that the row can be written as it is.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`], with what is wrong.
    pub fn check(&self, schema: &ArchiveSchema) -> Result<(), ArchiveError> {
        let account = self.account.0;
        if i64::try_from(self.generation).is_err() {
            return refuse(format!("the generation of account {account} has 64 bits"));
        }
        if let Some(name) = &self.name {
            if name.trim().is_empty() {
                return refuse(format!("the name of account {account} is empty"));
            }
            check_text("name", name, ARCHIVE_NAME_BYTES_MAX)?;
        }
        let payload_bytes = self.payload.as_ref().map_or(0, Bytes::len);
        if payload_bytes > ARCHIVE_PAYLOAD_BYTES_MAX {
            return refuse(format!("the payload of account {account} has {payload_bytes} bytes"));
        }
        if self.place == CharacterPlace::Rest && self.payload.is_none() {
            return refuse(format!("account {account} rests without a payload"));
        }
        let declared = schema.columns();
        if declared.len() != self.columns.len() {
            let (is, must) = (self.columns.len(), declared.len());
            return refuse(format!("account {account} has {is} values for {must} columns"));
        }
        for (column, value) in declared.iter().zip(&self.columns) {
            let (name, kind) = (&column.name, column.kind.name());
            if value.kind() != column.kind {
                return refuse(format!("the column `{name}` of account {account} is not {kind}"));
            }
            value.check(name)?;
        }
        self.check_belongings(schema)
    }

    fn check_belongings(&self, schema: &ArchiveSchema) -> Result<(), ArchiveError> {
        let (account, belongings) = (self.account.0, self.belongings.as_deref().unwrap_or_default());
        if belongings.len() > ARCHIVE_BELONGINGS_MAX {
            return refuse(format!("account {account} has {} belongings", belongings.len()));
        }
        let mut ids: Vec<u64> = belongings.iter().map(|belonging| belonging.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse(format!("account {account} has two belongings of one number"));
        }
        belongings
            .iter()
            .try_for_each(|belonging| check_kind(schema.belongings(), belonging.kind, "belongings"))
    }

    /// Returns the number of database rows that it may become.
    #[must_use]
    pub fn rows(&self) -> usize {
        1 + self.belongings.as_ref().map_or(0, Vec::len)
    }

    /// Returns the length of its content, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |value: &ColumnValue| match value {
            ColumnValue::Text(text) => text.len(),
            _ => size_of::<i64>(),
        };
        let columns: usize = self.columns.iter().map(text).sum();
        let belongings = self.belongings.as_ref().map_or(0, Vec::len) * size_of::<Belonging>();
        columns + belongings + self.payload.as_ref().map_or(0, Bytes::len) + self.name.as_ref().map_or(0, String::len)
    }
}

/// A character's payload, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivedPayload {
    /// There is none: a zone has the character.
    Absent,
    /// As it was written.
    Whole(Bytes),
    /// It is not what was written, or it is gone. It is no reason to take the account for one that never was.
    Damaged,
}

/// A character as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedCharacter {
    /// The account.
    pub account: Account,
    /// The generation.
    pub generation: u64,
    /// The place.
    pub place: CharacterPlace,
    /// The name, if it was given one.
    pub name: Option<String>,
    /// The payload.
    pub payload: ArchivedPayload,
    /// The payload that was written last, of an earlier generation: a zone has the character since, or had it before
    /// its history was lost.
    pub last_payload: Option<Bytes>,
    /// A value for each declared column, in their order.
    pub columns: Vec<ColumnValue>,
    /// The tick of which it is; `None`, if no zone wrote it.
    pub stamp: Option<DataStamp>,
    /// The time of the write.
    pub wall: WallMs,
}

impl ArchivedCharacter {
    /// Whether it is what this row would make of it. Belongings are not compared.
    #[must_use]
    pub fn is_as(&self, row: &CharacterRow) -> bool {
        let payload = match &self.payload {
            ArchivedPayload::Absent => row.payload.is_none(),
            ArchivedPayload::Whole(payload) => row.payload.as_ref() == Some(payload),
            ArchivedPayload::Damaged => false,
        };
        let has_name = row.name.is_none() || self.name == row.name;
        payload
            && has_name
            && self.generation == row.generation
            && self.place == row.place
            && self.columns == row.columns
    }
}

/// An account, as the archive answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchivedAccount {
    /// It has a character.
    Character(Box<ArchivedCharacter>),
    /// It had one, which was deleted. A new one needs a higher generation.
    Deleted {
        /// The account.
        account: Account,
        /// The generation of the deletion.
        generation: u64,
    },
}

impl ArchivedAccount {
    /// Returns the account's number.
    #[must_use]
    pub fn account(&self) -> Account {
        match self {
            Self::Character(character) => character.account,
            Self::Deleted { account, .. } => *account,
        }
    }
}

/// The key of a ledger row within its zone: the stamp of its tick, and its place among the rows of that.
pub type LedgerKey = (DataStamp, u32);

/// A change of value. Its key is its zone, the epoch of the tick, the tick, and `seq`: written twice it stands once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The tick, and the epoch that did it.
    pub stamp: DataStamp,
    /// The place among the rows of its tick.
    pub seq: u32,
    /// The time of the tick.
    pub wall: WallMs,
    /// The intent that caused it: session and place in its sequence. `None`: no player's.
    pub command: Option<(SessionId, u64)>,
    /// The kind of value: an index into the declared ones.
    pub value: u32,
    /// The thing, if it has a number.
    pub thing: Option<u64>,
    /// The amount that moved, in the value's own unit: not negative.
    pub amount: i64,
    /// The giver; `None`: the world, which made it.
    pub from: Option<Account>,
    /// The taker; `None`: the world, which took it.
    pub to: Option<Account>,
}

impl LedgerRow {
    /// Returns its key.
    #[must_use]
    pub const fn key(&self) -> LedgerKey {
        (self.stamp, self.seq)
    }

    pub(super) fn check(&self, schema: &ArchiveSchema) -> Result<(), ArchiveError> {
        if self.amount < 0 {
            return refuse(format!(
                "a ledger row of tick {} has a negative amount",
                self.stamp.tick
            ));
        }
        check_kind(schema.values(), self.value, "value")
    }
}

/// An event that people may ask for later. Its key is that of a [`LedgerRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The tick, and the epoch that did it; `None`: outside a zone.
    pub stamp: Option<DataStamp>,
    /// The place among the audit rows of its tick.
    pub seq: u32,
    /// The time.
    pub wall: WallMs,
    /// The event's name, such as [`AUDIT_JOINED`].
    pub event: String,
    /// The account that it is about, if it is.
    pub account: Option<Account>,
    /// The rest, for people.
    pub detail: String,
}

impl AuditRow {
    /// Checks that the row can be written as it is.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`], with what is wrong.
    pub fn check(&self) -> Result<(), ArchiveError> {
        if self.event.is_empty() {
            return refuse("an audit row has no event".to_owned());
        }
        check_text("event", &self.event, ARCHIVE_KIND_BYTES_MAX)?;
        check_text("detail", &self.detail, ARCHIVE_TEXT_BYTES_MAX)
    }
}

/// Returns the form of a name by which it is unique: two that differ in their case alone are one.
#[must_use]
pub fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

fn check_kind(declared: &[ArchiveKind], index: u32, what: &str) -> Result<(), ArchiveError> {
    if (index as usize) < declared.len() {
        return Ok(());
    }
    refuse(format!("no kind {index} of {what} is declared"))
}

/// PostgreSQL takes no NUL in a text.
fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), ArchiveError> {
    if text.len() > bytes_max {
        return refuse(format!("`{what}` has {} bytes, at most {bytes_max} may be", text.len()));
    }
    if text.contains('\0') {
        return refuse(format!("`{what}` holds a NUL"));
    }
    Ok(())
}

pub(super) fn refuse<T>(why: String) -> Result<T, ArchiveError> {
    Err(ArchiveError::Refused(why))
}

//! The frames of a backup as bytes. Where a frame may stand is not decided here.
//!
//! A frame's description is MessagePack, and its long bytes (a part of a zone, a character at rest) stand behind
//! that as they are. Fields are only ever added at the end of a description, with a default.

use bytes::Bytes;
use everhold_protocol::{Account, Epoch, SessionId, Tick, ZoneName};
use serde::{Deserialize, Serialize};

use super::marker::BackupId;
use crate::durability::archive::{Belonging, ColumnValue, LedgerRow, WallMs};
use crate::durability::bans::Ban;
use crate::durability::rules_store::WorldFile;
use crate::durability::store::{Position, RecordHash};
use crate::ownership::{DataStamp, RulesId, RulesStamp};

/// The beginning of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// Its number.
    pub id: BackupId,
    /// The version of the server that made it.
    pub build: String,
    /// The time at which it was begun.
    pub wall: WallMs,
    /// The rules that the world is to run, if any are on record.
    pub wanted: Option<RulesId>,
    /// Whether the world had an archive.
    pub has_archive: bool,
    /// The columns of characters that the game declares: name, and name of the type.
    pub columns: Vec<(String, String)>,
    /// The kinds of belongings.
    pub belongings: Vec<String>,
    /// The kinds of value.
    pub values: Vec<String>,
}

/// A world file that a zone needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupWorld(pub WorldFile);

/// The head of a zone's copy. Its parts follow, its characters, its ledger, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupZone {
    /// The zone.
    pub zone: ZoneName,
    /// The last tick that it holds.
    pub position: Position,
    /// The highest epoch that store, authority, or archive had seen.
    pub fence: Epoch,
    /// The rules that it ran.
    pub rules: RulesStamp,
    /// The length of its state, bytes.
    pub bytes: u64,
}

/// A character, in the zone or at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupCharacter {
    /// The account.
    pub account: Account,
    /// The generation.
    pub generation: u64,
    /// Whether the state of its zone has it.
    pub is_resident: bool,
    /// The name, if it was given one.
    pub name: Option<String>,
    /// The character as bytes, if it rests. One that neither rests nor is resident is not born yet.
    pub payload: Option<Bytes>,
    /// A value for each declared column.
    pub columns: Vec<ColumnValue>,
    /// All belongings.
    pub belongings: Vec<Belonging>,
}

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupFrame {
    /// The header, which is the first one.
    Header(BackupHeader),
    /// A world file.
    World(BackupWorld),
    /// The copy of a zone begins.
    Zone(BackupZone),
    /// A part of its state, at most [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX) bytes.
    Part(Bytes),
    /// A character of the zone; outside of one, a character that rests in the name of none.
    Character(BackupCharacter),
    /// A row of the zone's ledger.
    Ledger(LedgerRow),
    /// The copy of a zone ends.
    ZoneEnd,
    /// An account whose character was deleted in this generation.
    Deleted(Account, u64),
    /// The newest revision of an account's ban.
    Ban(Ban),
    /// The end, with the number of frames before it.
    End(u64),
}

const TAG_HEADER: u8 = 1;
const TAG_WORLD: u8 = 2;
const TAG_ZONE: u8 = 3;
const TAG_PART: u8 = 4;
const TAG_CHARACTER: u8 = 5;
const TAG_LEDGER: u8 = 6;
const TAG_ZONE_END: u8 = 7;
const TAG_DELETED: u8 = 8;
const TAG_END: u8 = 9;
const TAG_BAN: u8 = 10;

#[derive(Serialize, Deserialize)]
struct WorldFields {
    id: RulesId,
    code: u32,
    layout: u16,
    tick_hz: u16,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct ZoneFields {
    zone: ZoneName,
    epoch: Epoch,
    tick: Tick,
    hash: [u8; 32],
    fence: Epoch,
    rules: RulesId,
    code: u32,
    layout: u16,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct CharacterFields {
    account: Account,
    generation: u64,
    is_resident: bool,
    name: Option<String>,
    has_payload: bool,
    columns: Vec<ColumnValue>,
    belongings: Vec<Belonging>,
}

#[derive(Serialize, Deserialize)]
struct LedgerFields {
    epoch: Epoch,
    tick: Tick,
    seq: u32,
    wall: WallMs,
    command: Option<(SessionId, u64)>,
    value: u32,
    thing: Option<u64>,
    amount: i64,
    from: Option<Account>,
    to: Option<Account>,
}

/// The bytes of a frame make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackupFrameError(pub(super) String);

impl From<rmp_serde::decode::Error> for BackupFrameError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        Self(error.to_string())
    }
}

fn described(fields: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(fields).expect("plain fields always encode")
}

impl BackupFrame {
    /// Returns tag, description, and the bytes behind it.
    pub(super) fn encode(&self) -> (u8, Vec<u8>, Bytes) {
        match self {
            Self::Header(header) => (TAG_HEADER, described(header), Bytes::new()),
            Self::World(BackupWorld(file)) => (TAG_WORLD, described(&world_fields(file)), Bytes::new()),
            Self::Zone(zone) => (TAG_ZONE, described(&zone_fields(zone)), Bytes::new()),
            Self::Part(bytes) => (TAG_PART, Vec::new(), bytes.clone()),
            Self::Character(character) => {
                let payload = character.payload.clone().unwrap_or_default();
                (TAG_CHARACTER, described(&character_fields(character)), payload)
            }
            Self::Ledger(row) => (TAG_LEDGER, described(&ledger_fields(row)), Bytes::new()),
            Self::ZoneEnd => (TAG_ZONE_END, Vec::new(), Bytes::new()),
            Self::Deleted(account, generation) => (TAG_DELETED, described(&(account, generation)), Bytes::new()),
            Self::Ban(ban) => (TAG_BAN, described(&(ban.account, ban.to_text())), Bytes::new()),
            Self::End(frames) => (TAG_END, described(frames), Bytes::new()),
        }
    }

    /// Reads a frame.
    pub(super) fn decode(tag: u8, described: &[u8], tail: Bytes) -> Result<Self, BackupFrameError> {
        let read = Self::decode_described(tag, described, &tail)?;
        let takes_tail = matches!(
            read,
            Self::Part(_) | Self::Character(BackupCharacter { payload: Some(_), .. })
        );
        if takes_tail || tail.is_empty() {
            return Ok(read);
        }
        Err(BackupFrameError(format!("{} bytes too many", tail.len())))
    }

    fn decode_described(tag: u8, described: &[u8], tail: &Bytes) -> Result<Self, BackupFrameError> {
        Ok(match tag {
            TAG_HEADER => Self::Header(rmp_serde::from_slice(described)?),
            TAG_WORLD => Self::World(rmp_serde::from_slice::<WorldFields>(described)?.into()),
            TAG_ZONE => Self::Zone(rmp_serde::from_slice::<ZoneFields>(described)?.into()),
            TAG_PART => Self::Part(tail.clone()),
            TAG_CHARACTER => Self::Character(character(rmp_serde::from_slice(described)?, tail)),
            TAG_LEDGER => Self::Ledger(rmp_serde::from_slice::<LedgerFields>(described)?.into()),
            TAG_ZONE_END => Self::ZoneEnd,
            TAG_DELETED => {
                let (account, generation) = rmp_serde::from_slice(described)?;
                Self::Deleted(account, generation)
            }
            TAG_BAN => {
                let (account, text): (Account, String) = rmp_serde::from_slice(described)?;
                let ban = Ban::from_text(account, &text);
                Self::Ban(ban.map_err(|error| BackupFrameError(error.to_string()))?)
            }
            TAG_END => Self::End(rmp_serde::from_slice(described)?),
            tag => return Err(BackupFrameError(format!("a frame of the unknown kind {tag}"))),
        })
    }
}

fn world_fields(file: &WorldFile) -> WorldFields {
    WorldFields {
        id: file.rules.id,
        code: file.rules.code,
        layout: file.rules.layout,
        tick_hz: file.tick_hz,
        text: file.text.clone(),
    }
}

impl From<WorldFields> for BackupWorld {
    fn from(fields: WorldFields) -> Self {
        let WorldFields {
            id,
            code,
            layout,
            tick_hz,
            text,
        } = fields;
        let rules = RulesStamp { id, code, layout };
        Self(WorldFile { rules, tick_hz, text })
    }
}

fn zone_fields(zone: &BackupZone) -> ZoneFields {
    ZoneFields {
        zone: zone.zone.clone(),
        epoch: zone.position.epoch,
        tick: zone.position.tick,
        hash: zone.position.hash.0,
        fence: zone.fence,
        rules: zone.rules.id,
        code: zone.rules.code,
        layout: zone.rules.layout,
        bytes: zone.bytes,
    }
}

impl From<ZoneFields> for BackupZone {
    fn from(fields: ZoneFields) -> Self {
        Self {
            zone: fields.zone,
            position: Position {
                epoch: fields.epoch,
                tick: fields.tick,
                hash: RecordHash(fields.hash),
            },
            fence: fields.fence,
            rules: RulesStamp {
                id: fields.rules,
                code: fields.code,
                layout: fields.layout,
            },
            bytes: fields.bytes,
        }
    }
}

fn character_fields(character: &BackupCharacter) -> CharacterFields {
    CharacterFields {
        account: character.account,
        generation: character.generation,
        is_resident: character.is_resident,
        name: character.name.clone(),
        has_payload: character.payload.is_some(),
        columns: character.columns.clone(),
        belongings: character.belongings.clone(),
    }
}

fn character(fields: CharacterFields, tail: &Bytes) -> BackupCharacter {
    BackupCharacter {
        account: fields.account,
        generation: fields.generation,
        is_resident: fields.is_resident,
        name: fields.name,
        payload: fields.has_payload.then(|| tail.clone()),
        columns: fields.columns,
        belongings: fields.belongings,
    }
}

fn ledger_fields(row: &LedgerRow) -> LedgerFields {
    LedgerFields {
        epoch: row.stamp.epoch,
        tick: row.stamp.tick,
        seq: row.seq,
        wall: row.wall,
        command: row.command,
        value: row.value,
        thing: row.thing,
        amount: row.amount,
        from: row.from,
        to: row.to,
    }
}

impl From<LedgerFields> for LedgerRow {
    fn from(fields: LedgerFields) -> Self {
        let LedgerFields { epoch, tick, .. } = fields;
        Self {
            stamp: DataStamp { epoch, tick },
            seq: fields.seq,
            wall: fields.wall,
            command: fields.command,
            value: fields.value,
            thing: fields.thing,
            amount: fields.amount,
            from: fields.from,
            to: fields.to,
        }
    }
}

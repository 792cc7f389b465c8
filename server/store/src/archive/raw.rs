//! Rows as a database gives them, and what they stand for. A number or a checksum that cannot be is damage, and said to
//! be.

use bytes::Bytes;
use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveError, ArchivedAccount, ArchivedBlob, ArchivedCharacter, ArchivedPayload, ArchivedZone,
    CharacterPlace, ColumnValue, CommitMark, LedgerKey, LedgerRow, WallMs, checksum,
};
use everhold_core::durability::store::{Position, RecordHash};
use everhold_core::ownership::{DataStamp, Nonce};
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, EntityId, Epoch, Tick, ZoneName};

/// Makes the error of a row that cannot be.
pub(crate) fn corrupt<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ArchiveError {
    move |error| ArchiveError::Corrupt(format!("{what}: {error}"))
}

/// Returns what was read, if its checksum is that of the bytes.
pub(crate) fn verified(kept: &[u8], bytes: Vec<u8>, what: impl FnOnce() -> String) -> Result<Bytes, ArchiveError> {
    if checksum(&bytes) == kept {
        return Ok(bytes.into());
    }
    Err(ArchiveError::Corrupt(format!("{} is not what was written", what())))
}

fn epoch(epoch: i64) -> Result<Epoch, ArchiveError> {
    u32::try_from(epoch).map(Epoch).map_err(corrupt("an epoch"))
}

fn name(name: &str) -> Result<ZoneName, ArchiveError> {
    name.parse().map_err(corrupt("a zone's name"))
}

/// A commit's mark: epoch, tick, hash, number.
pub(crate) type RawMark = (i64, i64, Vec<u8>, i64);

fn mark((of, tick, hash, number): RawMark) -> Result<CommitMark, ArchiveError> {
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| ArchiveError::Corrupt("a hash".to_owned()))?;
    Ok(CommitMark {
        position: Position {
            epoch: epoch(of)?,
            tick: Tick(tick.cast_unsigned()),
            hash: RecordHash(hash),
        },
        number: number.cast_unsigned(),
    })
}

/// A row of `zones`.
pub(crate) struct RawZone {
    pub(crate) zone: String,
    pub(crate) fence: (i64, i64),
    pub(crate) last: Option<RawMark>,
}

impl RawZone {
    /// Reads the last commit alone.
    pub(crate) fn last(last: Option<RawMark>) -> Result<Option<CommitMark>, ArchiveError> {
        last.map(mark).transpose()
    }

    /// Puts the zone together. Each blob: its mark, parts, bytes.
    pub(crate) fn with(self, blobs: Vec<(RawMark, i64, i64)>) -> Result<ArchivedZone, ArchiveError> {
        let blobs = blobs.into_iter().map(|(of, parts, bytes)| {
            Ok(ArchivedBlob {
                mark: mark(of)?,
                blob: ArchiveBlob {
                    parts: u32::try_from(parts).map_err(corrupt("the parts of a blob"))?,
                    bytes: u64::try_from(bytes).map_err(corrupt("the length of a blob"))?,
                },
            })
        });
        Ok(ArchivedZone {
            zone: name(&self.zone)?,
            fence: (epoch(self.fence.0)?, Nonce(self.fence.1.cast_unsigned())),
            last: Self::last(self.last)?,
            blobs: blobs.collect::<Result<_, ArchiveError>>()?,
        })
    }
}

/// A row of `characters`, with its name and its payload.
pub(crate) struct RawCharacter {
    pub(crate) account: i64,
    pub(crate) generation: i64,
    pub(crate) is_deleted: bool,
    pub(crate) zone: Option<String>,
    pub(crate) epoch: Option<i64>,
    pub(crate) tick: Option<i64>,
    pub(crate) wall_ms: i64,
    pub(crate) payload_bytes: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) payload: Option<RawPayload>,
    pub(crate) columns: Vec<ColumnValue>,
}

/// A row of `payloads`: the last that was written of a character, which a zone may have by now.
pub(crate) struct RawPayload {
    pub(crate) generation: i64,
    pub(crate) checksum: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl RawPayload {
    fn is_whole(&self) -> bool {
        checksum(&self.bytes) == *self.checksum
    }
}

impl RawCharacter {
    /// Returns what it stands for.
    pub(crate) fn checked(self) -> Result<ArchivedAccount, ArchiveError> {
        let account = Account(self.account.cast_unsigned());
        let generation = self.generation.cast_unsigned();
        if self.is_deleted {
            return Ok(ArchivedAccount::Deleted { account, generation });
        }
        let is_away = self.payload_bytes.is_some();
        let kept = self.payload.filter(RawPayload::is_whole);
        let (own, last) = kept.map_or((None, None), |kept| {
            let bytes = Bytes::from(kept.bytes);
            if is_away && kept.generation == self.generation {
                (Some(bytes), None)
            } else {
                (None, Some(bytes))
            }
        });
        let payload = match own {
            Some(bytes) => ArchivedPayload::Whole(bytes),
            None if is_away => ArchivedPayload::Damaged,
            None => ArchivedPayload::Absent,
        };
        let stamp = match (self.epoch, self.tick) {
            (Some(of), Some(tick)) => Some(DataStamp {
                epoch: epoch(of)?,
                tick: Tick(tick.cast_unsigned()),
            }),
            _ => None,
        };
        let place = match self.zone {
            Some(zone) => CharacterPlace::Zone(name(&zone)?),
            None => CharacterPlace::Rest,
        };
        Ok(ArchivedAccount::Character(Box::new(ArchivedCharacter {
            account,
            generation,
            place,
            name: self.name,
            payload,
            last_payload: last,
            columns: self.columns,
            stamp,
            wall: WallMs(self.wall_ms),
        })))
    }
}

/// A row of `ledger`.
pub(crate) struct RawLedgerRow {
    /// Tick, epoch, and place.
    pub(crate) key: (i64, i64, i64),
    pub(crate) wall_ms: i64,
    pub(crate) command: (Option<i64>, Option<i64>),
    pub(crate) value: String,
    pub(crate) thing: Option<i64>,
    pub(crate) amount: i64,
    /// Giver and taker.
    pub(crate) parties: (Option<i64>, Option<i64>),
}

impl RawLedgerRow {
    /// Returns what it stands for. `None`: its kind of value is not declared.
    pub(crate) fn checked(self, schema: &ArchiveSchema) -> Result<Option<LedgerRow>, ArchiveError> {
        let Some(value) = schema.values().iter().position(|kind| kind.name == self.value) else {
            return Ok(None);
        };
        let (tick, of, seq) = self.key;
        let account = |number: Option<i64>| number.map(|number| Account(number.cast_unsigned()));
        let command = match self.command {
            (Some(session), Some(command)) => Some((EntityId(session.cast_unsigned()), command.cast_unsigned())),
            _ => None,
        };
        Ok(Some(LedgerRow {
            stamp: DataStamp {
                epoch: epoch(of)?,
                tick: Tick(tick.cast_unsigned()),
            },
            seq: u32::try_from(seq).map_err(corrupt("the place of a ledger row"))?,
            wall: WallMs(self.wall_ms),
            command,
            value: u32::try_from(value).map_err(corrupt("a kind of value"))?,
            thing: self.thing.map(i64::cast_unsigned),
            amount: self.amount,
            from: account(self.parties.0),
            to: account(self.parties.1),
        }))
    }
}

/// Returns a key as the tables have it, from which a page of the ledger begins.
pub(crate) fn ledger_from(after: Option<LedgerKey>) -> (i64, i64, i64) {
    after.map_or((i64::MIN, 0, 0), |(stamp, seq)| {
        (stamp.tick.0.cast_signed(), stamp.epoch.0.into(), seq.into())
    })
}

/// Returns the number from which a page of accounts after this one begins. `None`: there is none.
pub(crate) fn account_from(after: Option<Account>) -> Option<i64> {
    after.map_or(Some(i64::MIN), |after| after.0.cast_signed().checked_add(1))
}

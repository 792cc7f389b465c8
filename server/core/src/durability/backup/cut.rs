//! The judgement on an archive's row beside the copy of its zone. It asks nothing: what follows from a verdict, the
//! caller does.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_protocol::{Account, ZoneName};

use crate::durability::archive::{ArchivedAccount, ArchivedCharacter, ArchivedPayload};
use crate::ownership::DataStamp;

/// A zone as of one tick, as far as its archive's rows are judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneCopy {
    /// The zone.
    pub zone: ZoneName,
    /// The tick.
    pub stamp: DataStamp,
    /// The characters in it, those among them that rest and have not left yet, with their generations.
    pub residents: BTreeMap<Account, u64>,
}

/// The meaning of a row that was read after the copy was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowVerdict {
    /// The character is in the copy, which says what it is.
    Resident,
    /// It rested at the copy's tick, and these are its bytes.
    Rests(Bytes),
    /// The account is reserved, and no character of it was born.
    Reserved,
    /// The row is none of this zone's.
    Elsewhere,
    /// The zone did something with the account after the copy's tick: it is to be read again.
    Behind,
    /// Its bytes are damaged.
    Damaged,
}

impl ZoneCopy {
    /// Judges a row. It must have been read after the copy's last tick was.
    #[must_use]
    pub fn judge(&self, row: &ArchivedAccount) -> RowVerdict {
        let resident = self.residents.get(&row.account());
        let character = match row {
            ArchivedAccount::Character(character) => character,
            // The deletion is an input of the zone: a later tick has it.
            ArchivedAccount::Deleted { generation, .. } => {
                let is_deleted_here = resident.is_some_and(|own| own < generation);
                return if is_deleted_here {
                    RowVerdict::Behind
                } else {
                    RowVerdict::Elsewhere
                };
            }
        };
        let is_here = character.place.zone() == Some(&self.zone);
        match resident {
            Some(own) if !is_here && *own < character.generation => RowVerdict::Behind,
            Some(_) => RowVerdict::Resident,
            None if !is_here => RowVerdict::Elsewhere,
            None => self.judge_absent(character),
        }
    }

    /// Judges the row of a character of this zone that the copy does not have.
    fn judge_absent(&self, row: &ArchivedCharacter) -> RowVerdict {
        if row.stamp.is_some_and(|stamp| stamp > self.stamp) {
            return RowVerdict::Behind;
        }
        match (&row.payload, &row.last_payload) {
            (ArchivedPayload::Damaged, _) => RowVerdict::Damaged,
            // Its zone had it in ticks that were undone: what it last rested as is what would be brought.
            (ArchivedPayload::Whole(payload), _) | (ArchivedPayload::Absent, Some(payload)) => {
                RowVerdict::Rests(payload.clone())
            }
            (ArchivedPayload::Absent, None) => RowVerdict::Reserved,
        }
    }
}

/// Whether a row that was read twice was not written between.
#[must_use]
pub fn is_same_row(first: &ArchivedAccount, second: &ArchivedAccount) -> bool {
    match (first, second) {
        (ArchivedAccount::Character(first), ArchivedAccount::Character(second)) => {
            (first.account, first.generation, first.stamp) == (second.account, second.generation, second.stamp)
        }
        _ => first == second,
    }
}

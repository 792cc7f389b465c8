//! The characters of an archive in memory, with names, payloads, and belongings: which row of an account stands.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use everhold_core::durability::archive::row::name_key;
use everhold_core::durability::archive::{
    AccountAnswer, ArchivedAccount, ArchivedCharacter, ArchivedPayload, Belonging, CharacterPlace, CharacterRow,
    DeletionAnswer, WallMs, checksum,
};
use everhold_core::ownership::DataStamp;
use everhold_protocol::{Account, ZoneName};

/// The zone that writes, and the tick that it has reached; `None`: a character is written outside a zone.
pub(super) type Writer<'a> = Option<(&'a ZoneName, DataStamp)>;

/// The reason why a character is not written as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// A newer row stands.
    Newer,
    /// Another account has the name; all else is written.
    Name,
}

/// The payload of a character: its checksum as it was written, and its bytes, unless they are lost.
type Payload = ([u8; 32], Option<Bytes>);

/// All that there is of an account.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shelved {
    row: CharacterRow,
    stamp: Option<DataStamp>,
    wall: WallMs,
    is_deleted: bool,
    pub(super) payload: Option<Payload>,
    /// The payload before, of an earlier generation.
    last_payload: Option<Payload>,
    pub(super) belongings: BTreeMap<u64, Belonging>,
    pub(super) name: Option<String>,
}

/// The characters, in the order of databases, whose numbers have a sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Characters {
    pub(super) accounts: BTreeMap<i64, Shelved>,
    /// The account that has a name, by the form of it that is unique.
    names: BTreeMap<String, Account>,
}

impl Characters {
    pub(super) fn account(&self, account: Account) -> Option<ArchivedAccount> {
        self.accounts.get(&account.0.cast_signed()).map(Shelved::read)
    }

    pub(super) fn belongings(&self, account: Account) -> Vec<Belonging> {
        let shelved = self.accounts.get(&account.0.cast_signed());
        let belongings = shelved.into_iter().flat_map(|shelved| shelved.belongings.values());
        belongings.cloned().collect()
    }

    /// Reads accounts in order, after this one: those in a zone, or all.
    pub(super) fn page(
        &self,
        home: Option<&ZoneName>,
        after: Option<Account>,
    ) -> impl Iterator<Item = ArchivedAccount> {
        let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.cast_signed()));
        let accounts = self.accounts.range((after, Bound::Unbounded));
        let accounts = accounts.filter(move |(_, shelved)| home.is_none_or(|home| shelved.zone() == Some(home)));
        accounts.map(|(_, shelved)| shelved.read())
    }

    /// Writes a character, unless a newer row stands.
    pub(super) fn put(&mut self, writer: Writer<'_>, row: &CharacterRow, wall: WallMs) -> Option<Hindrance> {
        let account = row.account.0.cast_signed();
        let before = self.accounts.remove(&account);
        if let Some(stands) = before.as_ref().filter(|stands| !stands.gives_way(writer, row)) {
            self.accounts.insert(account, stands.clone());
            return Some(Hindrance::Newer);
        }
        let before = before.map(|before| (before.belongings, before.name, before.payload.or(before.last_payload)));
        let (belongings, name, last_payload) = before.unwrap_or_default();
        let of = |belonging: &Belonging| (belonging.id, belonging.clone());
        let given = row.belongings.as_ref().map(|given| given.iter().map(of).collect());
        let shelved = Shelved {
            row: row.clone(),
            stamp: writer.map(|(_, stamp)| stamp),
            wall,
            is_deleted: false,
            payload: row.payload.clone().map(|payload| (checksum(&payload), Some(payload))),
            last_payload,
            belongings: given.unwrap_or(belongings),
            name,
        };
        self.accounts.insert(account, shelved);
        match &row.name {
            Some(name) if !self.put_name(row.account, name) => Some(Hindrance::Name),
            _ => None,
        }
    }

    /// Gives the account the name, unless another has it. Returns whether it has it now.
    fn put_name(&mut self, account: Account, name: &str) -> bool {
        let key = name_key(name);
        if self.names.get(&key).is_some_and(|by| *by != account) {
            return false;
        }
        self.names.retain(|_, by| *by != account);
        self.names.insert(key, account);
        if let Some(shelved) = self.accounts.get_mut(&account.0.cast_signed()) {
            shelved.name = Some(name.to_owned());
        }
        true
    }

    /// Writes a character outside a zone.
    pub(super) fn put_outside(&mut self, row: &CharacterRow, wall: WallMs) -> AccountAnswer {
        let stands = self.accounts.get(&row.account.0.cast_signed());
        if let Some(ArchivedAccount::Character(character)) = stands.map(Shelved::read)
            && character.is_as(row)
        {
            return AccountAnswer::Stored;
        }
        if let Some(generation) = stands.map(|stands| stands.row.generation)
            && generation >= row.generation
        {
            return AccountAnswer::Newer { generation };
        }
        let by = row.name.as_ref().and_then(|name| self.names.get(&name_key(name)));
        if let Some(by) = by.filter(|by| **by != row.account) {
            return AccountAnswer::NameTaken { by: *by };
        }
        self.put(None, row, wall);
        AccountAnswer::Stored
    }

    /// Deletes a character. Returns the answer, and whether it is done now, and was not before.
    pub(super) fn delete(&mut self, account: Account, generation: u64) -> (DeletionAnswer, bool) {
        let Some(shelved) = self.accounts.get_mut(&account.0.cast_signed()) else {
            return (DeletionAnswer::Absent, false);
        };
        let stands = shelved.row.generation;
        if stands >= generation {
            let is_repeated = shelved.is_deleted && stands == generation;
            let newer = DeletionAnswer::Newer { generation: stands };
            return (if is_repeated { DeletionAnswer::Deleted } else { newer }, false);
        }
        shelved.row.generation = generation;
        shelved.is_deleted = true;
        (shelved.payload, shelved.name, shelved.stamp) = (None, None, None);
        shelved.last_payload = None;
        shelved.belongings.clear();
        self.names.retain(|_, by| *by != account);
        (DeletionAnswer::Deleted, true)
    }
}

/// Returns the bytes of a payload, if they are what was written.
fn whole((kept, bytes): &Payload) -> Option<Bytes> {
    bytes.clone().filter(|bytes| checksum(bytes) == *kept)
}

impl Shelved {
    /// Returns the zone that the character is in, if it is in one.
    pub(super) fn zone(&self) -> Option<&ZoneName> {
        if self.is_deleted { None } else { self.row.place.zone() }
    }

    /// Returns the rows that there are beside the account's own.
    pub(super) fn rows_beside(&self) -> usize {
        let payload = self
            .payload
            .as_ref()
            .map_or(0, |(_, bytes)| usize::from(bytes.is_some()));
        self.belongings.len() + payload + usize::from(self.name.is_some())
    }

    /// Whether another row replaces this one.
    fn gives_way(&self, writer: Writer<'_>, row: &CharacterRow) -> bool {
        let is_there = |place: Option<&ZoneName>| place.is_some() && place == writer.map(|(zone, _)| zone);
        let is_of_its_zone = is_there(self.zone()) && is_there(row.place.zone());
        self.row.generation < row.generation || (self.row.generation == row.generation && is_of_its_zone)
    }

    fn read(&self) -> ArchivedAccount {
        let (account, generation) = (self.row.account, self.row.generation);
        if self.is_deleted {
            return ArchivedAccount::Deleted { account, generation };
        }
        let payload = match &self.payload {
            None => ArchivedPayload::Absent,
            Some((kept, Some(bytes))) if checksum(bytes) == *kept => ArchivedPayload::Whole(bytes.clone()),
            Some(_) => ArchivedPayload::Damaged,
        };
        ArchivedAccount::Character(Box::new(ArchivedCharacter {
            account,
            generation,
            place: self.zone().cloned().map_or(CharacterPlace::Rest, CharacterPlace::Zone),
            name: self.name.clone(),
            last_payload: self
                .last_payload
                .as_ref()
                .filter(|_| payload == ArchivedPayload::Absent)
                .and_then(whole),
            payload,
            columns: self.row.columns.clone(),
            stamp: self.stamp,
            wall: self.wall,
        }))
    }
}

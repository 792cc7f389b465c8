//! Zone data and homes in memory, with the answers of a real store and with faults. A plain state machine: it locks
//! nothing, waits for nothing, reads no clock, and iterates in order of keys, so that the same calls give the same
//! answers. What is lost on the way to a store is not its concern.
//!
//! Its contract are the traits [`ZoneStore`](everhold_core::durability::store::ZoneStore) and
//! [`HomeStore`](everhold_core::cluster::HomeStore). Where those leave a choice it does as Redis does, which promises
//! less than files do: it forgets with a zone's data that there was any, so that the first epoch then finds a new zone,
//! and [`MemoryStore::summary`] tells of none.

mod usage;
mod checkpoints;
mod journal;
mod evidence;
mod data_set;
mod damage;
mod forging;

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::cluster::{AccountRecord, Home};
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Origin, PartKey, Position, RecordHash, Rewind, Seal, StoreError,
    StoredRecord, ZoneData, ZoneOutline, ZoneSummary, assert_consecutive,
};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::{Grant, Tenure};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{Account, Epoch, SessionId, Tick, ZoneName};

pub use damage::{StoredKind, StoredPlace};
pub use forging::Forgery;
pub use usage::{StoreUsage, ZoneUsage};

use crate::mutant::Mutant;
use data_set::DataSet;
use evidence::EvidenceSet;

/// All that a store held at one moment: a Redis that restarts from an older dump, and a stale replica that is promoted,
/// go back to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoreDump {
    zones: BTreeMap<ZoneName, DataSet>,
    homes: BTreeMap<Account, KeptAccount>,
}

/// A store in memory. The methods named as those of the traits do what the traits say; the others are its faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryStore {
    data: StoreDump,
    is_full: bool,
    /// Times that homes were forgotten.
    home_losses: u64,
    refuses_parts: bool,
    mutant: Option<Mutant>,
}

/// The record of an account as it is kept: a character at rest with the number of losses before it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeptAccount {
    home: Home,
    rest: Option<(Bytes, u64)>,
}

/// Zone data and homes, as the traits say.
impl MemoryStore {
    /// Raises the fence, and makes the data set if the grant is the zone's first.
    pub fn fence(&mut self, tenure: &Tenure) -> Result<(), StoreError> {
        self.check_room()?;
        self.open_fence(tenure);
        match self.data.zones.get_mut(&tenure.zone) {
            Some(set) => set.fence(tenure.grant),
            None if tenure.epoch() == Epoch::FIRST => {
                self.insert(tenure, Origin::Nothing);
                Ok(())
            }
            None => Err(StoreError::Lost),
        }
    }

    /// Makes a lost data set anew.
    pub fn create(&mut self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        self.check_room()?;
        self.open_fence(tenure);
        match self.data.zones.get_mut(&tenure.zone) {
            Some(set) => set.create(tenure.grant, origin),
            None => {
                self.insert(tenure, origin);
                Ok(())
            }
        }
    }

    /// Reads everything of a zone.
    pub fn read_zone(&self, zone: &ZoneName) -> Result<ZoneData, StoreError> {
        self.data.zones.get(zone).ok_or(StoreError::Lost)?.read()
    }

    /// Reads what there is of a zone but for records and bodies.
    pub fn outline(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        let set = self.data.zones.get(zone).ok_or(StoreError::Lost)?;
        set.outline(self.reader(reader))
    }

    /// Reads parts of bodies.
    pub fn read_parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let set = self.data.zones.get(zone).ok_or(StoreError::Lost)?;
        set.read_parts(self.reader(reader), parts)
    }

    /// Reads the records of so many ticks.
    pub fn read_records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let set = self.data.zones.get(zone).ok_or(StoreError::Lost)?;
        set.read_records(self.reader(reader), from, ticks)
    }

    /// Ends the stored history where an adoption goes on from.
    pub fn rewind(&mut self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError> {
        self.written(tenure)?.rewind(tenure.grant, to)
    }

    /// Appends consecutive records.
    ///
    /// # Panics
    /// If they are not consecutive.
    pub fn append(&mut self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        assert_consecutive(records);
        self.written(tenure)?.append(tenure.grant, records)
    }

    /// Writes one part of a checkpoint's body.
    ///
    /// # Panics
    /// If it has more than [`PART_BYTES_MAX`] bytes.
    pub fn put_part(
        &mut self,
        tenure: &Tenure,
        position: Position,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        if self.refuses_parts {
            return Err(no_room());
        }
        self.written(tenure)?.put_part(tenure.grant, position, index, bytes)
    }

    /// Deletes parts of a checkpoint that never became the head.
    pub fn drop_parts(&mut self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError> {
        // It makes room.
        self.open_fence(tenure);
        let set = self.data.zones.get_mut(&tenure.zone).ok_or(StoreError::Lost)?;
        set.drop_parts(tenure.grant, position, parts)
    }

    /// Makes a checkpoint the head.
    pub fn move_head(&mut self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        let mutant = self.mutant;
        let set = self.written(tenure)?;
        if mutant == Some(Mutant::ParentSkipped) {
            set.checkpoints.skip_parents();
        }
        set.move_head(tenure.grant, head)?;
        if mutant == Some(Mutant::TrimmedTooFar) && head.kind == CheckpointKind::Base {
            set.journal.trim(head.position.tick);
        }
        Ok(())
    }

    /// Seals a zone.
    pub fn seal(&mut self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError> {
        self.written(tenure)?.write_seal(tenure.grant, seal)
    }

    /// Marks an input as poison.
    pub fn quarantine(&mut self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError> {
        let is_lost = self.mutant == Some(Mutant::QuarantineLost);
        let set = self.written(tenure)?;
        if is_lost {
            return set.fence(tenure.grant);
        }
        set.quarantine(tenure.grant, tick, session, seq)
    }

    /// Writes one part of a piece of evidence.
    ///
    /// # Panics
    /// If it has more than [`PART_BYTES_MAX`] bytes.
    pub fn put_evidence(&mut self, tenure: &Tenure, index: u32, bytes: Bytes) -> Result<EvidenceAnswer, StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        if self.refuses_parts {
            return Err(no_room());
        }
        self.written(tenure)?.put_evidence(tenure.grant, index, bytes)
    }

    /// Seals a piece of evidence.
    pub fn seal_evidence(&mut self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        let is_lost = self.mutant == Some(Mutant::SealLost);
        let set = self.written(tenure)?;
        if is_lost {
            return set.fence(tenure.grant).map(|()| EvidenceAnswer::Kept);
        }
        set.seal_evidence(tenure.grant, mark)
    }

    /// Deletes the parts of a piece that is not sealed.
    pub fn drop_evidence(&mut self, tenure: &Tenure) -> Result<(), StoreError> {
        // It makes room.
        let set = self.data.zones.get_mut(&tenure.zone).ok_or(StoreError::Lost)?;
        set.drop_evidence(tenure.grant)
    }

    /// Reads which evidence there is of a zone.
    #[must_use]
    pub fn evidence(&self, zone: &ZoneName) -> Option<StoredEvidence> {
        self.data.zones.get(zone)?.evidence.sealed()
    }

    /// Reads a part of the sealed evidence.
    #[must_use]
    pub fn read_evidence(&self, zone: &ZoneName, index: u32) -> Option<Bytes> {
        self.data.zones.get(zone)?.evidence.part(index)
    }

    /// Notes that the evidence of this mark was exported, or deletes it.
    pub fn settle_evidence(&mut self, zone: &ZoneName, mark: EvidenceMark, fate: EvidenceFate) -> bool {
        let set = self.data.zones.get_mut(zone);
        set.is_some_and(|set| set.evidence.settle(mark, fate))
    }

    /// Deletes all that there is of a zone's evidence.
    pub fn discard_evidence(&mut self, zone: &ZoneName) {
        if let Some(set) = self.data.zones.get_mut(zone) {
            set.evidence = EvidenceSet::default();
        }
    }

    /// Reads what there is of a zone without its data.
    #[must_use]
    pub fn summary(&self, zone: &ZoneName) -> Option<ZoneSummary> {
        self.data.zones.get(zone).map(DataSet::summary)
    }

    /// Reads an account's record.
    #[must_use]
    pub fn record(&self, account: Account) -> Option<AccountRecord> {
        let kept = self.data.homes.get(&account)?;
        let (payload, losses) = kept.rest.clone().unzip();
        Some(AccountRecord {
            home: kept.home.clone(),
            payload,
            is_certain: losses == Some(self.home_losses),
        })
    }

    /// Keeps a character that rests, unless a newer record is there.
    pub fn keep_rest(&mut self, account: Account, home: &Home, payload: &Bytes) -> Result<Option<Home>, StoreError> {
        self.check_room()?;
        let now = self.data.homes.get(&account).map(|kept| &kept.home);
        if let Some(newer) = now.filter(|now| now.generation > home.generation) {
            return Ok(Some(newer.clone()));
        }
        let kept = KeptAccount {
            home: home.clone(),
            rest: Some((payload.clone(), self.home_losses)),
        };
        self.data.homes.insert(account, kept);
        Ok(None)
    }

    /// Returns the number of times that homes were forgotten.
    #[must_use]
    pub const fn home_losses(&self) -> u64 {
        self.home_losses
    }

    /// Sets an account's home by compare-and-set.
    pub fn set_home(
        &mut self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        self.check_room()?;
        match self.data.homes.get(&account).map(|kept| &kept.home) {
            // This write was done before, and its answer got lost.
            Some(now) if now == home => Ok(None),
            now if now == expected => {
                let home = home.clone();
                self.data.homes.insert(account, KeptAccount { home, rest: None });
                Ok(None)
            }
            Some(now) => Ok(Some(now.clone())),
            None => Err(StoreError::Corrupt(format!(
                "the home of account {} is gone",
                account.0
            ))),
        }
    }
}

/// Faults, and figures of growth.
impl MemoryStore {
    /// Plants a mutant. The store answers as before unless it stands here.
    pub const fn plant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }

    /// Forgets all zones and homes, as a Redis without persistence does that restarts.
    pub fn forget_everything(&mut self) {
        self.home_losses += 1;
        self.data = StoreDump::default();
    }

    /// Forgets one zone.
    pub fn forget_zone(&mut self, zone: &ZoneName) {
        self.data.zones.remove(zone);
    }

    /// Returns all that is held now.
    #[must_use]
    pub fn dump(&self) -> StoreDump {
        self.data.clone()
    }

    /// Goes back to what was held then: whatever was written since is forgotten.
    pub fn restore_to(&mut self, dump: &StoreDump) {
        self.home_losses += 1;
        self.data = dump.clone();
    }

    /// Goes back to what was held of one zone then, which may be nothing.
    pub fn restore_zone_to(&mut self, dump: &StoreDump, zone: &ZoneName) {
        match dump.zones.get(zone) {
            Some(set) => self.data.zones.insert(zone.clone(), set.clone()),
            None => self.data.zones.remove(zone),
        };
    }

    /// Goes back to the homes of then, and leaves the zones as they are.
    pub fn restore_homes_to(&mut self, dump: &StoreDump) {
        self.home_losses += 1;
        self.data.homes.clone_from(&dump.homes);
    }

    /// Fills the store up, or makes room in it: while it is full it does no write, and answers
    /// [`StoreError::Unavailable`] to each. It is read all the same.
    pub const fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Has no room for parts of checkpoints and evidence, or takes them again. It does every other write.
    pub const fn refuse_parts(&mut self, refuses_parts: bool) {
        self.refuses_parts = refuses_parts;
    }

    /// Returns where a zone has bytes of this kind, oldest first.
    #[must_use]
    pub fn places(&self, zone: &ZoneName, kind: StoredKind) -> Vec<StoredPlace> {
        let set = self.data.zones.get(zone);
        set.map_or_else(Vec::new, |set| damage::places(set, kind))
    }

    /// Draws one of a zone's places of this kind, if it has any.
    #[must_use]
    pub fn draw_place(&self, zone: &ZoneName, kind: StoredKind, rng: &mut SplitMix64) -> Option<StoredPlace> {
        damage::draw(&self.places(zone, kind), rng)
    }

    /// Returns a hash of what is stored at a place, if there is anything.
    #[must_use]
    pub fn fingerprint(&self, zone: &ZoneName, place: StoredPlace) -> Option<u64> {
        damage::fingerprint(self.data.zones.get(zone)?, place)
    }

    /// Whether some ticks can be read no more without the checkpoint of this place, whole though all else may be.
    #[must_use]
    pub fn is_needed(&self, zone: &ZoneName, place: StoredPlace) -> bool {
        let set = self.data.zones.get(zone);
        set.is_some_and(|set| damage::is_needed(set, place))
    }

    /// Whether some ticks can be read no more without the checkpoint of this place and those that build on it.
    #[must_use]
    pub fn is_relied_on(&self, zone: &ZoneName, place: StoredPlace) -> bool {
        let set = self.data.zones.get(zone);
        set.is_some_and(|set| damage::is_relied_on(set, place))
    }

    /// Returns the hash of the record of a tick, if it is there.
    #[must_use]
    pub fn record_hash(&self, zone: &ZoneName, tick: Tick) -> Option<RecordHash> {
        let entries = self.data.zones.get(zone)?.journal.entries();
        entries.get(&tick).map(|entry| entry.hash)
    }

    /// Flips one bit of what is stored at a place. Returns whether there was one.
    pub fn flip_bit(&mut self, zone: &ZoneName, place: StoredPlace, rng: &mut SplitMix64) -> bool {
        let set = self.data.zones.get_mut(zone);
        set.is_some_and(|set| damage::flip_bit(set, place, rng))
    }

    /// Drops at least one of the last bytes of the body at a place. Returns whether there was one.
    pub fn tear(&mut self, zone: &ZoneName, place: StoredPlace, rng: &mut SplitMix64) -> bool {
        let set = self.data.zones.get_mut(zone);
        set.is_some_and(|set| damage::tear(set, place, rng))
    }

    /// Whether a zone has records that can be forged.
    #[must_use]
    pub fn is_forgeable(&self, zone: &ZoneName) -> bool {
        self.data.zones.get(zone).is_some_and(forging::is_forgeable)
    }

    /// Makes another history of the same epoch of a zone's newest records. None: there are no such records.
    pub fn forge(&mut self, zone: &ZoneName, rng: &mut SplitMix64) -> Option<Forgery> {
        forging::forge(self.data.zones.get_mut(zone)?, rng)
    }

    /// Measures what is held.
    #[must_use]
    pub fn usage(&self) -> StoreUsage {
        let zones = self.data.zones.iter();
        StoreUsage {
            zones: zones.map(|(zone, set)| (zone.clone(), set.usage())).collect(),
            homes: self.data.homes.len(),
        }
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.is_full {
            return Err(no_room());
        }
        Ok(())
    }

    /// Makes a data set that is not there.
    fn insert(&mut self, tenure: &Tenure, origin: Origin) {
        let set = DataSet::new(tenure.grant, origin);
        self.data.zones.insert(tenure.zone.clone(), set);
    }

    /// Returns the data set that is to be written to.
    fn written(&mut self, tenure: &Tenure) -> Result<&mut DataSet, StoreError> {
        self.check_room()?;
        self.open_fence(tenure);
        self.data.zones.get_mut(&tenure.zone).ok_or(StoreError::Lost)
    }

    /// Takes the fence out of the way of a write, if that is planted.
    fn open_fence(&mut self, tenure: &Tenure) {
        if self.mutant == Some(Mutant::NoFence)
            && let Some(set) = self.data.zones.get_mut(&tenure.zone)
        {
            set.fence = tenure.grant;
        }
    }

    /// Returns the grant of which a read must see the fence.
    fn reader(&self, reader: Option<Grant>) -> Option<Grant> {
        reader.filter(|_| self.mutant != Some(Mutant::NoFence))
    }
}

fn no_room() -> StoreError {
    StoreError::Unavailable("there is no room for a write".to_owned())
}

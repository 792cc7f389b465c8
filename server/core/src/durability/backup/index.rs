//! The index of a backup: what is in it, and whether it makes sense as a whole. It is taken from one walk through all
//! frames, before a restore writes anything.

use std::collections::BTreeMap;

use everhold_protocol::{Account, ZoneName};

use super::file::BackupError;
use super::frame::{BackupCharacter, BackupFrame, BackupFrameError, BackupHeader, BackupZone};
use crate::durability::archive::{ColumnValue, WallMs};
use crate::durability::rules_store::WorldFile;
use crate::limits::PART_BYTES_MAX;

/// One zone of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneLine {
    /// The place of the copy that counts among all copies in the file, from 0.
    pub unit: u64,
    /// Its head.
    pub head: BackupZone,
    /// Characters in the zone.
    pub residents: u64,
    /// Characters that rest.
    pub rests: u64,
    /// Accounts that are reserved, and whose characters are not born.
    pub reserved: u64,
    /// Rows of the ledger.
    pub ledger: u64,
    /// The sum of each declared column that is a whole number, over all characters.
    pub sums: Vec<i128>,
    /// Bytes of its state that were read.
    read: u64,
    /// The time of the last row of its ledger.
    pub last_move: Option<WallMs>,
}

/// The content of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupIndex {
    header: Option<BackupHeader>,
    worlds: Vec<WorldFile>,
    zones: BTreeMap<ZoneName, ZoneLine>,
    open: Option<ZoneLine>,
    units: u64,
    /// Each account with a character, or a reservation, with the copy that has it. [`u64::MAX`]: none has.
    accounts: Vec<(Account, u64)>,
    deleted: u64,
    bans: u64,
    frames: u64,
}

impl BackupIndex {
    /// Takes the next frame.
    ///
    /// # Errors
    /// It may not stand where it stands.
    pub fn take(&mut self, frame: &BackupFrame) -> Result<(), BackupError> {
        let taken = match (&mut self.open, frame) {
            (_, BackupFrame::Header(header)) if self.frames == 0 => {
                self.header = Some(header.clone());
                Ok(())
            }
            _ if self.header.is_none() => Err("the header is not the first frame"),
            (None, BackupFrame::World(file)) => {
                self.worlds.push(file.0.clone());
                Ok(())
            }
            (None, BackupFrame::Zone(head)) => {
                self.open = Some(ZoneLine::begin(self.units, head.clone()));
                self.units += 1;
                Ok(())
            }
            (Some(open), BackupFrame::Part(bytes)) if bytes.len() <= PART_BYTES_MAX => {
                open.read += bytes.len() as u64;
                Ok(())
            }
            (Some(open), BackupFrame::Character(character)) => {
                self.accounts.push((character.account, open.unit));
                open.note(character)
            }
            (None, BackupFrame::Character(character)) => {
                self.accounts.push((character.account, u64::MAX));
                Ok(())
            }
            (Some(open), BackupFrame::Ledger(row)) => {
                open.ledger += 1;
                open.last_move = open.last_move.max(Some(row.wall));
                Ok(())
            }
            (Some(open), BackupFrame::ZoneEnd) if open.read == open.head.bytes => {
                self.zones.insert(open.head.zone.clone(), open.clone());
                self.open = None;
                Ok(())
            }
            (Some(_), BackupFrame::ZoneEnd) => Err("a zone is not as long as it was"),
            (None, BackupFrame::Deleted(..)) => {
                self.deleted += 1;
                Ok(())
            }
            (None, BackupFrame::Ban(_)) => {
                self.bans += 1;
                Ok(())
            }
            _ => Err("it may not stand there"),
        };
        self.frames += 1;
        taken.map_err(|why| self.error(why.to_owned()))
    }

    /// Checks what only the whole can show: each account is in one place, and each zone's rules are there.
    ///
    /// # Errors
    /// It is not so.
    pub fn finish(&mut self) -> Result<(), BackupError> {
        if self.open.is_some() || self.header.is_none() {
            return Err(BackupError::Truncated);
        }
        let units: Vec<u64> = self.zones.values().map(|line| line.unit).collect();
        self.accounts
            .retain(|(_, unit)| *unit == u64::MAX || units.contains(unit));
        self.accounts.sort_unstable();
        if let Some(pair) = self.accounts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let why = format!("account {} has a character in two places", pair[0].0.0);
            return Err(self.error(why));
        }
        let has = |line: &&ZoneLine| !self.worlds.iter().any(|file| file.rules.id == line.head.rules.id);
        match self.zones.values().find(has) {
            Some(line) => Err(self.error(format!("the world file of zone {} is missing", line.head.zone))),
            None => Ok(()),
        }
    }

    /// Returns the header.
    ///
    /// # Panics
    /// Before [`BackupIndex::finish`] has succeeded.
    #[must_use]
    pub const fn header(&self) -> &BackupHeader {
        self.header.as_ref().expect("a whole backup has a header")
    }

    /// Returns the world files.
    #[must_use]
    pub fn worlds(&self) -> &[WorldFile] {
        &self.worlds
    }

    /// Returns the zones, each with the copy that counts.
    #[must_use]
    pub const fn zones(&self) -> &BTreeMap<ZoneName, ZoneLine> {
        &self.zones
    }

    /// Returns the number of accounts that have a character, or are reserved.
    #[must_use]
    pub const fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Returns the number of deleted accounts.
    #[must_use]
    pub const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Returns the number of accounts that are or were banned.
    #[must_use]
    pub const fn bans(&self) -> u64 {
        self.bans
    }

    /// Returns the sum of each declared column that is a whole number, over the characters of all zones, with its name.
    #[must_use]
    pub fn sums(&self) -> Vec<(String, i128)> {
        let columns = self.header.iter().flat_map(|header| &header.columns);
        let sum = |at: usize| {
            let lines = self.zones.values();
            lines.filter_map(|line| line.sums.get(at)).sum()
        };
        let named = columns.enumerate().map(|(at, (name, kind))| (name, kind, sum(at)));
        let whole = named.filter(|(_, kind, _)| *kind == "integer");
        whole.map(|(name, _, sum)| (name.clone(), sum)).collect()
    }

    const fn error(&self, why: String) -> BackupError {
        BackupError::Frame {
            number: self.frames.saturating_sub(1),
            error: BackupFrameError(why),
        }
    }
}

impl ZoneLine {
    const fn begin(unit: u64, head: BackupZone) -> Self {
        Self {
            unit,
            head,
            residents: 0,
            rests: 0,
            reserved: 0,
            ledger: 0,
            sums: Vec::new(),
            read: 0,
            last_move: None,
        }
    }

    fn note(&mut self, character: &BackupCharacter) -> Result<(), &'static str> {
        match (character.is_resident, &character.payload) {
            (true, _) => self.residents += 1,
            (false, Some(_)) => self.rests += 1,
            (false, None) => self.reserved += 1,
        }
        self.sums.resize(self.sums.len().max(character.columns.len()), 0);
        for (sum, value) in self.sums.iter_mut().zip(&character.columns) {
            if let ColumnValue::Integer(value) = value {
                *sum += i128::from(*value);
            }
        }
        Ok(())
    }
}

//! A model of a zone and its archive, with players who trade, rest, leave, and come back, beside a backup that reads
//! them at different moments. What the backup has must be the world as of its copy's tick, to the coin.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_protocol::{Account, Epoch, Tick, ZoneName};
use proptest::prelude::*;

use crate::durability::archive::{ArchivedAccount, ArchivedCharacter, ArchivedPayload, CharacterPlace, WallMs};
use crate::durability::backup::{RowVerdict, ZoneCopy};
use crate::ownership::DataStamp;

const ACCOUNTS: u64 = 5;
const COINS: u64 = 100;

#[derive(Clone, Copy, Debug)]
struct Resident {
    generation: u64,
    coins: u64,
    rests: bool,
}

/// A row of the archive, as the zone wrote it.
#[derive(Clone, Copy, Debug)]
struct Row {
    generation: u64,
    rests_with: Option<u64>,
    last_rest: Option<u64>,
    stamp: u64,
}

/// The coins of everybody at one tick.
type Truth = BTreeMap<u64, u64>;

struct Model {
    tick: u64,
    zone: BTreeMap<u64, Resident>,
    archive: BTreeMap<u64, Row>,
}

impl Model {
    fn new() -> Self {
        let resident = |account| {
            (
                account,
                Resident {
                    generation: 1,
                    coins: COINS,
                    rests: false,
                },
            )
        };
        Self {
            tick: 1,
            zone: (0..ACCOUNTS).map(resident).collect(),
            archive: BTreeMap::new(),
        }
    }

    fn truth(&self) -> Truth {
        let outside = self
            .archive
            .iter()
            .filter(|(account, _)| !self.zone.contains_key(account));
        let outside = outside.map(|(account, row)| (*account, row.rests_with.expect("it left with its row")));
        let inside = self.zone.iter().map(|(account, resident)| (*account, resident.coins));
        inside.chain(outside).collect()
    }

    /// One tick of the world: what happens to which account, with how much.
    fn step(&mut self, what: u8, account: u64, other: u64) {
        self.tick += 1;
        match what % 6 {
            0 | 1 => self.trade(account, other),
            2 => {
                if let Some(resident) = self.zone.get_mut(&account).filter(|resident| !resident.rests) {
                    (resident.rests, resident.generation) = (true, resident.generation + 1);
                }
            }
            3 => self.commit(),
            4 => self.evict(account),
            _ => self.come(account),
        }
    }

    fn trade(&mut self, giver: u64, taker: u64) {
        let is_awake = |account| self.zone.get(&account).is_some_and(|resident| !resident.rests);
        if giver == taker || !is_awake(giver) || !is_awake(taker) {
            return;
        }
        let amount = self.zone[&giver].coins.min(7);
        self.zone.get_mut(&giver).expect("awake").coins -= amount;
        self.zone.get_mut(&taker).expect("awake").coins += amount;
    }

    fn commit(&mut self) {
        for (account, resident) in &self.zone {
            let before = self.archive.get(account);
            let last_rest = before.and_then(|row| row.rests_with.or(row.last_rest));
            let row = Row {
                generation: resident.generation,
                rests_with: resident.rests.then_some(resident.coins),
                last_rest,
                stamp: self.tick,
            };
            self.archive.insert(*account, row);
        }
    }

    /// A character leaves once the archive has it as it is.
    fn evict(&mut self, account: u64) {
        let row = self.archive.get(&account);
        let leaves = |resident: &mut Resident| {
            resident.rests && row.is_some_and(|row| row.generation == resident.generation && row.rests_with.is_some())
        };
        if self.zone.get_mut(&account).is_some_and(leaves) {
            self.zone.remove(&account);
        }
    }

    /// A player logs in: its character wakes, or comes back from the archive.
    fn come(&mut self, account: u64) {
        match self.zone.get_mut(&account) {
            Some(resident) if resident.rests => {
                (resident.rests, resident.generation) = (false, resident.generation + 1);
            }
            Some(_) => {}
            None => {
                let row = self.archive[&account];
                let resident = Resident {
                    generation: row.generation + 1,
                    coins: row.rests_with.expect("it left with its row"),
                    rests: false,
                };
                self.zone.insert(account, resident);
            }
        }
    }

    fn copy(&self) -> (ZoneCopy, Truth) {
        let residents = self.zone.iter();
        let copy = ZoneCopy {
            zone: home(),
            stamp: stamp(self.tick),
            residents: residents
                .map(|(account, resident)| (Account(*account), resident.generation))
                .collect(),
        };
        (copy, self.truth())
    }

    fn row(&self, account: u64) -> Option<ArchivedAccount> {
        let row = self.archive.get(&account)?;
        let bytes = |coins: u64| Bytes::copy_from_slice(&coins.to_le_bytes());
        Some(ArchivedAccount::Character(Box::new(ArchivedCharacter {
            account: Account(account),
            generation: row.generation,
            place: CharacterPlace::Zone(home()),
            name: None,
            payload: row
                .rests_with
                .map_or(ArchivedPayload::Absent, |coins| ArchivedPayload::Whole(bytes(coins))),
            last_payload: row.last_rest.filter(|_| row.rests_with.is_none()).map(bytes),
            columns: Vec::new(),
            stamp: Some(stamp(row.stamp)),
            wall: WallMs(0),
        })))
    }
}

fn home() -> ZoneName {
    "meadow".parse().unwrap()
}

const fn stamp(tick: u64) -> DataStamp {
    DataStamp {
        epoch: Epoch(1),
        tick: Tick(tick),
    }
}

/// Makes a backup while the world goes on: so many ticks before each thing that is read. All rows are read first, and
/// after the copy those that may have changed since. Returns what it has, what there was at the tick of its copy, and
/// the number of copies.
fn back_up(model: &mut Model, events: &mut impl Iterator<Item = (u8, u64, u64)>, pace: usize) -> (Truth, Truth, u32) {
    let go_on = |model: &mut Model, events: &mut dyn Iterator<Item = (u8, u64, u64)>| {
        for (what, of, with) in events.take(pace) {
            model.step(what, of, with);
        }
    };
    let since = model.archive.values().map(|row| row.stamp).max().unwrap_or_default();
    let mut spool = BTreeMap::new();
    for account in 0..ACCOUNTS {
        go_on(model, events);
        spool.extend(model.row(account).map(|row| (account, row)));
    }
    let mut copies = 0;
    'copies: loop {
        copies += 1;
        let (copy, truth) = model.copy();
        // Of the residents the copy has the state.
        let mut backup: Truth = model
            .zone
            .iter()
            .map(|(account, resident)| (*account, resident.coins))
            .collect();
        for account in 0..ACCOUNTS {
            go_on(model, events);
            let is_changed = model.archive.get(&account).is_some_and(|row| row.stamp >= since);
            let row = if is_changed {
                model.row(account)
            } else {
                spool.get(&account).cloned()
            };
            let Some(row) = row else { continue };
            match copy.judge(&row) {
                RowVerdict::Resident => {}
                RowVerdict::Behind => continue 'copies,
                RowVerdict::Rests(payload) => {
                    let coins = u64::from_le_bytes(payload[..].try_into().unwrap());
                    assert!(backup.insert(account, coins).is_none(), "it is in one place");
                }
                verdict => panic!("{verdict:?} of account {account}"),
            }
        }
        return (backup, truth, copies);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn backup_is_the_world_as_of_the_tick_of_its_copy(
        before in prop::collection::vec((any::<u8>(), 0..ACCOUNTS, 0..ACCOUNTS), 0..80),
        meanwhile in prop::collection::vec((any::<u8>(), 0..ACCOUNTS, 0..ACCOUNTS), 0..200),
        pace in 0_usize..8,
    ) {
        let mut model = Model::new();
        for (what, account, other) in before {
            model.step(what, account, other);
        }
        // Once the events are over the world stands still: the last copy fits.
        let (backup, truth, _) = back_up(&mut model, &mut meanwhile.into_iter(), pace);
        prop_assert_eq!(&backup, &truth);
        prop_assert_eq!(backup.values().sum::<u64>(), ACCOUNTS * COINS);
    }
}

#[test]
fn character_that_came_and_went_between_copy_and_row_has_the_zone_read_again() {
    let mut model = Model::new();
    let (rest, commit, evict, come, trade) = (2, 3, 4, 5, 0);
    for what in [rest, commit, evict] {
        model.step(what, 0, 0);
    }
    // After the copy it comes, gives what it has away, and rests again before its row is read.
    let idle = (evict, 1, 0);
    let events = [(come, 0, 0), (trade, 0, 1), (rest, 0, 0), (commit, 0, 0), (evict, 0, 0)];
    let before_the_copy = [idle; ACCOUNTS as usize * 5];
    let mut events = before_the_copy.into_iter().chain(events);
    let (backup, truth, copies) = back_up(&mut model, &mut events, 5);
    assert_eq!(copies, 2);
    assert_eq!(backup, truth);
    assert_eq!((backup[&0], backup[&1]), (COINS - 7, COINS + 7));
}

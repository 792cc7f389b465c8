//! Records of accounts in `world.db`, written in groups. Characters at rest go when they have expired: each group of
//! writes takes some of them out.
//!
//! A commit waits for the disk, milliseconds on a slow one, and holds the file that leases are renewed in. A thousand
//! players who log in at once must not make a thousand commits of it: what waits when the thread gets to it is written
//! in one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::cluster::homes::{sealed_payload, unsealed_payload};
use everhold_core::cluster::{AccountRecord, Home, HomeStore};
use everhold_core::durability::store::StoreError;
use everhold_protocol::Account;
use rusqlite::{OptionalExtension, Transaction};
use tokio::sync::oneshot;

use super::SqliteStore;
use super::worker::Worker;
use super::world::{World, parsed};

/// Bound on the writes of one commit: it holds the file for a few milliseconds at most, and one commit for this many is
/// as good as none.
const GROUP_MAX: usize = 256;

/// Expired records that one group of writes takes out: more than it writes, so that they do not pile up.
const EXPIRED_MAX: i64 = 2 * GROUP_MAX as i64;

/// Longest time for which the file is left to others after a group: a log-in waits for it.
const FREE_MAX: Duration = Duration::from_millis(100);

type Outcome = Result<Option<Home>, StoreError>;

/// A write that waits for its group. There are as many as callers who wait.
#[derive(Debug)]
struct HomeWrite {
    account: Account,
    next: Home,
    change: Change,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
enum Change {
    /// Sets the home if it is this one now.
    Set(Option<Home>),
    /// Keeps a sealed payload for so long, unless the record is newer.
    KeepRest(Vec<u8>, Duration),
}

/// The homes of one world file.
#[derive(Clone, Debug)]
pub(super) struct Homes {
    world: Worker<World>,
    waiting: Arc<Mutex<Vec<HomeWrite>>>,
}

impl Homes {
    pub(super) fn new(world: Worker<World>) -> Self {
        Self {
            world,
            waiting: Arc::default(),
        }
    }

    async fn get(&self, account: Account) -> Result<Option<AccountRecord>, StoreError> {
        self.world
            .run(move |world| world.read(|file| Ok(record(file, account)?)))
            .await?
    }

    async fn write(&self, account: Account, next: Home, change: Change) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let waiting = self.waiting.clone();
        lock(&waiting).push(HomeWrite {
            account,
            next,
            change,
            answer,
        });
        // Every caller sends for the group; the first that is heard takes all, and the others find nothing left to do.
        self.world.run(move |world| write_group(world, &waiting)).await?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the write was given up".to_owned())))
    }
}

#[async_trait]
impl HomeStore for SqliteStore {
    async fn record(&self, account: Account) -> Result<Option<AccountRecord>, StoreError> {
        self.homes.get(account).await
    }

    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        let change = Change::Set(expected.cloned());
        self.homes.write(account, home.clone(), change).await
    }

    async fn keep_rest(
        &self,
        account: Account,
        home: &Home,
        payload: &Bytes,
        lasting: Duration,
    ) -> Result<Option<Home>, StoreError> {
        let change = Change::KeepRest(sealed_payload(payload), lasting);
        self.homes.write(account, home.clone(), change).await
    }

    fn doubts(&self) -> Option<u64> {
        // One file holds them all, and is put back or deleted as a whole, with those of the zones.
        None
    }
}

fn lock(waiting: &Mutex<Vec<HomeWrite>>) -> std::sync::MutexGuard<'_, Vec<HomeWrite>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_group(world: &mut World, waiting: &Mutex<Vec<HomeWrite>>) {
    let group: Vec<HomeWrite> = {
        let mut waiting = lock(waiting);
        let count = waiting.len().min(GROUP_MAX);
        waiting.drain(..count).collect()
    };
    if group.is_empty() {
        return;
    }
    let mut held_since = None;
    let outcomes: Result<Vec<Outcome>, StoreError> = world.write(|file| {
        held_since = Some(Instant::now());
        forget_expired(file)?;
        Ok(group
            .iter()
            .map(|write| carry_out(file, write))
            .collect::<rusqlite::Result<_>>()?)
    });
    let held = held_since.map_or(Duration::ZERO, |since| since.elapsed());
    match outcomes {
        Ok(outcomes) => {
            for (write, outcome) in group.into_iter().zip(outcomes) {
                // A caller that waits no longer asks again, and finds its write done.
                let _ = write.answer.send(outcome);
            }
        }
        Err(error) => {
            let text = error.to_string();
            for write in group {
                let _ = write.answer.send(Err(StoreError::Unavailable(text.clone())));
            }
        }
    }
    // Who waits for a SQLite file looks at it now and then: one that is free only between two groups is hardly ever
    // found free, and leases run out. So it is free for as long as it was held.
    std::thread::sleep(held.min(FREE_MAX));
}

/// Takes some characters out that have expired. The archive has them.
fn forget_expired(file: &Transaction<'_>) -> rusqlite::Result<()> {
    file.prepare_cached(
        "DELETE FROM home WHERE account IN (SELECT account FROM home
         WHERE expires_ms < unixepoch() * 1000 ORDER BY expires_ms LIMIT ?1)",
    )?
    .execute([EXPIRED_MAX])?;
    Ok(())
}

/// Does one write of a group. The outer error undoes the whole group; the inner is this caller's own.
fn carry_out(file: &Transaction<'_>, write: &HomeWrite) -> rusqlite::Result<Outcome> {
    let HomeWrite {
        account, next, change, ..
    } = write;
    let now = record(file, *account)?.map(|record| record.home);
    match change {
        Change::Set(expected) => {
            // Where it is to go is where it is: this write was done before, and its answer got lost.
            if now.as_ref() == Some(next) {
                return Ok(Ok(None));
            }
            if now != *expected {
                let gone = || StoreError::Corrupt(format!("the home of account {} is gone", account.0));
                return Ok(now.ok_or_else(gone).map(Some));
            }
            put(file, *account, next, None)?;
        }
        Change::KeepRest(payload, lasting) => {
            if let Some(newer) = now.filter(|now| now.generation > next.generation) {
                return Ok(Ok(Some(newer)));
            }
            put(file, *account, next, Some((payload, *lasting)))?;
        }
    }
    Ok(Ok(None))
}

fn put(
    file: &Transaction<'_>,
    account: Account,
    home: &Home,
    payload: Option<(&Vec<u8>, Duration)>,
) -> rusqlite::Result<()> {
    let ms = payload.map(|(_, lasting)| i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX / 2));
    file.prepare_cached(
        "INSERT INTO home (account, zone, generation, payload, expires_ms)
         VALUES (?1, ?2, ?3, ?4, unixepoch() * 1000 + ?5)
         ON CONFLICT (account) DO UPDATE SET zone = excluded.zone, generation = excluded.generation,
         payload = excluded.payload, expires_ms = excluded.expires_ms",
    )?
    .execute((
        account.0.cast_signed(),
        home.zone.as_str(),
        home.generation.cast_signed(),
        payload.map(|(bytes, _)| bytes),
        ms,
    ))?;
    Ok(())
}

fn record(file: &Transaction<'_>, account: Account) -> rusqlite::Result<Option<AccountRecord>> {
    file.prepare_cached(
        "SELECT zone, generation, payload FROM home
         WHERE account = ?1 AND (expires_ms IS NULL OR expires_ms >= unixepoch() * 1000)",
    )?
    .query_row([account.0.cast_signed()], |row| {
        let sealed: Option<Vec<u8>> = row.get(2)?;
        let payload = sealed.as_deref().and_then(unsealed_payload);
        Ok(AccountRecord {
            home: Home {
                zone: parsed(row, 0)?,
                generation: row.get::<_, i64>(1)?.cast_unsigned(),
            },
            // One file holds all records: what it has of a character at rest is the newest.
            is_certain: payload.is_some(),
            payload,
        })
    })
    .optional()
}

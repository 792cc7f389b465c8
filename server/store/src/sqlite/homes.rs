//! Homes in `world.db`, written in groups.
//!
//! A commit waits for the disk, milliseconds on a slow one, and holds the file that leases are renewed in. A thousand
//! players who log in at once must not make a thousand commits of it: what waits when the thread gets to it is written
//! in one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use everhold_core::cluster::{Home, HomeStore};
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

type Outcome = Result<Option<Home>, StoreError>;

/// A write that waits for its group. There are as many as callers who wait.
#[derive(Debug)]
struct HomeWrite {
    account: Account,
    expected: Option<Home>,
    next: Home,
    answer: oneshot::Sender<Outcome>,
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

    pub(super) async fn get(&self, account: Account) -> Result<Option<Home>, StoreError> {
        self.world
            .run(move |world| world.read(|file| Ok(home(file, account)?)))
            .await?
    }

    pub(super) async fn set(&self, account: Account, expected: Option<Home>, next: Home) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let waiting = self.waiting.clone();
        lock(&waiting).push(HomeWrite {
            account,
            expected,
            next,
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
    async fn home(&self, account: Account) -> Result<Option<Home>, StoreError> {
        self.homes.get(account).await
    }

    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        self.homes.set(account, expected.cloned(), home.clone()).await
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
    let outcomes: Result<Vec<Outcome>, StoreError> = world.write(|file| {
        Ok(group
            .iter()
            .map(|write| set(file, write))
            .collect::<rusqlite::Result<_>>()?)
    });
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
}

/// Does one write of a group. The outer error undoes the whole group; the inner is this caller's own.
fn set(file: &Transaction<'_>, write: &HomeWrite) -> rusqlite::Result<Outcome> {
    let HomeWrite {
        account,
        expected,
        next,
        ..
    } = write;
    let now = home(file, *account)?;
    // Where it is to go is where it is: this write was done before, and its answer got lost.
    if now.as_ref() == Some(next) {
        return Ok(Ok(None));
    }
    if now != *expected {
        let gone = || StoreError::Corrupt(format!("the home of account {} is gone", account.0));
        return Ok(now.ok_or_else(gone).map(Some));
    }
    file.prepare_cached(
        "INSERT INTO home (account, zone, generation) VALUES (?1, ?2, ?3)
         ON CONFLICT (account) DO UPDATE SET zone = excluded.zone, generation = excluded.generation",
    )?
    .execute((
        account.0.cast_signed(),
        next.zone.as_str(),
        next.generation.cast_signed(),
    ))?;
    Ok(Ok(None))
}

fn home(file: &Transaction<'_>, account: Account) -> rusqlite::Result<Option<Home>> {
    file.prepare_cached("SELECT zone, generation FROM home WHERE account = ?1")?
        .query_row([account.0.cast_signed()], |row| {
            Ok(Home {
                zone: parsed(row, 0)?,
                generation: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()
}

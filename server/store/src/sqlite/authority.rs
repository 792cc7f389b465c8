//! The authority on a SQLite file: one host, as strong as its disk.
//!
//! Every change is one transaction that holds the file's write lock, so the changes of all processes are in one order.
//! An epoch is on the disk before it is granted.

mod membership;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use everhold_core::ownership::authority::{Authority, AuthorityError, LeaseView, Leases};
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_protocol::{Epoch, ZoneName};
use rusqlite::{OptionalExtension, Row, Transaction};

use self::membership::UnreadableRows;
use super::bell::Bell;
use super::file::{Rollback, SqliteError};
use super::worker::{Worker, WorkerGone};
use super::world::{World, parsed};

/// Grants leases from `world.db` in a directory that all shards share.
#[derive(Clone, Debug)]
pub struct SqliteAuthority {
    world: Worker<World>,
    bell: Arc<Bell>,
    unreadable: UnreadableRows,
}

impl SqliteAuthority {
    /// Opens, or makes, `world.db` in `directory`.
    pub fn open(directory: &Path) -> Result<Self, SqliteError> {
        let world = World::open(directory)?;
        let world = Worker::spawn_vital("sqlite-leases", world).map_err(|source| SqliteError::Thread {
            path: directory.to_owned(),
            source,
        })?;
        let bell = Bell::open(directory).map_err(|source| SqliteError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self {
            world,
            bell: Arc::new(bell),
            unreadable: UnreadableRows::default(),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut World) -> Result<T, AuthorityError> + Send + 'static,
    ) -> Result<T, AuthorityError> {
        let bell = Arc::clone(&self.bell);
        let job = move |world: &mut World| {
            let before = world.successions();
            let outcome = job(world);
            if world.successions() != before {
                // It lay beside the file.
                bell.hang_anew();
            }
            outcome
        };
        self.world.run(job).await?
    }
}

#[async_trait]
impl Authority for SqliteAuthority {
    fn may_forget(&self) -> bool {
        false
    }

    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        let zone = zone.clone();
        self.run(move |world| {
            world.write(|file| {
                file.prepare_cached(
                    "INSERT OR IGNORE INTO lease (zone, epoch, nonce, beat, released, addr, players)
                     VALUES (?1, 0, 0, 0, 1, '0.0.0.0:0', 0)",
                )?
                .execute([zone.as_str()])?;
                Ok(())
            })
        })
        .await
    }

    async fn leases(&self) -> Result<Leases, AuthorityError> {
        let views = self.run(|world| {
            world.read(|file| {
                let mut statement = file.prepare_cached(
                    "SELECT zone, epoch, nonce, beat, released, addr, players FROM lease ORDER BY zone",
                )?;
                Ok(statement.query_map([], read_lease)?.collect::<Result<_, _>>()?)
            })
        });
        Ok(Leases {
            views: views.await?,
            // They are in one file.
            unread: BTreeSet::new(),
        })
    }

    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        addr: SocketAddr,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError> {
        let watched = watched.clone();
        self.run(move |world| world.write(|file| claim(file, &watched, nonce, addr, epoch_floor)))
            .await
    }

    async fn renew(&self, tenure: &Tenure, players: u32) -> Result<(), AuthorityError> {
        let Tenure { zone, grant } = tenure.clone();
        self.run(move |world| {
            world.write(|file| {
                let mut statement = file.prepare_cached(
                    "UPDATE lease SET beat = beat + 1, players = ?4
                     WHERE zone = ?1 AND epoch = ?2 AND nonce = ?3 AND released = 0",
                )?;
                let nonce = grant.nonce().0.cast_signed();
                match statement.execute((zone.as_str(), grant.epoch().0, nonce, players))? {
                    0 => Err(refusal(file, &zone)),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    async fn reinstate(&self, tenure: &Tenure, addr: SocketAddr, players: u32) -> Result<(), AuthorityError> {
        let tenure = tenure.clone();
        self.run(move |world| world.write(|file| reinstate(file, &tenure, addr, players)))
            .await
    }

    async fn wait_for_release(&self) {
        self.bell.wait().await;
    }

    async fn release(&self, tenure: &Tenure) -> Result<(), AuthorityError> {
        let Tenure { zone, grant } = tenure.clone();
        let released = self
            .run(move |world| {
                world.write(|file| {
                    // Releasing once more is harmless as long as nobody has claimed since: the first answer may have
                    // got lost.
                    let mut statement = file.prepare_cached(
                        "UPDATE lease SET beat = beat + (1 - released), released = 1
                     WHERE zone = ?1 AND epoch = ?2 AND nonce = ?3",
                    )?;
                    match statement.execute((zone.as_str(), grant.epoch().0, grant.nonce().0.cast_signed()))? {
                        0 => Err(refusal(file, &zone)),
                        _ => Ok(()),
                    }
                })
            })
            .await;
        if released.is_ok() {
            self.bell.ring();
        }
        released
    }
}

fn claim(
    file: &Transaction<'_>,
    watched: &LeaseView,
    nonce: Nonce,
    addr: SocketAddr,
    epoch_floor: Epoch,
) -> Result<Tenure, Rollback<AuthorityError>> {
    let Some(now) = lease(file, &watched.zone)? else {
        return Err(refusal(file, &watched.zone));
    };
    let epoch = watched.epoch.max(epoch_floor).next();
    let epoch =
        epoch.ok_or_else(|| Rollback::Refused(AuthorityError::Unavailable("epochs have run out".to_owned())))?;
    let tenure = Tenure {
        zone: watched.zone.clone(),
        grant: Grant::issue(epoch, nonce),
    };
    // This very claim was granted before, and its answer got lost.
    if (now.epoch, now.nonce, now.released) == (epoch, nonce, false) {
        return Ok(tenure);
    }
    let is_watched = (now.epoch, now.nonce, now.beat, now.released)
        == (watched.epoch, watched.nonce, watched.beat, watched.released);
    if !is_watched {
        return Err(Rollback::Refused(AuthorityError::Held(Box::new(now))));
    }
    // The player count stays: should the new holder die before its first renewal, the next spare still knows who waits.
    file.prepare_cached(
        "UPDATE lease SET epoch = ?2, nonce = ?3, beat = beat + 1, released = 0, addr = ?4 WHERE zone = ?1",
    )?
    .execute((watched.zone.as_str(), epoch.0, nonce.0.cast_signed(), addr.to_string()))?;
    Ok(tenure)
}

/// Puts a lease back, as into a max register: what is lower gives way.
fn reinstate(
    file: &Transaction<'_>,
    tenure: &Tenure,
    addr: SocketAddr,
    players: u32,
) -> Result<(), Rollback<AuthorityError>> {
    let Tenure { zone, grant } = tenure;
    let (epoch, nonce) = (grant.epoch(), grant.nonce());
    if let Some(now) = lease(file, zone)? {
        let is_ours = (now.epoch, now.nonce, now.released) == (epoch, nonce, false);
        if now.epoch > epoch || (now.epoch == epoch && !is_ours) {
            return Err(Rollback::Refused(AuthorityError::Held(Box::new(now))));
        }
    }
    file.prepare_cached(
        "INSERT INTO lease (zone, epoch, nonce, beat, released, addr, players) VALUES (?1, ?2, ?3, 1, 0, ?4, ?5)
         ON CONFLICT (zone) DO UPDATE SET epoch = excluded.epoch, nonce = excluded.nonce, beat = beat + 1, released = 0,
            addr = excluded.addr, players = excluded.players",
    )?
    .execute((zone.as_str(), epoch.0, nonce.0.cast_signed(), addr.to_string(), players))?;
    Ok(())
}

fn lease(file: &Transaction<'_>, zone: &ZoneName) -> rusqlite::Result<Option<LeaseView>> {
    file.prepare_cached("SELECT zone, epoch, nonce, beat, released, addr, players FROM lease WHERE zone = ?1")?
        .query_row([zone.as_str()], read_lease)
        .optional()
}

/// Makes the refusal that shows the lease as it is.
fn refusal(file: &Transaction<'_>, zone: &ZoneName) -> Rollback<AuthorityError> {
    match lease(file, zone) {
        Ok(Some(lease)) => Rollback::Refused(AuthorityError::Held(Box::new(lease))),
        Ok(None) => Rollback::Refused(AuthorityError::ZoneUnknown(zone.clone())),
        Err(error) => Rollback::Sqlite(error),
    }
}

fn read_lease(row: &Row<'_>) -> rusqlite::Result<LeaseView> {
    Ok(LeaseView {
        zone: parsed(row, 0)?,
        epoch: Epoch(row.get(1)?),
        nonce: Nonce(row.get::<_, i64>(2)?.cast_unsigned()),
        beat: row.get::<_, i64>(3)?.cast_unsigned(),
        released: row.get(4)?,
        addr: parsed(row, 5)?,
        players: row.get(6)?,
    })
}

impl From<SqliteError> for AuthorityError {
    fn from(error: SqliteError) -> Self {
        Self::Unavailable(error.into_text())
    }
}

impl From<WorkerGone> for AuthorityError {
    fn from(error: WorkerGone) -> Self {
        Self::Unavailable(error.to_string())
    }
}

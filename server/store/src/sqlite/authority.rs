//! The authority on a SQLite file: one host, as strong as its disk.
//!
//! Every change is one transaction that holds the file's write lock, so the changes of all processes are in one order.
//! An epoch is on the disk before it is granted.

mod membership;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use everhold_core::ownership::authority::{Authority, AuthorityError, LeaseTerms, LeaseView, Leases, Renewal};
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

    /// Does the same to the lease of each renewal, all in one transaction, which is written to the disk once. One that
    /// is refused has changed nothing and undoes no other.
    async fn each(
        &self,
        renewals: &[Renewal],
        step: impl Fn(&Transaction<'_>, &Renewal) -> Result<(), Rollback<AuthorityError>> + Send + 'static,
    ) -> Vec<Result<(), AuthorityError>> {
        let (count, renewals) = (renewals.len(), renewals.to_vec());
        let outcomes = self.run(move |world| {
            world.write(|file| {
                let step = |renewal| match step(file, renewal) {
                    Err(Rollback::Refused(refusal)) => Ok(Err(refusal)),
                    Err(failure @ Rollback::Sqlite(_)) => Err(failure),
                    Ok(()) => Ok(Ok(())),
                };
                renewals.iter().map(step).collect::<Result<Vec<_>, _>>()
            })
        });
        match outcomes.await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let error = error.to_string();
                (0..count)
                    .map(|_| Err(AuthorityError::Unavailable(error.clone())))
                    .collect()
            }
        }
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
                if lease(file, &zone)?.is_none() {
                    file.prepare_cached(
                        "INSERT OR REPLACE INTO lease (zone, epoch, nonce, beat, released, addr, players)
                         VALUES (?1, 0, 0, 0, 1, '0.0.0.0:0', 0)",
                    )?
                    .execute([zone.as_str()])?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn leases(&self) -> Result<Leases, AuthorityError> {
        let unreadable = self.unreadable.clone();
        self.run(move |world| world.read(|file| Ok(read_leases(file, &unreadable)?)))
            .await
    }

    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        terms: LeaseTerms,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError> {
        let watched = watched.clone();
        self.run(move |world| world.write(|file| claim(file, &watched, nonce, terms, epoch_floor)))
            .await
    }

    fn node_of(&self, _zone: &ZoneName) -> u64 {
        // They are in one file.
        0
    }

    async fn renew(&self, renewals: &[Renewal]) -> Vec<Result<(), AuthorityError>> {
        self.each(renewals, renew).await
    }

    async fn reinstate(&self, renewals: &[Renewal], terms: LeaseTerms) -> Vec<Result<(), AuthorityError>> {
        self.each(renewals, move |file, renewal| reinstate(file, renewal, terms))
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
    terms: LeaseTerms,
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
        "UPDATE lease SET epoch = ?2, nonce = ?3, beat = beat + 1, released = 0, addr = ?4, ttl_ms = ?5
         WHERE zone = ?1",
    )?
    .execute((
        watched.zone.as_str(),
        epoch.0,
        nonce.0.cast_signed(),
        terms.addr.to_string(),
        ttl_ms(terms),
    ))?;
    Ok(tenure)
}

/// Moves the beat of a lease.
fn renew(file: &Transaction<'_>, renewal: &Renewal) -> Result<(), Rollback<AuthorityError>> {
    let Tenure { zone, grant } = &renewal.tenure;
    let now = lease(file, zone)?;
    if !now.is_some_and(|now| is_held_under(&now, *grant)) {
        return Err(refusal(file, zone));
    }
    file.prepare_cached("UPDATE lease SET beat = beat + 1, players = ?2, mark = coalesce(?3, mark) WHERE zone = ?1")?
        .execute((zone.as_str(), renewal.players, mark(renewal)))?;
    Ok(())
}

fn is_held_under(now: &LeaseView, grant: Grant) -> bool {
    (now.epoch, now.nonce, now.released) == (grant.epoch(), grant.nonce(), false)
}

/// Puts a lease back, as into a max register: what is lower gives way.
fn reinstate(file: &Transaction<'_>, renewal: &Renewal, terms: LeaseTerms) -> Result<(), Rollback<AuthorityError>> {
    let Tenure { zone, grant } = &renewal.tenure;
    let (epoch, nonce) = (grant.epoch(), grant.nonce());
    if let Some(now) = lease(file, zone)?
        && (now.epoch > epoch || (now.epoch == epoch && !is_held_under(&now, *grant)))
    {
        return Err(Rollback::Refused(AuthorityError::Held(Box::new(now))));
    }
    file.prepare_cached(
        "INSERT INTO lease (zone, epoch, nonce, beat, released, addr, players, ttl_ms, mark)
         VALUES (?1, ?2, ?3, 1, 0, ?4, ?5, ?6, coalesce(?7, ''))
         ON CONFLICT (zone) DO UPDATE SET epoch = excluded.epoch, nonce = excluded.nonce, beat = beat + 1, released = 0,
            addr = excluded.addr, players = excluded.players, ttl_ms = excluded.ttl_ms,
            mark = coalesce(?7, lease.mark)",
    )?
    .execute((
        zone.as_str(),
        epoch.0,
        nonce.0.cast_signed(),
        terms.addr.to_string(),
        renewal.players,
        ttl_ms(terms),
        mark(renewal),
    ))?;
    Ok(())
}

/// Returns the text of the mark that a renewal leaves, if it leaves one.
fn mark(renewal: &Renewal) -> Option<String> {
    renewal.mark.map(|mark| mark.to_string())
}

fn ttl_ms(terms: LeaseTerms) -> i64 {
    i64::try_from(terms.ttl.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a lease. One that makes no sense counts as none.
fn lease(file: &Transaction<'_>, zone: &ZoneName) -> rusqlite::Result<Option<LeaseView>> {
    let read = file
        .prepare_cached(
            "SELECT zone, epoch, nonce, beat, released, addr, players, ttl_ms, mark FROM lease WHERE zone = ?1",
        )?
        .query_row([zone.as_str()], read_lease)
        .optional();
    match read {
        Err(error) if is_no_sense(&error) => Ok(None),
        read => read,
    }
}

/// Whether the error is that of a value which nothing of ours wrote, and not of the file.
const fn is_no_sense(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)
    )
}

/// Reads all leases. A row that makes no sense costs its own zone; one of no zone is passed over, with one log line.
fn read_leases(file: &Transaction<'_>, unreadable: &UnreadableRows) -> rusqlite::Result<Leases> {
    let mut statement = file.prepare_cached(
        "SELECT zone, epoch, nonce, beat, released, addr, players, ttl_ms, mark FROM lease ORDER BY zone",
    )?;
    let mut rows = statement.query([])?;
    let mut leases = Leases::default();
    while let Some(row) = rows.next()? {
        match read_lease(row) {
            Ok(view) => leases.views.push(view),
            Err(error) if is_no_sense(&error) => match parsed(row, 0) {
                Ok(zone) => _ = leases.damaged.insert(zone),
                Err(error) => unreadable.note(&error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(leases)
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
        ttl: Duration::from_millis(row.get::<_, i64>(7)?.cast_unsigned()),
        mark: row.get::<_, String>(8)?.parse().ok(),
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

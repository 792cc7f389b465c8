//! Membership on the same SQLite file as the leases: a row for each shard. Whether a shard lives is not decided here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use everhold_core::ownership::{AuthorityError, KeyFingerprints, Membership, Nonce, ShardView};
use rusqlite::Row;

use super::SqliteAuthority;
use crate::sqlite::world::parsed;

/// Whether a log line has named a row that cannot be read: there is one for all.
#[derive(Clone, Debug, Default)]
pub(super) struct UnreadableRows(Arc<AtomicBool>);

impl UnreadableRows {
    pub(super) fn note(&self, error: &rusqlite::Error) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "rows of shards or leases cannot be read by this build; they are passed over");
        }
    }
}

#[async_trait]
impl Membership for SqliteAuthority {
    async fn announce(
        &self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError> {
        let keys = keys.to_string();
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.run(move |world| {
            world.write(|file| {
                file.prepare_cached(
                    "INSERT INTO shard (nonce, addr, beat, keys, ttl_ms) VALUES (?1, ?2, 1, ?3, ?4)
                     ON CONFLICT (nonce) DO UPDATE SET addr = excluded.addr, beat = beat + 1, keys = excluded.keys,
                        ttl_ms = excluded.ttl_ms",
                )?
                .execute((nonce.0.cast_signed(), addr.to_string(), keys, ttl_ms))?;
                Ok(())
            })
        })
        .await
    }

    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError> {
        self.run(move |world| {
            world.write(|file| {
                file.prepare_cached("DELETE FROM shard WHERE nonce = ?1")?
                    .execute([nonce.0.cast_signed()])?;
                Ok(())
            })
        })
        .await
    }

    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError> {
        let shards: Vec<Result<ShardView, rusqlite::Error>> = self
            .run(|world| {
                world.read(|file| {
                    let mut statement = file.prepare_cached("SELECT nonce, addr, beat, keys, ttl_ms FROM shard")?;
                    Ok(statement.query_map([], read_shard)?.collect())
                })
            })
            .await?;
        let is_read = |shard: Result<ShardView, rusqlite::Error>| match shard {
            Ok(shard) => Some(Ok(shard)),
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                self.unreadable.note(&error);
                None
            }
            Err(error) => Some(Err(AuthorityError::Unavailable(error.to_string()))),
        };
        let mut shards: Vec<ShardView> = shards.into_iter().filter_map(is_read).collect::<Result<_, _>>()?;
        // The file's integers have a sign.
        shards.sort_by_key(|shard| shard.nonce);
        Ok(shards)
    }
}

fn read_shard(row: &Row<'_>) -> rusqlite::Result<ShardView> {
    Ok(ShardView {
        nonce: Nonce(row.get::<_, i64>(0)?.cast_unsigned()),
        addr: parsed(row, 1)?,
        beat: row.get::<_, i64>(2)?.cast_unsigned(),
        // A later build may say it otherwise.
        keys: row.get::<_, String>(3)?.parse().unwrap_or_default(),
        ttl: Duration::from_millis(row.get::<_, i64>(4)?.cast_unsigned()),
    })
}

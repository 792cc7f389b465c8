//! Opens the stores, the authority, and the membership that a configuration names. It decides nothing.

mod archive;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod password;
mod world_files;

use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use everhold_core::cluster::HomeStore;
use everhold_core::durability::bans::BanStore;
use everhold_core::durability::rules_store::RulesStore;
use everhold_core::durability::store::ZoneStore;
use everhold_core::ownership::{Authority, Membership};
#[cfg(feature = "redis")]
use everhold_protocol::ZoneName;
#[cfg(feature = "redis")]
use everhold_store::redis::{RedisAuthority, RedisStore};
#[cfg(feature = "sqlite")]
use everhold_store::sqlite::{self, SqliteAuthority, SqliteStore};

pub use archive::{ArchiveDoor, open_archive_to_read};
pub use world_files::keep_forgotten;

use crate::config::{Config, ConfigError, Places, StoreConfig};

/// All that the shards of a world share, as one shard uses it.
pub struct Stores {
    /// Zone data: journals and checkpoints.
    pub zones: Arc<dyn ZoneStore>,
    /// Homes of characters.
    pub homes: Arc<dyn HomeStore>,
    /// Bans of accounts.
    pub bans: Arc<dyn BanStore>,
    /// The world's rules.
    pub rules: Arc<dyn RulesStore>,
    /// Leases and the directory of shards.
    pub coordination: Coordination,
}

/// The services by which the shards of a world agree on who owns a zone, and who there is.
pub struct Coordination {
    /// The authority, which grants leases.
    pub authority: Arc<dyn Authority>,
    /// The directory of shards.
    pub membership: Arc<dyn Membership>,
}

impl Stores {
    /// Opens all of them.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let storage = open_storage(&config.places.store, config.confirming_replicas).await?;
        let Storage {
            zones,
            homes,
            bans,
            rules,
        } = storage;
        Ok(Self {
            zones,
            homes,
            bans,
            rules,
            coordination: open_coordination(config).await?,
        })
    }
}

impl Coordination {
    /// Of one back end that is both.
    fn of<B: Authority + Membership + 'static>(backend: B) -> Self {
        let backend = Arc::new(backend);
        Self {
            authority: Arc::<B>::clone(&backend),
            membership: backend,
        }
    }
}

/// Opens zone data, homes, and rules. With `replicas`, writes count once so many replicas have confirmed them; without,
/// once the store itself has them.
pub async fn open_storage(config: &StoreConfig, replicas: Option<NonZeroU32>) -> anyhow::Result<Storage> {
    match config {
        StoreConfig::Embedded(_) if replicas.is_some() => Err(ConfigError::NoReplicas.into()),
        #[cfg(feature = "sqlite")]
        StoreConfig::Embedded(state) => Ok(Storage::of(SqliteStore::open(state)?)),
        #[cfg(feature = "redis")]
        StoreConfig::Redis { .. } => {
            let target = password::target(config)?;
            Ok(Storage::of(match replicas {
                None => RedisStore::open(&target).await?,
                Some(replicas) => RedisStore::open_confirmed(&target, replicas).await?,
            }))
        }
        #[cfg(not(all(feature = "sqlite", feature = "redis")))]
        _ => Err(not_built(config)),
    }
}

/// The storage of a world, as one back end has it.
pub struct Storage {
    /// Zone data: journals and checkpoints.
    pub zones: Arc<dyn ZoneStore>,
    /// Homes of characters.
    pub homes: Arc<dyn HomeStore>,
    /// Bans of accounts.
    pub bans: Arc<dyn BanStore>,
    /// The world's rules.
    pub rules: Arc<dyn RulesStore>,
}

impl Storage {
    /// Of one back end that is all of them.
    fn of<B: ZoneStore + HomeStore + BanStore + RulesStore + 'static>(backend: B) -> Self {
        let backend = Arc::new(backend);
        Self {
            zones: Arc::<B>::clone(&backend),
            homes: Arc::<B>::clone(&backend),
            bans: Arc::<B>::clone(&backend),
            rules: backend,
        }
    }
}

/// Opens authority and membership, for a shard and for its guardian.
pub async fn open_coordination(config: &Config) -> anyhow::Result<Coordination> {
    // A renewal may take a small part of the lease.
    open_coordination_within(&config.places.authority, config.lease.ttl / 8).await
}

/// Opens authority and membership. `answer_max` is the longest wait for an answer of Redis.
pub async fn open_coordination_within(config: &StoreConfig, answer_max: Duration) -> anyhow::Result<Coordination> {
    #[cfg(not(feature = "redis"))]
    let _no_answer_is_waited_for = answer_max;
    match config {
        #[cfg(feature = "sqlite")]
        StoreConfig::Embedded(state) => Ok(Coordination::of(SqliteAuthority::open(state)?)),
        #[cfg(feature = "redis")]
        StoreConfig::Redis { .. } => Ok(Coordination::of(
            RedisAuthority::open(&password::target(config)?, answer_max).await?,
        )),
        #[cfg(not(all(feature = "sqlite", feature = "redis")))]
        _ => Err(not_built(config)),
    }
}

/// Fails if no world is there and opening it would make one.
pub fn ensure_exists(places: &Places) -> anyhow::Result<()> {
    #[cfg(feature = "sqlite")]
    for place in [&places.store, &places.authority] {
        if let StoreConfig::Embedded(state) = place {
            anyhow::ensure!(sqlite::is_world(state), "there is no world at {}", state.display());
        }
    }
    #[cfg(not(feature = "sqlite"))]
    let _only_files_are_made = places;
    Ok(())
}

/// Removes the keys of a world from Redis. Files are left to their directory.
#[cfg(feature = "redis")]
pub async fn remove_keys(config: &StoreConfig, zones: &[ZoneName]) -> anyhow::Result<()> {
    if matches!(config, StoreConfig::Redis { .. }) {
        RedisStore::open(&password::target(config)?)
            .await?
            .remove_world(zones)
            .await?;
    }
    Ok(())
}

#[cfg(not(all(feature = "sqlite", feature = "redis")))]
fn not_built(config: &StoreConfig) -> anyhow::Error {
    let feature = match config {
        StoreConfig::Embedded(_) => "sqlite",
        StoreConfig::Redis { .. } => "redis",
    };
    anyhow::anyhow!("this build cannot open this store: build it with the feature `{feature}`")
}

/// Whether a URL holds a password, or may: then it must not be where others see it. A URL that makes no sense is looked
/// at all the same.
#[must_use]
pub fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let names_user = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    names_user || rest.to_ascii_lowercase().contains("password=")
}

/// The permissions of a file, if others than its owner have any.
pub fn others_mode(file: &File) -> std::io::Result<Option<u32>> {
    let mode = file.metadata()?.mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

//! Opens the state store and the authority that a configuration names.

#[cfg(feature = "redis")]
mod password;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::store::StateStore;
use everhold_core::ownership::Authority;
#[cfg(feature = "redis")]
use everhold_protocol::ZoneName;
#[cfg(feature = "redis")]
use everhold_store::redis::{RedisAuthority, RedisStore};
#[cfg(feature = "sqlite")]
use everhold_store::sqlite::{self, SqliteAuthority, SqliteStore};

use crate::config::{Config, StoreConfig};

/// Opens both, from one configuration.
pub async fn open(config: &Config) -> anyhow::Result<(Arc<dyn StateStore>, Arc<dyn Authority>)> {
    Ok((open_store(&config.store).await?, open_authority(config).await?))
}

/// Opens the store alone.
pub async fn open_store(config: &StoreConfig) -> anyhow::Result<Arc<dyn StateStore>> {
    match config {
        #[cfg(feature = "sqlite")]
        StoreConfig::Embedded(state) => Ok(Arc::new(SqliteStore::open(state)?)),
        #[cfg(feature = "redis")]
        StoreConfig::Redis { .. } => Ok(Arc::new(RedisStore::open(&password::target(config)?).await?)),
        #[cfg(not(all(feature = "sqlite", feature = "redis")))]
        _ => Err(not_built(config)),
    }
}

/// Opens the authority alone, to look after leases.
pub async fn open_authority(config: &Config) -> anyhow::Result<Arc<dyn Authority>> {
    // A renewal may take a small part of the lease.
    open_authority_within(&config.store, config.lease.ttl / 8).await
}

/// Opens the authority alone. `answer_max` is the longest wait for an answer of Redis.
pub async fn open_authority_within(config: &StoreConfig, answer_max: Duration) -> anyhow::Result<Arc<dyn Authority>> {
    #[cfg(not(feature = "redis"))]
    let _no_answer_is_waited_for = answer_max;
    match config {
        #[cfg(feature = "sqlite")]
        StoreConfig::Embedded(state) => Ok(Arc::new(SqliteAuthority::open(state)?)),
        #[cfg(feature = "redis")]
        StoreConfig::Redis { .. } => Ok(Arc::new(
            RedisAuthority::open(&password::target(config)?, answer_max).await?,
        )),
        #[cfg(not(all(feature = "sqlite", feature = "redis")))]
        _ => Err(not_built(config)),
    }
}

/// Fails if no world is there and opening it would make one.
pub fn ensure_exists(config: &StoreConfig) -> anyhow::Result<()> {
    #[cfg(feature = "sqlite")]
    if let StoreConfig::Embedded(state) = config {
        anyhow::ensure!(sqlite::is_world(state), "there is no world at {}", state.display());
    }
    #[cfg(not(feature = "sqlite"))]
    let _only_files_are_made = config;
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

/// Whether a URL holds a password, or may: then it must not be where others see it. A URL that makes no sense is looked at all the same.
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

//! Opens the state store and the authority that a configuration names.

use std::sync::Arc;

use crate::config::{Config, StoreConfig};
use crate::durability::store::StateStore;
use crate::io::redis::{RedisAuthority, RedisStore, RedisTarget};
use crate::io::sqlite::{SqliteAuthority, SqliteStore};
use crate::ownership::Authority;

/// Both, from one configuration.
pub async fn open(config: &Config) -> anyhow::Result<(Arc<dyn StateStore>, Arc<dyn Authority>)> {
    let store: Arc<dyn StateStore> = match &config.store {
        StoreConfig::Embedded => Arc::new(SqliteStore::open(&config.state)?),
        StoreConfig::Redis { url, namespace } => Arc::new(RedisStore::open(&RedisTarget::new(url, namespace)?).await?),
    };
    Ok((store, open_authority(config).await?))
}

/// The authority alone, for whoever only looks after leases.
pub async fn open_authority(config: &Config) -> anyhow::Result<Arc<dyn Authority>> {
    Ok(match &config.store {
        StoreConfig::Embedded => Arc::new(SqliteAuthority::open(&config.state)?),
        StoreConfig::Redis { url, namespace } => {
            let target = RedisTarget::new(url, namespace)?;
            Arc::new(RedisAuthority::open(&target, config.lease.ttl / 8).await?)
        }
    })
}

//! Opens the state store and the authority that a configuration names.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::config::{Config, StoreConfig};
use crate::durability::store::StateStore;
use crate::io::redis::{RedisAuthority, RedisStore, RedisTarget};
use crate::io::sqlite::{SqliteAuthority, SqliteStore};
use crate::ownership::Authority;

/// The longest password, bytes: far above any that somebody makes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Both, from one configuration.
pub async fn open(config: &Config) -> anyhow::Result<(Arc<dyn StateStore>, Arc<dyn Authority>)> {
    Ok((open_store(config).await?, open_authority(config).await?))
}

/// The store alone.
pub async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn StateStore>> {
    Ok(match redis_target(&config.store)? {
        None => Arc::new(SqliteStore::open(&config.state)?),
        Some(target) => Arc::new(RedisStore::open(&target).await?),
    })
}

/// The authority alone, for whoever only looks after leases.
pub async fn open_authority(config: &Config) -> anyhow::Result<Arc<dyn Authority>> {
    // A renewal may take a small part of the lease.
    open_authority_within(config, config.lease.ttl / 8).await
}

/// The same, for whoever waits so long for an answer.
pub async fn open_authority_within(config: &Config, answer_max: Duration) -> anyhow::Result<Arc<dyn Authority>> {
    Ok(match redis_target(&config.store)? {
        None => Arc::new(SqliteAuthority::open(&config.state)?),
        Some(target) => Arc::new(RedisAuthority::open(&target, answer_max).await?),
    })
}

/// The Redis of a configuration, if it has one, with the password from its file.
pub fn redis_target(config: &StoreConfig) -> anyhow::Result<Option<RedisTarget>> {
    let StoreConfig::Redis {
        url,
        password_file,
        namespace,
    } = config
    else {
        return Ok(None);
    };
    let target = RedisTarget::new(url, namespace)?;
    Ok(Some(match password_file {
        None => target,
        Some(path) => {
            let password = read_password(path).with_context(|| format!("store.password_file {}", path.display()))?;
            target.with_password(password)?
        }
    }))
}

/// The first line of a file that nobody else may read.
fn read_password(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    anyhow::ensure!(
        mode & 0o077 == 0,
        "can be read by others (mode {mode:o}): run chmod 600 on it"
    );
    let mut text = String::new();
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    let password = text.lines().next().unwrap_or_default();
    anyhow::ensure!(
        !password.is_empty(),
        "its first line is empty: the password belongs there"
    );
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn password_is_the_first_line_of_a_file_that_nobody_else_can_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("password");
        let set = |text: &str, mode| {
            std::fs::write(&path, text).expect("a writable directory");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("an own file");
            read_password(&path)
        };
        assert_eq!(set("s3cret /?#\n", 0o600).expect("a password"), "s3cret /?#");
        assert_eq!(set("s3cret", 0o400).expect("a password"), "s3cret");
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let error = set("s3cret\n", mode)
                .expect_err("others can read or write it")
                .to_string();
            assert!(error.contains("chmod 600") && !error.contains("s3cret"), "{error}");
        }
        assert!(set("\ns3cret", 0o600).is_err(), "an empty first line");
        assert!(read_password(&directory.path().join("none")).is_err());
    }
}

//! Opens the state store and the authority that a configuration names.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use everhold_core::durability::store::StateStore;
use everhold_core::ownership::Authority;
use everhold_store::redis::{RedisAuthority, RedisStore, RedisTarget};
use everhold_store::sqlite::{SqliteAuthority, SqliteStore};

use crate::config::{Config, StoreConfig};

/// The longest password, bytes: far above any that somebody makes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Both, from one configuration.
pub async fn open(config: &Config) -> anyhow::Result<(Arc<dyn StateStore>, Arc<dyn Authority>)> {
    Ok((open_store(&config.store).await?, open_authority(config).await?))
}

/// The store alone.
pub async fn open_store(config: &StoreConfig) -> anyhow::Result<Arc<dyn StateStore>> {
    Ok(match place(config)? {
        Place::Files(state) => Arc::new(SqliteStore::open(state)?),
        Place::Redis(target) => Arc::new(RedisStore::open(&target).await?),
    })
}

/// The authority alone, for whoever only looks after leases.
pub async fn open_authority(config: &Config) -> anyhow::Result<Arc<dyn Authority>> {
    // A renewal may take a small part of the lease.
    open_authority_within(&config.store, config.lease.ttl / 8).await
}

/// The same, for whoever waits so long for an answer.
pub async fn open_authority_within(config: &StoreConfig, answer_max: Duration) -> anyhow::Result<Arc<dyn Authority>> {
    Ok(match place(config)? {
        Place::Files(state) => Arc::new(SqliteAuthority::open(state)?),
        Place::Redis(target) => Arc::new(RedisAuthority::open(&target, answer_max).await?),
    })
}

enum Place<'a> {
    Files(&'a Path),
    Redis(Box<RedisTarget>),
}

fn place(config: &StoreConfig) -> anyhow::Result<Place<'_>> {
    Ok(match config {
        StoreConfig::Embedded(state) => Place::Files(state),
        StoreConfig::Redis {
            url,
            password_file,
            namespace,
        } => Place::Redis(Box::new(redis_target(url, password_file.as_deref(), namespace)?)),
    })
}

/// A Redis, with the password from its file.
pub fn redis_target(url: &str, password_file: Option<&Path>, namespace: &str) -> anyhow::Result<RedisTarget> {
    let target = RedisTarget::new(url, namespace)?;
    let Some(path) = password_file else {
        return Ok(target);
    };
    let password = read_password(path).with_context(|| format!("store.password_file {}", path.display()))?;
    Ok(target.with_password(password)?)
}

/// The permissions of a file, if others than its owner have any.
pub fn others_mode(file: &File) -> std::io::Result<Option<u32>> {
    let mode = file.metadata()?.mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// The first line of a file that nobody else may read.
fn read_password(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path)?;
    if let Some(mode) = others_mode(&file)? {
        anyhow::bail!("can be read by others (mode {mode:o}): run chmod 600 on it");
    }
    let mut text = Vec::new();
    // One byte more, and its end if it has one.
    file.take(PASSWORD_BYTES_MAX + 2).read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    anyhow::ensure!(
        line.len() as u64 <= PASSWORD_BYTES_MAX,
        "its first line is longer than {PASSWORD_BYTES_MAX} bytes: that is no password"
    );
    let password = std::str::from_utf8(line).context("its first line is no UTF-8 text")?;
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
        let longest = "x".repeat(4_096);
        for end in ["", "\n", "\r\n", "\nand more", &format!("\n{longest}")] {
            assert_eq!(set(&format!("{longest}{end}"), 0o600).expect("a password"), longest);
        }
        for end in ["x", "x\n", &longest] {
            let error = set(&format!("{longest}{end}"), 0o600).expect_err("it would be cut");
            assert!(error.to_string().contains("4096 bytes"), "{error}");
        }
        assert!(read_password(&directory.path().join("none")).is_err());
    }
}

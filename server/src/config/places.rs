//! The places of a world: its zone data and homes in one, its leases and the directory of shards in the same or in
//! another. It opens neither.

use std::path::PathBuf;

use everhold_core::durability::gate::Durability;
use serde::Deserialize;

use super::ConfigError;

/// Longest namespace, bytes: it begins every key.
const NAMESPACE_BYTES_MAX: usize = 64;

/// An authority's URL that begins with this names a directory.
const FILES_SCHEME: &str = "file:";

/// The places where a world is kept. All its shards must name the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The place of zone data and homes.
    pub store: StoreConfig,
    /// The place of authority and membership: leases, and the directory of shards.
    pub authority: StoreConfig,
}

impl Places {
    /// Whether zone data and leases are in different places.
    #[must_use]
    pub fn are_apart(&self) -> bool {
        self.store != self.authority
    }
}

/// One place.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// Files of this directory, shared by the shards of one host.
    Embedded(PathBuf),
    /// A Redis.
    Redis {
        /// Its URL, which may hold a password.
        url: String,
        /// A file that holds the password, if the URL does not.
        password_file: Option<PathBuf>,
        /// The prefix of its keys.
        namespace: String,
        /// The section of the configuration that names it.
        section: &'static str,
    },
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded(_) => "Embedded",
            Self::Redis { .. } => "Redis",
        })
    }
}

#[derive(Deserialize)]
pub(super) struct StoreSection {
    url: String,
    password_file: PathBuf,
    namespace: String,
}

#[derive(Deserialize)]
pub(super) struct AuthoritySection {
    url: String,
    password_file: PathBuf,
}

/// Checks both sections. `state` is the directory of what is embedded.
pub(super) fn resolve(store: StoreSection, authority: AuthoritySection, state: PathBuf) -> Result<Places, ConfigError> {
    // Braces would move the hash tag that keeps a zone's keys together.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let namespace = store.namespace;
    if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX || !namespace.chars().all(is_plain) {
        return Err(ConfigError::Range {
            key: "store.namespace",
            must: "1 to 64 letters, digits, or any of - _ . :",
            is: namespace,
        });
    }
    let redis = |section, url, password_file: PathBuf| StoreConfig::Redis {
        url,
        password_file: Some(password_file).filter(|path| !path.as_os_str().is_empty()),
        namespace: namespace.clone(),
        section,
    };
    let store = if store.url.is_empty() {
        StoreConfig::Embedded(state)
    } else {
        redis("store", store.url, store.password_file)
    };
    let is_redis = !authority.url.is_empty() && !authority.url.starts_with(FILES_SCHEME);
    if !is_redis && !authority.password_file.as_os_str().is_empty() {
        return Err(ConfigError::Range {
            key: "authority.password_file",
            must: "empty unless authority.url is that of a Redis",
            is: authority.password_file.display().to_string(),
        });
    }
    let authority = match authority.url.strip_prefix(FILES_SCHEME) {
        None if is_redis => redis("authority", authority.url, authority.password_file),
        None => store.clone(),
        Some("") => {
            return Err(ConfigError::Range {
                key: "authority.url",
                must: "empty, the URL of a Redis, or file:DIRECTORY",
                is: authority.url,
            });
        }
        Some(directory) => StoreConfig::Embedded(directory.into()),
    };
    Ok(Places { store, authority })
}

/// Checks that a store can do what a level of durability promises.
pub fn check_level(level: Durability, store: &StoreConfig) -> Result<(), ConfigError> {
    match (level, store) {
        (Durability::Replica, StoreConfig::Embedded(_)) => Err(ConfigError::NoReplicas),
        _ => Ok(()),
    }
}

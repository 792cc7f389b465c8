//! The place of a world's archive. It opens none.

use std::path::PathBuf;

use everhold_store::archive_place::{ARCHIVE_FILE_NAME, is_postgres_url};
use serde::Deserialize;

use super::places::StoreConfig;
use super::{ConfigError, in_range};

/// The word for no archive where there would be one by default.
const OFF: &str = "off";

/// A URL that begins with this names a file.
const FILE_SCHEME: &str = "file:";

/// A world's archive. All its shards must name the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// The database.
    pub place: ArchivePlace,
    /// Time between two commits of a zone, ms.
    pub interval_ms: u64,
}

/// The database of an archive.
#[derive(Clone, PartialEq, Eq)]
pub enum ArchivePlace {
    /// This file, shared by the shards of one host.
    File(PathBuf),
    /// A PostgreSQL.
    Postgres {
        /// Its URL, which may hold a password.
        url: String,
        /// A file that holds the password, if the URL does not.
        password_file: Option<PathBuf>,
    },
}

impl std::fmt::Debug for ArchivePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Postgres { .. } => "Postgres",
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ArchiveSection {
    url: String,
    password_file: PathBuf,
    interval_ms: u64,
}

/// Checks the section. An embedded store has an archive beside it, unless it is turned off; another one has none,
/// unless it is named.
pub(super) fn resolve(section: ArchiveSection, store: &StoreConfig) -> Result<Option<ArchiveConfig>, ConfigError> {
    let ArchiveSection {
        url,
        password_file,
        interval_ms,
    } = section;
    let interval_ms = in_range(
        "archive.interval_ms",
        interval_ms,
        1_000..=3_600_000,
        "1,000 to 3,600,000 ms",
    )?;
    let password_file = Some(password_file).filter(|path| !path.as_os_str().is_empty());
    let is_postgres = is_postgres_url(&url);
    if let Some(path) = password_file.as_ref().filter(|_| !is_postgres) {
        return Err(ConfigError::Range {
            key: "archive.password_file",
            must: "empty unless archive.url is that of a PostgreSQL",
            is: path.display().to_string(),
        });
    }
    let place = match (url.strip_prefix(FILE_SCHEME), store) {
        _ if is_postgres => ArchivePlace::Postgres { url, password_file },
        (Some(path), _) if !path.is_empty() => ArchivePlace::File(path.into()),
        (None, _) if url == OFF => return Ok(None),
        (None, StoreConfig::Embedded(state)) if url.is_empty() => ArchivePlace::File(state.join(ARCHIVE_FILE_NAME)),
        (None, StoreConfig::Redis { .. }) if url.is_empty() => return Ok(None),
        // Not repeated: a mistyped URL may hold a password.
        _ => {
            return Err(ConfigError::Range {
                key: "archive.url",
                must: "empty, `off`, file:PATH, or postgres://USER@HOST/DATABASE",
                is: "something else".to_owned(),
            });
        }
    };
    Ok(Some(ArchiveConfig { place, interval_ms }))
}

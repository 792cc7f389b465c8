//! Opens the archive that a configuration names. A database that is away is asked again when it is needed: no shard
//! waits for it, and none ends because of it.

use std::sync::Arc;

use everhold_core::durability::archive::{Archive, ArchiveError};
use everhold_core::zone::Game;
use everhold_core::zone::archive_schema::ArchiveSchema;
#[cfg(feature = "postgres")]
use everhold_store::postgres::{PostgresArchive, PostgresError, PostgresTarget};
#[cfg(feature = "sqlite")]
use everhold_store::sqlite::SqliteArchive;
use tokio::sync::OnceCell;

use crate::config::ArchivePlace;

/// An archive that is opened when it is first needed, and tried again for as long as it cannot be.
pub struct ArchiveDoor {
    place: ArchivePlace,
    game: Arc<dyn Game>,
    opened: OnceCell<Arc<dyn Archive>>,
}

impl ArchiveDoor {
    /// Tries the archive once.
    ///
    /// # Errors
    /// It cannot be used, and will not be: its configuration, its version, or its columns are wrong. One that does not
    /// answer is none: it is opened later.
    pub async fn new(place: ArchivePlace, game: Arc<dyn Game>) -> anyhow::Result<Self> {
        let opened = OnceCell::new();
        match open_declared(&place, &game).await {
            Ok(archive) => drop(opened.set(archive)),
            Err(OpenError::Away(why)) => {
                tracing::warn!(error = why, "the archive does not answer; it is tried again");
            }
            Err(OpenError::Unusable(error)) => return Err(error.context("the archive cannot be used")),
        }
        Ok(Self { place, game, opened })
    }

    /// Returns the archive, opened now if need be.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: it cannot be opened yet.
    pub async fn archive(&self) -> Result<&dyn Archive, ArchiveError> {
        let archive = self.opened.get_or_try_init(|| async {
            let opened = open_declared(&self.place, &self.game).await;
            opened.map_err(OpenError::into_unavailable)
        });
        Ok(archive.await?.as_ref())
    }
}

/// Opens the archive for somebody who only reads, and knows no game. A file that is not there is not made.
///
/// # Errors
/// [`ArchiveError::Unavailable`]: it cannot be opened.
pub async fn open_archive_to_read(place: &ArchivePlace) -> Result<Arc<dyn Archive>, ArchiveError> {
    if let ArchivePlace::File(path) = place
        && !path.exists()
    {
        return Err(ArchiveError::Unavailable(format!("there is no {}", path.display())));
    }
    let none = ArchiveSchema::new(Vec::new(), Vec::new(), Vec::new());
    let opened = async { open(place, none.map_err(|error| OpenError::Unusable(error.into()))?).await };
    opened.await.map_err(OpenError::into_unavailable)
}

enum OpenError {
    /// It does not answer.
    Away(String),
    /// It answers, and cannot be used.
    Unusable(anyhow::Error),
}

impl OpenError {
    /// Returns the answer to a question that was asked of the archive.
    fn into_unavailable(self) -> ArchiveError {
        ArchiveError::Unavailable(match self {
            Self::Away(why) => why,
            Self::Unusable(error) => format!("{error:#}"),
        })
    }
}

async fn open_declared(place: &ArchivePlace, game: &Arc<dyn Game>) -> Result<Arc<dyn Archive>, OpenError> {
    let schema = game.archive_schema();
    open(place, schema.map_err(|error| OpenError::Unusable(error.into()))?).await
}

async fn open(place: &ArchivePlace, schema: ArchiveSchema) -> Result<Arc<dyn Archive>, OpenError> {
    match place {
        #[cfg(feature = "sqlite")]
        ArchivePlace::File(path) => match SqliteArchive::open(path, schema) {
            Ok(archive) => Ok(Arc::new(archive)),
            Err(error) => Err(OpenError::Unusable(error.into())),
        },
        #[cfg(feature = "postgres")]
        ArchivePlace::Postgres { url, password_file } => {
            let target = target(url, password_file.as_deref()).map_err(OpenError::Unusable)?;
            match PostgresArchive::open(&target, schema).await {
                Ok(archive) => Ok(Arc::new(archive)),
                Err(PostgresError::Connect(why)) => Err(OpenError::Away(why)),
                Err(error) => Err(OpenError::Unusable(error.into())),
            }
        }
        #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
        _ => Err(OpenError::Unusable(anyhow::anyhow!(
            "this build cannot open this archive: build it with the features `sqlite` and `postgres`"
        ))),
    }
}

#[cfg(feature = "postgres")]
fn target(url: &str, password_file: Option<&std::path::Path>) -> anyhow::Result<PostgresTarget> {
    use anyhow::Context;

    let target = PostgresTarget::new(url)?;
    let Some(path) = password_file else {
        return Ok(target);
    };
    let password = super::password::read_password(path);
    let password = password.with_context(|| format!("archive.password_file {}", path.display()))?;
    Ok(target.with_password(&password)?)
}

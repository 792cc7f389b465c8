//! The wait for an answer of an authority or a store, with a bound: no answer in time is an unknown outcome. It asks
//! nothing again.

use std::future::Future;
use std::time::Duration;

use everhold_core::durability::archive::ArchiveError;
use everhold_core::durability::store::StoreError;
use everhold_core::ownership::AuthorityError;

/// No answer came within this time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct Silence(Duration);

impl From<Silence> for StoreError {
    fn from(silence: Silence) -> Self {
        Self::Unavailable(silence.to_string())
    }
}

impl From<Silence> for ArchiveError {
    fn from(silence: Silence) -> Self {
        Self::Unavailable(silence.to_string())
    }
}

impl From<Silence> for AuthorityError {
    fn from(silence: Silence) -> Self {
        Self::Unavailable(silence.to_string())
    }
}

/// Waits for an operation for as long as `max`; `None`: without a bound.
pub(crate) async fn within<T>(max: Option<Duration>, operation: impl Future<Output = T>) -> Result<T, Silence> {
    match max {
        Some(max) => tokio::time::timeout(max, operation).await.map_err(|_| Silence(max)),
        None => Ok(operation.await),
    }
}

/// Returns an operation's answer; none within `max` is an unknown outcome.
pub(crate) async fn answer<T, E: From<Silence>>(
    max: impl Into<Option<Duration>>,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    within(max.into(), operation).await?
}

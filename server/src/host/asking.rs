//! The requests of a host to its store: each operation has a deadline, and some are asked again. What the answers mean
//! is not decided here.

use std::future::Future;
use std::time::Duration;

use everhold_core::durability::store::StoreError;
use everhold_core::durability::tries::Tries;
use everhold_protocol::ZoneName;

/// Asks again while there is no answer, as often as [`Tries`] allow.
pub(super) async fn retry<T, F>(zone: &ZoneName, operation: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = Tries::default();
    loop {
        let error = match operation().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = tries.handle_error(error)?;
        if let Some(why) = again.news {
            tracing::warn!(%zone, why, "the store does not answer; it is asked again");
        }
        tokio::time::sleep(again.after).await;
    }
}

/// Returns a store operation's answer; none within `max` is an unknown outcome.
pub(super) async fn answer<T>(
    max: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(max, operation).await;
    outcome.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {max:?}"))))
}

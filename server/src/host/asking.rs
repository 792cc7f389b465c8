//! The requests of a host to its store that are asked again. What the answers mean is not decided here.

use std::future::Future;

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

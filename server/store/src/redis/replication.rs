//! Whether a server takes writes only while replicas follow it, as durability level `replica` needs, and whether they
//! do. Each write asks for itself how many have it (`link/node/rounds.rs`).
//!
//! `WAIT` alone keeps the promise for what it is asked about. But a primary that is cut off from its replicas goes on
//! to take writes: leases that the promoted one knows nothing of, and records that are held and then gone. With
//! `min-replicas-to-write` it refuses them after `min-replicas-max-lag`.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::link::{RedisLink, RedisNode, wait_words};
use super::setting::setting;
use super::{RedisError, STORE_ANSWER_MAX};

const REPLICAS_MIN: &str = "min-replicas-to-write";
const LAG_MAX: &str = "min-replicas-max-lag";

/// Longest silence of a replica that still counts as there, s: that is Redis's default. Until then a primary that is
/// cut off takes writes. Zero would switch the check off.
const LAG_S: std::ops::RangeInclusive<u64> = 1..=10;

/// The state of a server's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// It refuses writes without enough replicas.
    Guarded,
    /// It takes them: the setting, its value, and the value that does.
    Unguarded(&'static str, String, String),
    /// It does not say.
    Untold,
}

/// Refuses a server that takes writes without so many replicas, or that fewer follow now.
pub(super) async fn check(link: &RedisLink, node: &Arc<RedisNode>, replicas: NonZeroU32) -> Result<(), RedisError> {
    match ask(link, node, replicas).await? {
        Guard::Guarded => {}
        Guard::Unguarded(key, is, must) => {
            let server = node.server();
            return Err(RedisError::Unguarded {
                replicas,
                key,
                is,
                must,
                host: server.host.to_string(),
                port: server.port,
            });
        }
        Guard::Untold => tracing::warn!(
            server = %node.server(),
            %replicas,
            "Redis does not let us read whether it takes writes without replicas: make sure that \
             {REPLICAS_MIN} is set"
        ),
    }
    let answer = link
        .command_at(node, "WAIT", wait_words(replicas, STORE_ANSWER_MAX))
        .await?;
    let confirmed = answer.as_u64().and_then(|count| u32::try_from(count).ok());
    match confirmed {
        Some(confirmed) if confirmed >= replicas.get() => Ok(()),
        Some(confirmed) => Err(RedisError::Unconfirmed { confirmed, replicas }),
        None => Err(RedisError::Answer(format!("{answer:?}"))),
    }
}

/// Asks a server for its settings.
pub(super) async fn ask(link: &RedisLink, node: &Arc<RedisNode>, replicas: NonZeroU32) -> Result<Guard, RedisError> {
    let is_enough = |text: &str| {
        text.parse::<u64>()
            .is_ok_and(|count| count >= u64::from(replicas.get()))
    };
    let is_short = |text: &str| text.parse::<u64>().is_ok_and(|lag| LAG_S.contains(&lag));
    let (Some(count), Some(lag)) = (
        setting(link, node, REPLICAS_MIN).await?,
        setting(link, node, LAG_MAX).await?,
    ) else {
        return Ok(Guard::Untold);
    };
    Ok(if !is_enough(&count) {
        Guard::Unguarded(REPLICAS_MIN, count, replicas.to_string())
    } else if !is_short(&lag) {
        Guard::Unguarded(LAG_MAX, lag, LAG_S.end().to_string())
    } else {
        Guard::Guarded
    })
}

/// Says that the settings of a server are wrong, or right again.
pub(super) fn tell_change(server: &str, before: Guard, now: Guard) {
    match (before, now) {
        (before, now) if before == now => {}
        (_, Guard::Unguarded(key, is, must)) => tracing::error!(
            server,
            is,
            "Redis takes writes without enough replicas: set its {key} to {must}"
        ),
        (Guard::Unguarded(..), Guard::Guarded) => {
            tracing::info!(server, "Redis takes no writes without enough replicas any more");
        }
        _ => {}
    }
}

//! The link to a real Redis when things go wrong: it stops, restarts, forgets, cuts connections, moves elsewhere, or
//! must be refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/cutting.rs"]
mod cutting;
#[path = "redis/full.rs"]
mod full;
#[path = "redis/policy.rs"]
mod policy;
#[path = "redis/refusal.rs"]
mod refusal;
#[path = "redis/replica.rs"]
mod replica;
#[path = "redis/restart.rs"]
mod restart;
#[path = "redis/scale.rs"]
mod scale;
#[path = "redis/sentinel.rs"]
mod sentinel;

use std::time::Duration;

use everhold_core::durability::store::StoreError;
use everhold_core::ownership::{Authority, AuthorityError, LeaseTerms, Nonce, Tenure};
use everhold_protocol::{Epoch, ZoneName};
use everhold_store::redis::{RedisAuthority, RedisStore, RedisTarget};

/// Far above everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// A link that is down is asked again this often.
const AGAIN: Duration = Duration::from_millis(20);

/// The longest time that a renewal may take in these tests.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The silence after which nothing more is to be heard.
const QUIET: Duration = Duration::from_millis(300);

const NONCE: Nonce = Nonce(u64::MAX);

fn zone() -> ZoneName {
    "meadow".parse().unwrap()
}

fn target(url: &str) -> RedisTarget {
    RedisTarget::new(url, "test").unwrap()
}

/// Returns what a holder says of itself.
fn terms() -> LeaseTerms {
    LeaseTerms {
        addr: ([127, 0, 0, 1], 1).into(),
        ttl: Duration::from_secs(4),
    }
}

async fn store(url: &str) -> RedisStore {
    RedisStore::open(&target(url)).await.unwrap()
}

async fn authority(url: &str) -> RedisAuthority {
    RedisAuthority::open(&target(url), ANSWER_MAX).await.unwrap()
}

/// The zone, declared and claimed.
async fn claimed(authority: &RedisAuthority) -> Tenure {
    authority.declare_zone(&zone()).await.unwrap();
    let lease = authority.leases().await.unwrap().views.remove(0);
    authority.claim(&lease, NONCE, terms(), Epoch::NONE).await.unwrap()
}

/// Is the outcome unknown?
trait Unknown {
    fn is_unknown(&self) -> bool;
}

impl Unknown for StoreError {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Unknown for AuthorityError {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Asks again for as long as the outcome is unknown.
async fn until_answered<T, E: Unknown>(ask: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
    let asking = async {
        loop {
            match ask().await {
                Err(error) if error.is_unknown() => tokio::time::sleep(AGAIN).await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("it comes back by itself")
}

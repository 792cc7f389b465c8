//! How a shard enters the directory: only if every living shard there has keys in common with it. Whom it watched dead meanwhile, it withdraws.

use std::net::SocketAddr;
use std::time::Duration;

use everhold_core::ownership::key_check::{Joining, KeyCheck};
use everhold_core::ownership::{AuthorityError, KeyFingerprints, KeyKind, Membership, Nonce};
use everhold_net::keys;
use everhold_os::clock;

/// While it is not known whether a shard with other keys lives, it is looked at so often in a ttl: twice as often as it announces itself.
const LOOKS_PER_TTL: u32 = 8;

/// Why this shard may not enter.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Players of one could not go on at the other.
    #[error(
        "the living shard at {addr} has other keys: it has nothing of this {file}; copy one set of keys to every host (`everhold keys export`)"
    )]
    OtherKeys {
        /// Where it serves.
        addr: SocketAddr,
        /// The file that differs.
        file: &'static str,
    },
    /// The directory cannot be read or written.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Announces the shard. If others have other keys, it first waits, for a ttl at most (`ttl`, or theirs if that is longer), until it is known
/// whether they live; the dead are withdrawn. It looks once more afterwards: of two shards with different keys that come in the same moment,
/// at least one sees the other.
pub async fn join(
    membership: &dyn Membership,
    (nonce, addr): (Nonce, SocketAddr),
    keys: &KeyFingerprints,
    ttl: Duration,
) -> Result<(), JoinError> {
    let mut check = KeyCheck::new(keys.clone(), ttl);
    let mut is_told = false;
    let dead = loop {
        match check.judge(clock::boottime(), &membership.shards().await?) {
            Joining::Join { dead } => break dead,
            Joining::Watch => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "the directory names shards with other keys: waiting until it is known whether they live"
                    );
                }
                tokio::time::sleep(ttl / LOOKS_PER_TTL).await;
            }
            Joining::Refuse { addr, kind } => return Err(other_keys(addr, kind)),
        }
    };
    membership.announce(nonce, addr, keys, ttl).await?;
    if let Some((addr, kind)) = check.intruder(&membership.shards().await?) {
        membership.withdraw(nonce).await?;
        return Err(other_keys(addr, kind));
    }
    for nonce in dead {
        membership.withdraw(nonce).await?;
    }
    Ok(())
}

const fn other_keys(addr: SocketAddr, kind: KeyKind) -> JoinError {
    JoinError::OtherKeys {
        addr,
        file: keys::file_of(kind),
    }
}

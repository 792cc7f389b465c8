//! Membership drives a shard's [`Entry`] into the directory. It decides nothing.

use std::net::SocketAddr;
use std::time::Duration;

use everhold_core::ownership::{AuthorityError, Entry, EntryCommand, KeyFingerprints, Membership, Nonce};
use everhold_net::keys::file_of;
use everhold_os::clock;

/// The reason why this shard may not enter the directory.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Players of one could not go on at the other.
    #[error(
        "the living shard at {addr} has other keys: it has nothing of this {file}; copy one set of keys to every host \
         (`everhold keys export`)"
    )]
    OtherKeys {
        /// The address at which that shard serves players.
        addr: SocketAddr,
        /// The file that differs.
        file: &'static str,
    },
    /// The directory cannot be read or written.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Announces the shard. If others have other keys, it first waits, for a ttl at most (`ttl`, or theirs if that is
/// longer), until it is known whether they live; the dead are withdrawn.
pub async fn join(
    membership: &dyn Membership,
    (nonce, addr): (Nonce, SocketAddr),
    keys: &KeyFingerprints,
    ttl: Duration,
) -> Result<(), JoinError> {
    let mut entry = Entry::new(nonce, keys.clone(), ttl);
    loop {
        match entry.poll_command().expect("each look is reported") {
            EntryCommand::Look => {
                let now = clock::boottime();
                entry.handle_shards(now, &membership.shards().await?);
            }
            EntryCommand::LogWaiting => {
                tracing::warn!(
                    "the directory names shards with other keys: waiting until it is known whether they live"
                );
            }
            EntryCommand::Pause(pause) => tokio::time::sleep(pause).await,
            EntryCommand::Announce => membership.announce(nonce, addr, keys, ttl).await?,
            EntryCommand::Withdraw(nonce) => membership.withdraw(nonce).await?,
            EntryCommand::Enter => return Ok(()),
            EntryCommand::Refuse { addr, kind } => {
                let file = file_of(kind);
                return Err(JoinError::OtherKeys { addr, file });
            }
        }
    }
}

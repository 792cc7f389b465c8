//! Membership on Redis. A shard's entry is in two hashes, by nonce: `shards` has its beat and address, `shard_keys` the
//! fingerprints of its keys and the ttl of its leases.
//!
//! What a later build adds at the end of an entry is passed over, and an entry that cannot be read is left out: it must
//! not make the others invisible.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use everhold_core::ownership::{AuthorityError, KeyFingerprints, Membership, Nonce, ShardView};
use fred::types::Value;
use fred::types::scripts::Script;

use super::RedisAuthority;
use crate::redis::RedisError;

static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("../lua/announce.lua")));

/// The hash with beats and addresses.
const SHARDS: &str = "shards";

/// The hash with what a shard says of its keys and leases.
const SHARD_KEYS: &str = "shard_keys";

/// Whether a log line has named an entry that cannot be read: there is one for all.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreadable(Arc<AtomicBool>);

impl Unreadable {
    fn note(&self, nonce: &str, entry: &str) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                nonce,
                entry,
                "the directory has entries that this build cannot read; they are passed over"
            );
        }
    }
}

#[async_trait]
impl Membership for RedisAuthority {
    async fn announce(
        &self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError> {
        // First, so that no entry is seen without its keys.
        let said = format!("{keys} {}", ttl.as_millis());
        let words = [self.keys.world(SHARD_KEYS), nonce.0.to_string(), said];
        let words = words.map(Value::from).to_vec();
        self.link.command("HSET", words).await?;
        let words = vec![nonce.0.to_string().into(), addr.to_string().into()];
        self.link.run(&ANNOUNCE, vec![self.keys.world(SHARDS)], words).await?;
        Ok(())
    }

    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError> {
        for hash in [SHARDS, SHARD_KEYS] {
            let words = vec![self.keys.world(hash).into(), nonce.0.to_string().into()];
            self.link.command("HDEL", words).await?;
        }
        Ok(())
    }

    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError> {
        let ask = async |hash| {
            let answer = self.link.command("HGETALL", vec![self.keys.world(hash).into()]).await?;
            read_hash(answer).ok_or_else(|| RedisError::Answer(format!("{hash} is no hash of texts")))
        };
        let (shards, said) = tokio::try_join!(ask(SHARDS), ask(SHARD_KEYS))?;
        let mut views: Vec<ShardView> = shards
            .iter()
            .filter_map(|(nonce, entry)| {
                let view = read_shard(nonce, entry);
                if view.is_none() {
                    self.unreadable.note(nonce, entry);
                }
                view
            })
            .collect();
        for view in &mut views {
            let said = said.get(&view.nonce.0.to_string()).map_or("", String::as_str);
            match read_said(said) {
                Some((keys, ttl)) => (view.keys, view.ttl) = (keys, ttl),
                None => self.unreadable.note(&view.nonce.0.to_string(), said),
            }
        }
        views.sort_unstable_by_key(|view| view.nonce);
        Ok(views)
    }
}

/// Reads an entry of `shards`: `BEAT ADDRESS`.
fn read_shard(nonce: &str, entry: &str) -> Option<ShardView> {
    let mut words = entry.split(' ');
    Some(ShardView {
        nonce: Nonce(nonce.parse().ok()?),
        beat: words.next()?.parse().ok()?,
        addr: words.next()?.parse().ok()?,
        keys: KeyFingerprints::default(),
        ttl: Duration::ZERO,
    })
}

/// Reads an entry of `shard_keys`: `FINGERPRINTS TTL_MS`, either of which may be missing.
fn read_said(text: &str) -> Option<(KeyFingerprints, Duration)> {
    let mut words = text.split(' ');
    let keys = words.next()?.parse().ok()?;
    let ttl_ms = words.next().map_or(Ok(0), str::parse).ok()?;
    Some((keys, Duration::from_millis(ttl_ms)))
}

fn read_hash(pairs: Value) -> Option<BTreeMap<String, String>> {
    let flat: Vec<String> = match pairs {
        Value::Map(map) => map
            .inner()
            .into_iter()
            .flat_map(|(field, word)| [field.into_string(), word.into_string()])
            .collect::<Option<_>>()?,
        other => other
            .into_array()
            .into_iter()
            .map(Value::into_string)
            .collect::<Option<_>>()?,
    };
    let pairs = flat.chunks_exact(2);
    Some(pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_build_adds_to_an_entry_is_passed_over() {
        let view = read_shard("7", "12 127.0.0.1:4001 more of it").expect("readable");
        assert_eq!((view.nonce, view.beat, view.addr.port()), (Nonce(7), 12, 4_001));
        let (keys, ttl) = read_said("1;2;3;4 20000 more of it").expect("readable");
        assert_eq!((Some(keys), ttl.as_secs()), ("1;2;3".parse().ok(), 20));
        assert_eq!(
            read_said(""),
            Some((KeyFingerprints::default(), Duration::ZERO)),
            "nothing is said"
        );
        for wrong in ["", "12", "x 127.0.0.1:4001", "12 nowhere"] {
            assert_eq!(read_shard("7", wrong), None, "{wrong}");
        }
        assert_eq!(read_shard("seven", "12 127.0.0.1:4001"), None);
        assert_eq!(read_said("1;2"), None);
    }
}

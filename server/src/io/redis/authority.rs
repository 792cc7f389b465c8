//! The authority on Redis: simple, and as strong as its Redis. See the module above for what a promoted replica may forget.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use everhold_protocol::ZoneName;
use fred::types::Value;
use fred::types::scripts::Script;
use tokio::sync::Notify;

use super::link::Link;
use super::listener::Listener;
use super::thread::Thread;
use super::{Keys, RedisError, RedisTarget};
use crate::ownership::authority::{Authority, AuthorityError, LeaseView, ShardView};
use crate::ownership::epoch::{Epoch, Grant, Nonce};
use crate::ownership::fingerprint::KeyFingerprints;

/// A script on a lease.
macro_rules! lease_script {
    ($file:literal) => {
        LazyLock::new(|| Script::from_lua(concat!(include_str!("lua/lease_common.lua"), "\n", include_str!($file))))
    };
}

static DECLARE: LazyLock<Script> = lease_script!("lua/declare.lua");
static CLAIM: LazyLock<Script> = lease_script!("lua/claim.lua");
static RENEW: LazyLock<Script> = lease_script!("lua/renew.lua");
static REINSTATE: LazyLock<Script> = lease_script!("lua/reinstate.lua");
static RELEASE: LazyLock<Script> = lease_script!("lua/release.lua");
static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/announce.lua")));

/// The hash with the fingerprints of the shards' keys, by nonce.
const SHARD_KEYS: &str = "shard_keys";

/// Grants leases in Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisAuthority {
    keys: Keys,
    link: Link,
    released: Arc<Notify>,
}

impl RedisAuthority {
    /// Connects. `answer_max` is the longest that a renewal may take: a small part of the lease's ttl, or a hanging Redis would hold up the
    /// next one.
    pub async fn open(target: &RedisTarget, answer_max: Duration) -> Result<Self, RedisError> {
        let thread = Arc::new(Thread::start("redis-leases").map_err(|error| RedisError::Thread(error.to_string()))?);
        let link = Link::open(Arc::clone(&thread), "leases", target.config.clone(), answer_max).await?;
        let keys = target.keys();
        let released = Arc::new(Notify::new());
        let listener = Listener {
            timeout: answer_max,
            channel: keys.world("released"),
            released: Arc::clone(&released),
        };
        match link.cluster() {
            Some(cluster) => thread.spawn(listener.listen_in(Arc::downgrade(&cluster))),
            None => {
                let listening = listener.listen(target.config.clone());
                thread.run(listening).await?.map_err(RedisError::Connect)?;
            }
        }
        Ok(Self { keys, link, released })
    }

    async fn on_lease(&self, script: &Script, zone: &ZoneName, words: Vec<Value>) -> Result<(), AuthorityError> {
        let keys = vec![self.keys.zone(zone, "lease")];
        let answer = self.link.run(script, keys, words).await?;
        let word = answer.first().and_then(Value::as_str);
        match word.as_deref() {
            Some("OK") => Ok(()),
            Some("UNKNOWN") => Err(AuthorityError::ZoneUnknown(zone.clone())),
            Some("HELD") => Err(match read_lease(zone, &answer[1..]) {
                Some(lease) => AuthorityError::Held(Box::new(lease)),
                None => unreadable(zone),
            }),
            _ => Err(RedisError::Answer(format!("{answer:?}")).into()),
        }
    }

    async fn enter(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        let words = vec![self.keys.world("zones").into(), zone.as_str().into()];
        self.link.command("SADD", words).await?;
        Ok(())
    }

    async fn lease(&self, zone: ZoneName) -> Result<Option<LeaseView>, AuthorityError> {
        let mut words: Vec<Value> = vec![self.keys.zone(&zone, "lease").into()];
        words.extend(["epoch", "nonce", "beat", "released", "addr", "players"].map(Value::from));
        let fields = self.link.command("HMGET", words).await?.into_array();
        if fields.first().is_none_or(Value::is_null) {
            return Ok(None);
        }
        read_lease(&zone, &fields).map(Some).ok_or_else(|| unreadable(&zone))
    }
}

#[async_trait]
impl Authority for RedisAuthority {
    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        self.on_lease(&DECLARE, zone, Vec::new()).await?;
        // Listed last: whoever reads the list finds the lease.
        self.enter(zone).await
    }

    async fn leases(&self) -> Result<Vec<LeaseView>, AuthorityError> {
        let words = vec![self.keys.world("zones").into()];
        let names = self.link.command("SMEMBERS", words).await?.into_array();
        let mut zones: Vec<ZoneName> = names
            .into_iter()
            .map(|name| name.into_string().and_then(|name| name.parse().ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| RedisError::Answer("a zone's name that is none".to_owned()))?;
        zones.sort_unstable();
        let mut leases = Vec::with_capacity(zones.len());
        for zone in zones {
            leases.extend(self.lease(zone).await?);
        }
        Ok(leases)
    }

    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        addr: SocketAddr,
        epoch_floor: u32,
    ) -> Result<Grant, AuthorityError> {
        let epoch = watched.epoch.max(epoch_floor).checked_add(1);
        let epoch = epoch.ok_or_else(|| AuthorityError::Unavailable("epochs have run out".to_owned()))?;
        let words = [
            watched.epoch.to_string(),
            watched.nonce.0.to_string(),
            watched.beat.to_string(),
            u8::from(watched.released).to_string(),
            epoch.to_string(),
            nonce.0.to_string(),
            addr.to_string(),
        ];
        self.on_lease(&CLAIM, &watched.zone, words.map(Value::from).to_vec())
            .await?;
        Ok(Grant {
            epoch: Epoch::granted(epoch),
            nonce,
        })
    }

    async fn renew(&self, zone: &ZoneName, grant: Grant, players: u32) -> Result<(), AuthorityError> {
        let words = [
            grant.epoch.number().to_string(),
            grant.nonce.0.to_string(),
            players.to_string(),
        ];
        self.on_lease(&RENEW, zone, words.map(Value::from).to_vec()).await
    }

    async fn reinstate(
        &self,
        zone: &ZoneName,
        grant: Grant,
        addr: SocketAddr,
        players: u32,
    ) -> Result<(), AuthorityError> {
        let words = [
            grant.epoch.number().to_string(),
            grant.nonce.0.to_string(),
            addr.to_string(),
            players.to_string(),
        ];
        self.on_lease(&REINSTATE, zone, words.map(Value::from).to_vec()).await?;
        self.enter(zone).await
    }

    async fn release(&self, zone: &ZoneName, grant: Grant) -> Result<(), AuthorityError> {
        let words = [
            grant.epoch.number().to_string(),
            grant.nonce.0.to_string(),
            self.keys.world("released"),
            zone.to_string(),
        ];
        self.on_lease(&RELEASE, zone, words.map(Value::from).to_vec()).await
    }

    async fn wait_for_release(&self) {
        self.released.notified().await;
    }

    async fn announce(&self, nonce: Nonce, addr: SocketAddr, keys: &KeyFingerprints) -> Result<(), AuthorityError> {
        // In a hash of their own, which earlier builds do not read; first, so that no entry is seen without its keys.
        let words = [self.keys.world(SHARD_KEYS), nonce.0.to_string(), keys.to_string()];
        let words = words.map(Value::from).to_vec();
        self.link.command("HSET", words).await?;
        let words = vec![nonce.0.to_string().into(), addr.to_string().into()];
        self.link.run(&ANNOUNCE, vec![self.keys.world("shards")], words).await?;
        Ok(())
    }

    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError> {
        let words = vec![self.keys.world("shards").into(), nonce.0.to_string().into()];
        self.link.command("HDEL", words).await?;
        let words = vec![self.keys.world(SHARD_KEYS).into(), nonce.0.to_string().into()];
        self.link.command("HDEL", words).await?;
        Ok(())
    }

    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError> {
        let words = vec![self.keys.world("shards").into()];
        let shards = self.link.command("HGETALL", words).await?;
        let words = vec![self.keys.world(SHARD_KEYS).into()];
        let keys = self.link.command("HGETALL", words).await?;
        let shards = read_shards(shards, keys).ok_or_else(|| RedisError::Answer("a shard that is none".to_owned()))?;
        Ok(shards)
    }
}

fn read_lease(zone: &ZoneName, fields: &[Value]) -> Option<LeaseView> {
    let text = |index: usize| fields.get(index).and_then(Value::as_string);
    Some(LeaseView {
        zone: zone.clone(),
        epoch: text(0)?.parse().ok()?,
        nonce: Nonce(text(1)?.parse().ok()?),
        beat: text(2)?.parse().ok()?,
        released: text(3)? == "1",
        addr: text(4)?.parse().ok()?,
        players: text(5)?.parse().ok()?,
    })
}

fn read_shards(shards: Value, keys: Value) -> Option<Vec<ShardView>> {
    let keys = read_by_nonce(keys)?;
    let view = |(nonce, shard): (&Nonce, &String)| {
        let (beat, addr) = shard.split_once(' ')?;
        Some(ShardView {
            nonce: *nonce,
            addr: addr.parse().ok()?,
            beat: beat.parse().ok()?,
            keys: keys.get(nonce).map_or("", String::as_str).parse().ok()?,
        })
    };
    read_by_nonce(shards)?.iter().map(view).collect()
}

/// A hash whose fields are nonces.
fn read_by_nonce(pairs: Value) -> Option<BTreeMap<Nonce, String>> {
    let flat: Vec<String> = match pairs {
        Value::Map(map) => map
            .inner()
            .into_iter()
            .flat_map(|(nonce, word)| [nonce.into_string(), word.into_string()])
            .collect::<Option<_>>()?,
        other => other
            .into_array()
            .into_iter()
            .map(Value::into_string)
            .collect::<Option<_>>()?,
    };
    let pair = |pair: &[String]| Some((Nonce(pair[0].parse().ok()?), pair[1].clone()));
    flat.chunks_exact(2).map(pair).collect()
}

fn unreadable(zone: &ZoneName) -> AuthorityError {
    AuthorityError::Unavailable(format!("the lease of zone {zone} cannot be read"))
}

impl From<RedisError> for AuthorityError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

//! A link to Redis: `fred` clients under our own rules. Their defaults wait for ever, send a write again that may have
//! taken effect, queue without a bound, and may stay dead once they have given up.
//!
//! - A command is sent once, and answered or given up within the link's time-out. While there is no connection it fails
//!   at once, so that the caller knows, instead of waiting in a queue.
//! - Only if the server itself says that it has done nothing is it sent again: an unknown script, and in a Cluster a
//!   slot that is elsewhere.
//! - An answer counts only if the connection is the one that the command was sent over: the link counts connections,
//!   before and after.
//! - A connection that had no success for long is built anew, whatever its client believes.

mod cluster;
pub(super) mod node;

use std::sync::{Arc, Weak};
use std::time::Duration;

use fred::types::Value;
use fred::types::config::{Config, ServerConfig};
use fred::types::scripts::Script;
use fred::util::redis_keyslot;
use tokio::time::Instant;

pub(super) use cluster::Cluster;
pub(super) use node::RedisNode;

use super::RedisError;
use super::thread::Thread;

/// A link to Redis. Cheap to clone.
#[derive(Clone)]
pub(super) struct RedisLink {
    thread: Arc<Thread>,
    shared: Arc<LinkShared>,
}

struct LinkShared {
    name: &'static str,
    timeout: Duration,
    servers: Servers,
}

enum Servers {
    /// One server, or whichever is the primary of a Sentinel group.
    One(Arc<RedisNode>),
    Cluster(Arc<Cluster>),
}

/// A link that does not keep itself alive.
pub(super) struct WeakLink {
    thread: Weak<Thread>,
    shared: Weak<LinkShared>,
}

impl WeakLink {
    pub(super) fn upgrade(&self) -> Option<RedisLink> {
        Some(RedisLink {
            thread: self.thread.upgrade()?,
            shared: self.shared.upgrade()?,
        })
    }
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds a password.
        f.debug_struct("RedisLink")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Connects, on `thread`. A Redis that is not there is an error now; later it is waited for.
    pub(super) async fn open(
        thread: Arc<Thread>,
        name: &'static str,
        config: Config,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let servers = thread.run(connect(name, config, timeout)).await??;
        Ok(Self {
            thread,
            shared: Arc::new(LinkShared { name, timeout, servers }),
        })
    }

    /// Runs a script on keys of one slot. After an error its outcome is unknown.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Vec<Value>, RedisError> {
        let count = i64::try_from(keys.len()).expect("a script has a handful of keys");
        let slot = redis_keyslot(keys.first().expect("a script has a key").as_bytes());
        let mut words: Vec<Value> = vec![script.sha1().clone().into(), count.into()];
        words.extend(keys.into_iter().map(Value::from));
        words.extend(args);
        let lua = script.lua().cloned();
        let shared = Arc::clone(&self.shared);
        let outcome = self.thread.run(async move {
            let deadline = Instant::now() + shared.timeout;
            match shared.command("EVALSHA", slot, words.clone(), deadline).await {
                // A Redis that restarted knows no scripts: it has done nothing, and EVAL makes the script known to it
                // again.
                Err(RedisError::Command(error)) if error.details().starts_with("NOSCRIPT") => {
                    words[0] = lua.map_or(Value::Null, Value::from);
                    shared.command("EVAL", slot, words, deadline).await
                }
                outcome => outcome,
            }
        });
        Ok(outcome.await??.into_array())
    }

    /// Runs one command whose first word is a key. After an error its outcome is unknown.
    pub(super) async fn command(&self, name: &'static str, words: Vec<Value>) -> Result<Value, RedisError> {
        let slot = words.first().and_then(Value::as_bytes).map(redis_keyslot);
        let slot = slot.expect("the first word is a key");
        let shared = Arc::clone(&self.shared);
        self.thread
            .run(async move {
                let deadline = Instant::now() + shared.timeout;
                shared.command(name, slot, words, deadline).await
            })
            .await?
    }

    /// Returns every server that takes writes now: one, or each primary of a Cluster.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<RedisNode>>, RedisError> {
        let shared = Arc::clone(&self.shared);
        self.thread.run(async move { shared.primaries() }).await
    }

    /// Runs one command at one of them, wherever its keys are.
    pub(super) async fn command_at(
        &self,
        node: &Arc<RedisNode>,
        name: &'static str,
        words: Vec<Value>,
    ) -> Result<Value, RedisError> {
        let (node, timeout) = (Arc::clone(node), self.shared.timeout);
        self.thread
            .run(async move { node.command(name, words, timeout).await })
            .await?
    }

    /// Runs a task on the link's thread, for as long as that lives.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.thread.spawn(task);
    }

    /// Returns a weak link for a task on its thread, which the link must outlive.
    pub(super) fn downgrade(&self) -> WeakLink {
        WeakLink {
            thread: Arc::downgrade(&self.thread),
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Returns the Cluster behind it, if it is one.
    pub(super) fn cluster(&self) -> Option<Arc<Cluster>> {
        match &self.shared.servers {
            Servers::One(_) => None,
            Servers::Cluster(cluster) => Some(Arc::clone(cluster)),
        }
    }
}

async fn connect(name: &'static str, config: Config, timeout: Duration) -> Result<Servers, RedisError> {
    Ok(match &config.server {
        ServerConfig::Clustered { .. } => Servers::Cluster(Cluster::open(name, config, timeout).await?),
        _ => Servers::One(
            RedisNode::open(name, config, timeout)
                .await
                .map_err(RedisError::Connect)?,
        ),
    })
}

impl LinkShared {
    async fn command(
        &self,
        name: &'static str,
        slot: u16,
        words: Vec<Value>,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        match &self.servers {
            Servers::One(node) => {
                let left = deadline.saturating_duration_since(Instant::now());
                node.command(name, words, left).await
            }
            Servers::Cluster(cluster) => cluster.command(name, slot, words, deadline).await,
        }
    }

    fn primaries(&self) -> Vec<Arc<RedisNode>> {
        match &self.servers {
            Servers::One(node) => vec![Arc::clone(node)],
            Servers::Cluster(cluster) => cluster.primaries(),
        }
    }
}

#[cfg(test)]
mod tests;

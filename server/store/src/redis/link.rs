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
//! - Writes that replicas must confirm go out in rounds, each with one `WAIT` behind them on their own connection.

mod batch;
mod cluster;
mod evaluation;
pub(super) mod node;

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fred::types::Value;
use fred::types::config::{Config, ServerConfig};
use fred::types::scripts::Script;
use fred::util::redis_keyslot;
use tokio::time::Instant;

pub(super) use cluster::Cluster;
use evaluation::Evaluation;
use node::{Certainty, Mode};
pub(super) use node::{RedisNode, wait_words};

use super::RedisError;
use crate::thread::Thread;

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
        self.run_as(script, keys, args, Certainty::Primary).await
    }

    /// Runs a script on keys of one slot. If it answers that something is done, or was done before, then so many
    /// replicas of the node have confirmed everything that the node had written by then, or it is
    /// [`RedisError::Unconfirmed`]. After an error its outcome is unknown.
    pub(super) async fn run_confirmed(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
        replicas: NonZeroU32,
    ) -> Result<Vec<Value>, RedisError> {
        self.run_as(script, keys, args, Certainty::Replicas(replicas)).await
    }

    async fn run_as(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
        certainty: Certainty,
    ) -> Result<Vec<Value>, RedisError> {
        let count = i64::try_from(keys.len()).expect("a script has a handful of keys");
        let slot = redis_keyslot(keys.first().expect("a script has a key").as_bytes());
        let mut words: Vec<Value> = vec![script.sha1().clone().into(), count.into()];
        words.extend(keys.into_iter().map(Value::from));
        words.extend(args);
        let (what, shared) = (Evaluation::Script(script.clone()), Arc::clone(&self.shared));
        let outcome = self.thread.run(async move {
            let deadline = Instant::now() + shared.timeout;
            shared.run_one(what, slot, words, certainty, deadline).await
        });
        Ok(outcome.await??.into_array())
    }

    /// Runs a script on one key each, in one round trip to each node. Returns the outcomes in order; after an error one
    /// is unknown.
    pub(super) async fn run_each(
        &self,
        script: &Script,
        calls: Vec<(String, Vec<Value>)>,
    ) -> Vec<Result<Value, RedisError>> {
        let words = |(key, args): (String, Vec<Value>)| {
            let slot = redis_keyslot(key.as_bytes());
            let mut words: Vec<Value> = vec![script.sha1().clone().into(), 1.into(), key.into()];
            words.extend(args);
            (slot, words)
        };
        let calls = calls.into_iter().map(words).collect();
        self.run_many(Evaluation::Script(script.clone()), calls, self.shared.timeout)
            .await
    }

    /// Runs a command on one key each, with the same words after it, in one round trip to each node, for `max` at most.
    /// Returns the outcomes in order; after an error one is unknown.
    pub(super) async fn command_each(
        &self,
        name: &'static str,
        keys: Vec<String>,
        args: &[Value],
        max: Duration,
    ) -> Vec<Result<Value, RedisError>> {
        let words = |key: String| {
            let slot = redis_keyslot(key.as_bytes());
            let mut words: Vec<Value> = vec![key.into()];
            words.extend_from_slice(args);
            (slot, words)
        };
        let calls = keys.into_iter().map(words).collect();
        self.run_many(Evaluation::Command(name), calls, max).await
    }

    async fn run_many(
        &self,
        what: Evaluation,
        commands: Vec<(u16, Vec<Value>)>,
        max: Duration,
    ) -> Vec<Result<Value, RedisError>> {
        let (shared, count) = (Arc::clone(&self.shared), commands.len());
        let outcomes = self.thread.run(async move {
            let deadline = Instant::now() + max;
            shared.run_many(what, commands, deadline).await
        });
        match outcomes.await {
            Ok(outcomes) => outcomes,
            Err(error) => (0..count).map(|_| Err(error.clone().into())).collect(),
        }
    }

    /// Returns a number of the node that serves a key, as far as it is known.
    pub(super) fn node_of(&self, key: &str) -> u64 {
        match &self.shared.servers {
            Servers::One(_) => 0,
            Servers::Cluster(cluster) => cluster.number_of(redis_keyslot(key.as_bytes())),
        }
    }

    /// Runs one command whose first word is a key. After an error its outcome is unknown.
    pub(super) async fn command(&self, name: &'static str, words: Vec<Value>) -> Result<Value, RedisError> {
        let slot = words.first().and_then(Value::as_bytes).map(redis_keyslot);
        let slot = slot.expect("the first word is a key");
        let shared = Arc::clone(&self.shared);
        self.thread
            .run(async move {
                let deadline = Instant::now() + shared.timeout;
                shared.command(name, slot, words, Certainty::Primary, deadline).await
            })
            .await?
    }

    /// Returns every server that takes writes now: one, or each primary of a Cluster.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<RedisNode>>, RedisError> {
        let shared = Arc::clone(&self.shared);
        Ok(self.thread.run(async move { shared.primaries() }).await?)
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

    /// Returns a hash of the servers that take writes, and of the connections to them: another one, and a server was
    /// replaced or restarted, or its connection was lost.
    pub(super) fn servers_hash(&self) -> u64 {
        match &self.shared.servers {
            Servers::One(node) => node.generation(),
            Servers::Cluster(cluster) => cluster.servers_hash(),
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
    /// Runs a command or a script at the node of a slot.
    async fn run_one(
        &self,
        what: Evaluation,
        slot: u16,
        words: Vec<Value>,
        certainty: Certainty,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        let outcome = self
            .command(what.name(), slot, words.clone(), certainty, deadline)
            .await;
        if Evaluation::is_unknown_script(&outcome) {
            let (name, words) = what.with_text(words);
            return self.command(name, slot, words, certainty, deadline).await;
        }
        outcome
    }

    async fn command(
        &self,
        name: &'static str,
        slot: u16,
        words: Vec<Value>,
        certainty: Certainty,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        match &self.servers {
            Servers::One(node) => node.send(name, words, Mode::Plain, certainty, deadline).await,
            Servers::Cluster(cluster) => cluster.command(name, slot, words, certainty, deadline).await,
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

//! A Cluster as a link sees it: which node serves which slot, and one connection to each primary.
//!
//! The client's own way through a Cluster is not used: it has one queue for all nodes, and one node that moves a slot,
//! or is gone, holds up that queue until the client has learnt the Cluster's new shape. Here each node is a connection
//! of its own, so that a zone waits for no node but its own.
//!
//! `MOVED`, `ASK`, and `TRYAGAIN` are the word of a node that it has done nothing: the command goes again, for as long
//! as the link's time-out allows. Every other error is unknown to the caller, as everywhere; it also makes the Cluster
//! be asked for its shape.

mod redirection;
mod shape;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use everhold_os::vital;
use fred::error::{Error, ErrorKind};
use fred::types::Value;
use fred::types::config::{Config, Server, ServerConfig};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::node::{Certainty, Mode, RedisNode, is_silence};
use crate::redis::RedisError;
pub(super) use redirection::Redirection;
use shape::Shape;

/// Period at which the Cluster is asked for its shape, whatever happens: a node that joined is found before it is
/// needed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Least pause between two such looks, however many commands fail.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// First pause before a node that says "try again" (some keys of the slot have moved, some have not) is asked again;
/// each one is twice as long.
const AGAIN_MIN: Duration = Duration::from_millis(2);
/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_millis(50);

/// Number of redirections in a row that are followed at once; two nodes that name each other are asked at the pace
/// above.
const HOPS_AT_ONCE: u32 = 2;

/// A Redis Cluster: its nodes, and which of them serves which slot.
pub(in crate::redis) struct Cluster {
    link: &'static str,
    config: Config,
    /// Servers at which the Cluster was found, and is looked for if no known node answers.
    seeds: Vec<Server>,
    timeout: Duration,
    shape: RwLock<Shape>,
    nodes: Mutex<HashMap<Server, Arc<RedisNode>>>,
    /// Wakes the look at the shape: it may be another one by now.
    stale: Arc<Notify>,
}

impl Cluster {
    /// Finds the Cluster at any of its nodes.
    pub(super) async fn open(link: &'static str, config: Config, timeout: Duration) -> Result<Arc<Self>, RedisError> {
        let seeds = config.server.hosts();
        let cluster = Arc::new(Self {
            link,
            config,
            seeds,
            timeout,
            shape: RwLock::default(),
            nodes: Mutex::default(),
            stale: Arc::new(Notify::new()),
        });
        cluster.find().await?;
        for node in cluster.primaries() {
            node.ready(timeout).await;
        }
        // Without it no node that took over would ever be found.
        vital::spawn(
            "watch of a Cluster",
            watch(Arc::downgrade(&cluster), Arc::clone(&cluster.stale)),
        );
        Ok(cluster)
    }

    /// Runs a command at the node that serves `slot`.
    pub(super) async fn command(
        &self,
        name: &'static str,
        slot: u16,
        words: Vec<Value>,
        certainty: Certainty,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        let (mut named, mut mode, mut hops, mut pause) = (None, Mode::Plain, 0, AGAIN_MIN);
        loop {
            let server = match named.take() {
                Some(server) => server,
                None => self.server_of(slot)?,
            };
            let node = self.node(&server)?;
            node.ready(deadline.saturating_duration_since(Instant::now())).await;
            let outcome = node.send(name, words.clone(), mode, certainty, deadline).await;
            mode = Mode::Plain;
            let Err(RedisError::Command(error)) = &outcome else {
                return outcome;
            };
            match Redirection::read(error.details(), &server) {
                Some(Redirection::Moved { slot, to }) => {
                    self.note_moved(slot, to.clone());
                    named = Some(to);
                    hops += 1;
                }
                Some(Redirection::Ask { to }) => {
                    named = Some(to);
                    mode = Mode::Asking;
                    hops += 1;
                }
                Some(Redirection::TryAgain) => hops = HOPS_AT_ONCE + 1,
                None => {
                    if is_silence(error) || error.kind() == &ErrorKind::Cluster {
                        self.stale.notify_one();
                    }
                    return outcome;
                }
            }
            if hops > HOPS_AT_ONCE {
                if Instant::now() + pause >= deadline {
                    return outcome;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(AGAIN_MAX);
            }
        }
    }

    /// Returns every primary that serves a slot. Must be called on the link's thread.
    pub(super) fn primaries(&self) -> Vec<Arc<RedisNode>> {
        let nodes = self.servers().into_iter().map(|server| self.node(&server));
        // A node that cannot even be dialled is told of where it is asked something.
        nodes.filter_map(Result::ok).collect()
    }

    /// Returns the addresses of the primaries.
    pub(in crate::redis) fn servers(&self) -> Vec<Server> {
        self.read_shape().primaries()
    }

    /// Returns a number of the node that serves a slot, as far as it is known.
    pub(super) fn number_of(&self, slot: u16) -> u64 {
        self.read_shape().owner(slot).map_or(0, |server| {
            BuildHasherDefault::<DefaultHasher>::default().hash_one((&server.host, server.port))
        })
    }

    /// Returns a hash of the nodes and of the connections to them.
    pub(super) fn servers_hash(&self) -> u64 {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = |(server, node): (&Server, &Arc<RedisNode>)| {
            let connection = (&server.host, server.port, node.generation());
            BuildHasherDefault::<DefaultHasher>::default().hash_one(connection)
        };
        nodes.iter().map(hash).fold(0, u64::wrapping_add)
    }

    fn read_shape(&self) -> std::sync::RwLockReadGuard<'_, Shape> {
        self.shape.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server of a slot, as far as it is known.
    pub(super) fn server_of(&self, slot: u16) -> Result<Server, RedisError> {
        self.read_shape().owner(slot).ok_or_else(|| {
            self.stale.notify_one();
            RedisError::Command(Error::new(
                ErrorKind::Cluster,
                "no node of the Cluster serves this slot",
            ))
        })
    }

    /// Returns the connection to a node; the first call begins it. Must be called on the link's thread.
    pub(super) fn node(&self, server: &Server) -> Result<Arc<RedisNode>, RedisError> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(server) {
            return Ok(Arc::clone(node));
        }
        let node = RedisNode::start(self.link, self.config_of(server), self.timeout).map_err(RedisError::Connect)?;
        nodes.insert(server.clone(), Arc::clone(&node));
        Ok(node)
    }

    /// Makes the configuration of a connection to one of its nodes.
    pub(in crate::redis) fn config_of(&self, server: &Server) -> Config {
        Config {
            server: ServerConfig::Centralized { server: server.clone() },
            ..self.config.clone()
        }
    }

    fn note_moved(&self, slot: u16, to: Server) {
        let mut shape = self.shape.write().unwrap_or_else(PoisonError::into_inner);
        shape.note_moved(slot, to);
        drop(shape);
        self.stale.notify_one();
    }

    /// Asks the seeds, one after the other.
    async fn find(&self) -> Result<(), RedisError> {
        let mut last = RedisError::Url("it names no node".to_owned());
        for seed in &self.seeds {
            let node = match RedisNode::open(self.link, self.config_of(seed), self.timeout).await {
                Ok(node) => node,
                Err(error) => {
                    last = RedisError::Connect(error);
                    continue;
                }
            };
            match ask(&node, seed, self.timeout).await {
                Ok(shape) => {
                    let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(deaf) = nodes.insert(seed.clone(), node) {
                        deaf.quit();
                    }
                    drop(nodes);
                    self.take(shape);
                    return Ok(());
                }
                Err(error) => {
                    node.quit();
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Asks all known nodes at once; the first answer counts.
    async fn look(&self) {
        let nodes: Vec<(Server, Arc<RedisNode>)> = {
            let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().map(|(s, n)| (s.clone(), Arc::clone(n))).collect()
        };
        let mut asked = JoinSet::new();
        for (server, node) in nodes {
            let timeout = self.timeout;
            asked.spawn(async move { ask(&node, &server, timeout).await });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(shape)) => return self.take(shape),
                Ok(Err(error)) => tracing::debug!(link = self.link, %error, "a node does not tell the Cluster's shape"),
                Err(error) => tracing::debug!(link = self.link, %error, "a question was given up"),
            }
        }
        if let Err(error) = self.find().await {
            tracing::debug!(link = self.link, %error, "no node tells the Cluster's shape");
        }
    }

    /// Goes by a new shape; connections to nodes that serve nothing any more end.
    fn take(&self, shape: Shape) {
        let primaries = shape.primaries();
        *self.shape.write().unwrap_or_else(PoisonError::into_inner) = shape;
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|server, node| {
            let serves = primaries.contains(server);
            if !serves {
                node.quit();
            }
            serves
        });
        drop(nodes);
        for server in primaries {
            if let Err(error) = self.node(&server) {
                tracing::warn!(link = self.link, %server, %error, "a node of the Cluster cannot be dialled");
            }
        }
    }
}

/// Looks at the Cluster's shape for as long as there is a link.
async fn watch(cluster: Weak<Cluster>, stale: Arc<Notify>) {
    loop {
        // Told, or it is time.
        let _in_time = tokio::time::timeout(LOOK_EVERY, stale.notified()).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.look().await;
        drop(cluster);
        tokio::time::sleep(LOOK_MIN).await;
    }
}

/// Asks a node for the Cluster's shape.
async fn ask(node: &RedisNode, server: &Server, timeout: Duration) -> Result<Shape, RedisError> {
    let answer = node.command("CLUSTER", vec!["SLOTS".into()], timeout).await?;
    Shape::read(answer, server)
        .ok_or_else(|| RedisError::Answer("a Cluster whose nodes do not know each other".to_owned()))
}

//! One connection of a link: to a server, to the primary of a Sentinel group, or to a node of a Cluster.

mod rounds;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use everhold_os::vital;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, Options, PerformanceConfig, ReconnectError, ReconnectPolicy, Server, TcpConfig,
    UnresponsiveConfig,
};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use tokio::task::AbortHandle;

use crate::redis::RedisError;
pub(in crate::redis) use rounds::wait_words;
use rounds::{Rounds, UnconfirmedWrite};

/// Bound on the commands that wait in a link: a zone has a handful under way, a thousand log-ins one each.
const COMMANDS_MAX: usize = 4_096;

/// Pause before a lost connection is dialled again, ms: a Redis that restarts is back within a few of these.
const RECONNECT_MS: u32 = 50;

/// Longest wait for a connection and the first commands on it. Loopback and a data centre need a hundredth of it.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Shortest time-out of a command, also of a caller that has no time left.
const ANSWER_MIN: Duration = Duration::from_millis(1);

/// Time after which a connection that owes an answer is replaced: its peer may be a host that is gone and sends no
/// reset.
const UNRESPONSIVE_MAX: Duration = Duration::from_secs(2);
/// Period of the looks at that.
const UNRESPONSIVE_LOOK: Duration = Duration::from_millis(250);

/// Time without a success after which a connection is built anew, if it was asked meanwhile.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(5);
/// Period of the looks at that.
const DEAD_LOOK: Duration = Duration::from_millis(500);

/// The form in which a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it is.
    Plain,
    /// After an `ASKING`: the node is to serve a slot that is still being moved to it.
    Asking,
}

/// The moment at which the answer to a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// As soon as the server gives it.
    Primary,
    /// Once so many replicas have confirmed it; an answer that says that nothing was done counts at once.
    Replicas(NonZeroU32),
}

/// One server, under the rules of the module above.
pub(in crate::redis) struct RedisNode {
    link: &'static str,
    config: Config,
    timeout: Duration,
    connection: RwLock<Connection>,
    /// The moment since which nothing has worked.
    failing_since: Mutex<Option<Instant>>,
    /// The writes that replicas must confirm.
    rounds: Rounds,
}

/// A client, and the number of its connection: another one, and it has lost what was in flight.
#[derive(Clone)]
struct Connection {
    client: Client,
    generation: Arc<AtomicU64>,
    /// The task that dials for the client. A client that is told to quit while it dials does not hear of it.
    dialler: AbortHandle,
}

impl Connection {
    /// Ends the client once what is in flight is answered.
    async fn end(self) {
        // An error is that of a client that cannot be told.
        let _untold = self.client.quit().await;
        self.dialler.abort();
    }
}

impl RedisNode {
    /// Connects. A server that is not there is an error now; later it is waited for.
    pub(super) async fn open(link: &'static str, config: Config, timeout: Duration) -> Result<Arc<Self>, Error> {
        let connection = connect(config.clone(), timeout, 0).await?;
        Ok(Self::with(link, config, timeout, connection))
    }

    /// Begins to connect, and goes on trying. Must be called on the link's thread.
    pub(super) fn start(link: &'static str, mut config: Config, timeout: Duration) -> Result<Arc<Self>, Error> {
        config.fail_fast = false;
        let connection = dial(config.clone(), timeout)?;
        Ok(Self::with(link, config, timeout, connection))
    }

    fn with(link: &'static str, config: Config, timeout: Duration, connection: Connection) -> Arc<Self> {
        let node = Arc::new(Self {
            link,
            config,
            timeout,
            connection: RwLock::new(connection),
            failing_since: Mutex::default(),
            rounds: Rounds::default(),
        });
        // Without it a connection that is stuck would be so for ever.
        vital::spawn("watch of a link to Redis", watch(Arc::downgrade(&node)));
        node
    }

    /// Returns the server that it is connected to, or that is looked for.
    pub(in crate::redis) fn server(&self) -> Server {
        let connected = self.connection().client.active_connections().pop();
        let configured = || self.config.server.hosts().into_iter().next();
        connected.or_else(configured).expect("a configuration names a server")
    }

    /// Returns the number of its connection: a new one may lead to another server (Sentinel), or to one that restarted.
    pub(in crate::redis) fn generation(&self) -> u64 {
        self.connection().generation.load(Ordering::Acquire)
    }

    /// Waits until it is connected, for `max` at most. One that was connected before is not waited for.
    pub(super) async fn ready(&self, max: Duration) {
        let client = self.connection().client;
        if self.generation() == 0 && !client.is_connected() {
            // A command that finds no connection says so.
            let _late = tokio::time::timeout(max, client.wait_for_connect()).await;
        }
    }

    /// Sends one command, once, and waits for its answer for `max` at most. After an error its outcome is unknown,
    /// unless the error is the server's own word that it has done nothing.
    pub(in crate::redis) async fn command(
        &self,
        name: &'static str,
        words: Vec<Value>,
        max: Duration,
    ) -> Result<Value, RedisError> {
        self.send_plainly(name, words, Mode::Plain, max).await
    }

    /// Sends one command, once, and waits until its answer counts, or until the deadline. After an error its outcome is
    /// unknown, as with [`RedisNode::command`].
    pub(super) async fn send(
        &self,
        name: &'static str,
        words: Vec<Value>,
        mode: Mode,
        certainty: Certainty,
        deadline: tokio::time::Instant,
    ) -> Result<Value, RedisError> {
        match certainty {
            Certainty::Primary => {
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                self.send_plainly(name, words, mode, left).await
            }
            Certainty::Replicas(replicas) => {
                let write = UnconfirmedWrite {
                    name,
                    words,
                    mode,
                    replicas,
                    deadline,
                };
                self.send_confirmed(write).await
            }
        }
    }

    async fn send_plainly(
        &self,
        name: &'static str,
        words: Vec<Value>,
        mode: Mode,
        max: Duration,
    ) -> Result<Value, RedisError> {
        let connection = self.connection();
        let before = connection.generation.load(Ordering::Acquire);
        let client = connection.client.with_options(&options(max));
        let outcome: Result<Value, Error> = match mode {
            Mode::Plain => client.custom(custom(name), words).await,
            Mode::Asking => {
                // Nobody else's command may come between the two.
                let both = Pipeline::from(client);
                let _queued: Value = both
                    .custom(custom("ASKING"), Vec::<Value>::new())
                    .await
                    .map_err(RedisError::Command)?;
                let _queued: Value = both.custom(custom(name), words).await.map_err(RedisError::Command)?;
                let lost = || Err(Error::new(fred::error::ErrorKind::Unknown, "no answer"));
                both.try_all::<Value>().await.pop().unwrap_or_else(lost)
            }
        };
        if outcome.is_ok() && connection.generation.load(Ordering::Acquire) != before {
            return Err(RedisError::Replaced);
        }
        self.note(&outcome);
        outcome.map_err(RedisError::Command)
    }

    /// Sends commands in one go, each once, and waits for all answers for `max` at most. Returns their outcomes, in
    /// order.
    pub(super) async fn send_many(
        &self,
        name: &'static str,
        commands: Vec<Vec<Value>>,
        max: Duration,
    ) -> Vec<Result<Value, RedisError>> {
        let (connection, count) = (self.connection(), commands.len());
        let before = connection.generation.load(Ordering::Acquire);
        let pipeline = Pipeline::from(connection.client.with_options(&options(max)));
        for words in commands {
            // It is only queued here, which cannot fail.
            let _queued: Result<Value, Error> = pipeline.custom(custom(name), words).await;
        }
        let mut outcomes = pipeline.try_all::<Value>().await;
        if outcomes.len() != count {
            // One error stands for all.
            let lost = || Error::new(fred::error::ErrorKind::Unknown, "no answer");
            let error = outcomes.pop().and_then(Result::err).unwrap_or_else(lost);
            outcomes = (0..count).map(|_| Err(error.clone())).collect();
        }
        if connection.generation.load(Ordering::Acquire) != before {
            let replaced = |outcome: Result<Value, Error>| match outcome {
                Ok(_) => Err(RedisError::Replaced),
                Err(error) => Err(RedisError::Command(error)),
            };
            return outcomes.into_iter().map(replaced).collect();
        }
        if let Some(outcome) = outcomes.first() {
            self.note(outcome);
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.map_err(RedisError::Command))
            .collect()
    }

    /// Ends its connection once what is in flight is answered.
    pub(super) fn quit(&self) {
        tokio::spawn(self.connection().end());
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.connection().dialler.is_finished()
    }

    #[cfg(test)]
    pub(super) fn client(&self) -> Client {
        self.connection().client
    }

    fn connection(&self) -> Connection {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the outcome of a command. An error that Redis itself answered is a sign of life, too.
    fn note(&self, outcome: &Result<Value, Error>) {
        let is_alive = match outcome {
            Ok(_) => true,
            Err(error) => !is_silence(error),
        };
        let mut failing_since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if is_alive {
            *failing_since = None;
        } else {
            failing_since.get_or_insert_with(Instant::now);
        }
    }

    fn is_dead(&self) -> bool {
        let failing_since = *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        failing_since.is_some_and(|since| since.elapsed() >= DEAD_AFTER)
    }
}

fn options(max: Duration) -> Options {
    Options {
        max_attempts: Some(1),
        // To the client zero means for ever.
        timeout: Some(max.max(ANSWER_MIN)),
        fail_fast: true,
        ..Options::default()
    }
}

/// Makes a command of a node's own client, which has one connection: it looks at no slot.
fn custom(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

/// Whether an error means that the server gave no answer at all.
pub(super) fn is_silence(error: &Error) -> bool {
    use fred::error::ErrorKind::{Backpressure, Canceled, IO, Routing, Timeout};
    matches!(error.kind(), Backpressure | Canceled | IO | Routing | Timeout)
}

/// Looks after a connection for as long as there is a handle of it.
async fn watch(node: Weak<RedisNode>) {
    loop {
        tokio::time::sleep(DEAD_LOOK).await;
        let Some(node) = node.upgrade() else { return };
        if !node.is_dead() {
            continue;
        }
        let mut config = node.config.clone();
        // The loop tries again itself.
        config.fail_fast = true;
        match connect(config, node.timeout, node.generation() + 1).await {
            Ok(connection) => {
                let (link, server) = (node.link, node.server());
                tracing::warn!(
                    link,
                    %server,
                    "nothing has worked for a while: the link to Redis is built anew"
                );
                let mut slot = node.connection.write().unwrap_or_else(PoisonError::into_inner);
                let old = std::mem::replace(&mut *slot, connection);
                drop(slot);
                *node.failing_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // What is in flight over it fails now. A client that cannot even quit is dropped.
                old.generation.fetch_add(1, Ordering::Release);
                tokio::spawn(old.end());
            }
            Err(error) => tracing::debug!(link = node.link, server = %node.server(), %error, "Redis is not back yet"),
        }
    }
}

/// Makes a client and waits until it is connected.
async fn connect(config: Config, timeout: Duration, generation: u64) -> Result<Connection, Error> {
    let client = builder(config, timeout).build()?;
    let generation = Arc::new(AtomicU64::new(generation));
    let dialler = client.init().await?.abort_handle();
    count_connections(&client, &generation);
    Ok(Connection {
        client,
        generation,
        dialler,
    })
}

/// Makes a client that connects as soon as it can.
fn dial(config: Config, timeout: Duration) -> Result<Connection, Error> {
    let client = builder(config, timeout).build()?;
    let generation = Arc::new(AtomicU64::new(0));
    let dialler = client.connect().abort_handle();
    // The first connection counts as well: it is up before anything is sent over it.
    count_connections(&client, &generation);
    Ok(Connection {
        client,
        generation,
        dialler,
    })
}

/// Counts a client's connections until it quits.
fn count_connections(client: &Client, generation: &Arc<AtomicU64>) {
    let (mut lost, mut replaced) = (client.error_rx(), client.reconnect_rx());
    let counted = Arc::clone(generation);
    tokio::spawn(async move {
        use tokio::sync::broadcast::error::RecvError::Closed;
        loop {
            let is_over = tokio::select! {
                event = lost.recv() => matches!(event, Err(Closed)),
                event = replaced.recv() => matches!(event, Err(Closed)),
            };
            if is_over {
                return;
            }
            counted.fetch_add(1, Ordering::Release);
        }
    });
}

/// Makes the settings of a client: every one that matters, none left to a default.
pub(in crate::redis) fn builder(config: Config, timeout: Duration) -> Builder {
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_MS))
        .set_performance_config(PerformanceConfig {
            default_command_timeout: timeout,
            ..PerformanceConfig::default()
        })
        .set_connection_config(ConnectionConfig {
            connection_timeout: CONNECT_MAX,
            internal_command_timeout: CONNECT_MAX,
            max_command_attempts: 1,
            max_command_buffer_len: COMMANDS_MAX,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE_MAX),
                interval: UNRESPONSIVE_LOOK,
            },
            reconnect_on_auth_error: true,
            tcp: TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            },
            // Answers of a server that is not, or not yet, the one to ask.
            reconnect_errors: vec![
                ReconnectError::ClusterDown,
                ReconnectError::Loading,
                ReconnectError::MasterDown,
                ReconnectError::ReadOnly,
            ],
            ..ConnectionConfig::default()
        });
    builder
}

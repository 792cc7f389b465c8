//! A link to Redis: one `fred` client under our own rules. Its defaults wait for ever, send a write again that may have taken effect, queue
//! without a bound, and may stay dead once they have given up.
//!
//! - A command is sent once, and answered or given up within the link's time-out. While there is no connection it fails at once, so that
//!   whoever asks knows, instead of waiting in a queue.
//! - An answer counts only if the connection is the one that the command was sent over: the link counts connections, before and after.
//! - A link that had no success for long is built anew, whatever its client believes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, Options, PerformanceConfig, ReconnectError, ReconnectPolicy, TcpConfig,
    UnresponsiveConfig,
};
use fred::types::scripts::Script;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

use super::RedisError;
use super::thread::Thread;

/// Commands that wait in a link: a zone has a handful under way, a thousand log-ins one each.
const COMMANDS_MAX: usize = 4_096;

/// A lost connection is dialled again this often, ms: a Redis that restarts is back within a few of these.
const RECONNECT_MS: u32 = 50;

/// Dialling, and the first words on a new connection. Loopback and a data centre need a hundredth of it.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A connection that owes an answer for this long is replaced: its peer may be a host that is gone and sends no reset.
const UNRESPONSIVE_MAX: Duration = Duration::from_secs(2);
/// How often that is looked at.
const UNRESPONSIVE_LOOK: Duration = Duration::from_millis(250);

/// A link that asked for this long and had no success is built anew.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How often that is looked at.
const DEAD_LOOK: Duration = Duration::from_millis(500);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    thread: Arc<Thread>,
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    config: Config,
    timeout: Duration,
    connection: RwLock<Connection>,
    /// Since when nothing has worked.
    failing_since: Mutex<Option<Instant>>,
}

/// A client, and the number of its connection: another one, and it has lost what was in flight.
#[derive(Clone)]
struct Connection {
    client: Client,
    generation: Arc<AtomicU64>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds a password.
        f.debug_struct("Link")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, on `thread`. A Redis that is not there is an error now; later it is waited for.
    pub(super) async fn open(
        thread: Arc<Thread>,
        name: &'static str,
        config: Config,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let connection = thread
            .run(connect(config.clone(), timeout))
            .await?
            .map_err(RedisError::Connect)?;
        let shared = Arc::new(Shared {
            name,
            config,
            timeout,
            connection: RwLock::new(connection),
            failing_since: Mutex::default(),
        });
        thread.spawn(watch(Arc::downgrade(&shared)));
        Ok(Self { thread, shared })
    }

    /// Runs a script on keys of one slot. After an error its outcome is unknown.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Vec<Value>, RedisError> {
        let count = i64::try_from(keys.len()).expect("a script has a handful of keys");
        let mut words: Vec<Value> = vec![script.sha1().clone().into(), count.into()];
        words.extend(keys.into_iter().map(Value::from));
        words.extend(args);
        let by_key = ClusterHash::Offset(2);
        let outcome = match self.command("EVALSHA", by_key.clone(), words.clone()).await {
            // A Redis that restarted knows no scripts: it has done nothing, and EVAL makes the script known to it again.
            Err(RedisError::Command(error)) if error.details().starts_with("NOSCRIPT") => {
                words[0] = script.lua().cloned().map_or(Value::Null, Value::from);
                self.command("EVAL", by_key, words).await
            }
            outcome => outcome,
        };
        Ok(outcome?.into_array())
    }

    /// Runs one command, found by its first key. After an error its outcome is unknown.
    pub(super) async fn command(
        &self,
        name: &'static str,
        slot: ClusterHash,
        words: Vec<Value>,
    ) -> Result<Value, RedisError> {
        let shared = Arc::clone(&self.shared);
        self.thread
            .run(async move { shared.command(name, slot, words).await })
            .await?
    }
}

impl Shared {
    async fn command(&self, name: &'static str, slot: ClusterHash, words: Vec<Value>) -> Result<Value, RedisError> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        let options = Options {
            max_attempts: Some(1),
            timeout: Some(self.timeout),
            fail_fast: true,
            ..Options::default()
        };
        let before = connection.generation.load(Ordering::Acquire);
        let client = connection.client.with_options(&options);
        let outcome: Result<Value, Error> = client.custom(CustomCommand::new_static(name, slot, false), words).await;
        if outcome.is_ok() && connection.generation.load(Ordering::Acquire) != before {
            return Err(RedisError::Replaced);
        }
        self.note(&outcome);
        outcome.map_err(RedisError::Command)
    }

    /// An error that Redis itself answered is a sign of life, too.
    fn note(&self, outcome: &Result<Value, Error>) {
        use fred::error::ErrorKind::{Backpressure, Canceled, IO, Routing, Timeout};
        let is_alive = match outcome {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), Backpressure | Canceled | IO | Routing | Timeout),
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

/// Looks after a link for as long as somebody has it.
async fn watch(link: Weak<Shared>) {
    loop {
        tokio::time::sleep(DEAD_LOOK).await;
        let Some(shared) = link.upgrade() else { return };
        if !shared.is_dead() {
            continue;
        }
        match connect(shared.config.clone(), shared.timeout).await {
            Ok(connection) => {
                tracing::warn!(
                    link = shared.name,
                    "nothing has worked for a while: the link to Redis is built anew"
                );
                let mut slot = shared.connection.write().unwrap_or_else(PoisonError::into_inner);
                let old = std::mem::replace(&mut *slot, connection);
                drop(slot);
                *shared.failing_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // What is in flight over it fails now. A client that cannot even quit is dropped.
                old.generation.fetch_add(1, Ordering::Release);
                tokio::spawn(async move { old.client.quit().await });
            }
            Err(error) => tracing::debug!(link = shared.name, %error, "Redis is not back yet"),
        }
    }
}

/// A client that is connected.
async fn connect(config: Config, timeout: Duration) -> Result<Connection, Error> {
    let client = builder(config, timeout).build()?;
    let generation = Arc::new(AtomicU64::new(0));
    let _connects_until_quit = client.init().await?;
    let (mut lost, mut replaced) = (client.error_rx(), client.reconnect_rx());
    let counted = Arc::clone(&generation);
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
    Ok(Connection { client, generation })
}

/// Every setting that matters, none left to a default.
pub(super) fn builder(config: Config, timeout: Duration) -> Builder {
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

#[cfg(test)]
mod tests;

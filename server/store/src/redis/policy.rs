//! Whether Redis keeps what it is given: its age, that it evicts no keys, and at level `replica` that it takes no
//! writes without its replicas. Asked at the start of every server that takes writes, and again of each that begins to:
//! a promoted replica has a configuration of its own.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::RedisError;
use super::link::{RedisLink, RedisNode, WeakLink};
use super::replication::{self, Guard};
use super::setting::setting;

/// The oldest server that is tried and known to have everything that is used here.
const VERSION_MIN: (u32, u32) = (6, 0);

/// Period of the looks whether another server takes the writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Period at which all servers are asked again: an operator may change a policy while a server runs.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// The policy of a server whose memory is full.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Policy {
    /// It refuses writes.
    Keeps,
    /// It throws keys away.
    Evicts(String),
    /// It is not known.
    Untold,
}

/// Refuses servers that are too old, that may evict keys, or that have fewer replicas. Of a Cluster's nodes one that
/// does not answer is asked later, by [`watch`].
pub(super) async fn check(link: &RedisLink, replicas: Option<NonZeroU32>) -> Result<(), RedisError> {
    let nodes = link.primaries().await?;
    let mut silent = 0;
    for node in &nodes {
        match check_node(link, node, replicas).await {
            Err(RedisError::Command(error)) if silent + 1 < nodes.len() => {
                silent += 1;
                tracing::warn!(server = %node.server(), %error, "a node of the Cluster does not answer");
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

async fn check_node(link: &RedisLink, node: &Arc<RedisNode>, replicas: Option<NonZeroU32>) -> Result<(), RedisError> {
    check_version(link, node).await?;
    match ask(link, node).await? {
        Policy::Keeps => {}
        Policy::Evicts(policy) => {
            let server = node.server();
            return Err(RedisError::Evicts {
                policy,
                host: server.host.to_string(),
                port: server.port,
            });
        }
        Policy::Untold => tracing::warn!(
            server = %node.server(),
            "Redis does not let us read whether it evicts keys: make sure that maxmemory-policy is noeviction"
        ),
    }
    match replicas {
        None => Ok(()),
        Some(replicas) => replication::check(link, node, replicas).await,
    }
}

async fn check_version(link: &RedisLink, node: &Arc<RedisNode>) -> Result<(), RedisError> {
    let info = link.command_at(node, "INFO", vec!["server".into()]).await?;
    let info = info.into_string().unwrap_or_default();
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or("unknown")
        .trim();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN {
        return Err(RedisError::Version(version.to_owned()));
    }
    Ok(())
}

async fn ask(link: &RedisLink, node: &Arc<RedisNode>) -> Result<Policy, RedisError> {
    Ok(match setting(link, node, "maxmemory-policy").await? {
        Some(policy) if policy == "noeviction" => Policy::Keeps,
        Some(policy) => Policy::Evicts(policy),
        None => Policy::Untold,
    })
}

/// The state of a server when it was asked last.
struct KnownServer {
    /// The number of the connection over which it was asked.
    generation: u64,
    policy: Policy,
    guard: Guard,
}

/// Looks at the policies for as long as there is a link. A wrong one is said once, and once more when it is mended.
pub(super) async fn watch(link: WeakLink, replicas: Option<NonZeroU32>) {
    let mut known: BTreeMap<String, KnownServer> = BTreeMap::new();
    let mut ask_all_at = Instant::now() + ASK_EVERY;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(link) = link.upgrade() else { return };
        let Ok(nodes) = link.primaries().await else { return };
        let all = Instant::now() >= ask_all_at;
        if all {
            ask_all_at = Instant::now() + ASK_EVERY;
        }
        for node in nodes {
            let (server, generation) = (node.server().to_string(), node.generation());
            if !all && known.get(&server).is_some_and(|known| known.generation == generation) {
                continue;
            }
            // A server that does not answer is asked again at the next look.
            let Ok(policy) = ask(&link, &node).await else {
                continue;
            };
            let guard = match replicas {
                None => Guard::Guarded,
                Some(replicas) => match replication::ask(&link, &node, replicas).await {
                    Ok(guard) => guard,
                    Err(_) => continue,
                },
            };
            let now = KnownServer {
                generation,
                policy: policy.clone(),
                guard: guard.clone(),
            };
            let before = known.insert(server.clone(), now);
            let (policy_before, guard_before) =
                before.map_or((Policy::Keeps, Guard::Guarded), |before| (before.policy, before.guard));
            tell_change(&server, policy_before, policy);
            replication::tell_change(&server, guard_before, guard);
        }
    }
}

fn tell_change(server: &str, before: Policy, now: Policy) {
    match (before, now) {
        (before, now) if before == now => {}
        (_, Policy::Evicts(policy)) => tracing::error!(
            server,
            policy,
            "Redis may evict keys, which would lose worlds: set its maxmemory-policy to noeviction"
        ),
        (Policy::Evicts(_), Policy::Keeps) => tracing::info!(server, "Redis keeps all keys again"),
        _ => {}
    }
}

//! A look at the leases. In a Cluster each lies on some node, and one that does not answer holds up its own zones
//! alone: all are asked for at once, in one round trip to each node, and what cannot be read is told apart. The list of
//! zones lies on a node, too; while that one does not answer, the zones of the look before are asked for.
//!
//! A look takes no longer than its bound, however many zones there are. What was not read in it is asked for first in
//! the next one: where only a part fits, each zone has its turn.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everhold_core::ownership::authority::{AuthorityError, LeaseView, Leases};
use everhold_core::ownership::grant::Nonce;
use everhold_protocol::{Epoch, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::RedisAuthority;
use crate::redis::RedisError;

/// The fields of a lease, in the order of `lua/lease_common.lua`.
const FIELDS: [&str; 8] = [
    "epoch", "nonce", "beat", "released", "addr", "players", "ttl_ms", "mark",
];

/// Leases that one script reads: appends to the same server wait for a fraction of a millisecond.
const CROWD_MAX: usize = 250;

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("../lua/look.lua")));

/// The findings of the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    zones: Arc<Mutex<KnownZones>>,
    /// Whether a log line has named an entry of the list that is no zone's name: there is one for all.
    has_named: Arc<AtomicBool>,
}

/// The zones of the last look.
#[derive(Clone, Debug, Default)]
struct KnownZones {
    all: BTreeSet<ZoneName>,
    /// Those of which the lease was not read.
    unread: BTreeSet<ZoneName>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, KnownZones> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_nameless(&self, entry: &Value) {
        if !self.has_named.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                ?entry,
                "the list of zones has entries that are no zone's name; they are passed over"
            );
        }
    }
}

impl RedisAuthority {
    pub(super) async fn read_leases(&self) -> Result<Leases, AuthorityError> {
        let deadline = Instant::now() + self.look_max;
        let known = self.known.lock().clone();
        let mut look = LeasesRead::default();
        let mut order: Vec<ZoneName> = known.unread.iter().cloned().collect();
        order.extend(known.all.difference(&known.unread).cloned());
        let (listed, ()) = tokio::join!(in_time(deadline, self.listed()), look.ask(self, order, deadline));
        match listed {
            Ok(listed) => {
                let new = listed.difference(&known.all).cloned().collect();
                look.leases.views.retain(|view| listed.contains(&view.zone));
                look.leases.unread.retain(|zone| listed.contains(zone));
                look.leases.damaged.retain(|zone| listed.contains(zone));
                look.ask(self, new, deadline).await;
                self.known.lock().all = listed;
            }
            Err(error) => look.error = Some(error),
        }
        let LeasesRead { mut leases, error } = look;
        self.known.lock().unread = leases.unread.clone();
        leases.views.sort_unstable_by(|a, b| a.zone.cmp(&b.zone));
        match error {
            Some(error) if leases.views.is_empty() && leases.damaged.is_empty() => Err(error),
            _ => Ok(leases),
        }
    }

    async fn listed(&self) -> Result<BTreeSet<ZoneName>, AuthorityError> {
        let words = vec![self.keys.world("zones").into()];
        let entries = self.link.command("SMEMBERS", words).await?.into_array();
        let name = |entry: Value| {
            let name = entry.as_str().and_then(|name| name.parse().ok());
            if name.is_none() {
                self.known.note_nameless(&entry);
            }
            name
        };
        Ok(entries.into_iter().filter_map(name).collect())
    }
}

#[derive(Default)]
struct LeasesRead {
    leases: Leases,
    error: Option<AuthorityError>,
}

impl LeasesRead {
    async fn ask(&mut self, authority: &RedisAuthority, zones: Vec<ZoneName>, deadline: Instant) {
        if zones.is_empty() {
            return;
        }
        let lines = if authority.link.cluster().is_some() {
            authority.ask_each(&zones, deadline).await
        } else {
            authority.ask_in_crowds(&zones, deadline).await
        };
        for (zone, line) in zones.into_iter().zip(lines) {
            match line {
                // It is not declared yet, or forgotten.
                Ok(line) if line.is_empty() => {}
                Ok(line) => match read_line(&zone, &line) {
                    Some(view) => self.leases.views.push(view),
                    None => _ = self.leases.damaged.insert(zone),
                },
                Err(error) => {
                    self.leases.unread.insert(zone);
                    self.error = Some(error);
                }
            }
        }
    }
}

/// A lease as one line, its fields apart by spaces; empty if there is none.
type LeaseLine = Result<String, AuthorityError>;

impl RedisAuthority {
    /// Asks one server, by a script that reads many leases: that is a third of the work of a command for each.
    async fn ask_in_crowds(&self, zones: &[ZoneName], deadline: Instant) -> Vec<LeaseLine> {
        let mut asked = JoinSet::new();
        for (number, crowd) in zones.chunks(CROWD_MAX).enumerate() {
            let keys: Vec<String> = crowd.iter().map(|zone| self.keys.zone(zone, "lease")).collect();
            let link = self.link.clone();
            asked.spawn(async move {
                let count = keys.len();
                let answer = async { Ok(link.run(&LOOK, keys, FIELDS.map(Value::from).to_vec()).await?) };
                let lines = in_time(deadline, answer).await;
                let is_whole = |lines: &Vec<Value>| lines.len() == count;
                let whole = lines.and_then(|lines| match is_whole(&lines) {
                    true => Ok(lines),
                    false => Err(RedisError::Answer(format!("{} leases of {count}", lines.len())).into()),
                });
                (number, whole)
            });
        }
        let mut crowds = asked.join_all().await;
        crowds.sort_unstable_by_key(|(number, _)| *number);
        let mut lines = Vec::with_capacity(zones.len());
        for ((_, answer), crowd) in crowds.into_iter().zip(zones.chunks(CROWD_MAX)) {
            match answer {
                Ok(answer) => lines.extend(
                    answer
                        .into_iter()
                        .map(|line| Ok(line.into_string().unwrap_or_default())),
                ),
                Err(error) => {
                    let error = error.to_string();
                    lines.extend(crowd.iter().map(|_| Err(AuthorityError::Unavailable(error.clone()))));
                }
            }
        }
        lines
    }

    /// Asks the nodes of a Cluster, on which a script may read the keys of one slot only.
    async fn ask_each(&self, zones: &[ZoneName], deadline: Instant) -> Vec<LeaseLine> {
        let keys = zones.iter().map(|zone| self.keys.zone(zone, "lease")).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let answers = self
            .link
            .command_each("HMGET", keys, &FIELDS.map(Value::from), left)
            .await;
        let line = |answer: Result<Value, RedisError>| match answer.map(Value::into_array) {
            Ok(fields) if fields.iter().all(Value::is_null) => Ok(String::new()),
            Ok(fields) => Ok(line_of(&fields)),
            Err(error) if is_wrong_type(&error) => Ok("-".to_owned()),
            Err(error) => Err(error.into()),
        };
        answers.into_iter().map(line).collect()
    }
}

fn line_of(fields: &[Value]) -> String {
    let words: Vec<String> = fields
        .iter()
        .map(|field| field.as_string().unwrap_or_else(|| "-".to_owned()))
        .collect();
    words.join(" ")
}

/// Whether a key is of another type than its name says: nothing of ours wrote it.
fn is_wrong_type(error: &RedisError) -> bool {
    matches!(error, RedisError::Command(error) if error.details().starts_with("WRONGTYPE"))
}

async fn in_time<T>(
    deadline: Instant,
    question: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    let late = || AuthorityError::Unavailable("no answer in time".to_owned());
    timeout_at(deadline, question).await.unwrap_or_else(|_| Err(late()))
}

/// Reads the fields of a lease.
pub(super) fn read_lease(zone: &ZoneName, fields: &[Value]) -> Option<LeaseView> {
    read_line(zone, &line_of(fields))
}

fn read_line(zone: &ZoneName, line: &str) -> Option<LeaseView> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let view = LeaseView {
        zone: zone.clone(),
        epoch: Epoch(word()?.parse().ok()?),
        nonce: Nonce(word()?.parse().ok()?),
        beat: word()?.parse().ok()?,
        released: match word()? {
            "0" => false,
            "1" => true,
            _ => return None,
        },
        addr: word()?.parse().ok()?,
        players: word()?.parse().ok()?,
        // An earlier build does not say.
        ttl: Duration::from_millis(word()?.parse().unwrap_or_default()),
        mark: word()?.parse().ok(),
    };
    words.next().is_none().then_some(view)
}

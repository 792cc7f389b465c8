//! The authority on Redis: simple, and as strong as its Redis. See the module above for what a promoted replica may
//! forget.

mod look;
mod membership;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use everhold_core::ownership::authority::{Authority, AuthorityError, LeaseTerms, LeaseView, Leases, Renewal};
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_protocol::{Epoch, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;
use tokio::sync::Notify;

use self::look::{Known, read_lease};
use self::membership::Unreadable;
use super::link::RedisLink;
use super::listener::Listener;
use super::script::grant_words;
use super::{KeyNames, RedisError, RedisTarget};
use crate::thread::Thread;

/// Makes a script on a lease.
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

/// Grants leases in Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisAuthority {
    keys: KeyNames,
    link: RedisLink,
    /// The longest that a look at the leases may take, of which some may not be answered.
    look_max: Duration,
    released: Arc<Notify>,
    known: Known,
    unreadable: Unreadable,
}

impl RedisAuthority {
    /// Connects. `answer_max` is the longest that a renewal may take: a small part of the lease's ttl, or a hanging
    /// Redis would hold up the next one.
    pub async fn open(target: &RedisTarget, answer_max: Duration) -> Result<Self, RedisError> {
        let thread = Arc::new(Thread::start("redis-leases").map_err(|error| RedisError::Thread(error.to_string()))?);
        let link = RedisLink::open(Arc::clone(&thread), "leases", target.config.clone(), answer_max).await?;
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
        Ok(Self {
            keys,
            link,
            // The caller waits for `answer_max`; what is known by then counts.
            look_max: answer_max / 2,
            released,
            known: Known::default(),
            unreadable: Unreadable::default(),
        })
    }

    async fn on_lease(&self, script: &Script, zone: &ZoneName, words: Vec<Value>) -> Result<(), AuthorityError> {
        let keys = vec![self.keys.zone(zone, "lease")];
        let answer = self.link.run(script, keys, words).await?;
        read_answer(zone, &answer)
    }

    /// Runs a script on the leases of all these renewals, each with words of its own.
    async fn on_leases(
        &self,
        script: &Script,
        renewals: &[Renewal],
        words: impl Fn(&Renewal) -> Vec<Value>,
    ) -> Vec<Result<(), AuthorityError>> {
        let call = |renewal: &Renewal| (self.keys.zone(&renewal.tenure.zone, "lease"), words(renewal));
        let answers = self.link.run_each(script, renewals.iter().map(call).collect()).await;
        let read = |(renewal, answer): (&Renewal, Result<Value, RedisError>)| {
            read_answer(&renewal.tenure.zone, &answer?.into_array())
        };
        renewals.iter().zip(answers).map(read).collect()
    }

    async fn enter(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        let words = vec![self.keys.world("zones").into(), zone.as_str().into()];
        self.link.command("SADD", words).await?;
        Ok(())
    }
}

/// Reads what a script on a lease answers.
fn read_answer(zone: &ZoneName, answer: &[Value]) -> Result<(), AuthorityError> {
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

#[async_trait]
impl Authority for RedisAuthority {
    fn may_forget(&self) -> bool {
        true
    }

    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        self.on_lease(&DECLARE, zone, Vec::new()).await?;
        // Listed last: a reader of the list finds the lease.
        self.enter(zone).await
    }

    async fn leases(&self) -> Result<Leases, AuthorityError> {
        self.read_leases().await
    }

    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        terms: LeaseTerms,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError> {
        let epoch = watched.epoch.max(epoch_floor).next();
        let epoch = epoch.ok_or_else(|| AuthorityError::Unavailable("epochs have run out".to_owned()))?;
        let words = [
            watched.epoch.to_string(),
            watched.nonce.0.to_string(),
            watched.beat.to_string(),
            u8::from(watched.released).to_string(),
            epoch.to_string(),
            nonce.0.to_string(),
            terms.addr.to_string(),
            terms.ttl.as_millis().to_string(),
        ];
        self.on_lease(&CLAIM, &watched.zone, words.map(Value::from).to_vec())
            .await?;
        Ok(Tenure {
            zone: watched.zone.clone(),
            grant: Grant::issue(epoch, nonce),
        })
    }

    fn node_of(&self, zone: &ZoneName) -> u64 {
        self.link.node_of(&self.keys.zone(zone, "lease"))
    }

    async fn renew(&self, renewals: &[Renewal]) -> Vec<Result<(), AuthorityError>> {
        let words = |renewal: &Renewal| {
            let mut words = grant_words(renewal.tenure.grant);
            words.extend([renewal.players.to_string(), mark(renewal)].map(Value::from));
            words
        };
        self.on_leases(&RENEW, renewals, words).await
    }

    async fn reinstate(&self, renewals: &[Renewal], terms: LeaseTerms) -> Vec<Result<(), AuthorityError>> {
        let words = |renewal: &Renewal| {
            let mut words = grant_words(renewal.tenure.grant);
            let LeaseTerms { addr, ttl } = terms;
            let said = [
                addr.to_string(),
                renewal.players.to_string(),
                ttl.as_millis().to_string(),
                mark(renewal),
            ];
            words.extend(said.map(Value::from));
            words
        };
        let mut outcomes = self.on_leases(&REINSTATE, renewals, words).await;
        let back = renewals.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let mut words: Vec<Value> = vec![self.keys.world("zones").into()];
        words.extend(back.map(|(renewal, _)| Value::from(renewal.tenure.zone.as_str())));
        if words.len() > 1
            && let Err(error) = self.link.command("SADD", words).await
        {
            // Not listed, they are not seen by all.
            let unlisted = outcomes.iter_mut().filter(|outcome| outcome.is_ok());
            unlisted.for_each(|outcome| *outcome = Err(error.clone().into()));
        }
        outcomes
    }

    async fn release(&self, tenure: &Tenure) -> Result<(), AuthorityError> {
        let Tenure { zone, grant } = tenure;
        let words = [
            grant.epoch().to_string(),
            grant.nonce().0.to_string(),
            self.keys.world("released"),
            zone.to_string(),
        ];
        self.on_lease(&RELEASE, zone, words.map(Value::from).to_vec()).await
    }

    async fn wait_for_release(&self) {
        self.released.notified().await;
    }
}

/// Returns the text of the mark that a renewal leaves; empty if it leaves none.
fn mark(renewal: &Renewal) -> String {
    renewal.mark.map(|mark| mark.to_string()).unwrap_or_default()
}

fn unreadable(zone: &ZoneName) -> AuthorityError {
    AuthorityError::Unavailable(format!("the lease of zone {zone} cannot be read"))
}

impl From<RedisError> for AuthorityError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

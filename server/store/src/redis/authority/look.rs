//! A look at the leases. In a Cluster each lies on some node, and one that does not answer holds up its own zones
//! alone: all are asked at once, and what cannot be read is told apart. The list of zones lies on a node, too; while
//! that one does not answer, the zones of the look before are asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everhold_core::ownership::authority::{AuthorityError, LeaseView, Leases};
use everhold_core::ownership::grant::Nonce;
use everhold_protocol::{Epoch, ZoneName};
use fred::types::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{RedisAuthority, unreadable};
use crate::redis::RedisError;

/// The zones of the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownZones(Arc<Mutex<BTreeSet<ZoneName>>>);

impl KnownZones {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<ZoneName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisAuthority {
    pub(super) async fn read_leases(&self) -> Result<Leases, AuthorityError> {
        let deadline = Instant::now() + self.look_max;
        let known = self.known.lock().clone();
        let mut look = LeasesRead::default();
        let (listed, ()) = tokio::join!(in_time(deadline, self.listed()), look.ask(self, &known, deadline));
        match listed {
            Ok(listed) => {
                let new = &listed - &known;
                look.leases.views.retain(|view| listed.contains(&view.zone));
                look.leases.unread.retain(|zone| listed.contains(zone));
                look.ask(self, &new, deadline).await;
                *self.known.lock() = listed;
            }
            Err(error) => look.error = Some(error),
        }
        look.leases.views.sort_unstable_by(|a, b| a.zone.cmp(&b.zone));
        match look.error {
            Some(error) if look.leases.views.is_empty() => Err(error),
            _ => Ok(look.leases),
        }
    }

    async fn listed(&self) -> Result<BTreeSet<ZoneName>, AuthorityError> {
        let words = vec![self.keys.world("zones").into()];
        let names = self.link.command("SMEMBERS", words).await?.into_array();
        let names = names.into_iter().map(|name| name.into_string()?.parse().ok());
        let zones = names.collect::<Option<_>>();
        zones.ok_or_else(|| RedisError::Answer("a zone's name that is none".to_owned()).into())
    }

    async fn lease(&self, zone: &ZoneName) -> Result<Option<LeaseView>, AuthorityError> {
        let mut words: Vec<Value> = vec![self.keys.zone(zone, "lease").into()];
        words.extend(["epoch", "nonce", "beat", "released", "addr", "players"].map(Value::from));
        let fields = self.link.command("HMGET", words).await?.into_array();
        if fields.first().is_none_or(Value::is_null) {
            return Ok(None);
        }
        read_lease(zone, &fields).map(Some).ok_or_else(|| unreadable(zone))
    }
}

#[derive(Default)]
struct LeasesRead {
    leases: Leases,
    error: Option<AuthorityError>,
}

impl LeasesRead {
    async fn ask(&mut self, authority: &RedisAuthority, zones: &BTreeSet<ZoneName>, deadline: Instant) {
        let mut asked = JoinSet::new();
        for zone in zones.iter().cloned() {
            let authority = authority.clone();
            asked.spawn(async move {
                let lease = in_time(deadline, authority.lease(&zone)).await;
                (zone, lease)
            });
        }
        for (zone, lease) in asked.join_all().await {
            match lease {
                Ok(view) => self.leases.views.extend(view),
                Err(error) => {
                    self.leases.unread.insert(zone);
                    self.error = Some(error);
                }
            }
        }
    }
}

async fn in_time<T>(
    deadline: Instant,
    question: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    let late = || AuthorityError::Unavailable("no answer in time".to_owned());
    timeout_at(deadline, question).await.unwrap_or_else(|_| Err(late()))
}

pub(super) fn read_lease(zone: &ZoneName, fields: &[Value]) -> Option<LeaseView> {
    let text = |index: usize| fields.get(index).and_then(Value::as_string);
    Some(LeaseView {
        zone: zone.clone(),
        epoch: Epoch(text(0)?.parse().ok()?),
        nonce: Nonce(text(1)?.parse().ok()?),
        beat: text(2)?.parse().ok()?,
        released: text(3)? == "1",
        addr: text(4)?.parse().ok()?,
        players: text(5)?.parse().ok()?,
    })
}

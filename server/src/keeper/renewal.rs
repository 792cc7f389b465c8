//! Renewals: each lease's, when it is due, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everhold_core::outage::Lasted;
use everhold_core::ownership::lease::Lease;
use everhold_core::ownership::{Authority, AuthorityError, Grant};
use everhold_protocol::ZoneName;
use tokio::task::JoinSet;

use super::{Keeper, Outages, answer};
use crate::host::LeaseGuard;

/// Whether the authority answered renewals that were due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// Some, or none was due. Those of zones on a node of a Cluster that is gone hold up no others.
    Some,
    None,
}

impl Keeper {
    /// Renews what is due, all at once. Asking each guard is also what notices a pause of the whole process.
    pub(super) async fn renew(&mut self) -> Answered {
        let mut renewals = JoinSet::new();
        for (zone, held) in &self.held {
            let _may_act = held.guard.may_act();
            let Some(sent_at) = held.guard.poll_renewal() else {
                continue;
            };
            let players = held.players();
            let (authority, zone, grant, addr) = (Arc::clone(&self.authority), zone.clone(), held.grant, self.addr);
            let guard = Arc::clone(&held.guard);
            let max = self.answer_max();
            renewals.spawn(async move {
                let renewal = renew_or_reinstate(authority.as_ref(), &zone, grant, addr, players);
                let outcome = answer(max, renewal).await;
                let told = note_renewal(&zone, &guard, sent_at, outcome);
                (zone, told)
            });
        }
        let outcomes = renewals.join_all().await;
        self.note_outcomes(outcomes)
    }

    /// One outage for all zones, however many; it is over when none is left of which the latest renewal was not answered.
    fn note_outcomes(&mut self, outcomes: Vec<(ZoneName, Result<(), AuthorityError>)>) -> Answered {
        let (
            Outages {
                renewals, unrenewed, ..
            },
            held,
        ) = (&mut self.outages, &self.held);
        unrenewed.retain(|zone| held.contains_key(zone));
        let mut newest = None;
        let mut answered = Answered::None;
        for (zone, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    answered = Answered::Some;
                    unrenewed.remove(&zone);
                }
                Err(error) => {
                    unrenewed.insert(zone.clone());
                    newest = Some((zone, error));
                }
            }
        }
        if let Some((zone, error)) = newest {
            if let Some(Lasted { ms, failures }) = renewals.note(Instant::now()) {
                tracing::warn!(%zone, zones = unrenewed.len(), %error, ms, failures, "renewals are not answered");
            }
            return answered;
        }
        if unrenewed.is_empty()
            && let Some(Lasted { ms, failures }) = renewals.end(Instant::now())
        {
            tracing::info!(ms, failures, "renewals are answered again");
        }
        Answered::Some
    }
}

/// A renewal that finds an authority which has forgotten the lease puts it back.
async fn renew_or_reinstate(
    authority: &dyn Authority,
    zone: &ZoneName,
    grant: Grant,
    addr: SocketAddr,
    players: u32,
) -> Result<(), AuthorityError> {
    match authority.renew(zone, grant, players).await {
        Err(AuthorityError::Held(view)) if view.epoch < grant.epoch.number() => {}
        Err(AuthorityError::ZoneUnknown(_)) => {}
        outcome => return outcome,
    }
    authority.reinstate(zone, grant, addr, players).await?;
    tracing::error!(%zone, epoch = grant.epoch.number(), "the authority had forgotten this lease; it was put back");
    Ok(())
}

/// Tells the lease. An error is an outcome that is not known.
fn note_renewal(
    zone: &ZoneName,
    guard: &LeaseGuard,
    sent_at: Duration,
    outcome: Result<(), AuthorityError>,
) -> Result<(), AuthorityError> {
    match outcome {
        Ok(()) => guard.handle(|lease, now| lease.handle_renewed(sent_at, now)),
        Err(AuthorityError::Held(holder)) => {
            guard.handle(|lease, _| lease.handle_refused());
            tracing::warn!(%zone, epoch = holder.epoch, "the lease is somebody else's");
        }
        Err(error) => {
            guard.handle(Lease::handle_unavailable);
            return Err(error);
        }
    }
    Ok(())
}

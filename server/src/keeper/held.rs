//! What this process holds: from a grant through its adoption to its release.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everhold_core::ownership::lease::Lease;
use everhold_core::ownership::{AuthorityError, Grant};
use everhold_os::clock;
use everhold_protocol::ZoneName;

use super::{After, Granted, Keeper, KeeperEvent, answer};
use crate::host::{LeaseGuard, ZoneGauges};

/// A lease of this process, from its grant to its end.
pub(super) struct Held {
    pub(super) grant: Grant,
    pub(super) since: Duration,
    pub(super) guard: Arc<LeaseGuard>,
    pub(super) gauges: Option<Arc<ZoneGauges>>,
    pub(super) wedged_since: Option<Duration>,
}

impl Held {
    /// Players that it serves; none before it is hosted.
    pub(super) fn players(&self) -> u32 {
        self.gauges
            .as_ref()
            .map_or(0, |gauges| gauges.attached.load(Ordering::Relaxed))
    }
}

impl Keeper {
    pub(super) fn adopt(&mut self, zone: ZoneName, grant: Grant, sent_at: Duration) {
        let at = clock::boottime();
        tracing::info!(%zone, epoch = grant.epoch.number(), "granted");
        self.guardian.note_granted(&zone, grant);
        let guard = Arc::new(LeaseGuard::new(Lease::new(self.lease, sent_at, at)));
        self.held.insert(
            zone.clone(),
            Held {
                grant,
                since: at,
                guard: Arc::clone(&guard),
                gauges: None,
                wedged_since: None,
            },
        );
        let granted = Granted { zone, grant, guard, at };
        let _stopping = self.events.send(KeeperEvent::Granted(granted));
    }

    pub(super) fn note_hosted(&mut self, zone: &ZoneName, grant: Grant, gauges: Arc<ZoneGauges>) {
        if let Some(held) = self.held.get_mut(zone).filter(|held| held.grant == grant) {
            held.gauges = Some(gauges);
            self.contender.handle_adopted(zone);
        }
    }

    /// Ends what was granted at least `age` ago and is not hosted yet; its host, should it start all the same, finds its lease lost.
    pub(super) async fn give_up_adoptions(&mut self, after: After, age: Duration) {
        let now = clock::boottime();
        let late = |held: &Held| held.gauges.is_none() && now.saturating_sub(held.since) >= age;
        let late: Vec<(ZoneName, Grant)> = self
            .held
            .iter()
            .filter(|(_, held)| late(held))
            .map(|(zone, held)| (zone.clone(), held.grant))
            .collect();
        for (zone, grant) in late {
            tracing::warn!(%zone, epoch = grant.epoch.number(), "an adoption is given up");
            self.held[&zone].guard.handle(|lease, _| lease.handle_refused());
            self.end(&zone, grant, after).await;
        }
    }

    pub(super) async fn end(&mut self, zone: &ZoneName, grant: Grant, after: After) {
        if self.held.get(zone).is_none_or(|held| held.grant != grant) {
            return;
        }
        self.held.remove(zone);
        self.contender.handle_dropped(zone);
        match after {
            After::Release => self.release(zone, grant).await,
            After::Reclaim => self.contender.handle_suspended(zone, grant),
            After::Expire => {}
            After::Shun => {
                self.shunned.insert(zone.clone());
            }
            After::Cede => {
                self.shunned.insert(zone.clone());
                self.release(zone, grant).await;
            }
        }
        // A suspended zone's grant is the newest there is: should this process die, it is to be released all the same.
        if after != After::Reclaim {
            self.guardian.note_ended(zone, grant);
        }
    }

    pub(super) async fn release(&self, zone: &ZoneName, grant: Grant) {
        match answer(self.answer_max(), self.authority.release(zone, grant)).await {
            Ok(()) => tracing::info!(%zone, epoch = grant.epoch.number(), "released"),
            Err(AuthorityError::Held(holder)) => {
                tracing::info!(%zone, epoch = holder.epoch, "nothing to release: somebody else holds it");
            }
            Err(error) => tracing::warn!(%zone, %error, "the lease was not released and will run out"),
        }
    }
}

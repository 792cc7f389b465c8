//! A zone whose tick does not end: an endless loop in a rule. No thread can be ended from outside, so its process is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everhold_core::durability::blame::Blame;
use everhold_os::clock;
use everhold_os::vital;
use everhold_protocol::{Tick, ZoneName};

use super::{Held, Keeper};
use crate::host::blame;

impl Keeper {
    /// Ends this process if a tick is wedged at a player's input, after writing that down. Guardian and lease do the rest, and the other
    /// zones of this process move too: a failover each, against a processor that is busy for ever.
    ///
    /// With no input to blame it does not: the zone would wedge one shard after the other, and end them all. The zone loses its lease, this
    /// process shuns it, and the other zones live beside a busy thread. A store's or a machine's hiccup does not get here: only a tick
    /// that has begun counts, and only if it is found so for an eighth of a ttl on top of the half that no tick has ended for.
    pub(super) async fn end_if_wedged(&mut self) {
        let now = clock::boottime();
        let since_max = self.lease.pause_gap;
        let Some((zone, tick)) = self.held.iter_mut().find_map(|(zone, held)| {
            let tick = held.wedged_for(now, since_max)?;
            (!self.shunned.contains(zone)).then(|| (zone.clone(), tick))
        }) else {
            return;
        };
        tracing::error!(%zone, tick, "this tick does not end: the zone is wedged");
        let held = &self.held[&zone];
        let Some(gauges) = held.gauges.clone() else { return };
        let whose = (&zone, held.grant);
        let store = Arc::clone(&self.store);
        match blame(store.as_ref(), whose, &held.guard, tick, &gauges.probe).await {
            Blame::Nobody => self.shun(zone),
            Blame::Input(..) | Blame::Unwritten => {
                tracing::error!(%zone, tick, "this process ends, so that its zones can be adopted");
                vital::end_process();
            }
        }
    }

    fn shun(&mut self, zone: ZoneName) {
        tracing::error!(%zone, "the zone's lease is not renewed, and this process does not claim it again");
        self.shunned.insert(zone);
    }
}

impl Held {
    /// The tick that has been under way for too long, at every look for `max` at least.
    fn wedged_for(&mut self, now: Duration, max: Duration) -> Option<Tick> {
        let gauges = self.gauges.as_ref()?;
        let tick = gauges.stepping.load(Ordering::Acquire);
        // Asking the lease first is what notices that the whole process was stopped, and no tick could end.
        let wedged =
            self.guard.may_act() && self.guard.is_stalled() && tick != 0 && !gauges.ended.load(Ordering::Acquire);
        if !wedged {
            self.wedged_since = None;
            return None;
        }
        let since = *self.wedged_since.get_or_insert(now);
        (now.saturating_sub(since) >= max).then_some(tick)
    }
}

//! A zone whose tick does not end: an endless loop in a rule. No thread can be ended from outside, so its process is.

use std::time::Duration;

use everhold_protocol::{Tick, ZoneName};

use super::command::{Culprit, HolderCommand, Request};
use super::held::HeldLease;
use super::remark::ZoneRemark;
use super::{Holder, HolderStep};

impl Holder {
    /// Begins a turn by looking for a tick that is wedged, and asks at which input. If there is one, the process ends,
    /// after that is written down. Guardian and lease do the rest, and the other zones of this process move too: a
    /// failover each, against a processor that is busy for ever.
    ///
    /// With no input to blame it does not: the zone would wedge one shard after the other, and end them all. The zone
    /// loses its lease, this process shuns it for a while, and the other zones live beside a busy thread. A store's or
    /// a machine's hiccup does not get here: only a tick that has begun counts, and only if it is found so for an
    /// eighth of a ttl on top of the half that no tick has ended for.
    ///
    /// The answer may take as long as the lease lasts, and longer, for the store may be away. Renewals, looks, and
    /// claims go on meanwhile: the other zones of this process are none the worse for it.
    pub(super) fn begin_turn(&mut self, now: Duration) {
        self.step = HolderStep::Blaming;
        let since_max = self.lease.pause_gap;
        let wedged = self.held.iter_mut().find_map(|(zone, held)| {
            let tick = held.wedged_for(now, since_max)?;
            let is_known = self.blaming.contains(zone) || self.shunned.contains(zone, now);
            (!is_known).then(|| (held.tenure.clone(), tick))
        });
        if let Some((tenure, tick)) = wedged {
            self.log_zone(&tenure.zone, ZoneRemark::Wedged(tick));
            self.blaming.insert(tenure.zone.clone());
            // It is asked for as long as the lease lasts.
            self.commands.push_back(HolderCommand::Ask {
                request: Request::Blame(tenure, tick),
                within: None,
            });
        }
    }

    pub(super) fn handle_blamed(&mut self, now: Duration, zone: ZoneName, tick: Tick, culprit: Culprit) {
        self.blaming.remove(&zone);
        match culprit {
            Culprit::None => {
                self.log_zone(&zone, ZoneRemark::Shunned);
                self.shunned.shun_wedged(zone, now, self.lease.ttl);
            }
            Culprit::Quarantined | Culprit::Unwritten => {
                self.log_zone(&zone, ZoneRemark::EndsProcess(tick));
                self.commands.push_back(HolderCommand::EndProcess);
            }
        }
    }
}

impl HeldLease {
    /// Returns the tick that has been under way for too long, at every look for `max` at least.
    fn wedged_for(&mut self, now: Duration, max: Duration) -> Option<Tick> {
        let progress = self.progress?;
        // Asking the lease first is what notices that the whole process was stopped, and no tick could end.
        let is_stalled = self.lease.ask(now, |lease| lease.may_act(now) && lease.is_stalled(now));
        if !is_stalled || progress.stepping == Tick(0) || progress.has_ended {
            self.wedged_since = None;
            return None;
        }
        let since = *self.wedged_since.get_or_insert(now);
        (now.saturating_sub(since) >= max).then_some(progress.stepping)
    }
}

//! A hosted zone, as the keeper reads it. It changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use everhold_core::ownership::Tenure;
use everhold_core::ownership::holder::command::Progress;
use everhold_protocol::Tick;

use crate::host::{LeaseGuard, ZoneGauges, ZoneHandle};

/// A zone that runs here, without the channels that would keep it alive.
#[derive(Clone)]
pub(super) struct HostedZone {
    pub(super) tenure: Tenure,
    pub(super) guard: Arc<LeaseGuard>,
    pub(super) gauges: Arc<ZoneGauges>,
}

impl From<&ZoneHandle> for HostedZone {
    fn from(handle: &ZoneHandle) -> Self {
        Self {
            tenure: handle.tenure.clone(),
            guard: Arc::clone(&handle.guard),
            gauges: Arc::clone(&handle.gauges),
        }
    }
}

impl HostedZone {
    /// Reads how far the zone is.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            players: self.gauges.attached.load(Ordering::Relaxed),
            acknowledged: Tick(self.gauges.acknowledged_tick.load(Ordering::Acquire)),
            stepping: Tick(self.gauges.stepping.load(Ordering::Acquire)),
            has_ended: self.gauges.ended.load(Ordering::Acquire),
        }
    }
}

//! The checks of a cluster's archive at the end: it has caught up, it holds what it must, and it has not grown.

use std::time::Duration;

use everhold_core::ownership::Tenure;
use everhold_protocol::ZoneName;

use super::{ARCHIVE_INTERVAL, SimCluster};
use crate::shard::COMMIT_ANSWER_MAX;

/// The longest wait of an archivist after a failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// Intervals within which a base that is wanted is stored and committed, by a store that is far away.
const INTERVALS_MAX: u64 = 2;
/// Blobs of a zone: the newest, and the one before.
const BLOBS_MAX: usize = 2;
/// Parts at most of blobs that were not committed: those of the one that is under way, and what arrived late.
const STRAY_PARTS_MAX: usize = 4;

impl SimCluster {
    /// Checks that an archive that answers has caught up, and what it has.
    pub(super) fn check_archive(&mut self) {
        if self.world.archive_interval.is_none() {
            return;
        }
        let healed_for = self.env.now.saturating_sub(self.setting.begin + self.setting.span);
        let catches_up_within = self.catches_up_within();
        let lags = self.shards().flat_map(|shard| shard.archive_lags(self.env.now));
        let is_late = |(tenure, hosted_for, lag): &(&Tenure, Duration, u64)| {
            let had_time = (*hosted_for).min(healed_for) > catches_up_within;
            had_time && *lag > INTERVALS_MAX * ARCHIVE_INTERVAL && !self.env.services.is_shut_out(tenure)
        };
        let late: Vec<String> = lags
            .filter(is_late)
            .map(|(tenure, _, lag)| format!("{} epoch {}: {lag} ticks behind", tenure.zone, tenure.epoch()))
            .collect();
        for detail in late {
            self.env.services.breach("an archive that answers catches up", detail);
        }
        let zones: Vec<ZoneName> = self.world.rules.zones().cloned().collect();
        for zone in zones {
            self.env.services.compare_archive(&zone);
            let usage = self.env.services.archive.usage(&zone);
            if usage.blobs > BLOBS_MAX || usage.stray_parts > STRAY_PARTS_MAX {
                let detail = format!("{zone}: {usage:?}");
                self.env.services.breach("an archive is bounded", detail);
            }
        }
    }

    /// Returns the time within which an archive that answers again has everything: one answer that is still waited for,
    /// one back-off, and the intervals.
    fn catches_up_within(&self) -> Duration {
        let ticks = u32::try_from(INTERVALS_MAX * ARCHIVE_INTERVAL).unwrap_or(u32::MAX);
        COMMIT_ANSWER_MAX + BACK_OFF_MAX + ticks * Duration::from_secs(1) / u32::from(self.setting.tick_hz)
    }
}

//! The fate of the lease of a zone that is over here: two tables, of ends and of adoptions that failed. It carries
//! nothing out.

use everhold_protocol::Epoch;

use super::end::EndReason;
use super::stamp::DataStamp;

/// The fate of the lease of a zone that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Anybody may claim it at once.
    Release,
    /// It is over, or is of no use, while the zone is in memory: it is claimed anew, unless another shard goes on with
    /// the zone.
    Reclaim {
        /// The end of what the store is known to have had of it.
        acknowledged: DataStamp,
    },
    /// It runs out.
    Expire,
    /// It runs out, and this process leaves it to others for a while: its world failed here.
    Shun,
    /// Anybody else may claim it at once, and this process leaves it to others for a while: it cannot run it as it is.
    Leave,
    /// Anybody else may claim it at once, and this process after a ttl: its world failed here, at an input that is
    /// quarantined.
    Cede,
}

/// The remains of a zone in the process that hosted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// The zone as it stood when its lease was over, with the records of its newest ticks.
    Memory {
        /// The end of what the store is known to have had of it.
        acknowledged: DataStamp,
    },
    /// Nothing: it can go on from the store only.
    Nothing,
}

/// The reason why a zone that was granted to this process does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionFailure {
    /// The stored data cannot be restored or replayed by this build.
    Unreplayable,
    /// This process cannot run the zone: it ran other rules, or has another layout of state, or this process's world
    /// has no such zone.
    Unfit,
    /// The replay failed at one stored input after the other.
    PoisonedTooOften,
    /// The store answers with what no owner wrote.
    StoreCorrupt,
    /// The store has lost the zone.
    StoreLost,
    /// The store did not answer in time, or its data moved meanwhile.
    StoreAway,
    /// The store has seen a higher epoch: another shard was quicker.
    Overtaken,
    /// The store has nothing of the zone, and the archive does not answer.
    ArchiveAway,
    /// The store has nothing of the zone, and the archive has seen this epoch, which is not below the grant's: both the
    /// authority and the store have forgotten.
    ArchiveAhead(Epoch),
    /// The store has nothing of the zone, and the archive answers with what no owner wrote.
    ArchiveCorrupt,
    /// The adoption panicked, or its replay.
    Panicked,
    /// A thread of the host did not start.
    NotStarted,
    /// The lease ran out, or was given up, before the zone was adopted.
    LeaseOver,
    /// The process began to stop meanwhile.
    Stopping,
}

impl AdoptionFailure {
    /// Whether the next try fails as this one unless something changes elsewhere: in the stored data, in the build, or
    /// in what panicked.
    #[must_use]
    pub const fn comes_again(self) -> bool {
        matches!(
            self,
            Self::Unreplayable
                | Self::Unfit
                | Self::PoisonedTooOften
                | Self::StoreCorrupt
                | Self::ArchiveCorrupt
                | Self::Panicked
        )
    }
}

impl After {
    /// Decides what becomes of the lease of a zone that was hosted.
    #[must_use]
    pub const fn end(reason: &EndReason, remains: Remains) -> Self {
        match (reason, remains) {
            // A grant, or a fence, is no data: memory is kept until another owner has written some.
            // A task that failed beside the zone has not harmed its World.
            (
                EndReason::Suspended | EndReason::Fenced | EndReason::Refused | EndReason::Panicked(..),
                Remains::Memory { acknowledged },
            ) => Self::Reclaim { acknowledged },
            // A suspended holder wrote and said nothing since its deadline: whichever shard is quickest may go on from
            // the store.
            (EndReason::Stopped | EndReason::Suspended, _) => Self::Release,
            (EndReason::Fenced | EndReason::Refused, _) => Self::Expire,
            (EndReason::Poisoned(..), _) => Self::Cede,
            (EndReason::Fork | EndReason::RingFull | EndReason::Corrupt | EndReason::Panicked(..), _) => Self::Shun,
        }
    }

    /// Decides what becomes of the lease of a zone that was granted and not adopted. One that is still in memory here
    /// is suspended as before: it goes on from there under another grant, however often that takes.
    #[must_use]
    pub const fn failed_adoption(failure: AdoptionFailure, remains: Remains) -> Self {
        match failure {
            AdoptionFailure::Stopping => Self::Release,
            _ if let Remains::Memory { acknowledged } = remains => Self::Reclaim { acknowledged },
            // Nothing was said of the zone, and nothing is written any more.
            AdoptionFailure::LeaseOver => Self::Release,
            // The next claim is above that epoch.
            AdoptionFailure::ArchiveAhead(_) => Self::Release,
            // Nothing is wrong with the zone: another process, of the right build and world file, is not to wait.
            AdoptionFailure::Unfit => Self::Leave,
            // A world that fails to come back may fail again here; another build, or a person, may do better.
            AdoptionFailure::Unreplayable
            | AdoptionFailure::PoisonedTooOften
            | AdoptionFailure::StoreCorrupt
            | AdoptionFailure::StoreLost
            | AdoptionFailure::ArchiveCorrupt
            | AdoptionFailure::Panicked => Self::Shun,
            // The ttl is the pause before the next try.
            AdoptionFailure::StoreAway
            | AdoptionFailure::ArchiveAway
            | AdoptionFailure::Overtaken
            | AdoptionFailure::NotStarted => Self::Expire,
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::{EntityId, Epoch, Tick};

    use super::*;

    const STAMP: DataStamp = DataStamp {
        epoch: Epoch(1),
        tick: Tick(100),
    };
    const MEMORY: Remains = Remains::Memory { acknowledged: STAMP };

    #[test]
    fn lease_of_a_zone_that_ended_goes_the_way_of_its_reason() {
        let poisoned = EndReason::Poisoned(Tick(7), EntityId(1), 2, "text".to_owned());
        let table = [
            (EndReason::Stopped, Remains::Nothing, After::Release),
            (EndReason::Suspended, MEMORY, After::Reclaim { acknowledged: STAMP }),
            (EndReason::Fenced, MEMORY, After::Reclaim { acknowledged: STAMP }),
            (EndReason::Suspended, Remains::Nothing, After::Release),
            (EndReason::Fenced, Remains::Nothing, After::Expire),
            (EndReason::Refused, MEMORY, After::Reclaim { acknowledged: STAMP }),
            (
                EndReason::Panicked(Tick(7), "text".to_owned()),
                MEMORY,
                After::Reclaim { acknowledged: STAMP },
            ),
            (EndReason::Refused, Remains::Nothing, After::Expire),
            (poisoned, Remains::Nothing, After::Cede),
            (EndReason::Fork, Remains::Nothing, After::Shun),
            (EndReason::RingFull, Remains::Nothing, After::Shun),
            (EndReason::Corrupt, Remains::Nothing, After::Shun),
            (
                EndReason::Panicked(Tick(7), "text".to_owned()),
                Remains::Nothing,
                After::Shun,
            ),
        ];
        for (reason, remains, after) in table {
            assert_eq!(After::end(&reason, remains), after, "{reason}, {remains:?}");
        }
    }

    #[test]
    fn memory_of_a_zone_that_was_stopped_or_failed_claims_nothing() {
        assert_eq!(After::end(&EndReason::Stopped, MEMORY), After::Release);
        assert_eq!(After::end(&EndReason::Corrupt, MEMORY), After::Shun);
    }

    #[test]
    fn world_that_cannot_come_back_is_shunned_and_a_store_that_is_away_is_asked_again_after_a_ttl() {
        let table = [
            (AdoptionFailure::Unfit, After::Leave),
            (AdoptionFailure::Unreplayable, After::Shun),
            (AdoptionFailure::PoisonedTooOften, After::Shun),
            (AdoptionFailure::StoreCorrupt, After::Shun),
            (AdoptionFailure::StoreLost, After::Shun),
            (AdoptionFailure::Panicked, After::Shun),
            (AdoptionFailure::ArchiveCorrupt, After::Shun),
            (AdoptionFailure::ArchiveAway, After::Expire),
            (AdoptionFailure::ArchiveAhead(Epoch(7)), After::Release),
            (AdoptionFailure::StoreAway, After::Expire),
            (AdoptionFailure::Overtaken, After::Expire),
            (AdoptionFailure::NotStarted, After::Expire),
            (AdoptionFailure::LeaseOver, After::Release),
            (AdoptionFailure::Stopping, After::Release),
        ];
        for (failure, after) in table {
            assert_eq!(After::failed_adoption(failure, Remains::Nothing), after, "{failure:?}");
            let of_memory = match failure {
                AdoptionFailure::Stopping => After::Release,
                _ => After::Reclaim { acknowledged: STAMP },
            };
            assert_eq!(
                After::failed_adoption(failure, MEMORY),
                of_memory,
                "{failure:?}, in memory"
            );
        }
    }
}

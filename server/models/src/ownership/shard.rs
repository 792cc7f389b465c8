//! A shard as the model has it: what its machines have seen, of which they are made for each decision. It asks no
//! authority and no store.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_core::durability::Journal;
use everhold_core::durability::store::{Position, StoredRecord};
use everhold_core::ownership::contender::StoreData;
use everhold_core::ownership::{
    Census, Contender, ContenderConfig, DataStamp, LeaseView, Leases, Nonce, RulesTag, Tenure,
};
use everhold_protocol::{Epoch, ZoneName};

/// The ttl of every lease.
pub(super) const TTL: Duration = Duration::from_secs(4);

/// The moment at which a lease that stands still since 0 may be claimed by any shard, whatever it has to wait for.
const LONG_AFTER: Duration = Duration::from_secs(40);

/// The view that a shard's last look at the authority gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Nothing was looked at.
    Nothing,
    /// The authority has no lease of the zone.
    Missing,
    /// This lease.
    Lease {
        /// The lease.
        view: LeaseView,
        /// Whether it has stood still for as long as the shard must wait.
        has_stood: bool,
        /// Whether it shows less than was known of the zone.
        is_forgotten: bool,
    },
}

/// The zone in a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZoneHere {
    /// It is not here.
    None,
    /// It is being adopted.
    Adopting {
        /// The grant.
        tenure: Tenure,
        /// The zone as it was when its lease ran out.
        memory: Option<Journal>,
        /// Whether the store is fenced.
        is_fenced: bool,
        /// The end of what was read before that.
        read_early: Option<Position>,
        /// Whether a shard within reach had more in memory when it was granted.
        is_needless: bool,
    },
    /// It runs.
    Running {
        /// The grant.
        tenure: Tenure,
        /// Its journal, whose end is the zone's state.
        journal: Journal,
        /// Whether it went on without what was told, though the store or a shard within reach had that.
        is_needless: bool,
    },
    /// Its lease is over, and it waits in memory.
    Suspended {
        /// The grant that is over.
        tenure: Tenure,
        /// The end of what the store is known to have had.
        acknowledged: DataStamp,
        /// The data that the store last said it has.
        stored: Option<StoreData>,
        /// The journal, whose end is the zone's state.
        journal: Journal,
    },
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardModel {
    /// The process: another number after each start.
    pub nonce: Nonce,
    /// Whether the process lives.
    pub is_up: bool,
    /// Whether it is stopped.
    pub is_paused: bool,
    /// Whether it prefers the zone.
    pub is_preferred: bool,
    /// The highest epoch that it has seen.
    pub seen: Epoch,
    /// The last look.
    pub watch: Watch,
    /// A claim under way: of this lease, above this epoch.
    pub claim: Option<(LeaseView, Epoch)>,
    /// The zone.
    pub zone: ZoneHere,
    /// An append on its way, which may be carried out when its sender is no more.
    pub append: Option<(Tenure, Vec<StoredRecord>)>,
}

impl ShardModel {
    /// Returns a process that has just started.
    pub(super) fn new(nonce: Nonce, is_preferred: bool) -> Self {
        Self {
            nonce,
            is_up: true,
            is_paused: false,
            is_preferred,
            seen: Epoch::NONE,
            watch: Watch::Nothing,
            claim: None,
            zone: ZoneHere::None,
            append: None,
        }
    }

    /// Whether it does anything at all.
    pub(super) const fn is_awake(&self) -> bool {
        self.is_up && !self.is_paused
    }

    /// Returns the journal of the zone in memory.
    pub(super) const fn memory(&self) -> Option<&Journal> {
        match &self.zone {
            ZoneHere::None => None,
            ZoneHere::Adopting { memory, .. } => memory.as_ref(),
            ZoneHere::Running { journal, .. } | ZoneHere::Suspended { journal, .. } => Some(journal),
        }
    }

    /// Returns the tenure under which it may act, or is about to.
    pub(super) const fn tenure(&self) -> Option<&Tenure> {
        match &self.zone {
            ZoneHere::Adopting { tenure, .. } | ZoneHere::Running { tenure, .. } => Some(tenure),
            ZoneHere::None | ZoneHere::Suspended { .. } => None,
        }
    }

    fn preferred(&self, zone: &ZoneName) -> BTreeSet<ZoneName> {
        self.is_preferred.then(|| zone.clone()).into_iter().collect()
    }

    /// Makes the census of what was seen.
    pub(super) fn census(&self, zone: &ZoneName) -> Census {
        let mut census = Census::new([zone.clone()].into(), self.preferred(zone), 2 * TTL);
        census.note_epoch(zone, self.seen);
        if matches!(self.watch, Watch::Missing) {
            census.handle_leases(Duration::ZERO, &Leases::default());
        }
        census
    }

    /// Makes the contender of what was seen, at the moment that is returned with it. One that thinks of no authority
    /// which may forget takes every lease for what it says.
    pub(super) fn contender(&self, zone: &ZoneName, may_forget: bool) -> (Contender, Duration) {
        let mut contender = Contender::new(ContenderConfig {
            look_gap: LONG_AFTER,
            backoff_step: Duration::ZERO,
            may_forget,
            ..ContenderConfig::new(TTL, 1, RulesTag::new(&[1; 32]), self.preferred(zone), 1)
        });
        if let ZoneHere::Suspended {
            tenure, acknowledged, ..
        } = &self.zone
        {
            contender.handle_suspended(tenure.clone(), *acknowledged);
        }
        let mut now = Duration::ZERO;
        if let Watch::Lease {
            view,
            has_stood,
            is_forgotten,
        } = &self.watch
        {
            contender.handle_leases(now, vec![view.clone()]);
            if *has_stood {
                now = LONG_AFTER;
                contender.handle_leases(now, vec![view.clone()]);
            }
            if *is_forgotten && may_forget {
                contender.note_forgotten(zone);
            }
        }
        if let ZoneHere::Suspended {
            stored: Some(stored), ..
        } = &self.zone
        {
            contender.handle_stored(zone, stored);
        }
        (contender, now)
    }
}

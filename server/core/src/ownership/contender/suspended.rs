//! Zones that are suspended here: in memory, and not acted for. Their claim is older than any other shard's, so they
//! wait for less, and their memory dies for data only. It asks no store and no authority itself.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_protocol::{Epoch, Tick, ZoneName};

use super::{Contender, LeaseWatch};
use crate::ownership::authority::LeaseView;
use crate::ownership::grant::Tenure;
use crate::ownership::stamp::DataStamp;

/// The data that the store has of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreData {
    /// A whole data set that ends here.
    Newest(DataStamp),
    /// A data set that an owner with memory is writing anew.
    Incomplete {
        /// The epoch of that owner.
        epoch: Epoch,
    },
    /// None: the store never had the zone, or lost it.
    Nothing,
    /// The store did not answer, and why.
    Unknown(String),
}

/// A zone in memory that is not acted for.
#[derive(Clone, Debug)]
pub struct SuspendedLease {
    /// The zone, and the grant that is over.
    pub tenure: Tenure,
    /// The end of what the store is known to have had.
    pub acknowledged: DataStamp,
    /// Whether the store lacks some of that, as it last answered. `None`: it said neither.
    is_store_behind: Option<bool>,
    /// Whether it is left to others for now: something beside it failed here.
    pub(super) is_left: bool,
    /// The moment at which the authority was last seen to have forgotten the grant.
    forgotten_at: Option<Duration>,
}

/// The lease of a suspended zone, as the authority shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The authority forgot the grant: it is to be put back first, so that no other shard takes the lease for free.
    Forgotten,
    /// It is this process's still.
    Own,
    /// Another shard was granted it since.
    Taken,
}

impl SuspendedLease {
    pub(super) const fn new(tenure: Tenure, acknowledged: DataStamp) -> Self {
        Self {
            tenure,
            acknowledged,
            is_store_behind: None,
            is_left: false,
            forgotten_at: None,
        }
    }

    pub(super) fn standing(&self, view: &LeaseView) -> Standing {
        let grant = self.tenure.grant;
        if view.epoch < grant.epoch() {
            Standing::Forgotten
        } else if view.nonce == grant.nonce() {
            // Also a claim whose answer got lost.
            Standing::Own
        } else {
            Standing::Taken
        }
    }

    /// Takes the store's answer. Returns whether the memory is of no use any more: the data is of a higher epoch, and
    /// of the `owner` that the lease shows now, which has it in memory.
    pub(super) fn handle_stored(&mut self, stored: &StoreData, owner: Option<Epoch>) -> bool {
        const NOTHING: DataStamp = DataStamp {
            epoch: Epoch::NONE,
            tick: Tick(0),
        };
        self.is_store_behind = match stored {
            StoreData::Newest(stamp) => Some(*stamp < self.acknowledged),
            StoreData::Nothing => Some(NOTHING < self.acknowledged),
            // This one began to write it anew itself, and did not get to its end.
            StoreData::Incomplete { epoch } if *epoch <= self.tenure.epoch() => Some(NOTHING < self.acknowledged),
            // An owner that writes from memory was granted the zone later, and may have what this one lacks.
            StoreData::Incomplete { .. } | StoreData::Unknown(_) => None,
        };
        let is_owners = |epoch: Epoch| owner.is_some_and(|owner| owner <= epoch);
        matches!(stored, StoreData::Newest(stamp) if stamp.epoch > self.tenure.epoch() && is_owners(stamp.epoch))
    }

    /// Whether the store has lost some of what it acknowledged: what another shard was granted goes on from less than
    /// this memory.
    pub(super) fn is_store_behind(&self) -> bool {
        self.is_store_behind == Some(true)
    }

    /// Whether another owner hosted the zone since. If the store has nothing of that, it lost it, and that owner may
    /// have a newer memory.
    pub(super) fn is_hosted_since(&self, view: &LeaseView) -> bool {
        view.mark.is_some_and(|mark| mark.data.epoch > self.tenure.epoch())
    }

    /// Whether the owner that the lease shows has hosted the zone.
    fn is_hosted(view: &LeaseView) -> bool {
        view.mark.is_some_and(|mark| mark.data.epoch >= view.epoch)
    }

    /// Whether the store has all that it acknowledged.
    pub(super) fn is_stored(&self) -> bool {
        self.is_store_behind == Some(false)
    }
}

impl Contender {
    /// Returns the lease of a suspended zone that may be claimed: one that is ours, or that another shard was granted
    /// and gave up, or lets run out, or would go on with from less than there is in memory.
    pub(super) fn own_lease(&self, now: Duration) -> Option<LeaseView> {
        let free = |(zone, lease): (&ZoneName, &SuspendedLease)| {
            let watch = self.watches.get(zone).filter(|watch| self.is_in_sight(watch))?;
            let is_free = match lease.standing(&watch.view) {
                Standing::Forgotten => false,
                Standing::Own => !self.waits(lease, now),
                Standing::Taken => self.is_first(lease, watch, now) || now >= watch.since + self.wait(watch),
            };
            // Others first, unless they would go on from less.
            let is_due = !lease.is_left || lease.is_store_behind();
            (is_free && is_due && now >= watch.not_before).then(|| watch.view.clone())
        };
        self.suspended.iter().find_map(free)
    }

    /// Returns the suspended zones whose lease was put back a while ago and is not claimed yet: put it back once more,
    /// for one that stands still is taken for free.
    pub fn waiting(&self, now: Duration) -> impl Iterator<Item = &SuspendedLease> {
        let still = self.config.ttl / 2;
        self.suspended_as(Standing::Own).filter(move |lease| {
            let watch = self.watches.get(&lease.tenure.zone);
            self.waits(lease, now) && watch.is_some_and(|watch| now >= watch.since + still)
        })
    }

    /// Notes which grants of suspended zones the look at `now` showed to be forgotten.
    pub(super) fn note_forgotten_leases(&mut self, now: Duration, unread: &BTreeSet<ZoneName>) {
        for (zone, lease) in &mut self.suspended {
            let is_forgotten = match self.watches.get(zone) {
                Some(watch) => lease.standing(&watch.view) == Standing::Forgotten,
                None => !unread.contains(zone),
            };
            if is_forgotten {
                lease.forgotten_at = Some(now);
            }
        }
    }

    /// Returns the moment from which on the grant of a lease that is seen at `now` was seen without a gap.
    pub(super) fn granted_since(&self, now: Duration, view: &LeaseView) -> Duration {
        let before = self.watches.get(&view.zone).filter(|watch| {
            let is_same = (watch.view.epoch, watch.view.nonce) == (view.epoch, view.nonce);
            is_same && now.saturating_sub(watch.seen_at) <= self.config.look_gap
        });
        before.map_or(now, |watch| watch.granted_since)
    }

    /// Whether the lease of a suspended zone is left alone for now, because the authority forgot it: a later grant may
    /// be forgotten as well, and the shard of that one, which has a newer memory, puts its own back within a ttl. A
    /// process that stops has no time for that.
    fn waits(&self, lease: &SuspendedLease, now: Duration) -> bool {
        !self.is_closed && lease.forgotten_at.is_some_and(|at| now < at + self.config.ttl)
    }

    /// Whether this memory goes on with a zone that another shard was granted, because the store lost some of it: no
    /// other owner hosted the zone since; or one did, and has had a ttl to claim what may be newer in its memory, while
    /// the owner that the lease shows has hosted nothing.
    fn is_first(&self, lease: &SuspendedLease, watch: &LeaseWatch, now: Duration) -> bool {
        let view = &watch.view;
        let has_had_time = now >= watch.granted_since + view.longer_ttl(self.config.ttl);
        let is_orphan = has_had_time && !SuspendedLease::is_hosted(view);
        lease.is_store_behind() && (!lease.is_hosted_since(view) || is_orphan)
    }
}

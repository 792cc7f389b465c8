//! The words between a [`Holder`](super::Holder) and its driver: what the driver is to do, and what it was answered.

use std::sync::Arc;
use std::time::Duration;

use everhold_protocol::{Epoch, Tick, ZoneName};

use super::remark::Remark;
use crate::limits::STATE_LAYOUT_MIN;
use crate::ownership::authority::{AuthorityError, LeaseView, Leases, Renewal};
pub use crate::ownership::contender::StoreData;
use crate::ownership::grant::{Nonce, Tenure};
use crate::ownership::guardian::Holdings;
use crate::ownership::lease::SharedLease;
use crate::ownership::membership::ShardView;
use crate::ownership::owner_mark::{OwnerMark, RulesTag};
use crate::ownership::rules_stamp::{RulesId, RulesStamp};
use crate::ownership::stamp::DataStamp;
use crate::ownership::state_layout::state_layout;
use crate::ownership::steps::AdoptionSteps;
use crate::ownership::vacancy::VacancyNews;

/// A command to the driver of a holder.
#[derive(Debug)]
pub enum HolderCommand {
    /// Begin a request now, and report its answer to [`Holder::handle_answer`](super::Holder::handle_answer).
    Ask {
        /// The request.
        request: Request,
        /// An answer that takes longer counts as [`AuthorityError::Unavailable`]. Without a bound, what is asked has
        /// one of its own.
        within: Option<Duration>,
    },
    /// Adopt a zone that was granted to this process, or take it up again from memory.
    Adopt(GrantedLease),
    /// Report a zone that this process leaves to others, because it ran other rules.
    ReportUnfit(UnfitZone),
    /// Raise or end an alarm: a zone has had no owner for long, or has one again.
    ReportVacancy(VacancyNews),
    /// Drop the memory of a suspended zone: another process goes on with it, and has written newer data.
    Drop(ZoneName),
    /// Pass on what the authority shows.
    Show(Views),
    /// Tell the guardian what is held now.
    TellGuardian(Holdings),
    /// Write a line of the log.
    Log(Remark),
    /// End this process at once: a tick of it is wedged at an input.
    EndProcess,
    /// Nothing is left to do: the thread may end.
    Stopped,
}

/// A request to the authority, to the directory of shards, or to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Renew leases by [`Authority::renew`](crate::ownership::Authority::renew). They may be answered in parts.
    Renew(Vec<Renewal>),
    /// [`Authority::reinstate`](crate::ownership::Authority::reinstate): the authority forgot these leases. They may be
    /// answered in parts.
    Reinstate(Vec<Renewal>),
    /// Read all leases by [`Authority::leases`](crate::ownership::Authority::leases).
    Leases,
    /// [`Membership::announce`](crate::ownership::Membership::announce) this shard.
    Announce,
    /// Read the directory by [`Membership::shards`](crate::ownership::Membership::shards).
    Shards,
    /// Declare a zone by [`Authority::declare_zone`](crate::ownership::Authority::declare_zone).
    Declare(ZoneName),
    /// Read the fence of a zone in the store; if that has no data of it, also which rules the world is to run
    /// ([`HolderAnswer::Unbegun`]).
    Fence(ZoneName),
    /// Look up the newest data that the store has of a zone that is suspended here.
    Data(ZoneName),
    /// Look up the newest data that the store has of a zone that ran other rules, those of this tag; and what there is
    /// of these: [`HolderAnswer::Sealed`], [`HolderAnswer::Unsealed`], or [`HolderAnswer::LaterLayout`].
    Foreign(ZoneName, RulesTag),
    /// Claim a lease by [`Authority::claim`](crate::ownership::Authority::claim).
    Claim {
        /// The lease, exactly as it was watched.
        watched: LeaseView,
        /// The new epoch is above this.
        epoch_floor: Epoch,
    },
    /// Release a lease by [`Authority::release`](crate::ownership::Authority::release).
    Release(Tenure),
    /// [`Membership::withdraw`](crate::ownership::Membership::withdraw) a shard that is dead.
    Retire(Nonce),
    /// [`Membership::withdraw`](crate::ownership::Membership::withdraw) this shard.
    Withdraw,
    /// Find out which input the zone's tick is at, and have the store refuse that input from now on.
    Blame(Tenure, Tick),
}

impl Request {
    /// Returns the number of questions in it, each of which is answered once.
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::Renew(renewals) | Self::Reinstate(renewals) => renewals.len(),
            _ => 1,
        }
    }
}

impl HolderAnswer {
    /// Returns the number of questions that it answers.
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::Renewed(answers) | Self::Reinstated(answers) => answers.len(),
            _ => 1,
        }
    }
}

/// The answer to one [`Request`], or to a part of it.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the answer to the request of its name")]
pub enum HolderAnswer {
    Renewed(Vec<RenewalAnswer>),
    Reinstated(Vec<RenewalAnswer>),
    Leases(Result<Leases, AuthorityError>),
    Announced(Result<(), AuthorityError>),
    Shards(Result<Vec<ShardView>, AuthorityError>),
    Declared(ZoneName, Result<(), AuthorityError>),
    Fence(StoreFence),
    Unbegun(StoreFence, Option<RulesId>),
    Data(ZoneName, StoreData),
    Sealed(SealedZone),
    Unsealed(UnsealedZone),
    LaterLayout(ZoneName, u16),
    Claimed(Result<Tenure, AuthorityError>),
    Released(Tenure, Result<(), AuthorityError>),
    Retired(Nonce, Result<(), AuthorityError>),
    Withdrawn(Result<(), AuthorityError>),
    Blamed(ZoneName, Tick, Culprit),
}

/// A renewal, and what became of it.
pub type RenewalAnswer = (Renewal, Result<(), AuthorityError>);

/// The fence of a zone, as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFence {
    /// The store has the zone.
    Epoch {
        /// The epoch of the fence.
        fence: Epoch,
        /// The end of the newest data, if there is any.
        data: Option<DataStamp>,
    },
    /// The store has never had the zone.
    None,
    /// The store has lost the zone, and its fence with it.
    Lost,
    /// The store did not answer, and why.
    Unknown(String),
}

/// A zone that the store has sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedZone {
    /// The zone.
    pub zone: ZoneName,
    /// The data that the seal ends.
    pub data: StoreData,
    /// The rules that it ran.
    pub rules: RulesStamp,
    /// The rules that the world is to run, if any are on record.
    pub wanted: Option<RulesId>,
}

/// A zone that ran other rules and is not sealed, with the rules of the world file that the store has kept of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsealedZone {
    /// The zone.
    pub zone: ZoneName,
    /// Its data.
    pub data: StoreData,
    /// The rules of the kept file.
    pub kept: RulesStamp,
    /// The rules that the world is to run, if any are on record.
    pub wanted: Option<RulesId>,
}

/// The culprit that a wedged tick stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// A player's input, which the store refuses from now on.
    Quarantined,
    /// A player's input, which the store did not take note of.
    Unwritten,
    /// No input: a system does not end.
    None,
}

/// A zone that was granted to this process and waits to be adopted.
#[derive(Clone, Debug)]
pub struct GrantedLease {
    /// The zone, and the right to act for it.
    pub tenure: Tenure,
    /// The lease, renewed from now on.
    pub lease: Arc<SharedLease>,
    /// The time on `CLOCK_BOOTTIME` at which the claim's answer came.
    pub at: Duration,
    /// The steps of the adoption, to be counted.
    pub steps: AdoptionSteps,
    /// The time for which the adoption waits for a shard with memory, if the store has lost the zone.
    pub reseed_grace: Duration,
    /// The last tick that the store acknowledged, as the lease says; 0 if it says nothing.
    pub promised: Tick,
}

/// A zone that this process did not claim, because it ran other rules, or is of a later layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the zone ran other rules under epoch {}: {}, and this process has {ours}{}",
    .mark.data.epoch, .mark.rules, later_build(*.layout)
)]
pub struct UnfitZone {
    /// The zone.
    pub zone: ZoneName,
    /// The mark in its lease.
    pub mark: OwnerMark,
    /// The rules of this process.
    pub ours: RulesTag,
    /// The layout of its newest checkpoint, if this build does not read it.
    pub layout: Option<u16>,
}

fn later_build(layout: Option<u16>) -> String {
    let words = |layout| {
        format!(
            "; its state has layout {layout}, and this build reads {STATE_LAYOUT_MIN} to {}: start the build that \
             wrote it, or a later one",
            state_layout()
        )
    };
    layout.map(words).unwrap_or_default()
}

/// The result of one look at the authority, for those who route by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// The leases that could be read.
    pub leases: Vec<LeaseView>,
    /// The directory of shards, if it could be read.
    pub shards: Option<Vec<ShardView>>,
}

/// The progress of a hosted zone, as its threads report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Attached players.
    pub players: u32,
    /// The last tick that the store acknowledged.
    pub acknowledged: Tick,
    /// The tick that the zone is in; 0 between two ticks.
    pub stepping: Tick,
    /// The zone is over.
    pub has_ended: bool,
}

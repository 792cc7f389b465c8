//! Carries out what the holder asks of authority and store, each as a future of its own, and names the answers. It
//! decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everhold_core::durability::blame::Blame;
use everhold_core::durability::rules_store::RulesStore;
use everhold_core::durability::store::{StoreError, ZoneStore, ZoneSummary};
use everhold_core::ownership::holder::command::{
    Culprit, HolderAnswer, RenewalAnswer, Request, SealedZone, StoreData, StoreFence, UnsealedZone,
};
use everhold_core::ownership::{
    Authority, AuthorityError, KeyFingerprints, LeaseTerms, Membership, Nonce, Renewal, RulesId, RulesTag, Tenure,
};
use everhold_core::zone::{CaptureTitle, RestoreError};
use everhold_protocol::{Tick, ZoneName};

use super::hosted::HostedZone;
use crate::deadline::{Silence, answer, within};
use crate::host::blame;

/// The services that a keeper asks, and this process as it introduces itself to them.
pub(super) struct Asker {
    pub(super) authority: Arc<dyn Authority>,
    pub(super) membership: Arc<dyn Membership>,
    pub(super) store: Arc<dyn ZoneStore>,
    pub(super) rules: Arc<dyn RulesStore>,
    pub(super) me: Nonce,
    /// The address at which this process serves players.
    pub(super) addr: SocketAddr,
    pub(super) keys: KeyFingerprints,
    pub(super) ttl: Duration,
}

impl Asker {
    /// Asks, and waits for the answer for as long as `max`. `hosted` is the zone that a request to blame is about.
    pub(super) async fn ask(
        self: Arc<Self>,
        request: Request,
        max: Option<Duration>,
        hosted: Option<HostedZone>,
    ) -> HolderAnswer {
        let (authority, addr) = (self.authority.as_ref(), self.addr);
        let terms = LeaseTerms { addr, ttl: self.ttl };
        match request {
            Request::Renew(renewals) => {
                let outcomes = within(max, authority.renew(&renewals)).await;
                HolderAnswer::Renewed(renewal_answers(renewals, outcomes))
            }
            Request::Reinstate(renewals) => {
                let outcomes = within(max, authority.reinstate(&renewals, terms)).await;
                HolderAnswer::Reinstated(renewal_answers(renewals, outcomes))
            }
            Request::Leases => HolderAnswer::Leases(answer(max, authority.leases()).await),
            Request::Announce => {
                let announce = self.membership.announce(self.me, addr, &self.keys, self.ttl);
                HolderAnswer::Announced(answer(max, announce).await)
            }
            Request::Shards => HolderAnswer::Shards(answer(max, self.membership.shards()).await),
            Request::Declare(zone) => {
                let outcome = answer(max, authority.declare_zone(&zone)).await;
                HolderAnswer::Declared(zone, outcome)
            }
            Request::Fence(zone) => self.fence(&zone, max).await,
            Request::Data(zone) => self.data(zone, max).await,
            Request::Foreign(zone, ran) => self.foreign(zone, ran, max).await,
            Request::Claim { watched, epoch_floor } => {
                let claim = authority.claim(&watched, self.me, terms, epoch_floor);
                HolderAnswer::Claimed(answer(max, claim).await)
            }
            Request::Release(tenure) => {
                let outcome = answer(max, authority.release(&tenure)).await;
                HolderAnswer::Released(tenure, outcome)
            }
            Request::Retire(nonce) => {
                let outcome = answer(max, self.membership.withdraw(nonce)).await;
                HolderAnswer::Retired(nonce, outcome)
            }
            Request::Withdraw => HolderAnswer::Withdrawn(answer(max, self.membership.withdraw(self.me)).await),
            Request::Blame(tenure, tick) => {
                let hosted = hosted.expect("a tick is blamed of a zone that is hosted");
                let culprit = self.culprit(&tenure, tick, &hosted).await;
                HolderAnswer::Blamed(tenure.zone, tick, culprit)
            }
        }
    }

    /// Splits a request into one for each node that it goes to.
    pub(super) fn parts(&self, request: Request) -> Vec<Request> {
        match request {
            Request::Renew(renewals) => self.by_node(renewals).map(Request::Renew).collect(),
            Request::Reinstate(renewals) => self.by_node(renewals).map(Request::Reinstate).collect(),
            other => vec![other],
        }
    }

    fn by_node(&self, renewals: Vec<Renewal>) -> impl Iterator<Item = Vec<Renewal>> {
        let mut nodes: BTreeMap<u64, Vec<Renewal>> = BTreeMap::new();
        for renewal in renewals {
            let node = self.authority.node_of(&renewal.tenure.zone);
            nodes.entry(node).or_default().push(renewal);
        }
        nodes.into_values()
    }

    async fn fence(&self, zone: &ZoneName, max: Option<Duration>) -> HolderAnswer {
        let asked_at = Instant::now();
        let fence = match self.summary(zone, max).await {
            Ok(Some(summary)) if summary.data() != StoreData::Nothing => return HolderAnswer::Fence(summary.fence()),
            Ok(Some(summary)) => summary.fence(),
            Ok(None) => StoreFence::None,
            Err(StoreError::Lost) => return HolderAnswer::Fence(StoreFence::Lost),
            Err(error) => return HolderAnswer::Fence(StoreFence::Unknown(error.to_string())),
        };
        match self.wanted(asked_at, max).await {
            Ok(wanted) => HolderAnswer::Unbegun(fence, wanted),
            Err(error) => HolderAnswer::Fence(StoreFence::Unknown(error.to_string())),
        }
    }

    async fn data(&self, zone: ZoneName, max: Option<Duration>) -> HolderAnswer {
        let data = match self.summary(&zone, max).await {
            Ok(Some(summary)) => summary.data(),
            Ok(None) | Err(StoreError::Lost) => StoreData::Nothing,
            Err(error) => StoreData::Unknown(error.to_string()),
        };
        HolderAnswer::Data(zone, data)
    }

    /// Looks up a zone that ran the rules of this tag, and what there is of those.
    async fn foreign(&self, zone: ZoneName, ran: RulesTag, max: Option<Duration>) -> HolderAnswer {
        match within(max, self.ask_foreign(&zone, ran)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(StoreError::Lost)) => HolderAnswer::Data(zone, StoreData::Nothing),
            Ok(Err(error)) => HolderAnswer::Data(zone, StoreData::Unknown(error.to_string())),
            Err(Silence { .. }) => HolderAnswer::Data(zone, StoreData::Unknown("no answer in time".to_owned())),
        }
    }

    async fn ask_foreign(&self, zone: &ZoneName, ran: RulesTag) -> Result<HolderAnswer, StoreError> {
        let zone = zone.clone();
        let Some(summary) = self.store.summary(&zone).await? else {
            return Ok(HolderAnswer::Data(zone, StoreData::Nothing));
        };
        let data = summary.data();
        if let Some(seal) = summary.seal {
            return Ok(HolderAnswer::Sealed(SealedZone {
                zone,
                data,
                rules: seal.rules,
                wanted: self.rules.wanted().await?,
            }));
        }
        // Before anything else: what a later build wrote is not claimed, whichever rules it ran.
        if let Some(head) = summary.head
            && let Some(Some(part)) = self.store.read_parts(&zone, None, &[(head, 0)]).await?.pop()
            && let Err(RestoreError::Layout { found }) = CaptureTitle::read(&part)
        {
            return Ok(HolderAnswer::LaterLayout(zone, found));
        }
        let kept = self.rules.kept_files().await?;
        let kept = kept.into_iter().find(|id| RulesTag::new(id) == ran);
        let Some(file) = (match kept {
            Some(id) => self.rules.kept_file(id).await?,
            None => None,
        }) else {
            return Ok(HolderAnswer::Data(zone, data));
        };
        Ok(HolderAnswer::Unsealed(UnsealedZone {
            zone,
            data,
            kept: file.rules,
            wanted: self.rules.wanted().await?,
        }))
    }

    /// Reads which rules the world is to run, in what is left of the time for a question that was asked before.
    async fn wanted(&self, asked_at: Instant, max: Option<Duration>) -> Result<Option<RulesId>, StoreError> {
        let left = max.map(|max| max.saturating_sub(asked_at.elapsed()));
        let wanted = within(left, self.rules.wanted()).await;
        wanted.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
    }

    async fn summary(&self, zone: &ZoneName, max: Option<Duration>) -> Result<Option<ZoneSummary>, StoreError> {
        let summary = within(max, self.store.summary(zone)).await;
        summary.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
    }

    async fn culprit(&self, tenure: &Tenure, tick: Tick, hosted: &HostedZone) -> Culprit {
        let HostedZone { guard, gauges, .. } = hosted;
        match blame(self.store.as_ref(), tenure, guard, tick, &gauges.probe).await {
            Blame::Input(..) => Culprit::Quarantined,
            Blame::Unwritten => Culprit::Unwritten,
            Blame::Nobody => Culprit::None,
        }
    }
}

/// Pairs renewals with their outcomes; silence is the same for all.
fn renewal_answers(
    renewals: Vec<Renewal>,
    outcomes: Result<Vec<Result<(), AuthorityError>>, Silence>,
) -> Vec<RenewalAnswer> {
    match outcomes {
        Ok(outcomes) => {
            assert_eq!(outcomes.len(), renewals.len(), "each renewal has an outcome");
            renewals.into_iter().zip(outcomes).collect()
        }
        Err(silence) => renewals
            .into_iter()
            .map(|renewal| (renewal, Err(silence.into())))
            .collect(),
    }
}

//! The holder, told by circumstances: with an authority in memory, on a made-up clock in ms.

mod claims;
mod ends;
mod fit;
mod looks;
mod marks;
mod renewals;
mod sealed;
mod stops;
mod wedges;

use everhold_protocol::Epoch;

use super::command::{Culprit, GrantedLease, Progress, StoreData, StoreFence, Views};
use super::*;
use crate::limits::STATE_LAYOUT;
use crate::ownership::lease::{Lease, LeaseState};
use crate::ownership::{
    AuthorityError, DataStamp, EndReason, Fingerprint, Grant, LeaseView, Leases, Remains, Renewal, RulesId, ShardView,
    SharedLease, Tenure,
};

/// Renewals every 1,000 ms, retries after 250 ms, a pause is a gap above 500 ms, a stall is 2,000 ms without a tick.
const TTL: u64 = 4_000;
const MARGIN: u64 = 666;
const RENEW_EVERY: u64 = 1_000;
const RETRY_EVERY: u64 = 250;
const ANSWER_MAX: u64 = 500;
const TURN: u64 = 100;

const ME: Nonce = Nonce(7);
const OTHER: Nonce = Nonce(9);

const ZONES: [&str; 3] = ["forest", "hills", "meadow"];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(zone: &str) -> ZoneName {
    zone.parse().unwrap()
}

fn tenure(zone: &str, epoch: u32) -> Tenure {
    Tenure {
        zone: name(zone),
        grant: Grant::issue(Epoch(epoch), ME),
    }
}

fn rules(number: u8) -> RulesTag {
    RulesTag::new(&[number; 32])
}

const fn rules_stamp(number: u8) -> RulesStamp {
    RulesStamp {
        id: [number; 32],
        code: 1,
        layout: STATE_LAYOUT,
    }
}

fn keys(login: u64) -> KeyFingerprints {
    KeyFingerprints::new(vec![Fingerprint(login)], Vec::new(), Vec::new())
}

fn view(zone: &str, epoch: u32, nonce: Nonce) -> LeaseView {
    LeaseView {
        zone: name(zone),
        epoch: Epoch(epoch),
        nonce,
        beat: 1,
        released: false,
        addr: ([127, 0, 0, 1], 1).into(),
        players: 0,
        ttl: Duration::ZERO,
        mark: None,
    }
}

fn away<T>() -> Result<T, AuthorityError> {
    Err(AuthorityError::Unavailable("away".to_owned()))
}

/// An authority and a store, as far as a holder asks them.
struct FakeAuthority {
    leases: BTreeMap<ZoneName, LeaseView>,
    /// Zones on a node that is gone.
    unread: BTreeSet<ZoneName>,
    /// Zones whose lease makes no sense.
    damaged: BTreeSet<ZoneName>,
    /// Nothing is answered.
    is_away: bool,
    /// This shard cannot be announced.
    takes_no_shards: bool,
    shards: Vec<ShardView>,
    fence: StoreFence,
    data: StoreData,
    /// The store has no data of any zone.
    is_unbegun: bool,
    /// The rules of a seal.
    sealed: Option<RulesStamp>,
    /// The rules of a kept file, of a zone that is not sealed.
    kept: Option<RulesStamp>,
    later_layout: Option<u16>,
    /// The rules that the world is to run.
    wanted: Option<RulesId>,
    culprit: Culprit,
    /// Between a request and its answer.
    latency: Duration,
}

impl FakeAuthority {
    fn new() -> Self {
        let lease = |zone| LeaseView {
            released: true,
            ..view(zone, 1, Nonce(0))
        };
        Self {
            leases: ZONES.map(|zone| (name(zone), lease(zone))).into(),
            unread: BTreeSet::new(),
            damaged: BTreeSet::new(),
            is_away: false,
            takes_no_shards: false,
            shards: Vec::new(),
            fence: StoreFence::None,
            data: StoreData::Nothing,
            is_unbegun: false,
            sealed: None,
            kept: None,
            later_layout: None,
            wanted: None,
            culprit: Culprit::None,
            latency: Duration::ZERO,
        }
    }

    fn answer(&mut self, request: Request) -> HolderAnswer {
        match request {
            Request::Renew(renewals) => {
                let renew = |renewal| {
                    let outcome = self.renew(&renewal);
                    (renewal, outcome)
                };
                HolderAnswer::Renewed(renewals.into_iter().map(renew).collect())
            }
            Request::Reinstate(renewals) => {
                for Renewal { tenure, .. } in &renewals {
                    let mut own = view(tenure.zone.as_str(), tenure.epoch().0, ME);
                    own.beat += self.leases.get(&tenure.zone).map_or(0, |before| before.beat);
                    self.leases.insert(tenure.zone.clone(), own);
                }
                HolderAnswer::Reinstated(renewals.into_iter().map(|renewal| (renewal, Ok(()))).collect())
            }
            Request::Leases if self.is_away => HolderAnswer::Leases(away()),
            Request::Leases => HolderAnswer::Leases(Ok(self.seen())),
            Request::Announce if self.is_away || self.takes_no_shards => HolderAnswer::Announced(away()),
            Request::Announce => HolderAnswer::Announced(Ok(())),
            Request::Shards if self.is_away => HolderAnswer::Shards(away()),
            Request::Shards => HolderAnswer::Shards(Ok(self.shards.clone())),
            Request::Declare(zone) if self.is_away => HolderAnswer::Declared(zone, away()),
            Request::Declare(zone) => {
                let lease = view(zone.as_str(), 0, Nonce(0));
                self.leases.insert(zone.clone(), lease);
                HolderAnswer::Declared(zone, Ok(()))
            }
            Request::Fence(_) if self.is_unbegun => HolderAnswer::Unbegun(self.fence.clone(), self.wanted),
            Request::Fence(_) => HolderAnswer::Fence(self.fence.clone()),
            Request::Data(zone) => HolderAnswer::Data(zone, self.data.clone()),
            Request::Foreign(zone, _) => self.foreign(zone),
            Request::Claim { watched, epoch_floor } => HolderAnswer::Claimed(self.claim(&watched, epoch_floor)),
            Request::Release(tenure) => {
                let outcome = self.release(&tenure);
                HolderAnswer::Released(tenure, outcome)
            }
            Request::Retire(nonce) => {
                self.shards.retain(|shard| shard.nonce != nonce);
                HolderAnswer::Retired(nonce, Ok(()))
            }
            Request::Withdraw if self.is_away => HolderAnswer::Withdrawn(away()),
            Request::Withdraw => HolderAnswer::Withdrawn(Ok(())),
            Request::Blame(tenure, tick) => HolderAnswer::Blamed(tenure.zone, tick, self.culprit),
        }
    }

    fn seen(&self) -> Leases {
        let is_read = |view: &&LeaseView| !self.unread.contains(&view.zone) && !self.damaged.contains(&view.zone);
        let views = self.leases.values().filter(is_read);
        Leases {
            views: views.cloned().collect(),
            unread: self.unread.clone(),
            damaged: self.damaged.clone(),
        }
    }

    fn lease(&mut self, zone: &ZoneName) -> Result<&mut LeaseView, AuthorityError> {
        if self.is_away || self.unread.contains(zone) {
            return away();
        }
        let unknown = || AuthorityError::ZoneUnknown(zone.clone());
        self.leases.get_mut(zone).ok_or_else(unknown)
    }

    /// The lease, if it is still by this grant.
    fn own_lease(&mut self, tenure: &Tenure) -> Result<&mut LeaseView, AuthorityError> {
        let lease = self.lease(&tenure.zone)?;
        let grant = tenure.grant;
        if (lease.epoch, lease.nonce, lease.released) == (grant.epoch(), grant.nonce(), false) {
            Ok(lease)
        } else {
            Err(AuthorityError::Held(Box::new(lease.clone())))
        }
    }

    fn renew(&mut self, renewal: &Renewal) -> Result<(), AuthorityError> {
        self.own_lease(&renewal.tenure)?.beat += 1;
        Ok(())
    }

    fn release(&mut self, tenure: &Tenure) -> Result<(), AuthorityError> {
        self.own_lease(tenure)?.released = true;
        Ok(())
    }

    fn claim(&mut self, watched: &LeaseView, epoch_floor: Epoch) -> Result<Tenure, AuthorityError> {
        let lease = self.lease(&watched.zone)?;
        let epoch = watched.epoch.max(epoch_floor).next().unwrap();
        let zone = watched.zone.as_str();
        if (lease.epoch, lease.nonce, lease.released) == (epoch, ME, false) {
            return Ok(tenure(zone, epoch.0));
        }
        if lease != watched {
            return Err(AuthorityError::Held(Box::new(lease.clone())));
        }
        *lease = view(zone, epoch.0, ME);
        Ok(tenure(zone, epoch.0))
    }
}

/// The store acknowledged tick 100 of the epoch under which all zones are hosted.
const fn stamp(epoch: u32, tick: u64) -> DataStamp {
    DataStamp {
        epoch: Epoch(epoch),
        tick: everhold_protocol::Tick(tick),
    }
}

const ACKNOWLEDGED: DataStamp = DataStamp {
    epoch: Epoch(2),
    tick: everhold_protocol::Tick(100),
};

const MEMORY: Remains = Remains::Memory {
    acknowledged: ACKNOWLEDGED,
};

/// A change of the authority in the middle of a test.
type Change = fn(&mut FakeAuthority);

/// A request with the time at which it was made.
struct Asked {
    at: Duration,
    request: Request,
    within: Option<Duration>,
}

/// A zone that runs here.
struct Hosted {
    tenure: Tenure,
    lease: std::sync::Arc<SharedLease>,
    progress: Progress,
    /// Its tick does not end.
    is_stuck: bool,
}

/// A holder and what is around it.
struct Rig {
    holder: Holder,
    authority: FakeAuthority,
    now: Duration,
    asked: Vec<Asked>,
    unanswered: VecDeque<Request>,
    /// The number of renewals in each request for some.
    batches: Vec<usize>,
    remarks: Vec<Remark>,
    /// Every other command.
    done: Vec<HolderCommand>,
    hosted: BTreeMap<ZoneName, Hosted>,
}

impl Rig {
    /// A holder that would rather have all zones, and has none.
    fn new() -> Self {
        let zones: BTreeSet<ZoneName> = ZONES.map(name).into();
        let contender = ContenderConfig {
            adoptions_max: ZONES.len(),
            ..ContenderConfig::new(ms(TTL), 8, rules(1), zones.clone(), 1)
        };
        let config = HolderConfig {
            me: ME,
            keys: keys(10),
            lease: LeaseConfig::new(TTL, 20),
            contender,
            rules: Some(rules_stamp(1)),
            zones,
            reseed_grace: ms(2 * TTL),
        };
        Self {
            holder: Holder::new(config),
            authority: FakeAuthority::new(),
            now: ms(10_000),
            asked: Vec::new(),
            unanswered: VecDeque::new(),
            batches: Vec::new(),
            remarks: Vec::new(),
            done: Vec::new(),
            hosted: BTreeMap::new(),
        }
    }

    /// A holder that hosts all zones, each under epoch 2. What has been asked and done so far is forgotten.
    fn hosting() -> Self {
        let mut rig = Self::new();
        rig.turn();
        rig.host_all();
        assert_eq!(rig.hosted.len(), ZONES.len());
        rig.turn();
        rig.forget();
        rig
    }

    fn forget(&mut self) {
        self.asked.clear();
        self.batches.clear();
        self.remarks.clear();
        self.done.clear();
    }

    /// Adopts what was granted.
    fn host_all(&mut self) {
        let granted = self.granted();
        self.done.retain(|command| !matches!(command, HolderCommand::Adopt(_)));
        for GrantedLease { tenure, lease, .. } in granted {
            self.holder.handle_hosted(&tenure);
            lease.with(|lease| lease.handle_tick(self.now));
            let zone = tenure.zone.clone();
            let hosted = Hosted {
                tenure,
                lease,
                progress: Progress::default(),
                is_stuck: false,
            };
            self.hosted.insert(zone, hosted);
        }
    }

    fn granted(&self) -> Vec<GrantedLease> {
        let granted = self.done.iter().filter_map(|command| match command {
            HolderCommand::Adopt(granted) => Some(granted.clone()),
            _ => None,
        });
        granted.collect()
    }

    /// Returns the grants that the guardian was last told.
    fn holdings(&self) -> Vec<Tenure> {
        let holdings = self.done.iter().rev().find_map(|command| match command {
            HolderCommand::TellGuardian(holdings) => Some(holdings),
            _ => None,
        });
        holdings.into_iter().flat_map(Holdings::tenures).collect()
    }

    fn lease(&self, zone: &str) -> &SharedLease {
        &self.hosted[&name(zone)].lease
    }

    fn state(&self, zone: &str) -> LeaseState {
        self.lease(zone).with(|lease| lease.state())
    }

    /// The tick thread of each zone turns once, unless it is stuck.
    fn tick(&mut self) {
        let now = self.now;
        for hosted in self.hosted.values() {
            let tick = |lease: &mut Lease| {
                lease.handle_iteration(now);
                if !hosted.is_stuck && lease.may_act(now) {
                    lease.handle_tick(now);
                }
            };
            hosted.lease.with(tick);
            self.holder.handle_progress(&hosted.tenure, hosted.progress);
        }
    }

    /// Carries out what the holder wants now; what is asked stays unanswered.
    fn poll(&mut self) {
        while let Some(command) = self.holder.poll_command(self.now) {
            match command {
                HolderCommand::Ask { request, within } => {
                    if let Request::Renew(renewals) = &request {
                        self.batches.push(renewals.len());
                    }
                    for request in parts(request) {
                        self.unanswered.push_back(request.clone());
                        self.asked.push(Asked {
                            at: self.now,
                            request,
                            within,
                        });
                    }
                }
                HolderCommand::Log(remark) => self.remarks.push(remark),
                command => self.done.push(command),
            }
        }
    }

    /// Answers the oldest request. Returns whether there was one.
    fn answer(&mut self) -> bool {
        let Some(request) = self.unanswered.pop_front() else {
            return false;
        };
        self.now += self.authority.latency;
        let answer = self.authority.answer(request);
        self.holder.handle_answer(self.now, answer);
        self.poll();
        true
    }

    fn settle(&mut self) {
        self.poll();
        while self.answer() {}
    }

    /// Waits until it is time for the next turn, and begins it.
    fn begin_turn(&mut self) {
        let at = self.holder.poll_timeout().expect("it is at rest");
        self.now = self.now.max(at);
        self.tick();
        self.poll();
    }

    /// Begins a turn, and goes on until a claim is begun: the store is asked for a fence.
    fn begin_claim(&mut self) {
        self.begin_turn();
        while !self.unanswered.iter().any(is_claim) {
            assert!(self.answer(), "nothing is claimed");
        }
    }

    /// A whole turn; what was asked in it.
    fn turn(&mut self) -> Vec<Request> {
        let from = self.asked.len();
        self.begin_turn();
        self.settle();
        self.asked[from..].iter().map(|asked| asked.request.clone()).collect()
    }

    /// Turns for so long.
    fn run(&mut self, for_ms: u64) {
        self.settle();
        let until = self.now + ms(for_ms);
        while self.holder.poll_timeout().is_some_and(|at| at <= until) {
            self.turn();
        }
        self.now = self.now.max(until);
    }

    fn asked(&self, wanted: impl Fn(&Request) -> bool) -> Vec<&Asked> {
        self.asked.iter().filter(|asked| wanted(&asked.request)).collect()
    }

    /// Returns the times at which the lease of a zone was renewed.
    fn renewed_at(&self, zone: &str) -> Vec<Duration> {
        let wanted = |request: &Request| matches!(request, Request::Renew(part) if part[0].tenure.zone == name(zone));
        self.asked(wanted).iter().map(|asked| asked.at).collect()
    }
}

/// Splits a request as a driver does whose authority has each zone on a node of its own.
fn parts(request: Request) -> Vec<Request> {
    match request {
        Request::Renew(renewals) => renewals.into_iter().map(|one| Request::Renew(vec![one])).collect(),
        Request::Reinstate(renewals) => renewals.into_iter().map(|one| Request::Reinstate(vec![one])).collect(),
        other => vec![other],
    }
}

const fn is_claim(request: &Request) -> bool {
    matches!(request, Request::Claim { .. } | Request::Fence(_))
}

fn remark(zone: &str, remark: ZoneRemark) -> Remark {
    Remark::Zone(name(zone), remark)
}

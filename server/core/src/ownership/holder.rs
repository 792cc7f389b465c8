//! The holder decides what a process does about its leases, and when: it renews what it holds, claims what it may,
//! declares what is missing, and gives up what fails. It reads no clock, asks no authority, starts no thread, and
//! writes no log itself.
//!
//! ```text
//!         it is time, or a zone may have been released
//!  at rest ───────► wedged tick? ──► renewals ──► look ──► mending ──► claims
//!     ▲                                  │          │                    │
//!     └──────────────────────────────────┴──────────┴────────────────────┘
//!                     no renewal answered   no lease read   nothing to claim
//! ```
//!
//! One step follows the other when everything that was asked is answered: a turn asks for all renewals at once, for
//! leases and directory at once, for all that is to be mended at once, and for everything else by itself. Each request
//! of a turn has a bound, so that the next renewals are in time whatever the authority does; only a wedged tick is
//! asked about for as long as its lease lasts.
//!
//! What a shard orders (an end, a stop) is to wait until the holder is at rest: then no claim is under way of which the
//! shard knows nothing.

mod claim;
pub mod command;
mod dead;
mod held;
mod look;
mod mending;
pub mod remark;
mod renewal;
mod shun;
mod stop;
mod wedge;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use everhold_protocol::ZoneName;

use self::claim::Claim;
use self::command::{HolderAnswer, HolderCommand, Request};
use self::dead::DeadShards;
use self::held::{HeldLease, Releases};
use self::look::Look;
use self::remark::{Outages, Remark, ZoneRemark};
use self::renewal::Renewals;
use self::shun::ShunnedZones;
use self::stop::{STOP_ANSWER_MAX, STOP_LOOK_EVERY, StopCourse};
use super::census::Census;
use super::contender::{Contender, ContenderConfig};
use super::fingerprint::KeyFingerprints;
use super::grant::Nonce;
use super::guardian::Holdings;
use super::key_check::KeyWatch;
use super::lease::LeaseConfig;
use super::owner_mark::RulesTag;
use super::rules_stamp::RulesStamp;
use super::vacancy::Vacancies;

/// Turns are no closer together than this, whatever falls due.
const TURN_MIN: Duration = Duration::from_millis(1);

/// The configuration of a holder.
#[derive(Clone, Debug)]
pub struct HolderConfig {
    /// This process.
    pub me: Nonce,
    /// The keys that it takes as good.
    pub keys: KeyFingerprints,
    /// A lease's times.
    pub lease: LeaseConfig,
    /// The configuration of its contender.
    pub contender: ContenderConfig,
    /// The rules under which it runs zones. `None`: it takes over no zone from other rules, and begins any.
    pub rules: Option<RulesStamp>,
    /// The world's zones.
    pub zones: BTreeSet<ZoneName>,
    /// The time for which a zone must be missing from the authority before it is declared again.
    pub reseed_grace: Duration,
}

/// Holds the leases of one process, and contends for more.
#[derive(Debug)]
pub struct Holder {
    me: Nonce,
    lease: LeaseConfig,
    /// The rules under which this process runs zones.
    rules: RulesTag,
    stamp: Option<RulesStamp>,
    contender: Contender,
    census: Census,
    key_watch: KeyWatch,
    dead: DeadShards,
    held: BTreeMap<ZoneName, HeldLease>,
    /// Zones that failed here: they are left to others for a while.
    shunned: ShunnedZones,
    /// Zones with a wedged tick whose input is being looked for. No turn waits for that.
    blaming: BTreeSet<ZoneName>,
    /// Zones that ran other rules, as the event said: one for each zone and rules.
    unfit: BTreeMap<ZoneName, RulesTag>,
    vacancies: Vacancies,
    /// The holdings that the guardian would have to release.
    holdings: Holdings,
    announce_at: Duration,
    stop: StopCourse,
    outages: Outages,
    commands: VecDeque<HolderCommand>,
    /// Requests that are not answered yet.
    unanswered: usize,
    step: HolderStep,
    next_turn: Duration,
    renewals: Renewals,
    look: Look,
    /// Zones whose lease made no sense at the last look.
    damaged: BTreeSet<ZoneName>,
    claim: Option<Claim>,
    /// Claims whose outcome is unknown, by zone.
    open_claims: BTreeMap<ZoneName, Claim>,
    /// Those of them that took effect, as the last look showed.
    unconfirmed: BTreeSet<ZoneName>,
    /// The moment at which the claims of this turn began.
    claims_from: Duration,
    releases: Releases,
    /// Whether none of the releases that were asked for last has been answered.
    are_releases_unanswered: bool,
}

/// The step that follows when all requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HolderStep {
    /// The next turn begins when it is time.
    Rest,
    Blaming,
    Renewing,
    Looking,
    /// Leases and zones that may have been forgotten are put back, declared, or looked up.
    Mending,
    Claiming,
    /// The directory is left when everything is released.
    Stopping,
    Withdrawing,
    Stopped,
}

impl Holder {
    /// A holder that holds nothing yet, in a process that is in the directory of shards. Its first turn is due at once.
    #[must_use]
    pub fn new(config: HolderConfig) -> Self {
        let mut holdings = Holdings::default();
        holdings.note_announced(config.me);
        let vacancies = Vacancies::new(config.zones.clone(), config.lease.ttl, config.contender.look_gap);
        Self {
            me: config.me,
            lease: config.lease,
            rules: config.contender.rules,
            stamp: config.rules,
            census: Census::new(config.zones, config.contender.preferred.clone(), config.reseed_grace),
            contender: Contender::new(config.contender),
            key_watch: KeyWatch::new(config.keys),
            dead: DeadShards::new(config.me, config.lease.ttl, config.lease.ttl / 4),
            held: BTreeMap::new(),
            shunned: ShunnedZones::default(),
            blaming: BTreeSet::new(),
            unfit: BTreeMap::new(),
            vacancies,
            commands: [HolderCommand::TellGuardian(holdings.clone())].into(),
            holdings,
            announce_at: Duration::ZERO,
            stop: StopCourse::None,
            outages: Outages::default(),
            unanswered: 0,
            step: HolderStep::Rest,
            next_turn: Duration::ZERO,
            renewals: Renewals::default(),
            look: Look::default(),
            damaged: BTreeSet::new(),
            claim: None,
            open_claims: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            claims_from: Duration::ZERO,
            releases: VecDeque::new(),
            are_releases_unanswered: false,
        }
    }

    /// The next thing to do at `now`. Read the clock for each call: what is asked counts as sent from `now` on. `None`:
    /// wait for an answer, or for [`Holder::poll_timeout`].
    pub fn poll_command(&mut self, now: Duration) -> Option<HolderCommand> {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Some(command);
            }
            if self.unanswered > 0 || !self.advance(now) {
                return None;
            }
        }
    }

    /// Returns the time on `CLOCK_BOOTTIME` at which the holder, which is at rest, is to be polled again. `None`: it
    /// waits for answers, and hears no orders meanwhile.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let at = self.stop_by().map_or(self.next_turn, |at| at.min(self.next_turn));
        self.is_at_rest().then_some(at)
    }

    /// A zone may have been released: the next turn begins at once.
    pub const fn handle_release_hint(&mut self) {
        self.next_turn = Duration::ZERO;
    }

    /// The answer to a [`Request`]; `now` is read after it came.
    ///
    /// # Panics
    /// If that was not asked.
    pub fn handle_answer(&mut self, now: Duration, answer: HolderAnswer) {
        if let HolderAnswer::Blamed(zone, tick, culprit) = answer {
            return self.handle_blamed(now, zone, tick, culprit);
        }
        self.unanswered = self
            .unanswered
            .checked_sub(answer.count())
            .expect("an answer belongs to a request that was made");
        match answer {
            HolderAnswer::Renewed(answers) => self.handle_renewed(now, answers),
            HolderAnswer::Reinstated(answers) => self.handle_reinstated(now, answers),
            HolderAnswer::Leases(leases) => self.handle_leases(now, leases),
            HolderAnswer::Announced(outcome) => self.handle_announced(now, outcome),
            HolderAnswer::Shards(shards) => self.handle_shards(now, shards),
            HolderAnswer::Declared(zone, outcome) => self.handle_declared(now, zone, outcome),
            HolderAnswer::Fence(fence) => self.handle_fence(now, fence),
            HolderAnswer::Unbegun(fence, wanted) => self.handle_unbegun(now, fence, wanted),
            HolderAnswer::Data(_, data) if self.claim.is_some() => self.handle_claim_data(now, &data),
            HolderAnswer::Data(zone, data) => self.handle_data(&zone, &data),
            HolderAnswer::Sealed(sealed) => self.handle_claim_sealed(now, &sealed),
            HolderAnswer::Unsealed(unsealed) => self.handle_claim_unsealed(now, &unsealed),
            HolderAnswer::LaterLayout(_, layout) => self.handle_claim_later_layout(now, layout),
            HolderAnswer::Claimed(outcome) => self.handle_claimed(now, outcome),
            HolderAnswer::Released(tenure, outcome) => self.handle_released(&tenure, outcome),
            HolderAnswer::Retired(nonce, outcome) => self.handle_retired(nonce, &outcome),
            HolderAnswer::Withdrawn(outcome) => self.handle_withdrawn(outcome),
            HolderAnswer::Blamed(..) => unreachable!("no turn waits for it"),
        }
    }

    /// Takes the next step. Returns whether there was one to take.
    fn advance(&mut self, now: Duration) -> bool {
        if self.release_some() {
            return true;
        }
        match self.step {
            HolderStep::Stopping => self.withdraw(),
            HolderStep::Withdrawing => {
                self.commands.push_back(HolderCommand::Stopped);
                self.step = HolderStep::Stopped;
            }
            HolderStep::Stopped => return false,
            _ if self.is_stop_due(now) => self.begin_stop(now),
            HolderStep::Rest if now < self.next_turn => return false,
            HolderStep::Rest => self.begin_turn(now),
            HolderStep::Blaming => self.begin_renewals(now),
            HolderStep::Renewing => self.conclude_renewals(now),
            HolderStep::Looking => self.conclude_look(now),
            HolderStep::Mending => {
                self.step = HolderStep::Claiming;
                self.claims_from = now;
                self.note_waiting();
            }
            HolderStep::Claiming => self.claim_next(now),
        }
        true
    }

    /// Ten looks at the leases between two renewals, so that a pause of the process is noticed in a tenth of a second;
    /// sooner, if a claim falls due.
    fn end_turn(&mut self, now: Duration) {
        let mut period = (self.lease.renew_every / 10).max(TURN_MIN);
        if self.is_closed() {
            period = period.min(STOP_LOOK_EVERY);
        }
        let claim = self.contender.poll_timeout();
        let wait = claim.map_or(period, |at| at.saturating_sub(now).clamp(TURN_MIN, period));
        self.next_turn = now + wait;
        self.step = HolderStep::Rest;
    }

    /// An authority that takes longer does not answer: half the time between two renewals.
    fn answer_max(&self) -> Duration {
        let max = self.lease.renew_every / 2;
        if self.is_closed() {
            max.min(STOP_ANSWER_MAX)
        } else {
            max
        }
    }

    fn is_at_rest(&self) -> bool {
        self.step == HolderStep::Rest && self.unanswered == 0 && self.releases.is_empty()
    }

    fn ask(&mut self, request: Request, within: Option<Duration>) {
        self.unanswered += request.count();
        self.commands.push_back(HolderCommand::Ask { request, within });
    }

    fn tell_guardian(&mut self) {
        self.commands
            .push_back(HolderCommand::TellGuardian(self.holdings.clone()));
    }

    fn log(&mut self, remark: Remark) {
        self.commands.push_back(HolderCommand::Log(remark));
    }

    fn log_zone(&mut self, zone: &ZoneName, remark: ZoneRemark) {
        self.log(Remark::Zone(zone.clone(), remark));
    }
}

#[cfg(test)]
mod tests;

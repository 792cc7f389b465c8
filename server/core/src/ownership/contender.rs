//! A contender decides which zones to claim, and when. It reads no clock and talks to no authority itself.
//!
//! It trusts no clock but its own: a lease that is not released may be claimed only after *this* process watched it
//! unchanged for a full ttl: the lease's, which says how often its holder renews, or its own if that is longer. The
//! claim is a compare-and-set on exactly what was watched, so a holder that renews in the last moment wins.
//!
//! To watch is to look again and again. After a time in which the authority could not be read, every watch begins anew:
//! otherwise the first look after an outage that stopped all renewals would find all leases claimable, and a spare
//! would take a zone from a shard that has it in memory and only waits to go on. Such a shard
//! ([`Contender::handle_suspended`]) claims its own lease at once; one that another shard was granted meanwhile, only
//! if the store lacks what it once acknowledged, so that the other would go on from less; and one that it had to put
//! back, after a ttl: the authority may have forgotten a later grant, whose shard has a newer memory.
//!
//! A lease that shows less than is known of its zone comes from an authority that forgot; one that was never held may,
//! too, where an authority forgets in its ordinary course. It is not free, released or not and preferred or not: within
//! a ttl, the shard that has the zone in memory puts its own lease back.

mod fit;
mod gone_back;
mod suspended;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{Epoch, ZoneName};

use self::gone_back::GoneBack;
use self::suspended::Standing;
pub use self::suspended::{StoreData, SuspendedLease};
use super::authority::{LeaseView, Leases};
use super::grant::Tenure;
use super::owner_mark::RulesTag;
use super::stamp::DataStamp;

/// Settings of a contender.
#[derive(Clone, Debug)]
pub struct ContenderConfig {
    /// The lease's ttl: the time for which a lease must stand still.
    pub ttl: Duration,
    /// Zones that this process takes at most.
    pub room: usize,
    /// The rules under which this process runs zones.
    pub rules: RulesTag,
    /// Zones that it adopts at a time: adoption costs memory and CPU, and players of the zones it already holds must
    /// not feel it.
    pub adoptions_max: usize,
    /// Time between looks beyond which every watch begins anew. Looks come ten times between two renewals.
    pub look_gap: Duration,
    /// Zones that it prefers. A preference never steals: it only makes the contender quicker.
    pub preferred: BTreeSet<ZoneName>,
    /// Back-off for each zone already held, and the width of the random part: shards with the fewest zones go first.
    pub backoff_step: Duration,
    /// Seed of the random part. Processes need different ones.
    pub seed: u64,
    /// Whether a lease that was never held may be one that the authority forgot
    /// ([`Authority::may_forget`](super::Authority::may_forget)).
    pub may_forget: bool,
}

impl ContenderConfig {
    /// Returns defaults: two zones at a time, 50 ms of back-off per zone held (several claims take place in it, and a
    /// player does not feel it), a look gap of ttl/4 (by then a living holder would have renewed before our eyes), and
    /// an authority that may forget.
    #[must_use]
    pub const fn new(ttl: Duration, room: usize, rules: RulesTag, preferred: BTreeSet<ZoneName>, seed: u64) -> Self {
        Self {
            may_forget: true,
            ttl,
            room,
            rules,
            adoptions_max: 2,
            look_gap: ttl.checked_div(4).expect("four is not zero"),
            preferred,
            backoff_step: Duration::from_millis(50),
            seed,
        }
    }
}

/// One lease under watch.
#[derive(Clone, Debug)]
struct LeaseWatch {
    view: LeaseView,
    /// The moment at which this very state was first seen.
    since: Duration,
    /// The moment at which it was last seen.
    seen_at: Duration,
    /// The moment from which on it was seen without a gap under this grant.
    granted_since: Duration,
    /// Drawn when this state was first seen: a claim is not made earlier than `since` + this (+ the ttl, where it
    /// applies).
    backoff: Duration,
    /// After a claim whose outcome is unknown, or that was put off: the earliest moment of the next.
    not_before: Duration,
    /// The ttls for which the zone was last left alone, because it ran other rules; 0 if it was not.
    unfit_ttls: u32,
    /// Whether the zone may have another lease that the authority forgot.
    is_forgotten: bool,
    /// The time for which the last owner is waited for, if the store was seen to have less than the lease says.
    gone_back: Option<GoneBack>,
}

/// Watches the leases of all zones.
#[derive(Clone, Debug)]
pub struct Contender {
    config: ContenderConfig,
    watches: BTreeMap<ZoneName, LeaseWatch>,
    /// Zones claimed and not yet adopted.
    adopting: BTreeSet<ZoneName>,
    /// Those of them whose adoption waits for what others need not wait for.
    waiting: BTreeSet<ZoneName>,
    held: BTreeSet<ZoneName>,
    /// Zones in memory that are not acted for.
    suspended: BTreeMap<ZoneName, SuspendedLease>,
    in_flight: Option<ZoneName>,
    /// The process is stopping: only what it has in memory is claimed.
    is_closed: bool,
    looked_at: Option<Duration>,
    random: SplitMix64,
}

impl Contender {
    /// Returns a contender that holds nothing and has watched nothing.
    #[must_use]
    pub const fn new(config: ContenderConfig) -> Self {
        let random = SplitMix64::new(config.seed);
        Self {
            config,
            watches: BTreeMap::new(),
            adopting: BTreeSet::new(),
            waiting: BTreeSet::new(),
            held: BTreeSet::new(),
            suspended: BTreeMap::new(),
            in_flight: None,
            is_closed: false,
            looked_at: None,
            random,
        }
    }

    /// Takes the leases as the authority showed them. `now` is read *after* the answer came. The watch of a lease that
    /// could not be read goes on if it can be read again before the look gap is over; it is not claimed meanwhile.
    pub fn handle_leases(&mut self, now: Duration, leases: impl Into<Leases>) {
        let Leases { views, unread, .. } = leases.into();
        let known: BTreeSet<ZoneName> = views.iter().map(|view| view.zone.clone()).collect();
        self.watches
            .retain(|zone, _| known.contains(zone) || unread.contains(zone));
        self.looked_at = Some(now);
        for view in views {
            self.watch(now, view);
        }
        self.note_forgotten_leases(now, &unread);
    }

    /// Returns the next lease to claim, most urgent first: zones in memory, then those that did not run other rules,
    /// preferred ones, those with the most players. Of one that [ran other rules](Self::is_unfit) ask the store first.
    /// One claim is in flight at a time: report its outcome before asking for the next.
    pub fn poll_claim(&mut self, now: Duration) -> Option<LeaseView> {
        if self.in_flight.is_some() {
            return None;
        }
        let view = self.own_lease(now).or_else(|| self.others_lease(now))?;
        self.in_flight = Some(view.zone.clone());
        Some(view)
    }

    /// Notes which of the suspended zones are left to others for now. They are watched all the same.
    pub fn note_left(&mut self, is_left: impl Fn(&ZoneName) -> bool) {
        for (zone, lease) in &mut self.suspended {
            lease.is_left = is_left(zone);
        }
    }

    /// Whether a claim of this zone that took effect without an answer may be made again.
    #[must_use]
    pub fn may_begin_claim(&self, zone: &ZoneName) -> bool {
        let is_taken = self.held.contains(zone) || self.adopting.contains(zone);
        !is_taken && (self.suspended.contains_key(zone) || (!self.is_closed && self.zones_taken() < self.config.room))
    }

    /// Notes that a claim of this zone is made again: it took effect, and its answer got lost.
    ///
    /// # Panics
    /// If another claim is in flight.
    pub fn begin_claim(&mut self, zone: &ZoneName) {
        assert!(self.in_flight.is_none(), "one claim is in flight at a time");
        self.in_flight = Some(zone.clone());
    }

    /// Notes that the zone is known to have had a higher epoch than its lease shows. A lease that was never held is
    /// taken for such a one without a word, if the authority may forget.
    pub fn note_forgotten(&mut self, zone: &ZoneName) {
        if let Some(watch) = self.watches.get_mut(zone) {
            watch.is_forgotten = true;
        }
    }

    /// Notes that the claim in flight is of a lease that shows less than the store knows. Returns whether the claim is
    /// put off until it was watched for a ttl. The claim of a suspended zone is not: its memory is what such a lease is
    /// kept for.
    pub fn handle_forgotten(&mut self, now: Duration) -> bool {
        let zone = self.in_flight.clone().expect("a claim is in flight");
        self.note_forgotten(&zone);
        let is_due = |watch: &LeaseWatch| now >= self.claimable_at(watch);
        if self.suspended.contains_key(&zone) || self.watches.get(&zone).is_some_and(is_due) {
            return false;
        }
        self.end_claim();
        true
    }

    /// Returns the suspended zones of which the authority shows less than their grant: put their leases back.
    pub fn forgotten(&self) -> impl Iterator<Item = &SuspendedLease> {
        self.suspended_as(Standing::Forgotten)
    }

    /// Returns the suspended zones that another shard was granted: ask the store for their data.
    pub fn taken(&self) -> impl Iterator<Item = &ZoneName> {
        self.suspended_as(Standing::Taken).map(|lease| &lease.tenure.zone)
    }

    /// Takes the store's word on a suspended zone. Returns whether its memory is to be dropped: memory dies for data,
    /// never for a grant, and for data that an owner has in memory now. What an owner before it wrote may be damaged.
    pub fn handle_stored(&mut self, zone: &ZoneName, stored: &StoreData) -> bool {
        let owner = self.watches.get(zone).map(|watch| &watch.view);
        let owner = owner.filter(|view| !view.released).map(|view| view.epoch);
        let is_newer = |lease: &mut SuspendedLease| lease.handle_stored(stored, owner);
        let is_useless = self.suspended.get_mut(zone).is_some_and(is_newer);
        if is_useless {
            self.suspended.remove(zone);
        }
        is_useless
    }

    fn suspended_as(&self, standing: Standing) -> impl Iterator<Item = &SuspendedLease> {
        self.suspended.values().filter(move |lease| {
            let watch = self.watches.get(&lease.tenure.zone);
            let watch = watch.filter(|watch| self.is_in_sight(watch));
            watch.is_some_and(|watch| lease.standing(&watch.view) == standing)
        })
    }

    fn others_lease(&self, now: Duration) -> Option<LeaseView> {
        if !self.has_room() {
            return None;
        }
        self.candidates()
            .filter(|watch| now >= self.claimable_at(watch))
            .min_by_key(|watch| {
                (
                    self.is_unfit(&watch.view),
                    !self.is_preferred(watch),
                    std::cmp::Reverse(watch.view.players),
                    watch.view.zone.clone(),
                )
            })
            .map(|watch| watch.view.clone())
    }

    /// Returns when [`Contender::poll_claim`] may next have something, if nothing changes until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.in_flight.is_some() || !self.has_room() {
            return None;
        }
        self.candidates().map(|watch| self.claimable_at(watch)).min()
    }

    /// Notes that the claim was granted: the zone is being adopted. Returns whether it was suspended here.
    pub fn handle_granted(&mut self) -> bool {
        let zone = self.end_claim();
        let suspended = self.suspended.remove(&zone);
        self.adopting.insert(zone);
        suspended.is_some()
    }

    /// Notes that the claim was refused: `view` is the lease now.
    pub fn handle_refused(&mut self, now: Duration, view: LeaseView) {
        self.end_claim();
        self.watch(now, view);
    }

    /// Notes that the claim's outcome is unknown. A lease that is suspended here or was released is claimed again after
    /// a back-off: if the claim took effect, the authority says so. Another holder's lease is watched anew: an
    /// authority that takes no claims takes no renewals either, and once it does again, the holder, which may have the
    /// zone in memory, comes first.
    pub fn handle_unavailable(&mut self, now: Duration) {
        let zone = self.end_claim();
        let backoff = self.config.backoff_step + self.draw_backoff(&zone);
        if let Some(watch) = self.watches.get_mut(&zone) {
            watch.not_before = now + backoff;
            if let Some(gone_back) = &mut watch.gone_back {
                gone_back.note_silence(now);
            }
            if !watch.view.released {
                watch.since = now;
            }
        }
    }

    /// Notes that the zone is adopted and runs.
    pub fn handle_adopted(&mut self, zone: &ZoneName) {
        assert!(
            self.adopting.remove(zone),
            "{zone} was adopted without having been claimed"
        );
        self.held.insert(zone.clone());
    }

    /// Notes that the zone is not ours any more: its adoption failed, it was lost, or given up. Its lease is watched
    /// from scratch.
    pub fn handle_dropped(&mut self, zone: &ZoneName) {
        self.adopting.remove(zone);
        self.held.remove(zone);
        self.watches.remove(zone);
    }

    /// Notes that the lease of this tenure is over, and the zone is kept in memory: it goes on unless another shard
    /// does. `acknowledged` is the end of what the store is known to have had of it.
    pub fn handle_suspended(&mut self, tenure: Tenure, acknowledged: DataStamp) {
        self.handle_dropped(&tenure.zone);
        let zone = tenure.zone.clone();
        self.suspended.insert(zone, SuspendedLease::new(tenure, acknowledged));
    }

    /// Returns the zones in memory that wait for a claim.
    #[must_use]
    pub const fn suspended(&self) -> &BTreeMap<ZoneName, SuspendedLease> {
        &self.suspended
    }

    /// Claims nothing more but what is suspended here.
    pub const fn handle_close(&mut self) {
        self.is_closed = true;
    }

    /// Returns the suspended zones that are to go on here, as far as is known: all but those that another shard was
    /// granted while the store has what it acknowledged.
    pub fn unsettled(&self) -> impl Iterator<Item = &Tenure> {
        let is_left = |lease: &SuspendedLease| {
            let watch = self.watches.get(&lease.tenure.zone);
            let watch = watch.filter(|watch| self.is_in_sight(watch));
            lease.is_stored() && watch.is_some_and(|watch| lease.standing(&watch.view) == Standing::Taken)
        };
        let unsettled = self.suspended.values().filter(move |lease| !is_left(lease));
        unsettled.map(|lease| &lease.tenure)
    }

    /// Notes which of the adoptions under way wait for what other zones need not wait for: they keep no other zone from
    /// being adopted.
    pub fn note_waiting(&mut self, zones: BTreeSet<ZoneName>) {
        self.waiting = zones;
    }

    /// Returns the zones that run here.
    #[must_use]
    pub const fn held(&self) -> &BTreeSet<ZoneName> {
        &self.held
    }

    fn has_room(&self) -> bool {
        let adopting = self.adopting.difference(&self.waiting).count();
        let may_adopt = !self.is_closed && adopting < self.config.adoptions_max;
        may_adopt && self.zones_taken() < self.config.room
    }

    fn zones_taken(&self) -> usize {
        self.held.len() + self.adopting.len() + self.suspended.len()
    }

    fn candidates(&self) -> impl Iterator<Item = &LeaseWatch> {
        let is_candidate = |watch: &&LeaseWatch| self.is_in_sight(watch) && !self.is_ours(&watch.view.zone);
        self.watches.values().filter(is_candidate)
    }

    /// Whether the last look showed the lease.
    fn is_in_sight(&self, watch: &LeaseWatch) -> bool {
        Some(watch.seen_at) >= self.looked_at
    }

    fn is_ours(&self, zone: &ZoneName) -> bool {
        self.held.contains(zone) || self.adopting.contains(zone) || self.suspended.contains_key(zone)
    }

    fn is_preferred(&self, watch: &LeaseWatch) -> bool {
        self.config.preferred.contains(&watch.view.zone)
    }

    /// Returns when a lease may be claimed. A zone that was never held has no players who wait, so it is left for
    /// another ttl to a shard that prefers it.
    fn claimable_at(&self, watch: &LeaseWatch) -> Duration {
        let never_held = watch.view.epoch == Epoch::NONE && !self.is_preferred(watch);
        let left_to_others = if never_held { self.config.ttl } else { Duration::ZERO };
        (watch.since + self.wait(watch) + left_to_others + watch.backoff).max(watch.not_before)
    }

    /// Returns the time for which a lease must stand still: a released one for none, any other for a full ttl, its own
    /// or ours, whichever is longer.
    fn wait(&self, watch: &LeaseWatch) -> Duration {
        if watch.view.released && !watch.is_forgotten {
            Duration::ZERO
        } else {
            watch.view.longer_ttl(self.config.ttl)
        }
    }

    fn watch(&mut self, now: Duration, view: LeaseView) {
        if let Some(watch) = self.watches.get_mut(&view.zone)
            && is_same_lease(&watch.view, &view)
        {
            if now.saturating_sub(watch.seen_at) > self.config.look_gap {
                (watch.since, watch.granted_since) = (now, now);
            }
            watch.seen_at = now;
            watch.view = view;
            return;
        }
        let backoff = self.draw_backoff(&view.zone);
        let is_forgotten = self.config.may_forget && view.epoch == Epoch::NONE;
        let granted_since = self.granted_since(now, &view);
        self.watches.insert(
            view.zone.clone(),
            LeaseWatch {
                view,
                since: now,
                seen_at: now,
                granted_since,
                backoff,
                not_before: now,
                unfit_ttls: 0,
                is_forgotten,
                gone_back: None,
            },
        );
    }

    fn end_claim(&mut self) -> ZoneName {
        self.in_flight.take().expect("an outcome belongs to a claim in flight")
    }

    fn draw_backoff(&mut self, zone: &ZoneName) -> Duration {
        if self.config.preferred.contains(zone) {
            return Duration::ZERO;
        }
        let step_us = u64::try_from(self.config.backoff_step.as_micros()).unwrap_or(u64::MAX);
        let busy = u32::try_from(self.held.len() + self.adopting.len()).unwrap_or(u32::MAX);
        let random_us = if step_us == 0 { 0 } else { self.random.below(step_us) };
        self.config.backoff_step.saturating_mul(busy) + Duration::from_micros(random_us)
    }
}

/// Whether a claim would take two leases for the same: the rest (players, address) may change without being a sign of
/// life.
fn is_same_lease(a: &LeaseView, b: &LeaseView) -> bool {
    (a.epoch, a.nonce, a.beat, a.released) == (b.epoch, b.nonce, b.beat, b.released)
}

#[cfg(test)]
mod tests;

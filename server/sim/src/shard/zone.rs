//! A zone that a simulated shard hosts: its tick loop, its pipeline, and its egress, driven as the threads of a shard
//! drive them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use everhold_core::cluster::Hosted as HostedEntry;
use everhold_core::durability::adoption::Start;
use everhold_core::durability::archivist::{ArchivistConfig, CutFacts};
use everhold_core::durability::journal::Journal;
use everhold_core::durability::pending_moves::PendingMoves;
use everhold_core::durability::store::CheckpointHead;
use everhold_core::durability::{Pipeline, PipelineCommand, PipelineConfig, PipelineTick};
use everhold_core::egress::Egress;
use everhold_core::ingress::AttachToken;
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::limits::{INBOX_ENTRIES_MAX, UNACKNOWLEDGED_TICKS_MAX};
use everhold_core::load::Residents;
use everhold_core::ownership::holder::command::GrantedLease;
use everhold_core::ownership::lease::SharedLease;
use everhold_core::ownership::{LeaseState, RulesStamp, RulesTag, Tenure};
use everhold_core::replication::{Datagrams, ViewConfig};
use everhold_core::tick::{TickClock, TickConditions, TickLoop, TickMeasures, TickOrder, TickStart};
use everhold_core::zone::{Capture, Outputs, Probe};
use everhold_protocol::{Epoch, SessionId, Tick};

use super::{Kind, Order, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, StoreAnswer};
use crate::links::Party;
use crate::mutant::Mutant;

/// A zone that is hosted.
pub(super) struct SimZone {
    pub(super) tenure: Tenure,
    /// Its rules: this shard's, unless it is hosted only to be sealed.
    pub(super) rules: RulesStamp,
    pub(super) lease: Arc<SharedLease>,
    /// None: a rule failed, and the World was thrown away.
    pub(super) ticks: Option<TickLoop>,
    clock: TickClock,
    pub(super) inbox: VecDeque<InboxEntry>,
    pub(super) orders: VecDeque<TickOrder>,
    pub(super) acknowledged: Tick,
    pub(super) pipeline: Pipeline<Datagrams, Outputs>,
    pub(super) egress: Egress<AttachToken>,
    pub(super) residents: Residents,
    pub(super) probe: Arc<Probe>,
    pub(super) since: Duration,
    /// The tick that does not end, if one is wedged.
    pub(super) wedged: Option<Tick>,
    /// The end of the tick under way, if it takes long.
    stalled_until: Option<Duration>,
    last_tick: Tick,
}

impl SimZone {
    pub(super) fn players(&self) -> u32 {
        self.ticks
            .as_ref()
            .map_or(0, |ticks| u32::try_from(ticks.attached()).unwrap_or(u32::MAX))
    }

    pub(super) const fn acknowledged(&self) -> Tick {
        self.acknowledged
    }

    pub(super) fn stepping(&self) -> Tick {
        let stalled = self.stalled_until.map(|_| self.last_tick.next());
        self.wedged.or(stalled).unwrap_or_default()
    }

    pub(super) const fn is_wedged(&self) -> bool {
        self.wedged.is_some()
    }

    pub(super) const fn tick(&self) -> Tick {
        self.last_tick
    }

    /// Returns the zone's entry for the directory.
    pub(super) fn entry(&self, now: Duration) -> HostedEntry {
        HostedEntry {
            epoch: self.tenure.epoch(),
            since: self.since,
            may_speak: self.lease.with(|lease| lease.may_speak(now)),
        }
    }

    /// Puts an entry into the inbox. `false`: there is no room.
    pub(super) fn push(&mut self, entry: InboxEntry) -> bool {
        let fits = self.inbox.len() < INBOX_ENTRIES_MAX;
        if fits {
            self.inbox.push_back(entry);
        }
        fits
    }

    /// Hands the egress's leaves to the inbox.
    pub(super) fn push_leaves(&mut self) {
        while let Some(leave) = self.egress.poll_leave().cloned() {
            if !self.push(InboxEntry::Input(leave)) {
                return;
            }
            self.egress.handle_leave_taken();
        }
    }

    /// Does one tick. Returns what it shows, if that is to leave at once: a mutant.
    fn step(&mut self, env: &mut Env) -> Option<Datagrams> {
        let ticks = self.ticks.as_mut()?;
        let (state, mutant) = (self.clock.ladder_state(), env.services.mutant);
        let (inbox, acknowledged) = (&mut self.inbox, self.acknowledged);
        let is_lie = mutant == Some(Mutant::AppliedIsConfirmed);
        let told = if is_lie { ticks.tick().next() } else { acknowledged };
        let step = || ticks.step(inbox.drain(..), told, state, |_| {});
        let stepped = catch_unwind(AssertUnwindSafe(step));
        self.last_tick = ticks.tick();
        let Ok(out) = stepped else {
            env.took("a rule that failed");
            self.ticks = None;
            self.pipeline
                .handle_panicked(self.last_tick, "a rule failed".to_owned());
            return None;
        };
        self.lease.with(|lease| lease.handle_tick(env.now));
        self.clock.handle_tick(&TickMeasures::default(), env.instant());
        let early = (mutant == Some(Mutant::GateOff)).then(|| out.snapshots.clone());
        if self.pipeline.archive_lag().is_some() {
            env.services.note_moves(&self.tenure, self.last_tick, &out.moves);
        }
        self.pipeline.handle_tick(PipelineTick {
            record: out.record,
            snapshots: out.snapshots,
            confirmed: if is_lie { acknowledged } else { out.confirmed },
            outputs: out.outputs,
            moves: out.moves,
            frozen: out.frozen,
        });
        if ticks.is_sealed() {
            self.pipeline.handle_ticks_over();
        }
        early
    }

    /// Returns the state of the lease. One that a stopped clock measures is never over.
    fn state(&self, env: &Env) -> LeaseState {
        let nonce = self.tenure.grant.nonce();
        let has_no_end = env.services.mutant == Some(Mutant::DeadlineIgnored);
        if has_no_end || env.services.has_stopped_clock(nonce) {
            self.lease.with(|lease| lease.handle_renewed(env.now, env.now));
        }
        match self.lease.ask(env.now, |lease| lease.state()) {
            LeaseState::Suspended if has_no_end => LeaseState::Held {
                deadline: Duration::MAX,
            },
            state => state,
        }
    }
}

impl SimShard {
    /// Hosts an adopted zone.
    pub(super) fn host(&mut self, env: &mut Env, granted: GrantedLease, start: Start) {
        let Start {
            mut zone,
            journal,
            chain,
            quarantine,
            moves,
            rewound_ticks,
        } = start;
        let tenure = granted.tenure;
        let rules = zone.rules();
        let runs_others = rules.id != self.rules.rules_id(self.world.tick_hz);
        if runs_others {
            env.took("a zone that was made up for: replayed under its own file, to be sealed");
        } else if zone.epoch() != Epoch::NONE && zone.rules_id() != rules.id {
            env.took("a zone that was taken over by other rules");
        }
        env.services.note_rules(&tenure, RulesTag::new(&rules.id));
        let ticks_start = TickStart {
            grant: tenure.grant,
            rules_id: rules.id,
            last: journal.last().hash,
            quarantine: &quarantine,
            view: ViewConfig::default(),
            durability: self.world.durability,
        };
        granted.lease.with(|lease| lease.handle_tick(env.now));
        let hosted = SimZone {
            lease: granted.lease,
            clock: TickClock::new(self.world.tick_hz, None, env.instant()),
            inbox: VecDeque::new(),
            orders: VecDeque::new(),
            acknowledged: journal.acknowledged().tick,
            egress: Egress::new(tenure.zone.clone(), self.world.tick_hz).rewound(rewound_ticks),
            residents: Residents::of(&mut zone),
            probe: zone.probe(),
            since: env.now,
            rules,
            wedged: None,
            stalled_until: None,
            last_tick: zone.tick(),
            ticks: Some(TickLoop::new(zone, &ticks_start)),
            pipeline: self.pipeline(&tenure, (journal, moves), &chain),
            tenure: tenure.clone(),
        };
        let hosted = self
            .local
            .zones
            .entry(tenure.zone.clone())
            .insert_entry(hosted)
            .into_mut();
        if self.has_stopped_zones || runs_others {
            hosted.pipeline.handle_stop();
        }
        self.orders.push_back(Order::Hosted(tenure.clone()));
        self.routing.handle_zone_up(tenure.clone());
        self.schedule(env, Duration::ZERO, ShardInput::Tick(tenure.clone()));
        self.schedule(env, PipelineConfig::TURN_EVERY, ShardInput::Pulse(tenure));
        self.drive_routing(env);
        self.drive_holder(env);
    }

    /// Makes the pipeline of a zone, with an archivist if there is an archive.
    fn pipeline(
        &self,
        tenure: &Tenure,
        (journal, moves): (Journal, PendingMoves),
        chain: &[CheckpointHead],
    ) -> Pipeline<Datagrams, Outputs> {
        let world = &self.world;
        let config = PipelineConfig::new(world.durability, world.checkpoint_ticks, world.tick_hz);
        let pipeline = Pipeline::new(config, journal, chain);
        let Some(interval_ticks) = world.archive_interval else {
            return pipeline;
        };
        let archivist = ArchivistConfig {
            zone: tenure.zone.clone(),
            interval_ticks,
            tick_hz: world.tick_hz,
        };
        pipeline.with_archive(archivist, moves)
    }

    /// Wedges a zone: its tick does not end any more.
    pub(crate) fn wedge(&mut self, zone: &everhold_protocol::ZoneName) {
        if let Some(hosted) = self.local.zones.get_mut(zone) {
            hosted.wedged = Some(hosted.last_tick.next());
            self.wedged.insert(zone.clone());
        }
    }

    /// Has the next tick of a zone take until then.
    pub(crate) fn stall(&mut self, zone: &everhold_protocol::ZoneName, until: Duration) {
        if let Some(hosted) = self.local.zones.get_mut(zone) {
            hosted.stalled_until = Some(until);
        }
    }

    pub(super) fn suspect(&self, tenure: &Tenure) -> Option<(SessionId, u64)> {
        let hosted = self.local.zones.get(&tenure.zone)?;
        hosted.probe.suspect()?.intent
    }

    pub(super) fn hosted_mut(&mut self, tenure: &Tenure) -> Option<&mut SimZone> {
        let hosted = self.local.zones.get_mut(&tenure.zone)?;
        (hosted.tenure == *tenure).then_some(hosted)
    }

    /// Does what a tick thread does in one iteration.
    pub(super) fn tick(&mut self, env: &mut Env, tenure: &Tenure) {
        let Some(hosted) = self.hosted_mut(tenure).filter(|hosted| hosted.wedged.is_none()) else {
            return;
        };
        if let Some(until) = hosted.stalled_until.filter(|until| *until > env.now) {
            self.schedule(env, until - env.now, ShardInput::Tick(tenure.clone()));
            return;
        }
        hosted.stalled_until = None;
        let may_act = match hosted.state(env) {
            LeaseState::Held { deadline } | LeaseState::Paused { deadline, .. } => env.now < deadline,
            LeaseState::Suspended | LeaseState::Lost => false,
        };
        let Some(ticks) = &mut hosted.ticks else { return };
        while let Some(order) = hosted.orders.pop_front() {
            if let Some(roster) = ticks.handle_order(order) {
                hosted.pipeline.handle_roster(roster);
            }
        }
        if let Some(frozen) = ticks.poll_cut() {
            env.took("a sealed zone that was cut again");
            hosted.pipeline.handle_frozen(frozen);
        }
        let conditions = TickConditions {
            may_act,
            acknowledged: hosted.acknowledged,
            room: UNACKNOWLEDGED_TICKS_MAX as usize,
        };
        let mut early = None;
        if ticks.may_tick(&conditions) {
            early = hosted.step(env);
        } else {
            env.took("a tick that was held");
            hosted.clock.handle_hold(env.instant());
        }
        let wait = hosted.clock.poll_wait(env.instant());
        self.schedule(env, wait, ShardInput::Tick(tenure.clone()));
        if let Some(snapshots) = early {
            self.show(env, tenure, &snapshots);
        }
        self.drive_zone(env, tenure);
    }

    pub(super) fn pulse(&mut self, env: &mut Env, tenure: &Tenure) {
        let is_linked =
            env.links.is_open(Party::Shard(self.place), Party::Store) && !env.links.is_refused(Party::Store);
        let doubts = is_linked.then(|| env.services.store.home_losses());
        if let Some(hosted) = self.hosted_mut(tenure) {
            if doubts.is_some() {
                hosted.pipeline.handle_home_doubts(doubts);
            }
            self.schedule(env, PipelineConfig::TURN_EVERY, ShardInput::Pulse(tenure.clone()));
            self.drive_zone(env, tenure);
        }
    }

    pub(super) fn handle_captured(&mut self, env: &mut Env, tenure: &Tenure, (capture, facts): (Capture, CutFacts)) {
        if let Some(hosted) = self.hosted_mut(tenure) {
            hosted.pipeline.handle_captured(capture, facts);
            self.drive_zone(env, tenure);
        }
    }

    pub(super) fn handle_zone_stored(&mut self, env: &mut Env, tenure: &Tenure, kind: Kind, answer: StoreAnswer) {
        let now = env.instant();
        let Some(hosted) = self.hosted_mut(tenure) else { return };
        match (kind, answer) {
            (Kind::Append, StoreAnswer::Appended(answer)) => hosted.pipeline.handle_appended(now, answer),
            (Kind::Write, StoreAnswer::Done(answer)) => hosted.pipeline.handle_written(now, answer),
            (Kind::Create, StoreAnswer::Done(answer)) => hosted.pipeline.handle_created(now, answer),
            (Kind::Rest(account), StoreAnswer::RestKept(answer)) => {
                hosted.pipeline.handle_rest_kept(now, account, answer);
            }
            (Kind::Home(account), StoreAnswer::Done(answer)) => hosted.pipeline.handle_home_set(now, account, answer),
            _ => unreachable!("an answer is of the kind that was asked"),
        }
        self.drive_zone(env, tenure);
    }

    /// Lets the pipeline do what is due.
    pub(super) fn drive_zone(&mut self, env: &mut Env, tenure: &Tenure) {
        if let Some(hosted) = self.hosted_mut(tenure) {
            hosted.pipeline.handle_turn();
        }
        loop {
            let instant = env.instant();
            let Some(hosted) = self.hosted_mut(tenure) else { return };
            let state = hosted.state(env);
            let Some(command) = hosted.pipeline.poll_command(instant, state) else {
                return;
            };
            if let PipelineCommand::End(reason) = command {
                self.end_zone(env, tenure, reason);
                return;
            }
            self.carry_out_pipeline(env, tenure, command);
        }
    }
}

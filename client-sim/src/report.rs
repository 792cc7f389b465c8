//! The report of a run, as data.

use std::time::{Duration, Instant};

use everhold_protocol::{Account, EntityId, Epoch, OwnState};
use serde::Serialize;

use crate::behavior::Behavior;
use crate::checker::{Strangers, Verdict};
use crate::meter::Percentiles;

/// The players of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZonePlayers {
    /// The zone.
    pub name: String,
    /// Number of players of the swarm in it.
    pub players: usize,
}

/// A zone's way from one owner to the next, as its players saw it. Instants are milliseconds from
/// [`SwarmReport::origin`], one for each player that resumed, in the order in which they did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ZoneFailover {
    /// The zone.
    pub zone: String,
    /// The epoch of the old owner.
    pub from_epoch: Epoch,
    /// The epoch of the new one.
    pub to_epoch: Epoch,
    /// Players that were shown something by an earlier owner.
    pub players: usize,
    /// Those of them that were shown something by this or a later owner.
    pub resumed: usize,
    /// Time from the last snapshot of the old owner to the first of the new one, per player.
    pub gap_ms: Percentiles,
    /// The time at which each player was last shown something by the old owner.
    #[serde(skip)]
    pub last_snapshot_at_ms: Vec<f64>,
    /// The time at which each client machine began to look elsewhere; those that were told before they noticed are not
    /// in it.
    #[serde(skip)]
    pub silent_at_ms: Vec<f64>,
    /// The time at which the new owner told each that it has the session.
    #[serde(skip)]
    pub attached_at_ms: Vec<f64>,
    /// The time at which each player was first shown something by the new owner.
    #[serde(skip)]
    pub first_snapshot_at_ms: Vec<f64>,
}

/// The gold and the things of a player.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possessions {
    /// The purse.
    pub gold: u64,
    /// Its things, in order of their numbers.
    pub things: Vec<EntityId>,
}

impl From<&OwnState> for Possessions {
    fn from(own: &OwnState) -> Self {
        let mut things: Vec<EntityId> = own.items.iter().map(|item| item.uid).collect();
        things.sort_unstable();
        Self { gold: own.gold, things }
    }
}

/// A player's stay in the world, from its first attach to its log-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerStay {
    /// Its account.
    pub account: Account,
    /// Its possessions, as its first attach told them.
    pub came_with: Possessions,
    /// Its possessions when it left; `None` if it did not hear everything before that.
    pub left_with: Option<Possessions>,
}

/// The simulator's measurements of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SimulatorHealth {
    /// Every other frame was no later than this, ms. A frame is late by the time between its place in the schedule and
    /// its sending.
    pub frame_late_ms_p50: f64,
    /// 99 of 100 frames were no later than this, ms.
    pub frame_late_ms_p99: f64,
    /// The latest frame, ms.
    pub frame_late_ms_max: f64,
    /// Frames that were late by more than half a frame period, in a hundred.
    pub late_frames_percent: f64,
    /// Frames that were left out because the simulator was late by more than a whole period.
    pub frames_missed: u64,
    /// Busy time of the simulator's thread, in hundredths of one core.
    pub cpu_percent: f64,
    /// The same for each frame of a player, all included, in microseconds.
    pub cpu_us_per_player_tick: f64,
    /// Packets that the kernel did not take.
    pub send_failures: u64,
    /// Packets that came and were thrown away because the simulator did not fetch them in time, in a hundred.
    pub dropped_packets_percent: f64,
    /// Whether the numbers of this run are the simulator's rather than the server's.
    pub is_bottleneck: bool,
    /// The reasons for `is_bottleneck`, in words.
    pub bottleneck: Vec<String>,
}

/// The whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SwarmReport {
    /// Players that were to join.
    pub players: usize,
    /// Seconds of play, counted after the last join.
    pub seconds: f64,
    /// Their behaviour.
    pub behavior: Behavior,
    /// Players by zone.
    pub zones: Vec<ZonePlayers>,
    /// Time from an intent's intended moment to the first snapshot that covers it, failovers included. Those from
    /// before the last join do not count.
    pub update_latency_ms: Percentiles,
    /// The distribution that [`SwarmReport::update_latency_ms`] is asked of, `(µs, how often)`, rising: to be merged
    /// with those of other runs.
    #[serde(skip)]
    pub update_latency_us: Vec<(u64, u64)>,
    /// As [`SwarmReport::update_latency_ms`], of intents that were given and covered under one owner.
    pub steady_latency_ms: Percentiles,
    /// Time from an intent's intended moment to the first snapshot after which no failover takes it back: at durability
    /// `async` that is later than the one that shows it. Those from before the last join do not count.
    pub confirmation_latency_ms: Percentiles,
    /// The distribution of these, as [`SwarmReport::update_latency_us`] is that of updates.
    #[serde(skip)]
    pub confirmation_latency_us: Vec<(u64, u64)>,
    /// Whole UDP datagrams from the servers.
    pub bytes_down_per_player_s: f64,
    /// Whole UDP datagrams to the servers.
    pub bytes_up_per_player_s: f64,
    /// Packets from the servers.
    pub packets_down_per_player_s: f64,
    /// Packets to the servers.
    pub packets_up_per_player_s: f64,
    /// Entities that a player was shown around it, on average.
    pub view_entities_mean: f64,
    /// Connections that spoke for a player's session and were lost.
    pub lost_connections: u64,
    /// Every change of owner that players saw.
    pub failovers: Vec<ZoneFailover>,
    /// See [`Verdict::lost_acknowledged`].
    pub lost_acknowledged: u64,
    /// See [`Verdict::duplicated`].
    pub duplicated: u64,
    /// See [`Verdict::rewound_ticks`].
    pub rewound_ticks: u32,
    /// See [`Verdict::unheard`].
    pub unheard: u64,
    /// See [`Verdict::gold_expected`].
    pub gold_expected: u64,
    /// See [`Verdict::gold_found`].
    pub gold_found: u64,
    /// See [`Verdict::items_expected`].
    pub items_expected: u64,
    /// See [`Verdict::items_found`].
    pub items_found: u64,
    /// See [`Verdict::strangers`].
    pub strangers: Strangers,
    /// See [`Verdict::kills`].
    pub kills: u64,
    /// See [`Verdict::chats`].
    pub chats: u64,
    /// Intents that players gave.
    pub intents: u64,
    /// Intents that could not be given because too many were unconfirmed.
    pub intents_refused: u64,
    /// Findings of the checker and other failures, in words, at most some dozens. Empty after a good run.
    pub errors: Vec<String>,
    /// Whether the simulator kept up.
    pub simulator: SimulatorHealth,
    /// The stay of each player, in order of account.
    #[serde(skip)]
    pub stays: Vec<PlayerStay>,
    #[serde(skip)]
    pub(crate) origin: RunOrigin,
}

/// An instant with a default, so that reports can be made up in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOrigin(pub(crate) Instant);

impl SwarmReport {
    /// The zero of all instants in the report.
    #[must_use]
    pub fn origin(&self) -> Instant {
        self.origin.0
    }

    /// Whether every player resumed, nothing acknowledged is lost, nothing is duplicated, gold and items are conserved
    /// as far as that can be known (see [`Verdict::unheard`]), and nothing went wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
            && self.lost_acknowledged == 0
            && self.duplicated == 0
            && self.gold_expected == self.gold_found
            && self.items_expected == self.items_found
            && self
                .failovers
                .iter()
                .all(|failover| failover.resumed == failover.players)
    }

    pub(crate) fn take_verdict(&mut self, verdict: Verdict) {
        self.lost_acknowledged = verdict.lost_acknowledged;
        self.duplicated = verdict.duplicated;
        self.rewound_ticks = verdict.rewound_ticks;
        self.unheard = verdict.unheard;
        self.gold_expected = verdict.gold_expected;
        self.gold_found = verdict.gold_found;
        self.items_expected = verdict.items_expected;
        self.items_found = verdict.items_found;
        self.strangers = verdict.strangers;
        self.kills = verdict.kills;
        self.chats = verdict.chats;
        let left_out = verdict.violations_total - verdict.violations.len() as u64;
        self.errors.extend(verdict.violations);
        if left_out > 0 {
            self.errors.push(format!("and {left_out} more violations"));
        }
    }
}

impl Default for RunOrigin {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// A duration in milliseconds, to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

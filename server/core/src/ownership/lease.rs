//! The holder's side of a lease: may this process act for its zone at this moment? It reads no clock and sends nothing
//! itself.
//!
//! ```text
//!             gap between two iterations > ttl/8
//!      Held ───────────────────────────────────────► Paused
//!       ▲ ▲ ◄─── a renewal sent after waking counts ── │
//!       │ │                                            ▼
//!       │ │                                        Suspended ◄── the deadline passed, from Held or Paused
//!       │ │                                            │
//!       └─┘ a renewal counts: deadline moves           └── refused, from anywhere ──► Lost
//! ```
//!
//! A suspended lease is over: the zone may go on from memory under another one, with a higher epoch, if no other shard
//! was granted it.
//!
//! All times are CLOCK_BOOTTIME: it goes on while a machine sleeps, so a lease cannot be slept through unnoticed. The
//! deadline counts from *before the renewal was sent*, and a contender counts from *after it saw the beat change*: a
//! contender that waited a full ttl waited past this deadline, whatever the two clocks show. Safety rests on gate and
//! fence; the deadline only shortens what a zombie may show.

mod shared;

use std::time::Duration;

pub use shared::SharedLease;

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Time for which a contender must see no sign of life.
    pub ttl: Duration,
    /// Time before the ttl's end at which the holder stops: it covers clock rates that differ and the packets already
    /// queued for sending.
    pub margin: Duration,
    /// Time between two renewals.
    pub renew_every: Duration,
    /// Time from an unanswered renewal to the next.
    pub retry_every: Duration,
    /// Gap between two iterations of the tick loop beyond which the process counts as paused.
    pub pause_gap: Duration,
    /// Time without a tick after which a zone is not renewed: a wedged tick loses its lease.
    pub tick_stall: Duration,
}

impl LeaseConfig {
    /// The default ttl, ms. Renewals are one second apart, so three of them may fail.
    pub const TTL_MS: u64 = 4_000;

    /// The longest ttl that a configuration allows, ms: bounds the wait for a holder that is dead.
    pub const TTL_MS_MAX: u64 = 600_000;

    /// Derives all times from the ttl and the tick rate: margin = max(ttl/6, 2 ticks, 250 ms), renewals every ttl/4,
    /// retries every ttl/16, a pause is a gap above ttl/8, a stall is ttl/2 without a tick.
    ///
    /// # Panics
    /// If the ttl is below 1 s (less than a margin and two renewals would be left) or the tick rate is 0.
    #[must_use]
    pub fn new(ttl_ms: u64, tick_hz: u16) -> Self {
        assert!(ttl_ms >= 1_000, "a lease of {ttl_ms} ms leaves no time to renew it");
        assert!(tick_hz > 0, "a zone ticks");
        let two_ticks_ms = 2_000 / u64::from(tick_hz);
        Self {
            ttl: Duration::from_millis(ttl_ms),
            margin: Duration::from_millis((ttl_ms / 6).max(two_ticks_ms).max(250)),
            renew_every: Duration::from_millis(ttl_ms / 4),
            retry_every: Duration::from_millis(ttl_ms / 16),
            pause_gap: Duration::from_millis(ttl_ms / 8),
            tick_stall: Duration::from_millis(ttl_ms / 2),
        }
    }

    /// Returns the time for which a store or an authority that lost a zone waits for a shard that has it in memory: a
    /// holder that was cut off finds out within one ttl, and needs a part of another to write.
    #[must_use]
    pub fn reseed_grace(&self) -> Duration {
        2 * self.ttl
    }
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self::new(Self::TTL_MS, 20)
    }
}

/// The state of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The zone ticks and speaks until the deadline.
    Held {
        /// The moment at which that ends.
        deadline: Duration,
    },
    /// The process was stopped and runs again: the zone may tick and write, but nothing leaves until a renewal *sent*
    /// at or after `woke_at` counts.
    Paused {
        /// The moment at which the right to act ends.
        deadline: Duration,
        /// The moment at which the gap was noticed.
        woke_at: Duration,
    },
    /// The deadline passed: no tick, no write, no byte. The way back is a new grant.
    Suspended,
    /// Another shard was granted the zone: drop it.
    Lost,
}

impl LeaseState {
    /// Whether nothing may be done under the lease any more, however long it is waited for.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Suspended | Self::Lost)
    }
}

/// The holder's machine of one zone.
#[derive(Clone, Debug)]
pub struct Lease {
    config: LeaseConfig,
    state: LeaseState,
    /// The moment at which the last renewal was sent.
    sent_at: Duration,
    /// The earliest moment of the next renewal.
    next_at: Duration,
    in_flight: bool,
    last_iteration: Duration,
    /// The moment at which the tick last advanced; `None` in a declared pause, when it need not.
    last_tick: Option<Duration>,
}

impl Lease {
    /// Returns a lease that was granted at `now` by a claim sent at `sent_at`.
    #[must_use]
    pub fn new(config: LeaseConfig, sent_at: Duration, now: Duration) -> Self {
        let deadline = sent_at + config.ttl - config.margin;
        Self {
            config,
            state: LeaseState::Held { deadline },
            sent_at,
            next_at: sent_at + config.renew_every,
            in_flight: false,
            last_iteration: now,
            last_tick: None,
        }
    }

    /// Returns the lease's state.
    #[must_use]
    pub const fn state(&self) -> LeaseState {
        self.state
    }

    /// Whether the zone may tick and write at `now`. Ask at the start of each tick and before each write.
    #[must_use]
    pub fn may_act(&self, now: Duration) -> bool {
        matches!(self.state, LeaseState::Held { deadline } | LeaseState::Paused { deadline, .. } if now < deadline)
    }

    /// Whether anything may leave the process at `now`. Ask immediately before sending.
    #[must_use]
    pub fn may_speak(&self, now: Duration) -> bool {
        matches!(self.state, LeaseState::Held { deadline } if now < deadline)
    }

    /// Notes that the authority shows less than this grant. A renewal is due at once: it is what puts the lease back.
    pub fn handle_forgotten(&mut self, now: Duration) {
        self.next_at = self.next_at.min(now);
    }

    /// Notes that the zone is adopted and runs. A renewal is due at once: it is what says so, and under which rules.
    pub const fn handle_hosted(&mut self) {
        self.next_at = Duration::ZERO;
    }

    /// Notes an iteration of the tick loop. Call it first in each iteration: it is what notices that the process was
    /// stopped.
    pub fn handle_iteration(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.last_iteration);
        self.last_iteration = self.last_iteration.max(now);
        self.expire(now);
        if gap <= self.config.pause_gap {
            return;
        }
        if let LeaseState::Held { deadline } | LeaseState::Paused { deadline, .. } = self.state {
            self.state = LeaseState::Paused { deadline, woke_at: now };
        }
    }

    /// Notes that the zone's tick advanced. Ends a declared pause.
    pub fn handle_tick(&mut self, now: Duration) {
        self.last_tick = Some(now);
    }

    /// Notes that the zone stands still on purpose (it restores, or its store does not answer) and is to be renewed all
    /// the same.
    pub fn handle_pause_declared(&mut self) {
        self.last_tick = None;
    }

    /// Whether a renewal is to be sent at `now`: call [`Lease::handle_renew_sent`], send it, report its outcome. Asking
    /// again without acting gives the same answer.
    pub fn poll_renewal(&mut self, now: Duration) -> bool {
        self.expire(now);
        if self.in_flight || self.is_stalled(now) {
            return false;
        }
        match self.state {
            LeaseState::Lost | LeaseState::Suspended => false,
            LeaseState::Paused { woke_at, .. } if self.sent_at < woke_at => true,
            LeaseState::Held { .. } | LeaseState::Paused { .. } => now >= self.next_at,
        }
    }

    /// Notes that a renewal is about to be sent. Read the clock *before* sending.
    pub const fn handle_renew_sent(&mut self, now: Duration) {
        self.sent_at = now;
        self.next_at = now.saturating_add(self.config.renew_every);
        self.in_flight = true;
    }

    /// Notes that the authority confirmed the renewal that was sent at `sent_at`. It counts only if it comes before the
    /// old deadline and its own.
    pub fn handle_renewed(&mut self, sent_at: Duration, now: Duration) {
        self.in_flight = false;
        self.expire(now);
        let renewed = sent_at + self.config.ttl - self.config.margin;
        match &mut self.state {
            LeaseState::Held { deadline } => *deadline = renewed.max(*deadline),
            LeaseState::Paused { deadline, woke_at } => {
                let deadline = renewed.max(*deadline);
                self.state = if sent_at >= *woke_at {
                    LeaseState::Held { deadline }
                } else {
                    LeaseState::Paused {
                        deadline,
                        woke_at: *woke_at,
                    }
                };
            }
            LeaseState::Suspended | LeaseState::Lost => {}
        }
        self.expire(now);
    }

    /// Notes that another shard holds the zone, as the authority says.
    pub fn handle_refused(&mut self) {
        self.in_flight = false;
        self.state = LeaseState::Lost;
    }

    /// Notes that there was no answer, or none that can be trusted: the outcome is unknown, and another renewal follows
    /// soon.
    pub fn handle_unavailable(&mut self, now: Duration) {
        self.in_flight = false;
        self.next_at = now + self.config.retry_every;
    }

    fn expire(&mut self, now: Duration) {
        if let LeaseState::Held { deadline } | LeaseState::Paused { deadline, .. } = self.state
            && now >= deadline
        {
            self.state = LeaseState::Suspended;
        }
    }

    /// Whether no tick advanced for longer than [`LeaseConfig::tick_stall`] by `now`: the lease is not renewed then.
    #[must_use]
    pub fn is_stalled(&self, now: Duration) -> bool {
        // A process that was stopped did not tick either; its first iteration after waking counts as progress until it
        // had time to tick.
        let alive = match self.state {
            LeaseState::Paused { woke_at, .. } => self.last_tick.map(|at| at.max(woke_at)),
            _ => self.last_tick,
        };
        alive.is_some_and(|at| now.saturating_sub(at) > self.config.tick_stall)
    }
}

#[cfg(test)]
mod tests;

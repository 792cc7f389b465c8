//! The gate holds what a tick tells until the tick's record is acknowledged. It sends nothing itself and reads no
//! clock.
//!
//! At levels `store` and `replica` no client sees, and at no level is one told "done" about, what a crash can take
//! back: every sink takes a [`Released`], and only the gate makes one. The tick thread never waits for the store; it
//! goes on, and what its ticks tell queues up here.
//!
//! The gate does not ask what an acknowledgement means. At level `replica` the store gives one only after its replicas
//! have confirmed the record.
//!
//! At level `async` a client does see what a crash can take back, and the snapshot says so: how many of the last ticks
//! are not confirmed. A snapshot is made before it is held, so the tick thread calls confirmed what was acknowledged by
//! then ([`Durability::unconfirmed_ticks`]), and the gate lets no snapshot out before what it calls confirmed is
//! acknowledged.

use std::collections::VecDeque;

use everhold_protocol::{Epoch, Tick};
use serde::{Deserialize, Serialize};

/// The certainty that a tick's outputs need before they leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Snapshots leave at once, and say what of them is not confirmed; replies and events wait for the store.
    Async,
    /// Everything waits for the store.
    #[default]
    Store,
    /// Everything waits for the store, which acknowledges a record only after some of its replicas have confirmed it.
    Replica,
}

impl Durability {
    /// Whether snapshots wait for the acknowledgement, too: then no client sees what a crash can take back.
    #[must_use]
    pub const fn holds_snapshots(self) -> bool {
        match self {
            Self::Async => false,
            Self::Store | Self::Replica => true,
        }
    }

    /// Returns how many ticks up to `tick` are not confirmed when its snapshots leave, if everything up to
    /// `acknowledged` is stored when they are made. More than a snapshot can say are as many as it can: the gate holds
    /// that one until it is true.
    #[must_use]
    pub fn unconfirmed_ticks(self, tick: Tick, acknowledged: Tick) -> u16 {
        match self {
            Self::Async => u16::try_from(tick.since(acknowledged)).unwrap_or(u16::MAX),
            Self::Store | Self::Replica => 0,
        }
    }
}

/// The text names no durability level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a durability level is `async`, `store`, or `replica`, not {0:?}")]
pub struct DurabilityError(String);

impl std::str::FromStr for Durability {
    type Err = DurabilityError;

    fn from_str(text: &str) -> Result<Self, DurabilityError> {
        match text {
            "async" => Ok(Self::Async),
            "store" => Ok(Self::Store),
            "replica" => Ok(Self::Replica),
            _ => Err(DurabilityError(text.chars().take(64).collect())),
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Async => "async",
            Self::Store => "store",
            Self::Replica => "replica",
        })
    }
}

/// An output that may leave the process. Only a [`Gate`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released<T> {
    epoch: Epoch,
    tick: Tick,
    inner: T,
}

impl<T> Released<T> {
    /// Returns the epoch of the ownership under which it was made.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the tick that made it.
    #[must_use]
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    /// Returns the output.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }
}

/// Snapshots of a tick that have not left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HeldShown<S> {
    tick: Tick,
    /// The last tick that they call confirmed.
    confirmed: Tick,
    inner: S,
}

/// The gate of one zone under one epoch. `S` is what a tick shows (snapshots), `R` what it tells (replies and events).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gate<S, R> {
    level: Durability,
    epoch: Epoch,
    shown: VecDeque<HeldShown<S>>,
    told: VecDeque<(Tick, R)>,
    last_held: Tick,
    acknowledged: Tick,
    released: Tick,
    is_open: bool,
}

impl<S, R> Gate<S, R> {
    /// Opens the gate of a zone that stands at `tick` and whose records are stored up to `acknowledged`. After an
    /// adoption both are the same; a zone that goes on from memory may be ahead. The events of the ticks between them
    /// are not sent: its players hear `Attached` first, and that carries them.
    #[must_use]
    pub const fn new(level: Durability, epoch: Epoch, acknowledged: Tick, tick: Tick) -> Self {
        assert!(acknowledged.0 <= tick.0, "nothing is stored that did not happen");
        Self {
            level,
            epoch,
            shown: VecDeque::new(),
            told: VecDeque::new(),
            last_held: tick,
            acknowledged,
            released: acknowledged,
            is_open: true,
        }
    }

    /// Takes a tick's outputs; `shown` calls everything up to `confirmed` confirmed. Bounded by the journal's ring: a
    /// zone whose ring is full does not tick.
    ///
    /// # Panics
    /// If `tick` does not follow the last one: an output was lost or told twice.
    pub fn hold(&mut self, tick: Tick, (confirmed, shown): (Tick, S), told: R) {
        assert!(
            tick == self.last_held.next(),
            "tick {tick} is held after tick {}",
            self.last_held
        );
        self.last_held = tick;
        self.shown.push_back(HeldShown {
            tick,
            confirmed,
            inner: shown,
        });
        self.told.push_back((tick, told));
        self.release();
    }

    /// Notes that the store has the record of `tick` and of all before it. A tick that is not held yet is released as
    /// soon as it is.
    ///
    /// # Panics
    /// If acknowledgements go back: what was certain cannot become uncertain.
    pub fn handle_acknowledged(&mut self, tick: Tick) {
        assert!(
            tick >= self.acknowledged,
            "tick {tick} is acknowledged after tick {}",
            self.acknowledged
        );
        self.acknowledged = tick;
        self.release();
    }

    /// Returns the next snapshots that may leave. Where they wait for the acknowledgement, a tick shows nothing before
    /// it told everything: drain [`Gate::poll_told`] first.
    pub fn poll_shown(&mut self) -> Option<Released<S>> {
        let next = self.shown.front()?;
        let told_first = self.level.holds_snapshots() && self.told.front().is_some_and(|(told, _)| *told <= next.tick);
        if !self.is_open || !self.is_showable(next) || told_first {
            return None;
        }
        self.shown.pop_front().map(|shown| Released {
            epoch: self.epoch,
            tick: shown.tick,
            inner: shown.inner,
        })
    }

    /// Returns the next replies and events that may leave: at every level only after the acknowledgement.
    pub fn poll_told(&mut self) -> Option<Released<R>> {
        let tick = self.told.front()?.0;
        if !self.is_open || tick > self.acknowledged {
            return None;
        }
        self.told.pop_front().map(|(tick, inner)| Released {
            epoch: self.epoch,
            tick,
            inner,
        })
    }

    /// Nothing derived from a later tick may leave: not to clients, and not into a checkpoint's head. It stands still
    /// while the gate is closed.
    #[must_use]
    pub const fn released_tick(&self) -> Tick {
        self.released
    }

    /// Counts the ticks that [`Gate::poll_shown`] would give one after the other, once everything was told that may be.
    #[must_use]
    pub fn showable_ticks(&self) -> usize {
        if self.is_open {
            self.shown.partition_point(|shown| self.is_showable(shown))
        } else {
            0
        }
    }

    /// Ticks held whose record is not acknowledged yet.
    #[must_use]
    pub const fn unacknowledged_ticks(&self) -> u64 {
        self.last_held.since(self.acknowledged)
    }

    /// Closes the gate: nothing leaves, and everything held or yet to come stays.
    pub const fn close(&mut self) {
        self.is_open = false;
    }

    /// Opens the gate, after a renewal that was sent after waking is confirmed: acknowledged outputs leave.
    pub fn open(&mut self) {
        self.is_open = true;
        self.release();
    }

    /// Whether the gate is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    fn is_showable(&self, shown: &HeldShown<S>) -> bool {
        shown.tick <= self.released && shown.confirmed <= self.acknowledged
    }

    fn release(&mut self) {
        if !self.is_open {
            return;
        }
        self.released = match self.level {
            Durability::Async => self.last_held.max(self.acknowledged),
            Durability::Store | Durability::Replica => self.acknowledged,
        };
    }
}

#[cfg(test)]
mod tests;

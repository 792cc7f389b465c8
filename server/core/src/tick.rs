//! One tick of a hosted zone, from what connections sent to what they are told: [`TickLoop`]. It sends, stores, and
//! waits for nothing, and reads no clock: a driver says when a tick is due and hands on what it gives.
//!
//! ```text
//!  entries ──► drain ──► freeze ──► step ──► scene ──► snapshots ──► capture ──► TickOut
//!              inbox     record     zone     zone      replicator    zone, if a cut is ordered
//! ```
//!
//! The order is a promise: inputs are frozen into a record before anything happens, so that what happens is decided by
//! the record alone, and a tick that fails leaves nothing that could be stored or told.

pub mod stage;
pub mod times;
pub mod clock;
#[cfg(feature = "testing")]
mod bench;

use everhold_protocol::{Account, Epoch, SessionId, Tick, TickHeader};

pub use clock::{RungChange, TickClock, TickMeasures};
pub use stage::TickStage;
pub use times::TickTimes;

use crate::durability::gate::Durability;
use crate::durability::record::Record;
use crate::durability::store::{Position, RecordHash, StoredRecord};
use crate::ingress::inbox::{Inbox, InboxEntry};
use crate::ingress::input::Input;
use crate::limits::UNACKNOWLEDGED_TICKS_MAX;
use crate::load::LadderState;
use crate::ownership::Grant;
use crate::replication::{Datagrams, Replicator, ViewConfig};
use crate::zone::{Cut, Frozen, Outputs, Reply, Scene, ValueMove, Zone};

/// Every so-many-th record carries a digest of the zone: once a second at 20 Hz, for it costs as much as a step does.
const DIGEST_EVERY_TICKS: u64 = 20;

/// The outcome of one tick.
#[derive(Debug)]
pub struct TickOut {
    /// The tick's frozen inputs, as the journal stores them.
    pub record: StoredRecord,
    /// Replies and events. They say "done", so they wait for the record's acknowledgement at every durability level.
    pub outputs: Outputs,
    /// The moves of value in it, in order.
    pub moves: Vec<ValueMove>,
    /// One datagram for each session whose turn it is.
    pub snapshots: Datagrams,
    /// The last tick that the snapshots call confirmed.
    pub confirmed: Tick,
    /// The copy of the zone after this tick, if a cut was ordered.
    pub frozen: Option<Frozen>,
}

/// An order of the zone's durable task to its tick loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickOrder {
    /// The next tick ends with this cut.
    Cut(Cut),
    /// The last cut is the store's head.
    CaptureConfirmed,
    /// The last cut is lost.
    CaptureFailed,
    /// The accounts that have a session in the zone are wanted.
    Roster,
    /// The next tick ends with this cut, and is the last one.
    Seal(Cut),
}

/// The values that a tick loop begins with, besides its zone.
#[derive(Clone, Copy, Debug)]
pub struct TickStart<'a> {
    /// The right to act for the zone; every record names its epoch.
    pub grant: Grant,
    /// The rules by which the zone steps, for `EpochStart`.
    pub rules_id: [u8; 32],
    /// The zone's last record, which the next one follows.
    pub last: RecordHash,
    /// Inputs to refuse, besides those that the zone knows of.
    pub quarantine: &'a [(SessionId, u64)],
    /// The limits of each player's view.
    pub view: ViewConfig,
    /// The level that decides what of a tick is confirmed when it is shown.
    pub durability: Durability,
}

/// The conditions of a tick, besides the zone itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickConditions {
    /// Whether the lease lets the zone act.
    pub may_act: bool,
    /// The newest tick whose record is acknowledged.
    pub acknowledged: Tick,
    /// Finished ticks for which there is still room on the way to the store.
    pub room: usize,
}

/// The state of a zone on its way to a good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastTick {
    Open,
    /// The next tick is the last one.
    Ordered,
    Done,
}

/// A hosted zone with all that its ticks need: inbox, record chain, scene, replicator.
///
/// A panic of [`TickLoop::step`] leaves the zone half-stepped: the loop is not to be used any more, but for
/// [`TickLoop::tick`], which names the tick that failed.
pub struct TickLoop {
    zone: Zone,
    scene: Scene,
    replicator: Replicator,
    inbox: Inbox,
    /// The inputs of the next tick; memory that is used again.
    inputs: Vec<Input>,
    epoch: Epoch,
    durability: Durability,
    last: RecordHash,
    cut: Option<Cut>,
    seal: LastTick,
}

impl TickLoop {
    /// A loop whose first tick begins the grant's epoch.
    ///
    /// # Panics
    /// If the view is outside its bounds: see [`Replicator::new`].
    #[must_use]
    pub fn new(zone: Zone, start: &TickStart<'_>) -> Self {
        Self {
            zone,
            scene: Scene::default(),
            replicator: Replicator::new(start.view),
            inbox: Inbox::default(),
            inputs: first_inputs(start),
            epoch: start.grant.epoch(),
            durability: start.durability,
            last: start.last,
            cut: None,
            seal: LastTick::Open,
        }
    }

    /// Takes an order. Returns the roster, in order of account, if that was asked for.
    pub fn handle_order(&mut self, order: TickOrder) -> Option<Vec<Account>> {
        match order {
            TickOrder::Cut(cut) => self.cut = Some(cut),
            TickOrder::CaptureConfirmed => self.zone.capture_confirmed(),
            TickOrder::CaptureFailed => self.zone.capture_failed(),
            TickOrder::Roster => return Some(self.zone.accounts()),
            TickOrder::Seal(cut) if self.is_sealed() => self.cut = Some(cut),
            TickOrder::Seal(cut) => (self.cut, self.seal) = (Some(cut), LastTick::Ordered),
        }
        None
    }

    /// Returns the cut that was ordered after the last tick, of the zone as that tick left it: no other takes it.
    pub fn poll_cut(&mut self) -> Option<Frozen> {
        if !self.is_sealed() {
            return None;
        }
        self.cut.take().map(|cut| self.zone.freeze(cut))
    }

    /// Whether a tick may be now. A cut that is ordered is worth more ticks than the store would allow: it may be what
    /// the store is waiting for.
    #[must_use]
    pub fn may_tick(&self, conditions: &TickConditions) -> bool {
        let behind = self.zone.tick().since(conditions.acknowledged);
        let holds = behind >= UNACKNOWLEDGED_TICKS_MAX && self.cut.is_none();
        conditions.may_act && !holds && conditions.room > 0 && self.seal != LastTick::Done
    }

    /// Runs one tick on what came in. `ladder_state` says how much players are shown, and how fast they are told that
    /// time goes; `acknowledged` is the newest tick whose record is acknowledged, which they are told and the zone is
    /// not. `mark` is called when a stage is over, so that the caller can take its time.
    ///
    /// # Panics
    /// If a rule fails, and nothing of the tick is to be told then; or if the zone is sealed.
    pub fn step(
        &mut self,
        entries: impl Iterator<Item = InboxEntry>,
        acknowledged: Tick,
        ladder_state: LadderState,
        mut mark: impl FnMut(TickStage),
    ) -> TickOut {
        assert_ne!(
            self.seal,
            LastTick::Done,
            "no tick follows the one that sealed the zone"
        );
        self.replicator.set_detail(ladder_state.rung.detail());
        self.inbox.drain(entries, &mut self.inputs);
        mark(TickStage::Drain);
        let record = self.freeze();
        mark(TickStage::Freeze);
        let mut outputs = self.step_zone();
        let moves = std::mem::take(&mut outputs.moves);
        mark(TickStage::Step);
        self.zone.scene(&mut self.scene);
        mark(TickStage::Scene);
        let header = TickHeader {
            epoch: self.epoch,
            tick: outputs.tick,
            unconfirmed_ticks: self.durability.unconfirmed_ticks(outputs.tick, acknowledged),
            dilation: ladder_state.dilation(),
        };
        let snapshots = self.replicator.snapshots(&self.scene, header);
        mark(TickStage::Snapshots);
        let frozen = self.cut.take().map(|cut| self.zone.freeze(cut));
        if frozen.is_some() {
            mark(TickStage::Capture);
        }
        if self.seal == LastTick::Ordered {
            self.seal = LastTick::Done;
        }
        TickOut {
            record,
            outputs,
            moves,
            snapshots,
            confirmed: header.confirmed(),
            frozen,
        }
    }

    /// The last tick that was stepped, or, after a panic, the one that failed: a step raises the tick before anything
    /// that may fail.
    #[must_use]
    #[inline]
    pub fn tick(&self) -> Tick {
        self.zone.tick()
    }

    /// Sessions that are attached after the last tick.
    #[must_use]
    #[inline]
    pub fn attached(&self) -> usize {
        self.scene.sessions.len()
    }

    /// Whether the last tick was the zone's last one.
    #[must_use]
    #[inline]
    pub fn is_sealed(&self) -> bool {
        self.seal == LastTick::Done
    }

    /// Returns the end of the zone's history: the record of its last tick.
    #[must_use]
    pub fn last(&self) -> Position {
        Position {
            epoch: self.epoch,
            tick: self.zone.tick(),
            hash: self.last,
        }
    }

    /// Gives the zone back, as it is after its last tick.
    #[must_use]
    pub fn into_zone(self) -> Zone {
        self.zone
    }

    /// Freezes the next tick's inputs into its record, before anything is stepped.
    fn freeze(&mut self) -> StoredRecord {
        let tick = self.zone.tick().next();
        let digest_due = tick.is_every(DIGEST_EVERY_TICKS);
        let record = Record {
            epoch: self.epoch,
            tick,
            prev_hash: self.last,
            digest_before: digest_due.then(|| self.zone.digest()),
            inputs: std::mem::take(&mut self.inputs),
        };
        let stored = record.encode();
        self.last = stored.hash;
        self.inputs = record.inputs;
        stored
    }

    /// Steps the zone on the frozen inputs.
    fn step_zone(&mut self) -> Outputs {
        let outputs = self.zone.step(&self.inputs);
        self.inputs.clear();
        self.note_attaches(&outputs);
        outputs
    }

    /// Tells the inbox which connection's frames count for a session, and from which one on, before the next tick
    /// drains it.
    fn note_attaches(&mut self, outputs: &Outputs) {
        for (token, reply) in &outputs.replies {
            match reply {
                Reply::Attached(welcome) => {
                    self.inbox
                        .note_attached(welcome.session, *token, welcome.last_input_seq);
                }
                Reply::Superseded(session) | Reply::Dismissed(session, _) => {
                    self.inbox.note_detached(*session, *token);
                }
                // The inbox has seen the log-out itself.
                Reply::Refused(_) | Reply::LoggedOut(_) => {}
            }
        }
    }
}

/// The inputs with which an epoch begins: its `EpochStart`, then what the zone is to refuse, before a client can send
/// it again.
fn first_inputs(start: &TickStart<'_>) -> Vec<Input> {
    let begin = Input::EpochStart {
        epoch: start.grant.epoch(),
        nonce: start.grant.nonce().0,
        rules_id: start.rules_id,
    };
    let refusals = start
        .quarantine
        .iter()
        .map(|&(session, seq)| Input::Quarantine { session, seq });
    std::iter::once(begin).chain(refusals).collect()
}

#[cfg(test)]
mod tests;

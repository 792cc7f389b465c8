//! The steps of the model: the wiring between machine, zone, and store that a pipeline and its driver are in a server.
//! What is decided, the machines decide.

use everhold_core::durability::store::{AppendAnswer, CheckpointHead, Position, Rewind, StoreError, StoredRecord};
use everhold_core::durability::{CheckpointCommand, CheckpointEvent};
use everhold_core::zone::{Capture, Cut, Digest};
use everhold_protocol::Tick;
use everhold_protocol::rng::SplitMix64;
use everhold_sim::store::StoredKind;

use super::read::{Reading, read};
use super::state::{HeadFlight, HeadOwner, tenure};
use super::{HeadAct, HeadBreach, HeadMutant, HeadPath, HeadState, Heads};
use crate::explore::guarded;
use crate::history;

impl Heads {
    pub(super) fn step(&self, state: &mut HeadState, act: HeadAct) {
        let is_sound = guarded(|| {
            self.apply(state, act);
            self.look(state);
        });
        if is_sound.is_none() {
            state.breach = Some(HeadBreach::Panicked);
        }
    }

    fn apply(&self, state: &mut HeadState, act: HeadAct) {
        match act {
            HeadAct::Tick => self.tick(&mut state.owner),
            HeadAct::Append => self.append(state),
            HeadAct::Poll => self.poll(&mut state.owner),
            HeadAct::Carry => {
                let mut flight = state.owner.flight.take().expect("a write is on its way");
                flight.done = Some(self.carry(state, &flight));
                state.owner.flight = Some(flight);
            }
            HeadAct::CarryLate => {
                let flight = state.late.take().expect("a write was given up");
                let done = self.carry(state, &flight);
                if matches!(flight.command, CheckpointCommand::MoveHead(_)) {
                    self.took(if done.is_ok() {
                        HeadPath::MovedLate
                    } else {
                        HeadPath::Refused
                    });
                }
            }
            HeadAct::Answer => {
                let flight = state.owner.flight.take().expect("a write is on its way");
                let done = flight.done.expect("an answer follows the deed");
                answer(&mut state.owner, &flight.command, done);
            }
            HeadAct::TimeOut => {
                state.time_outs += 1;
                let flight = state.owner.flight.take().expect("a write is on its way");
                let silence = StoreError::Unavailable(String::new());
                answer(&mut state.owner, &flight.command, Err(silence));
                state.late = Some(flight).filter(|flight| flight.done.is_none());
            }
            HeadAct::Damage(kind) => self.damage(state, kind),
            HeadAct::Adopt => self.adopt(state),
            HeadAct::ReadEarly => state.read_early = Some(state.read.clone()),
        }
    }

    /// Has an adopter look at what is stored now, and notes what it would find.
    fn look(&self, state: &mut HeadState) {
        state.read = read(&state.store, &self.zone, None, self.mutant).expect("the store answers");
    }

    fn tick(&self, owner: &mut HeadOwner) {
        let mark = u8::try_from(owner.epoch.0).expect("few epochs");
        let record = history::record(owner.last, mark);
        owner.last = Position {
            epoch: owner.epoch,
            tick: record.tick,
            hash: record.hash,
        };
        owner.checkpointer.handle_tick(record.tick);
        if self.is(HeadMutant::NotReleased) {
            owner.checkpointer.handle_released(record.tick);
        }
        if let Some(cut) = owner.cut.take() {
            let capture = capture(owner, cut);
            owner.captured = Some(owner.last);
            owner.checkpointer.handle_captured(owner.last, capture);
        }
    }

    fn append(&self, state: &mut HeadState) {
        let owner = &mut state.owner;
        let records: Vec<StoredRecord> = (state.acknowledged.tick.0..owner.last.tick.0)
            .map(|tick| {
                let before = history::earlier(owner.last, Tick(tick), owner.epoch);
                history::record(
                    before,
                    owner.last.hash.0[usize::try_from(tick).expect("a short history")],
                )
            })
            .collect();
        match state.store.append(&tenure(&self.zone, owner.epoch), &records) {
            Ok(AppendAnswer::Ok | AppendAnswer::Duplicate) => {
                state.acknowledged = owner.last;
                owner.checkpointer.handle_released(owner.last.tick);
            }
            Ok(AppendAnswer::Gap { .. } | AppendAnswer::Fork { .. }) => panic!("nothing was lost"),
            Err(_) => owner.is_over = true,
        }
    }

    fn poll(&self, owner: &mut HeadOwner) {
        match owner.checkpointer.poll_command() {
            None => {}
            Some(CheckpointCommand::Cut(cut)) => owner.cut = Some(cut),
            Some(CheckpointCommand::CaptureConfirmed(_)) => owner.built_on = owner.captured.take(),
            Some(CheckpointCommand::CaptureFailed) => {
                let given_up = owner.captured.take();
                if self.is(HeadMutant::DirtySetLost) && owner.built_on.is_some() {
                    owner.built_on = given_up;
                }
            }
            Some(command) => {
                owner.flight = Some(HeadFlight {
                    epoch: owner.epoch,
                    command,
                    done: None,
                });
            }
        }
    }

    fn carry(&self, state: &mut HeadState, flight: &HeadFlight) -> Result<(), StoreError> {
        let sender = tenure(&self.zone, flight.epoch);
        let store = &mut state.store;
        match &flight.command {
            CheckpointCommand::PutPart { position, index, bytes } => {
                store.put_part(&sender, *position, *index, bytes.clone())
            }
            CheckpointCommand::MoveHead(head) => store.move_head(&sender, *head),
            CheckpointCommand::DropParts(position, parts) => store.drop_parts(&sender, *position, *parts),
            command => panic!("{command:?} is no write"),
        }
    }

    fn damage(&self, state: &mut HeadState, kind: StoredKind) {
        let place = state.store.places(&self.zone, kind).last().copied();
        if let Some(place) = place
            && state.store.tear(&self.zone, place, &mut SplitMix64::new(1))
        {
            state.damages += 1;
            state.records_damaged += u8::from(kind == StoredKind::Record);
        }
    }

    /// Takes the zone over, as an adoption does: the fence first, then what is stored, and last the end of what leads
    /// nowhere.
    fn adopt(&self, state: &mut HeadState) {
        state.adoptions += 1;
        let epoch = state.owner.epoch.next().expect("few epochs");
        let tenure = tenure(&self.zone, epoch);
        state.store.fence(&tenure).expect("the epoch is the highest");
        let found = match state.read_early.take() {
            Some(early) => early,
            None => read(&state.store, &self.zone, Some(tenure.grant), self.mutant).expect("the fence is ours"),
        };
        let Some(end) = found.end else { return };
        self.note_paths(&found);
        let is_whole = history::contains(end, state.acknowledged);
        if !is_whole && found.lost_ticks == 0 {
            state.breach = Some(HeadBreach::Lost);
        }
        if let Some((head, last)) = found.rewind
            && !self.is(HeadMutant::NotRewound)
        {
            let rewound = state.store.rewind(&tenure, Rewind { head, last });
            rewound.expect("the fence is ours");
        }
        let chain: &[CheckpointHead] = if found.rewind.is_none() { &found.chain } else { &[] };
        if let Some(flight) = state.owner.flight.take().filter(|flight| flight.done.is_none()) {
            state.late = Some(flight);
        }
        let mut owner = HeadOwner::new(epoch, chain, end);
        owner.built_on = chain.last().map(|head| head.position);
        state.owner = owner;
        state.acknowledged = end;
        // What was damaged is not read any more, or will be found again: either is the next adopter's to say.
        if found.rewind.is_some() {
            (state.damages, state.records_damaged) = (state.damages.max(1), 0);
        }
    }

    fn note_paths(&self, found: &Reading) {
        if found.chain.len() > 1 {
            self.took(HeadPath::DeltaChain);
        }
        if found.lost_ticks > 0 {
            self.took(HeadPath::LossSaid);
        } else if found.given_up > 0 {
            self.took(if found.chain.is_empty() {
                HeadPath::JournalAlone
            } else {
                HeadPath::OlderChain
            });
        }
    }
}

/// Returns a capture of the zone: its history, or what of it is new since the one that it builds on.
fn capture(owner: &HeadOwner, cut: Cut) -> Capture {
    let built_on = owner.built_on.filter(|_| cut == Cut::Delta);
    let from = built_on.map_or(Tick(0), |built_on| built_on.tick);
    let range = from.0..owner.last.tick.0;
    let marks = range.map(|tick| owner.last.hash.0[usize::try_from(tick).expect("a short history")]);
    Capture {
        tick: owner.last.tick,
        base: built_on.is_none(),
        digest: Digest(0),
        body: std::iter::once(0).chain(marks).collect(),
    }
}

/// Passes an answer on, as a pipeline does.
fn answer(owner: &mut HeadOwner, command: &CheckpointCommand, done: Result<(), StoreError>) {
    let checkpointer = &mut owner.checkpointer;
    match (done, command) {
        (Ok(()), CheckpointCommand::PutPart { .. }) => checkpointer.handle_part_put(),
        (Ok(()), CheckpointCommand::MoveHead(_)) => checkpointer.handle_head_moved(),
        (Ok(()), _) => checkpointer.handle_parts_dropped(),
        (Err(error), _) => match checkpointer.handle_failed(&error) {
            CheckpointEvent::Later { .. } => {}
            CheckpointEvent::Lost | CheckpointEvent::Stop(_) => owner.is_over = true,
        },
    }
}

//! The output of a tick as a pipeline takes it, and the pipeline's commands to its driver. Nothing is decided here.

use bytes::Bytes;
use everhold_protocol::{Account, Tick};

use crate::durability::archivist::{ArchivedRest, ArchivistCommand, ArchivistNotice};
use crate::durability::gate::Released;
use crate::durability::lag::LagState;
use crate::durability::store::{CheckpointHead, Position, StoreError, StoredRecord};
use crate::ingress::Input;
use crate::outage::Lasted;
use crate::ownership::EndReason;
use crate::zone::{Cut, Frozen, ValueMove};

/// The output of one tick for its zone's pipeline. `S` are its snapshots, `R` its other outputs (replies and events).
#[derive(Debug)]
pub struct PipelineTick<S, R> {
    /// The tick's inputs.
    pub record: StoredRecord,
    /// The snapshots for all viewers.
    pub snapshots: S,
    /// The last tick that the snapshots call confirmed.
    pub confirmed: Tick,
    /// The replies and events, each for one session.
    pub outputs: R,
    /// The moves of value in it, in order.
    pub moves: Vec<ValueMove>,
    /// The cut that was taken after it, if one was asked for.
    pub frozen: Option<Frozen>,
}

/// A command to the driver of a pipeline. At most one operation of each kind is at the store: one append, one write of
/// a checkpoint, one creation.
#[derive(Debug)]
pub enum PipelineCommand<S, R> {
    /// Append these records; answer with [`Pipeline::handle_appended`](super::Pipeline::handle_appended).
    Append(Vec<StoredRecord>),
    /// Write a part of a checkpoint's body; answer with [`Pipeline::handle_written`](super::Pipeline::handle_written).
    PutPart {
        /// Of the checkpoint at this position.
        position: Position,
        /// The part's place in the body, from 0.
        index: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Make a checkpoint the head; answer with [`Pipeline::handle_written`](super::Pipeline::handle_written).
    MoveHead(CheckpointHead),
    /// Delete the parts of a checkpoint that is given up, so many at this position; answer with
    /// [`Pipeline::handle_written`](super::Pipeline::handle_written).
    DropParts(Position, u32),
    /// Seal the zone, which ends at this position, with the rules that it runs; answer with
    /// [`Pipeline::handle_written`](super::Pipeline::handle_written).
    WriteSeal(Position),
    /// Have the lost data set made anew, to be written from memory; answer with
    /// [`Pipeline::handle_created`](super::Pipeline::handle_created).
    Create,
    /// Make bytes of a cut, where nothing waits; answer with
    /// [`Pipeline::handle_captured`](super::Pipeline::handle_captured) or
    /// [`Pipeline::handle_capture_lost`](super::Pipeline::handle_capture_lost).
    Encode(Frozen),
    /// Have the tick thread cut the zone after its next tick, which hands it over as [`PipelineTick::frozen`]. A zone
    /// that had its last tick is cut as that left it; answer with
    /// [`Pipeline::handle_frozen`](super::Pipeline::handle_frozen).
    Cut(Cut),
    /// Have the tick thread do one more tick, with this cut, and no other.
    Seal(Cut),
    /// Tell the zone that its capture is stored: `Zone::capture_confirmed`. No answer.
    CaptureConfirmed,
    /// Tell the zone to take its dirty set back: `Zone::capture_failed`. No answer.
    CaptureFailed,
    /// Have the zone tell the accounts that have a session in it: the store has lost their homes, or may have. Answer
    /// with [`Pipeline::handle_roster`](super::Pipeline::handle_roster); what is not answered is asked for again.
    Roster,
    /// Set the home of this account to the zone, unless it has one; answer with
    /// [`Pipeline::handle_home_set`](super::Pipeline::handle_home_set).
    SetHome(Account),
    /// Keep the record of this character, which rests; answer with
    /// [`Pipeline::handle_rest_kept`](super::Pipeline::handle_rest_kept).
    KeepRest(ArchivedRest),
    /// Put this input into the zone's inbox, if there is room: it comes again. No answer.
    Input(Input),
    /// Let others know that everything up to this tick is stored. No answer.
    Acknowledged(Tick),
    /// Note on the lease that the zone lives: it holds because of the store, and its driver is awake. No answer.
    NoteAlive,
    /// Send a tick's replies and events, now.
    Tell(Released<R>),
    /// Send a tick's snapshots, now.
    Show(Released<S>),
    /// Ask the archive for this; answer with the archivist's handler that it names.
    Archive(ArchivistCommand),
    /// Raise or end an alarm: the state of the zone's checkpoints is this now, with a lag of so many ticks.
    LagChanged(LagState, u64),
    /// Log this.
    Log(PipelineNotice),
    /// Log this of the archive.
    LogArchive(ArchivistNotice),
    /// End the zone here. It is the last command.
    End(EndReason),
}

/// A line of the log about a pipeline.
#[derive(Debug)]
pub enum PipelineNotice {
    /// An append was not confirmed.
    AppendFailed(StoreError, Lasted),
    /// Appends are confirmed again.
    AppendsConfirmed(Lasted),
    /// The store lacks what it had; records are sent again from this tick on.
    Resending(Tick),
    /// The store lacks more than memory has; a base will bridge it.
    Reseeding,
    /// The store has lost the zone's data set; it is written anew from memory.
    DataSetLost,
    /// The data set is not made anew yet.
    CreateFailed(StoreError, Lasted),
    /// The data set is made anew, after failures.
    Created(Lasted),
    /// A part or a head was not written.
    WriteFailed(StoreError, Lasted),
    /// A cut was not made bytes, for this reason.
    CaptureLost(String, Lasted),
    /// The home of a character was not set anew.
    HomeFailed(StoreError, Lasted),
    /// The homes of so many characters are set anew.
    HomesSet(u64),
    /// The record of a character at rest was not kept.
    RestFailed(StoreError, Lasted),
    /// Records of characters at rest are kept again.
    RestsKept(Lasted),
    /// The store refuses, under this epoch, to be written anew: the zone goes on under another.
    Refused,
    /// A checkpoint is written whole again.
    WritesConfirmed(Lasted),
    /// The zone was stopped and everything is stored, but for a seal, for this reason.
    Unsealed(String),
}

//! The events of a simulated cluster: everything that a party can hear, as values. What follows from one is decided by
//! the machine that hears it.

use std::rc::Rc;

use bytes::Bytes;
use everhold_core::cluster::routing::{AccountQuery, AccountReply};
use everhold_core::durability::adoption::KeptFile;
use everhold_core::durability::archivist::CutFacts;
use everhold_core::durability::evidence::EvidenceAnswer;
use everhold_core::durability::pipeline::ArchiveAnswer;
use everhold_core::durability::store::{AppendAnswer, StoreError, StoredRecord, ZoneOutline, ZoneSummary};
use everhold_core::ingress::AttachToken;
use everhold_core::ownership::holder::command::HolderAnswer;
use everhold_core::ownership::{EndReason, RulesId, Tenure};
use everhold_core::zone::Capture;
use everhold_protocol::client::ConnId;
use everhold_protocol::{Account, ClientMessage, ServerMessage};

use crate::fault::Fault;
use crate::links::Party;
use crate::services::Services;

/// An operation of a store, an archive, or an authority. It may arrive twice.
pub type Operation = Rc<dyn Fn(&mut Services) -> ShardInput>;

/// A request to the store, the archive, or the authority.
#[derive(Clone)]
pub struct SimRequest {
    /// The party that asks, and its life.
    pub from: (Party, u64),
    /// The party that is asked.
    pub to: Party,
    /// The number under which the answer is waited for, if it is.
    pub number: Option<u64>,
    /// The question, and how it is answered.
    pub operation: Operation,
}

/// An event of the agenda.
pub enum SimEvent {
    /// Something that a shard process, in this life of its, is to hear.
    Shard(usize, u64, ShardInput),
    /// A packet for a shard process, in the life that its sender knows, if it knows one.
    Packet(usize, Option<u64>, ShardInput),
    /// A request that arrives at the store, the archive, or the authority.
    Request(SimRequest),
    /// Something that a player's client is to hear.
    Player(usize, PlayerEvent),
    /// A fault begins or ends.
    Fault(Fault),
    /// The shard process at this place goes on after a pause.
    Wake(usize),
    /// The shard process at this place has ended as it was asked to.
    Left(usize),
    /// A zone may have been released: all shards are to hear of it.
    Hint,
    /// The guardian of a dead shard, of this life, does its work.
    Guardian(usize, u64),
    /// The checks that look at everything.
    Look,
}

/// Something that a shard process hears.
pub enum ShardInput {
    /// The holder's next turn is due.
    Turn,
    /// A zone may have been released.
    Hint,
    /// An answer to the holder's request of this number.
    Answered(u64, HolderAnswer),
    /// A request of this number was not answered in time.
    Expired(u64),
    /// A store's answer to the operation of this number.
    Stored(u64, StoreAnswer),
    /// The archive's answer to the question of this number.
    Archived(u64, ArchiveAnswer),
    /// An adoption's next command is due.
    Adoption(Tenure),
    /// An adoption's lease is to be looked at.
    AdoptionLook(Tenure),
    /// An inquiry's next command is due.
    Inquiry(Tenure),
    /// The next operation on the evidence of a forked zone is due.
    Evidence(Tenure),
    /// A tick is due.
    Tick(Tenure),
    /// The durable task looks after lease and gate.
    Pulse(Tenure),
    /// A cut is bytes, and has these facts for an archive.
    Captured(Tenure, Box<Capture>, CutFacts),
    /// The login queues move.
    Round,
    /// An account is to be asked for now.
    AskAccount(AttachToken, Account, AccountQuery),
    /// The store's answer to the question of this number about an account.
    Account(u64, AccountReply),
    /// Something from a player's connection.
    Packet(usize, ConnId, ClientPacket),
    /// A connection is over.
    Gone(AttachToken),
    /// The tick thread of a zone that ended for this reason did not give it back in time.
    NotSurrendered(Tenure, EndReason),
    /// The process is asked to stop.
    Stop,
    /// An answer that no machine waits for.
    Nothing,
}

/// A packet of a player's connection.
#[derive(Clone, Debug)]
pub enum ClientPacket {
    /// It is open.
    Open,
    /// A message of the control stream.
    Control(ClientMessage),
    /// A datagram.
    Datagram(Bytes),
    /// The player closed it.
    Close,
}

/// A store's answer.
pub enum StoreAnswer {
    /// To a summary.
    Summary(Result<Option<ZoneSummary>, StoreError>),
    /// To a fence, a part, a head, a creation, a quarantine, or a rewind.
    Done(Result<(), StoreError>),
    /// To the read of an outline.
    Read(Result<ZoneOutline, StoreError>),
    /// To the read of parts.
    Parts(Result<Vec<Option<Bytes>>, StoreError>),
    /// To the read of records.
    Records(Result<Vec<StoredRecord>, StoreError>),
    /// To an operation on evidence.
    Kept(Result<EvidenceAnswer, StoreError>),
    /// To the keeping of a character at rest: the generation of a newer record, if one is there.
    RestKept(Result<Option<u64>, StoreError>),
    /// To the question for the wanted rules.
    Wanted(Result<Option<RulesId>, StoreError>),
    /// To the question for the file of a zone's rules.
    KeptFile(Result<KeptFile, StoreError>),
    /// To an append.
    Appended(Result<AppendAnswer, StoreError>),
}

/// Something that a player hears.
pub enum PlayerEvent {
    /// It logs in for the first time, or anew.
    Start,
    /// The machine's time-out.
    Timeout,
    /// The mind does something.
    Act,
    /// A connection is open, at this shard in this life.
    Connected(ConnId, usize, u64),
    /// A connection is over.
    Disconnected(ConnId, Option<u64>, String),
    /// A message of the control stream.
    Control(ConnId, ServerMessage),
    /// A blocked link is tried again for messages that it held back.
    Again(ConnId),
    /// The same, for those to the shard.
    SendAgain(ConnId),
    /// A datagram.
    Datagram(ConnId, Bytes),
}

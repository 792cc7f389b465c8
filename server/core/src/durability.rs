//! Durability: records, the gate, checkpoints, adoption. Pure machines; the store they talk to is a trait.

pub mod evidence;
pub mod store;
pub mod bans;
pub mod archive;
pub mod forks;
pub mod pending_moves;
pub mod archivist;
pub mod rules_store;
pub mod record;
pub mod history;
pub mod journal;
pub mod gate;
pub mod checkpoint;
pub mod lag;
pub mod tries;
pub mod asking;
pub mod suspended;
pub mod pipeline;
pub mod replay;
pub mod audit;
pub mod export;
pub mod keeping;
pub mod salvage;
pub mod recovery;
pub mod blob_recovery;
pub mod backup;
pub mod adoption;
pub mod blame;

pub use checkpoint::{CheckpointCommand, CheckpointConfig, CheckpointEvent, Checkpointer};
pub use gate::{Durability, Gate, Released};
pub use journal::{Journal, JournalEvent, RingFull, StopReason};
pub use lag::{LagConfig, LagState};
pub use pipeline::{Pipeline, PipelineCommand, PipelineConfig, PipelineNotice, PipelineTick};
pub use record::{Record, RecordError};
pub use replay::{ReplayError, ReplayPlan, Replayed, plan, ran_under, replay};
pub use suspended::{Surrender, SuspendedZone};

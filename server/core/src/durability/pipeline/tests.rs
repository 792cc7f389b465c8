//! The pipeline, told by circumstances: what it asks for when lease, store, and zone behave so. The store has a base of
//! tick 100, and each tick shows and tells its number.

mod archive;
mod checkpoints;
mod ends;
mod releases;
mod stores;

use std::sync::Arc;

use bytes::Bytes;
use everhold_protocol::Epoch;

use super::*;
use crate::durability::archivist::CutFacts;
use crate::durability::checkpoint::CheckpointConfig;
use crate::durability::gate::Durability;
use crate::durability::lag::LagConfig;
use crate::durability::store::{RecordHash, StoredRecord};
use crate::game::RuleBook;
use crate::zone::{Capture, Cut, Digest, Frozen, Zone, ZoneConfig};

const START: Position = Position {
    epoch: Epoch(1),
    tick: Tick(100),
    hash: RecordHash([9; 32]),
};

const HELD: LeaseState = LeaseState::Held {
    deadline: Duration::MAX,
};

const PAUSED: LeaseState = LeaseState::Paused {
    deadline: Duration::MAX,
    woke_at: Duration::ZERO,
};

/// A zone, its driver, and their clock.
struct Host {
    pipeline: Pipeline<Tick, Tick>,
    durability: Durability,
    now: Instant,
    lease: LeaseState,
}

/// Of a zone that is to be cut after so many ticks.
fn config(durability: Durability, delta_ticks: u64) -> PipelineConfig {
    PipelineConfig {
        durability,
        checkpoints: CheckpointConfig {
            delta_ticks,
            base_ticks: 100_000,
            retry_ticks: 3,
        },
        lag: LagConfig {
            alarm_ticks: 100_000,
            hold_ticks: 200_000,
        },
    }
}

impl Host {
    fn new(durability: Durability, delta_ticks: u64) -> Self {
        let base = CheckpointHead {
            position: START,
            kind: CheckpointKind::Base,
            parts: 1,
            bytes: 100,
        };
        let config = config(durability, delta_ticks);
        Self {
            pipeline: Pipeline::new(config, Journal::new(Epoch(2), START), &[base]),
            durability,
            now: Instant::now(),
            lease: HELD,
        }
    }

    /// A zone of which no checkpoint is due.
    fn quiet() -> Self {
        Self::new(Durability::Store, 50_000)
    }

    /// A zone of which the delta of tick 103 waits for its bytes; everything is stored.
    fn cut() -> Self {
        let mut host = Self::new(Durability::Store, 2);
        host.tick(2);
        assert_eq!(host.turn(), ["append 101..=102", "cut delta"]);
        host.tick_with(Some(frozen(Tick(103))));
        assert_eq!(host.turn(), ["encode 103"]);
        for answered in [102, 103] {
            host.append(Ok(AppendAnswer::Ok));
            let acknowledged = format!("acknowledged {answered}");
            assert!(host.turn().contains(&acknowledged));
        }
        host
    }

    fn tick(&mut self, count: u64) {
        for _ in 0..count {
            self.tick_with(None);
        }
    }

    fn tick_with(&mut self, frozen: Option<Frozen>) {
        let last = self.pipeline.journal.last();
        let tick = last.tick.next();
        let acknowledged = self.pipeline.journal.acknowledged().tick;
        let unconfirmed = self.durability.unconfirmed_ticks(tick, acknowledged);
        self.pipeline.handle_tick(PipelineTick {
            record: record(tick, last.hash),
            snapshots: tick,
            confirmed: Tick(tick.0 - u64::from(unconfirmed)),
            outputs: tick,
            moves: Vec::new(),
            frozen,
        });
    }

    /// The next command under this lease, in a word.
    fn poll_once(&mut self, lease: LeaseState) -> Option<String> {
        let command = self.pipeline.poll_command(self.now, lease);
        command.map(|command| word(&command))
    }

    /// Begins a turn and polls all of its commands, as words.
    fn turn(&mut self) -> Vec<String> {
        self.pipeline.handle_turn();
        let polls = std::iter::from_fn(|| self.pipeline.poll_command(self.now, self.lease));
        polls.map(|command| word(&command)).collect()
    }

    fn turn_after(&mut self, ms: u64) -> Vec<String> {
        self.now += Duration::from_millis(ms);
        self.turn()
    }

    fn append(&mut self, answer: Result<AppendAnswer, StoreError>) {
        self.pipeline.handle_appended(self.now, answer);
    }

    fn write(&mut self, answer: Result<(), StoreError>) {
        self.pipeline.handle_written(self.now, answer);
    }

    fn create(&mut self, answer: Result<(), StoreError>) {
        self.pipeline.handle_created(self.now, answer);
    }

    fn capture(&mut self, tick: Tick, cut: Cut) {
        let capture = Capture {
            tick,
            base: cut == Cut::Base,
            digest: Digest(0),
            body: vec![0; 10],
        };
        self.pipeline.handle_captured(capture, CutFacts::default());
    }
}

fn record(tick: Tick, prev_hash: RecordHash) -> StoredRecord {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&tick.0.to_le_bytes());
    StoredRecord {
        tick,
        prev_hash,
        hash: RecordHash(hash),
        body: Bytes::new(),
    }
}

fn frozen(tick: Tick) -> Frozen {
    let mut zone = Zone::new(ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    });
    let mut frozen = zone.freeze(Cut::Base);
    frozen.tick = tick;
    frozen
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("a time-out".to_owned())
}

/// The words of so many ticks, from the first to the last.
fn each(verb: &str, ticks: std::ops::RangeInclusive<u64>) -> Vec<String> {
    ticks.map(|tick| format!("{verb} {tick}")).collect()
}

fn word(command: &PipelineCommand<Tick, Tick>) -> String {
    let cut_word = |cut: &Cut| if *cut == Cut::Base { "base" } else { "delta" };
    match command {
        PipelineCommand::Append(records) => {
            let (first, last) = (records.first().unwrap(), records.last().unwrap());
            format!("append {}..={}", first.tick, last.tick)
        }
        PipelineCommand::PutPart { position, index, .. } => format!("part {} of {}", index, position.tick),
        PipelineCommand::MoveHead(head) => format!("head {}", head.position.tick),
        PipelineCommand::WriteSeal(position) => format!("write seal {}", position.tick),
        PipelineCommand::DropParts(position, parts) => format!("drop {parts} parts of {}", position.tick),
        PipelineCommand::LagChanged(state, ticks) => format!("{state:?} by {ticks}"),
        PipelineCommand::Create => "create".to_owned(),
        PipelineCommand::Encode(frozen) => format!("encode {}", frozen.tick),
        PipelineCommand::Cut(cut) => format!("cut {}", cut_word(cut)),
        PipelineCommand::Seal(cut) => format!("seal {}", cut_word(cut)),
        PipelineCommand::CaptureConfirmed => "capture confirmed".to_owned(),
        PipelineCommand::CaptureFailed => "capture failed".to_owned(),
        PipelineCommand::Roster => "roster".to_owned(),
        PipelineCommand::KeepRest(rest) => format!("keep rest {}", rest.account.0),
        PipelineCommand::Input(input) => format!("input {input:?}"),
        PipelineCommand::SetHome(account) => format!("home {}", account.0),
        PipelineCommand::Acknowledged(tick) => format!("acknowledged {tick}"),
        PipelineCommand::NoteAlive => "alive".to_owned(),
        PipelineCommand::Tell(told) => {
            assert_eq!((told.epoch(), told.clone().into_inner()), (Epoch(2), told.tick()));
            format!("tell {}", told.tick())
        }
        PipelineCommand::Show(shown) => {
            assert_eq!((shown.epoch(), shown.clone().into_inner()), (Epoch(2), shown.tick()));
            format!("show {}", shown.tick())
        }
        PipelineCommand::Archive(_) | PipelineCommand::LogArchive(_) => "archive".to_owned(),
        PipelineCommand::Log(notice) => {
            let notice = format!("{notice:?}");
            format!("log {}", notice.split('(').next().unwrap())
        }
        PipelineCommand::End(reason) => format!("end {reason:?}"),
    }
}

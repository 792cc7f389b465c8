//! Checkpoints: parts first, then the head's move, which is one script with everything that follows from it.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, PartKey, Position, RecordHash, StoreError};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick};
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{done, grant_words};
use super::{RedisStore, zone_script};

static PUT_PART: LazyLock<Script> = zone_script!("lua/put_part.lua");
static DROP_PARTS: LazyLock<Script> = zone_script!("lua/drop_parts.lua");
static MOVE_HEAD: LazyLock<Script> = zone_script!("lua/move_head.lua");

impl RedisStore {
    pub(super) async fn write_part(
        &self,
        tenure: &Tenure,
        position: Position,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "chain", "parts"]);
        let mut words = grant_words(tenure.grant);
        words.extend(position_words(position));
        words.push(index.to_string().into());
        words.push(bytes.into());
        done(&self.checkpoint.run(&PUT_PART, keys, words).await?)
    }

    pub(super) async fn delete_parts(&self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "chain", "parts"]);
        let mut words = grant_words(tenure.grant);
        words.push(line_start(position).into());
        words.push(parts.to_string().into());
        done(&self.checkpoint.run(&DROP_PARTS, keys, words).await?)
    }

    pub(super) async fn write_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "journal", "chain", "parts", "quarantine"]);
        let mut words = grant_words(tenure.grant);
        words.extend(position_words(head.position));
        let (is_base, parent) = match head.kind {
            CheckpointKind::Base => ("1", Position::GENESIS),
            CheckpointKind::Delta { parent } => ("0", parent),
        };
        words.push(is_base.into());
        words.push(head.parts.to_string().into());
        words.push(head.bytes.to_string().into());
        words.extend(position_words(parent));
        words.push(Bytes::copy_from_slice(&head.position.hash.0).into());
        done(&self.decide(&MOVE_HEAD, keys, words).await?)
    }
}

/// Reads the lines of the chain. A delta's parent is the line before it.
pub(super) fn read_chain(lines: impl Iterator<Item = Option<String>>) -> Option<Vec<CheckpointHead>> {
    let mut chain: Vec<CheckpointHead> = Vec::new();
    for line in lines {
        let line = line?;
        let mut words = line.split(' ');
        let mut word = || words.next();
        let position = Position {
            epoch: Epoch(word()?.parse().ok()?),
            tick: Tick(word()?.parse().ok()?),
            hash: unhex(word()?)?,
        };
        let kind = match (word()?, chain.last()) {
            ("1", _) => CheckpointKind::Base,
            ("0", Some(before)) => CheckpointKind::Delta {
                parent: before.position,
            },
            _ => return None,
        };
        chain.push(CheckpointHead {
            position,
            kind,
            parts: word()?.parse().ok()?,
            bytes: word()?.parse().ok()?,
        });
    }
    Some(chain)
}

/// Returns the field of a part.
pub(super) fn part_field((position, index): PartKey) -> Value {
    format!("{}{index}", line_start(position)).into()
}

/// Returns how the line of a checkpoint begins.
pub(super) fn line_start(Position { epoch, tick, hash }: Position) -> String {
    format!("{epoch} {tick} {} ", hex(hash))
}

fn position_words(position: Position) -> [Value; 3] {
    [
        position.epoch.to_string().into(),
        position.tick.to_string().into(),
        hex(position.hash).into(),
    ]
}

pub(super) fn hex(hash: RecordHash) -> String {
    hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<RecordHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(RecordHash(hash))
}

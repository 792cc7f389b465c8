//! Checkpoints: parts first, then the head's move, which is one script with everything that follows from it.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use everhold_core::durability::store::{Checkpoint, CheckpointHead, CheckpointKind, Position, RecordHash, StoreError};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{done, grant_words};
use super::{RedisStore, zone_script};

static PUT_PART: LazyLock<Script> = zone_script!("lua/put_part.lua");
static MOVE_HEAD: LazyLock<Script> = zone_script!("lua/move_head.lua");

/// Parts of one page: 1 MiB at most.
const PAGE_PARTS: u32 = 16;

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
        done(&self.checkpoint.run(&MOVE_HEAD, keys, words).await?)
    }
}

/// Reads a checkpoint with its body.
pub(super) async fn read(store: &RedisStore, zone: &ZoneName, head: CheckpointHead) -> Result<Checkpoint, StoreError> {
    let mut body = BytesMut::with_capacity(usize::try_from(head.bytes).unwrap_or(0));
    let Position { epoch, tick, hash } = head.position;
    let mut from = 0;
    while from < head.parts {
        let to = head.parts.min(from + PAGE_PARTS);
        let field = |index: u32| format!("{epoch} {tick} {} {index}", hex(hash)).into();
        for part in store.fields(zone, "parts", (from..to).map(field).collect()).await? {
            let missing = || StoreError::Corrupt(format!("the checkpoint of tick {tick} lacks a part"));
            body.extend_from_slice(&part.into_bytes().ok_or_else(missing)?);
        }
        from = to;
    }
    if body.len() as u64 != head.bytes {
        let (has, should) = (body.len(), head.bytes);
        return Err(StoreError::Corrupt(format!(
            "the checkpoint of tick {tick} has {has} of {should} bytes"
        )));
    }
    Ok(Checkpoint {
        head,
        body: body.freeze(),
    })
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

/// Returns the newest base and its deltas.
pub(super) fn newest_chain(chain: &[CheckpointHead]) -> Vec<CheckpointHead> {
    let base = chain.iter().rposition(|head| head.kind == CheckpointKind::Base);
    base.map_or_else(Vec::new, |base| chain[base..].to_vec())
}

fn position_words(position: Position) -> [Value; 3] {
    [
        position.epoch.to_string().into(),
        position.tick.to_string().into(),
        hex(position.hash).into(),
    ]
}

fn hex(hash: RecordHash) -> String {
    hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

fn unhex(text: &str) -> Option<RecordHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(RecordHash(hash))
}

//! Appending to a zone's journal, and reading it.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use everhold_core::durability::store::{AppendAnswer, RecordHash, StoreError, StoredRecord, assert_consecutive};
use everhold_core::ownership::{Grant, Tenure};
use everhold_protocol::Tick;
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{grant_words, refusal};
use super::{RedisError, RedisStore, zone_script};

static APPEND: LazyLock<Script> = zone_script!("lua/append.lua");

/// Bytes before a record's body: prev_hash, hash, epoch.
const HEADER_BYTES: usize = 32 + 32 + 4;

impl RedisStore {
    pub(super) async fn append_records(
        &self,
        tenure: &Tenure,
        records: &[StoredRecord],
    ) -> Result<AppendAnswer, StoreError> {
        assert_consecutive(records);
        let (first, last) = (&records[0], &records[records.len() - 1]);
        let mut words = grant_words(tenure.grant);
        words.push(first.tick.to_string().into());
        for record in records {
            words.push(Bytes::copy_from_slice(&record.prev_hash.0).into());
            words.push(Bytes::copy_from_slice(&record.hash.0).into());
            words.push(entry(tenure.grant, record).into());
        }
        let keys = self.zone_keys(&tenure.zone, &["meta", "journal", "chain"]);
        let answer = self.run_append(&APPEND, keys, words).await?;
        if let Some(refusal) = refusal(&answer) {
            return Err(refusal);
        }
        let echo = answer.last().and_then(Value::as_bytes);
        if echo != Some(&last.hash.0[..]) {
            return Err(RedisError::Answer("another append's answer".to_owned()).into());
        }
        read_answer(&answer).ok_or_else(|| RedisError::Answer(format!("{answer:?}")).into())
    }
}

fn read_answer(answer: &[Value]) -> Option<AppendAnswer> {
    let tick = || answer.get(1)?.as_u64().map(Tick);
    Some(match &*answer.first()?.as_str()? {
        "OK" => AppendAnswer::Ok,
        "DUPLICATE" => AppendAnswer::Duplicate,
        "GAP" => AppendAnswer::Gap { last: tick()? },
        "FORK" => AppendAnswer::Fork { tick: tick()? },
        _ => return None,
    })
}

fn entry(grant: Grant, record: &StoredRecord) -> Bytes {
    let mut entry = BytesMut::with_capacity(HEADER_BYTES + record.body.len());
    entry.put_slice(&record.prev_hash.0);
    entry.put_slice(&record.hash.0);
    entry.put_u32(grant.epoch().0);
    entry.put_slice(&record.body);
    entry.freeze()
}

/// Reads an entry. `None`: it is too short to be one.
pub(super) fn read_entry(tick: Tick, value: Value) -> Option<StoredRecord> {
    let entry = value.into_bytes().filter(|entry| entry.len() >= HEADER_BYTES)?;
    let hash = |at: usize| RecordHash(entry[at..at + 32].try_into().expect("32 bytes"));
    Some(StoredRecord {
        tick,
        prev_hash: hash(0),
        hash: hash(32),
        body: entry.slice(HEADER_BYTES..),
    })
}

//! Evidence of a zone that went wrong, in a hash of its own, which no other script writes to.

use std::sync::LazyLock;

use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, EvidenceWhy, StoredEvidence};
use everhold_core::durability::store::StoreError;
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{done, grant_words};
use super::{RedisError, RedisStore, zone_script};

static PUT: LazyLock<Script> = zone_script!("lua/put_evidence.lua");
static SEAL: LazyLock<Script> = zone_script!("lua/seal_evidence.lua");
static DROP: LazyLock<Script> = zone_script!("lua/drop_evidence.lua");
static READ: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/evidence.lua")));
static DISCARD: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/discard_evidence.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/settle_evidence.lua")));

impl RedisStore {
    pub(super) async fn write_evidence(
        &self,
        tenure: &Tenure,
        index: u32,
        bytes: Bytes,
    ) -> Result<EvidenceAnswer, StoreError> {
        let mut words = grant_words(tenure.grant);
        words.push(index.to_string().into());
        words.push(bytes.into());
        let keys = self.zone_keys(&tenure.zone, &["meta", "evidence"]);
        read_answer(&self.checkpoint.run(&PUT, keys, words).await?)
    }

    pub(super) async fn write_seal(&self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        let mut words = grant_words(tenure.grant);
        words.push(format!("{} {} ", mark.epoch, mark.tick).into());
        words.push(mark_line(mark).into());
        words.push(mark.epoch.to_string().into());
        words.push(mark.parts.to_string().into());
        words.push(mark.bytes.to_string().into());
        let keys = self.zone_keys(&tenure.zone, &["meta", "evidence"]);
        read_answer(&self.checkpoint.run(&SEAL, keys, words).await?)
    }

    pub(super) async fn delete_evidence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "evidence"]);
        done(&self.checkpoint.run(&DROP, keys, grant_words(tenure.grant)).await?)
    }

    pub(super) async fn read_mark(&self, zone: &ZoneName) -> Result<Option<StoredEvidence>, StoreError> {
        let answer = self.evidence_field(zone, "mark".to_owned()).await?;
        let mut texts = answer
            .into_iter()
            .skip(1)
            .map(|value| value.into_string().unwrap_or_default());
        let mut text = || texts.next().unwrap_or_default();
        let (mark, exported, later) = (text(), text(), text());
        if mark.is_empty() {
            return Ok(None);
        }
        let corrupt = || StoreError::Corrupt(format!("`{mark}` marks no evidence"));
        Ok(Some(StoredEvidence {
            mark: read_line(&mark).ok_or_else(corrupt)?,
            is_exported: !exported.is_empty(),
            later: later.parse().map_err(|_| corrupt())?,
        }))
    }

    pub(super) async fn evidence_part(&self, zone: &ZoneName, index: u32) -> Result<Option<Bytes>, StoreError> {
        let mut answer = self.evidence_field(zone, index.to_string()).await?;
        Ok(answer.pop().and_then(Value::into_bytes))
    }

    pub(super) async fn write_fate(
        &self,
        zone: &ZoneName,
        mark: EvidenceMark,
        fate: EvidenceFate,
    ) -> Result<bool, StoreError> {
        let fate = match fate {
            EvidenceFate::Exported => "exported",
            EvidenceFate::Forgotten => "forgotten",
        };
        let words = vec![mark_line(mark).into(), fate.into()];
        let answer = self
            .checkpoint
            .run(&SETTLE, self.zone_keys(zone, &["evidence"]), words)
            .await?;
        if first_word(&answer) == "NONE" {
            return Ok(false);
        }
        done(&answer).map(|()| true)
    }

    pub(super) async fn unlink_evidence(&self, zone: &ZoneName) -> Result<(), StoreError> {
        let keys = self.zone_keys(zone, &["evidence"]);
        done(&self.checkpoint.run(&DISCARD, keys, Vec::new()).await?)
    }

    async fn evidence_field(&self, zone: &ZoneName, field: String) -> Result<Vec<Value>, StoreError> {
        let keys = self.zone_keys(zone, &["evidence"]);
        let answer = self.checkpoint.run(&READ, keys, vec![field.into()]).await?;
        done(&answer)?;
        if answer.len() == 5 {
            Ok(answer)
        } else {
            Err(RedisError::Answer(format!("{} of 5 values", answer.len())).into())
        }
    }
}

fn first_word(answer: &[Value]) -> String {
    answer.first().and_then(Value::as_string).unwrap_or_default()
}

fn read_answer(answer: &[Value]) -> Result<EvidenceAnswer, StoreError> {
    if first_word(answer) == "COUNTED" {
        return Ok(EvidenceAnswer::Counted);
    }
    done(answer).map(|()| EvidenceAnswer::Kept)
}

fn mark_line(mark: EvidenceMark) -> String {
    let EvidenceMark {
        epoch,
        tick,
        why,
        parts,
        bytes,
    } = mark;
    format!("{epoch} {tick} {} {parts} {bytes}", why.tag())
}

fn read_line(line: &str) -> Option<EvidenceMark> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    Some(EvidenceMark {
        epoch: Epoch(word()?.parse().ok()?),
        tick: Tick(word()?.parse().ok()?),
        why: EvidenceWhy::from_tag(word()?.parse().ok()?)?,
        parts: word()?.parse().ok()?,
        bytes: word()?.parse().ok()?,
    })
}

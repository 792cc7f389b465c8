//! A zone's fence, and what is read of a zone. Appending and checkpoints are in the modules beside.

use std::sync::LazyLock;

use bytes::Bytes;
use everhold_core::durability::store::{Origin, PartKey, Rewind, StoreError, StoredRecord, ZoneOutline, ZoneSummary};
use everhold_core::ownership::{DataStamp, Grant, Nonce, Tenure};
use everhold_protocol::{EntityId, Epoch, SessionId, Tick, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{done, grant_words};
use super::{RedisStore, checkpoint, journal, seal, zone_script};

static FENCE: LazyLock<Script> = zone_script!("lua/fence.lua");
static CREATE: LazyLock<Script> = zone_script!("lua/create.lua");
static QUARANTINE: LazyLock<Script> = zone_script!("lua/quarantine.lua");
static REWIND: LazyLock<Script> = zone_script!("lua/rewind.lua");
static OUTLINE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/outline.lua")));

/// The keys of a data set, and of the evidence beside it, as the scripts have them that make one.
const DATA_SET: [&str; 6] = ["meta", "journal", "chain", "parts", "quarantine", "evidence"];

/// All that there is of a zone but for records and parts.
struct RedisOutline {
    outline: ZoneOutline,
    completeness: Completeness,
    /// The epoch that wrote the journal's last record.
    written_by: Option<Epoch>,
}

impl RedisOutline {
    /// Returns the end of the newest data.
    fn newest(&self) -> Option<DataStamp> {
        let record = self.written_by.zip(self.outline.journal);
        let record = record.map(|(epoch, (_, tick))| DataStamp { epoch, tick });
        record.max(self.outline.chain.last().map(|head| head.position.stamp()))
    }
}

impl RedisStore {
    pub(super) async fn fence_zone(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &DATA_SET);
        let answer = self.decide(&FENCE, keys, grant_words(tenure.grant)).await?;
        done(&answer)
    }

    pub(super) async fn create_zone(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &DATA_SET);
        let mut words = grant_words(tenure.grant);
        words.push(
            match origin {
                Origin::Memory => "memory",
                Origin::Nothing => "nothing",
            }
            .into(),
        );
        done(&self.decide(&CREATE, keys, words).await?)
    }

    pub(super) async fn write_quarantine(
        &self,
        tenure: &Tenure,
        tick: Tick,
        session: SessionId,
        seq: u64,
    ) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "quarantine"]);
        let mut words = grant_words(tenure.grant);
        words.push(format!("{} {seq}", session.0).into());
        words.push(tick.to_string().into());
        done(&self.decide(&QUARANTINE, keys, words).await?)
    }

    pub(super) async fn summarize(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError> {
        let stored = match self.read_outline(zone).await {
            Ok(stored) => stored,
            Err(StoreError::Lost) => return Ok(None),
            Err(error) => return Err(error),
        };
        let newest = stored.newest();
        let RedisOutline {
            outline, completeness, ..
        } = stored;
        let base = outline.base_of(outline.chain.len());
        Ok(Some(ZoneSummary {
            fence_epoch: outline.fence.0,
            journal: outline.journal,
            head: outline.chain.last().map(|head| head.position),
            base: base.map(|base| outline.chain[base].position),
            newest,
            is_incomplete: completeness == Completeness::Incomplete,
            seal: outline.seal,
        }))
    }

    /// Reads the outline of a complete data set.
    pub(super) async fn outline_for(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        let RedisOutline {
            outline, completeness, ..
        } = self.read_outline(zone).await?;
        if completeness == Completeness::Incomplete {
            return Err(StoreError::Lost);
        }
        ZoneOutline::check_reader(outline.fence, reader)?;
        Ok(outline)
    }

    pub(super) async fn parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let fields = parts.iter().map(|part| checkpoint::part_field(*part)).collect();
        let values = self.page(zone, reader, "parts", fields).await?;
        Ok(values.into_iter().map(Value::into_bytes).collect())
    }

    pub(super) async fn records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let ticks = from.0..from.0 + u64::from(ticks);
        let fields = ticks.clone().map(|tick| tick.to_string().into()).collect();
        let values = self.page(zone, reader, "journal", fields).await?;
        let entries = ticks.map(Tick).zip(values);
        Ok(entries
            .filter_map(|(tick, value)| journal::read_entry(tick, value))
            .collect())
    }

    pub(super) async fn rewind_zone(&self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "journal", "chain", "parts"]);
        let mut words = grant_words(tenure.grant);
        words.push(to.head.map_or_else(String::new, checkpoint::line_start).into());
        words.push(to.last.to_string().into());
        done(&self.checkpoint.run(&REWIND, keys, words).await?)
    }

    async fn read_outline(&self, zone: &ZoneName) -> Result<RedisOutline, StoreError> {
        let keys = self.zone_keys(zone, &["meta", "chain", "quarantine", "journal"]);
        let answer = self.checkpoint.run(&OUTLINE, keys, Vec::new()).await?;
        done(&answer)?;
        read_outline(answer).ok_or_else(|| StoreError::Corrupt("the outline of the zone cannot be read".to_owned()))
    }
}

/// Whether a data set is whole, or is written anew from memory and has no base yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completeness {
    Complete,
    Incomplete,
}

fn read_outline(answer: Vec<Value>) -> Option<RedisOutline> {
    let mut values = answer.into_iter().skip(1);
    let mut text = || values.next().and_then(Value::into_string);
    let (epoch, nonce, first, last, incomplete) = (text()?, text()?, text()?, text()?, text()?);
    let written_by = text()?;
    let chain = values.next()?.into_array();
    let chain = checkpoint::read_chain(chain.into_iter().map(Value::into_string))?;
    let pairs = values.next()?.into_array();
    let mut quarantine: Vec<(SessionId, u64)> = pairs
        .into_iter()
        .step_by(2)
        .map(|field| {
            let field = field.into_string()?;
            let (session, seq) = field.split_once(' ')?;
            Some((EntityId(session.parse().ok()?), seq.parse().ok()?))
        })
        .collect::<Option<_>>()?;
    quarantine.sort_unstable();
    let journal = first.parse().ok().map(Tick).zip(last.parse().ok().map(Tick));
    // One that makes no sense is none: the zone can be replayed all the same.
    let seal = values.next()?.into_string().and_then(|text| seal::read(&text));
    let outline = ZoneOutline {
        fence: (Epoch(epoch.parse().ok()?), Nonce(nonce.parse().ok()?)),
        seal: seal.filter(|seal| seal.ends(&chain, journal)),
        journal,
        chain,
        quarantine,
    };
    let completeness = if incomplete.is_empty() {
        Completeness::Complete
    } else {
        Completeness::Incomplete
    };
    Some(RedisOutline {
        outline,
        completeness,
        written_by: written_by.parse().ok().map(Epoch),
    })
}

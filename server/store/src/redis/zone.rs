//! A zone's fence, and what is read of a zone. Appending and checkpoints are in the modules beside.

use std::sync::LazyLock;

use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Origin, StoreError, ZoneData, ZoneSummary};
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_protocol::{EntityId, Epoch, SessionId, Tick, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

use super::script::{done, grant_words};
use super::{RedisStore, checkpoint, journal, zone_script};

static FENCE: LazyLock<Script> = zone_script!("lua/fence.lua");
static CREATE: LazyLock<Script> = zone_script!("lua/create.lua");
static QUARANTINE: LazyLock<Script> = zone_script!("lua/quarantine.lua");
static OUTLINE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/outline.lua")));

/// The outline of a zone: all but records and parts.
pub(super) struct Outline {
    pub(super) fence: (Epoch, String),
    pub(super) journal: Option<(Tick, Tick)>,
    /// The epoch that wrote the journal's last record.
    pub(super) written_by: Option<Epoch>,
    /// Whether the data set is written anew from memory and has no base yet.
    pub(super) is_incomplete: bool,
    /// Checkpoints from the previous base on.
    pub(super) chain: Vec<CheckpointHead>,
    pub(super) quarantine: Vec<(SessionId, u64)>,
}

impl Outline {
    /// Returns the end of the newest data.
    fn newest(&self) -> Option<DataStamp> {
        let record = self.written_by.zip(self.journal);
        let record = record.map(|(epoch, (_, tick))| DataStamp { epoch, tick });
        record.max(self.chain.last().map(|head| head.position.stamp()))
    }
}

impl RedisStore {
    pub(super) async fn fence_zone(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "journal", "chain", "parts", "quarantine"]);
        let answer = self.checkpoint.run(&FENCE, keys, grant_words(tenure.grant)).await?;
        done(&answer)
    }

    pub(super) async fn create_zone(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "journal", "chain", "parts", "quarantine"]);
        let mut words = grant_words(tenure.grant);
        words.push(
            match origin {
                Origin::Memory => "memory",
                Origin::Nothing => "nothing",
            }
            .into(),
        );
        done(&self.checkpoint.run(&CREATE, keys, words).await?)
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
        done(&self.checkpoint.run(&QUARANTINE, keys, words).await?)
    }

    pub(super) async fn summarize(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError> {
        let outline = match self.outline(zone).await {
            Ok(outline) => outline,
            Err(StoreError::Lost) => return Ok(None),
            Err(error) => return Err(error),
        };
        let base = outline
            .chain
            .iter()
            .rev()
            .find(|head| head.kind == CheckpointKind::Base);
        Ok(Some(ZoneSummary {
            fence_epoch: outline.fence.0,
            journal: outline.journal,
            head: outline.chain.last().map(|head| head.position),
            base: base.map(|head| head.position),
            newest: outline.newest(),
            is_incomplete: outline.is_incomplete,
        }))
    }

    /// Reads a zone in pages, each a command of its own: Redis serves others between them. What is read belongs
    /// together, since a fenced owner cannot write; that no other owner has fenced meanwhile is checked at the end.
    pub(super) async fn read_all(&self, zone: &ZoneName) -> Result<ZoneData, StoreError> {
        let outline = self.outline(zone).await?;
        if outline.is_incomplete {
            return Err(StoreError::Lost);
        }
        let chain = checkpoint::newest_chain(&outline.chain);
        let after = chain.last().map_or(Tick(0), |head| head.position.tick);
        let mut checkpoints = Vec::with_capacity(chain.len());
        for head in chain {
            checkpoints.push(checkpoint::read(self, zone, head).await?);
        }
        let records = match outline.journal {
            Some((first, last)) => journal::read(self, zone, first.max(after.next()), last).await?,
            None => Vec::new(),
        };
        if self.outline(zone).await?.fence != outline.fence {
            let why = "the zone changed hands while it was read";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        Ok(ZoneData {
            chain: checkpoints,
            records,
            quarantine: outline.quarantine,
        })
    }

    async fn outline(&self, zone: &ZoneName) -> Result<Outline, StoreError> {
        let keys = self.zone_keys(zone, &["meta", "chain", "quarantine", "journal"]);
        let answer = self.checkpoint.run(&OUTLINE, keys, Vec::new()).await?;
        done(&answer)?;
        read_outline(answer).ok_or_else(|| StoreError::Corrupt("the outline of the zone cannot be read".to_owned()))
    }
}

fn read_outline(answer: Vec<Value>) -> Option<Outline> {
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
    Some(Outline {
        fence: (Epoch(epoch.parse().ok()?), nonce),
        journal: first.parse().ok().map(Tick).zip(last.parse().ok().map(Tick)),
        written_by: written_by.parse().ok().map(Epoch),
        is_incomplete: !incomplete.is_empty(),
        chain,
        quarantine,
    })
}

//! The data set of one zone: its fence in front of journal, checkpoints, and quarantine. Every write asks the fence
//! first. Whether there is a data set at all is decided elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceMark};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Origin, PartKey, Position, Rewind, Seal, StoreError, StoredRecord,
    ZoneData, ZoneOutline, ZoneSummary,
};
use everhold_core::ownership::Grant;
use everhold_protocol::{SessionId, Tick};

use super::checkpoints::StoredCheckpoints;
use super::evidence::EvidenceSet;
use super::journal::StoredJournal;
use super::usage::ZoneUsage;

/// All that a store has of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DataSet {
    /// The highest grant that was seen.
    pub(super) fence: Grant,
    /// Whether it is made anew from memory and has no base yet.
    is_incomplete: bool,
    pub(super) journal: StoredJournal,
    pub(super) checkpoints: StoredCheckpoints,
    quarantine: BTreeMap<(SessionId, u64), Tick>,
    pub(super) evidence: EvidenceSet,
    seal: Option<Seal>,
}

impl DataSet {
    /// Makes a data set with nothing in it.
    pub(super) fn new(fence: Grant, origin: Origin) -> Self {
        Self {
            fence,
            is_incomplete: origin == Origin::Memory,
            journal: StoredJournal::default(),
            checkpoints: StoredCheckpoints::default(),
            quarantine: BTreeMap::new(),
            evidence: EvidenceSet::default(),
            seal: None,
        }
    }

    /// Raises the fence to `grant`, or refuses it.
    fn check_fence(&mut self, grant: Grant) -> Result<(), StoreError> {
        let epoch = self.fence.epoch();
        if grant == self.fence {
            return Ok(());
        }
        if grant.epoch() <= epoch {
            return Err(StoreError::Fenced { epoch });
        }
        self.fence = grant;
        Ok(())
    }

    pub(super) fn fence(&mut self, grant: Grant) -> Result<(), StoreError> {
        if self.is_incomplete {
            // A fence that is to be refused is not raised either.
            let fence = self.fence;
            let refused = self.check_fence(grant);
            self.fence = fence;
            return refused.and(Err(StoreError::Lost));
        }
        let is_repeated = grant == self.fence;
        self.check_fence(grant)?;
        if !is_repeated {
            self.evidence.drop_parts();
        }
        Ok(())
    }

    /// Fences what is there, and makes a whole data set of an incomplete one if it is to begin again.
    pub(super) fn create(&mut self, grant: Grant, origin: Origin) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        if origin == Origin::Nothing && self.is_incomplete {
            let mut evidence = std::mem::take(&mut self.evidence);
            evidence.drop_parts();
            *self = Self {
                evidence,
                ..Self::new(grant, origin)
            };
        }
        Ok(())
    }

    pub(super) fn append(&mut self, grant: Grant, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        self.check_fence(grant)?;
        if self.is_incomplete {
            return Ok(AppendAnswer::Gap { last: Tick(0) });
        }
        Ok(self.journal.append(&self.checkpoints, grant.epoch(), records))
    }

    pub(super) fn put_part(
        &mut self,
        grant: Grant,
        position: Position,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        self.checkpoints.put_part(position, index, bytes);
        Ok(())
    }

    pub(super) fn drop_parts(&mut self, grant: Grant, position: Position, parts: u32) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        self.checkpoints.drop_parts(position, parts);
        Ok(())
    }

    pub(super) fn move_head(&mut self, grant: Grant, head: CheckpointHead) -> Result<(), StoreError> {
        let fence = self.fence;
        self.check_fence(grant)?;
        let moved = self.move_checked(grant, head);
        if moved.is_err() {
            self.fence = fence;
        }
        moved
    }

    fn move_checked(&mut self, grant: Grant, head: CheckpointHead) -> Result<(), StoreError> {
        if self.checkpoints.has(head.position) {
            return Ok(());
        }
        self.checkpoints.check(head)?;
        self.journal.drop_other_history(grant.epoch(), head.position)?;
        let previous_base = self.checkpoints.push(head);
        if let Some(tick) = previous_base {
            self.journal.trim(tick);
        }
        if head.kind == CheckpointKind::Base {
            self.is_incomplete = false;
            self.quarantine.retain(|_, tick| *tick > head.position.tick);
        }
        Ok(())
    }

    pub(super) fn write_seal(&mut self, grant: Grant, seal: Seal) -> Result<(), StoreError> {
        let fence = self.fence;
        self.check_fence(grant)?;
        if !self.is_ended_by(&seal) {
            self.fence = fence;
            return Err(StoreError::ParentMoved);
        }
        self.seal = Some(seal);
        Ok(())
    }

    /// Returns the seal that counts.
    fn seal(&self) -> Option<Seal> {
        self.seal.filter(|seal| self.is_ended_by(seal))
    }

    fn is_ended_by(&self, seal: &Seal) -> bool {
        seal.ends(self.checkpoints.chain(), self.journal.ends())
    }

    pub(super) fn quarantine(
        &mut self,
        grant: Grant,
        tick: Tick,
        session: SessionId,
        seq: u64,
    ) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        self.quarantine.entry((session, seq)).or_insert(tick);
        Ok(())
    }

    pub(super) fn put_evidence(
        &mut self,
        grant: Grant,
        index: u32,
        bytes: Bytes,
    ) -> Result<EvidenceAnswer, StoreError> {
        self.check_fence(grant)?;
        Ok(self.evidence.put(grant.epoch(), index, bytes))
    }

    pub(super) fn seal_evidence(&mut self, grant: Grant, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        self.check_fence(grant)?;
        self.evidence.seal(mark)
    }

    pub(super) fn drop_evidence(&mut self, grant: Grant) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        self.evidence.drop_parts();
        Ok(())
    }

    pub(super) fn read(&self) -> Result<ZoneData, StoreError> {
        self.check_complete()?;
        let chain = self.checkpoints.newest_chain().iter();
        let after = self.checkpoints.head().unwrap_or(Position::GENESIS).tick;
        Ok(ZoneData {
            chain: chain
                .map(|head| self.checkpoints.read(*head))
                .collect::<Result<_, _>>()?,
            records: self.journal.read(after + 1..Tick::MAX),
            quarantine: self.quarantine.keys().copied().collect(),
            may_change_rules: false,
        })
    }

    pub(super) fn outline(&self, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        self.check_reader(reader)?;
        Ok(ZoneOutline {
            fence: (self.fence.epoch(), self.fence.nonce()),
            chain: self.checkpoints.chain().to_vec(),
            journal: self.journal.ends(),
            quarantine: self.quarantine.keys().copied().collect(),
            seal: self.seal(),
        })
    }

    pub(super) fn read_parts(
        &self,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.check_reader(reader)?;
        let part = |(position, index): &PartKey| self.checkpoints.part(*position, *index).cloned();
        Ok(parts.iter().map(part).collect())
    }

    pub(super) fn read_records(
        &self,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.check_reader(reader)?;
        Ok(self.journal.read(from..from + u64::from(ticks)))
    }

    pub(super) fn rewind(&mut self, grant: Grant, to: Rewind) -> Result<(), StoreError> {
        self.check_fence(grant)?;
        self.checkpoints.rewind(grant.epoch(), to.head);
        self.journal.rewind(grant.epoch(), to.last);
        Ok(())
    }

    pub(super) fn summary(&self) -> ZoneSummary {
        ZoneSummary {
            fence_epoch: self.fence.epoch(),
            journal: self.journal.ends(),
            head: self.checkpoints.head(),
            base: self.checkpoints.base(),
            newest: self.journal.newest().max(self.checkpoints.head().map(Position::stamp)),
            is_incomplete: self.is_incomplete,
            seal: self.seal(),
        }
    }

    pub(super) fn usage(&self) -> ZoneUsage {
        let mut usage = ZoneUsage {
            checkpoints: self.checkpoints.len(),
            quarantine: self.quarantine.len(),
            unsealed_parts: self.evidence.unsealed_parts_before(self.fence.epoch()),
            ..ZoneUsage::default()
        };
        for entry in self.journal.entries().values() {
            usage.records += 1;
            usage.record_bytes += entry.body.len();
        }
        for (position, _, bytes) in self.checkpoints.parts() {
            if self.checkpoints.has(position) {
                usage.checkpoint_bytes += bytes.len();
            } else {
                usage.leftover_parts += 1;
                usage.leftover_bytes += bytes.len();
            }
        }
        usage
    }

    fn check_reader(&self, reader: Option<Grant>) -> Result<(), StoreError> {
        self.check_complete()?;
        ZoneOutline::check_reader((self.fence.epoch(), self.fence.nonce()), reader)
    }

    const fn check_complete(&self) -> Result<(), StoreError> {
        if self.is_incomplete {
            return Err(StoreError::Lost);
        }
        Ok(())
    }
}

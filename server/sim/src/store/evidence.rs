//! The evidence of one zone. It has no fence.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::StoreError;
use everhold_protocol::Epoch;

/// A piece of evidence, sealed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EvidenceSet {
    parts: BTreeMap<u32, Bytes>,
    /// The epoch that wrote the last part.
    epoch: Epoch,
    sealed: Option<StoredEvidence>,
    /// The last epoch that found the zone wrong.
    counted: Epoch,
}

impl EvidenceSet {
    pub(super) fn put(&mut self, epoch: Epoch, index: u32, bytes: Bytes) -> EvidenceAnswer {
        if self.sealed.is_some() {
            return EvidenceAnswer::Counted;
        }
        if index == 0 {
            self.parts.clear();
        }
        self.parts.insert(index, bytes);
        self.epoch = epoch;
        EvidenceAnswer::Kept
    }

    pub(super) fn seal(&mut self, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        if let Some(kept) = &mut self.sealed {
            if (kept.mark.epoch, kept.mark.tick) == (mark.epoch, mark.tick) {
                return Ok(EvidenceAnswer::Kept);
            }
            if self.counted < mark.epoch {
                self.counted = mark.epoch;
                kept.later += 1;
            }
            return Ok(EvidenceAnswer::Counted);
        }
        self.parts.retain(|index, _| *index < mark.parts);
        let bytes: u64 = self.parts.values().map(|part| part.len() as u64).sum();
        if (self.parts.len() as u64, bytes) != (u64::from(mark.parts), mark.bytes) {
            return Err(StoreError::Corrupt(format!(
                "{} of {} parts, {bytes} of {} bytes of the evidence were written",
                self.parts.len(),
                mark.parts,
                mark.bytes
            )));
        }
        self.counted = mark.epoch;
        self.sealed = Some(StoredEvidence {
            mark,
            is_exported: false,
            later: 0,
        });
        Ok(EvidenceAnswer::Kept)
    }

    pub(super) fn drop_parts(&mut self) {
        if self.sealed.is_none() {
            self.parts.clear();
        }
    }

    /// Returns the number of parts of a piece that is not sealed, and was written before this epoch: its owner is gone.
    pub(super) fn unsealed_parts_before(&self, epoch: Epoch) -> usize {
        let is_left = self.sealed.is_none() && self.epoch < epoch;
        if is_left { self.parts.len() } else { 0 }
    }

    pub(super) const fn sealed(&self) -> Option<StoredEvidence> {
        self.sealed
    }

    pub(super) fn part(&self, index: u32) -> Option<Bytes> {
        self.sealed.and_then(|_| self.parts.get(&index).cloned())
    }

    /// Returns whether there is evidence of this mark.
    pub(super) fn settle(&mut self, mark: EvidenceMark, fate: EvidenceFate) -> bool {
        match (&mut self.sealed, fate) {
            (Some(kept), EvidenceFate::Exported) if kept.mark == mark => kept.is_exported = true,
            (Some(kept), EvidenceFate::Forgotten) if kept.mark == mark => *self = Self::default(),
            _ => return false,
        }
        true
    }
}

//! A forged journal: from some record on it is another history of the same epoch, whole by its hashes. Its inputs are
//! those of its owner, and it tells a digest that no replay has. Whether anything is forged is decided elsewhere.

use everhold_core::durability::Record;
use everhold_core::durability::store::{RecordHash, StoredRecord};
use everhold_core::zone::Digest;
use everhold_protocol::Tick;
use everhold_protocol::rng::SplitMix64;

use super::data_set::DataSet;

/// A forged end of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgery {
    /// The records that have another hash now, from the one that tells the wrong digest on.
    pub records: Vec<(Tick, RecordHash)>,
}

/// Returns the records of the newest epoch that no checkpoint covers, in order. None: one of them cannot be read.
fn newest(set: &DataSet) -> Option<Vec<Record>> {
    let (head, epoch) = (set.checkpoints.head(), set.journal.newest()?.epoch);
    let after = head.map_or(Tick(1), |head| head.tick.next());
    let records = set.journal.read(after..Tick::MAX).into_iter();
    let records = records.map(|stored| Record::decode(&stored).ok());
    let mut records: Vec<Record> = records.collect::<Option<_>>()?;
    records.retain(|record| record.epoch == epoch);
    Some(records)
}

/// Whether there is a record that can be forged.
pub(super) fn is_forgeable(set: &DataSet) -> bool {
    newest(set).is_some_and(|records| !records.is_empty())
}

/// Forges a record, and all after it.
pub(super) fn forge(set: &mut DataSet, rng: &mut SplitMix64) -> Option<Forgery> {
    let mut records = newest(set).filter(|records| !records.is_empty())?;
    let from = usize::try_from(rng.below(records.len() as u64)).ok()?;
    records[from].digest_before = Some(Digest(rng.draw()));
    let (mut forged, mut before) = (Vec::new(), records[from].prev_hash);
    for mut record in records.drain(from..) {
        record.prev_hash = before;
        let StoredRecord { tick, hash, body, .. } = record.encode();
        let entry = set.journal.entry_mut(tick)?;
        (entry.prev_hash, entry.hash, entry.body) = (before, hash, body);
        forged.push((tick, hash));
        before = hash;
    }
    Some(Forgery { records: forged })
}

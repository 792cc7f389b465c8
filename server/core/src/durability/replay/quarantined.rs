//! Quarantined inputs in a replay: the zone is told of each before its turn, and those that no record holds are left.

use std::collections::BTreeSet;

use everhold_protocol::SessionId;

use crate::durability::record::Record;
use crate::ingress::Input;

/// Each quarantined intent is preceded by the input that makes the zone refuse it: the session's numbers go on, the
/// harm is not done.
pub(super) fn with_quarantine(inputs: &[Input], quarantine: &BTreeSet<(SessionId, u64)>) -> Vec<Input> {
    let mut marked = Vec::with_capacity(inputs.len());
    for input in inputs {
        if let Input::Intent { session, seq, .. } = *input
            && quarantine.contains(&(session, seq))
        {
            marked.push(Input::Quarantine { session, seq });
        }
        marked.push(input.clone());
    }
    marked
}

/// The quarantined inputs that none of the records hold.
pub(super) fn beyond(records: &[Record], mut quarantine: BTreeSet<(SessionId, u64)>) -> Vec<(SessionId, u64)> {
    for input in records.iter().flat_map(|record| &record.inputs) {
        if let Input::Intent { session, seq, .. } = *input {
            quarantine.remove(&(session, seq));
        }
    }
    quarantine.into_iter().collect()
}

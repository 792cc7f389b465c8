//! The rules that a history ran under, as its data says. Whether this process has them, the replay says.

use crate::durability::record::Record;
use crate::durability::store::{StoredRecord, ZoneData};
use crate::ingress::Input;
use crate::ownership::RulesId;
use crate::zone::CaptureTitle;

/// Returns the rules that a zone ran at the end of this history, as far as its data says so.
#[must_use]
pub fn ran_under(data: &ZoneData) -> Option<RulesId> {
    let begun = |stored: &StoredRecord| begins_under(&Record::decode(stored).ok()?);
    let of_base = || {
        CaptureTitle::read(&data.chain.first()?.body)
            .ok()?
            .terms
            .map(|(_, id)| id)
    };
    data.records.iter().rev().find_map(begun).or_else(of_base)
}

/// Returns the rules of the epoch that a record begins. `None`: it begins none.
pub(super) fn begins_under(record: &Record) -> Option<RulesId> {
    record.inputs.first().and_then(rules_of)
}

pub(super) fn rules_of(input: &Input) -> Option<RulesId> {
    match input {
        Input::EpochStart { rules_id, .. } => Some(*rules_id),
        _ => None,
    }
}

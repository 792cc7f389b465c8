//! The comparison of two histories of one zone, record by record. It replays neither. A tick whose record is missing in
//! one of them is not equal and not different: it is a hole.

use std::ops::RangeInclusive;

use everhold_protocol::Tick;

use super::ZoneHistory;
use crate::durability::record::Record;
use crate::durability::store::StoredRecord;
use crate::ingress::Input;

/// The first difference of two histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryDifference {
    /// The tick.
    pub tick: Tick,
    /// The differing parts of the tick, each in words: the first history's, then the second's.
    pub what: Vec<String>,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryComparison {
    /// Ticks of which both have a record or a checkpoint.
    pub compared_ticks: u64,
    /// The first and the last tick that were compared.
    pub compared: Option<(Tick, Tick)>,
    /// The first difference.
    pub difference: Option<HistoryDifference>,
    /// The last tick that each of them knows of.
    pub ends: (Tick, Tick),
    /// The holes of each of them among the ticks that both ought to have.
    pub holes: (HistoryHoles, HistoryHoles),
}

/// The holes of a history: ticks whose records are missing between others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryHoles {
    /// Ticks that are missing.
    pub ticks: u64,
    /// The first and the last tick of the first hole.
    pub first: Option<(Tick, Tick)>,
}

impl HistoryHoles {
    /// Counts the holes of a history among these ticks.
    fn of(history: &ZoneHistory, span: RangeInclusive<Tick>) -> Self {
        let mut holes = Self::default();
        if span.is_empty() {
            return holes;
        }
        let mut awaited = *span.start();
        let behind = span.end().next();
        let records = history.records.range(span).map(|(tick, _)| *tick);
        for tick in records.chain([behind]) {
            if awaited < tick {
                holes.ticks += tick - awaited;
                holes.first.get_or_insert((awaited, tick - 1));
            }
            awaited = tick.next();
        }
        holes
    }
}

/// Returns the first and the last tick whose records a history ought to have. `None`: it has no records.
fn span(history: &ZoneHistory) -> Option<(Tick, Tick)> {
    let (first, _) = history.records.first_key_value()?;
    let (last, _) = history.records.last_key_value()?;
    // What follows the oldest checkpoint is there, or was: nothing else trims a journal.
    let oldest = history.chain.first().map(|head| head.position.tick.next());
    Some((oldest.map_or(*first, |oldest| oldest.min(*first)), *last))
}

/// Compares the ticks of a range of which both histories have a record, and the checkpoints that both have.
#[must_use]
pub fn compare(first: &ZoneHistory, second: &ZoneHistory, range: RangeInclusive<Tick>) -> HistoryComparison {
    let mut comparison = HistoryComparison {
        compared_ticks: 0,
        compared: None,
        difference: None,
        ends: (first.end(), second.end()),
        holes: Default::default(),
    };
    if range.is_empty() {
        return comparison;
    }
    let mut differences = Vec::new();
    let mut note = |tick: Tick, what: Vec<String>| {
        comparison.compared_ticks += 1;
        let (from, to) = comparison.compared.unwrap_or((tick, tick));
        comparison.compared = Some((from.min(tick), to.max(tick)));
        if !what.is_empty() {
            differences.push(HistoryDifference { tick, what });
        }
    };
    for (tick, record) in first.records.range(range.clone()) {
        if let Some(other) = second.records.get(tick) {
            let what = if record == other {
                Vec::new()
            } else {
                tell(record, other)
            };
            note(*tick, what);
        }
    }
    for (place, head) in first.chain.iter().enumerate() {
        let tick = head.position.tick;
        let other = second.chain.iter().position(|other| other.position.tick == tick);
        let Some(other) = other.filter(|_| range.contains(&tick)) else {
            continue;
        };
        let mut what = Vec::new();
        if second.chain[other].position != head.position {
            what.push("the checkpoints are of two histories".to_owned());
        } else if let (Some(ours), Some(theirs)) = (first.title(place), second.title(other))
            && ours.digest != theirs.digest
        {
            let (ours, theirs) = (ours.digest, theirs.digest);
            what.push(format!("checkpoint's digest: {ours:?} and {theirs:?}"));
        }
        note(tick, what);
    }
    if let (Some(ours), Some(theirs)) = (span(first), span(second)) {
        let from = ours.0.max(theirs.0).max(*range.start());
        let to = ours.1.min(theirs.1).min(*range.end());
        let holes = |history| HistoryHoles::of(history, from..=to);
        comparison.holes = (holes(first), holes(second));
    }
    comparison.difference = differences.into_iter().min_by_key(|difference| difference.tick);
    comparison
}

/// Says in what two records differ.
fn tell(first: &StoredRecord, second: &StoredRecord) -> Vec<String> {
    let mut what = Vec::new();
    if first.prev_hash != second.prev_hash {
        what.push("they follow different records: the histories differ before this tick".to_owned());
    }
    let (ours, theirs) = match (Record::decode(first), Record::decode(second)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => {
            let sides = [("first", ours.err()), ("second", theirs.err())];
            let unread = sides.into_iter().filter_map(|(side, error)| Some((side, error?)));
            what.extend(unread.map(|(side, error)| format!("the record of the {side} history: {error}")));
            return what;
        }
    };
    if ours.epoch != theirs.epoch {
        what.push(format!("epoch: {} and {}", ours.epoch, theirs.epoch));
    }
    if ours.digest_before != theirs.digest_before {
        let (ours, theirs) = (ours.digest_before, theirs.digest_before);
        what.push(format!("digest of the tick before: {ours:?} and {theirs:?}"));
    }
    let len = ours.inputs.len().max(theirs.inputs.len());
    let at = (0..len).find(|at| ours.inputs.get(*at) != theirs.inputs.get(*at));
    if let Some(at) = at {
        let input = |inputs: &[Input]| inputs.get(at).map_or_else(|| "none".to_owned(), name);
        let (ours, theirs) = (input(&ours.inputs), input(&theirs.inputs));
        what.push(format!("input {}: {ours} and {theirs}", at + 1));
    }
    if what.is_empty() {
        what.push("the stored hash or bytes, and nothing that they say".to_owned());
    }
    what
}

/// Names an input, without tickets and secrets.
fn name(input: &Input) -> String {
    match input {
        Input::Join(join) => format!("Join {{ account: {} }}", join.account.0),
        Input::Resume(resume) => format!("Resume {{ session: {} }}", resume.session.0),
        Input::EpochStart { epoch, nonce, .. } => format!("EpochStart {{ epoch: {epoch}, nonce: {nonce} }}"),
        other => format!("{other:?}"),
    }
}

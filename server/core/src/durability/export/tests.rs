//! Exports, told by what the store answers. The store is a table, and the file is read back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everhold_protocol::Epoch;

use super::*;
use crate::durability::history::{HistoryFrame, HistoryReader};
use crate::durability::store::{CheckpointHead, CheckpointKind, Position, RecordHash};
use crate::ownership::Nonce;

/// A store with a base every ten ticks, of two parts each, and records up to its end.
struct Stored {
    epoch: u32,
    bases: Vec<u64>,
    parts: BTreeMap<PartKeyText, Bytes>,
    records: BTreeMap<u64, StoredRecord>,
}

type PartKeyText = (u64, u32);

fn position(tick: u64) -> Position {
    Position {
        epoch: Epoch(1),
        tick: Tick(tick),
        hash: RecordHash([tick as u8; 32]),
    }
}

impl Stored {
    fn empty() -> Self {
        Self {
            epoch: 1,
            bases: Vec::new(),
            parts: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    fn new(bases: &[u64], journal: std::ops::RangeInclusive<u64>) -> Self {
        let mut stored = Self::empty();
        bases.iter().for_each(|tick| stored.base(*tick));
        stored.grow(journal);
        stored
    }

    fn base(&mut self, tick: u64) {
        self.bases.push(tick);
        self.parts.insert((tick, 0), Bytes::from_static(b"first"));
        self.parts.insert((tick, 1), Bytes::from_static(b"second"));
    }

    fn grow(&mut self, ticks: std::ops::RangeInclusive<u64>) {
        self.records.extend(ticks.map(|tick| {
            let record = StoredRecord {
                tick: Tick(tick),
                prev_hash: position(tick - 1).hash,
                hash: position(tick).hash,
                body: Bytes::from_static(b"inputs"),
            };
            (tick, record)
        }));
    }

    /// A new owner ends the history before a tick, and writes another one from there on, of so many ticks.
    fn rewrite(&mut self, from: u64, ticks: u64) {
        let other = |tick: u64| RecordHash([tick as u8 ^ 0xff; 32]);
        self.bases.retain(|base| *base < from);
        self.parts.retain(|(base, _), _| *base < from);
        self.records.retain(|tick, _| *tick < from);
        self.records.extend((from..from + ticks).map(|tick| {
            let before = if tick == from {
                position(tick - 1).hash
            } else {
                other(tick - 1)
            };
            let record = StoredRecord {
                tick: Tick(tick),
                prev_hash: before,
                hash: other(tick),
                body: Bytes::from_static(b"others"),
            };
            (tick, record)
        }));
    }

    /// A base that trims what is older than the one before it.
    fn trim(&mut self, tick: u64) {
        let previous = *self.bases.last().unwrap();
        self.bases.retain(|base| *base >= previous);
        self.parts.retain(|(base, _), _| *base >= previous);
        self.records.retain(|record, _| *record > previous);
        self.base(tick);
    }

    fn outline(&self) -> ZoneOutline {
        let head = |tick: &u64| CheckpointHead {
            position: position(*tick),
            kind: CheckpointKind::Base,
            parts: 2,
            bytes: 11,
        };
        let ends = self.records.first_key_value().zip(self.records.last_key_value());
        ZoneOutline {
            fence: (Epoch(self.epoch), Nonce(1)),
            chain: self.bases.iter().map(head).collect(),
            journal: ends.map(|((first, _), (last, _))| (Tick(*first), Tick(*last))),
            quarantine: vec![(everhold_protocol::EntityId(5), 6)],
            seal: None,
        }
    }
}

/// The outcome of an export: its summary and file, or why there is none.
type Exported = (Result<ExportSummary, ExportError>, Vec<HistoryFrame>);

/// Exports; `meddle` changes the store before each of its answers, which it counts.
fn export(stored: &mut Stored, meddle: impl FnMut(&mut Stored, usize) -> Option<StoreError>) -> Exported {
    export_with(HistoryWorld::default(), stored, meddle)
}

/// The same, with these rules at hand.
fn export_with(
    world: HistoryWorld,
    stored: &mut Stored,
    mut meddle: impl FnMut(&mut Stored, usize) -> Option<StoreError>,
) -> Exported {
    let zone = "meadow".parse().unwrap();
    let (mut export, mut now) = (Export::new(zone, world), Instant::now());
    let (mut file, mut answers) = (Vec::new(), 0);
    loop {
        let Some(command) = export.poll(now) else {
            now = export.poll_timeout().expect("it waits for time");
            continue;
        };
        let error = match &command {
            ExportCommand::Write(_) | ExportCommand::Restart => None,
            _ => meddle(stored, answers),
        };
        answers += 1;
        match command {
            ExportCommand::Outline => export.handle_outline(now, error.map_or_else(|| Ok(stored.outline()), Err)),
            ExportCommand::Parts(keys) => {
                let part = |(position, index): &PartKey| stored.parts.get(&(position.tick.0, *index)).cloned();
                let parts = keys.iter().map(part).collect();
                export.handle_parts(now, error.map_or(Ok(parts), Err));
            }
            ExportCommand::Records(from, ticks) => {
                let range = stored.records.range(from.0..from.0 + u64::from(ticks));
                let records = range.map(|(_, record)| record.clone()).collect();
                export.handle_records(now, error.map_or(Ok(records), Err));
            }
            ExportCommand::Write(bytes) => file.extend(bytes),
            ExportCommand::Restart => file.clear(),
            ExportCommand::Fail(error) => return (Err(error), Vec::new()),
            ExportCommand::Finish(summary) => {
                assert_eq!(summary.bytes, file.len() as u64);
                let (mut reader, mut frames) = (HistoryReader::default(), Vec::new());
                reader.push(&file);
                while let Some(frame) = reader.poll().unwrap() {
                    frames.push(frame);
                }
                reader.finish().unwrap();
                return (Ok(summary), frames);
            }
        }
    }
}

fn counts(frames: &[HistoryFrame]) -> (usize, usize, Vec<u64>) {
    let count = |is: fn(&HistoryFrame) -> bool| frames.iter().filter(|frame| is(frame)).count();
    let records = frames.iter().filter_map(|frame| match frame {
        HistoryFrame::Record(record) => Some(record.tick.0),
        _ => None,
    });
    (
        count(|frame| matches!(frame, HistoryFrame::Checkpoint(_))),
        count(|frame| matches!(frame, HistoryFrame::Part { .. })),
        records.collect(),
    )
}

#[test]
fn zone_at_rest_is_exported_whole() {
    let mut stored = Stored::new(&[10, 20], 11..=150);
    let (summary, frames) = export(&mut stored, |_, _| None);
    let summary = summary.unwrap();
    assert_eq!(counts(&frames), (2, 4, (11..=150).collect()));
    assert!(frames.contains(&HistoryFrame::Quarantined(everhold_protocol::EntityId(5), 6)));
    assert_eq!(
        (summary.missing_parts, summary.missing_records, summary.restarts),
        (0, 0, 0)
    );
    let (empty, frames) = export(&mut Stored::empty(), |_, _| None);
    assert_eq!((empty.unwrap().records, counts(&frames)), (0, (0, 0, Vec::new())));
}

#[test]
fn zone_that_goes_on_is_exported_as_it_was_at_the_beginning() {
    let mut stored = Stored::new(&[10, 20], 11..=25);
    let mut last = 25;
    let (summary, frames) = export(&mut stored, |stored, _| {
        last += 1;
        stored.grow(last..=last);
        None
    });
    assert_eq!(summary.unwrap().restarts, 0);
    assert_eq!(counts(&frames).2, (11..=26).collect::<Vec<_>>());
}

#[test]
fn zone_that_is_trimmed_meanwhile_is_read_again_from_its_newest_base() {
    let mut stored = Stored::new(&[10, 20], 11..=25);
    let (summary, frames) = export(&mut stored, |stored, answer| {
        if answer == 3 {
            stored.trim(25);
        }
        None
    });
    assert_eq!(summary.unwrap().restarts, 1);
    assert_eq!(counts(&frames), (1, 2, Vec::new()));
}

#[test]
fn zone_of_a_new_owner_is_read_again() {
    let mut stored = Stored::new(&[10], 11..=25);
    let (summary, frames) = export(&mut stored, |stored, answer| {
        stored.epoch = if answer < 3 { 1 } else { 2 };
        None
    });
    assert_eq!(summary.unwrap().restarts, 1);
    let HistoryFrame::Header(header) = &frames[0] else {
        panic!("it begins with the header")
    };
    assert_eq!(header.fence, (Epoch(2), Nonce(1)));
    let (moving, _) = export(&mut stored, |stored, answer| {
        stored.epoch = answer as u32;
        None
    });
    assert!(matches!(moving, Err(ExportError::Moving)), "{moving:?}");
}

#[test]
fn damaged_data_is_left_out_and_counted() {
    let mut stored = Stored::new(&[10, 20], 11..=25);
    stored.parts.remove(&(10, 1));
    stored.records.remove(&17);
    let (summary, frames) = export(&mut stored, |_, _| None);
    let summary = summary.unwrap();
    assert_eq!(
        (summary.missing_parts, summary.missing_records, summary.broken_records),
        (1, 1, 0)
    );
    assert_eq!(summary.restarts, 1, "it is looked at twice");
    let (checkpoints, parts, records) = counts(&frames);
    assert_eq!((checkpoints, parts, records.len()), (2, 3, 14));
    let place = |frame: &HistoryFrame| match frame {
        HistoryFrame::Part { place, index, .. } => Some((*place, *index)),
        _ => None,
    };
    let places: Vec<_> = frames.iter().filter_map(place).collect();
    assert_eq!(places, [(0, 0), (1, 0), (1, 1)]);
}

/// The records of a file, which must be one history, and belong to its checkpoints.
fn assert_one_history(frames: &[HistoryFrame]) {
    let mut last: Option<&StoredRecord> = None;
    for frame in frames {
        let HistoryFrame::Record(record) = frame else { continue };
        if let Some(last) = last {
            assert_eq!((record.tick, record.prev_hash), (last.tick.next(), last.hash));
        }
        for frame in frames {
            if let HistoryFrame::Checkpoint(head) = frame
                && head.position.tick == record.tick
            {
                assert_eq!(head.position.hash, record.hash, "checkpoint of tick {}", record.tick);
            }
        }
        last = Some(record);
    }
}

/// The new owner holds the fence already when the export begins: the fence tells nothing. After every answer in turn.
#[test]
fn history_that_is_rewritten_between_two_pages_is_read_again() {
    let mut seen = Vec::new();
    for at in 1..20 {
        for (from, ticks) in [(40, 0), (40, 5), (40, 200), (16, 200), (90, 61)] {
            let mut stored = Stored::new(&[10, 20], 11..=150);
            let (summary, frames) = export(&mut stored, |stored, answer| {
                if answer == at {
                    stored.rewrite(from, ticks);
                }
                None
            });
            let summary = summary.unwrap();
            assert_one_history(&frames);
            assert_eq!(
                (summary.missing_parts, summary.missing_records, summary.broken_records),
                (0, 0, 0),
                "rewritten from {from} at answer {at}"
            );
            seen.push(summary.restarts);
        }
    }
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
}

#[test]
fn history_that_is_rewritten_all_the_time_is_given_up_with_a_code_of_its_own() {
    let (mut stored, mut from) = (Stored::new(&[10], 11..=150), 140);
    let (moving, _) = export(&mut stored, |stored, _| {
        from -= 1;
        stored.rewrite(from, 200);
        None
    });
    assert!(matches!(moving, Err(ExportError::Moving)), "{moving:?}");
}

#[test]
fn record_that_the_store_itself_has_out_of_its_chain_is_in_the_file_and_counted() {
    let mut stored = Stored::new(&[10, 20], 11..=150);
    stored.records.get_mut(&100).unwrap().hash = RecordHash([7; 32]);
    stored.records.remove(&120);
    let (summary, frames) = export(&mut stored, |_, _| None);
    let summary = summary.unwrap();
    assert_eq!(
        (summary.broken_records, summary.missing_records, summary.restarts),
        (1, 1, 1)
    );
    let ticks = (11..=150).filter(|tick| *tick != 120).collect::<Vec<_>>();
    assert_eq!(counts(&frames), (2, 4, ticks), "and the older base as well");
}

/// A store with a first record that tells the rules.
fn telling_its_rules() -> (Stored, HistoryWorld) {
    let rules_id = [4; 32];
    let first = Record {
        epoch: Epoch(1),
        tick: Tick(1),
        prev_hash: RecordHash::GENESIS,
        digest_before: None,
        inputs: vec![Input::EpochStart {
            epoch: Epoch(1),
            nonce: 1,
            rules_id,
        }],
    };
    let mut stored = Stored::empty();
    stored.records.insert(1, first.encode());
    let world = HistoryWorld {
        rules_id: Some(rules_id),
        tick_hz: Some(20),
        ..HistoryWorld::default()
    };
    (stored, world)
}

#[test]
fn rules_are_asked_for_until_the_store_answers() {
    for silent in [0, 1, 20] {
        let (mut stored, world) = telling_its_rules();
        let mut asked = 0;
        let (summary, frames) = export_with(world.clone(), &mut stored, |_, _| {
            asked += 1;
            // The outline first.
            (asked > 1 && asked <= 1 + silent).then(|| StoreError::Unavailable("a time-out".to_owned()))
        });
        assert!(summary.unwrap().has_rules, "after {silent} times of silence");
        let HistoryFrame::Header(header) = &frames[0] else {
            panic!("it begins with the header")
        };
        assert_eq!(header.world, world);
    }
}

#[test]
fn rules_that_cannot_be_read_are_left_out_at_once() {
    let (mut stored, world) = telling_its_rules();
    let mut asked = 0;
    let (summary, frames) = export_with(world, &mut stored, |_, _| {
        asked += 1;
        (asked == 2).then(|| StoreError::Corrupt("a page".to_owned()))
    });
    assert!(!summary.unwrap().has_rules);
    assert_eq!(counts(&frames).2, [1]);
}

#[test]
fn silent_store_is_asked_again_in_halves_and_for_a_while() {
    let mut stored = Stored::new(&[10, 20], 11..=25);
    let away = || Some(StoreError::Unavailable("a time-out".to_owned()));
    let (summary, frames) = export(&mut stored, |_, answer| away().filter(|_| answer % 2 == 0));
    assert_eq!(summary.unwrap().restarts, 0);
    assert_eq!(counts(&frames), (2, 4, (11..=25).collect()));
    let mut asked = 0;
    let (given_up, _) = export(&mut stored, |_, _| {
        asked += 1;
        away()
    });
    assert!(matches!(given_up, Err(ExportError::Store(_))), "{given_up:?}");
    assert!(
        Duration::from_millis(100) * asked >= Duration::from_secs(3),
        "asked {asked} times"
    );
}

#[test]
fn unknown_zone_is_said_to_be() {
    let mut stored = Stored::empty();
    let (unknown, _) = export(&mut stored, |_, _| Some(StoreError::Lost));
    assert!(matches!(unknown, Err(ExportError::ZoneUnknown)));
}

//! Salvages, told by what the store answers. The file is read back.

use everhold_protocol::{Epoch, Tick};

use super::*;
use crate::durability::evidence::EvidenceWhy;
use crate::durability::history::{HistoryHeader, HistoryWorld};
use crate::durability::store::{RecordHash, StoredRecord};
use crate::ownership::Nonce;

/// Bytes of a part here, far fewer than of a real one.
const PART: usize = 500;

fn record(tick: u64) -> HistoryFrame {
    HistoryFrame::Record(StoredRecord {
        tick: Tick(tick),
        prev_hash: RecordHash([1; 32]),
        hash: RecordHash([2; 32]),
        body: Bytes::from(vec![3; 200]),
    })
}

/// Evidence of twenty records, in parts.
fn evidence() -> Vec<Bytes> {
    let header = HistoryHeader {
        zone: "meadow".parse().unwrap(),
        fence: (Epoch(3), Nonce(9)),
        world: HistoryWorld::default(),
        evidence: None,
    };
    let (mut writer, mut bytes) = HistoryWriter::begin(&header);
    (1..=20).for_each(|tick| writer.frame(&record(tick), &mut bytes));
    let _length = writer.finish(&mut bytes);
    bytes.chunks(PART).map(Bytes::copy_from_slice).collect()
}

fn mark(parts: &[Bytes]) -> EvidenceMark {
    EvidenceMark {
        epoch: Epoch(3),
        tick: Tick(20),
        why: EvidenceWhy::Divergent,
        parts: parts.len() as u32,
        bytes: parts.iter().map(|part| part.len() as u64).sum(),
    }
}

/// Salvages what `answer` gives for each part. Returns the file, too.
fn salvage(
    parts: u32,
    mut answer: impl FnMut(u32) -> Result<Option<Bytes>, StoreError>,
) -> (Result<SalvageSummary, StoreError>, Vec<u8>) {
    let mark = EvidenceMark {
        parts,
        ..mark(&evidence())
    };
    let (mut salvage, mut now, mut file) = (Salvage::new(mark), Instant::now(), Vec::new());
    loop {
        match salvage.poll(now) {
            None => now = salvage.poll_timeout().expect("it waits for time"),
            Some(SalvageCommand::Part(index)) => {
                assert!(salvage.poll(now).is_none(), "one operation at a time");
                salvage.handle_part(now, answer(index));
            }
            Some(SalvageCommand::Write(bytes)) => file.extend(bytes),
            Some(SalvageCommand::Finish(summary)) => {
                assert_eq!(summary.bytes, file.len() as u64);
                return (Ok(summary), file);
            }
            Some(SalvageCommand::Fail(error)) => return (Err(error), file),
        }
    }
}

/// The frames of a file that must be whole.
fn frames(file: &[u8]) -> Vec<HistoryFrame> {
    let (mut reader, mut frames) = (HistoryReader::default(), Vec::new());
    reader.push(file);
    while let Some(frame) = reader.poll().unwrap() {
        frames.push(frame);
    }
    reader.finish().unwrap();
    frames
}

#[test]
fn whole_evidence_is_written_as_it_is() {
    let evidence = evidence();
    let parts = evidence.len() as u32;
    let (summary, file) = salvage(parts, |index| Ok(Some(evidence[index as usize].clone())));
    assert_eq!(file, evidence.concat());
    let whole = SalvageSummary {
        frames: 21,
        bytes: mark(&evidence).bytes,
        damage: None,
    };
    assert_eq!(summary, Ok(whole));
}

#[test]
fn evidence_is_written_up_to_its_damage() {
    let whole = evidence();
    let parts = whole.len() as u32;
    let flipped = |part: &Bytes, at: usize| {
        let mut part = part.to_vec();
        part[at] ^= 0x55;
        Ok(Some(Bytes::from(part)))
    };
    // The part that is damaged, what is answered for it, what is said of it, and the frames before it.
    type Answer = Result<Option<Bytes>, StoreError>;
    let cases: [(u32, Answer, &str, std::ops::Range<u64>); 5] = [
        (4, Ok(None), "part 4 of the evidence is missing", 6..10),
        (0, Ok(None), "part 0 of the evidence is missing", 0..1),
        (
            4,
            Err(StoreError::Corrupt("a page".to_owned())),
            "part 4 of the evidence: a page",
            6..10,
        ),
        (0, flipped(&whole[0], 3), "no history file", 0..1),
        // In the body of a record: each frame can be read, and they are not those that were written.
        (3, flipped(&whole[3], PART / 2), "checksum", 21..22),
    ];
    for (damaged, answer, said, kept) in cases {
        let (summary, file) = salvage(parts, |index| match index == damaged {
            true => answer.clone(),
            false => Ok(Some(whole[index as usize].clone())),
        });
        let summary = summary.unwrap();
        let damage = summary.damage.unwrap();
        assert!(damage.contains(said), "{damage}");
        assert!(kept.contains(&summary.frames), "{said}: {} frames", summary.frames);
        if summary.frames == 0 {
            assert!(file.is_empty());
        } else {
            assert_eq!(frames(&file).len() as u64, summary.frames, "a history file of them");
        }
    }
}

#[test]
fn evidence_of_too_few_parts_is_cut_short() {
    let whole = evidence();
    let (summary, _) = salvage(3, |index| Ok(Some(whole[index as usize].clone())));
    let damage = summary.unwrap().damage.unwrap();
    assert!(damage.contains("cut short"), "{damage}");
}

#[test]
fn silent_store_is_asked_again_and_is_no_damage() {
    let whole = evidence();
    let away = || StoreError::Unavailable("a time-out".to_owned());
    let mut asked = 0;
    let (summary, file) = salvage(whole.len() as u32, |index| {
        asked += 1;
        if asked % 3 == 0 {
            Ok(Some(whole[index as usize].clone()))
        } else {
            Err(away())
        }
    });
    assert_eq!((summary.unwrap().damage, file), (None, whole.concat()));
    let (given_up, _) = salvage(whole.len() as u32, |_| Err(away()));
    assert_eq!(given_up, Err(away()));
}

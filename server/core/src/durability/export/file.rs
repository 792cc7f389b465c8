//! The file of an export while it is written: what of the zone is read next, and what is wrong with what was read.
//! Whether the file is begun again is not decided here.

use bytes::Bytes;
use everhold_protocol::Tick;

use super::ExportSummary;
use crate::durability::history::{HistoryFrame, HistoryHeader, HistoryWriter};
use crate::durability::store::{PartKey, Position, RecordHash, StoredRecord, ZoneOutline};

/// A file that is being written.
pub(super) struct ExportFile {
    pub(super) outline: ZoneOutline,
    pub(super) summary: ExportSummary,
    writer: HistoryWriter,
    /// The place in the outline of the first checkpoint that is in the file.
    start: usize,
    /// The checkpoint and the part that are read next, by the checkpoint's place in the outline.
    next_part: (usize, u32),
    next_tick: Tick,
    /// The last record that is in the file.
    last: Option<(Tick, RecordHash)>,
    /// All that is missing or broken, in the order in which it was found.
    defects: blake3::Hasher,
}

impl ExportFile {
    /// Begins with the header and all that the outline says. Returns the file's first bytes, too.
    pub(super) fn begin(header: &HistoryHeader, outline: ZoneOutline, is_newest_only: bool) -> (Self, Vec<u8>) {
        let newest = outline.base_of(outline.chain.len());
        let start = if is_newest_only { newest.unwrap_or(0) } else { 0 };
        let (mut writer, mut out) = HistoryWriter::begin(header);
        for head in &outline.chain[start..] {
            writer.frame(&HistoryFrame::Checkpoint(*head), &mut out);
        }
        for (session, seq) in &outline.quarantine {
            writer.frame(&HistoryFrame::Quarantined(*session, *seq), &mut out);
        }
        let first = outline.journal.map_or(Tick(1), |(first, _)| first);
        let after_base = outline.chain.get(start).map(|base| base.position.tick.next());
        let next_tick = match after_base {
            Some(after) if is_newest_only => first.max(after),
            _ => first,
        };
        let file = Self {
            summary: ExportSummary {
                checkpoints: outline.chain.len() - start,
                ..ExportSummary::default()
            },
            outline,
            writer,
            start,
            next_part: (start, 0),
            next_tick,
            last: None,
            defects: blake3::Hasher::new(),
        };
        (file, out)
    }

    /// Returns what all its defects are told apart by from other ones. `None`: there are none.
    pub(super) fn defects(&self) -> Option<[u8; 32]> {
        let ExportSummary {
            missing_parts,
            missing_records,
            broken_records,
            ..
        } = self.summary;
        let count = missing_parts + missing_records + broken_records;
        (count > 0).then(|| *self.defects.finalize().as_bytes())
    }

    /// Returns its last bytes, and what is in it.
    pub(super) fn finish(self) -> (ExportSummary, Vec<u8>) {
        let mut out = Vec::new();
        let bytes = self.writer.finish(&mut out);
        let summary = ExportSummary { bytes, ..self.summary };
        (summary, out)
    }

    /// Returns the next parts, by position. `None`: all were read.
    pub(super) fn parts_page(&self, len: usize) -> Option<Vec<PartKey>> {
        let (place, index) = self.next_part;
        let heads = self.outline.chain.iter().enumerate().skip(place);
        let keys = heads.flat_map(|(at, head)| {
            let from = if at == place { index } else { 0 };
            (from..head.parts).map(move |index| (head.position, index))
        });
        let page: Vec<PartKey> = keys.take(len).collect();
        (!page.is_empty()).then_some(page)
    }

    /// Takes the next parts, and returns their bytes of the file.
    pub(super) fn take_parts(&mut self, parts: Vec<Option<Bytes>>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in parts {
            while self
                .outline
                .chain
                .get(self.next_part.0)
                .is_some_and(|head| head.parts <= self.next_part.1)
            {
                self.next_part = (self.next_part.0 + 1, 0);
            }
            let (at, index) = self.next_part;
            match part {
                Some(bytes) => {
                    let place = u32::try_from(at - self.start).expect("a chain is short");
                    self.writer.frame(&HistoryFrame::Part { place, index, bytes }, &mut out);
                }
                None => {
                    self.summary.missing_parts += 1;
                    let whose = self.outline.chain.get(at).map(|head| head.position.hash);
                    self.note_defect(u64::from(index), whose);
                }
            }
            self.next_part.1 += 1;
        }
        out
    }

    /// Returns the next ticks. `None`: the journal's last was read.
    pub(super) fn records_page(&self, len: u32) -> Option<(Tick, u32)> {
        let (_, last) = self.outline.journal?;
        let left = (last.0 + 1).checked_sub(self.next_tick.0).filter(|left| *left > 0)?;
        Some((self.next_tick, u32::try_from(left).unwrap_or(u32::MAX).min(len)))
    }

    /// Takes the records of the ticks that were asked for, as far as they are there, and returns their bytes of the
    /// file.
    pub(super) fn take_records(&mut self, asked: Option<(Tick, u32)>, records: Vec<StoredRecord>) -> Vec<u8> {
        let (from, ticks) = asked.unwrap_or((self.next_tick, 0));
        self.next_tick = from + u64::from(ticks);
        let mut out = Vec::new();
        let mut awaited = from;
        for record in records {
            self.note_missing(awaited, record.tick);
            awaited = record.tick.next();
            self.note_broken(&record);
            self.last = Some((record.tick, record.hash));
            let (first, _) = self.summary.journal.unwrap_or((record.tick, record.tick));
            self.summary.journal = Some((first, record.tick));
            self.summary.records += 1;
            self.writer.frame(&HistoryFrame::Record(record), &mut out);
        }
        self.note_missing(awaited, self.next_tick);
        out
    }

    /// Counts the ticks from `first` up to `end` as missing; `end` is not.
    fn note_missing(&mut self, first: Tick, end: Tick) {
        for tick in first.0..end.0 {
            self.summary.missing_records += 1;
            self.note_defect(tick, None);
        }
    }

    /// Counts a record that does not follow the one before it, or is not that of its checkpoint.
    fn note_broken(&mut self, record: &StoredRecord) {
        let is_other_tail = self
            .last
            .is_some_and(|(tick, hash)| tick.next() == record.tick && hash != record.prev_hash);
        let is_other_checkpoint = self.outline.chain[self.start..].iter().any(|head| {
            let Position { tick, hash, .. } = head.position;
            (tick == record.tick && hash != record.hash) || (tick.next() == record.tick && hash != record.prev_hash)
        });
        if is_other_tail || is_other_checkpoint {
            self.summary.broken_records += 1;
            self.note_defect(record.tick.0, Some(record.prev_hash));
            self.note_defect(record.tick.0, Some(record.hash));
        }
    }

    fn note_defect(&mut self, number: u64, whose: Option<RecordHash>) {
        self.defects.update(&number.to_le_bytes());
        self.defects.update(&[u8::from(whose.is_some())]);
        self.defects.update(&whose.map_or([0; 32], |hash| hash.0));
    }
}

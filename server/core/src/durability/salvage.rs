//! Salvage: reads a sealed piece of evidence from its store, part by part, and says what of it to write into a history
//! file: all of it, or, if it is damaged, what stands before the damage. It asks no store and opens no file, and reads
//! no clock.
//!
//! The file is written anew, frame by frame. One that is whole has the very bytes of the evidence; one that is cut at a
//! damage is a history file, too, and what it has can be replayed.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::asking::Asking;
use super::evidence::EvidenceMark;
use super::history::{HistoryError, HistoryFrame, HistoryReader, HistoryWriter};
use super::store::StoreError;

/// A command to the driver of a salvage, to be carried out before the next is asked for.
#[derive(Debug)]
pub enum SalvageCommand {
    /// Read this part of the evidence; answer with [`Salvage::handle_part`].
    Part(u32),
    /// Append this to the file.
    Write(Vec<u8>),
    /// All that can be read is in the file. It is the last command.
    Finish(SalvageSummary),
    /// Give the file up: the store does not answer. It is the last command.
    Fail(StoreError),
}

/// The content of a file that was salvaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvageSummary {
    /// Frames in the file, its end not among them. None: nothing can be read, and there is no file.
    pub frames: u64,
    /// The file's length, bytes.
    pub bytes: u64,
    /// The damage behind the last frame, in words. `None`: it is whole.
    pub damage: Option<String>,
}

/// The salvage of one piece of evidence.
pub struct Salvage {
    mark: EvidenceMark,
    asking: Asking,
    next_part: u32,
    reader: HistoryReader,
    /// `None`: no header was read.
    writer: Option<HistoryWriter>,
    frames: u64,
    is_over: bool,
    queue: VecDeque<SalvageCommand>,
}

impl Salvage {
    /// Begins with the mark of the evidence.
    #[must_use]
    pub fn new(mark: EvidenceMark) -> Self {
        Self {
            mark,
            asking: Asking::NEW,
            next_part: 0,
            reader: HistoryReader::default(),
            writer: None,
            frames: 0,
            is_over: false,
            queue: VecDeque::new(),
        }
    }

    /// Returns what is to be done at `now`. `None`: an answer is awaited, or the moment of [`Salvage::poll_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<SalvageCommand> {
        if let Some(command) = self.queue.pop_front() {
            return Some(command);
        }
        if self.is_over || !self.asking.is_due(now) {
            return None;
        }
        if self.next_part < self.mark.parts {
            self.asking.handle_asked();
            return Some(SalvageCommand::Part(self.next_part));
        }
        let damage = self.reader.finish().err();
        self.end(damage.as_ref().map(told));
        self.queue.pop_front()
    }

    /// Returns when the next command is due that waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asking.poll_timeout()
    }

    /// Takes the part that was asked for, at `now`; `None` if it is not there.
    pub fn handle_part(&mut self, now: Instant, answer: Result<Option<Bytes>, StoreError>) {
        match answer {
            Ok(Some(part)) => {
                (self.asking, self.next_part) = (Asking::NEW, self.next_part + 1);
                self.reader.push(&part);
                let (out, damage) = self.read();
                self.queue.push_back(SalvageCommand::Write(out));
                if let Some(damage) = damage {
                    self.end(Some(told(&damage)));
                }
            }
            Ok(None) => self.end(Some(format!("part {} of the evidence is missing", self.next_part))),
            Err(StoreError::Corrupt(why)) => {
                self.end(Some(format!("part {} of the evidence: {why}", self.next_part)));
            }
            Err(error) => {
                if let Err(error) = self.asking.handle_error(now, error) {
                    self.is_over = true;
                    self.queue.push_back(SalvageCommand::Fail(error));
                }
            }
        }
    }

    /// Reads the frames that are there, and returns their bytes of the file, with the damage behind them, if there is
    /// any.
    fn read(&mut self) -> (Vec<u8>, Option<HistoryError>) {
        let mut out = Vec::new();
        loop {
            let frame = match self.reader.poll() {
                Ok(Some(frame)) => frame,
                Ok(None) => return (out, None),
                Err(damage) => return (out, Some(damage)),
            };
            self.frames += 1;
            match (&mut self.writer, frame) {
                (None, HistoryFrame::Header(header)) => {
                    let (writer, beginning) = HistoryWriter::begin(&header);
                    (self.writer, out) = (Some(writer), beginning);
                }
                (Some(writer), frame) => writer.frame(&frame, &mut out),
                (None, _) => unreachable!("the reader has the header first"),
            }
        }
    }

    /// Ends the file behind the frames that were read.
    fn end(&mut self, damage: Option<String>) {
        self.is_over = true;
        let mut out = Vec::new();
        let bytes = self.writer.take().map_or(0, |writer| writer.finish(&mut out));
        self.queue.push_back(SalvageCommand::Write(out));
        self.queue.push_back(SalvageCommand::Finish(SalvageSummary {
            frames: self.frames,
            bytes,
            damage,
        }));
    }
}

/// Tells a damage with its source.
fn told(damage: &HistoryError) -> String {
    match std::error::Error::source(damage) {
        Some(source) => format!("{damage}: {source}"),
        None => damage.to_string(),
    }
}

#[cfg(test)]
mod tests;

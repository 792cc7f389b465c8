//! A history file: everything that a store has of a zone, as bytes that can be kept, sent, and replayed elsewhere. It
//! opens no file and asks no store, and holds no more of one than a frame.
//!
//! ```text
//! file  = magic 8 bytes · version u16 · frame …
//! frame = length u32, of what follows · tag u8 · body
//! ```
//!
//! The first frame is the header, the last one the end: the number of frames before it, and the BLAKE3 of all bytes
//! before it. Integers are little-endian or varints. The checkpoints come before their parts, and a part names its
//! checkpoint by its place among them.

mod frame;

use everhold_protocol::codec::{DecodeError, Reader, Writer};
use everhold_protocol::{Epoch, Tick, ZoneName};

pub use frame::HistoryFrame;

use super::evidence::EvidenceWhy;
use crate::limits::HISTORY_FRAME_BYTES_MAX;
use crate::ownership::Nonce;

/// The first bytes of every history file. A transfer that changes line ends breaks them.
const MAGIC: [u8; 8] = *b"EHZONE\r\n";
/// The version that is written. An older one keeps its reader; an unknown one is refused.
const VERSION: u16 = 1;
const PREAMBLE_BYTES: usize = MAGIC.len() + 2;
/// Separates these hashes from every other use of BLAKE3.
const DOMAIN: &str = "everhold zone history file v1";

/// The reason why a history was kept as evidence, and where it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceNote {
    /// The epoch of the owner that kept it.
    pub epoch: Epoch,
    /// The first tick that differs.
    pub tick: Tick,
    /// The reason.
    pub why: EvidenceWhy,
}

/// The world that a zone ran in, as far as a replay must be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryWorld {
    /// The id of the rules that the zone ran, if its data says so.
    pub rules_id: Option<[u8; 32]>,
    /// The seed of the zone, if its data says so: only a zone without a checkpoint is in need of another's word.
    pub seed: Option<u64>,
    /// Ticks per second, if these rules are at hand.
    pub tick_hz: Option<u16>,
    /// The text of the world's file, if these rules are at hand and are not those that come with the server.
    pub text: Option<String>,
}

/// The beginning of a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryHeader {
    /// The zone.
    pub zone: ZoneName,
    /// The fence when it was read: the highest epoch seen, and the process that it was granted to.
    pub fence: (Epoch, Nonce),
    /// The world that it ran in.
    pub world: HistoryWorld,
    /// The reason why it was kept. `None`: it was exported from the zone's own data.
    pub evidence: Option<EvidenceNote>,
}

/// The reason why bytes are no history file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The first bytes are others.
    #[error("this is no history file of a zone")]
    Magic,
    /// Written by a later version.
    #[error("history file version {0} is unknown; this version reads {VERSION}")]
    Version(u16),
    /// The bytes end before the end frame.
    #[error("the history file is cut short")]
    Truncated,
    /// A frame cannot be read, or is where none of its kind may be.
    #[error("frame {number} of the history file cannot be read")]
    Frame {
        /// Its number, from 0.
        number: u64,
        /// The defect of its bytes.
        #[source]
        error: DecodeError,
    },
    /// All frames can be read, and are not those that were written.
    #[error("the history file's checksum is not that of its bytes")]
    Checksum,
}

/// Writes a history file, frame by frame.
#[derive(Debug)]
pub struct HistoryWriter {
    hasher: blake3::Hasher,
    frames: u64,
    bytes: u64,
}

impl HistoryWriter {
    /// Begins a file, and returns its first bytes beside its writer.
    #[must_use]
    pub fn begin(header: &HistoryHeader) -> (Self, Vec<u8>) {
        let mut writer = Self {
            hasher: blake3::Hasher::new_derive_key(DOMAIN),
            frames: 0,
            bytes: 0,
        };
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        writer.hasher.update(&out);
        writer.bytes = out.len() as u64;
        writer.frame(&HistoryFrame::Header(header.clone()), &mut out);
        (writer, out)
    }

    /// Appends a frame to `out`.
    pub fn frame(&mut self, frame: &HistoryFrame, out: &mut Vec<u8>) {
        let start = out.len();
        frame.encode(out);
        self.hasher.update(&out[start..]);
        self.bytes += (out.len() - start) as u64;
        self.frames += 1;
    }

    /// Appends the end to `out`, and returns the length of the whole file, bytes.
    #[must_use]
    pub fn finish(self, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        let end = HistoryFrame::End {
            frames: self.frames,
            hash: *self.hasher.finalize().as_bytes(),
        };
        end.encode(out);
        self.bytes + (out.len() - start) as u64
    }
}

/// Reads a history file from pieces of any size. Total: any bytes give frames or an error.
///
/// Feed it with [`HistoryReader::push`], take frames with [`HistoryReader::poll`] until there is none, and ask
/// [`HistoryReader::finish`] at the end of the file: only then are the frames known to be those that were written.
#[derive(Debug)]
pub struct HistoryReader {
    hasher: blake3::Hasher,
    /// Bytes that are not read yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    has_preamble: bool,
    frames: u64,
    checkpoints: u64,
    has_ended: bool,
}

impl Default for HistoryReader {
    fn default() -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key(DOMAIN),
            buffer: Vec::new(),
            at: 0,
            has_preamble: false,
            frames: 0,
            checkpoints: 0,
            has_ended: false,
        }
    }
}

impl HistoryReader {
    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next frame but the end; `None` if more bytes are needed, or if none follows.
    pub fn poll(&mut self) -> Result<Option<HistoryFrame>, HistoryError> {
        if !self.has_preamble && !self.read_preamble()? {
            return Ok(None);
        }
        let rest = &self.buffer[self.at..];
        if self.has_ended {
            let error = DecodeError::TrailingBytes { left: rest.len() };
            return if rest.is_empty() {
                Ok(None)
            } else {
                Err(self.error(error))
            };
        }
        let Some((len, body)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len > HISTORY_FRAME_BYTES_MAX {
            let (what, max) = ("bytes of a frame", HISTORY_FRAME_BYTES_MAX);
            return Err(self.error(DecodeError::TooMany { what, max }));
        }
        let Some(body) = body.get(..len) else { return Ok(None) };
        let frame = HistoryFrame::decode(body).map_err(|error| self.error(error))?;
        if let HistoryFrame::End { frames, hash } = frame {
            if frames != self.frames || hash != *self.hasher.finalize().as_bytes() {
                return Err(HistoryError::Checksum);
            }
            self.at += 4 + len;
            self.has_ended = true;
            return self.poll();
        }
        self.check_place(&frame)?;
        self.checkpoints += u64::from(matches!(frame, HistoryFrame::Checkpoint(_)));
        self.hasher.update(&rest[..4 + len]);
        self.at += 4 + len;
        self.frames += 1;
        Ok(Some(frame))
    }

    /// Checks that the file ended with its end frame.
    pub const fn finish(&self) -> Result<(), HistoryError> {
        if self.has_ended && self.at == self.buffer.len() {
            Ok(())
        } else {
            Err(HistoryError::Truncated)
        }
    }

    /// Returns whether the first bytes are there; fails if they are others.
    fn read_preamble(&mut self) -> Result<bool, HistoryError> {
        let known = self.buffer.len().min(MAGIC.len());
        if self.buffer[..known] != MAGIC[..known] {
            return Err(HistoryError::Magic);
        }
        let Some(preamble) = self.buffer.get(..PREAMBLE_BYTES) else {
            return Ok(false);
        };
        let version = u16::from_le_bytes([preamble[8], preamble[9]]);
        if version != VERSION {
            return Err(HistoryError::Version(version));
        }
        self.hasher.update(preamble);
        (self.at, self.has_preamble) = (PREAMBLE_BYTES, true);
        Ok(true)
    }

    /// Checks that a frame may stand where it stands.
    fn check_place(&self, frame: &HistoryFrame) -> Result<(), HistoryError> {
        let invalid = |why: &str| {
            let why = why.to_owned();
            Err(self.error(DecodeError::Invalid { why }))
        };
        match frame {
            HistoryFrame::Header(_) if self.frames > 0 => return invalid("a second header"),
            HistoryFrame::Header(_) => {}
            _ if self.frames == 0 => return invalid("the header is not the first frame"),
            HistoryFrame::Part { place, .. } if u64::from(*place) >= self.checkpoints => {
                return invalid("a part without its checkpoint");
            }
            _ => {}
        }
        Ok(())
    }

    const fn error(&self, error: DecodeError) -> HistoryError {
        let number = self.frames;
        HistoryError::Frame { number, error }
    }
}

impl HistoryHeader {
    fn encode(&self, out: &mut Writer<'_>) {
        let put = |out: &mut Writer<'_>, bytes: &[u8]| {
            out.varint(bytes.len() as u64);
            out.bytes(bytes);
        };
        put(out, self.zone.as_str().as_bytes());
        out.u32(self.fence.0.0);
        out.u64(self.fence.1.0);
        let HistoryWorld {
            rules_id,
            seed,
            tick_hz,
            text,
        } = &self.world;
        let has = [
            rules_id.is_some(),
            seed.is_some(),
            tick_hz.is_some(),
            text.is_some(),
            self.evidence.is_some(),
        ];
        out.u8(has.iter().rev().fold(0, |flags, has_it| flags << 1 | u8::from(*has_it)));
        rules_id.iter().for_each(|id| out.bytes(id));
        seed.iter().for_each(|seed| out.u64(*seed));
        tick_hz.iter().for_each(|hz| out.u16(*hz));
        text.iter().for_each(|text| put(out, text.as_bytes()));
        if let Some(note) = &self.evidence {
            out.u32(note.epoch.0);
            out.varint(note.tick.0);
            out.u8(note.why.tag());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        fn text(from: &mut Reader<'_>) -> Result<String, DecodeError> {
            let len = usize::try_from(from.varint()?).map_err(|_| DecodeError::Varint)?;
            let text = std::str::from_utf8(from.bytes(len)?);
            text.map(str::to_owned)
                .map_err(|error| DecodeError::Invalid { why: error.to_string() })
        }
        let zone = ZoneName::try_from(text(from)?).map_err(|error| DecodeError::Invalid { why: error.to_string() })?;
        let fence = (Epoch(from.u32()?), Nonce(from.u64()?));
        let flags = from.u8()?;
        if flags >= 1 << 5 {
            let what = "flags of a header";
            return Err(DecodeError::UnknownTag { what, tag: flags });
        }
        let has = |bit: u8| flags & 1 << bit != 0;
        Ok(Self {
            zone,
            fence,
            world: HistoryWorld {
                rules_id: has(0).then(|| from.array()).transpose()?,
                seed: has(1).then(|| from.u64()).transpose()?,
                tick_hz: has(2).then(|| from.u16()).transpose()?,
                text: has(3).then(|| text(from)).transpose()?,
            },
            evidence: has(4).then(|| read_note(from)).transpose()?,
        })
    }
}

fn read_note(from: &mut Reader<'_>) -> Result<EvidenceNote, DecodeError> {
    let (epoch, tick, tag) = (Epoch(from.u32()?), Tick(from.varint()?), from.u8()?);
    let what = "reason for evidence";
    let why = EvidenceWhy::from_tag(tag).ok_or(DecodeError::UnknownTag { what, tag })?;
    Ok(EvidenceNote { epoch, tick, why })
}

#[cfg(test)]
mod tests;

//! The file of a backup: frames, each with a checksum over itself and all before it. It opens no file, and holds no
//! more of one than a frame.
//!
//! ```text
//! file  = magic 8 bytes · layout u16 · frame …
//! frame = length u32, of what follows but the checksum · tag u8 · length u32 of the description · description ·
//!         bytes · checksum 16 bytes
//! ```
//!
//! Integers are little-endian. The checksum of a frame is taken over the checksum of the frame before it and its own
//! bytes, so a frame that is changed, left out, repeated, or moved is found where it stands; a file that is cut short
//! has no end frame. A layout that this build does not know is refused by its number, and nothing is read of it.

use bytes::Bytes;

use super::frame::{BackupFrame, BackupFrameError};
use crate::limits::BACKUP_FRAME_BYTES_MAX;

/// The first bytes of every backup. A transfer that changes line ends breaks them.
const MAGIC: [u8; 8] = *b"EHBACK\r\n";
/// The layout that is written, and the latest that is read.
pub const BACKUP_LAYOUT: u16 = 1;
const PREAMBLE_BYTES: usize = MAGIC.len() + 2;
/// Separates these hashes from every other use of BLAKE3.
const DOMAIN: &str = "everhold backup file v1";
const CHECKSUM_BYTES: usize = 16;

type Checksum = [u8; CHECKSUM_BYTES];

/// The reason why bytes are no backup, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The first bytes are others.
    #[error("this is no backup of a world")]
    Magic,
    /// A later build wrote it.
    #[error(
        "the backup has layout {0}, and this build reads up to {BACKUP_LAYOUT}: use the build that made it, or a later \
         one"
    )]
    Layout(u16),
    /// The bytes end before the end frame.
    #[error("the backup is cut short")]
    Truncated,
    /// A frame is not what was written, or not where it was written.
    #[error("frame {0} of the backup is damaged")]
    Damaged(u64),
    /// A frame can be read, and makes no sense, or none where it stands.
    #[error("frame {number} of the backup makes no sense")]
    Frame {
        /// Its number, from 0.
        number: u64,
        /// The defect.
        #[source]
        error: BackupFrameError,
    },
}

impl BackupError {
    /// Returns a code for programs: it never changes, and the text may.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Magic => "no_backup",
            Self::Layout(_) => "layout_unknown",
            Self::Truncated => "backup_truncated",
            Self::Damaged(_) | Self::Frame { .. } => "backup_damaged",
        }
    }
}

fn checksum(before: &Checksum, body: &[u8]) -> Checksum {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(before).update(body);
    *hasher.finalize().as_bytes().first_chunk().expect("a hash is longer")
}

/// Writes a backup, frame by frame. A clone of it goes on from where it was cloned: what was written since is given
/// up, if the file is cut there.
#[derive(Clone, Debug)]
pub struct BackupWriter {
    last: Checksum,
    frames: u64,
}

impl BackupWriter {
    /// Begins a file, and returns its first bytes beside its writer.
    #[must_use]
    pub fn begin() -> (Self, Vec<u8>) {
        let preamble = [&MAGIC[..], &BACKUP_LAYOUT.to_le_bytes()].concat();
        let last = checksum(&Checksum::default(), &preamble);
        (Self { last, frames: 0 }, preamble)
    }

    /// Returns the bytes of the next frame.
    ///
    /// # Panics
    /// If it is longer than [`BACKUP_FRAME_BYTES_MAX`]: what is written in one is bounded.
    #[must_use]
    pub fn frame(&mut self, frame: &BackupFrame) -> Vec<u8> {
        let (tag, described, tail) = frame.encode();
        let len = 1 + size_of::<u32>() + described.len() + tail.len();
        assert!(len <= BACKUP_FRAME_BYTES_MAX, "a frame of {len} bytes");
        let mut out = Vec::with_capacity(size_of::<u32>() + len + CHECKSUM_BYTES);
        let number = |len: usize| u32::try_from(len).expect("a frame is bounded").to_le_bytes();
        out.extend_from_slice(&number(len));
        out.push(tag);
        out.extend_from_slice(&number(described.len()));
        out.extend_from_slice(&described);
        out.extend_from_slice(&tail);
        self.last = checksum(&self.last, &out);
        out.extend_from_slice(&self.last);
        self.frames += 1;
        out
    }

    /// Returns the end frame.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.frame(&BackupFrame::End(self.frames))
    }
}

/// Reads a backup from pieces of any size. Total: any bytes give frames or an error.
///
/// Feed it with [`BackupReader::push`], take frames with [`BackupReader::poll`] until there is none, and ask
/// [`BackupReader::finish`] at the end of the file.
#[derive(Debug, Default)]
pub struct BackupReader {
    /// Bytes that are not read yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// The checksum of the frame before, once the first bytes are read.
    last: Option<Checksum>,
    frames: u64,
    has_ended: bool,
}

impl BackupReader {
    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next frame but the end; `None` if more bytes are needed, or if none follows.
    pub fn poll(&mut self) -> Result<Option<BackupFrame>, BackupError> {
        let Some(last) = self.preamble()? else { return Ok(None) };
        let rest = &self.buffer[self.at..];
        if self.has_ended {
            return if rest.is_empty() {
                Ok(None)
            } else {
                Err(BackupError::Damaged(self.frames))
            };
        }
        let Some(len) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if !(5..=BACKUP_FRAME_BYTES_MAX).contains(&len) {
            return Err(BackupError::Damaged(self.frames));
        }
        let Some((body, behind)) = rest.split_at_checked(4 + len) else {
            return Ok(None);
        };
        let Some(kept) = behind.first_chunk::<CHECKSUM_BYTES>() else {
            return Ok(None);
        };
        if checksum(&last, body) != *kept {
            return Err(BackupError::Damaged(self.frames));
        }
        let frame = self.decode(&body[4..])?;
        self.last = Some(*kept);
        self.at += 4 + len + CHECKSUM_BYTES;
        if let BackupFrame::End(frames) = frame {
            if frames != self.frames {
                return Err(BackupError::Damaged(self.frames));
            }
            self.has_ended = true;
            return self.poll();
        }
        self.frames += 1;
        Ok(Some(frame))
    }

    /// Checks that the file ended with its end frame.
    pub const fn finish(&self) -> Result<(), BackupError> {
        if self.has_ended && self.at == self.buffer.len() {
            Ok(())
        } else {
            Err(BackupError::Truncated)
        }
    }

    /// Returns the number of frames that were read.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    fn preamble(&mut self) -> Result<Option<Checksum>, BackupError> {
        if self.last.is_some() {
            return Ok(self.last);
        }
        let known = self.buffer.len().min(MAGIC.len());
        if self.buffer[..known] != MAGIC[..known] {
            return Err(BackupError::Magic);
        }
        let Some(preamble) = self.buffer.get(..PREAMBLE_BYTES) else {
            return Ok(None);
        };
        let layout = u16::from_le_bytes([preamble[8], preamble[9]]);
        if layout != BACKUP_LAYOUT {
            return Err(BackupError::Layout(layout));
        }
        self.last = Some(checksum(&Checksum::default(), preamble));
        self.at = PREAMBLE_BYTES;
        Ok(self.last)
    }

    fn decode(&self, body: &[u8]) -> Result<BackupFrame, BackupError> {
        let number = self.frames;
        let damaged = BackupError::Damaged(number);
        let (tag, rest) = body.split_first().ok_or_else(|| damaged.clone())?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged.clone())?;
        let len = u32::from_le_bytes(*len) as usize;
        let (described, tail) = rest.split_at_checked(len).ok_or(damaged)?;
        let frame = BackupFrame::decode(*tag, described, Bytes::copy_from_slice(tail));
        frame.map_err(|error| BackupError::Frame { number, error })
    }
}

//! Framing of control messages: a little-endian `u32` length, then that many bytes of compact `rmp-serde`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::CONTROL_BYTES_MAX;

/// Length of a frame's length, bytes.
const LENGTH_BYTES: usize = 4;

/// The reason why a frame could not be made or read. After an error in reading, the stream is not usable any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Larger than the limit that holds now.
    #[error("a control message of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// The frame's length, bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes are left in the frame after the message.
    #[error("{left} bytes are left in a frame after its message")]
    TrailingBytes {
        /// Their number.
        left: usize,
    },
    /// The bytes are no message of this type.
    #[error("a control message cannot be read")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The message cannot be written.
    #[error("a control message cannot be written")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Encodes one message with its length before it.
///
/// # Errors
/// [`FrameError::TooLarge`] beyond [`CONTROL_BYTES_MAX`], which no receiver would take.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write(&mut frame, message)?;
    let bytes = frame.len() - LENGTH_BYTES;
    match u32::try_from(bytes) {
        Ok(length) if bytes <= CONTROL_BYTES_MAX => frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes()),
        _ => {
            return Err(FrameError::TooLarge {
                bytes,
                max: CONTROL_BYTES_MAX,
            });
        }
    }
    Ok(frame)
}

/// Cuts a stream into messages, whatever chunks it arrives in.
///
/// Call [`FrameDecoder::next`] until it says `None` before the next [`FrameDecoder::push`]: then it never holds more
/// than one unfinished frame and one chunk. Of a frame that is too large it holds no more than the bytes of its length.
#[derive(Debug)]
pub struct FrameDecoder {
    bytes_max: usize,
    buffer: Vec<u8>,
    /// Bytes at the buffer's front that belong to messages already given out.
    taken: usize,
}

impl FrameDecoder {
    /// Returns a decoder at the start of a stream that takes messages of up to `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// Sets the limit from the next message on: a stranger's first message is kept smaller than those that follow.
    pub const fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Takes the stream's next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let missing = LENGTH_BYTES.saturating_sub(self.buffer.len()).min(chunk.len());
        let (length, body) = chunk.split_at(missing);
        self.buffer.extend_from_slice(length);
        // The stream is lost anyway; `next` says so.
        if self.announced().is_none_or(|bytes| bytes <= self.bytes_max) {
            self.buffer.extend_from_slice(body);
        }
    }

    /// Returns the bytes of the next message, if all of it has arrived. It stays the next.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], which is final.
    pub fn peek(&self) -> Result<Option<&[u8]>, FrameError> {
        let Some(bytes) = self.announced() else { return Ok(None) };
        if bytes > self.bytes_max {
            return Err(FrameError::TooLarge {
                bytes,
                max: self.bytes_max,
            });
        }
        let start = self.taken + LENGTH_BYTES;
        Ok(self.buffer.get(start..start + bytes))
    }

    /// Whether all bytes received belong to messages already given out: the stream may end here.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// Returns the next message, if all of it has arrived.
    ///
    /// # Errors
    /// Any error is final: the stream has lost its frame boundaries or its sender's trust.
    // Not `Iterator::next`: the type differs from call to call.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator has one item type; a stream's first message has its own"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(frame) = self.peek()? else { return Ok(None) };
        let bytes = frame.len();
        let mut from = rmp_serde::Deserializer::new(frame);
        let message = T::deserialize(&mut from)?;
        // `from_slice` would accept and drop what follows a value.
        match from.get_ref().len() {
            0 => {}
            left => return Err(FrameError::TrailingBytes { left }),
        }
        self.taken += LENGTH_BYTES + bytes;
        Ok(Some(message))
    }

    /// Returns the length of the frame at the front, if it is known.
    fn announced(&self) -> Option<usize> {
        let length = self.buffer.get(self.taken..)?.first_chunk::<LENGTH_BYTES>()?;
        Some(u32::from_le_bytes(*length) as usize)
    }
}

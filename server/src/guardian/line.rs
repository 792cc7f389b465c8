//! The guardian's end of the line to its server: one word a line, each the whole of what the server holds. It judges
//! none.

use std::io::ErrorKind;

use everhold_core::ownership::Holdings;
use tokio::net::UnixStream;

/// A line from the server holds at most a thousand zones of at most a hundred bytes each.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are read at once.
const READ_BYTES: usize = 4_096;

/// The guardian's end of the line.
pub(super) struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Line {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// The next word. Dropping the future loses nothing.
    pub(super) async fn hear(&mut self) -> std::io::Result<Holdings> {
        loop {
            if let Some(word) = self.word() {
                return word;
            }
            self.stream.readable().await?;
            match self.read() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => outcome?,
            }
        }
    }

    /// The next word of a server that says nothing more.
    pub(super) fn rest(&mut self) -> Option<std::io::Result<Holdings>> {
        while self.read().is_ok() {}
        self.word()
    }

    fn read(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.try_read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read if self.heard.len() + read <= LINE_BYTES_MAX => {
                self.heard.extend_from_slice(&bytes[..read]);
                Ok(())
            }
            _ => Err(std::io::Error::other("a line without an end")),
        }
    }

    fn word(&mut self) -> Option<std::io::Result<Holdings>> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let word = serde_json::from_slice(&self.heard[..end]).map_err(std::io::Error::other);
        self.heard.drain(..=end);
        Some(word)
    }
}

//! Key files on disk: who may read and write them, how they are made whole or not at all, and what their texts are.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use everhold_core::limits::{KEY_FILE_BYTES_MAX, KEYS_GOOD_MAX};

use super::KeysError;

/// Permission bits of others that make a directory unsafe, for they could replace what is in it: with the sticky bit
/// they can only add, as in mounted secrets.
const STICKY: u32 = 0o1000;

/// The files of a key directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFile {
    TicketKey,
    TicketKeyNext,
    TicketPub,
    TlsKey,
    TlsKeyNext,
    TlsCert,
    Quic,
    QuicNext,
}

impl KeyFile {
    /// Every file, in the order in which they are shown.
    pub(super) const ALL: [Self; 8] = [
        Self::TicketKey,
        Self::TicketKeyNext,
        Self::TicketPub,
        Self::TlsKey,
        Self::TlsKeyNext,
        Self::TlsCert,
        Self::Quic,
        Self::QuicNext,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TicketKey => "ticket.key",
            Self::TicketKeyNext => "ticket-next.key",
            Self::TicketPub => "ticket.pub",
            Self::TlsKey => "tls-key.pem",
            Self::TlsKeyNext => "tls-key-next.pem",
            Self::TlsCert => "tls-cert.pem",
            Self::Quic => "quic.key",
            Self::QuicNext => "quic-next.key",
        }
    }

    pub(super) const fn is_secret(self) -> bool {
        !matches!(self, Self::TicketPub | Self::TlsCert)
    }

    /// Clients and the login service run as other users, and need the public files.
    const fn mode(self) -> u32 {
        if self.is_secret() { 0o600 } else { 0o644 }
    }
}

/// A directory of keys.
#[derive(Clone, Debug)]
pub(super) struct KeyDir(PathBuf);

impl KeyDir {
    /// Opens a directory that is there.
    pub(super) fn open(path: &Path) -> Result<Self, KeysError> {
        let metadata = path.metadata().map_err(|e| io_error("read the directory", path, e))?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 && mode & STICKY == 0 {
            return Err(KeysError::Writable {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(Self(path.to_owned()))
    }

    /// Opens the directory, which is made if it is not there: others may look into it, because public files are in it.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, KeysError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|e| io_error("create", path, e))?;
        Self::open(path)
    }

    pub(super) fn path(&self, file: KeyFile) -> PathBuf {
        self.0.join(file.name())
    }

    /// Reads the file's text. `None`: there is no such file.
    pub(super) fn read(&self, file: KeyFile) -> Result<Option<String>, KeysError> {
        let path = self.path(file);
        let open = match File::open(&path) {
            Ok(open) => open,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        let mode = open.metadata().map_err(|e| io_error("read", &path, e))?.mode() & 0o777;
        if file.is_secret() && mode & 0o077 != 0 {
            return Err(KeysError::Exposed { path, mode });
        }
        if mode & 0o022 != 0 {
            return Err(KeysError::Writable { path, mode });
        }
        let mut text = String::new();
        open.take(KEY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|e| io_error("read", &path, e))?;
        Ok(Some(text))
    }

    /// Reads the file's text, which must be there for `needed`.
    pub(super) fn need(&self, file: KeyFile, needed: &'static str) -> Result<String, KeysError> {
        let path = self.path(file);
        self.read(file)?.ok_or(KeysError::Missing { path, needed })
    }

    /// Reads the file's text; makes the file if there is none, unless another process is faster.
    pub(super) fn read_or_create(
        &self,
        file: KeyFile,
        make: impl FnOnce() -> Result<String, KeysError>,
    ) -> Result<String, KeysError> {
        if let Some(text) = self.read(file)? {
            return Ok(text);
        }
        let text = make()?;
        let path = self.path(file);
        match self.draft(file, &text)?.persist_noclobber(&path) {
            Ok(_) => {
                tracing::info!(path = %path.display(), "a new key was made");
                Ok(text)
            }
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => {
                self.need(file, "it was there a moment ago")
            }
            Err(lost) => Err(io_error("create", &path, lost.error)),
        }
    }

    /// Makes the file anew, in one step: readers see the old text or the new one.
    pub(super) fn replace(&self, file: KeyFile, text: &str) -> Result<(), KeysError> {
        let path = self.path(file);
        let persisted = self.draft(file, text)?.persist(&path);
        persisted
            .map(drop)
            .map_err(|lost| io_error("replace", &path, lost.error))
    }

    pub(super) fn remove(&self, file: KeyFile) -> Result<(), KeysError> {
        let path = self.path(file);
        std::fs::remove_file(&path).map_err(|e| io_error("remove", &path, e))
    }

    fn draft(&self, file: KeyFile, text: &str) -> Result<tempfile::NamedTempFile, KeysError> {
        let path = self.path(file);
        // Made with mode 0600.
        let mut draft =
            tempfile::NamedTempFile::new_in(&self.0).map_err(|e| io_error("create a file in", &self.0, e))?;
        draft
            .write_all(text.as_bytes())
            .and_then(|()| draft.as_file().set_permissions(Permissions::from_mode(file.mode())))
            .and_then(|()| draft.as_file().sync_all())
            .map_err(|e| io_error("write", &path, e))?;
        Ok(draft)
    }

    /// Reads the keys of a file with one in each line.
    pub(super) fn parse_keys(&self, file: KeyFile, text: &str) -> Result<Vec<[u8; 32]>, KeysError> {
        let keys: Option<Vec<_>> = text.lines().filter(|line| !line.is_empty()).map(parse_hex).collect();
        keys.filter(|keys| (1..=KEYS_GOOD_MAX).contains(&keys.len()))
            .ok_or_else(|| KeysError::Malformed {
                path: self.path(file),
                expected: "one or two lines of 64 hexadecimal digits",
            })
    }

    /// Reads the key of a file that has exactly one.
    pub(super) fn parse_key(&self, file: KeyFile, text: &str) -> Result<[u8; 32], KeysError> {
        parse_hex(text.trim_ascii_end()).ok_or_else(|| KeysError::Malformed {
            path: self.path(file),
            expected: "64 hexadecimal digits",
        })
    }
}

pub(super) fn random_hex() -> Result<String, KeysError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(KeysError::Random)?;
    Ok(hex_line(&bytes))
}

/// Writes the line of a key in a file of keys.
pub(super) fn hex_line(bytes: &[u8; 32]) -> String {
    let mut line = String::with_capacity(65);
    for byte in bytes {
        let _never_fails = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

fn parse_hex(line: &str) -> Option<[u8; 32]> {
    let digits = line.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(line.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> KeysError {
    KeysError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

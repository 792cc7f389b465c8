//! Errors of keys, each with the file that is at fault.

use std::io;
use std::path::PathBuf;

use quinn_proto::crypto::rustls::NoInitialCipherSuite;

/// Error of reading, making, or rotating keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file or directory cannot be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A secret that others on this host can read.
    #[error("{} can be read by others (mode {mode:o}): run chmod 600 on it, or make new keys", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory or file that others can write: they could replace the keys, and the login service with them.
    #[error("{} can be written by others (mode {mode:o}): run chmod go-w on it", path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what its name says.
    #[error("{} is not {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The content that it should have.
        expected: &'static str,
    },
    /// A weak key, of which one signature fits many messages.
    #[error("{} holds a weak key (a point of small order), with which anybody could sign", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// The public half is not that of the secret beside it.
    #[error("{} does not belong to the secret key beside it", path.display())]
    Mismatch {
        /// The file with the public half.
        path: PathBuf,
    },
    /// A file that is not there is needed.
    #[error("{} is missing: {needed}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The purpose that it is needed for.
        needed: &'static str,
    },
    /// Keys are there already.
    #[error("{} has keys already: see `everhold keys show` and `everhold keys rotate`", path.display())]
    Present {
        /// The directory.
        path: PathBuf,
    },
    /// A rotation has its order.
    #[error("{}: {why}", path.display())]
    Stage {
        /// The file with the keys of this kind.
        path: PathBuf,
        /// The step that has to come first.
        why: &'static str,
    },
    /// The system's random source failed.
    #[error("no random bytes")]
    Random(#[source] getrandom::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// Certificate and key do not work.
    #[error("certificate and key cannot be used")]
    Tls(#[from] rustls::Error),
    /// The cipher suite that QUIC starts with is missing.
    #[error("no initial cipher suite")]
    Cipher(#[from] NoInitialCipherSuite),
}

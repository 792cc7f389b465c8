//! Makes, replaces, and copies the keys of a directory. Each file changes in one step, and whatever order of steps a crash leaves behind is
//! one that shards can start with; a stage that was cut off is simply run again.

use std::path::Path;

use super::files::{KeyDir, KeyFile, hex_line, random_hex};
use super::{Keys, KeysError, signing_key, tls, verifying_keys};
use crate::ownership::KeyKind;

/// A step of a rotation; see the table of the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A new key is good beside the old one.
    Add,
    /// The new one is used.
    Switch,
    /// The old one is no longer good.
    Drop,
}

/// For whom a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A host with shards: all but the login service's key.
    Shard,
    /// Whoever builds or runs clients: the certificates.
    Client,
    /// The login service: its key alone.
    Login,
}

/// Why a stage cannot be taken now.
const ADDED_ALREADY: &str = "a new key was added before: `switch`, then `drop` the old one";
const NOTHING_ADDED: &str = "no new key is waiting: `add` one first";
const NOT_SWITCHED: &str = "the new key is not in use yet: `switch` first";
const NOTHING_TO_DROP: &str = "there is only one key: nothing to drop";
const FOR_ROTATION: &str = "keys are rotated where all of them are, and copied from there";

/// Makes a directory of new keys.
pub fn make(dir: &Path) -> Result<(), KeysError> {
    let is_there = KeyFile::ALL.iter().any(|file| dir.join(file.name()).exists());
    if is_there {
        return Err(KeysError::Present { path: dir.to_owned() });
    }
    Keys::load_or_create(dir).map(drop)
}

/// Copies what `recipient` needs into the directory `to`; what is there of earlier stages is replaced.
pub fn export(dir: &Path, recipient: Recipient, to: &Path) -> Result<Vec<&'static str>, KeysError> {
    let files: &[KeyFile] = match recipient {
        // The set before the key that must be in it.
        Recipient::Shard => &[KeyFile::TicketPub, KeyFile::TlsCert, KeyFile::TlsKey, KeyFile::Quic],
        Recipient::Client => &[KeyFile::TlsCert],
        Recipient::Login => &[KeyFile::TicketKey],
    };
    let from = KeyDir::open(dir)?;
    let to = KeyDir::open_or_create(to)?;
    for file in files {
        to.replace(*file, &from.need(*file, "it is to be copied")?)?;
    }
    Ok(files.iter().map(|file| file.name()).collect())
}

/// Takes one kind of keys to a stage.
pub fn rotate(dir: &Path, kind: KeyKind, stage: Stage) -> Result<(), KeysError> {
    let dir = KeyDir::open(dir)?;
    match kind {
        KeyKind::Login => rotate_login(&dir, stage),
        KeyKind::Certificate => rotate_certificate(&dir, stage),
        KeyKind::Quic => rotate_quic(&dir, stage),
    }
}

fn rotate_login(dir: &KeyDir, stage: Stage) -> Result<(), KeysError> {
    let refuse = |why| Err(refusal(dir, KeyFile::TicketPub, why));
    let secret = dir.need(KeyFile::TicketKey, FOR_ROTATION)?;
    let current = signing_key(dir, KeyFile::TicketKey, &secret)?.verifying_key();
    let good = verifying_keys(dir, &dir.need(KeyFile::TicketPub, FOR_ROTATION)?)?;
    let waiting = dir.read(KeyFile::TicketKeyNext)?;
    match (stage, waiting) {
        (Stage::Add, None) if good.len() > 1 => refuse(ADDED_ALREADY),
        (Stage::Add, waiting) => {
            let secret = match waiting {
                Some(secret) => secret,
                None => dir.read_or_create(KeyFile::TicketKeyNext, random_hex)?,
            };
            let next = signing_key(dir, KeyFile::TicketKeyNext, &secret)?.verifying_key();
            if good.contains(&next) {
                return refuse(ADDED_ALREADY);
            }
            let lines = [current, next].map(|key| hex_line(key.as_bytes()));
            dir.replace(KeyFile::TicketPub, &lines.concat())
        }
        (Stage::Switch, None) => refuse(NOTHING_ADDED),
        (Stage::Switch, Some(secret)) => {
            let next = signing_key(dir, KeyFile::TicketKeyNext, &secret)?.verifying_key();
            if !good.contains(&next) {
                return refuse(NOTHING_ADDED);
            }
            dir.replace(KeyFile::TicketKey, &secret)?;
            dir.remove(KeyFile::TicketKeyNext)
        }
        (Stage::Drop, Some(_)) => refuse(NOT_SWITCHED),
        (Stage::Drop, None) if good.len() < 2 => refuse(NOTHING_TO_DROP),
        (Stage::Drop, None) => dir.replace(KeyFile::TicketPub, &hex_line(current.as_bytes())),
    }
}

fn rotate_certificate(dir: &KeyDir, stage: Stage) -> Result<(), KeysError> {
    let refuse = |why| Err(refusal(dir, KeyFile::TlsCert, why));
    let key = tls::parse_key(dir, KeyFile::TlsKey, &dir.need(KeyFile::TlsKey, FOR_ROTATION)?)?;
    let pem = dir.need(KeyFile::TlsCert, FOR_ROTATION)?;
    let good = tls::parse_certificates(dir, &pem)?;
    let waiting = dir.read(KeyFile::TlsKeyNext)?;
    let has_certificate = |key_pem: &str| {
        let key = tls::parse_key(dir, KeyFile::TlsKeyNext, key_pem)?;
        Ok::<_, KeysError>(tls::belonging(&good, &key)?.is_some())
    };
    match (stage, waiting) {
        (Stage::Add, None) if good.len() > 1 => refuse(ADDED_ALREADY),
        (Stage::Add, waiting) => {
            let key_pem = match waiting {
                Some(key_pem) => key_pem,
                None => dir.read_or_create(KeyFile::TlsKeyNext, tls::make_key)?,
            };
            if has_certificate(&key_pem)? {
                return refuse(ADDED_ALREADY);
            }
            let both = format!("{}\n{}", pem.trim_end(), tls::make_certificate(&key_pem)?);
            dir.replace(KeyFile::TlsCert, &both)
        }
        (Stage::Switch, Some(key_pem)) if has_certificate(&key_pem)? => {
            dir.replace(KeyFile::TlsKey, &key_pem)?;
            dir.remove(KeyFile::TlsKeyNext)
        }
        (Stage::Switch, _) => refuse(NOTHING_ADDED),
        (Stage::Drop, Some(_)) => refuse(NOT_SWITCHED),
        (Stage::Drop, None) if good.len() < 2 => refuse(NOTHING_TO_DROP),
        (Stage::Drop, None) => {
            let kept = tls::belonging(&good, &key)?.ok_or_else(|| KeysError::Mismatch {
                path: dir.path(KeyFile::TlsCert),
            })?;
            dir.replace(KeyFile::TlsCert, &nth_certificate(&pem, kept))
        }
    }
}

/// One certificate of a text with several, as it stands there.
fn nth_certificate(pem: &str, n: usize) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let block = pem.split_inclusive(END).nth(n).unwrap_or_default();
    format!("{}\n", block.trim_start())
}

fn rotate_quic(dir: &KeyDir, stage: Stage) -> Result<(), KeysError> {
    let refuse = |why| Err(refusal(dir, KeyFile::Quic, why));
    let good = dir.parse_keys(KeyFile::Quic, &dir.need(KeyFile::Quic, FOR_ROTATION)?)?;
    let waiting = dir.read(KeyFile::QuicNext)?;
    match (stage, waiting) {
        (Stage::Add, None) if good.len() > 1 => refuse(ADDED_ALREADY),
        (Stage::Add, waiting) => {
            let text = match waiting {
                Some(text) => text,
                None => dir.read_or_create(KeyFile::QuicNext, random_hex)?,
            };
            let next = dir.parse_key(KeyFile::QuicNext, &text)?;
            if good.contains(&next) {
                return refuse(ADDED_ALREADY);
            }
            dir.replace(KeyFile::Quic, &[hex_line(&good[0]), hex_line(&next)].concat())
        }
        (Stage::Switch, None) => refuse(NOTHING_ADDED),
        (Stage::Switch, Some(text)) => {
            let next = dir.parse_key(KeyFile::QuicNext, &text)?;
            let Some(old) = good.iter().find(|key| **key != next).filter(|_| good.contains(&next)) else {
                return refuse(NOTHING_ADDED);
            };
            dir.replace(KeyFile::Quic, &[hex_line(&next), hex_line(old)].concat())?;
            dir.remove(KeyFile::QuicNext)
        }
        (Stage::Drop, Some(_)) => refuse(NOT_SWITCHED),
        (Stage::Drop, None) if good.len() < 2 => refuse(NOTHING_TO_DROP),
        (Stage::Drop, None) => dir.replace(KeyFile::Quic, &hex_line(&good[0])),
    }
}

fn refusal(dir: &KeyDir, file: KeyFile, why: &'static str) -> KeysError {
    KeysError::Stage {
        path: dir.path(file),
        why,
    }
}

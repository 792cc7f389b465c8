//! Makes, replaces, and copies the keys of a directory. Each file changes in one step, and whatever order of steps a
//! crash leaves behind is one that shards can start with; a stage that was cut off is simply run again.

use std::path::Path;

use everhold_core::ownership::KeyKind;

use super::files::{KeyDir, KeyFile, hex_line, random_hex};
use super::{Keys, KeysError, signing_key, tls, verifying_keys};

/// A step of a rotation; see the table of the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStage {
    /// A new key is good beside the old one.
    Add,
    /// The new one is used.
    Switch,
    /// The old one is no longer good.
    Drop,
}

/// The recipient of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A host with shards: all but the login service's key.
    Shard,
    /// The makers of clients: the certificates.
    Client,
    /// The login service: its key alone.
    Login,
}

/// The reason why a stage cannot be taken now, and what is to be done first.
const NOT_DROPPED: &str = "the old key of the last rotation is still good: `drop` it first";
const NOTHING_ADDED: &str = "no new key is waiting: `add` one first";
const NOT_SWITCHED: &str = "the new key is not in use yet: `switch` first";
const FOR_ROTATION: &str = "keys are rotated where all of them are, and copied from there";

/// The state of a kind's rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RotationProgress {
    /// One key is good, and no other is there.
    Over,
    /// A new one was made that is not good yet: `add` was cut off.
    Begun,
    /// The new one is good beside the old one.
    Added,
    /// The new one is used, and the old one is still good.
    Switched,
}

impl RotationProgress {
    /// Tells the state from whether the key that waits to be used is good, and how many are.
    const fn of(waiting_is_good: Option<bool>, good: usize) -> Self {
        match waiting_is_good {
            Some(true) => Self::Added,
            Some(false) => Self::Begun,
            None if good > 1 => Self::Switched,
            None => Self::Over,
        }
    }

    /// Whether a stage has to be taken from here (`true`), or was taken already. `Err`: it cannot be.
    const fn needs(self, stage: RotationStage) -> Result<bool, &'static str> {
        match (stage, self) {
            (RotationStage::Add, Self::Over | Self::Begun)
            | (RotationStage::Switch, Self::Added)
            | (RotationStage::Drop, Self::Switched) => Ok(true),
            (RotationStage::Add, Self::Added)
            | (RotationStage::Switch, Self::Switched)
            | (RotationStage::Drop, Self::Over) => Ok(false),
            (RotationStage::Add, Self::Switched) => Err(NOT_DROPPED),
            (RotationStage::Switch, Self::Over | Self::Begun) => Err(NOTHING_ADDED),
            (RotationStage::Drop, Self::Begun | Self::Added) => Err(NOT_SWITCHED),
        }
    }
}

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

/// Takes one kind of keys to a stage. Returns whether there was anything to do: a stage that was taken already is no
/// error, so that what was cut off between two kinds is run again.
pub fn rotate(dir: &Path, kind: KeyKind, stage: RotationStage) -> Result<bool, KeysError> {
    let dir = KeyDir::open(dir)?;
    match kind {
        KeyKind::Login => rotate_login(&dir, stage),
        KeyKind::Certificate => rotate_certificate(&dir, stage),
        KeyKind::Quic => rotate_quic(&dir, stage),
    }
}

fn rotate_login(dir: &KeyDir, stage: RotationStage) -> Result<bool, KeysError> {
    let public = |file, secret: &str| Ok::<_, KeysError>(signing_key(dir, file, secret)?.verifying_key());
    let current = public(KeyFile::TicketKey, &dir.need(KeyFile::TicketKey, FOR_ROTATION)?)?;
    let good = verifying_keys(dir, &dir.need(KeyFile::TicketPub, FOR_ROTATION)?)?;
    let waiting = dir.read(KeyFile::TicketKeyNext)?;
    let next = waiting
        .as_deref()
        .map(|secret| public(KeyFile::TicketKeyNext, secret))
        .transpose()?;
    let progress = RotationProgress::of(next.map(|next| good.contains(&next)), good.len());
    if !needs(dir, KeyFile::TicketPub, progress, stage)? {
        return Ok(false);
    }
    match stage {
        RotationStage::Add => {
            let secret = dir.read_or_create(KeyFile::TicketKeyNext, random_hex)?;
            let both = [current, public(KeyFile::TicketKeyNext, &secret)?];
            dir.replace(KeyFile::TicketPub, &both.map(|key| hex_line(key.as_bytes())).concat())?;
        }
        RotationStage::Switch => use_waiting(dir, KeyFile::TicketKeyNext, KeyFile::TicketKey)?,
        RotationStage::Drop => dir.replace(KeyFile::TicketPub, &hex_line(current.as_bytes()))?,
    }
    Ok(true)
}

fn rotate_certificate(dir: &KeyDir, stage: RotationStage) -> Result<bool, KeysError> {
    let key = tls::parse_key(dir, KeyFile::TlsKey, &dir.need(KeyFile::TlsKey, FOR_ROTATION)?)?;
    let pem = dir.need(KeyFile::TlsCert, FOR_ROTATION)?;
    let good = tls::parse_certificates(dir, &pem)?;
    let waiting = dir.read(KeyFile::TlsKeyNext)?;
    let is_certified = |key_pem: &str| {
        let key = tls::parse_key(dir, KeyFile::TlsKeyNext, key_pem)?;
        Ok::<_, KeysError>(tls::belonging(&good, &key)?.is_some())
    };
    let waiting_is_good = waiting.as_deref().map(is_certified).transpose()?;
    let progress = RotationProgress::of(waiting_is_good, good.len());
    if !needs(dir, KeyFile::TlsCert, progress, stage)? {
        return Ok(false);
    }
    match stage {
        RotationStage::Add => {
            let key_pem = dir.read_or_create(KeyFile::TlsKeyNext, tls::make_key)?;
            let both = format!("{}\n{}", pem.trim_end(), tls::make_certificate(&key_pem)?);
            dir.replace(KeyFile::TlsCert, &both)?;
        }
        RotationStage::Switch => use_waiting(dir, KeyFile::TlsKeyNext, KeyFile::TlsKey)?,
        RotationStage::Drop => {
            let kept = tls::belonging(&good, &key)?.ok_or_else(|| KeysError::Mismatch {
                path: dir.path(KeyFile::TlsCert),
            })?;
            dir.replace(KeyFile::TlsCert, &nth_certificate(&pem, kept))?;
        }
    }
    Ok(true)
}

/// Returns one certificate of a text with several, as it stands there.
fn nth_certificate(pem: &str, n: usize) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let block = pem.split_inclusive(END).nth(n).unwrap_or_default();
    format!("{}\n", block.trim_start())
}

fn rotate_quic(dir: &KeyDir, stage: RotationStage) -> Result<bool, KeysError> {
    // The first is used.
    let good = dir.parse_keys(KeyFile::Quic, &dir.need(KeyFile::Quic, FOR_ROTATION)?)?;
    let waiting = dir.read(KeyFile::QuicNext)?;
    let next = waiting
        .as_deref()
        .map(|text| dir.parse_key(KeyFile::QuicNext, text))
        .transpose()?;
    let progress = RotationProgress::of(next.map(|next| good.contains(&next)), good.len());
    if !needs(dir, KeyFile::Quic, progress, stage)? {
        return Ok(false);
    }
    let keep = |keys: &[[u8; 32]]| dir.replace(KeyFile::Quic, &keys.iter().map(hex_line).collect::<String>());
    match stage {
        RotationStage::Add => {
            let text = dir.read_or_create(KeyFile::QuicNext, random_hex)?;
            keep(&[good[0], dir.parse_key(KeyFile::QuicNext, &text)?])?;
        }
        RotationStage::Switch => {
            let mut used_first = good;
            used_first.sort_by_key(|key| Some(*key) != next);
            keep(&used_first)?;
            dir.remove(KeyFile::QuicNext)?;
        }
        RotationStage::Drop => keep(&good[..1])?,
    }
    Ok(true)
}

/// Puts the secret that waited in the place of the one in use.
fn use_waiting(dir: &KeyDir, waiting: KeyFile, used: KeyFile) -> Result<(), KeysError> {
    dir.replace(used, &dir.need(waiting, FOR_ROTATION)?)?;
    dir.remove(waiting)
}

fn needs(dir: &KeyDir, set: KeyFile, progress: RotationProgress, stage: RotationStage) -> Result<bool, KeysError> {
    progress.needs(stage).map_err(|why| KeysError::Stage {
        path: dir.path(set),
        why,
    })
}

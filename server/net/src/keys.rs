//! Keys on disk: ticket signing, TLS, QUIC. Missing ones are made at the first run; they are copied to other hosts by
//! hand, and replaced in stages. It distributes nothing.
//!
//! | file | what | who needs it |
//! |---|---|---|
//! | `ticket.key` | Ed25519 seed, 64 hexadecimal digits | the login service; simulated players |
//! | `ticket.pub` | public halves, 64 hexadecimal digits in a line each: tickets of any are good | every shard |
//! | `tls-cert.pem` | self-signed certificates for `localhost` and `everhold` | every shard, every client |
//! | `tls-key.pem` | the P-256 key of one of them, which is the one that shards present | every shard |
//! | `quic.key` | QUIC secrets, 64 hexadecimal digits in a line each: the first makes, all are good | every shard |
//!
//! Tokens, resume secrets, and stateless resets are made with a QUIC secret. All shards of a world share their keys: so
//! a token of one is good at another, and a client of a shard that was killed learns by a stateless reset, at its first
//! packet to the restarted one, that its connection is gone. Each shard announces the fingerprints of its keys, and one
//! that has none in common with a living shard does not start.
//!
//! # Rotation
//!
//! Two keys of each kind may be good at a time, so that a world goes on while they are replaced. Each stage ends with
//! copies for everybody who needs them, and a restart of one shard after the other; at no time may shards be more than
//! one stage apart. The column before the last says with which QUIC secret tokens and resume secrets are made, and with
//! which they are good.
//!
//! | stage | shards take tickets of | clients trust | shards present | made with, good with | made or removed |
//! |---|---|---|---|---|---|
//! | before | old | old | old | old, old | |
//! | `add` | old, new | old, new | old | old, both | `ticket-next.key`, `tls-key-next.pem`, `quic-next.key` are made |
//! | `switch` | old, new | old, new | new | new, both | the new key signs tickets; the `-next` files are the keys now |
//! | `drop` | new | new | new | new, new | what was made with the old keys is refused |
//!
//! A new QUIC secret has a cost: a player that stays away through the last two stages comes back with a ticket.
//! Stateless resets and connection ids are those of the first secret. When a shard is restarted with another first one,
//! its clients of before learn by silence that their connections are gone, a quarter of a second later.
//!
//! # Who may do what
//!
//! Secrets are for their owner alone (0600); public files may be read by anybody, so that a client of another user can
//! (0644). A secret that others can read is refused, and so is any file or directory that others can write: they could
//! put in a login key of their own.
//!
//! Several processes may start at once. A file is written under another name and then linked to its own, which fails if
//! another process was faster; the slower one reads what that wrote. What belongs together is derived in one direction
//! only (public key from seed, certificate from the key *as read back*), so that no mixture of two processes' files is
//! ever wrong.

mod error;
mod files;
mod inventory;
mod rotation;
mod tls;
mod token;
mod validity;

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};
use everhold_core::ingress::ResumeKeys;
use everhold_core::ownership::{Fingerprint, KeyFingerprints, KeyKind};
use quinn_proto::EndpointConfig;
use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::crypto::rustls::QuicServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use error::KeysError;
pub use inventory::{Finding, InventoryLine, check, inventory};
pub use rotation::{Recipient, RotationStage, export, make, rotate};
pub use tls::client_config;

use self::files::{KeyDir, KeyFile, hex_line, random_hex};
use self::token::TokenKeys;

/// The names in the certificate; a client asks for one of them whatever the address it connects to.
pub const SERVER_NAMES: [&str; 2] = ["localhost", "everhold"];

/// Returns the name of the file by which people know a kind of keys.
#[must_use]
pub const fn file_of(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Login => KeyFile::TicketPub.name(),
        KeyKind::Certificate => KeyFile::TlsCert.name(),
        KeyKind::Quic => KeyFile::Quic.name(),
    }
}

/// The keys of a world.
pub struct Keys {
    signing: Option<SigningKey>,
    verifying: Vec<VerifyingKey>,
    /// The certificates; the one that is presented is the first.
    certificates: Vec<CertificateDer<'static>>,
    tls_key: PrivateKeyDer<'static>,
    quic_secret: [u8; 32],
    quic_secrets_also_good: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("verifying", &self.verifying)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys in `dir`, and makes those that are not there. A directory with `ticket.pub` and no `ticket.key`
    /// is one of a shard that verifies tickets and cannot make them: no signing key is made then.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeysError> {
        let dir = KeyDir::open_or_create(dir)?;
        let (signing, verifying) = load_ticket_keys(&dir)?;
        // The key is always written before its certificate: one without the other was not made so.
        let tls_key_pem = match dir.read(KeyFile::TlsCert)? {
            Some(_) => dir.need(KeyFile::TlsKey, "its certificate is there")?,
            None => dir.read_or_create(KeyFile::TlsKey, tls::make_key)?,
        };
        let certificates_pem = dir.read_or_create(KeyFile::TlsCert, || tls::make_certificate(&tls_key_pem))?;
        let (certificates, tls_key) = certified(&dir, &tls_key_pem, &certificates_pem)?;
        let quic_text = dir.read_or_create(KeyFile::Quic, random_hex)?;
        let mut quic_secrets = dir.parse_keys(KeyFile::Quic, &quic_text)?;
        Ok(Self {
            signing,
            verifying,
            certificates,
            tls_key,
            quic_secret: quic_secrets.remove(0),
            quic_secrets_also_good: quic_secrets,
        })
    }

    /// Signs login tickets. `None` where only the public half is kept.
    #[must_use]
    pub const fn ticket_signing_key(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// Returns the keys that verify login tickets: a ticket of any of them is good.
    #[must_use]
    pub fn ticket_verifying_keys(&self) -> &[VerifyingKey] {
        &self.verifying
    }

    /// Returns the certificates that clients trust, for [`client_config`]; the one that this server presents is the
    /// first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Makes the TLS settings of the server's side: 1.3 only, no early data, nothing kept for resumption.
    pub fn server_crypto(&self) -> Result<Arc<QuicServerConfig>, KeysError> {
        tls::server_crypto(&self.certificates[0], &self.tls_key)
    }

    /// Makes what QUIC shares between shards and restarts: the key of stateless resets.
    #[must_use]
    pub fn endpoint_config(&self) -> EndpointConfig {
        let secret = blake3::derive_key("everhold 1 stateless reset key", &self.quic_secret);
        EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)))
    }

    /// Returns the key by which all shards recognize a connection id, so that garbage is thrown away at the price of a
    /// hash.
    #[must_use]
    pub fn connection_id_key(&self) -> u64 {
        let seed = blake3::derive_key("everhold 1 connection id key", &self.quic_secret);
        u64::from_le_bytes(std::array::from_fn(|i| seed[i]))
    }

    /// Makes the key of retry and address tokens, the same on every shard.
    #[must_use]
    pub fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        let secrets = self.derive("everhold 1 address token key");
        Arc::new(TokenKeys::new(&secrets[0], &secrets[1..]))
    }

    /// Returns the keys by which every shard tells a returning player from a stranger.
    #[must_use]
    pub fn resume_keys(&self) -> ResumeKeys {
        let mut secrets = self.derive("everhold 1 resume credential key");
        ResumeKeys::new(secrets.remove(0), secrets)
    }

    /// Derives the secrets of a world for one purpose: make with the first, and take what any of them made.
    fn derive(&self, purpose: &str) -> Vec<[u8; 32]> {
        std::iter::once(&self.quic_secret)
            .chain(&self.quic_secrets_also_good)
            .map(|secret| blake3::derive_key(purpose, secret))
            .collect()
    }

    /// Returns the fingerprints of these keys, which other shards are shown.
    #[must_use]
    pub fn fingerprints(&self) -> KeyFingerprints {
        let quic = std::iter::once(&self.quic_secret).chain(&self.quic_secrets_also_good);
        KeyFingerprints::new(
            self.verifying
                .iter()
                .map(|key| fingerprint(KeyKind::Login, key.as_bytes()))
                .collect(),
            self.certificates
                .iter()
                .map(|der| fingerprint(KeyKind::Certificate, der))
                .collect(),
            quic.map(|secret| fingerprint(KeyKind::Quic, secret)).collect(),
        )
    }
}

/// Reads the login service's key, from a directory that may have nothing else. None is made.
pub fn ticket_signing_key(dir: &Path) -> Result<SigningKey, KeysError> {
    let dir = KeyDir::open(dir)?;
    let text = dir.need(
        KeyFile::TicketKey,
        "it signs tickets; `everhold keys make` and a shard's first run make it",
    )?;
    signing_key(&dir, KeyFile::TicketKey, &text)
}

/// Returns the fingerprint of a key: 64 bits of a hash that is used for nothing else.
fn fingerprint(kind: KeyKind, key: &[u8]) -> Fingerprint {
    let purpose = match kind {
        KeyKind::Login => "everhold 1 fingerprint of a login key",
        KeyKind::Certificate => "everhold 1 fingerprint of a certificate",
        KeyKind::Quic => "everhold 1 fingerprint of a quic secret",
    };
    let hash = blake3::derive_key(purpose, key);
    Fingerprint(u64::from_be_bytes(std::array::from_fn(|i| hash[i])))
}

fn load_ticket_keys(dir: &KeyDir) -> Result<(Option<SigningKey>, Vec<VerifyingKey>), KeysError> {
    // The secret half is always written first, and looked for last: a public half without it was put there by somebody
    // who wants it so.
    let public_there = dir.read(KeyFile::TicketPub)?.is_some();
    let secret = match dir.read(KeyFile::TicketKey)? {
        None if public_there => None,
        None => Some(dir.read_or_create(KeyFile::TicketKey, random_hex)?),
        found => found,
    };
    let signing = secret
        .map(|text| signing_key(dir, KeyFile::TicketKey, &text))
        .transpose()?;
    let public_text = dir.read_or_create(KeyFile::TicketPub, || match &signing {
        Some(key) => Ok(hex_line(key.verifying_key().as_bytes())),
        None => dir.need(KeyFile::TicketPub, "it was there a moment ago"),
    })?;
    let verifying = verifying_keys(dir, &public_text)?;
    if signing
        .as_ref()
        .is_some_and(|key| !verifying.contains(&key.verifying_key()))
    {
        return Err(KeysError::Mismatch {
            path: dir.path(KeyFile::TicketPub),
        });
    }
    Ok((signing, verifying))
}

fn signing_key(dir: &KeyDir, file: KeyFile, text: &str) -> Result<SigningKey, KeysError> {
    Ok(SigningKey::from_bytes(&dir.parse_key(file, text)?))
}

fn verifying_keys(dir: &KeyDir, text: &str) -> Result<Vec<VerifyingKey>, KeysError> {
    let path = || dir.path(KeyFile::TicketPub);
    let key = |bytes: [u8; 32]| {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeysError::Malformed {
            path: path(),
            expected: "a public Ed25519 key",
        })?;
        if key.is_weak() {
            return Err(KeysError::Weak { path: path() });
        }
        Ok(key)
    };
    dir.parse_keys(KeyFile::TicketPub, text)?.into_iter().map(key).collect()
}

/// Reads the certificates, with the one of the key as the first, and the key.
fn certified(
    dir: &KeyDir,
    key_pem: &str,
    certificates_pem: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), KeysError> {
    let key = tls::parse_key(dir, KeyFile::TlsKey, key_pem)?;
    let mut certificates = tls::parse_certificates(dir, certificates_pem)?;
    let presented = tls::belonging(&certificates, &key)?.ok_or_else(|| KeysError::Mismatch {
        path: dir.path(KeyFile::TlsCert),
    })?;
    certificates.swap(0, presented);
    Ok((certificates, key))
}

#[cfg(test)]
mod tests;

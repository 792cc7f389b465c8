//! The inventory of a key directory, and its faults, for people. It changes nothing and shows no secret.

use std::path::Path;

use everhold_core::limits::CERTIFICATE_WARNING_S;
use everhold_core::ownership::KeyKind;

use super::files::{KeyDir, KeyFile};
use super::validity::not_after_unix_s;
use super::{KeysError, certified, fingerprint, signing_key, tls, verifying_keys};

/// A key of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryLine {
    /// The file's name.
    pub file: &'static str,
    /// The kind of key, in words.
    pub what: &'static str,
    /// The fingerprint that the directory of shards shows, or none for what is not in it.
    pub fingerprint: Option<String>,
}

/// Something that is wrong, or will be.
#[derive(Debug)]
pub enum Finding {
    /// A shard does not start with it.
    Fault(KeysError),
    /// It starts.
    Warning(String),
}

/// Lists the keys that are there.
pub fn inventory(dir: &Path) -> Result<Vec<InventoryLine>, KeysError> {
    let dir = KeyDir::open(dir)?;
    let mut lines = Vec::new();
    for file in KeyFile::ALL {
        let Some(text) = dir.read(file)? else { continue };
        lines.extend(
            keys_of(&dir, file, &text)?
                .into_iter()
                .map(|(what, fingerprint)| InventoryLine {
                    file: file.name(),
                    what,
                    fingerprint,
                }),
        );
    }
    Ok(lines)
}

type Shown = (&'static str, Option<String>);

fn keys_of(dir: &KeyDir, file: KeyFile, text: &str) -> Result<Vec<Shown>, KeysError> {
    let shown = |what, kind, key: &[u8]| (what, Some(fingerprint(kind, key).to_string()));
    let login = |what, file| {
        let key = signing_key(dir, file, text)?.verifying_key();
        Ok::<_, KeysError>(vec![shown(what, KeyKind::Login, key.as_bytes())])
    };
    match file {
        KeyFile::TicketKey => login("signs tickets", file),
        KeyFile::TicketKeyNext => login("will sign tickets after `switch`", file),
        KeyFile::TicketPub => {
            let keys = verifying_keys(dir, text)?;
            let line =
                |key: &ed25519_dalek::VerifyingKey| shown("its tickets are good", KeyKind::Login, key.as_bytes());
            Ok(keys.iter().map(line).collect())
        }
        KeyFile::TlsKey => Ok(vec![("key of the certificate that is presented", None)]),
        KeyFile::TlsKeyNext => Ok(vec![("key of the certificate after `switch`", None)]),
        KeyFile::TlsCert => {
            let certificates = tls::parse_certificates(dir, text)?;
            let key = dir.read(KeyFile::TlsKey)?;
            let key = key.map(|pem| tls::parse_key(dir, KeyFile::TlsKey, &pem)).transpose()?;
            let presented = key
                .map(|key| tls::belonging(&certificates, &key))
                .transpose()?
                .flatten();
            let line = |(place, der): (usize, &rustls_pki_types::CertificateDer<'_>)| {
                let what = if Some(place) == presented {
                    "trusted, presented"
                } else {
                    "trusted"
                };
                shown(what, KeyKind::Certificate, der)
            };
            Ok(certificates.iter().enumerate().map(line).collect())
        }
        KeyFile::Quic => {
            let secrets = dir.parse_keys(file, text)?;
            let line = |(place, secret): (usize, &[u8; 32])| {
                let what = if place == 0 {
                    "makes tokens"
                } else {
                    "its tokens are good"
                };
                shown(what, KeyKind::Quic, secret)
            };
            Ok(secrets.iter().enumerate().map(line).collect())
        }
        KeyFile::QuicNext => {
            let secret = dir.parse_key(file, text)?;
            Ok(vec![shown("will make tokens after `switch`", KeyKind::Quic, &secret)])
        }
    }
}

/// Looks for everything that keeps a shard from starting with these keys, or soon will keep clients away. `now_unix_s`:
/// seconds since the Unix epoch.
#[must_use]
pub fn check(dir: &Path, now_unix_s: u64) -> Vec<Finding> {
    let dir = match KeyDir::open(dir) {
        Ok(dir) => dir,
        Err(error) => return vec![Finding::Fault(error)],
    };
    let mut findings = Vec::new();
    for file in KeyFile::ALL {
        let read = dir
            .read(file)
            .and_then(|text| text.map_or(Ok(Vec::new()), |text| keys_of(&dir, file, &text)));
        if let Err(error) = read {
            findings.push(Finding::Fault(error));
        }
    }
    // What belongs together is looked at only if each part can be read.
    if findings.is_empty() {
        let together = [ticket_keys(&dir), certificates(&dir, now_unix_s), quic_secret(&dir)];
        for outcome in together {
            match outcome {
                Ok(warnings) => findings.extend(warnings.into_iter().map(Finding::Warning)),
                Err(error) => findings.push(Finding::Fault(error)),
            }
        }
    }
    findings
}

/// The need for each file, as errors say it.
const FOR_SHARDS: &str = "a shard needs it";

fn ticket_keys(dir: &KeyDir) -> Result<Vec<String>, KeysError> {
    let good = verifying_keys(dir, &dir.need(KeyFile::TicketPub, FOR_SHARDS)?)?;
    let mut warnings = Vec::new();
    if let Some(text) = dir.read(KeyFile::TicketKey)?
        && !good.contains(&signing_key(dir, KeyFile::TicketKey, &text)?.verifying_key())
    {
        return Err(KeysError::Mismatch {
            path: dir.path(KeyFile::TicketPub),
        });
    }
    if let Some(text) = dir.read(KeyFile::TicketKeyNext)?
        && !good.contains(&signing_key(dir, KeyFile::TicketKeyNext, &text)?.verifying_key())
    {
        warnings.push("`keys rotate add` was cut off: run it again".to_owned());
    }
    Ok(warnings)
}

fn certificates(dir: &KeyDir, now_unix_s: u64) -> Result<Vec<String>, KeysError> {
    let key = dir.need(KeyFile::TlsKey, FOR_SHARDS)?;
    let (certificates, _) = certified(dir, &key, &dir.need(KeyFile::TlsCert, FOR_SHARDS)?)?;
    let presented = &certificates[0];
    let path = dir.path(KeyFile::TlsCert);
    let left_s = not_after_unix_s(presented).map(|end| end.saturating_sub(now_unix_s));
    Ok(match left_s {
        None => vec![format!("{}: the certificate's end cannot be read", path.display())],
        Some(0) => vec![format!(
            "{}: the certificate that is presented has expired",
            path.display()
        )],
        Some(left_s) if left_s < CERTIFICATE_WARNING_S => {
            let days = left_s / 86_400;
            vec![format!(
                "{}: the certificate that is presented expires in {days} days",
                path.display()
            )]
        }
        Some(_) => Vec::new(),
    })
}

fn quic_secret(dir: &KeyDir) -> Result<Vec<String>, KeysError> {
    dir.need(KeyFile::Quic, FOR_SHARDS).map(|_| Vec::new())
}

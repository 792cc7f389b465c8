//! The login service of a development world: reads its keys and signs tickets. It makes no keys; a server does at its
//! first run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use everhold_protocol::limits::TICKET_LIFETIME_S_MAX;
use everhold_protocol::ticket::{self, TicketClaims};
use everhold_protocol::{Account, ZoneName};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The file with the ticket key: an Ed25519 seed as 64 hexadecimal digits.
pub const TICKET_KEY_FILE: &str = "ticket.key";
/// The file with the certificates that shards may present: one, or two while they are replaced.
pub const CERTIFICATE_FILE: &str = "tls-cert.pem";

/// Error of reading the keys or making tickets.
#[derive(Debug, thiserror::Error)]
pub enum PlayerKeysError {
    /// The file cannot be read.
    #[error("cannot read {}; a shard makes it at its first run", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what its name says.
    #[error("{} is not {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
    },
    /// The system's random source failed.
    #[error("no random bytes")]
    Random(#[from] getrandom::Error),
}

/// The keys that players need to log in.
pub struct PlayerKeys {
    signing: SigningKey,
    certificates: Vec<CertificateDer<'static>>,
}

impl PlayerKeys {
    /// Reads [`TICKET_KEY_FILE`] and [`CERTIFICATE_FILE`] in `dir`.
    pub fn load(dir: &Path) -> Result<Self, PlayerKeysError> {
        let key_path = dir.join(TICKET_KEY_FILE);
        let certificate_path = dir.join(CERTIFICATE_FILE);
        let seed = parse_seed(&read(&key_path)?).ok_or(PlayerKeysError::Malformed {
            path: key_path,
            expected: "64 hexadecimal digits",
        })?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&certificate_path)?).collect();
        let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
        let certificates = certificates.ok_or(PlayerKeysError::Malformed {
            path: certificate_path,
            expected: "certificates in PEM",
        })?;
        Ok(Self {
            signing: SigningKey::from_bytes(&seed),
            certificates,
        })
    }

    /// The certificates that shards may present.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// A ticket for one login, good from now for as long as a ticket may be.
    pub fn ticket(&self, account: Account, zone: ZoneName) -> Result<Vec<u8>, PlayerKeysError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        // A clock before 1970 makes tickets that are long expired, and a shard says so.
        let now_unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let expires_unix_s = now_unix_s + TICKET_LIFETIME_S_MAX;
        Ok(ticket::sign(
            &self.signing,
            &TicketClaims {
                id,
                account,
                zone,
                expires_unix_s,
            },
        ))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PlayerKeysError> {
    fs::read(path).map_err(|source| PlayerKeysError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parse_seed(text: &[u8]) -> Option<[u8; 32]> {
    let digits = std::str::from_utf8(text).ok()?.trim();
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut seed = [0; 32];
    for (byte, at) in seed.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ed25519_dalek::SigningKey;
    use everhold_protocol::{Account, ticket};

    use super::{CERTIFICATE_FILE, PlayerKeys, PlayerKeysError, TICKET_KEY_FILE};

    fn directory(key: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["everhold".to_owned()]).unwrap();
        fs::write(dir.path().join(CERTIFICATE_FILE), made.cert.pem()).unwrap();
        fs::write(dir.path().join(TICKET_KEY_FILE), key).unwrap();
        dir
    }

    #[test]
    fn ticket_is_good_for_the_holder_of_the_public_half() {
        let dir = directory(&format!("{}\n", "0a".repeat(32)));
        let bytes = PlayerKeys::load(dir.path())
            .unwrap()
            .ticket(Account(7), "meadow".parse().unwrap())
            .unwrap();
        let public = SigningKey::from_bytes(&[0x0a; 32]).verifying_key();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = ticket::verify(&public, &bytes, now).unwrap();
        assert_eq!((claims.account, claims.zone.as_str()), (Account(7), "meadow"));
    }

    #[test]
    fn every_certificate_of_the_file_is_trusted() {
        let dir = directory(&"0a".repeat(32));
        let path = dir.path().join(CERTIFICATE_FILE);
        let other = rcgen::generate_simple_self_signed(["everhold".to_owned()]).unwrap();
        let both = fs::read_to_string(&path).unwrap() + &other.cert.pem();
        fs::write(&path, both).unwrap();
        let keys = PlayerKeys::load(dir.path()).unwrap();
        assert_eq!(keys.certificates().len(), 2);
        assert_eq!(&keys.certificates()[1], other.cert.der());
        fs::write(&path, "").unwrap();
        assert!(matches!(
            PlayerKeys::load(dir.path()),
            Err(PlayerKeysError::Malformed { .. })
        ));
    }

    #[test]
    fn two_tickets_of_one_account_differ() {
        let dir = directory(&"0a".repeat(32));
        let keys = PlayerKeys::load(dir.path()).unwrap();
        let ticket = || keys.ticket(Account(7), "meadow".parse().unwrap()).unwrap();
        assert_ne!(ticket(), ticket());
    }

    #[test]
    fn key_file_with_other_content_is_named() {
        for wrong in ["", "0a0a", &"zz".repeat(32), &"é".repeat(32)] {
            let dir = directory(wrong);
            let error = PlayerKeys::load(dir.path()).err().unwrap();
            assert!(
                matches!(&error, PlayerKeysError::Malformed { path, .. } if path.ends_with(TICKET_KEY_FILE)),
                "{error}"
            );
        }
    }

    #[test]
    fn directory_without_keys_is_an_error_that_says_who_makes_them() {
        let dir = tempfile::tempdir().unwrap();
        let error = PlayerKeys::load(dir.path()).err().unwrap();
        assert!(error.to_string().contains("a shard makes it"), "{error}");
    }
}

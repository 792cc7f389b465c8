//! Keys on disk: ticket signing, TLS, QUIC. It makes development keys at the first run; it does not rotate or distribute them.
//!
//! | file | what | who needs it |
//! |---|---|---|
//! | `ticket.key` | Ed25519 seed, 64 hexadecimal digits | the login service; simulated players |
//! | `ticket.pub` | the public half, 64 hexadecimal digits | every shard |
//! | `tls-cert.pem` | self-signed certificate for `localhost` and `everhold` | every shard, every client |
//! | `tls-key.pem` | its P-256 key | every shard |
//! | `quic.key` | secret behind retry tokens, stateless resets and resume secrets, 64 hexadecimal digits | every shard |
//!
//! All shards of a world share one directory: so a retry token of one is good at another, and a client of a shard that was killed
//! learns by a stateless reset, at its first packet to the restarted one, that its connection is gone.
//!
//! Several processes may start at once. A file is written under another name and then linked to its own, which fails if somebody was
//! faster; whoever lost reads what won. What belongs together is derived in one direction only (public key from seed, certificate from
//! the key *as read back*), so that no mixture of two processes' files is ever wrong.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};
use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, EndpointConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ingress::ResumeKeys;

/// The names in the certificate; a client asks for one of them whatever the address it connects to.
pub const SERVER_NAMES: [&str; 2] = ["localhost", "everhold"];

/// The longest key file, bytes: a PEM of P-256 has a few hundred.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file or directory cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret that others on this host can read is none.
    #[error("{} can be read by others (mode {mode:o}): run chmod 600 on it, or make new keys", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what its name says.
    #[error("{} is not {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// The public half is not that of the secret beside it.
    #[error("{} does not belong to the secret key beside it", path.display())]
    Mismatch {
        /// The file with the public half.
        path: PathBuf,
    },
    /// The system's random source failed.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Certificate and key do not work.
    #[error("certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The cipher suite that QUIC starts with is missing.
    #[error("no initial cipher suite: {0}")]
    Cipher(#[from] NoInitialCipherSuite),
}

/// The keys of a world.
pub struct Keys {
    signing: Option<SigningKey>,
    verifying: VerifyingKey,
    certificate: CertificateDer<'static>,
    tls_key: PrivateKeyDer<'static>,
    quic_secret: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("verifying", &self.verifying)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Whether `dir` has a half of the ticket key. Where it has none, [`Keys::load_or_create`] makes a new one.
    #[must_use]
    pub fn are_in(dir: &Path) -> bool {
        let (secret, public) = ticket_key_paths(dir);
        secret.is_file() || public.is_file()
    }

    /// Reads the keys in `dir`, and makes those that are not there. A directory with `ticket.pub` and no `ticket.key` is one of a shard
    /// that verifies tickets and cannot make them: no signing key is made then.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeysError> {
        create_dir(dir)?;
        let (signing, verifying) = load_ticket_keys(dir)?;
        let tls_key_path = dir.join("tls-key.pem");
        let tls_key_pem = read_or_create(&tls_key_path, Secrecy::Secret, || {
            Ok(rcgen::KeyPair::generate()?.serialize_pem())
        })?;
        let certificate_path = dir.join("tls-cert.pem");
        let certificate_pem = read_or_create(&certificate_path, Secrecy::Public, || make_certificate(&tls_key_pem))?;
        let tls_key = PrivateKeyDer::from_pem_slice(tls_key_pem.as_bytes()).map_err(|_| KeysError::Malformed {
            path: tls_key_path,
            expected: "a private key in PEM",
        })?;
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| KeysError::Malformed {
                path: certificate_path,
                expected: "a certificate in PEM",
            })?;
        let quic_path = dir.join("quic.key");
        let quic_secret = parse_hex(&quic_path, &read_or_create(&quic_path, Secrecy::Secret, random_hex)?)?;
        Ok(Self {
            signing,
            verifying,
            certificate,
            tls_key,
            quic_secret,
        })
    }

    /// Signs login tickets. `None` where only the public half is kept.
    #[must_use]
    pub const fn ticket_signing_key(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// Verifies login tickets.
    #[must_use]
    pub const fn ticket_verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The server's certificate, for [`client_config`].
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// TLS for the server's side: 1.3 only, no early data, nothing kept for resumption.
    ///
    /// Early data is off because it can be replayed, and a login must not be. Session tickets would save a tenth of a handshake's
    /// CPU and cost a secret to rotate.
    pub fn server_crypto(&self) -> Result<Arc<QuicServerConfig>, KeysError> {
        let mut tls = rustls::ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.tls_key.clone_key())?;
        tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
        tls.max_early_data_size = 0;
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Arc::new(QuicServerConfig::try_from(tls)?))
    }

    /// What QUIC shares between shards and restarts: the key of stateless resets.
    #[must_use]
    pub fn endpoint_config(&self) -> EndpointConfig {
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.derive("everhold 1 stateless reset key"));
        EndpointConfig::new(Arc::new(reset_key))
    }

    /// The key by which all of them recognize a connection id, so that garbage is thrown away at the price of a hash.
    #[must_use]
    pub fn connection_id_key(&self) -> u64 {
        let seed = self.derive("everhold 1 connection id key");
        u64::from_le_bytes(std::array::from_fn(|i| seed[i]))
    }

    /// The key of retry and address tokens, the same on every shard.
    #[must_use]
    pub fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        let secret = self.derive("everhold 1 address token key");
        Arc::new(ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(&secret))
    }

    /// By what every shard knows a returning player from a stranger.
    #[must_use]
    pub fn resume_keys(&self) -> ResumeKeys {
        ResumeKeys::new(self.derive("everhold 1 resume credential key"), Vec::new())
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.quic_secret)
    }
}

/// A client's side that trusts exactly this certificate. Connect with one of [`SERVER_NAMES`].
///
/// It keeps its connections alive: a parked client may have nothing to say for longer than the server's idle time-out.
pub fn client_config(certificate: &CertificateDer<'_>) -> Result<ClientConfig, KeysError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned())?;
    let mut tls = rustls::ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(None)
        .keep_alive_interval(Some(std::time::Duration::from_secs(3)));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// AES-128-GCM first, because every machine of interest has it in hardware; X25519 only, because it is the cheapest exchange.
fn crypto_provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider {
        cipher_suites,
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    })
}

/// The files of the secret half and of the public one.
fn ticket_key_paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("ticket.key"), dir.join("ticket.pub"))
}

fn load_ticket_keys(dir: &Path) -> Result<(Option<SigningKey>, VerifyingKey), KeysError> {
    let (secret_path, public_path) = ticket_key_paths(dir);
    // The secret half is always written first, and looked for last: a public half without it was put there by somebody who wants it so.
    let public_there = read(&public_path, Secrecy::Public)?.is_some();
    let secret = match read(&secret_path, Secrecy::Secret)? {
        None if public_there => None,
        None => Some(read_or_create(&secret_path, Secrecy::Secret, random_hex)?),
        found => found,
    };
    let signing = secret
        .map(|text| parse_hex(&secret_path, &text))
        .transpose()?
        .map(|seed| SigningKey::from_bytes(&seed));
    let derived = signing.as_ref().map(SigningKey::verifying_key);
    let public_text = read_or_create(&public_path, Secrecy::Public, || match derived {
        Some(key) => Ok(hex_line(key.as_bytes())),
        None => Err(io_error("read", &public_path, io::ErrorKind::NotFound.into())),
    })?;
    let verifying =
        VerifyingKey::from_bytes(&parse_hex(&public_path, &public_text)?).map_err(|_| KeysError::Malformed {
            path: public_path.clone(),
            expected: "an Ed25519 public key",
        })?;
    match derived {
        Some(key) if key != verifying => Err(KeysError::Mismatch { path: public_path }),
        _ => Ok((signing, verifying)),
    }
}

fn make_certificate(tls_key_pem: &str) -> Result<String, KeysError> {
    let key = rcgen::KeyPair::from_pem(tls_key_pem)?;
    let mut params = rcgen::CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "everhold development");
    Ok(params.self_signed(&key)?.pem())
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Secret,
    Public,
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> KeysError {
    KeysError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

fn create_dir(dir: &Path) -> Result<(), KeysError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| io_error("create", dir, e))
}

/// The file's text, or `None` if there is no such file.
fn read(path: &Path, secrecy: Secrecy) -> Result<Option<String>, KeysError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("open", path, e)),
    };
    let mode = file.metadata().map_err(|e| io_error("read", path, e))?.mode() & 0o777;
    if secrecy == Secrecy::Secret && mode & 0o077 != 0 {
        return Err(KeysError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| io_error("read", path, e))?;
    Ok(Some(text))
}

/// The file's text; if there is no such file, it is made, whole or not at all, unless another process is faster.
fn read_or_create(
    path: &Path,
    secrecy: Secrecy,
    make: impl FnOnce() -> Result<String, KeysError>,
) -> Result<String, KeysError> {
    if let Some(text) = read(path, secrecy)? {
        return Ok(text);
    }
    let text = make()?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|e| io_error("create a file in", dir, e))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|e| io_error("write", path, e))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(text),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => {
            read(path, secrecy)?.ok_or_else(|| io_error("read", path, io::ErrorKind::NotFound.into()))
        }
        Err(lost) => Err(io_error("create", path, lost.error)),
    }
}

fn random_hex() -> Result<String, KeysError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(KeysError::Random)?;
    Ok(hex_line(&bytes))
}

fn hex_line(bytes: &[u8; 32]) -> String {
    let mut line: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    line.push('\n');
    line
}

fn parse_hex(path: &Path, text: &str) -> Result<[u8; 32], KeysError> {
    let malformed = || KeysError::Malformed {
        path: path.to_owned(),
        expected: "64 hexadecimal digits",
    };
    let digits = text.trim_ascii_end().as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

//! Certificates, and TLS for both sides. It reads no file.

use std::sync::Arc;

use everhold_core::limits::KEYS_GOOD_MAX;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{KeyDir, KeyFile};
use super::{KeysError, SERVER_NAMES};

/// Makes a P-256 key, in PEM.
pub(super) fn make_key() -> Result<String, KeysError> {
    Ok(rcgen::KeyPair::generate()?.serialize_pem())
}

/// Makes a self-signed certificate for the key, in PEM.
pub(super) fn make_certificate(key_pem: &str) -> Result<String, KeysError> {
    let key = rcgen::KeyPair::from_pem(key_pem)?;
    let mut params = rcgen::CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "everhold development");
    Ok(params.self_signed(&key)?.pem())
}

/// Reads the key of a file in PEM.
pub(super) fn parse_key(dir: &KeyDir, file: KeyFile, pem: &str) -> Result<PrivateKeyDer<'static>, KeysError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeysError::Malformed {
        path: dir.path(file),
        expected: "a private key in PEM",
    })
}

/// Reads the certificates of a file in PEM, in its order.
pub(super) fn parse_certificates(dir: &KeyDir, pem: &str) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates
        .ok()
        .filter(|certificates| (1..=KEYS_GOOD_MAX).contains(&certificates.len()))
        .ok_or_else(|| KeysError::Malformed {
            path: dir.path(KeyFile::TlsCert),
            expected: "one or two certificates in PEM",
        })
}

/// Returns the index of the certificate that belongs to the key.
pub(super) fn belonging(
    certificates: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'_>,
) -> Result<Option<usize>, KeysError> {
    let key = crypto_provider().key_provider.load_private_key(key.clone_key())?;
    let belongs = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key))
            .keys_match()
            .is_ok()
    };
    Ok(certificates.iter().position(belongs))
}

/// Makes the TLS settings of the server's side: 1.3 only, no early data, nothing kept for resumption.
///
/// Early data is off because it can be replayed, and a login must not be. Session tickets would save a tenth of a
/// handshake's CPU and cost a secret to rotate.
pub(super) fn server_crypto(
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<QuicServerConfig>, KeysError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.clone_key())?;
    tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(QuicServerConfig::try_from(tls)?))
}

/// Makes the settings of a client that trusts exactly these certificates. Connect with one of [`SERVER_NAMES`].
///
/// It keeps its connections alive: a parked client may have nothing to say for longer than the server's idle time-out.
pub fn client_config(certificates: &[CertificateDer<'_>]) -> Result<ClientConfig, KeysError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone().into_owned())?;
    }
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

/// Returns the cipher suites and the key exchange: AES-128-GCM first, because every machine of interest has it in
/// hardware; X25519 only, because it is the cheapest exchange.
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

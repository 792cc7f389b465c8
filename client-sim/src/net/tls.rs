//! The players' trust: a few certificates, byte for byte. It knows no authorities, names, or dates.
//!
//! The shards of one world share a self-signed certificate, or two while it is replaced. An exact match is stronger
//! than a chain, and needs nothing installed.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, IdleTimeout, TokenMemoryCache, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::NetError;

/// A silent path is given up after this many milliseconds. The client machine decides much sooner; this only frees what
/// it left.
const IDLE_MS_MAX: u32 = 30_000;
/// A player that is parked at a shard may have nothing to say for longer than the server's idle time-out.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// QUIC's least path MTU, bytes: no datagram of the protocol needs more, and probing for more costs a third of a
/// handshake.
const MTU_BYTES: u16 = 1_200;
/// Received datagrams that wait within one connection, bytes. They are taken out as they come.
const DATAGRAM_RECEIVE_BYTES_MAX: usize = 64 * 1024;
/// Datagrams that wait to be sent within one connection, bytes: a few frames; older ones are superseded anyway.
const DATAGRAM_SEND_BYTES_MAX: usize = 8 * 1024;

/// Address tokens that all players together keep, of which a server gives each connection two; about 100 bytes each. A
/// client that was here before shows one and is spared the Retry of a crowded server. The players have one address, so
/// any of them may show any token.
const TOKENS_MAX: usize = 16_384;

/// Accepts exactly these certificates.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.contains(end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The QUIC settings of every simulated player.
pub(super) fn client_config(certificates: Vec<CertificateDer<'static>>) -> Result<ClientConfig, NetError> {
    // Every machine of interest has AES-128 in hardware; X25519 is the cheapest exchange.
    let provider = CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        ..ring::default_provider()
    };
    let pinned = Pinned {
        certificates,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
    // A thousand players share this one configuration: a resumed session would be somebody else's.
    tls.resumption = Resumption::disabled();
    let quic = QuicClientConfig::try_from(tls).map_err(|_| NetError::CipherSuite)?;
    let mut config = ClientConfig::new(Arc::new(quic));
    config
        .transport_config(Arc::new(transport()))
        .token_store(Arc::new(TokenMemoryCache::new(1, TOKENS_MAX)));
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(MTU_BYTES)
        .mtu_discovery_config(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS_MAX))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES_MAX)
        .enable_segmentation_offload(false)
        // The path is a loopback or a LAN; a third of a second for the first retransmission would dominate a lost
        // handshake.
        .initial_rtt(Duration::from_millis(100));
    transport
}

//! A small QUIC server on the reference implementation: it echoes, and closes when told so.

use std::net::SocketAddr;
use std::sync::Arc;

use everhold_protocol::limits::HELLO_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::{ClientMessage, RefusalCode, ServerMessage};
use quinn::crypto::rustls::QuicServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

/// The detail of the refusal with which the server answers a hello.
pub(crate) const HELLO_ANSWER: &str = "a hello came";

/// A self-signed certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["everhold".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            pem: made.cert.pem(),
            key,
        }
    }

    /// An endpoint on a free loopback port.
    pub(crate) fn bind(&self, runtime: &Runtime) -> quinn::Endpoint {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
        let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let _inside = runtime.enter();
        quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    _runtime: Runtime,
}

impl Server {
    /// Starts it on a free loopback port with a certificate of its own.
    pub(crate) fn start() -> Self {
        let identity = Identity::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let endpoint = identity.bind(&runtime);
        let addr = endpoint.local_addr().unwrap();
        runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        tokio::spawn(echo_datagrams(connection.clone()));
                        answer_control(connection).await;
                    }
                });
            }
        });
        Self {
            addr,
            certificate: identity.certificate,
            _runtime: runtime,
        }
    }
}

async fn echo_datagrams(connection: quinn::Connection) {
    while let Ok(datagram) = connection.read_datagram().await {
        connection.send_datagram(datagram).unwrap();
    }
}

/// A hello is answered, a log-out closes the connection with [`RefusalCode::Stopping`].
async fn answer_control(connection: quinn::Connection) {
    let Ok((mut send, mut receive)) = connection.accept_bi().await else {
        return;
    };
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        decoder.push(&chunk.bytes);
        while let Some(message) = decoder.next::<ClientMessage>().unwrap() {
            match message {
                ClientMessage::Hello { .. } => {
                    let answer = ServerMessage::Refused {
                        code: RefusalCode::Full,
                        detail: HELLO_ANSWER.to_owned(),
                    };
                    send.write_all(&encode_frame(&answer).unwrap()).await.unwrap();
                }
                ClientMessage::Logout => connection.close((RefusalCode::Stopping as u32).into(), b"as you wish"),
            }
        }
    }
}

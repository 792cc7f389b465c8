//! A small QUIC server on the reference implementation: it echoes, and closes when told so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everhold_protocol::limits::HELLO_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::{ClientMessage, RefusalCode, ServerMessage};
use quinn::crypto::rustls::QuicServerConfig;
use quinn_proto::HashedConnectionIdGenerator;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

/// The detail of the refusal with which the server answers a hello.
pub(crate) const HELLO_ANSWER: &str = "a hello came";

/// A connection over which nothing goes for so long is given up by both sides, unless a test wants it sooner.
const IDLE: Duration = Duration::from_secs(60);

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
        self.bind_to("127.0.0.1:0".parse().unwrap(), IDLE, runtime)
    }

    /// All endpoints have the same keys, so that a later one resets the connections of an earlier one.
    fn bind_to(&self, addr: SocketAddr, idle: Duration, runtime: &Runtime) -> quinn::Endpoint {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        tls.alpn_protocols = vec![everhold_protocol::ALPN.to_vec()];
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(Some(idle.try_into().unwrap()));
        config.transport_config(Arc::new(transport));
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        let mut endpoint = quinn::EndpointConfig::new(Arc::new(reset_key));
        endpoint.cid_generator(|| Box::new(HashedConnectionIdGenerator::from_key(7)));
        let socket = std::net::UdpSocket::bind(addr).unwrap();
        let _inside = runtime.enter();
        quinn::Endpoint::new(endpoint, Some(config), socket, Arc::new(quinn::TokioRuntime)).unwrap()
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    identity: Identity,
    idle: Duration,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts it on a free loopback port with a certificate of its own.
    pub(crate) fn start() -> Self {
        Self::start_with_idle(IDLE)
    }

    /// The same, with its own idle time-out.
    pub(crate) fn start_with_idle(idle: Duration) -> Self {
        let mut server = Self {
            addr: "127.0.0.1:0".parse().unwrap(),
            certificate: CertificateDer::from(Vec::new()),
            identity: Identity::new(),
            idle,
            runtime: None,
        };
        server.certificate = server.identity.certificate.clone();
        server.start_again();
        server
    }

    /// Falls silent for ever, as a process does that is killed: its connections hear of nothing.
    pub(crate) fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(20));
        }
    }

    /// Serves at its address, and knows nothing of earlier connections.
    pub(crate) fn start_again(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let endpoint = self.identity.bind_to(self.addr, self.idle, &runtime);
        self.addr = endpoint.local_addr().unwrap();
        runtime.spawn(serve(endpoint));
        self.runtime = Some(runtime);
    }
}

async fn serve(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                tokio::spawn(echo_datagrams(connection.clone()));
                answer_control(connection).await;
            }
        });
    }
}

async fn echo_datagrams(connection: quinn::Connection) {
    while let Ok(datagram) = connection.read_datagram().await {
        if connection.send_datagram(datagram).is_err() {
            return;
        }
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

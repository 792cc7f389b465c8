//! A connection of one visitor to a shard, for tests of what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everhold_net::keys::{self, Keys};
use everhold_protocol::limits::{CONTROL_BYTES_MAX, SECRET_BYTES};
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::{
    ClientMessage, Credential, Epoch, PROTOCOL_VERSION, RefusalCode, ServerMessage, SessionId, ZoneName,
};
use everhold_testing::player::ticket;

use crate::world::{PATIENCE, World, meadow};

/// As `PROTOCOL.md` says of those who wait.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// A connection that says hello once, and reads what it is told.
pub(crate) struct Visitor {
    _endpoint: quinn::Endpoint,
    quic: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    decoder: FrameDecoder,
}

impl Visitor {
    pub(crate) async fn knock(keys: &Keys, addr: SocketAddr, credential: Credential) -> Self {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a UDP port");
        let mut config = keys::client_config(keys.certificates()).expect("a certificate");
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        let connecting = endpoint.connect(addr, keys::SERVER_NAMES[0]).expect("an address");
        let quic = connecting.await.expect("the handshake succeeds");
        let (mut send, recv) = quic.open_bi().await.expect("a stream");
        let protocol = PROTOCOL_VERSION;
        let hello = ClientMessage::Hello { protocol, credential };
        let hello = encode_frame(&hello).expect("it fits");
        send.write_all(&hello).await.expect("the stream is open");
        Self {
            _endpoint: endpoint,
            quic,
            send,
            recv,
            decoder: FrameDecoder::new(CONTROL_BYTES_MAX),
        }
    }

    pub(crate) async fn log_in(world: &World, account: u64) -> Self {
        let ticket = ticket(&world.keys, account, &meadow());
        Self::knock(&world.keys, owner(world), Credential::Ticket(ticket)).await
    }

    pub(crate) async fn say(&mut self, message: &ClientMessage) {
        let frame = encode_frame(message).expect("it fits");
        self.send.write_all(&frame).await.expect("the stream is open");
    }

    /// The code with which the server closes the connection.
    pub(crate) async fn close_code(&self) -> RefusalCode {
        let closed = tokio::time::timeout(PATIENCE, self.quic.closed()).await;
        match closed.expect("it is closed") {
            quinn::ConnectionError::ApplicationClosed(close) => u32::try_from(close.error_code.into_inner())
                .ok()
                .and_then(RefusalCode::from_code)
                .expect("a code of this protocol"),
            other => panic!("closed without a code: {other}"),
        }
    }

    /// The next message that is no event and no list of peers.
    pub(crate) async fn hear(&mut self) -> ServerMessage {
        let hearing = async {
            loop {
                match self
                    .decoder
                    .next::<ServerMessage>()
                    .expect("a message of this protocol")
                {
                    Some(ServerMessage::Event(_) | ServerMessage::Peers(_)) => {}
                    Some(message) => return message,
                    None => {
                        let chunk = self.recv.read_chunk(CONTROL_BYTES_MAX, true).await;
                        let chunk = chunk.expect("the stream is open").expect("a message");
                        self.decoder.push(&chunk.bytes);
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.expect("an answer")
    }

    pub(crate) async fn hear_attached(&mut self) -> (SessionId, [u8; SECRET_BYTES], Epoch) {
        match self.hear().await {
            ServerMessage::Attached(attached) => (attached.session, attached.secret, attached.epoch),
            other => panic!("not attached: {other:?}"),
        }
    }

    pub(crate) async fn hear_refusal(&mut self) -> RefusalCode {
        match self.hear().await {
            ServerMessage::Refused { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// The shard that was started first of those that live.
pub(crate) fn owner(world: &World) -> SocketAddr {
    let living = world.cluster.all.iter().find(|p| p.killed.is_none());
    living.expect("a living shard").addr
}

pub(crate) fn queued(position: u32) -> ServerMessage {
    ServerMessage::Queued { position }
}

/// Makes the credential by which a player takes a session up again.
pub(crate) fn resume(zone: &ZoneName, session: SessionId, secret: [u8; SECRET_BYTES], epoch: Epoch) -> Credential {
    Credential::Resume {
        zone: zone.clone(),
        session,
        secret,
        epoch,
        event_seq: 0,
    }
}

//! The task that reads a connection: the handshake and `Hello` under one deadline, then datagrams and control messages
//! until it is over.

use std::sync::Arc;

use bytes::Bytes;
use everhold_core::ingress::{Login, Refusal};
use everhold_protocol::RefusalCode;
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use quinn::{Connecting, Connection, ReadError, RecvStream, SendStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::line::Line;
use super::writer::write_control;
use crate::transport::ConnEvent;
use crate::transport::conn::{Carrier, Conn, pass_on};
use crate::transport::intake::{ControlMessage, Intake, PeerPolicy};
use crate::transport::shared::{AddressPlace, Slots, TransportShared, refuse_datagrams};

/// Serves one connection from its handshake to its end. With `turn_away` set it only refuses it.
pub(super) async fn serve(
    connecting: Connecting,
    shared: Arc<TransportShared>,
    mut slots: Slots,
    turn_away: Option<RefusalCode>,
) {
    let deadline = Instant::now() + shared.config.login_deadline;
    let Some(quic) = shake_hands(connecting, &shared, deadline).await else {
        return;
    };
    // The handshake has proven the address. The place is kept to the connection's end, wherever its peer may move.
    let Some(_place) = AddressPlace::take(&shared, quic.remote_address().ip()) else {
        shared.counters.connections_over_address.bump();
        let code = RefusalCode::Full;
        quic.close(code.code().into(), b"too many connections from this address");
        return;
    };
    let line = Arc::new(Line {
        quic: quic.clone(),
        waker: Notify::new(),
    });
    let carrier = Carrier::Reference(Arc::clone(&line));
    let conn = Conn::new(carrier, quic.remote_address(), Arc::clone(&shared.counters));
    let turn_away = turn_away
        .map(|code| Refusal::new(code, code.to_string()))
        .or_else(|| refuse_datagrams(quic.max_datagram_size()));
    let Some((send, recv)) = open_control(&quic, deadline, &conn, turn_away.clone()).await else {
        return;
    };
    tokio::spawn(write_control(conn.clone(), line, send));
    let mut reader = Reader {
        stream: recv,
        intake: Intake::new(),
        is_ended: false,
    };
    let greeting = match turn_away {
        Some(refusal) => Err(refusal),
        None => timeout_at(deadline, reader.greet(&shared)).await.unwrap_or_else(|_| {
            let detail = "no Hello within the login deadline";
            Err(Refusal::new(RefusalCode::LoginTimeout, detail))
        }),
    };
    match greeting {
        Ok(login) => {
            shared.counters.hellos.bump();
            if slots.prove(&shared) {
                serve_player(&conn, &quic, reader, &shared, login).await;
            } else {
                conn.close(RefusalCode::Full, &RefusalCode::Full.to_string());
                quic.closed().await;
            }
        }
        Err(refusal) => {
            conn.close(refusal.code, &refusal.detail);
            // It counts as half-open, and as a connection, until it is gone.
            quic.closed().await;
        }
    }
}

async fn shake_hands(connecting: Connecting, shared: &TransportShared, deadline: Instant) -> Option<Connection> {
    match timeout_at(deadline, connecting).await {
        Ok(Ok(quic)) => Some(quic),
        Ok(Err(e)) => {
            shared.counters.handshakes_failed.bump();
            tracing::debug!(error = %e, "a handshake failed");
            None
        }
        // Dropped with the future, which closes it.
        Err(_) => {
            shared.counters.handshakes_late.bump();
            None
        }
    }
}

/// Waits until the client opens the control stream.
async fn open_control(
    quic: &Connection,
    deadline: Instant,
    conn: &Conn,
    turn_away: Option<Refusal>,
) -> Option<(SendStream, RecvStream)> {
    match timeout_at(deadline, quic.accept_bi()).await {
        Ok(Ok(streams)) => return Some(streams),
        Ok(Err(e)) => {
            tracing::debug!(error = %e, "a connection ended before its control stream was opened");
            return None;
        }
        Err(_) => {}
    }
    let detail = "no control stream within the login deadline";
    let late = Refusal::new(RefusalCode::LoginTimeout, detail);
    let refusal = turn_away.unwrap_or(late);
    conn.abort(refusal.code, &refusal.detail);
    // There is no writer yet that would do it.
    quic.close(refusal.code.code().into(), refusal.detail.as_bytes());
    None
}

/// Reports the connection to the shard, passes on its input, and reports its end.
async fn serve_player(conn: &Conn, quic: &Connection, mut reader: Reader, shared: &TransportShared, login: Login) {
    let hello = ConnEvent::Hello {
        conn: conn.clone(),
        login,
    };
    // A shard that no longer listens is stopping, and closes its transport itself.
    if shared.events.send(hello).await.is_err() {
        conn.close(RefusalCode::Stopping, "");
        quic.closed().await;
        return;
    }
    if let Err(refusal) = reader.run(conn, quic, shared).await {
        conn.close(refusal.code, &refusal.detail);
    }
    quic.closed().await;
    conn.set_ended();
    let token = conn.token();
    let session = conn.take_session();
    let _stopping = shared.events.send(ConnEvent::Closed { token, session }).await;
}

/// The outcome of waiting for a control message.
enum ControlEvent {
    Said(ControlMessage),
    StreamEnd,
    StreamReset,
    ConnectionLost,
}

/// Reads what a client sends.
struct Reader {
    stream: RecvStream,
    intake: Intake,
    /// Whether the client has ended the stream.
    is_ended: bool,
}

impl Reader {
    async fn greet(&mut self, shared: &TransportShared) -> Result<Login, Refusal> {
        match self.next_event(shared).await? {
            ControlEvent::Said(ControlMessage::Hello(login)) => Ok(login),
            ControlEvent::Said(ControlMessage::Logout)
            | ControlEvent::StreamEnd
            | ControlEvent::StreamReset
            | ControlEvent::ConnectionLost => Err(self.intake.on_stream_reset()),
        }
    }

    /// Runs until the connection is over (`Ok`) or has to end.
    async fn run(&mut self, conn: &Conn, quic: &Connection, shared: &TransportShared) -> Result<(), Refusal> {
        loop {
            tokio::select! {
                datagram = quic.read_datagram() => match datagram {
                    Ok(bytes) => self.take_datagram(&bytes, conn, shared)?,
                    Err(_) => return Ok(()),
                },
                event = self.next_event(shared), if !self.is_ended => match event? {
                    // A shard that no longer listens closes its transport itself.
                    ControlEvent::Said(ControlMessage::Logout) => {
                        let _stopping = shared.events.send(ConnEvent::Logout { conn: conn.clone() }).await;
                    }
                    // The intake lets no second one pass.
                    ControlEvent::Said(ControlMessage::Hello(_)) => {}
                    // A client that leaves takes the stream with it; one that only ends it is served on.
                    ControlEvent::ConnectionLost => return Ok(()),
                    ControlEvent::StreamEnd => {
                        self.intake.on_stream_end()?;
                        self.is_ended = true;
                    }
                    ControlEvent::StreamReset => return Err(self.intake.on_stream_reset()),
                },
            }
        }
    }

    fn take_datagram(&mut self, bytes: &Bytes, conn: &Conn, shared: &TransportShared) -> Result<(), Refusal> {
        if let Some(frame) = self.intake.datagram(bytes, &policy(shared))? {
            let route = conn.route().filter(|_| !conn.ended());
            pass_on(frame, route.as_ref(), conn.token(), &shared.counters);
        }
        Ok(())
    }

    /// Waits for the next message. Nothing is lost when the future is dropped.
    async fn next_event(&mut self, shared: &TransportShared) -> Result<ControlEvent, Refusal> {
        loop {
            if let Some(said) = self.intake.next(&policy(shared))? {
                return Ok(ControlEvent::Said(said));
            }
            match self.stream.read_chunk(CONTROL_BYTES_MAX, true).await {
                Ok(Some(chunk)) => self.intake.push(&chunk.bytes),
                Ok(None) => return Ok(ControlEvent::StreamEnd),
                Err(ReadError::Reset(_)) => return Ok(ControlEvent::StreamReset),
                Err(ReadError::ConnectionLost(_)) => return Ok(ControlEvent::ConnectionLost),
                Err(e) => return Err(Refusal::new(RefusalCode::Internal, e.to_string())),
            }
        }
    }
}

fn policy(shared: &TransportShared) -> PeerPolicy<'_> {
    shared.policy(shared.started.elapsed())
}

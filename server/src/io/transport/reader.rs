//! The task that reads a connection: the handshake and `Hello` under one deadline, then datagrams and control messages until it is over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crossbeam::channel::TrySendError;
use ed25519_dalek::VerifyingKey;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, DATAGRAM_BYTES_MAX, HELLO_BYTES_MAX};
use everhold_protocol::message::{FrameDecoder, FrameError};
use everhold_protocol::{ClientMessage, InputFrame, RefusalCode};
use quinn::{Connecting, Connection, ReadError, RecvStream, SendStream};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::accept::Slots;
use super::conn::Conn;
use super::counters::TransportCounters;
use super::writer::write_control;
use super::{ConnEvent, TransportConfig};
use crate::ingress::address::Addresses;
use crate::ingress::rate::{RateGuard, TokenBucket, Verdict};
use crate::ingress::{InboxEntry, Login, login};
use crate::limits::DATAGRAMS_MALFORMED_MAX;

/// What all connections of a transport share.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) config: TransportConfig,
    pub(super) ticket_key: VerifyingKey,
    pub(super) events: mpsc::Sender<ConnEvent>,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) addresses: Mutex<Addresses>,
    /// The origin of this transport's time.
    pub(super) started: Instant,
}

impl Served {
    /// Never held over anything that waits.
    pub(super) fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Each entry is whole after each change, so a panic while it was held cannot have left half of one.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections of an address, until dropped.
struct AddressPlace {
    served: Arc<Served>,
    ip: IpAddr,
}

impl AddressPlace {
    /// `None`: the address has as many as it may.
    fn take(served: &Arc<Served>, ip: IpAddr) -> Option<Self> {
        let served = Arc::clone(served);
        let taken = served.addresses().connect(ip, served.started.elapsed());
        // Made only if taken: dropping one gives a place back.
        taken.then(|| Self { served, ip })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.served.addresses().disconnect(self.ip);
    }
}

/// A no with its reason.
type Refusal = (RefusalCode, String);

/// Serves one connection from its handshake to its end. With `turn_away` set it only says no.
pub(super) async fn serve(connecting: Connecting, served: Arc<Served>, slots: Slots, turn_away: Option<RefusalCode>) {
    let deadline = Instant::now() + served.config.login_deadline;
    let Some(quic) = shake_hands(connecting, &served, deadline).await else {
        return;
    };
    // The handshake has proven the address. The place is kept to the connection's end, wherever its peer may move.
    let Some(_place) = AddressPlace::take(&served, quic.remote_address().ip()) else {
        served.counters.connections_over_address.bump();
        let code = RefusalCode::Full;
        quic.close(code.code().into(), b"too many connections from this address");
        return;
    };
    let (conn, outgoing) = Conn::new(quic.clone(), served.counters.clone());
    let Some((send, recv)) = open_control(&conn, deadline).await else {
        return;
    };
    tokio::spawn(write_control(conn.clone(), outgoing, send));
    let mut control = ControlReader::new(recv);
    let greeting = match turn_away {
        Some(code) => Err((code, code.to_string())),
        None => timeout_at(deadline, greet(&mut control, &served))
            .await
            .unwrap_or_else(|_| {
                Err((
                    RefusalCode::LoginTimeout,
                    "no Hello within the login deadline".to_owned(),
                ))
            }),
    };
    let Slots {
        connection: _connection,
        half_open,
    } = slots;
    match greeting {
        Ok(login) => {
            drop(half_open);
            served.counters.hellos.bump();
            serve_player(&conn, control, &served, login).await;
        }
        Err((code, detail)) => {
            conn.close(code, &detail);
            // It counts as half-open, and as a connection, until it is gone.
            quic.closed().await;
            drop(half_open);
        }
    }
}

async fn shake_hands(connecting: Connecting, served: &Served, deadline: Instant) -> Option<Connection> {
    match timeout_at(deadline, connecting).await {
        Ok(Ok(quic)) => Some(quic),
        Ok(Err(e)) => {
            served.counters.handshakes_failed.bump();
            tracing::debug!(error = %e, "a handshake failed");
            None
        }
        // Dropped with the future, which closes it.
        Err(_) => {
            served.counters.handshakes_late.bump();
            None
        }
    }
}

/// Waits until the client opens the control stream.
async fn open_control(conn: &Conn, deadline: Instant) -> Option<(SendStream, RecvStream)> {
    if conn
        .quic()
        .max_datagram_size()
        .is_none_or(|bytes| bytes < DATAGRAM_BYTES_MAX)
    {
        conn.abort(
            RefusalCode::Malformed,
            "the client does not take datagrams of this protocol's size",
        );
        return None;
    }
    match timeout_at(deadline, conn.quic().accept_bi()).await {
        Ok(Ok(streams)) => Some(streams),
        Ok(Err(e)) => {
            tracing::debug!(error = %e, "a connection ended before its control stream was opened");
            None
        }
        Err(_) => {
            conn.abort(RefusalCode::LoginTimeout, "no control stream within the login deadline");
            None
        }
    }
}

async fn greet(control: &mut ControlReader, served: &Served) -> Result<Login, Refusal> {
    let hello = control.read::<ClientMessage>().await?;
    let Some(hello) = hello else {
        return Err((
            RefusalCode::Malformed,
            "the control stream ended before Hello".to_owned(),
        ));
    };
    control.decoder.set_bytes_max(CONTROL_BYTES_MAX);
    let now_unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| {
            (
                RefusalCode::Internal,
                "the server's clock stands before 1970".to_owned(),
            )
        })?
        .as_secs();
    login::check_hello(hello, &served.ticket_key, now_unix_s)
}

/// Tells the shard of the connection, carries what it sends, and tells of its end.
async fn serve_player(conn: &Conn, control: ControlReader, served: &Served, login: Login) {
    // A shard that no longer listens is stopping, and closes its transport itself.
    if served
        .events
        .send(ConnEvent::Hello {
            conn: conn.clone(),
            login,
        })
        .await
        .is_err()
    {
        conn.close(RefusalCode::Stopping, "");
        conn.quic().closed().await;
        return;
    }
    let mut intake = Intake::new(conn, served);
    if let Err((code, detail)) = intake.run(control).await {
        conn.close(code, &detail);
    }
    conn.quic().closed().await;
    conn.set_ended();
    let session = conn.route_slot().take().map(|route| route.session);
    let _stopping = served
        .events
        .send(ConnEvent::Closed {
            token: conn.token(),
            session,
        })
        .await;
}

/// Judges and passes on what a logged-in client sends.
struct Intake<'a> {
    conn: &'a Conn,
    served: &'a Served,
    datagrams: RateGuard,
    messages: RateGuard,
    malformed: TokenBucket,
}

impl<'a> Intake<'a> {
    fn new(conn: &'a Conn, served: &'a Served) -> Self {
        let (config, now) = (&served.config, served.started.elapsed());
        let guard = |per_s: u32, burst: u32| RateGuard::new(per_s, burst, config.rate_excess_s, now);
        Self {
            conn,
            served,
            datagrams: guard(config.datagrams_per_s, config.datagrams_per_s),
            messages: guard(config.control_messages_per_s, 2 * config.control_messages_per_s),
            malformed: TokenBucket::new(1, DATAGRAMS_MALFORMED_MAX, now),
        }
    }

    /// Until the connection is over (`Ok`) or has to end.
    async fn run(&mut self, mut control: ControlReader) -> Result<(), Refusal> {
        loop {
            tokio::select! {
                datagram = self.conn.quic().read_datagram() => match datagram {
                    Ok(bytes) => self.take_datagram(&bytes)?,
                    Err(_) => return Ok(()),
                },
                message = control.read::<ClientMessage>() => match message? {
                    Some(message) => self.take_message(message).await?,
                    // A client that leaves takes the stream with it; one that only ends the stream is sent after it.
                    None if self.conn.quic().close_reason().is_some() => return Ok(()),
                    None => return Err((RefusalCode::Bye, String::new())),
                },
            }
        }
    }

    fn take_datagram(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        let (now, counters) = (self.served.started.elapsed(), self.conn.counters());
        counters.datagrams_in.bump();
        if !within_rate(self.datagrams.judge(now), "datagrams")? {
            counters.datagrams_over_rate.bump();
            return Ok(());
        }
        let Ok(frame) = InputFrame::decode(bytes) else {
            counters.datagrams_malformed.bump();
            return match self.malformed.take(now) {
                true => Ok(()),
                false => Err((
                    RefusalCode::Malformed,
                    "too many datagrams that are not of this protocol".to_owned(),
                )),
            };
        };
        self.pass_on(frame);
        Ok(())
    }

    fn pass_on(&self, frame: InputFrame) {
        let counters = self.conn.counters();
        let slot = self.conn.route_slot();
        let Some(route) = slot.as_ref().filter(|_| !self.conn.ended()) else {
            return counters.datagrams_unbound.bump();
        };
        if frame.epoch != route.epoch {
            return counters.datagrams_other_epoch.bump();
        }
        let entry = InboxEntry::Frame {
            session: route.session,
            token: self.conn.token(),
            frame,
        };
        match route.inbox.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => counters.datagrams_inbox_full.bump(),
            // The zone is gone; the shard will bind anew or close.
            Err(TrySendError::Disconnected(_)) => counters.datagrams_unbound.bump(),
        }
    }

    async fn take_message(&mut self, message: ClientMessage) -> Result<(), Refusal> {
        let counters = self.conn.counters();
        counters.control_in.bump();
        if !within_rate(self.messages.judge(self.served.started.elapsed()), "control messages")? {
            counters.control_over_rate.bump();
            return Ok(());
        }
        match message {
            ClientMessage::Hello { .. } => Err((RefusalCode::Malformed, "Hello may come only once".to_owned())),
            ClientMessage::Logout => {
                // A shard that no longer listens closes its transport itself.
                let _stopping = self
                    .served
                    .events
                    .send(ConnEvent::Logout {
                        conn: self.conn.clone(),
                    })
                    .await;
                Ok(())
            }
        }
    }
}

/// Whether to take what was judged.
fn within_rate(verdict: Verdict, what: &str) -> Result<bool, Refusal> {
    match verdict {
        Verdict::Take => Ok(true),
        Verdict::Drop => Ok(false),
        Verdict::Close => Err((RefusalCode::RateExceeded, format!("too many {what} for too long"))),
    }
}

/// Reads messages off the control stream.
struct ControlReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

impl ControlReader {
    const fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(HELLO_BYTES_MAX),
        }
    }

    /// The next message; `None` when the stream ended or the connection is gone. Nothing is lost when the future is dropped.
    async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refusal> {
        loop {
            if let Some(message) = self.decoder.next().map_err(refusal_of)? {
                return Ok(Some(message));
            }
            match self.stream.read_chunk(CONTROL_BYTES_MAX, true).await {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) | Err(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => return Ok(None),
                Err(e) => return Err((RefusalCode::Internal, e.to_string())),
            }
        }
    }
}

fn refusal_of(error: FrameError) -> Refusal {
    let code = match error {
        FrameError::TooLarge { .. } => RefusalCode::TooLarge,
        FrameError::TrailingBytes { .. } | FrameError::Decode(_) | FrameError::Encode(_) => RefusalCode::Malformed,
    };
    (code, error.to_string())
}

//! One connection: its QUIC state, its control stream, and what waits on it. It touches no socket.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use everhold_protocol::message::FrameDecoder;
use everhold_protocol::{RefusalCode, ServerMessage};
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Endpoint, Event, ReadError, StreamEvent, StreamId, VarInt,
    WriteError,
};

use super::{LinkId, NetEvent, Owner};

/// Control bytes read at a time.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Events on their way to the links' owners, with the moment at which each came in.
pub(super) type Inbox = VecDeque<(Owner, Instant, NetEvent)>;

/// The moment at which links are driven, and where their events go.
pub(super) struct LinkContext<'a> {
    pub(super) now: Instant,
    pub(super) inbox: &'a mut Inbox,
}

/// The status of a link after it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkStatus {
    /// The connection goes on, or is still closing.
    Lives,
    /// QUIC has forgotten the connection; its slot is free.
    Drained,
}

/// A connection and its owner. Without an owner it only finishes closing.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) owner: Option<Owner>,
    pub(super) connection: Connection,
    /// Whether it is in the list of links that are served at once.
    pub(super) urgent: bool,
    /// Whether it is in the list of links that are served until they are gone.
    pub(super) orphaned: bool,
    control: Option<StreamId>,
    decoder: FrameDecoder,
    unsent: VecDeque<Bytes>,
}

impl Link {
    pub(super) fn new(id: LinkId, owner: Owner, connection: Connection) -> Self {
        Self {
            id,
            owner: Some(owner),
            connection,
            urgent: false,
            orphaned: false,
            control: None,
            decoder: FrameDecoder::new(CONTROL_BYTES_MAX),
            unsent: VecDeque::new(),
        }
    }

    /// Takes everything out of the connection that its state machine has to say, until it is quiet.
    pub(super) fn drive(
        &mut self,
        handle: ConnectionHandle,
        endpoint: &mut Endpoint,
        context: &mut LinkContext<'_>,
    ) -> LinkStatus {
        while let Some(event) = self.connection.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(answer) = endpoint.handle_event(handle, event) {
                self.connection.handle_event(answer);
            }
            if drained {
                // A time-out and a stateless reset drain at once: the loss, and what came before it, are still to be
                // told.
                self.tell_what_came(context);
                return LinkStatus::Drained;
            }
        }
        self.tell_what_came(context);
        LinkStatus::Lives
    }

    fn tell_what_came(&mut self, context: &mut LinkContext<'_>) {
        while let Some(event) = self.connection.poll() {
            self.on_event(event, context);
        }
        while let Some(datagram) = self.connection.datagrams().recv() {
            self.tell(NetEvent::Datagram(datagram), context);
        }
    }

    /// Whether what it has to send cannot wait for its owner's next frame.
    pub(super) fn is_hasty(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Queues one framed control message.
    pub(super) fn write_control(&mut self, frame: Bytes) {
        self.unsent.push_back(frame);
        self.flush_control();
    }

    fn on_event(&mut self, event: Event, context: &mut LinkContext<'_>) {
        match event {
            Event::Connected => {
                self.control = self.connection.streams().open(Dir::Bi);
                if self.control.is_some() {
                    self.tell(NetEvent::Connected, context);
                    self.flush_control();
                } else {
                    self.lose(
                        RefusalCode::Malformed,
                        None,
                        "the server grants no control stream".to_owned(),
                        context,
                    );
                }
            }
            Event::ConnectionLost { reason } => {
                let code = match &reason {
                    ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
                    _ => None,
                };
                self.lose(RefusalCode::Bye, code, reason.to_string(), context);
            }
            Event::Stream(StreamEvent::Readable { id }) if Some(id) == self.control => self.read_control(id, context),
            Event::Stream(StreamEvent::Writable { .. }) => self.flush_control(),
            Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
        }
    }

    fn read_control(&mut self, id: StreamId, context: &mut LinkContext<'_>) {
        let mut received = Vec::new();
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let ended = loop {
            match chunks.next(CHUNK_BYTES_MAX) {
                Ok(Some(chunk)) => received.push(chunk.bytes),
                Ok(None) => break Some("the server ended the control stream".to_owned()),
                Err(ReadError::Blocked) => break None,
                Err(ReadError::Reset(code)) => break Some(format!("the server reset the control stream: {code}")),
            }
        };
        // A larger window for the server is announced with the next frame, at most 50 ms from now.
        let _ = chunks.finalize();
        for bytes in received {
            self.on_control_bytes(&bytes, context);
        }
        if let Some(detail) = ended {
            self.lose(RefusalCode::Bye, None, detail, context);
        }
    }

    fn on_control_bytes(&mut self, bytes: &[u8], context: &mut LinkContext<'_>) {
        self.decoder.push(bytes);
        loop {
            match self.decoder.next::<ServerMessage>() {
                Ok(Some(message)) => self.tell(NetEvent::Control(Box::new(message)), context),
                Ok(None) => return,
                Err(error) => {
                    return self.lose(
                        RefusalCode::Malformed,
                        None,
                        format!("unreadable control message: {error}"),
                        context,
                    );
                }
            }
        }
    }

    fn flush_control(&mut self) {
        let Some(id) = self.control else { return };
        while let Some(mut frame) = self.unsent.pop_front() {
            match self.connection.send_stream(id).write(&frame) {
                Ok(written) if written == frame.len() => {}
                Ok(written) => {
                    self.unsent.push_front(frame.split_off(written));
                }
                Err(WriteError::Blocked) => {
                    self.unsent.push_front(frame);
                    return;
                }
                // The connection is on its way down and says so itself.
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return,
            }
        }
    }

    /// Tells the owner that the connection is over, and closes it with `answer` if the peer has not done so.
    fn lose(&mut self, answer: RefusalCode, code: Option<u64>, detail: String, context: &mut LinkContext<'_>) {
        self.tell(NetEvent::Disconnected { code, detail }, context);
        self.owner = None;
        self.connection
            .close(context.now, VarInt::from_u32(answer as u32), Bytes::new());
    }

    fn tell(&self, event: NetEvent, context: &mut LinkContext<'_>) {
        if let Some(owner) = self.owner {
            context.inbox.push_back((owner, context.now, event));
        }
    }
}

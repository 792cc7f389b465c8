//! The control stream of a connection, both ways. It decides nothing about the connection but how much it is said to.

use std::time::Instant;

use everhold_core::ingress::Refusal;
use everhold_protocol::RefusalCode;
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use quinn_proto::{Dir, ReadError, StreamId, WriteError};

use super::{Farewell, Link, LinkContext, LinkStage, TALK};
use crate::transport::ConnEvent;
use crate::transport::conn::Conn;
use crate::transport::intake::ControlMessage;

impl Link {
    pub(super) fn on_opened(&mut self) {
        let (LinkStage::Opening, Some(conn)) = (&self.stage, &self.conn) else {
            return;
        };
        self.control = self.connection.streams().accept(Dir::Bi);
        self.is_readable = true;
        self.stage = LinkStage::Greeting;
        if let Some(refusal) = self.turn_away.take() {
            conn.close(refusal.code, &refusal.detail);
        }
    }

    pub(super) fn read_control(&mut self, context: &mut LinkContext<'_>) {
        while self.pending.events.is_empty()
            && let Some(conn) = self.conn.clone().filter(|conn| !conn.ended())
        {
            let now = context.now.duration_since(context.shared.started);
            match self.intake.next(&context.shared.policy(now)) {
                Ok(Some(ControlMessage::Hello(login))) => {
                    context.shared.counters.hellos.bump();
                    self.is_proven = self
                        .pending
                        .slots
                        .as_mut()
                        .is_some_and(|slots| slots.prove(context.shared));
                    if !self.is_proven {
                        return conn.close(RefusalCode::Full, &RefusalCode::Full.to_string());
                    }
                    self.stage = LinkStage::Playing;
                    self.pending.events.push_back(ConnEvent::Hello { conn, login });
                    self.pending.send(context.shared);
                }
                Ok(Some(ControlMessage::Logout)) => {
                    self.pending.events.push_back(ConnEvent::Logout { conn });
                    self.pending.send(context.shared);
                }
                Ok(None) => match self.read_chunk() {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(refusal) => return conn.close(refusal.code, &refusal.detail),
                },
                Err(refusal) => return conn.close(refusal.code, &refusal.detail),
            }
        }
    }

    /// Reads what has come on the stream; `false` if nothing has, or if nothing will and that is all right.
    fn read_chunk(&mut self) -> Result<bool, Refusal> {
        let Some(id) = self.control else { return Ok(false) };
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            // It was read to its end before.
            self.is_readable = false;
            return Ok(false);
        };
        let read = chunks.next(CONTROL_BYTES_MAX);
        // A larger window is announced with the next packet, a tick from now at most.
        let _with_next_packet = chunks.finalize();
        match read {
            Ok(Some(chunk)) => {
                self.intake.push(&chunk.bytes);
                Ok(true)
            }
            Err(ReadError::Blocked) => {
                self.is_readable = false;
                Ok(false)
            }
            Ok(None) => {
                self.is_readable = false;
                self.intake.on_stream_end().map(|()| false)
            }
            Err(ReadError::Reset(_)) => Err(self.intake.on_stream_reset()),
        }
    }

    /// Writes queued frames as far as the peer reads, and then the last words if it is time for them.
    pub(super) fn write_control(&mut self, context: &mut LinkContext<'_>) {
        let Some(id) = self.control else { return };
        loop {
            if self.writing.is_empty() && !self.next_frame(id) {
                return;
            }
            self.note_talk(context.now);
            let mut frame = [std::mem::take(&mut self.writing)];
            let written = self.connection.send_stream(id).write_chunks(&mut frame);
            [self.writing] = frame;
            match (written, &self.stage) {
                (Ok(_), _) => {}
                (Err(WriteError::Blocked), _) => return,
                (Err(_), LinkStage::Parting(..)) => return self.on_heard(context),
                (Err(WriteError::Stopped(_)), _) => {
                    if let Some(conn) = &self.conn {
                        conn.abort(RefusalCode::Malformed, "the control stream was stopped");
                    }
                    return;
                }
                // The connection is gone, and says so itself.
                (Err(WriteError::ClosedStream), _) => return,
            }
        }
    }

    fn note_talk(&mut self, now: Instant) {
        let before = self.talked.filter(|(at, _)| now.duration_since(*at) < TALK);
        let bytes = before.map_or(0, |(_, bytes)| bytes);
        self.talked = Some((now, bytes.saturating_add(self.writing.len())));
    }

    /// Takes the next frame to write; `false` if there is none.
    fn next_frame(&mut self, id: StreamId) -> bool {
        let farewell = match &mut self.stage {
            LinkStage::Greeting | LinkStage::Playing | LinkStage::Parting(_, _, Farewell::Omitted) => None,
            LinkStage::Parting(closing, _, farewell) if *farewell == Farewell::Unsaid => Some((closing, farewell)),
            LinkStage::Parting(_, _, farewell) => {
                if *farewell == Farewell::Saying {
                    *farewell = Farewell::Said;
                    // It can fail only for a stream that was stopped, which is told as such.
                    let _stopped = self.connection.send_stream(id).finish();
                }
                return false;
            }
            LinkStage::Handshaking | LinkStage::Opening | LinkStage::Over => return false,
        };
        if let Some(frame) = self.conn.as_ref().and_then(Conn::next_frame) {
            self.writing = frame;
            return true;
        }
        let Some((closing, farewell)) = farewell else {
            return false;
        };
        *farewell = Farewell::Saying;
        self.writing = closing.farewell();
        // Nothing to say: finish at once.
        !self.writing.is_empty() || self.next_frame(id)
    }

    /// Handles the end of the sending side: the peer has all of it, or wants no more.
    pub(super) fn on_heard(&mut self, context: &mut LinkContext<'_>) {
        if let LinkStage::Parting(closing, ..) = &self.stage {
            let closing = closing.clone();
            self.hang_up(&closing, context);
        }
    }
}

//! The task that writes a connection's control stream, and its last words. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use everhold_core::limits::CLOSE_MS_MAX;
use everhold_protocol::RefusalCode;
use quinn::{SendStream, VarInt, WriteError};

use super::line::Line;
use crate::transport::conn::{Closing, Conn, Manner};

/// Writes what is queued, in order, until the connection ends or a handle ends it; then the queue's rest and the
/// reason.
pub(super) async fn write_control(conn: Conn, line: Arc<Line>, mut stream: SendStream) {
    // The frame that is being written; what a slow peer has not taken stays here while the queue fills.
    let mut frame = Bytes::new();
    let closing = loop {
        if let Some(closing) = conn.take_orders().closing {
            break closing;
        }
        if frame.is_empty() {
            frame = conn.next_frame().unwrap_or_default();
        }
        tokio::select! {
            biased;
            // So that a task with nothing to write does not outlive its connection.
            _ = line.quic.closed() => return,
            () = line.waker.notified() => {}
            written = stream.write(&frame), if !frame.is_empty() => match written {
                Ok(bytes) => frame.advance(bytes),
                Err(WriteError::Stopped(_)) => conn.abort(RefusalCode::Malformed, "the control stream was stopped"),
                // The connection is gone, and the reader's task tells of it.
                Err(_) => return,
            },
        }
    };
    if closing.manner != Manner::AtOnce {
        let last_words = say_last_words(&mut stream, frame, &conn, &closing);
        if tokio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), last_words)
            .await
            .is_err()
        {
            tracing::debug!(remote = %conn.remote(), "the peer did not take the last words");
        }
    }
    line.quic
        .close(VarInt::from_u32(closing.code.code()), closing.detail.as_bytes());
}

/// Writes what is queued and the last message. Returns when the peer has all of it, or is gone.
async fn say_last_words(stream: &mut SendStream, frame: Bytes, conn: &Conn, closing: &Closing) {
    let mut next = Some(frame);
    while let Some(frame) = next {
        if stream.write_all(&frame).await.is_err() {
            return;
        }
        next = conn.next_frame();
    }
    if closing.manner == Manner::Expected {
        let _stopped_or_gone = stream.stopped().await;
        return;
    }
    if stream.write_all(&closing.farewell()).await.is_ok() && stream.finish().is_ok() {
        // Whether the peer stopped the stream or read it to its end, it needs no more of it.
        let _read_or_stopped = stream.stopped().await;
    }
}

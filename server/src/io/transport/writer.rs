//! The task that writes a connection's control stream, and its last words. It decides nothing.

use std::time::Duration;

use bytes::{Buf, Bytes};
use everhold_protocol::message::encode_frame;
use everhold_protocol::{RefusalCode, ServerMessage};
use quinn::{SendStream, VarInt, WriteError};
use tokio::sync::{mpsc, watch};

use super::conn::{Closing, Conn, Outgoing};
use crate::limits::CLOSE_MS_MAX;

/// Writes what is queued, in order, until the connection ends or somebody ends it; then the queue's rest and the reason.
pub(super) async fn write_control(conn: Conn, mut outgoing: Outgoing, mut stream: SendStream) {
    // The frame that is being written; what a slow peer has not taken stays here while the queue fills.
    let mut frame = Bytes::new();
    let closing = loop {
        tokio::select! {
            biased;
            closing = wait_closing(&mut outgoing.closing) => break closing,
            written = stream.write(&frame), if !frame.is_empty() => match written {
                Ok(bytes) => frame.advance(bytes),
                Err(WriteError::Stopped(_)) => return conn.abort(RefusalCode::Malformed, "the control stream was stopped"),
                // The connection is gone, and the reader's task tells of it.
                Err(_) => return,
            },
            next = outgoing.control.recv(), if frame.is_empty() => match next {
                Some(next) => {
                    conn.note_dequeued(next.len());
                    frame = next;
                }
                // Cannot be: this task's own handle keeps the queue open.
                None => return,
            },
            // So that a task with nothing to write does not outlive its connection.
            _ = conn.quic().closed() => return,
        }
    };
    let last_words = say_last_words(&mut stream, frame, &mut outgoing.control, &closing);
    if tokio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), last_words)
        .await
        .is_err()
    {
        tracing::debug!(remote = %conn.remote(), "the peer did not take the last words");
    }
    conn.quic()
        .close(VarInt::from_u32(closing.code.code()), closing.detail.as_bytes());
}

async fn wait_closing(closing: &mut watch::Receiver<Option<Closing>>) -> Closing {
    loop {
        if let Some(closing) = closing.borrow_and_update().clone() {
            return closing;
        }
        if closing.changed().await.is_err() {
            // Cannot be: this task's own handle keeps the sender.
            return std::future::pending().await;
        }
    }
}

/// Returns when the peer has all of it, or is gone.
async fn say_last_words(stream: &mut SendStream, frame: Bytes, queue: &mut mpsc::Receiver<Bytes>, closing: &Closing) {
    let mut next = Some(frame);
    while let Some(frame) = next {
        if stream.write_all(&frame).await.is_err() {
            return;
        }
        next = queue.try_recv().ok();
    }
    let farewell = match closing.code {
        RefusalCode::Bye => None,
        RefusalCode::Superseded => Some(ServerMessage::Superseded),
        code => Some(ServerMessage::Refused {
            code,
            detail: closing.detail.clone(),
        }),
    };
    let farewell = farewell
        .and_then(|message| encode_frame(&message).ok())
        .unwrap_or_default();
    if stream.write_all(&farewell).await.is_ok() && stream.finish().is_ok() {
        // Whether the peer stopped the stream or read it to its end, it needs no more of it.
        let _read_or_stopped = stream.stopped().await;
    }
}

//! Datagrams, both ways. A datagram that can be read has exactly one encoding.

use everhold_protocol::limits::{DATAGRAM_BYTES_MAX, FRAME_INTENTS_MAX};
use everhold_protocol::{InputFrame, ReceivedFrame, Snapshot};

/// Reads a datagram as a server does.
pub fn input(data: &[u8]) {
    if let Ok(Ok(frame)) = InputFrame::decode(data).map(ReceivedFrame::checked) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        // Behind a full frame nothing is read.
        let is_full = frame.intents.len() == FRAME_INTENTS_MAX;
        assert!(
            data == again || is_full && data.starts_with(&again),
            "{frame:?} has two encodings"
        );
    }
}

/// Reads a datagram as a client does, as long as one of this protocol may be.
pub fn snapshot(data: &[u8]) {
    if data.len() > DATAGRAM_BYTES_MAX {
        return;
    }
    if let Ok(snapshot) = Snapshot::decode(data) {
        let mut again = Vec::new();
        snapshot.encode(&mut again);
        assert_eq!(again, data, "{snapshot:?} has two encodings");
    }
}

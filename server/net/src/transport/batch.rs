//! A tick's datagrams on their way out: one message for each net thread, however many connections.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::conn::{Carrier, Conn};
use super::mailbox::{Mailbox, OutgoingDatagram};

/// Datagrams for many connections. They leave soon after [`DatagramBatch::send`], those of one connection in order.
///
/// What cannot be sent is counted and not told: datagrams to a connection that is gone, those that do not fit its path,
/// the oldest unsent ones of a path that is congested, and whole batches if a net thread is that far behind.
#[must_use = "datagrams leave only when the batch is sent"]
#[derive(Debug)]
pub struct DatagramBatch {
    bytes: Bytes,
    /// Datagrams by net thread.
    parts: Vec<(Arc<Mailbox>, Vec<OutgoingDatagram>)>,
    size_hint: usize,
}

impl DatagramBatch {
    /// Makes an empty batch for about `size_hint` datagrams, all of which are ranges of `bytes`.
    pub const fn new(bytes: Bytes, size_hint: usize) -> Self {
        Self {
            bytes,
            parts: Vec::new(),
            size_hint,
        }
    }

    /// Adds a datagram: the bytes in this range.
    ///
    /// # Panics
    /// When it is sent, if the bytes end before the range.
    pub fn push(&mut self, conn: &Conn, range: Range<u32>) {
        match &conn.carrier {
            Carrier::Net(mailbox, key) => {
                let datagram = OutgoingDatagram { key: *key, range };
                // As many parts as there are net threads: a handful.
                match self.parts.iter_mut().find(|(of, _)| Arc::ptr_eq(of, mailbox)) {
                    Some((_, datagrams)) => datagrams.push(datagram),
                    None => {
                        let mut datagrams = Vec::with_capacity(self.size_hint);
                        datagrams.push(datagram);
                        self.parts.push((Arc::clone(mailbox), datagrams));
                    }
                }
            }
            #[cfg(feature = "testing")]
            Carrier::Reference(line) => {
                let bytes = self.bytes.slice(range.start as usize..range.end as usize);
                line.send_datagram(bytes, conn.ended(), conn.counters());
            }
        }
    }

    /// Leaves each net thread's datagrams in its mailbox. It waits for nothing.
    pub fn send(self) {
        for (mailbox, datagrams) in self.parts {
            mailbox.send(self.bytes.clone(), datagrams);
        }
    }
}

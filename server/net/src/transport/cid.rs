//! Connection ids that tell the holders of a key, and them alone, which net thread owns the connection.
//!
//! The kernel spreads packets over the sockets of a port by their addresses. When a player's network gives it another
//! address, its packets may come out of another thread's socket; the id in the packet is what stays, so it must lead to
//! the owner.
//!
//! ```text
//! | nonce, 4 bytes, random | owner, 1 byte, masked | check, 3 bytes |        mask and check: a keyed hash of the nonce
//! ```
//!
//! The hash is no cryptographic one: who breaks it can make packets that cost this side a look-up, and learns how many
//! threads there are.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const NONCE_BYTES: usize = 4;
/// The length of each id.
const CID_BYTES: usize = 8;
/// First bit of a packet with a long header.
const LONG_HEADER: u8 = 0x80;
/// The place of the destination id's length in a long header: after the first byte and the version.
const LONG_CID_LEN_AT: usize = 5;

/// Connection ids of one net thread; reads those of all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionIds {
    key: u64,
    thread: u8,
}

impl ConnectionIds {
    /// Makes the generator of ids that lead to this thread. All processes of a world share the key.
    pub(super) const fn new(key: u64, thread: u8) -> Self {
        Self { key, thread }
    }

    /// Returns the thread that a packet is for, if its destination is an id of this key.
    pub(super) fn owner(&self, packet: &[u8]) -> Option<u8> {
        self.open(destination(packet)?)
    }

    fn open(&self, cid: &[u8]) -> Option<u8> {
        let (nonce, rest) = cid.split_first_chunk::<NONCE_BYTES>()?;
        let [mask, check @ ..] = self.hash(*nonce);
        let (owner, shown) = rest.split_first()?;
        (shown == check).then_some(owner ^ mask)
    }

    fn hash(&self, nonce: [u8; NONCE_BYTES]) -> [u8; CID_BYTES - NONCE_BYTES] {
        let hash = xxh3_64_with_seed(&nonce, self.key).to_le_bytes();
        std::array::from_fn(|i| hash[i])
    }

    fn seal(&self, nonce: [u8; NONCE_BYTES]) -> [u8; CID_BYTES] {
        let mut cid = [0; CID_BYTES];
        let (head, tail) = cid.split_at_mut(NONCE_BYTES);
        head.copy_from_slice(&nonce);
        tail.copy_from_slice(&self.hash(nonce));
        tail[0] ^= self.thread;
        cid
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system has randomness");
        ConnectionId::new(&self.seal(nonce))
    }

    /// Accepts ids of any thread: a process that has taken this address over, with fewer threads, still says that the
    /// connection is gone.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        self.open(cid).map(|_| ()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Returns the destination id of a packet, if it has the length of ours.
fn destination(packet: &[u8]) -> Option<&[u8]> {
    let at = if packet.first()? & LONG_HEADER == 0 {
        1
    } else {
        let len = usize::from(*packet.get(LONG_CID_LEN_AT)?);
        if len != CID_BYTES {
            return None;
        }
        LONG_CID_LEN_AT + 1
    };
    packet.get(at..at + CID_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0x1234_5678_9ABC_DEF0;

    fn short(cid: &[u8]) -> Vec<u8> {
        [&[0x40], cid, &[7; 20]].concat()
    }

    #[test]
    fn every_thread_finds_the_owner_of_a_packet() {
        for owner in [0, 1, 63] {
            let cid = ConnectionIds::new(KEY, owner).generate_cid();
            let long = [&[0xE0, 0, 0, 0, 1, 8][..], &cid, &[8; 20]].concat();
            let reader = ConnectionIds::new(KEY, 5);
            assert_eq!(reader.owner(&short(&cid)), Some(owner));
            assert_eq!(reader.owner(&long), Some(owner));
            assert!(reader.validate(&cid).is_ok());
        }
    }

    #[test]
    fn ids_of_another_key_and_broken_packets_lead_nowhere() {
        let mut cid = ConnectionIds::new(KEY, 1).seal([9; NONCE_BYTES]);
        assert_eq!(ConnectionIds::new(KEY + 1, 1).owner(&short(&cid)), None);
        cid[CID_BYTES - 1] ^= 1;
        assert_eq!(ConnectionIds::new(KEY, 1).owner(&short(&cid)), None);
        for len in 0..CID_BYTES {
            assert_eq!(ConnectionIds::new(KEY, 1).owner(&vec![0x40; len]), None);
        }
        assert_eq!(ConnectionIds::new(KEY, 1).owner(&[0xE0, 0, 0, 0, 1, 20, 1]), None);
    }

    #[test]
    fn same_thread_looks_different_in_every_id() {
        let ids = ConnectionIds::new(KEY, 3);
        let owners: std::collections::BTreeSet<u8> =
            (0..64_u32).map(|n| ids.seal(n.to_le_bytes())[NONCE_BYTES]).collect();
        assert!(owners.len() > 32, "{owners:?}");
    }
}

//! Data that a store gives back: records of a journal, and checkpoints.

use std::sync::{Arc, LazyLock};

use everhold_core::durability::history::HistoryReader;
use everhold_core::durability::record::Record;
use everhold_core::durability::store::{RecordHash, StoredRecord};
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Birth, Input, Join};
use everhold_core::zone::{Cut, Zone, ZoneConfig};
use everhold_protocol::{Account, Epoch, Tick};

/// Decodes a record whose hash is right. A readable one is encoded the same; one of an earlier layout is read back as
/// it is.
pub fn record(data: &[u8]) {
    let stored = StoredRecord::sealed(Tick(7), RecordHash([3; 32]), data);
    if let Ok(record) = Record::decode(&stored) {
        let encoded = record.encode();
        if encoded.body.first() == stored.body.first() {
            assert_eq!(encoded, stored, "{record:?} has two encodings");
        }
        assert_eq!(Record::decode(&encoded), Ok(record));
    }
}

/// Reads a history file in two pieces. What can be read of it before an error is what was written there: a reader that
/// is fed byte by byte finds the same.
pub fn history_file(data: &[u8]) {
    let frames = |piece: usize| {
        let (mut reader, mut frames) = (HistoryReader::default(), Vec::new());
        for piece in data.chunks(piece.max(1)) {
            reader.push(piece);
            loop {
                match reader.poll() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, reader.finish().err())
    };
    let halves = frames(data.len().div_ceil(2));
    assert_eq!(halves.0, frames(1).0, "pieces decide what is read");
}

/// A small zone with players, items, and monsters, as a base and a delta.
static CHAIN: LazyLock<(ZoneConfig, [Vec<u8>; 2])> = LazyLock::new(|| {
    let config = ZoneConfig {
        name: "arena".parse().expect("a zone name"),
        seed: 5,
        tick_hz: 20,
        game: Arc::new(RuleBook::from_toml(crate::zones::ARENA).expect("the arena is a world")),
    };
    let mut zone = Zone::new(config.clone());
    let start = Input::EpochStart {
        epoch: Epoch(1),
        nonce: 1,
        rules_id: config.rules_id(),
    };
    zone.step(&[start, join(1)]);
    let base = zone.capture(Cut::Base).body;
    zone.capture_confirmed();
    zone.step(&[join(2)]);
    let delta = zone.capture(Cut::Delta).body;
    (config, [base, delta])
});

fn join(account: u8) -> Input {
    Input::Join(Join {
        account: Account(account.into()),
        ticket: [account; 16],
        ticket_forget_tick: Tick(1_000),
        secret: [account; 32],
        token: AttachToken(account.into()),
        birth: Birth::Always,
    })
}

/// Restores a damaged chain of a base and a delta: each four bytes are a place (two), what is put there, and how
/// (overwrite, flip, cut).
pub fn checkpoint(data: &[u8]) {
    let (config, chain) = &*CHAIN;
    let mut chain = chain.clone();
    for damage in data.chunks_exact(4) {
        let body = &mut chain[usize::from(damage[3] & 1)];
        if body.is_empty() {
            continue;
        }
        let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % body.len();
        match damage[3] >> 1 & 3 {
            0 => body[at] = damage[2],
            1 => body[at] ^= damage[2],
            2 => body.insert(at, damage[2]),
            _ => body.truncate(at),
        }
    }
    let bodies: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    if let Ok(mut zone) = Zone::restore(config.clone(), &bodies) {
        zone.step(&[]);
    }
}

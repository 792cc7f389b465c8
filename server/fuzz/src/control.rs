//! Control messages in any chunks, and the first message of a stranger.

use std::fmt::Debug;

use ed25519_dalek::SigningKey;
use everhold_core::ingress::ResumeKeys;
use everhold_core::ingress::login::check_hello;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, HELLO_BYTES_MAX};
use everhold_protocol::message::encode_frame;
use everhold_protocol::ticket::{TicketClaims, sign, verify};
use everhold_protocol::{Account, ClientMessage, FrameDecoder, ServerMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;

const NOW_UNIX_S: u64 = 1_800_000_000;

fn service() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Reads all messages that come, in chunks as long as the first byte says; each is what it is written as.
fn read_all<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    data: &[u8],
    bytes_max: usize,
    mut take: impl FnMut(T),
) {
    let Some((&chunk, stream)) = data.split_first() else {
        return;
    };
    let mut decoder = FrameDecoder::new(bytes_max);
    for chunk in stream.chunks(usize::from(chunk).max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next::<T>() {
                Ok(Some(message)) => {
                    check_round_trip(&message);
                    take(message);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn check_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) {
    let frame = encode_frame(message).expect("what fits a frame fits one again");
    let mut decoder = FrameDecoder::new(CONTROL_BYTES_MAX);
    decoder.push(&frame);
    let again: Option<T> = decoder.next().expect("a written message can be read");
    assert_eq!(again.as_ref(), Some(message));
}

/// Reads messages as a server does.
pub fn client_message(data: &[u8]) {
    read_all::<ClientMessage>(data, CONTROL_BYTES_MAX, drop);
}

/// Reads messages as a client does.
pub fn server_message(data: &[u8]) {
    read_all::<ServerMessage>(data, CONTROL_BYTES_MAX, drop);
}

/// Judges a stranger's first message, up to the decision.
pub fn hello(data: &[u8]) {
    let key = service().verifying_key();
    let resume_keys = ResumeKeys::new([7; 32], vec![[8; 32]]);
    read_all::<ClientMessage>(data, HELLO_BYTES_MAX, |message| {
        let _judged = check_hello(message, &[key], &resume_keys, NOW_UNIX_S);
    });
}

/// Verifies tickets: raw bytes, which no signature fits, and claims of all kinds under a valid signature.
pub fn ticket(data: &[u8]) {
    let key = service();
    assert!(
        verify(&key.verifying_key(), data, NOW_UNIX_S).is_err(),
        "a forged ticket"
    );
    let Some((numbers, name)) = data.split_first_chunk::<32>() else {
        return;
    };
    let Ok(Ok(zone)) = std::str::from_utf8(name).map(str::parse) else {
        return;
    };
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| numbers[at + byte]));
    let claims = TicketClaims {
        id: std::array::from_fn(|byte| numbers[byte]),
        account: Account(number(16)),
        zone,
        expires_unix_s: number(24),
    };
    if let Ok(verified) = verify(&key.verifying_key(), &sign(&key, &claims), NOW_UNIX_S) {
        assert_eq!(verified, claims);
        assert!(
            claims.expires_unix_s.abs_diff(NOW_UNIX_S) <= 65,
            "good for too long: {claims:?}"
        );
    }
}

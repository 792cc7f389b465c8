//! Control messages on a stream: framing under any chunking, limits, malformed frames, refusal codes.

use everhold_protocol::limits::{CONTROL_BYTES_MAX, HELLO_BYTES_MAX};
use everhold_protocol::message::encode_frame;
use everhold_protocol::{
    ClientMessage, Credential, Epoch, Event, FrameDecoder, FrameError, Heading, Intent, RefusalCode, SeqEvent,
    ServerMessage, Tick,
};
use proptest::prelude::*;

use super::strategy;

fn chat(len: usize) -> ServerMessage {
    let event = Event::Chat {
        from: Default::default(),
        text: "x".repeat(len),
    };
    ServerMessage::Event(SeqEvent {
        seq: 1,
        tick: Tick(1),
        event,
    })
}

/// Returns a frame of exactly these bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

#[test]
fn message_waits_for_its_last_byte() {
    let bytes = encode_frame(&ClientMessage::Logout).unwrap();
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.push(&bytes[..bytes.len() - 1]);
    assert_eq!(decoder.next::<ClientMessage>().unwrap(), None);
    decoder.push(&bytes[bytes.len() - 1..]);
    assert_eq!(decoder.next().unwrap(), Some(ClientMessage::Logout));
    assert_eq!(decoder.next::<ClientMessage>().unwrap(), None);
}

#[test]
fn frame_beyond_the_limit_is_refused_by_its_length_alone() {
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.push(&(HELLO_BYTES_MAX as u32 + 1).to_le_bytes());
    let refusal = decoder.next::<ClientMessage>();
    assert!(
        matches!(refusal, Err(FrameError::TooLarge { bytes, max: HELLO_BYTES_MAX }) if bytes == HELLO_BYTES_MAX + 1)
    );
}

#[test]
fn limit_rises_after_the_first_message() {
    let large = encode_frame(&chat(3_000)).unwrap();
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.push(&encode_frame(&ServerMessage::Wait).unwrap());
    assert_eq!(decoder.next().unwrap(), Some(ServerMessage::Wait));
    decoder.set_bytes_max(CONTROL_BYTES_MAX);
    decoder.push(&large);
    assert_eq!(decoder.next().unwrap(), Some(chat(3_000)));
}

#[test]
fn second_message_of_a_chunk_is_held_to_the_limit_of_its_time() {
    let chunk = [
        encode_frame(&ServerMessage::Wait).unwrap(),
        encode_frame(&chat(3_000)).unwrap(),
    ]
    .concat();
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.push(&chunk);
    assert_eq!(decoder.next().unwrap(), Some(ServerMessage::Wait));
    assert!(matches!(
        decoder.next::<ServerMessage>(),
        Err(FrameError::TooLarge { .. })
    ));
    decoder.set_bytes_max(CONTROL_BYTES_MAX);
    assert_eq!(decoder.next().unwrap(), Some(chat(3_000)));
}

#[test]
fn bytes_after_the_message_in_its_frame_are_refused() {
    let mut body = encode_frame(&ClientMessage::Logout).unwrap().split_off(4);
    body.push(0);
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    decoder.push(&frame(&body));
    assert!(matches!(
        decoder.next::<ClientMessage>(),
        Err(FrameError::TrailingBytes { left: 1 })
    ));
}

#[test]
fn frame_of_another_message_or_of_none_is_refused() {
    for body in [&b"\xa4Wait"[..], b"", b"\xc1", b"\xdd\xff\xff\xff\xff"] {
        let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
        decoder.push(&frame(body));
        assert!(
            matches!(decoder.next::<ClientMessage>(), Err(FrameError::Decode(_))),
            "{body:x?}"
        );
    }
}

#[test]
fn message_beyond_the_limit_is_not_sent() {
    assert!(matches!(
        encode_frame(&chat(CONTROL_BYTES_MAX)),
        Err(FrameError::TooLarge { .. })
    ));
}

#[test]
fn largest_hello_fits_its_limit() {
    let credential = Credential::Resume {
        zone: "a".repeat(32).parse().unwrap(),
        session: everhold_protocol::EntityId(u64::MAX),
        secret: [0xff; 32],
        epoch: Epoch(u32::MAX),
        event_seq: u64::MAX,
    };
    let hello = ClientMessage::Hello {
        protocol: u16::MAX,
        credential,
    };
    assert!(encode_frame(&hello).unwrap().len() <= HELLO_BYTES_MAX / 4);
}

#[test]
fn intent_read_by_serde_is_checked_too() {
    let fast = rmp_serde::to_vec(&(127_i8, 127_i8)).unwrap();
    assert!(rmp_serde::from_slice::<Heading>(&fast).is_err());
    for bad in [
        Intent::Say("\n".into()),
        Intent::GiveGold {
            to: Default::default(),
            amount: 0,
        },
    ] {
        let bytes = rmp_serde::to_vec(&bad).unwrap();
        assert!(rmp_serde::from_slice::<Intent>(&bytes).is_err(), "{bad:?}");
    }
}

#[test]
fn refusal_codes_keep_their_numbers() {
    for (number, code) in (0..).zip(RefusalCode::ALL) {
        assert_eq!((code.code(), RefusalCode::from_code(number)), (number, Some(code)));
    }
    assert_eq!(RefusalCode::from_code(RefusalCode::ALL.len() as u32), None);
    assert_eq!(RefusalCode::from_code(u32::MAX), None);
}

proptest! {
    #![proptest_config(strategy::cases(256))]

    #[test]
    fn messages_come_whole_out_of_any_chunks(
        texts in prop::collection::vec(1..200_usize, 1..6),
        cuts in prop::collection::vec(1..40_usize, 1..200),
    ) {
        let sent: Vec<_> = texts.iter().map(|&len| chat(len)).collect();
        let mut stream: &[u8] = &sent.iter().flat_map(|message| encode_frame(message).unwrap()).collect::<Vec<_>>();
        let (mut decoder, mut got) = (FrameDecoder::new(HELLO_BYTES_MAX), Vec::new());
        for &cut in cuts.iter().cycle() {
            let (chunk, rest) = stream.split_at(cut.min(stream.len()));
            decoder.push(chunk);
            while let Some(message) = decoder.next::<ServerMessage>().unwrap() {
                got.push(message);
            }
            stream = rest;
            if stream.is_empty() { break; }
        }
        prop_assert_eq!(got, sent);
    }
}

proptest! {
    #![proptest_config(strategy::cases(10_000))]

    #[test]
    fn arbitrary_frames_never_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
        decoder.push(&frame(&body));
        // The decoder may fail, but not panic; a message that is read must be written as something readable.
        if let Ok(Some(message)) = decoder.next::<ClientMessage>() {
            prop_assert!(encode_frame(&message).is_ok());
        }
    }
}

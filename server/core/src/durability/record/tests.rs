//! Records, told by circumstances.

use everhold_protocol::{EntityId, Epoch, Heading};
use proptest::prelude::*;

use super::*;

fn record(inputs: Vec<Input>) -> Record {
    Record {
        epoch: Epoch(3),
        tick: Tick(77),
        prev_hash: RecordHash([5; 32]),
        digest_before: Some(Digest(u64::MAX)),
        inputs,
    }
}

fn one_of_each() -> Vec<Input> {
    let (session, token) = (EntityId::new(3, 9), AttachToken(1 << 40));
    vec![
        Input::EpochStart {
            epoch: Epoch(3),
            nonce: u64::MAX,
            rules_id: [1; 32],
        },
        Input::Join(Join {
            account: Account(u64::MAX),
            ticket: [2; 16],
            ticket_forget_tick: Tick(9_000),
            secret: [3; 32],
            token,
            birth: Birth::Always,
        }),
        Input::Resume(Resume {
            session,
            secret: [4; 32],
            next_secret: [5; 32],
            event_seq: u64::MAX,
            token,
        }),
        Input::Intent {
            session: EntityId(u64::MAX),
            seq: 1,
            intent: Intent::Move(Heading::STILL),
        },
        Input::Intent {
            session,
            seq: u64::MAX,
            intent: Intent::Say("hello".to_owned()),
        },
        Input::EventAck {
            session: EntityId(0),
            event_seq: 4,
        },
        Input::Invalid { session, seq: 300 },
        Input::Detach { session, token },
        Input::Logout { session, token },
        Input::Quarantine { session, seq: 12 },
        Input::Dismiss {
            account: Account(u64::MAX),
            code: RefusalCode::Banned,
        },
    ]
}

#[test]
fn every_input_is_read_back_as_it_was_written() {
    for digest_before in [None, Some(Digest(0)), Some(Digest(u64::MAX))] {
        let record = Record {
            digest_before,
            ..record(one_of_each())
        };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
    let empty = record(Vec::new());
    assert_eq!(Record::decode(&empty.encode()), Ok(empty));
}

#[test]
fn hash_depends_on_everything() {
    let original = record(one_of_each());
    let mut hashes = vec![original.encode().hash];
    hashes.push(
        Record {
            epoch: Epoch(4),
            ..original.clone()
        }
        .encode()
        .hash,
    );
    hashes.push(
        Record {
            tick: Tick(78),
            ..original.clone()
        }
        .encode()
        .hash,
    );
    hashes.push(
        Record {
            prev_hash: RecordHash::GENESIS,
            ..original.clone()
        }
        .encode()
        .hash,
    );
    hashes.push(
        Record {
            digest_before: None,
            ..original.clone()
        }
        .encode()
        .hash,
    );
    hashes.push(record(original.inputs[1..].to_vec()).encode().hash);
    let distinct: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn layout_is_what_it_was() {
    let stored = record(vec![Input::EventAck {
        session: EntityId::new(1, 2),
        event_seq: 300,
    }])
    .encode();
    let expected = b"\x02\x03\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\x01\x05\x84\x80\x80\x80\x20\xac\x02";
    assert_eq!(
        &stored.body[..],
        expected,
        "a layout that is written to disk changes only with its number"
    );
}

#[test]
fn join_of_the_first_layout_bears_a_character_in_any_case() {
    let join = one_of_each().swap_remove(1);
    let Input::Join(Join { birth, .. }) = join else {
        panic!("{join:?}")
    };
    assert_eq!(birth, Birth::Always);
    let now = record(vec![join]);
    let body = now.encode().body;
    let (last, rest) = body.split_last().unwrap();
    assert_eq!(*last, BIRTH_ALWAYS);
    let first = [&[1], &rest[1..]].concat();
    assert_eq!(Record::decode(&sealed_after(&now, &first)), Ok(now));
}

fn sealed_after(record: &Record, body: &[u8]) -> StoredRecord {
    let Record {
        prev_hash, epoch, tick, ..
    } = *record;
    StoredRecord {
        tick,
        prev_hash,
        hash: hash_record(prev_hash, epoch, tick, body),
        body: body.to_vec().into(),
    }
}

#[test]
fn any_changed_bit_is_noticed() {
    let stored = record(one_of_each()).encode();
    for at in 0..stored.body.len() {
        let mut body = stored.body.to_vec();
        body[at] ^= 1;
        let changed = StoredRecord {
            body: body.into(),
            ..stored.clone()
        };
        assert_eq!(Record::decode(&changed), Err(RecordError::HashMismatch));
    }
    let moved = StoredRecord {
        tick: Tick(78),
        ..stored
    };
    assert_eq!(Record::decode(&moved), Err(RecordError::HashMismatch));
}

/// Returns a record whose hash is right and whose body is `body`.
fn sealed(body: &[u8]) -> StoredRecord {
    let epoch = body
        .get(1..5)
        .map_or(0, |epoch| u32::from_le_bytes(epoch.try_into().unwrap()));
    let prev_hash = RecordHash::GENESIS;
    StoredRecord {
        tick: Tick(1),
        prev_hash,
        hash: hash_record(prev_hash, Epoch(epoch), Tick(1), body),
        body: body.to_vec().into(),
    }
}

#[test]
fn what_a_later_version_wrote_is_refused_by_name() {
    assert_eq!(
        Record::decode(&sealed(&[9, 0, 0, 0, 0])),
        Err(RecordError::LayoutUnknown(9))
    );
    assert_eq!(
        Record::decode(&sealed(&[1, 0, 0, 0, 0, 0x82, 0])),
        Err(RecordError::FlagsUnknown(0x82))
    );
    let tag = Record::decode(&sealed(&[1, 0, 0, 0, 0, 0, 1, 99, 0]));
    assert_eq!(
        tag,
        Err(RecordError::Malformed(DecodeError::UnknownTag {
            what: "input",
            tag: 99
        }))
    );
}

#[test]
fn lie_about_the_number_of_inputs_allocates_nothing() {
    let mut body = vec![1, 0, 0, 0, 0, 0];
    Writer::new(&mut body).varint(u64::MAX);
    assert_eq!(
        Record::decode(&sealed(&body)),
        Err(RecordError::Malformed(DecodeError::Truncated))
    );
}

#[test]
fn ten_thousand_turning_players_fit_in_a_hundred_kilobytes() {
    let inputs = (0..10_000).map(|n| Input::Intent {
        // Clients come in any order; their sessions lie close together.
        session: EntityId::new(3, 1 + n * 7_919 % 10_000),
        seq: u64::from(30_000 + n % 50),
        intent: Intent::Move(Heading::new(90, -89).unwrap()),
    });
    let bytes = record(inputs.collect()).encode().body.len();
    assert!(bytes < 100_000, "{bytes} bytes");
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut body = vec![LAYOUT, 0, 0, 0, 0, 0];
        body.extend(rest);
        if let Ok(record) = Record::decode(&sealed(&body)) {
            prop_assert_eq!(&record.encode().body[..], &body[..], "one encoding for each record");
        }
    }

    #[test]
    fn sessions_in_any_order_are_read_back(sessions in prop::collection::vec(any::<u64>(), 0..50)) {
        let inputs = sessions.into_iter().map(|id| Input::EventAck { session: EntityId(id), event_seq: 1 }).collect();
        let record = record(inputs);
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn record_of_a_later_layout_is_left_to_the_build_that_wrote_it_and_is_no_damage() {
    let body = [LAYOUT + 1, 0, 0, 0, 0, 0];
    let stored = StoredRecord::sealed(Tick(1), RecordHash::GENESIS, &body);
    let error = Record::decode(&stored).unwrap_err();
    assert!(error.is_of_later_build() && error.to_string().contains("start the build that wrote it"));
    let error = crate::durability::ReplayError::Record { tick: Tick(1), error };
    assert_eq!((error.is_unfit(), error.is_damage()), (true, false));
}

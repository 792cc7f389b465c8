//! The bytes on the wire stay the same: one file per kind, in `assets/golden`. `UPDATE_GOLDEN=1` writes them anew; a
//! change to one is a change that an older peer cannot read, and so a new ALPN.

use std::fmt::Debug;
use std::fmt::Write as _;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use everhold_protocol::message::encode_frame;
use everhold_protocol::ticket::{sign, verify};
use everhold_protocol::{
    Account, Attached, ClientMessage, Credential, EntityId, EntityKind, EntityUpdate, EntityView, Epoch, Event,
    FrameDecoder, GoldCause, Heading, InputFrame, Intent, Item, ItemCause, OwnState, RefusalCode, SeqEvent, SeqIntent,
    ServerMessage, Snapshot, SnapshotHeader, Tick, TicketClaims, Velocity,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../assets/golden")
        .join(format!("{name}.hex"))
}

/// Returns hexadecimal digits, 32 bytes a line.
fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Compares, or writes if `UPDATE_GOLDEN` is set. Returns the file's content.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, to_hex(bytes)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        text,
        to_hex(bytes),
        "{name} is not what it was; UPDATE_GOLDEN=1 accepts it"
    );
    from_hex(&text)
}

/// Checks a control message: its frame is the golden one, and the golden one reads as the message.
fn control<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let kept = golden(name, &encode_frame(message).unwrap());
    let mut decoder = FrameDecoder::new(everhold_protocol::limits::CONTROL_BYTES_MAX);
    decoder.push(&kept);
    assert_eq!(decoder.next::<T>().unwrap().as_ref(), Some(message));
}

fn event(name: &str, event: Event) {
    control(
        name,
        &ServerMessage::Event(SeqEvent {
            seq: 300,
            tick: Tick(70_000),
            event,
        }),
    );
}

fn id(counter: u32) -> EntityId {
    EntityId::new(2, counter)
}

#[test]
fn client_messages() {
    let resume = Credential::Resume {
        zone: "meadow".parse().unwrap(),
        session: id(7),
        secret: std::array::from_fn(|place| place as u8 * 8),
        epoch: Epoch(3),
        event_seq: 12,
    };
    control(
        "hello_ticket",
        &ClientMessage::Hello {
            protocol: 1,
            credential: Credential::Ticket(vec![0xab; 20]),
        },
    );
    control(
        "hello_resume",
        &ClientMessage::Hello {
            protocol: 1,
            credential: resume,
        },
    );
    control("logout", &ClientMessage::Logout);
}

#[test]
fn server_messages() {
    let own = OwnState {
        x: -5_000,
        y: 70_000,
        hp: 90,
        gold: 1_000_000,
        items: vec![Item { uid: id(9), kind: 4 }],
    };
    let attached = ServerMessage::Attached(Attached {
        epoch: Epoch(3),
        zone: "meadow".parse().unwrap(),
        session: id(7),
        secret: [0x5a; 32],
        tick_hz: 20,
        resumed_tick: Tick(70_001),
        last_input_seq: 400,
        event_seq: 12,
        events_forgotten: 9,
        rewound_ticks: 0,
        own,
        peers: vec!["127.0.0.1:7001".parse().unwrap(), "[::1]:7002".parse().unwrap()],
    });
    let addr = "10.0.0.1:7000".parse().unwrap();
    control("attached", &attached);
    control(
        "redirect",
        &ServerMessage::Redirect {
            addr,
            zone: "meadow".parse().unwrap(),
            epoch: Epoch(3),
        },
    );
    control("wait", &ServerMessage::Wait);
    control("superseded", &ServerMessage::Superseded);
    control("queued", &ServerMessage::Queued { position: 70_000 });
    control("peers", &ServerMessage::Peers(vec![addr]));
    control(
        "refused",
        &ServerMessage::Refused {
            code: RefusalCode::TicketExpired,
            detail: "6 s ago".into(),
        },
    );
}

#[test]
fn events() {
    let item = Item { uid: id(9), kind: 4 };
    event(
        "event_gold",
        Event::Gold {
            total: 900,
            delta: -100,
            cause: GoldCause::GiftTo(id(8)),
        },
    );
    event(
        "event_item_gained",
        Event::ItemGained {
            item,
            cause: ItemCause::PickedUp,
        },
    );
    event(
        "event_item_lost",
        Event::ItemLost {
            item,
            cause: ItemCause::GiftTo(id(8)),
        },
    );
    event(
        "event_chat",
        Event::Chat {
            from: id(8),
            text: "hail".into(),
        },
    );
    event("event_kill", Event::Kill { victim: id(10) });
    event("event_death", Event::Death { by: id(10) });
    event("event_respawn", Event::Respawn);
    event(
        "event_rejected",
        Event::Rejected {
            seq: 401,
            reason: everhold_protocol::event::RejectReason::TooFar,
        },
    );
}

#[test]
fn input_datagram() {
    let intents = [
        Intent::Move(Heading::new(-100, 70).unwrap()),
        Intent::Strike { target: id(10) },
        Intent::PickUp { item: id(9) },
        Intent::GiveGold { to: id(8), amount: 100 },
        Intent::GiveItem { to: id(8), item: id(9) },
        Intent::Say("hail".into()),
    ];
    let intents = (401..)
        .zip(intents)
        .map(|(seq, intent)| SeqIntent { seq, intent })
        .collect();
    let frame = InputFrame {
        epoch: Epoch(3),
        snapshot_tick: Tick(70_003),
        event_ack: 12,
        intents,
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(
        InputFrame::decode(&golden("input", &bytes)).unwrap().checked(),
        Ok(frame)
    );
}

#[test]
fn snapshot_datagram() {
    let header = SnapshotHeader {
        epoch: Epoch(3),
        tick: Tick(70_003),
        unconfirmed_ticks: 0,
        dilation: 255,
        last_input_seq: 400,
        event_seq: 12,
        x: -5_000,
        y: 70_000,
        hp: 90,
        value_digest: everhold_protocol::value_digest(1_000_000, &[Item { uid: id(9), kind: 4 }]),
    };
    let view = |id, kind, x, y, health| EntityView { id, kind, x, y, health };
    let updates = vec![
        EntityUpdate::Seen(
            view(id(8), EntityKind::Player, -4_900, 70_100, 255),
            Velocity { dx: 25, dy: -17 },
        ),
        EntityUpdate::Seen(view(id(10), EntityKind::Monster, -9_000, 75_000, 17), Velocity::STILL),
        EntityUpdate::Seen(
            view(EntityId::new(7, 1), EntityKind::Item, -5_000, 70_000, 255),
            Velocity::STILL,
        ),
        EntityUpdate::Gone(id(11)),
    ];
    let snapshot = Snapshot {
        header,
        id_range: id(8).range(),
        updates,
    };
    let mut bytes = Vec::new();
    snapshot.encode(&mut bytes);
    assert_eq!(Snapshot::decode(&golden("snapshot", &bytes)), Ok(snapshot));
}

#[test]
fn snapshot_datagram_of_a_tick_that_is_not_stored() {
    let header = SnapshotHeader {
        epoch: Epoch(3),
        tick: Tick(70_003),
        unconfirmed_ticks: 2,
        dilation: 255,
        last_input_seq: 402,
        event_seq: 12,
        x: -5_000,
        y: 70_000,
        hp: 90,
        value_digest: everhold_protocol::value_digest(1_000_000, &[Item { uid: id(9), kind: 4 }]),
    };
    let snapshot = Snapshot {
        header,
        id_range: id(8).range(),
        updates: vec![],
    };
    let mut bytes = Vec::new();
    snapshot.encode(&mut bytes);
    assert_eq!(Snapshot::decode(&golden("snapshot_unconfirmed", &bytes)), Ok(snapshot));
}

#[test]
fn ticket() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let zone = "meadow".parse().unwrap();
    let claims = TicketClaims {
        id: [3; 16],
        account: Account(42),
        zone,
        expires_unix_s: 1_900_000_060,
    };
    let kept = golden("ticket", &sign(&key, &claims));
    assert_eq!(verify(&key.verifying_key(), &kept, 1_900_000_000), Ok(claims));
}

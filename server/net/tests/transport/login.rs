//! Admission of players, and the refusal of others.

use std::collections::HashMap;

use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_core::ingress::{AttachToken, Login, ResumeClaim, ResumeKeys};
use everhold_net::transport::ConnEvent;
use everhold_protocol::limits::{HELLO_BYTES_MAX, SECRET_BYTES};
use everhold_protocol::message::encode_frame;
use everhold_protocol::ticket::sign;
use everhold_protocol::{Account, ClientMessage, Credential, Epoch, PROTOCOL_VERSION, RefusalCode, SessionId};
use tokio::sync::mpsc;

use super::harness::{Dialed, Kind, Player, Server, Told, claims, config, hello, hello_with, soon, until};

/// Dials with this first message, expects this refusal, and that a player who was there before notices nothing.
async fn refused(server: &Server, message: &ClientMessage, code: RefusalCode) {
    refused_bytes(server, &encode_frame(message).expect("it fits"), code).await;
}

async fn refused_bytes(server: &Server, bytes: &[u8], code: RefusalCode) {
    let mut bystander = server.bystander().await;
    let mut stranger = server.dial_and_write(bytes).await;
    stranger.hear_refusal(code).await;
    assert_eq!(server.counters.closed(code).count(), 1);
    bystander.exchange().await;
}

async fn good_ticket_is_told_to_the_shard_as_it_was_signed() {
    let mut server = Server::start();
    let claims = claims(30);
    let mut player = server.dial_and_say(&hello(sign(server.signing_key(), &claims))).await;
    let Told::Hello(conn, login) = server.next_told().await else {
        panic!("not a Hello")
    };
    assert_eq!(login, Login::Ticket(claims));
    assert_eq!(conn.remote().ip(), server.addr().ip());
    player.hear().await;
    player.exchange().await;
    assert_eq!(
        (server.counters.connections.now(), server.counters.half_open.now()),
        (1, 0)
    );
}

/// A resume with a secret of these keys, and what the shard is to hear of it.
fn resume(keys: &ResumeKeys) -> (Credential, Login) {
    let (zone, session, account) = (claims(0).zone, SessionId::new(1, 2), Account(6));
    let secret = keys.make(account, [5; SECRET_RANDOM_BYTES]);
    let (epoch, event_seq) = (3, 4);
    let said = Credential::Resume {
        zone: zone.clone(),
        session,
        secret,
        epoch: Epoch(epoch),
        event_seq,
    };
    (
        said,
        Login::Resume(ResumeClaim {
            account,
            zone,
            session,
            secret,
            epoch: Epoch(epoch),
            event_seq,
        }),
    )
}

async fn resume_is_told_to_the_shard_as_it_was_said() {
    let mut server = Server::start();
    let (credential, expected) = resume(&server.keys.resume_keys());
    let _player = server.dial_and_say(&hello_with(credential)).await;
    let Told::Hello(_, login) = server.next_told().await else {
        panic!("not a Hello")
    };
    assert_eq!(login, expected);
}

async fn resume_with_a_secret_of_another_world_is_refused() {
    let (server, other) = (Server::start(), Server::start());
    let (credential, _) = resume(&other.keys.resume_keys());
    refused(&server, &hello_with(credential), RefusalCode::SessionUnknown).await;
}

async fn resume_with_a_guessed_secret_is_refused() {
    let server = Server::start();
    let credential = Credential::Resume {
        zone: claims(0).zone,
        session: SessionId::new(1, 2),
        secret: [5; SECRET_BYTES],
        epoch: Epoch(u32::MAX),
        event_seq: 0,
    };
    refused(&server, &hello_with(credential), RefusalCode::SessionUnknown).await;
}

async fn two_connections_have_two_tokens() {
    let mut server = Server::start();
    let (_one, _two) = (server.player().await, server.player().await);
    assert_ne!(server.next_conn().await.token(), server.next_conn().await.token());
}

async fn ticket_of_another_signer_is_refused() {
    let (server, other) = (Server::start(), Server::start());
    let message = hello(sign(other.signing_key(), &claims(30)));
    refused(&server, &message, RefusalCode::TicketInvalid).await;
}

async fn expired_ticket_is_refused() {
    let server = Server::start();
    let message = hello(sign(server.signing_key(), &claims(-60)));
    refused(&server, &message, RefusalCode::TicketExpired).await;
}

async fn other_version_is_refused() {
    let server = Server::start();
    let credential = Credential::Ticket(sign(server.signing_key(), &claims(30)));
    let message = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION + 1,
        credential,
    };
    refused(&server, &message, RefusalCode::Version).await;
}

async fn hello_of_another_version_is_told_so_whatever_else_it_says() {
    let hellos: [&[u8]; 5] = [
        b"\x81\xA5Hello\x92\x7E\x81\xA7Passkey\x92\x01\xC0",
        b"\x81\xA5Hello\x94\x7E\x81\xA6Ticket\xC4\x01a\xC3\x90",
        b"\x81\xA5Hello\x92\x01\x81\xA6Ticket\xC4\x01a",
        b"\x81\xA5Hello\x91\xCE\x00\x01\x00\x02",
        b"\x82\xA5Hello\x82\xA8protocol\x7E\xA3who\xC0\xA5proof\xC0",
    ];
    for hello in hellos {
        let length = u32::try_from(hello.len()).expect("a short message");
        let bytes = [&length.to_le_bytes(), hello].concat();
        refused_bytes(&Server::start(), &bytes, RefusalCode::Version).await;
    }
}

async fn hello_of_this_version_that_cannot_be_read_is_malformed() {
    let version = u8::try_from(PROTOCOL_VERSION).expect("a version of one byte");
    let hello = [&b"\x81\xA5Hello\x92"[..], &[version], b"\x81\xA7Passkey\x92\x01\xC0"].concat();
    let length = u32::try_from(hello.len()).expect("a short message");
    let bytes = [&length.to_le_bytes(), &hello[..]].concat();
    refused_bytes(&Server::start(), &bytes, RefusalCode::Malformed).await;
}

async fn logout_before_hello_is_refused() {
    refused(&Server::start(), &ClientMessage::Logout, RefusalCode::Malformed).await;
}

async fn garbage_instead_of_hello_is_refused() {
    let mut bytes = 100_u32.to_le_bytes().to_vec();
    bytes.extend([0xC1; 100]);
    refused_bytes(&Server::start(), &bytes, RefusalCode::Malformed).await;
}

async fn hello_of_more_than_its_limit_is_refused_by_its_length_alone() {
    let announced = u32::try_from(HELLO_BYTES_MAX + 1).expect("a small limit");
    refused_bytes(&Server::start(), &announced.to_le_bytes(), RefusalCode::TooLarge).await;
}

async fn hello_that_is_said_in_single_bytes_is_understood() {
    let server = Server::start();
    let bytes = encode_frame(&server.hello()).expect("it fits");
    let mut player = server.dial_and_write(&bytes[..1]).await;
    for byte in &bytes[1..] {
        player.write(std::slice::from_ref(byte)).await;
    }
    player.hear().await.expect("a greeting");
    player.exchange().await;
}

/// Returns a connection's token and, in a word, its event.
fn heard(event: ConnEvent) -> (AttachToken, &'static str) {
    match event {
        ConnEvent::Hello { conn, .. } => (conn.token(), "hello"),
        ConnEvent::Logout { conn } => (conn.token(), "logout"),
        ConnEvent::Closed { token, .. } => (token, "closed"),
    }
}

async fn shard_that_was_busy_hears_all_of_each_connection_in_order() {
    let keys = Server::start();
    let (events_in, mut events) = mpsc::channel(1);
    let transport = Kind::bind(config(), &keys.keys, events_in).expect("loopback can be bound");
    let counters = transport.counters();
    let hello = encode_frame(&keys.hello()).expect("it fits");
    let mut players = Vec::new();
    for _ in 0..4 {
        let dialed = Dialed::dial(transport.local_addr(), keys.client_config()).await;
        players.push(Player::open(dialed.expect("the handshake succeeds"), &hello).await);
    }
    until(|| counters.hellos.count() == 4).await;
    players.remove(0).say(&ClientMessage::Logout).await;
    drop(players);
    let mut told: HashMap<AttachToken, Vec<&str>> = HashMap::new();
    while told.values().flatten().filter(|what| **what == "closed").count() < 4 {
        let (token, what) = heard(soon(events.recv()).await.expect("the transport lives"));
        told.entry(token).or_default().push(what);
    }
    assert_eq!(told.len(), 4);
    for words in told.values() {
        assert_eq!(
            (words.first(), words.last()),
            (Some(&"hello"), Some(&"closed")),
            "{words:?}"
        );
    }
    until(|| counters.connections.now() == 0).await;
}

on_both! {
    shard_that_was_busy_hears_all_of_each_connection_in_order,
    good_ticket_is_told_to_the_shard_as_it_was_signed,
    resume_is_told_to_the_shard_as_it_was_said,
    resume_with_a_secret_of_another_world_is_refused,
    resume_with_a_guessed_secret_is_refused,
    two_connections_have_two_tokens,
    ticket_of_another_signer_is_refused,
    expired_ticket_is_refused,
    other_version_is_refused,
    hello_of_another_version_is_told_so_whatever_else_it_says,
    hello_of_this_version_that_cannot_be_read_is_malformed,
    logout_before_hello_is_refused,
    garbage_instead_of_hello_is_refused,
    hello_of_more_than_its_limit_is_refused_by_its_length_alone,
    hello_that_is_said_in_single_bytes_is_understood,
}

//! The client's machine against a server that says anything at any time.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use everhold_protocol::client::{Command, ConnId, Notice};
use everhold_protocol::codec::Reader;
use everhold_protocol::{Client, ClientConfig, ClientMessage, Credential, FrameDecoder, Intent, ServerMessage};

/// Steps of one client's life.
const STEPS_MAX: usize = 200;
/// Commands, or notices, that one step may cause: a confirmation of all intents, and a search's few connections.
const ANSWERS_MAX: usize = 400;

/// Runs a client's life on any bytes.
pub fn client(data: &[u8]) {
    // The life ends with the bytes.
    let _at_its_end = live(&mut Unstructured::new(data));
}

fn live(bytes: &mut Unstructured<'_>) -> Result<()> {
    let credential = if bytes.arbitrary()? {
        Credential::Ticket(vec![1; 8])
    } else {
        saved_session(bytes)?
    };
    let addrs = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
    let mut client = Client::new(ClientConfig::default(), credential, addrs, bytes.arbitrary()?);
    let mut now = Duration::ZERO;
    client.handle_start(now);
    for _ in 0..STEPS_MAX {
        now += Duration::from_millis(bytes.int_in_range(0..=3_000)?);
        act(&mut client, now, bytes)?;
        let commands = std::iter::from_fn(|| client.poll_command())
            .inspect(check_command)
            .count();
        let notices = std::iter::from_fn(|| client.poll_notice()).map(|_: Notice| ()).count();
        assert!(
            commands <= ANSWERS_MAX && notices <= ANSWERS_MAX,
            "{commands} commands, {notices} notices"
        );
        let _listed = client.mirror().entities().count();
        if client.is_finished() {
            assert_eq!(client.poll_timeout(), None, "a machine that has ended wants nothing");
        }
    }
    Ok(())
}

/// Makes a `Resume` as a client might have kept it.
fn saved_session(bytes: &mut Unstructured<'_>) -> Result<Credential> {
    let mut decoder = FrameDecoder::new(2_048);
    decoder.push(bytes.bytes(bytes.len().min(96))?);
    Ok(match decoder.next::<ClientMessage>() {
        Ok(Some(ClientMessage::Hello { credential, .. })) => credential,
        _ => Credential::Ticket(Vec::new()),
    })
}

fn act(client: &mut Client, now: Duration, bytes: &mut Unstructured<'_>) -> Result<()> {
    let conn = ConnId(bytes.int_in_range(0..=7)?);
    match bytes.int_in_range(0..=6)? {
        0 => client.handle_connected(now, conn),
        1 => client.handle_disconnected(now, conn, bytes.arbitrary()?, "gone"),
        2 => {
            let len = bytes.int_in_range(0..=400)?;
            let mut decoder = FrameDecoder::new(1_024);
            decoder.push(bytes.bytes(len.min(bytes.len()))?);
            while let Ok(Some(message)) = decoder.next::<ServerMessage>() {
                client.handle_control(now, conn, message);
            }
        }
        3 => {
            let len = bytes.int_in_range(0..=120)?;
            client.handle_datagram(now, conn, bytes.bytes(len.min(bytes.len()))?);
        }
        4 => client.handle_timeout(now),
        5 => {
            let len = bytes.int_in_range(0..=16)?;
            let mut from = Reader::new(bytes.bytes(len.min(bytes.len()))?);
            if let Ok(intent) = Intent::decode(&mut from) {
                let _or_busy = client.push_intent(now, intent);
            }
        }
        _ => client.logout(now),
    }
    Ok(())
}

/// Checks that a server can read what the client sends.
fn check_command(command: &Command) {
    if let Command::SendDatagram { bytes, .. } = command {
        everhold_protocol::InputFrame::decode(bytes).expect("a client's own frame");
    }
}

//! The network layer on loopback.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client_sim::net::{LinkId, Net, NetEvent, Owner};
use everhold_protocol::{ClientMessage, Credential, PROTOCOL_VERSION, RefusalCode, ServerMessage};

use super::server::{HELLO_ANSWER, Server};

const PATIENCE: Duration = Duration::from_secs(20);

/// Datagrams may be lost, also on loopback: they are sent again after so long.
const AGAIN: Duration = Duration::from_millis(200);

/// Serves the network until `wanted` says something of an event.
#[track_caller]
fn wait<T>(net: &mut Net, links: &[LinkId], wanted: impl FnMut(Owner, NetEvent) -> Option<T>) -> T {
    wait_and_nudge(net, links, |_| {}, wanted)
}

/// The same; `nudge` is called now and then.
#[track_caller]
fn wait_and_nudge<T>(
    net: &mut Net,
    links: &[LinkId],
    mut nudge: impl FnMut(&mut Net),
    mut wanted: impl FnMut(Owner, NetEvent) -> Option<T>,
) -> T {
    let start = Instant::now();
    let mut nudge_at = start;
    while start.elapsed() < PATIENCE {
        net.receive().unwrap();
        while let Some((owner, _, event)) = net.poll_event() {
            if let Some(found) = wanted(owner, event) {
                return found;
            }
        }
        if Instant::now() >= nudge_at {
            nudge(net);
            nudge_at += AGAIN;
        }
        net.turn(Instant::now());
        for link in links {
            net.transmit(Instant::now(), *link);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("nothing of the kind within {PATIENCE:?}");
}

fn owner(player: u32) -> Owner {
    Owner { player, conn: 1 }
}

fn connected(server: &Server, net: &mut Net) -> LinkId {
    let link = net.connect(Instant::now(), server.addr, owner(0)).unwrap();
    wait(net, &[link], |_, event| {
        matches!(event, NetEvent::Connected).then_some(())
    });
    link
}

#[test]
fn control_messages_go_both_ways() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: Credential::Ticket(vec![7; 500]),
    };
    net.send_control(link, &hello).unwrap();
    let (who, detail) = wait(&mut net, &[link], |who, event| match event {
        NetEvent::Control(message) => match *message {
            ServerMessage::Refused { detail, .. } => Some((who, detail)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!((who, detail.as_str()), (owner(0), HELLO_ANSWER));
}

#[test]
fn largest_datagram_goes_both_ways() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    let sent = Bytes::from(vec![42; everhold_protocol::limits::DATAGRAM_BYTES_MAX]);
    let nudge = |net: &mut Net| net.send_datagram(link, sent.clone());
    let got = wait_and_nudge(&mut net, &[link], nudge, |_, event| match event {
        NetEvent::Datagram(bytes) => Some(bytes),
        _ => None,
    });
    assert_eq!(got, sent);
    assert!(net.traffic().udp_bytes_in > sent.len() as u64 && net.traffic().send_failures == 0);
}

#[test]
fn patient_connection_hears_when_it_is_asked_and_learns_when_it_came() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    net.set_patient(link, true);
    let start = Instant::now();
    let (came_at, asked_at) = loop {
        assert!(start.elapsed() < PATIENCE, "nothing came");
        net.send_datagram(link, Bytes::from_static(b"echo"));
        net.transmit(Instant::now(), link);
        net.turn(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        net.receive().unwrap();
        assert!(net.poll_event().is_none(), "an event that nobody asked for");
        let asked_at = Instant::now();
        net.take_in(link);
        if let Some((_, came_at, NetEvent::Datagram(_))) = net.poll_event() {
            break (came_at, asked_at);
        }
    };
    assert!(start < came_at && came_at < asked_at);
}

#[test]
fn close_by_the_server_tells_its_code() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    net.send_control(link, &ClientMessage::Logout).unwrap();
    let code = wait(&mut net, &[link], |_, event| match event {
        NetEvent::Disconnected { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code, Some(RefusalCode::Stopping as u64));
}

/// Waits until the connection is over; meanwhile datagrams go out, as from a player. Returns the peer's close code, and
/// why it is over.
#[track_caller]
fn until_disconnected(net: &mut Net, link: LinkId) -> (Option<u64>, String) {
    let nudge = |net: &mut Net| net.send_datagram(link, Bytes::from_static(&[7; 100]));
    wait_and_nudge(net, &[link], nudge, |_, event| match event {
        NetEvent::Disconnected { code, detail } => Some((code, detail)),
        _ => None,
    })
}

#[test]
fn connection_that_times_out_is_told() {
    let mut server = Server::start_with_idle(Duration::from_secs(3));
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    server.crash();
    let (code, detail) = until_disconnected(&mut net, link);
    assert_eq!((code, detail.as_str()), (None, "timed out"));
    assert_eq!(net.connections(), 0);
}

#[test]
fn patient_connection_that_the_server_has_forgotten_is_told() {
    let mut server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    server.crash();
    server.start_again();
    net.set_patient(link, true);
    let start = Instant::now();
    let (code, detail) = loop {
        assert!(start.elapsed() < PATIENCE, "nothing came");
        net.send_datagram(link, Bytes::from_static(&[7; 100]));
        net.transmit(Instant::now(), link);
        net.turn(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        net.receive().unwrap();
        net.take_in(link);
        if let Some((_, _, NetEvent::Disconnected { code, detail })) = net.poll_event() {
            break (code, detail);
        }
    };
    assert_eq!((code, detail.as_str()), (None, "reset by peer"));
    assert_eq!(net.connections(), 0);
}

#[test]
fn close_by_the_owner_frees_the_connection_and_tells_nothing() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 1).unwrap();
    let link = connected(&server, &mut net);
    net.close(Instant::now(), link, RefusalCode::Bye);
    let start = Instant::now();
    while net.connections() > 0 {
        assert!(start.elapsed() < PATIENCE, "the connection stays");
        net.receive().unwrap();
        net.turn(Instant::now());
        assert!(net.poll_event().is_none(), "an event of a connection that was closed");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn server_with_another_certificate_is_refused() {
    let (server, other) = (Server::start(), Server::start());
    let mut net = Net::new(vec![other.certificate.clone()], 1).unwrap();
    let link = net.connect(Instant::now(), server.addr, owner(0)).unwrap();
    let detail = wait(&mut net, &[link], |_, event| match event {
        NetEvent::Connected => panic!("connected to a stranger"),
        NetEvent::Disconnected { detail, code: None } => Some(detail),
        _ => None,
    });
    assert!(
        detail.contains("certificate") || detail.contains("Certificate"),
        "{detail}"
    );
}

#[test]
fn hundred_connections_on_three_sockets_keep_their_datagrams_apart() {
    let server = Server::start();
    let mut net = Net::new(vec![server.certificate.clone()], 3).unwrap();
    let links: Vec<LinkId> = (0..100)
        .map(|player| net.connect(Instant::now(), server.addr, owner(player)).unwrap())
        .collect();
    let mut up = 0;
    wait(&mut net, &links, |_, event| {
        up += usize::from(matches!(event, NetEvent::Connected));
        (up == links.len()).then_some(())
    });
    let nudge = |net: &mut Net| {
        for (player, link) in links.iter().enumerate() {
            net.send_datagram(*link, Bytes::from(vec![player as u8; 40]));
        }
    };
    let mut heard = [false; 100];
    wait_and_nudge(&mut net, &links, nudge, |who, event| {
        if let NetEvent::Datagram(bytes) = event {
            assert!(bytes.iter().all(|byte| u32::from(*byte) == who.player));
            heard[who.player as usize] = true;
        }
        (heard == [true; 100]).then_some(())
    });
    assert_eq!(net.local_ports().len(), 3);
}

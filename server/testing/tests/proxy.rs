//! Real sockets through a network with faults: each fault does what it says, and no byte is changed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use everhold_testing::player::PATIENCE;
use everhold_testing::proxy::{Door, Faults, Proxy, Way};

/// Longer than anything takes on loopback where nothing is wrong, and no machine is so busy that it matters: a test
/// that asks for silence cannot fail by what is slow.
const SILENCE: Duration = Duration::from_millis(300);

/// A server that says again what it hears.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(bytes @ 1..) = connection.read(&mut buffer) {
                    if connection.write_all(&buffer[..bytes]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// A server that answers every packet with its own word, and the packet.
fn answering(word: &'static [u8]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut packet = [0; 64];
        while let Ok((bytes, from)) = socket.recv_from(&mut packet) {
            let answer = [word, &packet[..bytes]].concat();
            socket.send_to(&answer, from).expect("loopback");
        }
    });
    addr
}

fn connect(proxy: &Proxy) -> TcpStream {
    let connection = TcpStream::connect(proxy.addr()).expect("it accepts");
    connection.set_read_timeout(Some(PATIENCE)).expect("a socket");
    connection
}

fn assert_echoed(connection: &mut TcpStream, bytes: usize) {
    let sent: Vec<u8> = (0..bytes).map(|number| number as u8).collect();
    let mut writer = connection.try_clone().expect("a socket");
    let writing = std::thread::spawn(move || writer.write_all(&sent).map(|()| sent));
    let mut heard = vec![0; bytes];
    connection.read_exact(&mut heard).expect("all of it comes back");
    assert!(
        writing.join().expect("a writer").expect("all is taken") == heard,
        "byte by byte"
    );
}

#[track_caller]
fn assert_silent(connection: &TcpStream) {
    connection.set_read_timeout(Some(SILENCE)).expect("a socket");
    let outcome = (&*connection).read(&mut [0; 1]);
    assert_eq!(outcome.expect_err("silence").kind(), ErrorKind::WouldBlock);
    connection.set_read_timeout(Some(PATIENCE)).expect("a socket");
}

#[track_caller]
fn assert_reset(mut connection: TcpStream) {
    let outcome = connection.read(&mut [0; 1]);
    assert_eq!(outcome.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn healthy_network_carries_every_byte_both_ways() {
    let proxy = Proxy::tcp(echo(), 1);
    assert_echoed(&mut connect(&proxy), 1_000_000);
}

#[test]
fn late_slow_and_dribbling_connection_loses_nothing() {
    let proxy = Proxy::tcp(echo(), 1);
    let way = Way {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        bytes_per_s: Some(20_000),
        ..Way::default()
    };
    proxy.set(Faults::both(way));
    let begun = Instant::now();
    assert_echoed(&mut connect(&proxy), 4_000);
    // 200 ms for the bytes, and the delay both ways.
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn what_was_said_while_a_way_is_stalled_arrives_when_it_is_healed() {
    let proxy = Proxy::tcp(echo(), 1);
    let mut connection = connect(&proxy);
    assert_echoed(&mut connection, 10);
    proxy.set(Faults {
        back: Way::STALLED,
        ..Faults::default()
    });
    connection.write_all(b"x").expect("the way there is open");
    assert_silent(&connection);
    proxy.heal();
    let mut heard = [0];
    connection.read_exact(&mut heard).expect("it comes");
    assert_eq!(&heard, b"x");
}

#[test]
fn connections_are_reset_and_new_ones_are_served() {
    let proxy = Proxy::tcp(echo(), 1);
    let mut connection = connect(&proxy);
    assert_echoed(&mut connection, 10);
    proxy.reset();
    assert_reset(connection);
    assert_echoed(&mut connect(&proxy), 10);
}

#[test]
fn half_open_connection_answers_nothing_and_is_reset_when_that_is_over() {
    let proxy = Proxy::tcp(echo(), 1);
    proxy.set(Faults {
        door: Door::HalfOpen,
        ..Faults::default()
    });
    let mut connection = connect(&proxy);
    connection.write_all(b"x").expect("it is accepted");
    assert_silent(&connection);
    proxy.heal();
    assert_reset(connection);
    assert_echoed(&mut connect(&proxy), 10);
}

#[test]
fn shut_door_resets_new_connections_and_spares_those_that_are_there() {
    let proxy = Proxy::tcp(echo(), 1);
    let mut old = connect(&proxy);
    assert_echoed(&mut old, 10);
    proxy.set(Faults {
        door: Door::Shut,
        ..Faults::default()
    });
    assert_reset(connect(&proxy));
    assert_echoed(&mut old, 10);
}

#[test]
fn network_without_a_target_resets_connections() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let proxy = Proxy::tcp(nobody.expect("a port that is free again"), 1);
    assert_reset(connect(&proxy));
}

/// A client that numbers its packets: an answer that comes late is taken for none to a later packet.
struct Client<'a> {
    socket: UdpSocket,
    proxy: &'a Proxy,
    sent: u32,
}

impl<'a> Client<'a> {
    fn new(proxy: &'a Proxy) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        Self { socket, proxy, sent: 0 }
    }

    /// Sends a packet, and returns its number.
    fn send(&mut self) -> u32 {
        self.sent += 1;
        let number = self.sent.to_be_bytes();
        self.socket.send_to(&number, self.proxy.addr()).expect("loopback");
        self.sent
    }

    /// Waits so long for the answer to a packet from this number on. Returns its word.
    fn answer_since(&self, number: u32, within: Duration) -> Option<Vec<u8>> {
        let (mut packet, until) = ([0; 64], Instant::now() + within);
        loop {
            let left = until
                .checked_duration_since(Instant::now())?
                .max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).expect("a socket");
            let (bytes, from) = self.socket.recv_from(&mut packet).ok()?;
            assert_eq!(from, self.proxy.addr());
            let (word, answered) = packet[..bytes].split_last_chunk().expect("a number");
            if u32::from_be_bytes(*answered) >= number {
                return Some(word.to_vec());
            }
        }
    }

    /// Sends packets until one is answered.
    fn answer(&mut self) -> Vec<u8> {
        let (first, begun) = (self.sent + 1, Instant::now());
        while begun.elapsed() < PATIENCE {
            self.send();
            if let Some(word) = self.answer_since(first, SILENCE) {
                return word;
            }
        }
        panic!("no answer within {PATIENCE:?}")
    }
}

#[test]
fn packets_that_come_while_the_network_is_cut_are_lost() {
    let proxy = Proxy::udp(answering(b"one"), 1);
    let mut client = Client::new(&proxy);
    assert_eq!(client.answer(), b"one");
    proxy.set(Faults::CUT);
    let lost = client.send();
    assert_eq!(client.answer_since(lost, SILENCE), None, "it is cut");
    proxy.heal();
    assert_eq!(client.answer_since(lost, SILENCE), None, "it is lost");
    assert_eq!(client.answer(), b"one");
}

#[test]
fn network_leads_to_another_server_from_the_same_addresses() {
    let proxy = Proxy::udp(answering(b"one"), 1);
    let mut client = Client::new(&proxy);
    assert_eq!(client.answer(), b"one");
    proxy.lead_to(answering(b"two"));
    assert_eq!(client.answer(), b"two");
}

#[test]
fn late_packets_come_late_and_some_are_lost() {
    let proxy = Proxy::udp(answering(b"one"), 1);
    let mut client = Client::new(&proxy);
    assert_eq!(client.answer(), b"one");
    let way = Way {
        delay: Duration::from_millis(60),
        loss_per_mille: 500,
        ..Way::default()
    };
    proxy.set(Faults {
        there: way,
        ..Faults::default()
    });
    let (begun, first) = (Instant::now(), client.sent + 1);
    for _ in 0..100 {
        client.send();
    }
    client.answer_since(first, PATIENCE).expect("some get through");
    assert!(begun.elapsed() >= way.delay, "{:?}", begun.elapsed());
    let others = std::iter::from_fn(|| client.answer_since(first, SILENCE)).count();
    assert!(others < 99, "and some are lost: {others}");
}

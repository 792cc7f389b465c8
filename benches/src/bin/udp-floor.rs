//! The floor under a server's CPU: plain UDP and AES-128-GCM for the same packets, without connections, congestion, or a game.
//!
//! In each tick it receives a datagram of every player and opens it, then seals one for every player and sends it, from one socket to as
//! many ports, as a QUIC server does. A process of its own sends and takes them. What a server spends per player-tick, divided by what this spends
//! in the same minutes on the same core, says how much QUIC and the game cost.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use everhold::limits::SOCKET_BUFFER_BYTES;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// What AES-GCM adds to a packet, bytes.
const TAG_BYTES: usize = 16;

#[derive(Parser, Clone)]
struct Arguments {
    /// Players, each a port of the other process.
    #[arg(long, default_value_t = 2_000)]
    players: usize,
    /// Bytes of a datagram to a player, tag included.
    #[arg(long, default_value_t = 200)]
    out_bytes: usize,
    /// Bytes of a datagram from a player, tag included.
    #[arg(long, default_value_t = 40)]
    in_bytes: usize,
    /// Ticks of a round.
    #[arg(long, default_value_t = 40)]
    ticks: usize,
    /// Rounds; their median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The core that is measured; the players are on the other.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Be the players, of a server at this port.
    #[arg(long, hide = true)]
    sink_of: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.in_bytes > TAG_BYTES
            && arguments.out_bytes > TAG_BYTES
            && arguments.players > 0
            && arguments.rounds > 0,
        "datagrams hold more than their tag of {TAG_BYTES} bytes, and there is somebody to send them to"
    );
    match arguments.sink_of {
        Some(port) => play(&arguments, port),
        None => serve(&arguments),
    }
}

fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("pin to core {core}"))
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key of 16 bytes"))
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// User and system time of this thread.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    // A tick's datagrams wait here for the tick, as they do at a server.
    socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    let mut players = spawn_players(arguments, socket.local_addr()?.port())?;
    pin(arguments.core)?;
    let outcome = measure(arguments, &socket, &mut players);
    // It ends with its input; if something went wrong before, it is ended.
    let _over = players.kill();
    players.wait()?;
    let mut rounds = outcome?;
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    let text = serde_json::json!({
        "us_per_player_tick": median,
        "rounds": rounds,
        "players": arguments.players,
        "out_bytes": arguments.out_bytes,
        "in_bytes": arguments.in_bytes,
    })
    .to_string();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "plain UDP and AES-128-GCM, {} B out and {} B in: {median:.2} us per player-tick (from {:.2} to {:.2})",
        arguments.out_bytes,
        arguments.in_bytes,
        rounds[0],
        rounds[rounds.len() - 1]
    )?;
    match &arguments.json {
        Some(path) => std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display())),
        None => Ok(writeln!(out, "{text}")?),
    }
}

fn spawn_players(arguments: &Arguments, port: u16) -> anyhow::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--players", &arguments.players.to_string()])
        .args(["--in-bytes", &arguments.in_bytes.to_string()])
        .args(["--out-bytes", &arguments.out_bytes.to_string()])
        .args(["--core", &arguments.core.to_string(), "--sink-of", &port.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .context("start the players")
}

/// µs per player-tick of each round. The first round warms up and does not count.
fn measure(arguments: &Arguments, socket: &UdpSocket, players: &mut Child) -> anyhow::Result<Vec<f64>> {
    let mut orders = players.stdin.take().context("the players take orders")?;
    let (key, mut counter, mut buffer) = (key(), 0, vec![0; 2_048]);
    let mut rounds = Vec::new();
    for round in 0..=arguments.rounds {
        let (mut spent, mut served) = (Duration::ZERO, 0);
        for _ in 0..arguments.ticks {
            orders.write_all(b"t")?;
            let begun = Instant::now();
            // The players send within this time; whoever was lost is not answered and not counted.
            std::thread::sleep(Duration::from_millis(20));
            let before = cpu();
            let heard = hear(socket, &key, &mut buffer)?;
            for &(from, _) in &heard {
                counter += 1;
                let mut packet = vec![0x5a; arguments.out_bytes - TAG_BYTES];
                key.seal_in_place_append_tag(nonce(counter), Aad::empty(), &mut packet)
                    .map_err(|_| anyhow::anyhow!("a packet was not sealed"))?;
                socket.send_to(&packet, from)?;
            }
            spent += cpu() - before;
            served += heard.len();
            std::thread::sleep(Duration::from_millis(50).saturating_sub(begun.elapsed()));
        }
        ensure!(
            served * 10 >= arguments.players * arguments.ticks * 9,
            "a tenth of the datagrams was lost: {served} arrived"
        );
        if round > 0 {
            rounds.push(spent.as_secs_f64() * 1e6 / served as f64);
        }
    }
    Ok(rounds)
}

/// Takes and opens everything that has come.
fn hear(socket: &UdpSocket, key: &LessSafeKey, buffer: &mut [u8]) -> anyhow::Result<Vec<(SocketAddr, usize)>> {
    let mut heard = Vec::new();
    loop {
        match socket.recv_from(buffer) {
            Ok((len, from)) => {
                let opened = key.open_in_place(nonce(0), Aad::empty(), &mut buffer[..len]);
                let opened = opened.map_err(|_| anyhow::anyhow!("a stranger's datagram"))?;
                heard.push((from, opened.len()));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The players: at each order everybody sends, and takes what came before.
fn play(arguments: &Arguments, port: u16) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    pin((arguments.core + 1) % cores)?;
    let mut sockets = Vec::new();
    for _ in 0..arguments.players {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let mut packet = vec![0xa5; arguments.in_bytes - TAG_BYTES];
    key()
        .seal_in_place_append_tag(nonce(0), Aad::empty(), &mut packet)
        .map_err(|_| anyhow::anyhow!("a packet was not sealed"))?;
    let (mut order, mut taken) = ([0], vec![0; 2_048]);
    let mut orders = std::io::stdin().lock();
    while orders.read(&mut order)? > 0 {
        for socket in &sockets {
            while socket.recv(&mut taken).is_ok() {}
            socket.send(&packet)?;
        }
    }
    Ok(())
}

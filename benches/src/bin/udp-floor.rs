//! The floor under a server's CPU: plain UDP and AES-128-GCM for the same packets, without connections, congestion, or
//! a game.
//!
//! In each tick it receives the datagrams of the players and opens them, then seals theirs and sends them, from one
//! socket to as many ports, as a QUIC server does. A process of its own sends and takes them. The server's time per
//! player-tick, divided by this one's in the same minutes on the same core, says how much QUIC and the game cost:
//! `client-sim sweep --udp-floor` does that.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use everhold_core::limits::SOCKET_BUFFER_BYTES;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Bytes that AES-GCM adds to a packet.
const TAG_BYTES: usize = 16;

/// Orders to the players, a byte each: introduce yourselves; a tick.
const HELLO: u8 = b'h';
const TICK: u8 = b't';
/// Times that players may have to introduce themselves until all are known.
const HELLOS_MAX: usize = 20;
/// Time within which the players that send in a tick have sent.
const SENDING: Duration = Duration::from_millis(20);
const TICK_PERIOD: Duration = Duration::from_millis(50);

#[derive(Parser, Clone)]
struct FloorArguments {
    /// Players, each a port of the other process.
    #[arg(long, default_value_t = 2_000)]
    players: usize,
    /// Bytes of a datagram to a player, tag included.
    #[arg(long, default_value_t = 200)]
    out_bytes: usize,
    /// Bytes of a datagram from a player, tag included.
    #[arg(long, default_value_t = 40)]
    in_bytes: usize,
    /// Datagrams to a player in a tick, on average.
    #[arg(long, default_value_t = 1.0)]
    out_per_tick: f64,
    /// Datagrams from a player in a tick, on average.
    #[arg(long, default_value_t = 1.0)]
    in_per_tick: f64,
    /// Ticks of a round.
    #[arg(long, default_value_t = 40)]
    ticks: usize,
    /// Rounds; their median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The core that is measured.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// The core of the players [default: 0, or 1 if 0 is measured]
    #[arg(long)]
    players_core: Option<usize>,
    /// File for the figures, as JSON
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Be the players, of a server at this port.
    #[arg(long, hide = true)]
    sink_of: Option<u16>,
}

impl FloorArguments {
    fn players_core(&self) -> usize {
        self.players_core.unwrap_or_else(|| usize::from(self.core == 0))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = FloorArguments::parse();
    ensure!(
        arguments.in_bytes > TAG_BYTES
            && arguments.out_bytes > TAG_BYTES
            && arguments.players > 0
            && arguments.ticks > 0
            && arguments.rounds > 0,
        "datagrams hold more than their tag of {TAG_BYTES} bytes, and there is somebody and a time to send them to"
    );
    let per_tick = 0.01..=10.0;
    ensure!(
        per_tick.contains(&arguments.out_per_tick) && per_tick.contains(&arguments.in_per_tick),
        "a player sends and gets {per_tick:?} datagrams in a tick"
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

/// Returns user and system time of this thread.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

fn serve(arguments: &FloorArguments) -> anyhow::Result<()> {
    ensure!(
        arguments.players_core() != arguments.core,
        "on the core that is measured nothing else runs: the players need another"
    );
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
        "out_per_tick": arguments.out_per_tick,
        "in_per_tick": arguments.in_per_tick,
    })
    .to_string();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "plain UDP and AES-128-GCM, {:.2} of {} B out and {:.2} of {} B in: {median:.2} us per player-tick \
         (from {:.2} to {:.2})",
        arguments.out_per_tick,
        arguments.out_bytes,
        arguments.in_per_tick,
        arguments.in_bytes,
        rounds[0],
        rounds[rounds.len() - 1]
    )?;
    match &arguments.json {
        Some(path) => std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display())),
        None => Ok(writeln!(out, "{text}")?),
    }
}

fn spawn_players(arguments: &FloorArguments, port: u16) -> anyhow::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--players", &arguments.players.to_string()])
        .args(["--in-bytes", &arguments.in_bytes.to_string()])
        .args(["--out-bytes", &arguments.out_bytes.to_string()])
        .args(["--in-per-tick", &arguments.in_per_tick.to_string()])
        .args(["--players-core", &arguments.players_core().to_string()])
        .args(["--sink-of", &port.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .context("start the players")
}

/// Returns the datagrams that a player sends or gets in a tick: in the long run `per_tick`, and not all players in the
/// same ticks.
fn turns(per_tick: f64, player: usize, tick: usize) -> usize {
    // Multiples of the golden ratio are spread evenly.
    let before = player as f64 * 0.618_033_988_75 + tick as f64 * per_tick;
    ((before + per_tick).floor() - before.floor()) as usize
}

/// Returns each round's time per player-tick, µs. The first round warms up and does not count.
fn measure(arguments: &FloorArguments, socket: &UdpSocket, players: &mut Child) -> anyhow::Result<Vec<f64>> {
    let mut orders = players.stdin.take().context("the players take orders")?;
    let (key, mut counter, mut buffer) = (key(), 0, vec![0; 2_048]);
    let addresses = introduce(arguments.players, socket, &key, &mut orders)?;
    let mut rounds = Vec::new();
    for round in 0..=arguments.rounds {
        let (mut spent, mut heard, mut due) = (Duration::ZERO, 0, 0);
        for tick in (round * arguments.ticks..).take(arguments.ticks) {
            let begun = Instant::now();
            orders.write_all(&[TICK])?;
            std::thread::sleep(SENDING);
            let before = cpu();
            heard += hear(socket, &key, &mut buffer)?.len();
            for (player, to) in addresses.iter().enumerate() {
                for _ in 0..turns(arguments.out_per_tick, player, tick) {
                    counter += 1;
                    let mut packet = vec![0x5a; arguments.out_bytes - TAG_BYTES];
                    key.seal_in_place_append_tag(nonce(counter), Aad::empty(), &mut packet)
                        .map_err(|_| anyhow::anyhow!("a packet was not sealed"))?;
                    socket.send_to(&packet, to)?;
                }
            }
            spent += cpu() - before;
            let senders = 0..arguments.players;
            due += senders
                .map(|player| turns(arguments.in_per_tick, player, tick))
                .sum::<usize>();
            std::thread::sleep(TICK_PERIOD.saturating_sub(begun.elapsed()));
        }
        // Late datagrams are not lost.
        heard += hear(socket, &key, &mut buffer)?.len();
        ensure!(
            heard * 100 >= due * 99,
            "more than a hundredth of the datagrams was lost: {heard} of {due} arrived"
        );
        if round > 0 {
            rounds.push(spent.as_secs_f64() * 1e6 / (arguments.players * arguments.ticks) as f64);
        }
    }
    Ok(rounds)
}

/// Finds the players' addresses.
fn introduce(
    players: usize,
    socket: &UdpSocket,
    key: &LessSafeKey,
    orders: &mut impl Write,
) -> anyhow::Result<Vec<SocketAddr>> {
    let mut known = HashSet::new();
    let mut buffer = vec![0; 2_048];
    for _ in 0..HELLOS_MAX {
        orders.write_all(&[HELLO])?;
        std::thread::sleep(10 * SENDING);
        known.extend(hear(socket, key, &mut buffer)?);
        if known.len() == players {
            let mut addresses: Vec<_> = known.into_iter().collect();
            addresses.sort_unstable();
            return Ok(addresses);
        }
    }
    anyhow::bail!("only {} of {players} players were heard", known.len())
}

/// Takes and opens all datagrams that have come, and returns their senders.
fn hear(socket: &UdpSocket, key: &LessSafeKey, buffer: &mut [u8]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut heard = Vec::new();
    loop {
        match socket.recv_from(buffer) {
            Ok((len, from)) => {
                key.open_in_place(nonce(0), Aad::empty(), &mut buffer[..len])
                    .map_err(|_| anyhow::anyhow!("a stranger's datagram"))?;
                heard.push(from);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Plays the players: at each order those whose turn it is send, and all take the datagrams that came before.
fn play(arguments: &FloorArguments, port: u16) -> anyhow::Result<()> {
    pin(arguments.players_core())?;
    // Each player is an open file, and the usual limit is 1,024; the hard one is higher.
    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            ..files
        },
    )
    .context("raise the limit of open files")?;
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
    let (mut order, mut tick, mut taken) = ([0], 0, vec![0; 2_048]);
    let mut orders = std::io::stdin().lock();
    while orders.read(&mut order)? > 0 {
        for (player, socket) in sockets.iter().enumerate() {
            while socket.recv(&mut taken).is_ok() {}
            let count = match order {
                [HELLO] => 1,
                _ => turns(arguments.in_per_tick, player, tick),
            };
            for _ in 0..count {
                socket.send(&packet)?;
            }
        }
        tick += usize::from(order == [TICK]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn everybody_has_as_many_turns_as_told_and_every_tick_as_many_as_the_next() {
        for per_tick in [0.01, 0.27, 0.53, 1.0, 1.05, 2.5] {
            let expected = 1_000.0 * per_tick;
            let of_player = |player| (0..1_000).map(|tick| turns(per_tick, player, tick)).sum::<usize>();
            let in_tick = |tick| (0..1_000).map(|player| turns(per_tick, player, tick)).sum::<usize>();
            assert!((0..50).all(|player| (of_player(player) as f64 - expected).abs() <= 1.0));
            assert!((0..50).all(|tick| (in_tick(tick) as f64 - expected).abs() <= 5.0));
        }
    }
}

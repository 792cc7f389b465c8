//! TCP connections through a network with faults. It decides no fault: [`Lane`] does.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::lane::{Cargo, Lane, PIECE_BYTES_MAX};
use super::{Direction, Door, Faults, FaultyNet};

/// Bytes of a connection that are on their way in one direction; then its sender waits, as it does on a real network.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// Accepts connections until the proxy ends.
pub(super) async fn run(listener: std::net::TcpListener, net: Arc<FaultyNet>) {
    let listener = TcpListener::from_std(listener).expect("a socket that does not block");
    let mut number = 0;
    loop {
        // A client that is gone again, or too many files: the next one may be served.
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(serve(client, Arc::clone(&net), number));
        number += 1;
    }
}

/// Carries a connection to its end.
async fn serve(client: TcpStream, net: Arc<FaultyNet>, number: u64) {
    let mut faults = net.faults.subscribe();
    let mut resets = net.resets.subscribe();
    let door = faults.borrow_and_update().door;
    match door {
        Door::Shut => reset(&client),
        Door::HalfOpen => {
            let _proxy_ended = tokio::select! {
                changed = faults.wait_for(|faults| faults.door != Door::HalfOpen) => changed.is_err(),
                changed = resets.changed() => changed.is_err(),
            };
            reset(&client);
        }
        Door::Open => {
            let Ok(server) = TcpStream::connect(net.target()).await else {
                return reset(&client);
            };
            // What it does to the timing of bytes is said by its faults alone.
            let _for_speed = (client.set_nodelay(true), server.set_nodelay(true));
            let lane = |stream| Lane::new(Cargo::Bytes, net.seed, 2 * number + stream);
            let outcome = tokio::select! {
                outcome = carry(&client, &server, lane(0), (Direction::There, faults.clone())) => outcome,
                outcome = carry(&server, &client, lane(1), (Direction::Back, faults)) => outcome,
                _ = resets.changed() => Err(ErrorKind::ConnectionReset.into()),
            };
            if outcome.is_err() {
                reset(&client);
                reset(&server);
            }
        }
    }
}

/// Has the connection end by a reset, now that it is dropped.
fn reset(connection: &TcpStream) {
    // One that has ended already has nothing to reset.
    let _ended = connection.set_zero_linger();
}

/// Carries bytes one way, until their sender has ended and all have arrived.
async fn carry(
    from: &TcpStream,
    to: &TcpStream,
    mut lane: Lane,
    (direction, mut faults): (Direction, watch::Receiver<Faults>),
) -> io::Result<()> {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut waiting_bytes, mut has_ended) = (0, false);
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let way = direction.way(&faults.borrow_and_update());
        let due = waiting.front().map(|(due, _)| *due).filter(|_| !way.is_stalled);
        let is_due = due.is_some_and(|due| due <= Instant::now());
        if has_ended && waiting.is_empty() {
            return Ok(());
        }
        tokio::select! {
            changed = faults.changed() => changed.map_err(|_| ErrorKind::BrokenPipe)?,
            ready = from.readable(), if !has_ended && waiting_bytes < WAITING_BYTES_MAX => {
                ready?;
                match from.try_read(&mut buffer[..Lane::piece_bytes(&way)]) {
                    Ok(0) => has_ended = true,
                    Ok(bytes) => {
                        let at = lane.admit(std::time::Instant::now(), bytes, &way).expect("bytes are not lost");
                        waiting.push_back((at.into(), buffer[..bytes].to_vec()));
                        waiting_bytes += bytes;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            ready = to.writable(), if is_due => {
                ready?;
                let (_, piece) = waiting.front_mut().expect("it is due");
                match to.try_write(piece) {
                    Ok(bytes) => {
                        piece.drain(..bytes);
                        waiting_bytes -= bytes;
                        waiting.pop_front_if(|(_, piece)| piece.is_empty());
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_due => {}
        }
    }
}

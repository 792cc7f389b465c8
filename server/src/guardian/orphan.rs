//! A server whose guardian is gone, and a shard that is started in its place: by a person, or by a supervisor that saw
//! only the guardian's end. The orphan holds the address, so the newcomer asks it to stop, waits for its end, and then
//! begins.
//!
//! They meet at a Unix socket whose name is the address itself, outside the file system: it is in the same network
//! namespace as the port, and nothing of it is left behind. Only processes of the same user listen to each other. A
//! server with a living guardian is never asked: two shards at one address are a mistake, and the second one says so.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::time::Duration;

use everhold_core::limits::{STOP_KILL_MS, STOP_MS_MAX};
use rustix::process::{Signal, getpid, getuid, kill_process};
use tokio::net::{UnixListener, UnixStream};

/// A server whose guardian dies notices it at once; a busy machine may take this long.
const NOTICES_MAX: Duration = Duration::from_secs(1);

/// The time between two looks of a newcomer, whether the port is free or an orphan answers.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn name(listen: SocketAddr) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(format!("everhold-orphan-{listen}"))
}

/// The orphan's side.
#[derive(Debug)]
pub(super) struct Orphan(UnixListener);

impl Orphan {
    /// Can be asked from now on. Call it inside a runtime.
    pub(super) fn listen(listen: SocketAddr) -> io::Result<Self> {
        let listener = StdUnixListener::bind_addr(&name(listen)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self(UnixListener::from_std(listener)?))
    }

    /// Waits until it is asked to make way, and has this process stop in good order. The newcomer that asked hears of
    /// its end by the end of the connection.
    pub(super) async fn make_way(self) {
        let asked = loop {
            match self.0.accept().await {
                Ok((asked, _)) if is_ours(&asked) => break asked,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        tracing::warn!("a shard is started at this address: this server, which has no guardian any more, stops");
        // Its end is that of this process, when the port is free.
        std::mem::forget(asked.into_std());
        if let Err(error) = kill_process(getpid(), Signal::TERM) {
            tracing::error!(%error, "this process cannot be told to stop");
        }
    }
}

/// Has an orphan at `listen` stop, if there is one, and waits for its end, which takes as long as a stop may take: the
/// newcomer's side. At a port that the system chooses no orphan is in the way.
pub async fn succeed(listen: SocketAddr) -> io::Result<()> {
    if listen.port() == 0 {
        return Ok(());
    }
    let patience = tokio::time::Instant::now() + NOTICES_MAX;
    loop {
        if let Ok(orphan) = StdUnixStream::connect_addr(&name(listen)?) {
            orphan.set_nonblocking(true)?;
            return until_gone(UnixStream::from_std(orphan)?).await;
        }
        // Whatever else is in the way is told by whoever wants to listen.
        let is_taken = UdpSocket::bind(listen).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        if !is_taken || tokio::time::Instant::now() >= patience {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn until_gone(orphan: UnixStream) -> io::Result<()> {
    if !is_ours(&orphan) {
        return Ok(());
    }
    tracing::warn!("a server whose guardian is gone holds this address: it is asked to stop");
    let max = Duration::from_millis(STOP_MS_MAX + STOP_KILL_MS);
    if tokio::time::timeout(max, end(&orphan)).await.is_err() {
        tracing::error!("it does not stop");
    }
    Ok(())
}

/// Resolves when the process at the other end, which never says anything, is gone.
pub(super) async fn end(line: &UnixStream) -> io::Error {
    loop {
        if let Err(error) = line.readable().await {
            return error;
        }
        match line.try_read(&mut [0; 1]) {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return error,
            _ => {}
        }
    }
}

fn is_ours(peer: &UnixStream) -> bool {
    peer.peer_cred().is_ok_and(|peer| peer.uid() == getuid().as_raw())
}

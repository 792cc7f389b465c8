//! The server as the guardian's child: its start, and the signals that are passed on to it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::Child;

/// The flag that tells a server that its standard input is the line to its guardian.
pub const GUARDED_FLAG: &str = "--guarded";

/// Starts this very program again, with [`GUARDED_FLAG`]. Also returns the guardian's end of the line.
pub(super) fn start() -> anyhow::Result<(Child, UnixStream)> {
    let (ours, theirs) = StdUnixStream::pair().context("make a line to the server")?;
    ours.set_nonblocking(true).context("make a line to the server")?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "everhold".into());
    // The running program itself, even if its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name);
    // Next to the subcommand, where a look at the process list finds it.
    command.args(arguments.next()).arg(GUARDED_FLAG).args(arguments);
    command.stdin(OwnedFd::from(theirs));
    let child = tokio::process::Command::from(command)
        .spawn()
        .context("start the server")?;
    Ok((child, UnixStream::from_std(ours)?))
}

/// Passes a signal on.
pub(super) fn forward(child: &Child, signal: Signal) {
    // The id is the child's as long as it was not waited for.
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
        tracing::warn!(%error, ?signal, "the server was not told");
    }
}

//! The guardian: a small parent process that starts the server as its child, watches it, and releases what it held when it is dead, so
//! that a spare adopts within milliseconds instead of after a whole ttl.
//!
//! ```text
//!  guardian ──SIGTERM, SIGINT, SIGHUP──► server (same command, `--guarded`)
//!     ▲ ▲                                  │   │
//!     │ └── zones and epochs ──────────────┘   │ exits, however
//!     └────── its exit status ─────────────────┘
//! ```
//!
//! It is one thread with nothing to wait for but the child, signals, the line, and its own looks; another one writes its log, and a third is
//! started only to release, when the child is dead. Standard output and error are the child's own. It acts first and speaks afterwards. A
//! server that holds something and says nothing for a whole ttl (it is stopped, or its lease keeper hangs) is killed, for only a dead server
//! may be released for; so is one that was asked to stop and does not end, and one that was asked twice. Then the guardian ends with the
//! child's status: `128 + signal` if a signal killed it, as a shell has it.
//!
//! If the guardian dies, the server goes on unguarded. Everything that a guardian does, the ttl does too, only later: see
//! [`ownership::guardian`](everhold_core::ownership::guardian). Such an orphan makes way for a shard that is started at its address: see
//! [`orphan`].

mod link;
pub mod orphan;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use everhold_core::limits::STOP_MS_MAX;
use everhold_core::ownership::{Authority, AuthorityError, Grant, Guardian, Holdings, Membership};
use everhold_os::clock;
use everhold_os::signals::{Input, Signals, Wish};
use everhold_protocol::ZoneName;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::stores::Coordination;

pub use link::GuardianLink;

/// An authority that does not take a release is asked again this often, until a ttl has passed: by then spares need no release.
const RELEASE_RETRY: Duration = Duration::from_millis(50);

/// A line from the server holds at most a thousand zones of at most a hundred bytes each.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// What is read at once.
const READ_BYTES: usize = 4_096;

/// The flag that tells a server that its standard input is the line to its guardian.
pub const GUARDED_FLAG: &str = "--guarded";

/// Starts this very program again as a server, with the same arguments and [`GUARDED_FLAG`], and watches it until it ends. `open` connects
/// to authority and membership; it is called when there is something to release. A server that ends with `usage_code` has not served.
pub fn run<A, F>(ttl: Duration, input: Input, usage_code: u8, open: A) -> anyhow::Result<ExitCode>
where
    A: Fn() -> F,
    F: Future<Output = anyhow::Result<Coordination>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the guardian's runtime")?;
    runtime.block_on(async {
        // Before there is a child: a signal that comes in between must not leave one without a guardian.
        let mut signals = Signals::listen(input).context("listen for signals")?;
        let (status, holdings) = watch(ttl, &mut signals).await?;
        tokio::select! {
            () = release(&holdings, ttl, open) => {}
            () = out_of_patience(&mut signals) => {
                tracing::warn!("asked to stop: what the server held runs out by itself");
            }
        }
        // Said last: nothing that it does depends on who hears of it. A server that ends by itself before it has joined has said why.
        let has_said_why =
            status.code() == Some(i32::from(usage_code)) || status.code().is_some() && holdings.is_empty();
        if !status.success() && !has_said_why {
            tracing::error!(%status, "the server is dead");
        }
        Ok(exit_code(status))
    })
}

/// Starts the server and stays with it to its end: its exit status, and what it held.
async fn watch(ttl: Duration, signals: &mut Signals) -> anyhow::Result<(ExitStatus, Holdings)> {
    let (mut child, line) = start()?;
    let mut line = Some(Line::new(line));
    let mut machine = Guardian::new(ttl, clock::boottime());
    let mut killed = false;
    let mut looks = tokio::time::interval(machine.look_every());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What was said before is heard before it is judged.
            biased;
            status = child.wait() => {
                let status = status.context("wait for the server")?;
                // Its last words are still in the line.
                while let Some(Ok(word)) = line.as_mut().and_then(Line::rest) {
                    machine.handle_heard(word, clock::boottime());
                }
                return Ok((status, machine.holdings().clone()));
            }
            word = hear(&mut line) => match word {
                Ok(word) => machine.handle_heard(word, clock::boottime()),
                Err(error) => {
                    // Its end closes the line a moment before it can be waited for.
                    if error.kind() != ErrorKind::UnexpectedEof {
                        tracing::error!(%error, "the server is not heard any more");
                    }
                    line = None;
                }
            },
            wish = signals.wish() => match wish {
                Wish::Stop(signal) => {
                    machine.handle_stop(clock::boottime());
                    forward(&child, signal);
                }
                Wish::EndNow(_) => {
                    child.start_kill().context("kill the server")?;
                    tracing::error!("asked to stop a second time: the server was killed");
                }
            },
            _ = looks.tick() => if let Some(why) = machine.look(clock::boottime()) {
                child.start_kill().context("kill the server")?;
                // It may take some looks to die.
                if !std::mem::replace(&mut killed, true) {
                    tracing::error!(%why, "the server was killed");
                }
            },
        }
    }
}

/// Resolves when a second wish has come, or the first one is so old that its stop has no time left.
async fn out_of_patience(signals: &mut Signals) {
    if let Wish::Stop(_) = signals.wish().await {
        let left = Duration::from_millis(STOP_MS_MAX);
        let _or_asked_again = tokio::time::timeout(left, signals.wish()).await;
    }
}

fn start() -> anyhow::Result<(Child, UnixStream)> {
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

fn forward(child: &Child, signal: Signal) {
    // The id is the child's as long as it was not waited for.
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
        tracing::warn!(%error, ?signal, "the server was not told");
    }
}

async fn hear(line: &mut Option<Line>) -> std::io::Result<Holdings> {
    match line {
        Some(line) => line.hear().await,
        None => std::future::pending().await,
    }
}

/// The guardian's end of the line.
struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Line {
    const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// The next word. Dropping the future loses nothing.
    async fn hear(&mut self) -> std::io::Result<Holdings> {
        loop {
            if let Some(word) = self.word() {
                return word;
            }
            self.stream.readable().await?;
            match self.read() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => outcome?,
            }
        }
    }

    /// The next word of a server that says nothing more.
    fn rest(&mut self) -> Option<std::io::Result<Holdings>> {
        while self.read().is_ok() {}
        self.word()
    }

    fn read(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.try_read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read if self.heard.len() + read <= LINE_BYTES_MAX => {
                self.heard.extend_from_slice(&bytes[..read]);
                Ok(())
            }
            _ => Err(std::io::Error::other("a line without an end")),
        }
    }

    fn word(&mut self) -> Option<std::io::Result<Holdings>> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let word = serde_json::from_slice(&self.heard[..end]).map_err(std::io::Error::other);
        self.heard.drain(..=end);
        Some(word)
    }
}

/// Releases what the dead server held, and takes it out of the directory. What the authority does not take within a ttl runs out by itself.
async fn release<A, F>(holdings: &Holdings, ttl: Duration, open: A)
where
    A: Fn() -> F,
    F: Future<Output = anyhow::Result<Coordination>>,
{
    if holdings.is_empty() {
        return;
    }
    let releases = async {
        let Coordination { authority, membership } = loop {
            match open().await {
                Ok(coordination) => break coordination,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the authority is not there"),
            }
            tokio::time::sleep(RELEASE_RETRY).await;
        };
        // At once: a zone that cannot be released for now does not keep the server in the directory.
        tokio::join!(
            release_all(holdings, &authority),
            withdraw(holdings, membership.as_ref())
        );
    };
    if tokio::time::timeout(ttl, releases).await.is_err() {
        tracing::warn!("the authority did not answer: what the server held runs out by itself");
    }
}

/// Clients must not be sent to it any more. It also falls silent there, so one try is enough.
async fn withdraw(holdings: &Holdings, membership: &dyn Membership) {
    if let Some(nonce) = holdings.announced()
        && let Err(error) = membership.withdraw(nonce).await
    {
        tracing::warn!(%error, "the directory still names the dead server");
    }
}

/// All at once: a zone on a node of a Cluster that is gone holds up no other.
async fn release_all(holdings: &Holdings, authority: &Arc<dyn Authority>) {
    let mut releases = JoinSet::new();
    for (zone, grant) in holdings.grants() {
        releases.spawn(release_one(Arc::clone(authority), zone.clone(), grant));
    }
    releases.join_all().await;
}

async fn release_one(authority: Arc<dyn Authority>, zone: ZoneName, grant: Grant) {
    let epoch = grant.epoch.number();
    loop {
        match authority.release(&zone, grant).await {
            Ok(()) => return tracing::warn!(%zone, epoch, "released for the dead server"),
            Err(AuthorityError::Held(_) | AuthorityError::ZoneUnknown(_)) => {
                return tracing::info!(%zone, epoch, "nothing to release: it is somebody else's by now");
            }
            Err(error) => tracing::warn!(%zone, %error, "not released yet"),
        }
        tokio::time::sleep(RELEASE_RETRY).await;
    }
}

/// The child's own code, or what a shell makes of a signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

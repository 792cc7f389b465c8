//! The guardian: a small parent process that starts the server as its child, watches it, and releases what it held when
//! it is dead, so that a spare adopts within milliseconds instead of after a whole ttl.
//!
//! ```text
//!  guardian ──SIGTERM, SIGINT, SIGHUP──► server (same command, `--guarded`)
//!     ▲ ▲                                  │   │
//!     │ └── zones and epochs ──────────────┘   │ exits, however
//!     └────── its exit status ─────────────────┘
//! ```
//!
//! It is one thread with nothing to wait for but the child, signals, the line, and its own looks; another one writes
//! its log, and a third is started only to release, when the child is dead. Standard output and error are the child's
//! own. It acts first and speaks afterwards. A server that holds something and says nothing for a whole ttl (it is
//! stopped, or its lease keeper hangs) is killed, for only a dead server may be released for; so is one that was asked
//! to stop and does not end, and one that was asked twice. Then the guardian ends with the child's status: `128 +
//! signal` if a signal killed it, as a shell has it.
//!
//! If the guardian dies, the server goes on unguarded. Everything that a guardian does, the ttl does too, only later:
//! see [`ownership::guardian`](everhold_core::ownership::guardian). Such an orphan makes way for a shard that is
//! started at its address: see [`orphan`].

mod child;
mod line;
mod link;
pub mod orphan;
mod release;

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use everhold_core::limits::STOP_MS_MAX;
use everhold_core::ownership::guardian::Kill;
use everhold_core::ownership::{Guardian, Holdings, ServerEnd};
use everhold_os::clock;
use everhold_os::signals::{Signals, StandardInput, Wish};
use tokio::time::MissedTickBehavior;

pub use self::child::GUARDED_FLAG;
use self::line::Line;
pub use self::link::GuardianLink;
use self::release::release;
use crate::stores::Coordination;

/// Starts this very program again as a server, with the same arguments and [`GUARDED_FLAG`], and watches it until it
/// ends. `open` connects to authority and membership; it is called when there is something to release. A server that
/// ends with `usage_code` has not served.
pub fn run<A, F>(ttl: Duration, input: StandardInput, usage_code: u8, open: A) -> anyhow::Result<ExitCode>
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
        let end = ServerEnd {
            code: status.code(),
            signal: status.signal(),
        };
        // Said last: nothing that it does depends on who hears of it.
        if end.is_news(&holdings, usage_code) {
            tracing::error!(%status, "the server is dead");
        }
        Ok(ExitCode::from(end.exit_code()))
    })
}

/// Starts the server and stays with it to its end: its exit status, and what it held.
async fn watch(ttl: Duration, signals: &mut Signals) -> anyhow::Result<(ExitStatus, Holdings)> {
    let (mut child, line) = child::start()?;
    let mut line = Some(Line::new(line));
    let mut machine = Guardian::new(ttl, clock::boottime());
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
                    child::forward(&child, signal);
                }
                Wish::EndNow(_) => {
                    child.start_kill().context("kill the server")?;
                    tracing::error!("asked to stop a second time: the server was killed");
                }
            },
            _ = looks.tick() => if let Some(Kill { why, is_first }) = machine.look(clock::boottime()) {
                child.start_kill().context("kill the server")?;
                if is_first {
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

async fn hear(line: &mut Option<Line>) -> std::io::Result<Holdings> {
    match line {
        Some(line) => line.hear().await,
        None => std::future::pending().await,
    }
}

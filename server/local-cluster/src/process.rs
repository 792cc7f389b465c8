//! One shard of a local cluster: its processes, and what it has reported.

use std::net::SocketAddr;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use everhold_core::report::{ProcessRun, ZoneRun};
use rustix::process::{Pid, Signal, kill_process};

use super::{LOOK_EVERY, STOP_TIMEOUT};

/// One shard, as its report shows it: a guardian and its server, or a server alone.
pub struct Process {
    /// The child: the guardian, or the server itself.
    pub(super) child: Child,
    /// Whether the guardian was killed, and the server outlives it.
    pub(super) orphaned: bool,
    /// The thread that reads its report to the end.
    pub(super) reader: Option<JoinHandle<()>>,
    /// Address at which it serves: to which players are sent.
    pub addr: SocketAddr,
    /// Address on which it listens: the same, unless it was told to advertise another.
    pub listens: SocketAddr,
    /// The server's process id, as it said; 0 until then. With a guardian it is not the child's, which is the guardian.
    pub pid: u32,
    /// The latest report of each zone and epoch that it ran.
    pub runs: Vec<ZoneRun>,
    /// Its use of the machine, as it last reported.
    pub usage: Option<ProcessRun>,
    /// The moment when it was seen to have ended.
    pub killed: Option<Instant>,
    /// Whether it was sent a signal that ends it.
    pub(super) asked_to_end: bool,
}

/// A process of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The process that serves.
    Server,
    /// The process that watches it, if there is one; else the server.
    Guardian,
}

impl Process {
    /// Returns the number of players it serves, as it last reported.
    pub fn players(&self) -> u32 {
        if self.killed.is_some() {
            0
        } else {
            self.runs.iter().map(|run| run.players).sum()
        }
    }

    /// Whether a guardian stands by the server, as far as it has said so.
    pub(super) fn is_guarded(&self) -> bool {
        self.pid != 0 && self.pid != self.child.id() && !self.orphaned
    }

    pub(super) fn pid_of(&self, who: Who) -> anyhow::Result<Pid> {
        let id = match who {
            Who::Server if self.pid == 0 => bail!("the shard has not said its process id"),
            Who::Server => self.pid,
            Who::Guardian => self.child.id(),
        };
        Pid::from_raw(id.cast_signed()).context("a process id is above 0")
    }

    /// Returns how it ended, if it did. Of an orphan the status cannot be known.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<String>> {
        if self.orphaned {
            return Ok((!is_running(self.pid)).then(|| "an orphan's status is not known".to_owned()));
        }
        let status = self.child.try_wait().context("ask after a shard process")?;
        Ok(status.map(|status| status.to_string()))
    }

    /// Waits until it has ended, the guardian too. `None`: it did not within `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY / 10),
                ended => return Ok(ended),
            }
        }
    }

    /// Kills server and guardian. SIGKILL reaches a stopped process too.
    pub(super) fn end(&mut self) {
        if self.pid == 0 {
            // It has not said who its server is: a guardian that is killed now would leave one behind.
            if let Ok(pid) = self.pid_of(Who::Guardian) {
                let _gone_already = kill_process(pid, Signal::TERM);
            }
            let _or_killed = self.wait(STOP_TIMEOUT);
        } else if (self.is_guarded() && matches!(self.child.try_wait(), Ok(None))) || self.orphaned {
            // As long as the guardian lives, or the orphan, the id is the server's.
            if let Ok(pid) = self.pid_of(Who::Server) {
                let _gone_already = kill_process(pid, Signal::KILL);
            }
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether there is such a process, and it is not merely unreaped.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    // `pid (name) state ...`; the name may hold anything, parentheses too.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

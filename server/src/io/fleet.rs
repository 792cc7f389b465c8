//! A fleet of shard processes on this host: started, listened to, stopped, killed. The demo runs one, and so do the tests that need real
//! processes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use everhold_protocol::{Tick, ZoneName};
use rustix::process::{Pid, Signal, kill_process};

use crate::io::report::{ProcessRun, ShardEvent, ZoneRun};

/// A shard has this long to serve, and its zones to be owned: far above the fraction of a second that it takes.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A shard has this long to stop in good order.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// While nothing is told, processes are looked after this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One shard, as its report shows it: a guardian and its server, or a server alone.
pub struct Process {
    /// The guardian, or the server itself.
    child: Child,
    /// The guardian was killed, and the server outlives it.
    orphaned: bool,
    /// Reads its report to the end.
    reader: Option<JoinHandle<()>>,
    /// Where it serves.
    pub addr: SocketAddr,
    /// The server's process id, as it said; 0 until then. With a guardian it is not the child's, which is the guardian.
    pub pid: u32,
    /// The latest run of each zone and epoch that it told of.
    pub runs: Vec<ZoneRun>,
    /// What it used of the machine, as it last told.
    pub usage: Option<ProcessRun>,
    /// When it was killed.
    pub killed: Option<Instant>,
}

/// Which process of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one that serves.
    Server,
    /// The one that watches it, if there is one; else the server.
    Guardian,
}

impl Process {
    /// The players it serves, as it last said.
    pub fn players(&self) -> u32 {
        if self.killed.is_some() {
            0
        } else {
            self.runs.iter().map(|run| run.players).sum()
        }
    }

    /// Whether a guardian stands by the server, as far as it has said so.
    fn is_guarded(&self) -> bool {
        self.pid != 0 && self.pid != self.child.id() && !self.orphaned
    }

    fn pid_of(&self, who: Who) -> anyhow::Result<Pid> {
        let id = match who {
            Who::Server if self.pid == 0 => bail!("the shard has not said its process id"),
            Who::Server => self.pid,
            Who::Guardian => self.child.id(),
        };
        Pid::from_raw(id.cast_signed()).context("a process id is above 0")
    }

    /// How it ended, if it did. An orphan's status is nobody's to know.
    fn ended(&mut self) -> anyhow::Result<Option<String>> {
        if self.orphaned {
            return Ok((!is_running(self.pid)).then(|| "an orphan's status is not known".to_owned()));
        }
        let status = self.child.try_wait().context("ask after a shard process")?;
        Ok(status.map(|status| status.to_string()))
    }

    /// Waits until it has ended, the guardian too. `None`: it did not within `timeout`.
    fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY / 10),
                ended => return Ok(ended),
            }
        }
    }

    /// Leaves neither server nor guardian behind. SIGKILL reaches a stopped process too.
    fn end(&mut self) {
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
fn is_running(pid: u32) -> bool {
    // `pid (name) state ...`; the name may hold anything, parentheses too.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// An adoption, as the adopter told it. Moments are milliseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Which process.
    pub process: usize,
    /// Which zone.
    pub zone: ZoneName,
    /// Under which epoch.
    pub epoch: u32,
    /// The last tick of the history that it took over.
    pub last_tick: Tick,
    /// When the authority granted it.
    pub granted_at_ms: f64,
    /// From the grant to the first tick.
    pub adopt_ms: f64,
    /// It went on from memory, in the process that had it before.
    pub from_memory: bool,
    /// Records replayed.
    pub replayed_ticks: u64,
    /// Digests compared on the way.
    pub checked_digests: u64,
    /// Whether all digests on the way were equal.
    pub digest_equal: bool,
}

/// A zone's end in a process, as it told it.
#[derive(Clone, Debug)]
pub struct End {
    /// Which process.
    pub process: usize,
    /// Which zone.
    pub zone: ZoneName,
    /// Under which epoch.
    pub epoch: u32,
    /// Why.
    pub reason: String,
}

/// All shard processes of a world.
pub struct Fleet {
    /// Where the next processes listen.
    pub listen: String,
    /// The words before the next processes' command line: what runs them.
    pub prefix: Vec<String>,
    binary: PathBuf,
    dir: PathBuf,
    /// In order of start; the dead among them.
    pub all: Vec<Process>,
    /// In order of their telling.
    pub adoptions: Vec<Adoption>,
    /// In order of their telling.
    pub ends: Vec<End>,
    /// Zones that the store has lost and that began again, with the epoch under which they did.
    pub lost: Vec<(ZoneName, u32)>,
    events: Receiver<(usize, ShardEvent)>,
    sender: Sender<(usize, ShardEvent)>,
}

impl Fleet {
    /// No process yet. They will run `binary`, with world and keys below `dir`.
    #[must_use]
    pub fn new(binary: PathBuf, dir: &Path) -> Self {
        let (sender, events) = channel();
        Self {
            listen: "127.0.0.1:0".to_owned(),
            prefix: Vec::new(),
            binary,
            dir: dir.to_owned(),
            all: Vec::new(),
            adoptions: Vec::new(),
            ends: Vec::new(),
            lost: Vec::new(),
            events,
            sender,
        }
    }

    /// Where the processes keep their keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Where they keep authority and store.
    #[must_use]
    pub fn world(&self) -> PathBuf {
        self.dir.join("world")
    }

    /// Starts a shard that prefers `zones`, and waits until it serves and owns them. `arguments` are added to its command line.
    /// Returns its index in [`Fleet::all`].
    pub fn start(&mut self, zones: &[ZoneName], arguments: &[&str]) -> anyhow::Result<usize> {
        let index = self.launch(zones, arguments)?;
        self.wait_until_serving(index, zones)?;
        Ok(index)
    }

    /// The same, without waiting.
    pub fn launch(&mut self, zones: &[ZoneName], arguments: &[&str]) -> anyhow::Result<usize> {
        let index = self.all.len();
        let binary = self.binary.as_os_str();
        let mut words = self.prefix.iter().map(OsStr::new).chain([binary]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        command.args(words).args(["shard", "--events", "json"]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", &self.listen]);
        }
        command
            .arg("--state")
            .arg(self.world())
            .arg("--keys")
            .arg(self.keys())
            .args(arguments);
        for zone in zones {
            command.arg("--zone").arg(zone.as_str());
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a shard process")?;
        let stdout = child.stdout.take().context("the shard's standard output is piped")?;
        let sender = self.sender.clone();
        let reader = std::thread::spawn(move || forward(index, BufReader::new(stdout), &sender));
        // Its address comes with `Serving`.
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        self.all.push(Process {
            child,
            orphaned: false,
            reader: Some(reader),
            addr,
            pid: 0,
            runs: Vec::new(),
            usage: None,
            killed: None,
        });
        Ok(index)
    }

    fn wait_until_serving(&mut self, index: usize, zones: &[ZoneName]) -> anyhow::Result<()> {
        let owned = |fleet: &Self, zone: &ZoneName| {
            fleet
                .adoptions
                .iter()
                .any(|adoption| adoption.process == index && adoption.zone == *zone)
        };
        let serves = |fleet: &Self| fleet.all[index].addr.port() != 0 && zones.iter().all(|zone| owned(fleet, zone));
        self.wait_until("a shard process serves its zones", START_TIMEOUT, serves)
    }

    /// Listens until `reached`, or for `timeout` at most; `what` says in words what was waited for.
    pub fn wait_until(&mut self, what: &str, timeout: Duration, reached: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while !reached(self) {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()).min(LOOK_EVERY))
            {
                Ok((from, event)) => self.take(from, event),
                Err(_) if Instant::now() < deadline => self.notice_deaths()?,
                Err(_) => bail!("not within {timeout:?}: {what}"),
            }
        }
        Ok(())
    }

    /// A process that ended although nobody asked it to is an error.
    fn notice_deaths(&mut self) -> anyhow::Result<()> {
        for process in self.all.iter_mut().filter(|p| p.killed.is_none()) {
            if let Some(status) = process.ended()? {
                process.killed = Some(Instant::now());
                bail!("a shard process ended by itself: {status}");
            }
        }
        Ok(())
    }

    /// Takes in what the shards have said since the last call.
    pub fn listen(&mut self) {
        while let Ok((from, event)) = self.events.try_recv() {
            self.take(from, event);
        }
    }

    fn take(&mut self, process: usize, event: ShardEvent) {
        match event {
            ShardEvent::Serving { addr, pid, .. } => {
                self.all[process].addr = addr;
                self.all[process].pid = pid;
            }
            ShardEvent::Adopted {
                zone,
                epoch,
                last_tick,
                granted_at_ms,
                adopt_ms,
                from_memory,
                replayed_ticks,
                checked_digests,
                digest_equal,
            } => self.adoptions.push(Adoption {
                process,
                zone,
                epoch,
                last_tick,
                granted_at_ms,
                adopt_ms,
                from_memory,
                replayed_ticks,
                checked_digests,
                digest_equal,
            }),
            ShardEvent::Stats(run) => {
                let runs = &mut self.all[process].runs;
                runs.retain(|known| (&known.zone, known.epoch) != (&run.zone, run.epoch));
                runs.push(run);
            }
            ShardEvent::Process(usage) => self.all[process].usage = Some(usage),
            ShardEvent::Ended {
                zone, epoch, reason, ..
            } => {
                for run in self.all[process]
                    .runs
                    .iter_mut()
                    .filter(|run| run.zone == zone && run.epoch == epoch)
                {
                    run.players = 0;
                }
                self.ends.push(End {
                    process,
                    zone,
                    epoch,
                    reason,
                });
            }
            ShardEvent::Lost { zone, epoch } => self.lost.push((zone, epoch)),
            ShardEvent::Stopped => {}
        }
    }

    /// The latest owner of each zone that was ever owned.
    fn owners(&self) -> BTreeMap<&ZoneName, &Adoption> {
        let mut owners: BTreeMap<&ZoneName, &Adoption> = BTreeMap::new();
        for adoption in &self.adoptions {
            let latest = owners.entry(&adoption.zone).or_insert(adoption);
            if adoption.epoch >= latest.epoch {
                *latest = adoption;
            }
        }
        owners
    }

    /// Whether every zone that was ever owned has a living owner.
    pub fn is_settled(&self) -> bool {
        self.owners()
            .values()
            .all(|adoption| self.all[adoption.process].killed.is_none())
    }

    /// Whether a living process serves and owns nothing.
    pub fn has_spare(&self) -> bool {
        let owners = self.owners();
        let is_spare = |index: usize| {
            let process = &self.all[index];
            let owns = owners.values().any(|adoption| adoption.process == index);
            process.killed.is_none() && process.pid != 0 && !owns
        };
        (0..self.all.len()).any(is_spare)
    }

    /// The living process with most players.
    pub fn busiest(&self) -> Option<usize> {
        (0..self.all.len())
            .filter(|i| self.all[*i].killed.is_none())
            .max_by_key(|i| self.all[*i].players())
    }

    /// SIGKILL to the server itself. Its guardian, if it has one, does its duty and ends before this returns.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<Instant> {
        self.signal(index, Signal::KILL)?;
        let at = Instant::now();
        self.wait_until_dead(index, STOP_TIMEOUT)?;
        self.all[index].killed = Some(at);
        Ok(at)
    }

    /// SIGKILL to the guardian alone: its server goes on.
    pub fn kill_guardian(&mut self, index: usize) -> anyhow::Result<()> {
        let process = &mut self.all[index];
        anyhow::ensure!(process.is_guarded(), "this shard has no guardian");
        // From here on it is the server that must live.
        process.orphaned = true;
        process.child.kill().context("kill a guardian")?;
        process.child.wait().context("reap a guardian")?;
        Ok(())
    }

    /// Waits until a process that is told to die, or bound to be killed by its guardian, has ended, and its guardian with it. Returns the
    /// exit status in words.
    pub fn wait_until_dead(&mut self, index: usize, timeout: Duration) -> anyhow::Result<String> {
        let process = &mut self.all[index];
        let Some(status) = process.wait(timeout)? else {
            bail!("shard process {} does not die", process.child.id());
        };
        process.killed = Some(Instant::now());
        Ok(status)
    }

    /// Sends a signal to the server itself.
    pub fn signal(&self, index: usize, signal: Signal) -> anyhow::Result<()> {
        self.signal_to(index, Who::Server, signal)
    }

    /// Sends a signal to one of a shard's processes.
    pub fn signal_to(&self, index: usize, who: Who, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.all[index].pid_of(who)?, signal).context("signal a shard process")
    }

    /// SIGTERM to all that live, and waits until they have stopped in good order.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let living: Vec<usize> = (0..self.all.len()).filter(|i| self.all[*i].killed.is_none()).collect();
        for index in &living {
            let who = if self.all[*index].orphaned {
                Who::Server
            } else {
                Who::Guardian
            };
            self.signal_to(*index, who, Signal::TERM)?;
        }
        for index in living {
            let process = &mut self.all[index];
            if process.wait(STOP_TIMEOUT)?.is_none() {
                bail!("shard process {} does not stop", process.child.id());
            }
            process.killed = Some(Instant::now());
            // Its last lines are read before they are looked at.
            if process.reader.take().is_some_and(|reader| reader.join().is_err()) {
                bail!("the reader of a shard's report panicked");
            }
            let status = process.child.wait().context("ask after a shard process")?;
            if !process.orphaned && !status.success() {
                bail!("a shard process ended with {status}");
            }
        }
        self.listen();
        Ok(())
    }
}

/// Hands the lines of one process on, until it ends or nobody listens.
fn forward(index: usize, lines: impl BufRead, events: &Sender<(usize, ShardEvent)>) {
    for line in lines.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(event) => {
                if events.send((index, event)).is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, line, "a shard said something that is no event"),
        }
    }
}

impl Drop for Fleet {
    /// Whatever happens, no process outlives its fleet.
    fn drop(&mut self) {
        self.all
            .iter_mut()
            .filter(|p| p.killed.is_none())
            .for_each(Process::end);
    }
}

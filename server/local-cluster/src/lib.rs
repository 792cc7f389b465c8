//! A cluster of shard processes on this host: started, listened to, stopped, killed. The demo runs one, and so do the
//! tests that need real processes. It holds the other end of each shard's standard input, so no shard outlives it, even
//! if it is killed itself.

mod process;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use everhold_core::durability::LagState;
use everhold_core::limits::STOP_MS_MAX;
use everhold_core::report::{AdoptionReport, ShardEvent};
use everhold_os::signals::Stop;
use everhold_protocol::{Epoch, ZoneName};
use rustix::process::{Signal, kill_process};

pub use self::process::{Process, Who, is_running};

/// Longest wait until a shard serves and its zones are owned: far above the fraction of a second that it takes.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait until a shard has stopped in good order: longer than it gives itself.
const STOP_TIMEOUT: Duration = Duration::from_millis(STOP_MS_MAX + 5_000);

/// Period of looks at the processes while no report comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An adoption, and the process that reported it. Moments are milliseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug)]
pub struct ReportedAdoption {
    /// The process, by its index in [`LocalCluster::all`].
    pub process: usize,
    /// Its report.
    pub report: AdoptionReport,
}

/// A zone's end in a process, as the process reported it.
#[derive(Clone, Debug)]
pub struct End {
    /// The process, by its index in [`LocalCluster::all`].
    pub process: usize,
    /// The zone.
    pub zone: ZoneName,
    /// The epoch of the grant.
    pub epoch: Epoch,
    /// The reason.
    pub reason: String,
}

/// All shard processes of a world.
pub struct LocalCluster {
    /// Address on which the next processes listen.
    pub listen: String,
    /// Words before the next processes' command line, as of a program that runs them.
    pub prefix: Vec<String>,
    /// Binary of the next processes.
    pub binary: PathBuf,
    dir: PathBuf,
    /// The processes in order of start; the dead among them.
    pub all: Vec<Process>,
    /// In order of their telling.
    pub adoptions: Vec<ReportedAdoption>,
    /// In order of their telling.
    pub ends: Vec<End>,
    /// Zones that the store has lost and that began again, with the epoch under which they did.
    pub lost: Vec<(ZoneName, Epoch)>,
    /// Zones that a process cannot run, whether it was granted them or not: the process by its index, the zone, and the
    /// epoch.
    pub unfit: Vec<(usize, ZoneName, Epoch)>,
    /// Alarms of zones without an owner, in order: the process by its index, the zone, and whether it was raised (or
    /// ended).
    pub vacancies: Vec<(usize, ZoneName, bool)>,
    /// Alarms of records that the store does not confirm, in order: the process by its index, the zone, and the reason;
    /// none where it ended.
    pub unconfirmed: Vec<(usize, ZoneName, Option<String>)>,
    /// Changes in whether the archive follows a zone, in order: the process by its index, the zone, and the new state.
    pub archive_lags: Vec<(usize, ZoneName, LagState)>,
    /// Alarms of zones that wait for an archive that does not answer, in order: the process by its index, and the zone.
    pub archive_awaited: Vec<(usize, ZoneName)>,
    events: Receiver<(usize, ShardEvent)>,
    sender: Sender<(usize, ShardEvent)>,
    stop: Option<Stop>,
    log: Option<OwnedFd>,
}

/// Error of a wait that was given up because this process was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asked to stop")]
pub struct Interrupted;

impl LocalCluster {
    /// Makes a cluster without processes. They will run `binary`, with world and keys below `dir`.
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
            unfit: Vec::new(),
            vacancies: Vec::new(),
            unconfirmed: Vec::new(),
            archive_lags: Vec::new(),
            archive_awaited: Vec::new(),
            events,
            sender,
            stop: None,
            log: None,
        }
    }

    /// Makes its waits end when `stop` is asked for, with [`Interrupted`].
    pub fn heed(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// Has shards that are started from now on log to `log` instead of this process's standard error.
    pub fn log_to(&mut self, log: OwnedFd) {
        self.log = Some(log);
    }

    /// Returns the directory of the processes' keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Returns the directory of the embedded store and authority.
    #[must_use]
    pub fn world(&self) -> PathBuf {
        self.dir.join("world")
    }

    /// Starts a shard that prefers `zones`, and waits until it serves and owns them. `arguments` are added to its
    /// command line. Returns its index in [`LocalCluster::all`].
    pub fn start(&mut self, zones: &[ZoneName], arguments: &[&str]) -> anyhow::Result<usize> {
        let index = self.launch(zones, arguments)?;
        self.wait_until_serving(index, zones)?;
        Ok(index)
    }

    /// Starts a shard, as [`LocalCluster::start`] does, without waiting.
    pub fn launch(&mut self, zones: &[ZoneName], arguments: &[&str]) -> anyhow::Result<usize> {
        let index = self.all.len();
        let binary = self.binary.as_os_str();
        let mut words = self.prefix.iter().map(OsStr::new).chain([binary]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        command
            .args(words)
            .args(["shard", "--events", "json", "--until-stdin-ends"]);
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
        if let Some(log) = &self.log {
            command.stderr(log.try_clone().context("share a log")?);
        }
        let mut child = command
            .stdin(Stdio::piped())
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
            listens: addr,
            pid: 0,
            runs: Vec::new(),
            usage: None,
            killed: None,
            asked_to_end: false,
        });
        Ok(index)
    }

    fn wait_until_serving(&mut self, index: usize, zones: &[ZoneName]) -> anyhow::Result<()> {
        let owned = |cluster: &Self, zone: &ZoneName| {
            cluster
                .adoptions
                .iter()
                .any(|adoption| adoption.process == index && adoption.report.zone == *zone)
        };
        let serves =
            |cluster: &Self| cluster.all[index].addr.port() != 0 && zones.iter().all(|zone| owned(cluster, zone));
        self.wait_until("a shard process serves its zones", START_TIMEOUT, serves)
    }

    /// Takes in reports until `reached`, or for `timeout` at most; `what` says in words what was waited for.
    pub fn wait_until(&mut self, what: &str, timeout: Duration, reached: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while !reached(self) {
            // Before its deaths are noticed: a terminal signals the shards, too.
            if self.stop.as_ref().is_some_and(|stop| stop.asked().is_some()) {
                return Err(Interrupted.into());
            }
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

    /// Fails if a process has ended that was not asked to.
    fn notice_deaths(&mut self) -> anyhow::Result<()> {
        for (index, status) in self.bury()? {
            let asked_to_end = self.all[index].asked_to_end;
            anyhow::ensure!(asked_to_end, "a shard process ended by itself: {status}");
        }
        Ok(())
    }

    /// Returns the processes that have ended since they were last asked after, with their exit statuses in words.
    pub fn bury(&mut self) -> anyhow::Result<Vec<(usize, String)>> {
        let mut dead = Vec::new();
        for (index, process) in self.all.iter_mut().enumerate().filter(|(_, p)| p.killed.is_none()) {
            if let Some(status) = process.ended()? {
                process.killed = Some(Instant::now());
                dead.push((index, status));
            }
        }
        Ok(dead)
    }

    /// Takes in what the shards have reported since the last call.
    pub fn listen(&mut self) {
        while let Ok((from, event)) = self.events.try_recv() {
            self.take(from, event);
        }
    }

    fn take(&mut self, process: usize, event: ShardEvent) {
        match event {
            ShardEvent::Serving { addr, listens, pid, .. } => {
                self.all[process].addr = addr;
                self.all[process].listens = listens;
                self.all[process].pid = pid;
            }
            ShardEvent::Adopted(report) => self.adoptions.push(ReportedAdoption { process, report }),
            ShardEvent::Stats(run) => {
                let runs = &mut self.all[process].runs;
                runs.retain(|known| (&known.zone, known.epoch) != (&run.zone, run.epoch));
                runs.push(*run);
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
            ShardEvent::Unfit { zone, epoch, .. } => self.unfit.push((process, zone, epoch)),
            ShardEvent::Unowned { zone, .. } => self.vacancies.push((process, zone, true)),
            ShardEvent::OwnedAgain { zone, .. } => self.vacancies.push((process, zone, false)),
            ShardEvent::Unconfirmed { zone, reason, .. } => self.unconfirmed.push((process, zone, Some(reason))),
            ShardEvent::ConfirmedAgain { zone, .. } => self.unconfirmed.push((process, zone, None)),
            ShardEvent::ArchiveLag { zone, state, .. } => self.archive_lags.push((process, zone, state)),
            ShardEvent::ArchiveAwaited { zone, .. } => self.archive_awaited.push((process, zone)),
            ShardEvent::CheckpointLag { .. } | ShardEvent::Stopped => {}
        }
    }

    /// Returns the latest owner of each zone that was ever owned.
    fn owners(&self) -> BTreeMap<&ZoneName, &ReportedAdoption> {
        let mut owners: BTreeMap<&ZoneName, &ReportedAdoption> = BTreeMap::new();
        for adoption in &self.adoptions {
            let latest = owners.entry(&adoption.report.zone).or_insert(adoption);
            if adoption.report.epoch >= latest.report.epoch {
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

    /// Returns the index of the living process with most players.
    pub fn busiest(&self) -> Option<usize> {
        (0..self.all.len())
            .filter(|i| self.all[*i].killed.is_none())
            .max_by_key(|i| self.all[*i].players())
    }

    /// Sends SIGKILL to the server itself. Its guardian, if it has one, does its duty and ends before this returns.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<Instant> {
        self.signal(index, Signal::KILL)?;
        let at = Instant::now();
        self.wait_until_dead(index, STOP_TIMEOUT)?;
        self.all[index].killed = Some(at);
        Ok(at)
    }

    /// Sends SIGKILL to the guardian alone: its server goes on.
    pub fn kill_guardian(&mut self, index: usize) -> anyhow::Result<()> {
        let process = &mut self.all[index];
        anyhow::ensure!(process.is_guarded(), "this shard has no guardian");
        // From here on it is the server that must live.
        process.orphaned = true;
        process.child.kill().context("kill a guardian")?;
        process.child.wait().context("reap a guardian")?;
        Ok(())
    }

    /// Waits until a process that is told to die, or bound to be killed by its guardian, has ended, and its guardian
    /// with it. Returns the exit status in words.
    pub fn wait_until_dead(&mut self, index: usize, timeout: Duration) -> anyhow::Result<String> {
        let process = &mut self.all[index];
        let Some(status) = process.wait(timeout)? else {
            bail!("shard process {} does not die", process.child.id());
        };
        process.killed = Some(Instant::now());
        Ok(status)
    }

    /// Sends a signal to the server itself.
    pub fn signal(&mut self, index: usize, signal: Signal) -> anyhow::Result<()> {
        self.signal_to(index, Who::Server, signal)
    }

    /// Sends a signal to one of a shard's processes. After one that ends a process, its end is no error.
    pub fn signal_to(&mut self, index: usize, who: Who, signal: Signal) -> anyhow::Result<()> {
        let process = &mut self.all[index];
        process.asked_to_end |= matches!(signal, Signal::TERM | Signal::INT | Signal::HUP | Signal::KILL);
        kill_process(process.pid_of(who)?, signal).context("signal a shard process")
    }

    /// Sends SIGTERM to all that live, and waits until they have stopped in good order.
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

/// Passes on the reports of one process, until it ends or the cluster is dropped.
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

impl Drop for LocalCluster {
    /// Kills all processes: none outlives its cluster.
    fn drop(&mut self) {
        self.all
            .iter_mut()
            .filter(|p| p.killed.is_none())
            .for_each(Process::end);
    }
}

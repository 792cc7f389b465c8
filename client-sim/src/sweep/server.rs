//! A server process of a sweep: its start on a CPU of its own, what it tells, its end. It is killed when it is dropped,
//! and it stops by itself if the sweep is killed: the kernel then closes the pipe that is its standard input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{LOOK_EVERY, SweepConfig, SweepError};
use crate::affinity::pin_thread;

/// A server has this long to serve, and to own its zones.
const START_MAX: Duration = Duration::from_secs(30);

/// A line of a server's report, and when it came.
pub(super) type ServerLine = (Instant, Value);

/// A running server.
pub(super) struct Server {
    binary: PathBuf,
    child: Child,
    reader: Option<JoinHandle<()>>,
    told: Receiver<ServerLine>,
    lines: Vec<ServerLine>,
    log: PathBuf,
    // Removed when the process is gone.
    dir: TempDir,
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> SweepError {
    move |source| SweepError::Io { doing, source }
}

impl Server {
    /// Starts a server with a world of its own, in a temporary directory.
    pub(super) fn start(config: &SweepConfig, players: usize) -> Result<Self, SweepError> {
        let dir = tempfile::tempdir().map_err(io("make a temporary directory"))?;
        let log = config.out.join(format!("server-{players}.log"));
        let errors = File::create(&log).map_err(io("create the server's log"))?;
        let mut command = command(config, &dir)?;
        command.stdout(Stdio::piped()).stderr(errors).stdin(Stdio::piped());
        // A Ctrl-C is for the sweep, which then ends the server itself.
        command.process_group(0);
        let mut child = spawn(command, config)?;
        let (sender, told) = channel();
        let reader = child.stdout.take().map(|out| {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines() {
                    let Ok(line) = line else { return };
                    // What is no JSON is no report.
                    let Ok(value) = serde_json::from_str(&line) else {
                        continue;
                    };
                    if sender.send((Instant::now(), value)).is_err() {
                        return;
                    }
                }
            })
        });
        Ok(Self {
            binary: config.server.clone(),
            child,
            reader,
            told,
            lines: Vec::new(),
            log,
            dir,
        })
    }

    /// Waits until it serves and owns all zones, and returns where. `None`: the sweep is to stop.
    pub(super) fn until_serving(&mut self, config: &SweepConfig) -> Result<Option<SocketAddr>, SweepError> {
        let deadline = Instant::now() + START_MAX;
        let (mut addr, mut zones) = (None, 0);
        loop {
            if let (Some(addr), true) = (addr, zones >= config.swarm.zones.len()) {
                return Ok(Some(addr));
            }
            if config.stops() {
                return Ok(None);
            }
            match self.told.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    match line.1["event"].as_str() {
                        Some("serving") => addr = line.1["addr"].as_str().and_then(|addr| addr.parse().ok()),
                        Some("adopted") => zones += 1,
                        _ => {}
                    }
                    self.lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(self.problem("did not serve")),
            }
        }
    }

    /// Returns its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory of its keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// Returns how it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the server ended: {status}; see {}", self.log.display()))
    }

    /// Takes all lines that it has reported so far.
    pub(super) fn take_lines(&mut self) -> Vec<ServerLine> {
        self.lines.extend(self.told.try_iter());
        std::mem::take(&mut self.lines)
    }

    fn problem(&mut self, what: &str) -> SweepError {
        let status = self.child.try_wait().ok().flatten();
        let status = status.map_or_else(String::new, |status| format!(" ({status})"));
        let mut log = String::new();
        // The log is only quoted: without it the problem is the same.
        let _unread = File::open(&self.log).and_then(|mut file| file.read_to_string(&mut log));
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        SweepError::Server {
            server: self.binary.clone(),
            problem: format!("it {what}{status}: {last}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its world is thrown away, so there is nothing to stop in good order for.
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
    }
}

fn command(config: &SweepConfig, dir: &TempDir) -> Result<Command, SweepError> {
    let mut command = Command::new(&config.server);
    command.args(["shard", "--no-guardian", "--until-stdin-ends", "--events", "json"]);
    command.args(["--listen", "127.0.0.1:0"]);
    command.args(["--durability", &config.durability]);
    command.arg("--state").arg(dir.path().join("world"));
    command.arg("--keys").arg(dir.path().join("keys"));
    for zone in &config.swarm.zones {
        command.args(["--zone", zone.as_str()]);
    }
    if let Some(world) = &config.world {
        let world = std::path::absolute(world).map_err(io("find the world file"))?;
        let text = format!("[world]\nrules = {}\n", Value::from(world.to_string_lossy()));
        let file = dir.path().join("shard.toml");
        std::fs::write(&file, text).map_err(io("write the server's configuration"))?;
        command.arg("--config").arg(file);
    }
    Ok(command)
}

/// Starts the process on its CPU: it inherits that of the thread which starts it, so that is a thread of its own.
fn spawn(mut command: Command, config: &SweepConfig) -> Result<Child, SweepError> {
    let cpu = config.server_cpu;
    let starter = std::thread::spawn(move || {
        if let Some(cpu) = cpu {
            pin_thread(cpu)?;
        }
        command.spawn().map_err(io("start the server"))
    });
    let child = starter.join().map_err(|_| SweepError::Server {
        server: config.server.clone(),
        problem: "the thread that starts it panicked".to_owned(),
    })?;
    child.map_err(|error| match error {
        SweepError::Io { source, .. } => SweepError::Server {
            server: config.server.clone(),
            problem: source.to_string(),
        },
        error => error,
    })
}

//! A real Redis for tests: a process of its own on a free loopback port, which can be stopped, woken, killed, and
//! started again. Several of them make a Cluster, or a group with Sentinels.

mod cluster;
mod sentinel;

use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use cluster::{MovingSlot, RedisCluster};
pub use sentinel::SentinelGroup;

/// Longest wait for a Redis that starts: it answers within a fraction of a second; on a machine that compiles meanwhile
/// it may take longer.
const START_MAX: Duration = Duration::from_secs(20);

/// Longest wait until several servers agree on what became of one: they do within seconds; on a machine that compiles
/// meanwhile it may take far longer.
const AGREE_MAX: Duration = Duration::from_secs(90);

/// Period of looks while a test waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ports that are tried: one that was free may be taken when the server starts.
const PORT_TRIES: usize = 5;

/// Whether a Redis's data outlive its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// None do: it comes back empty.
    None,
    /// All do, in an append-only file that is written before each answer.
    Aof,
}

/// A Redis process. It ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    addr: SocketAddr,
    args: Vec<String>,
    directory: TempDir,
}

impl RedisServer {
    /// Starts a Redis and waits until it answers.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    #[must_use]
    pub fn start(persistence: Persistence) -> Self {
        let append_only = match persistence {
            Persistence::None => "no",
            Persistence::Aof => "yes",
        };
        Self::start_with(&["--appendonly", append_only])
    }

    /// Starts a Redis with these arguments: a file of its configuration may be the first. Address and directory are not
    /// theirs to choose.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    #[must_use]
    pub fn start_with(args: &[&str]) -> Self {
        Self::start_with_each(|| args.iter().map(ToString::to_string).collect())
    }

    /// Starts a Redis; each try asks anew for its arguments, which may name ports.
    fn start_with_each(args: impl Fn() -> Vec<String>) -> Self {
        let mut directory = tempfile::tempdir().expect("a temporary directory");
        for _ in 0..PORT_TRIES {
            let (addr, args) = (free_addr(), args());
            let mut server = Self {
                child: spawn(addr, &args, directory.path()),
                addr,
                args,
                directory,
            };
            if server.comes_up() {
                return server;
            }
            directory = std::mem::replace(
                &mut server.directory,
                tempfile::tempdir().expect("a temporary directory"),
            );
        }
        panic!("redis-server ended at once, at {PORT_TRIES} ports in turn");
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Returns its address.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends it a signal: SIGSTOP or SIGCONT.
    ///
    /// # Panics
    /// If it is not there.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a process id");
        kill_process(pid, signal).expect("the server lives");
    }

    /// Kills it by SIGKILL.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("and reaped");
    }

    /// Starts it again on the same port, with what its persistence kept.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.child = spawn(self.addr, &self.args, self.directory.path());
        assert!(self.comes_up(), "redis-server ended at once, at {}", self.addr);
    }

    /// Starts it again on the same port, with nothing, as on a new disk.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again_empty(&mut self) {
        self.directory = tempfile::tempdir().expect("a temporary directory");
        self.start_again();
    }

    /// Runs one command through `redis-cli` and returns what it prints.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        ask(self.addr, words).unwrap_or_else(|| panic!("no answer of {} to {words:?}", self.addr))
    }

    /// Runs one command through `redis-cli` and returns what it prints; `None` if there is no answer.
    ///
    /// # Panics
    /// If there is no `redis-cli`.
    #[must_use]
    pub fn try_command(&self, words: &[&str]) -> Option<String> {
        ask(self.addr, words)
    }

    /// Waits until `is_so`; `what` says in words what for.
    ///
    /// # Panics
    /// If it does not for long.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        until(what, || is_so(self));
    }

    /// Whether it answers, and does not end at once (another process has its port).
    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + START_MAX;
        loop {
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            if TcpStream::connect(self.addr).is_ok() && ask(self.addr, &["PING"]).as_deref() == Some("PONG") {
                return true;
            }
            assert!(
                Instant::now() < deadline,
                "no Redis at {} within {START_MAX:?}",
                self.addr
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL reaches a stopped process, too. It may be gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn spawn(addr: SocketAddr, args: &[String], directory: &Path) -> Child {
    assert!(
        Command::new("redis-server").arg("--version").output().is_ok(),
        "redis-server is missing: `make redis`, or install the package redis-server"
    );
    // If the test is killed, nobody drops anything: the kernel ends the server then.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(args)
        .args(["--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()])
        .args(["--save", "", "--daemonize", "no"])
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv of util-linux is needed")
}

/// Ports that the system gives to no connection by itself (`ip_local_port_range` begins at 32,768): one that was free
/// stays so, unless another server of a test draws the same.
const PORTS: std::ops::Range<u64> = 12_000..32_000;

/// A port that was free a moment ago.
fn free_addr() -> SocketAddr {
    let span = PORTS.end - PORTS.start;
    loop {
        let drawn = PORTS.start + RandomState::new().hash_one(0) % span;
        let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(drawn).expect("a port")));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Returns what `redis-cli` prints; `None` if no server answers.
fn ask(addr: SocketAddr, words: &[&str]) -> Option<String> {
    let output = Command::new("redis-cli")
        .args(["-p", &addr.port().to_string()])
        .args(words)
        .output()
        .expect("redis-cli is installed with redis-server");
    let printed = String::from_utf8(output.stdout).expect("text");
    output.status.success().then(|| printed.trim().to_owned())
}

/// Waits until `is_so`; `what` says in words what for.
fn until(what: &str, is_so: impl Fn() -> bool) {
    until_or(what, is_so, String::new);
}

/// Waits until `is_so`. If it is not for long, says `what` was waited for, and what there is instead.
fn until_or(what: &str, is_so: impl Fn() -> bool, instead: impl Fn() -> String) {
    let deadline = Instant::now() + AGREE_MAX;
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "not within {AGREE_MAX:?}: {what}; {}",
            instead()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

//! A real Redis for tests: a process of its own on a free loopback port, which can be stopped, woken, killed, and started again.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A Redis answers within a fraction of a second; on a machine that compiles meanwhile it may take longer.
const START_MAX: Duration = Duration::from_secs(20);

/// Whether what it is given outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It comes back empty.
    None,
    /// An append-only file, written before each answer.
    Aof,
}

/// The process. It ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    addr: SocketAddr,
    args: Vec<String>,
    directory: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it answers.
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

    /// Starts one with these arguments: a file of its configuration may be the first. Address and directory are not theirs to choose.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    #[must_use]
    pub fn start_with(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let addr = free_addr();
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let child = spawn(addr, &args, directory.path());
        let mut server = Self {
            child,
            addr,
            args,
            directory,
        };
        server.wait_until_up();
        server
    }

    /// Starts a Cluster of one node, which has all slots.
    ///
    /// # Panics
    /// If `redis-server` is not installed, is older than 7.0, or does not start.
    #[must_use]
    pub fn start_cluster() -> Self {
        let server = Self::start_with(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
        assert_eq!(server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
        server.wait_until("the cluster is up", |server| {
            server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        server
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Where it is.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends it a signal: SIGSTOP and SIGCONT.
    ///
    /// # Panics
    /// If it is not there.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a process id");
        kill_process(pid, signal).expect("the server lives");
    }

    /// SIGKILL.
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
        self.wait_until_up();
    }

    /// Runs one command through `redis-cli` and returns what it prints.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.addr.port().to_string()])
            .args(words)
            .output()
            .expect("redis-cli is installed with redis-server");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Waits until it looks so.
    ///
    /// # Panics
    /// If it does not for long.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + START_MAX;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not within {START_MAX:?}: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.addr).is_err() || self.command(&["PING"]) != "PONG" {
            assert!(
                Instant::now() < deadline,
                "no Redis at {} within {START_MAX:?}",
                self.addr
            );
            assert!(
                self.child.try_wait().expect("a child").is_none(),
                "redis-server ended at once"
            );
            std::thread::sleep(Duration::from_millis(10));
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

/// A port that was free a moment ago.
fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}

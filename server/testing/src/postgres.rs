//! A real PostgreSQL for tests: a cluster of its own in a temporary directory, on a free loopback port, which can be
//! killed and started again. It asks nothing of a cluster that the machine may have.
//!
//! PostgreSQL does not run as root: then it runs as the user 65534, who owns the directory and nothing else.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// Longest wait for a PostgreSQL that starts: it answers within a second; on a machine that compiles meanwhile it may
/// take far longer.
const START_MAX: Duration = Duration::from_secs(90);

/// Period of looks while a test waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ports that are tried: one that was free may be taken when the server starts.
const PORT_TRIES: usize = 5;

/// The user that owns nothing else, in place of root.
const UNPRIVILEGED: u32 = 65_534;

/// The ports of these servers, apart from those of Redis servers (`ip_local_port_range` begins at 32,768).
const PORTS: std::ops::Range<u64> = 10_000..12_000;

/// The directories of PostgreSQL's programs on Debian, one for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The database's superuser.
const USER: &str = "everhold";

/// The fate of a server's data when the machine dies. Its own death loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Commits wait for the disk, as they do where it matters.
    Synced,
    /// Commits wait for nothing.
    Unsynced,
}

/// A PostgreSQL process and its cluster. It ends with this value.
#[derive(Debug)]
pub struct PostgresServer {
    child: Child,
    addr: SocketAddr,
    disk: Disk,
    directory: TempDir,
}

impl PostgresServer {
    /// Makes a cluster, starts it, and waits until it answers.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn start(disk: Disk) -> Self {
        let mut directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        if geteuid().is_root() {
            for path in [directory.path(), &data] {
                let owner = Some(UNPRIVILEGED);
                std::os::unix::fs::chown(path, owner, owner).expect("root gives a directory away");
            }
        }
        let made = program("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
            .stdin(Stdio::null())
            .output()
            .expect("setpriv of util-linux is needed");
        let why = || String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "initdb: {}", why());
        for _ in 0..PORT_TRIES {
            let addr = free_addr();
            let mut server = Self {
                child: spawn(addr, disk, directory.path()),
                addr,
                disk,
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
        panic!(
            "postgres ended at once, at {PORT_TRIES} ports in turn: {}",
            log(directory.path())
        );
    }

    /// Returns its address.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of a database of it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url_at(self.addr, database)
    }

    /// Makes an empty database.
    ///
    /// # Panics
    /// If there is one of this name.
    pub fn create_database(&self, database: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {database}"));
    }

    /// Runs statements through `psql` and returns the rows of the last one: columns apart by tabs, nothing as `\N`.
    ///
    /// # Panics
    /// If it cannot.
    pub fn sql(&self, database: &str, statements: &str) -> Vec<Vec<String>> {
        let output = ask(self.addr, database, statements);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {error}");
        let text = String::from_utf8(output.stdout).expect("text");
        let columns = |row: &str| row.split('\t').map(str::to_owned).collect();
        text.lines().map(columns).collect()
    }

    /// Kills it by SIGKILL. Its sessions end with it.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("and reaped");
    }

    /// Ends it in order, as an operator does who does not wait for its clients.
    ///
    /// # Panics
    /// If it is not there.
    pub fn stop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a process id");
        kill_process(pid, Signal::INT).expect("the server lives");
        self.child.wait().expect("and reaped");
    }

    /// Starts it again on the same port, with what it has committed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + START_MAX;
        loop {
            self.child = spawn(self.addr, self.disk, self.directory.path());
            if self.comes_up() {
                return;
            }
            // A session of the one before has not ended yet.
            let log = || log(self.directory.path());
            assert!(
                Instant::now() < deadline,
                "postgres ended at once, at {}: {}",
                self.addr,
                log()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it answers, and does not end at once (another process has its port).
    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + START_MAX;
        loop {
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            if ask(self.addr, "postgres", "SELECT 1").status.success() {
                return true;
            }
            let late = || format!("no PostgreSQL at {} within {START_MAX:?}", self.addr);
            assert!(Instant::now() < deadline, "{}: {}", late(), log(self.directory.path()));
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may be gone already. Its sessions end when they see that it is.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns the URL of a database behind an address, such as that of a network with faults.
#[must_use]
pub fn url_at(addr: SocketAddr, database: &str) -> String {
    format!("postgres://{USER}@{addr}/{database}")
}

/// Returns the path of one of PostgreSQL's programs, of the newest version that is installed.
fn path(name: &str) -> PathBuf {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = versions.filter_map(|entry| Some((number(&entry.path())?, entry.path())));
    let newest = versions.max().map(|(_, path)| path.join("bin").join(name));
    newest.filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// A program of PostgreSQL, to be run as a user who is not root.
fn program(name: &str) -> Command {
    let path = path(name);
    assert!(
        Command::new(&path).arg("--version").output().is_ok(),
        "{name} is missing: `make postgres`, or install the package postgresql"
    );
    // If the test is killed, no value is dropped: the kernel ends the server then.
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        let user = [format!("--reuid={UNPRIVILEGED}"), format!("--regid={UNPRIVILEGED}")];
        command.args(user).args(["--clear-groups", "--inh-caps=-all"]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(path).current_dir("/");
    command
}

fn spawn(addr: SocketAddr, disk: Disk, directory: &Path) -> Child {
    let log = || File::create(directory.join("log")).expect("a file");
    let fsync = match disk {
        Disk::Synced => "fsync=on",
        Disk::Unsynced => "fsync=off",
    };
    program("postgres")
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string()])
        .args([
            "-c",
            "unix_socket_directories=",
            "-c",
            "max_connections=40",
            "-c",
            fsync,
        ])
        .args(["-c", "shared_buffers=64MB", "-c", "dynamic_shared_memory_type=mmap"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log())
        .spawn()
        .expect("setpriv of util-linux is needed")
}

fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}

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

fn ask(addr: SocketAddr, database: &str, statements: &str) -> std::process::Output {
    Command::new(path("psql"))
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-F",
            "\t",
            "-P",
            "null=\\N",
            "-v",
            "ON_ERROR_STOP=1",
        ])
        .args(["-d", &url_at(addr, database), "-c", statements])
        .env_remove("PGOPTIONS")
        .stdin(Stdio::null())
        .output()
        .expect("psql is installed with PostgreSQL")
}

//! A real Sentinel group for tests: three Sentinels that watch a primary and its two replicas.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{RedisServer, ask, free_addr, until_or};

/// Number of servers: the primary, and its replicas.
const SERVERS: usize = 3;

/// Time after which a failover that does not get on is given up, ms. The next try comes after twice as long.
const FAILOVER_MAX_MS: u32 = 5_000;

/// Silence after which a primary is replaced, ms: long enough for a machine that is busy with other work.
const DOWN_AFTER_MS: u32 = 2_000;

/// A Sentinel group: its servers, alive or not, and their Sentinels. They end with this value.
#[derive(Debug)]
pub struct SentinelGroup {
    servers: Vec<RedisServer>,
    alive: Vec<bool>,
    sentinels: Vec<Sentinel>,
}

/// A Sentinel process.
#[derive(Debug)]
struct Sentinel {
    child: Child,
    addr: SocketAddr,
    _directory: TempDir,
}

impl Sentinel {
    fn start(addr: SocketAddr, primary: &RedisServer) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor world 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds world {DOWN_AFTER_MS}\n\
             sentinel failover-timeout world {FAILOVER_MAX_MS}\n",
            addr.port(),
            primary.addr().port(),
        );
        std::fs::write(&file, text).expect("a writable directory");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "redis-server"])
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv of util-linux is needed");
        Self {
            child,
            addr,
            _directory: directory,
        }
    }

    fn command(&self, words: &[&str]) -> Option<String> {
        ask(self.addr, words)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl SentinelGroup {
    /// Starts all of them and waits until they know each other.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts all of them, each server with these arguments besides its own.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    #[must_use]
    pub fn start_with(args: &[&str]) -> Self {
        let common = [&["--repl-diskless-sync-delay", "0"], args].concat();
        let primary = RedisServer::start_with(&common);
        let port = primary.addr().port().to_string();
        let mut servers = vec![primary];
        while servers.len() < SERVERS {
            let follows = ["--replicaof", "127.0.0.1", &port];
            servers.push(RedisServer::start_with(&[&common[..], &follows].concat()));
        }
        let sentinels = (0..3).map(|_| Sentinel::start(free_addr(), &servers[0])).collect();
        let group = Self {
            alive: vec![true; SERVERS],
            servers,
            sentinels,
        };
        group.wait_until_whole();
        group
    }

    /// Returns the URL of the group: any of its Sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let [first, second, third] = [0, 1, 2].map(|index| self.sentinels[index].addr);
        format!("redis-sentinel://{first}?sentinelServiceName=world&node={second}&node={third}")
    }

    /// Returns a server.
    #[must_use]
    pub fn server(&self, index: usize) -> &RedisServer {
        &self.servers[index]
    }

    /// Returns the primary, as all Sentinels have it; `None` if they do not agree.
    #[must_use]
    pub fn agreed_primary(&self) -> Option<usize> {
        let mut named = self.sentinels.iter().map(|sentinel| self.primary_of(sentinel));
        let first = named.next()??;
        named.all(|other| other == Some(first)).then_some(first)
    }

    /// Returns the primary that a Sentinel names.
    fn primary_of(&self, sentinel: &Sentinel) -> Option<usize> {
        let addr = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "world"])?;
        let port: u16 = addr.lines().last()?.parse().ok()?;
        self.servers.iter().position(|server| server.addr().port() == port)
    }

    /// The primary.
    ///
    /// # Panics
    /// If the Sentinels do not agree for long.
    #[must_use]
    pub fn primary(&self) -> usize {
        self.until("the Sentinels agree", || self.agreed_primary().is_some());
        self.agreed_primary().expect("they agreed a moment ago")
    }

    /// Kills a server by SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
        self.alive[index] = false;
    }

    /// Starts a killed server again. The Sentinels make a replica of it.
    pub fn start_again(&mut self, index: usize) {
        self.servers[index].start_again();
        self.alive[index] = true;
    }

    /// Asks for a failover, as before a planned stop, and waits until another one is the primary.
    ///
    /// # Panics
    /// If there is none for long.
    pub fn failover(&self) {
        let before = self.primary();
        let is_over = || self.primary_of(&self.sentinels[0]).is_some_and(|now| now != before);
        self.until("another server is promoted", || {
            // A failover that was begun may come to nothing: the Sentinel is asked again. It refuses while one goes on.
            if !is_over() {
                let _refused = self.sentinels[0].command(&["SENTINEL", "FAILOVER", "world"]);
            }
            is_over()
        });
        self.wait_until_primary_is_not(before);
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        until_or(what, is_so, || self.described());
    }

    /// Describes the group as its servers and Sentinels see it.
    fn described(&self) -> String {
        let lines = self.servers.iter().map(|server| {
            let said = ask(server.addr(), &["INFO", "replication"]);
            format!("{}: {said:?}", server.addr())
        });
        let sentinels = self.sentinels.iter().map(|sentinel| {
            let said = |what| sentinel.command(&["SENTINEL", what, "world"]);
            format!("{}: {:?} {:?}", sentinel.addr, said("MASTER"), said("REPLICAS"))
        });
        lines.chain(sentinels).collect::<Vec<_>>().join("\n")
    }

    /// Waits until all Sentinels have another primary, which takes writes.
    pub fn wait_until_primary_is_not(&self, before: usize) {
        self.until("another server is the primary", || {
            self.agreed_primary().is_some_and(|now| {
                now != before && ask(self.servers[now].addr(), &["ROLE"]).is_some_and(|role| role.starts_with("master"))
            })
        });
    }

    /// Waits until all servers live, the others follow the primary, and all Sentinels know all of them.
    ///
    /// # Panics
    /// If they do not for long.
    pub fn wait_until_whole(&self) {
        assert!(
            self.alive.iter().all(|alive| *alive),
            "a killed server is started again first"
        );
        self.until("the group is whole", || {
            let Some(primary) = self.agreed_primary() else {
                return false;
            };
            let said = self.servers[primary].command(&["INFO", "replication"]);
            let follow = said.matches("state=online").count() == SERVERS - 1;
            let knows = |sentinel: &Sentinel| {
                let known = |what| sentinel.command(&["SENTINEL", what, "world"]).unwrap_or_default();
                let (replicas, sentinels) = (known("REPLICAS"), known("SENTINELS"));
                let is_well = !replicas.contains("s_down") && !replicas.contains("disconnected");
                let mut others = self.servers.iter().enumerate().filter(|(index, _)| *index != primary);
                is_well
                    && others.all(|(_, server)| replicas.contains(&server.addr().port().to_string()))
                    && sentinels.matches("runid").count() == self.sentinels.len() - 1
            };
            follow && self.sentinels.iter().all(knows)
        });
    }
}

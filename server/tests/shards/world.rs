//! A world of shard processes for one test.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use everhold_local_cluster::LocalCluster;
use everhold_net::keys::{self, Keys};
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_testing::crowd::Crowd;
use everhold_testing::player::{OldConnections, Player};
use everhold_testing::redis::{Persistence, RedisServer};

/// A wait is bounded by this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A short lease, so that tests of its end need not wait long, ms.
const TTL_MS: u64 = 1_000;

/// The lease of the default configuration, ms.
const DEFAULT_TTL_MS: u64 = 4_000;

/// Twice as long as anything is waited for: nothing in a test comes of its end, ms. (Shards look around forty times in
/// a ttl.)
const ENDLESS_TTL_MS: u64 = 60_000;

/// Worlds wait more than they compute, and run beside each other, as many as there are test threads. One that keeps the
/// processors busy runs alone: leases this short would run out if it starved the others' processes.
static WORLDS: RwLock<()> = RwLock::new(());

/// The turn of a world. A test that failed leaves nothing behind that the next one would see.
pub(crate) enum Turn {
    /// Others may run meanwhile.
    Shared(#[expect(dead_code, reason = "it is held")] RwLockReadGuard<'static, ()>),
    /// No other runs meanwhile.
    Alone(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'static, ()>),
}

fn shared() -> Turn {
    Turn::Shared(WORLDS.read().unwrap_or_else(PoisonError::into_inner))
}

/// Waits until no other world runs.
pub(crate) fn alone() -> Turn {
    Turn::Alone(WORLDS.write().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) struct World {
    pub(crate) cluster: LocalCluster,
    pub(crate) keys: Keys,
    /// The text of the configuration file.
    text: String,
    config: String,
    /// The Redis of store and authority, if they are not in files.
    pub(crate) redis: Option<RedisServer>,
    // Removed when the processes are gone.
    _dir: tempfile::TempDir,
    turn: Option<Turn>,
}

/// Runs a shard that is refused, until it ends by itself. Returns its exit code and what it said.
pub(crate) fn shard_that_ends(world: &Path, keys: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_everhold"))
        .arg("shard")
        .args(arguments)
        .arg("--state")
        .arg(world)
        .arg("--keys")
        .arg(keys)
        .stdin(Stdio::null())
        .output();
    let output = output.expect("the binary runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub(crate) fn meadow() -> ZoneName {
    "meadow".parse().expect("a zone name")
}

pub(crate) fn all_zones() -> Vec<ZoneName> {
    ["meadow", "forest", "harbor"]
        .map(|zone| zone.parse().expect("a zone name"))
        .to_vec()
}

impl World {
    /// Shards with guardians, as they are by default.
    pub(crate) fn new() -> Self {
        Self::with(TTL_MS, true)
    }

    /// Shards with guardians and the leases of the default configuration, which a busy machine does not miss.
    pub(crate) fn with_default_leases() -> Self {
        Self::with(DEFAULT_TTL_MS, true)
    }

    /// Shards whose leases are five times as long as by default.
    pub(crate) fn with_long_leases() -> Self {
        Self::with(5 * DEFAULT_TTL_MS, true)
    }

    /// Shards without guardians.
    pub(crate) fn unguarded() -> Self {
        Self::with(TTL_MS, false)
    }

    /// Shards with guardians, whose leases do not run out: what is adopted was released.
    pub(crate) fn with_endless_leases() -> Self {
        Self::with(ENDLESS_TTL_MS, true)
    }

    fn with(ttl_ms: u64, guardian: bool) -> Self {
        let turn = shared();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cluster = LocalCluster::new(Path::new(env!("CARGO_BIN_EXE_everhold")).to_owned(), dir.path());
        let keys = Keys::load_or_create(&cluster.keys()).expect("development keys");
        let config = dir.path().join("shard.toml");
        let text = format!("[lease]\nttl_ms = {ttl_ms}\n[shard]\nguardian = {guardian}\n");
        std::fs::write(&config, &text).expect("a writable directory");
        Self {
            cluster,
            keys,
            text,
            config: config.to_string_lossy().into_owned(),
            redis: None,
            _dir: dir,
            turn: Some(turn),
        }
    }

    /// A world whose store and authority are in a Redis of its own.
    pub(crate) fn on_redis(persistence: Persistence) -> Self {
        Self {
            redis: Some(RedisServer::start(persistence)),
            ..Self::new()
        }
    }

    /// The same, without guardians.
    pub(crate) fn unguarded_on_redis(persistence: Persistence) -> Self {
        Self {
            redis: Some(RedisServer::start(persistence)),
            ..Self::unguarded()
        }
    }

    /// The same, with leases that do not run out in a test. Zones that were never held are free after one of them.
    pub(crate) fn on_redis_with_endless_leases(persistence: Persistence) -> Self {
        Self {
            redis: Some(RedisServer::start(persistence)),
            ..Self::with_long_leases()
        }
    }

    /// Lets no other world run meanwhile. Call it before a shard starts.
    pub(crate) fn alone(mut self) -> Self {
        // Its own turn would be waited for as well.
        self.turn = None;
        self.turn = Some(alone());
        self
    }

    /// Lets shards fail on purpose: they understand `--failpoint`, `--plant`, `--stick`, `--panic`, `--state-fields`,
    /// and `--burn-us-per-player`.
    pub(crate) fn sabotaged(mut self) -> Self {
        self.cluster.binary = env!("CARGO_BIN_EXE_everhold-sabotaged").into();
        self
    }

    /// Its Redis.
    pub(crate) fn redis(&mut self) -> &mut RedisServer {
        self.redis.as_mut().expect("a world on Redis")
    }

    /// Starts a shard and waits until it serves and owns `zones`.
    pub(crate) fn shard(&mut self, zones: &[ZoneName]) -> usize {
        self.shard_with(zones, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn shard_with(&mut self, zones: &[ZoneName], arguments: &[&str]) -> usize {
        let arguments = self.arguments(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.cluster.start(zones, &arguments).expect("a shard that serves")
    }

    /// Returns the arguments that every shard of this world is started with, and `more`.
    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        self.arguments_of(&self.config, more)
    }

    fn arguments_of(&self, config: &str, more: &[&str]) -> Vec<String> {
        let url = self.redis.as_ref().map(RedisServer::url);
        let store = url.as_ref().map_or_else(Vec::new, |url| vec!["--store", url]);
        let all = [&["--config", config], &store[..], more].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// The same, configured otherwise: these lines are added to the file.
    pub(crate) fn shard_configured(&mut self, zones: &[ZoneName], lines: &str) -> usize {
        self.shard_configured_with(zones, lines, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn shard_configured_with(&mut self, zones: &[ZoneName], lines: &str, arguments: &[&str]) -> usize {
        let path = self.cluster.keys().with_file_name("other.toml");
        std::fs::write(&path, format!("{}{lines}", self.text)).expect("a writable directory");
        let arguments = self.arguments_of(&path.to_string_lossy(), arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.cluster.start(zones, &arguments).expect("a shard that serves")
    }

    /// Writes the world file with this text replaced, and returns the lines of a configuration that names it.
    pub(crate) fn numbers(&self, file: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/world.toml"));
        let text = text.expect("the world file is there");
        assert!(text.contains(from), "nothing would be another");
        let path = self.world_file(file);
        std::fs::write(&path, text.replacen(from, to, 1)).expect("a writable directory");
        format!("[world]\nrules = {path:?}\n")
    }

    /// Returns the path of a world file of this name.
    pub(crate) fn world_file(&self, file: &str) -> PathBuf {
        self.cluster.keys().with_file_name(file)
    }

    /// The same, with leases of another ttl.
    pub(crate) fn shard_of_ttl(&mut self, zones: &[ZoneName], ttl_ms: u64) -> usize {
        let text = format!("[lease]\nttl_ms = {ttl_ms}\n[shard]\nguardian = false\n");
        let others = std::mem::replace(&mut self.text, text);
        let shard = self.shard_configured(zones, "");
        self.text = others;
        shard
    }

    /// A player that logs in to `zone` at any living shard.
    pub(crate) fn player(&self, account: u64, zone: &ZoneName, old: OldConnections) -> Player {
        let living = self
            .cluster
            .all
            .iter()
            .filter(|p| p.killed.is_none())
            .map(|p| p.addr)
            .collect();
        Player::login(&self.keys, living, account, zone, old)
    }

    /// Peers that do what no client does, at this shard.
    pub(crate) fn crowd(&self, shard: usize) -> Crowd {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
        let client = keys::client_config(self.keys.certificates()).expect("the certificate can be trusted");
        Crowd::new(socket, self.cluster.all[shard].addr, client).expect("a socket")
    }

    /// Waits until a shard that was asked to stop has ended in good order.
    pub(crate) fn until_stopped(&mut self, shard: usize) {
        let status = self.cluster.wait_until_dead(shard, PATIENCE).expect("it stops");
        assert_eq!(status, "exit status: 0");
    }

    /// Waits until `zone` is adopted by `process` under an epoch above `epoch`; returns the new epoch and the last tick
    /// taken over.
    pub(crate) fn until_adopted(&mut self, zone: &ZoneName, process: usize, epoch: Epoch) -> (Epoch, Tick) {
        let adoption = |cluster: &LocalCluster| {
            let by = |a: &&everhold_local_cluster::ReportedAdoption| {
                a.process == process && a.report.zone == *zone && a.report.epoch > epoch
            };
            cluster
                .adoptions
                .iter()
                .find(by)
                .map(|a| (a.report.epoch, a.report.last_tick))
        };
        self.cluster
            .wait_until("the zone is adopted", PATIENCE, |cluster| adoption(cluster).is_some())
            .expect("an adoption");
        adoption(&self.cluster).expect("it was waited for")
    }
}

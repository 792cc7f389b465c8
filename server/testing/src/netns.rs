//! Network namespaces for tests: networks of their own inside this host, with addresses, limits, and losses that
//! loopback does not have.
//!
//! ```text
//!   namespace "servers"                          namespace "players"
//!   10.77.0.1/24, fd77::1/64   ── veth pair ──   10.77.0.2/24, fd77::2/64,
//!                                                and every address of 10.78.0.0/16 and fd78::/64
//! ```
//!
//! They need root and `ip` of iproute2. [`NetworkPair::new`] gives `None` where they cannot be had, so that the test is
//! skipped. Whether it runs is on standard error, and in the file that [`LOG`] names: CI shows that at its end.
//! Everything is removed with the value; what a killed test left behind is removed by the next one.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The environment variable that names a file to which each test adds a line: that it runs, or why it is skipped.
pub const LOG: &str = "TEST_NAMESPACES_LOG";

/// The directory where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// The beginning of the names of all namespaces of these tests; then the process id of the test and a number.
const NAME_PREFIX: &str = "everhold-test-";

/// One namespace. It is removed when this is dropped; end the processes inside before.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose loopback is up.
    ///
    /// # Errors
    /// Without root, without iproute2, or where the kernel refuses.
    pub fn new() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME_PREFIX}{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Returns its name, for `ip netns exec NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the words before a command that is to run inside. The process keeps its id: `ip` replaces itself.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Makes a command that runs inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `work` on a thread of its own inside. The sockets that this thread opens belong to the namespace for good,
    /// whichever thread uses them later; threads that it starts are inside, too.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If `work` does.
    pub fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<std::thread::JoinHandle<T>> {
        let path = Path::new(NAMES).join(&self.name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let (entered, has_entered) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let outcome = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
            let is_inside = outcome.is_ok();
            entered.send(outcome).expect("it is waited for");
            is_inside.then(work)
        });
        has_entered
            .recv()
            .context("the thread ended")?
            .with_context(|| format!("enter the namespace {}", self.name))?;
        Ok(std::thread::spawn(move || match thread.join() {
            Ok(done) => done.expect("it is inside"),
            Err(panic) => std::panic::resume_unwind(panic),
        }))
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            tracing::warn!(%error, "a network namespace was left behind");
        }
    }
}

/// Two namespaces with a cable between them.
#[derive(Debug)]
pub struct NetworkPair {
    /// The servers' namespace.
    pub servers: Namespace,
    /// The players' namespace.
    pub players: Namespace,
}

impl NetworkPair {
    /// The servers' IPv4 address.
    pub const SERVERS_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// The servers' IPv6 address.
    pub const SERVERS_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    /// The players' IPv4 address.
    pub const PLAYERS_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    /// The players' IPv6 address.
    pub const PLAYERS_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
    /// The players' other IPv4 addresses.
    const CROWD_V4: &str = "10.78.0.0/16";
    /// The players' other IPv6 addresses.
    const CROWD_V6: &str = "fd78::/64";

    /// Makes two namespaces and their cable, or `None` where this machine does not allow it: then the test, whose name
    /// is `test`, is to return.
    #[must_use]
    pub fn new(test: &str) -> Option<Self> {
        match Self::try_new() {
            Ok(pair) => {
                note(&format!("{test}: runs in network namespaces"));
                Some(pair)
            }
            Err(error) => {
                note(&format!("{test}: SKIPPED, there are no network namespaces: {error:#}"));
                None
            }
        }
    }

    fn try_new() -> anyhow::Result<Self> {
        remove_stale()?;
        let pair = Self {
            servers: Namespace::new()?,
            players: Namespace::new()?,
        };
        pair.servers.ip(&[
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            pair.players.name(),
        ])?;
        pair.servers
            .ip(&["addr", "add", &format!("{}/24", Self::SERVERS_V4), "dev", "cable"])?;
        pair.players
            .ip(&["addr", "add", &format!("{}/24", Self::PLAYERS_V4), "dev", "cable"])?;
        // Without duplicate address detection, which would keep the addresses from use for a second.
        pair.servers.ip(&[
            "addr",
            "add",
            &format!("{}/64", Self::SERVERS_V6),
            "dev",
            "cable",
            "nodad",
        ])?;
        pair.players.ip(&[
            "addr",
            "add",
            &format!("{}/64", Self::PLAYERS_V6),
            "dev",
            "cable",
            "nodad",
        ])?;
        pair.servers.ip(&["link", "set", "cable", "up"])?;
        pair.players.ip(&["link", "set", "cable", "up"])?;
        for (family, crowd, via) in [
            ("-4", Self::CROWD_V4, Self::PLAYERS_V4.to_string()),
            ("-6", Self::CROWD_V6, Self::PLAYERS_V6.to_string()),
        ] {
            // All of the network are addresses of the players' own host: any of them can be bound, none has to be
            // added.
            pair.players
                .ip(&[family, "route", "add", "local", crowd, "dev", "lo"])?;
            pair.servers.ip(&[family, "route", "add", crowd, "via", &via])?;
        }
        // For IPv4 the route is enough to bind an address; for IPv6 the kernel wants to be told.
        let bind_any = "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind";
        let told = pair.players.command("sh").args(["-c", bind_any]).status()?;
        ensure!(told.success(), "{bind_any}: {told}");
        Ok(pair)
    }

    /// Returns the `n`th of 65,534 further IPv4 addresses that players can bind.
    #[must_use]
    pub fn crowd_v4(n: u16) -> IpAddr {
        // Neither the first nor the last of the network.
        let [high, low] = n.clamp(1, u16::MAX - 1).to_be_bytes();
        Ipv4Addr::new(10, 78, high, low).into()
    }

    /// Returns the `n`th of many IPv6 addresses of one network that players can bind.
    #[must_use]
    pub fn crowd_v6(n: u16) -> IpAddr {
        Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, n).into()
    }
}

/// Writes a line to standard error, past the test harness, which hides what a test prints; and to the file that [`LOG`]
/// names.
///
/// # Panics
/// If that file cannot be written to.
pub fn note(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
    if let Some(path) = std::env::var_os(LOG) {
        let file = File::options().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.expect("the log of the tests can be written to");
    }
}

/// Removes namespaces of tests that did not live to do it.
fn remove_stale() -> anyhow::Result<()> {
    let Ok(names) = std::fs::read_dir(NAMES) else {
        return Ok(());
    };
    for name in names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let pid = name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two tests may find the same one.
            let _removed_already = ip(&["netns", "del", &name]);
        }
    }
    Ok(())
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.context("`ip` cannot be run: install iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", words.join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn heard_from(pair: &NetworkPair, from: IpAddr, to: IpAddr) -> IpAddr {
        let server = pair.servers.enter(move || {
            let socket = UdpSocket::bind((to, 0))?;
            Ok::<_, std::io::Error>((socket.local_addr()?, socket))
        });
        let (addr, server) = server.expect("inside").join().expect("no panic").expect("a socket");
        let client = pair
            .players
            .enter(move || UdpSocket::bind((from, 0))?.send_to(b"here", addr));
        client.expect("inside").join().expect("no panic").expect("sent");
        let mut packet = [0; 16];
        let (bytes, sender) = server.recv_from(&mut packet).expect("a packet");
        assert_eq!(&packet[..bytes], b"here");
        sender.ip()
    }

    #[test]
    fn players_reach_the_servers_from_each_of_their_addresses() {
        let Some(pair) = NetworkPair::new("players_reach_the_servers_from_each_of_their_addresses") else {
            return;
        };
        let (v4, v6) = (NetworkPair::SERVERS_V4.into(), NetworkPair::SERVERS_V6.into());
        for (from, to) in [
            (NetworkPair::PLAYERS_V4.into(), v4),
            (NetworkPair::crowd_v4(1), v4),
            (NetworkPair::crowd_v4(u16::MAX), v4),
            (NetworkPair::PLAYERS_V6.into(), v6),
            (NetworkPair::crowd_v6(9), v6),
        ] {
            assert_eq!(heard_from(&pair, from, to), from);
        }
    }

    #[test]
    fn dropped_namespace_is_gone() {
        let Some(pair) = NetworkPair::new("dropped_namespace_is_gone") else {
            return;
        };
        let path = Path::new(NAMES).join(pair.servers.name());
        assert!(path.exists());
        drop(pair);
        assert!(!path.exists());
    }
}

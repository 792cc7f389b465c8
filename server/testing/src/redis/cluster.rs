//! A real Cluster for tests: three primaries with a replica each. Slots move, nodes die and come back, replicas take
//! over.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::{RedisServer, free_addr, until};

/// Number of primaries; each has one replica.
const PRIMARIES: usize = 3;

/// Silence after which a primary is replaced, ms: long enough for a machine that is busy with other work.
const NODE_TIMEOUT_MS: &str = "2000";

/// A Redis Cluster: its nodes, alive or not. They end with this value.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    alive: Vec<bool>,
}

/// A line of `CLUSTER NODES`.
#[derive(Clone, Debug)]
struct NodeLine {
    id: String,
    port: u16,
    flags: Vec<String>,
    /// Of a replica: the id of its primary.
    follows: String,
    is_linked: bool,
    slots: Vec<(u16, u16)>,
}

impl NodeLine {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (address, _) = words.get(1)?.split_once('@')?;
        let (_, port) = address.rsplit_once(':')?;
        // What is in brackets is a slot on its way.
        let slots = words.iter().skip(8).filter(|word| !word.starts_with('['));
        let slots = slots.map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(Self {
            id: (*words.first()?).to_owned(),
            port: port.parse().ok()?,
            flags: words.get(2)?.split(',').map(str::to_owned).collect(),
            follows: (*words.get(3)?).to_owned(),
            is_linked: *words.get(7)? == "connected",
            slots: slots.collect::<Option<_>>()?,
        })
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }
}

/// Of a node whose bus has a port of its own.
fn arguments() -> Vec<String> {
    let bus = free_addr().port().to_string();
    let arguments = [
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus],
        ["--cluster-announce-ip", "127.0.0.1"],
        ["--cluster-node-timeout", NODE_TIMEOUT_MS],
        ["--cluster-require-full-coverage", "no"],
        ["--cluster-allow-replica-migration", "no"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    arguments.concat().into_iter().map(str::to_owned).collect()
}

/// Returns the port at which the nodes of a Cluster speak to this one.
fn bus_port(node: &RedisServer) -> String {
    let told = node.command(&["CONFIG", "GET", "cluster-port"]);
    told.lines().last().expect("a name and a value").to_owned()
}

impl RedisCluster {
    /// Starts the nodes and waits until all of them agree.
    ///
    /// # Panics
    /// If `redis-server` is not installed, is older than 7.0, or does not start.
    #[must_use]
    pub fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..2 * PRIMARIES)
            .map(|_| RedisServer::start_with_each(arguments))
            .collect();
        let alive = vec![true; nodes.len()];
        let cluster = Self { nodes, alive };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            assert_eq!(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "OK");
        }
        for (index, node) in cluster.nodes.iter().take(PRIMARIES).enumerate() {
            let at = |index: usize| index * 16_384 / PRIMARIES;
            let (first, last) = (at(index).to_string(), (at(index + 1) - 1).to_string());
            assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), "OK");
        }
        for node in &cluster.nodes {
            let words = ["127.0.0.1", &node.addr().port().to_string(), &bus_port(node)];
            assert_eq!(
                cluster.nodes[0].command(&[&["CLUSTER", "MEET"], &words[..]].concat()),
                "OK"
            );
        }
        until("all nodes have met", || {
            (0..cluster.nodes.len()).all(|index| {
                let lines = cluster.lines(index);
                lines.len() == cluster.nodes.len() && lines.iter().all(|line| line.is_linked && !line.is("handshake"))
            })
        });
        for (index, replica) in cluster.nodes.iter().enumerate().skip(PRIMARIES) {
            let primary = cluster.id(index - PRIMARIES);
            assert_eq!(replica.command(&["CLUSTER", "REPLICATE", &primary]), "OK");
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Returns the URL of the Cluster: any of its first three nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let [first, second, third] = [0, 1, 2].map(|index| self.nodes[index].addr());
        format!("redis-cluster://{first}?node={second}&node={third}")
    }

    /// Returns a node.
    #[must_use]
    pub fn node(&self, index: usize) -> &RedisServer {
        &self.nodes[index]
    }

    /// Returns the primaries, as most recently agreed.
    #[must_use]
    pub fn primaries(&self) -> Vec<usize> {
        let lines = self.lines(self.any());
        (0..self.nodes.len())
            .filter(|index| {
                lines
                    .iter()
                    .any(|line| line.port == self.port(*index) && line.is("master") && !line.slots.is_empty())
            })
            .collect()
    }

    /// Returns the primary that serves a key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn primary_of(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let owner = self.owner(slot).expect("every slot is served");
        self.index_of(owner.port)
    }

    /// Returns the replica of a primary.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn replica_of(&self, primary: usize) -> usize {
        let id = self.id(primary);
        let lines = self.lines(self.any());
        let replica = lines.iter().find(|line| line.follows == id);
        self.index_of(replica.expect("each primary has a replica").port)
    }

    /// Runs a command at the primary of its key, which is the second word.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.nodes[self.primary_of(words[1])].command(words)
    }

    /// Returns the slot of a key.
    #[must_use]
    pub fn slot(&self, key: &str) -> u16 {
        let slot = self.nodes[self.any()].command(&["CLUSTER", "KEYSLOT", key]);
        slot.parse().expect("a slot's number")
    }

    /// Moves the slot of a key to another primary, with all that is in it, as an operator does under load. Returns the
    /// new primary.
    ///
    /// # Panics
    /// If it does not move.
    pub fn move_slot(&self, key: &str) -> usize {
        let moving = self.begin_move(key);
        moving.carry();
        moving.finish()
    }

    /// Begins to move the slot of a key to another primary.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn begin_move(&self, key: &str) -> MovingSlot<'_> {
        let from = self.primary_of(key);
        let to = self.primaries().into_iter().find(|index| *index != from);
        let moving = MovingSlot {
            cluster: self,
            slot: self.slot(key).to_string(),
            from,
            to: to.expect("another primary"),
        };
        let set = |at: usize, how: &str, other: usize| {
            let words = ["CLUSTER", "SETSLOT", &moving.slot, how, &self.id(other)];
            assert_eq!(self.nodes[at].command(&words), "OK");
        };
        set(moving.to, "IMPORTING", moving.from);
        set(moving.from, "MIGRATING", moving.to);
        moving
    }

    /// Sends SIGSTOP to the primary that serves a key, and to its replica first, so that no node takes its place.
    ///
    /// # Panics
    /// If it has no replica.
    pub fn suspend_slot_of(&mut self, key: &str) {
        let primary = self.primary_of(key);
        let id = self.id(primary);
        let lines = self.lines(primary);
        let replica = lines.iter().find(|line| line.is("slave") && line.follows == id);
        let replica = self.index_of(replica.expect("a replica").port);
        for index in [replica, primary] {
            self.nodes[index].signal(Signal::STOP);
            self.alive[index] = false;
        }
    }

    /// Kills a node by SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
        self.alive[index] = false;
    }

    /// Starts a killed node again. It finds out itself what it is now.
    pub fn start_again(&mut self, index: usize) {
        self.nodes[index].start_again();
        self.alive[index] = true;
    }

    /// Waits until every slot is served by a living primary.
    pub fn wait_until_served(&self) {
        until("every slot is served", || {
            self.living().all(|index| {
                let lines = self.lines(index);
                // A node that was just killed is nobody's suspect yet.
                let is_alive = |line: &NodeLine| self.alive[self.index_of(line.port)];
                let lives =
                    |line: &&NodeLine| line.is("master") && is_alive(line) && !line.is("fail") && !line.is("fail?");
                let mut served: BTreeMap<u16, u16> = BTreeMap::new();
                served.extend(lines.iter().filter(lives).flat_map(|line| line.slots.iter().copied()));
                let count: u32 = served.iter().map(|(first, last)| u32::from(last - first) + 1).sum();
                count == 16_384
                    && self.nodes[index]
                        .command(&["CLUSTER", "INFO"])
                        .contains("cluster_state:ok")
            })
        });
    }

    /// Waits until all nodes live and agree, and every primary has a replica that follows it.
    pub fn wait_until_whole(&self) {
        assert!(
            self.alive.iter().all(|alive| *alive),
            "a killed node is started again first"
        );
        self.wait_until_served();
        until("every primary has a replica", || {
            self.living().all(|index| {
                let lines = self.lines(index);
                let is_well = |line: &NodeLine| line.is_linked && !line.is("fail") && !line.is("fail?");
                let followed =
                    |primary: &NodeLine| lines.iter().any(|line| line.is("slave") && line.follows == primary.id);
                let mut primaries = lines.iter().filter(|line| line.is("master"));
                lines.iter().all(is_well) && primaries.all(followed)
            })
        });
        until("every replica follows", || {
            self.living().all(|index| {
                let said = self.nodes[index].command(&["INFO", "replication"]);
                said.contains("role:master") && said.contains("state=online") || said.contains("master_link_status:up")
            })
        });
    }

    fn lines(&self, index: usize) -> Vec<NodeLine> {
        let text = self.nodes[index].command(&["CLUSTER", "NODES"]);
        text.lines().filter_map(NodeLine::read).collect()
    }

    fn owner(&self, slot: u16) -> Option<NodeLine> {
        let owns = |line: &NodeLine| line.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        self.lines(self.any())
            .into_iter()
            .find(|line| line.is("master") && owns(line))
    }

    fn id(&self, index: usize) -> String {
        self.nodes[index].command(&["CLUSTER", "MYID"])
    }

    fn port(&self, index: usize) -> u16 {
        self.nodes[index].addr().port()
    }

    fn index_of(&self, port: u16) -> usize {
        let index = (0..self.nodes.len()).find(|index| self.port(*index) == port);
        index.expect("a node of this Cluster")
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|index| self.alive[*index])
    }

    fn any(&self) -> usize {
        self.living().next().expect("a living node")
    }
}

/// A slot that is being moved between two primaries.
#[derive(Debug)]
pub struct MovingSlot<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: usize,
    to: usize,
}

impl MovingSlot<'_> {
    /// Carries all keys over that are there now.
    ///
    /// # Panics
    /// If one cannot be moved.
    pub fn carry(&self) {
        while self.carry_some(16) > 0 {}
    }

    /// Carries up to `count` keys over; returns how many.
    ///
    /// # Panics
    /// If one cannot be moved.
    pub fn carry_some(&self, count: usize) -> usize {
        let source = &self.cluster.nodes[self.from];
        let count = count.to_string();
        let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, &count]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let port = self.cluster.port(self.to).to_string();
            let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let moved = source.command(&[&words[..], &keys].concat());
            assert!(moved == "OK" || moved == "NOKEY", "{moved}");
        }
        keys.len()
    }

    /// Whether one of the two has said `TRYAGAIN`, which it does to commands whose keys are in two places.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        [self.from, self.to].iter().any(|node| {
            let errors = self.cluster.nodes[*node].command(&["INFO", "errorstats"]);
            errors.contains("errorstat_TRYAGAIN")
        })
    }

    /// Tells all primaries who has the slot. Returns the new one.
    ///
    /// # Panics
    /// If one refuses.
    pub fn finish(self) -> usize {
        // What was written at the old primary meanwhile.
        self.carry();
        let id = self.cluster.id(self.to);
        let others = self.cluster.primaries().into_iter().filter(|index| *index != self.to);
        for index in std::iter::once(self.to).chain(others) {
            let words = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &id];
            assert_eq!(self.cluster.nodes[index].command(&words), "OK");
        }
        self.to
    }
}

//! The shards of a soak: a few slots, each with flags of its own and a network to players of its own, which outlive the
//! processes. It strikes none by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use everhold_local_cluster::{LocalCluster, Who};
use everhold_protocol::{Epoch, ZoneName};
use everhold_testing::proxy::Proxy;
use rustix::process::Signal;

use crate::diary::Diary;
use crate::form::{SLOTS, TTL, ZONES};
use crate::store::Store;

/// The zones that the shards of each slot prefer, and whether a guardian stands by them. Each is a spare if others have
/// its zones.
const FLAGS: [(&[&str], bool); SLOTS] = [
    (&["meadow"], true),
    (&["forest", "harbor"], true),
    (&[], true),
    (&[], false),
];

/// Checkpoints come often, so that a soak has many.
const CHECKPOINTS: &str = "[durability]\ndelta_ms = 500\nbase_ms = 4000\n";

/// A process that could not start, as with a store that does not answer, is started again after this time.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A stopped process that goes on may be killed by its guardian, or find that a tick stood still, within this time.
const AFTERMATH: Duration = Duration::from_secs(20);

/// A slot's process, and what is wrong with it.
struct Slot {
    network: Proxy,
    /// Its newest process, by its index in the cluster.
    process: usize,
    is_wanted: bool,
    start_at: Instant,
}

/// All shards.
pub(crate) struct Shards {
    pub(crate) cluster: LocalCluster,
    slots: Vec<Slot>,
    config: String,
    /// Processes that were told to end.
    told_to_end: BTreeSet<usize>,
    /// Processes that were stopped, and the moment at which they went on.
    paused: BTreeMap<usize, Option<Instant>>,
    buried: BTreeSet<usize>,
    /// Processes that have ended without any reason of this soak.
    pub(crate) findings: Vec<String>,
}

impl Shards {
    /// Starts a shard in each slot, and waits until all zones are owned.
    pub(crate) fn start(directory: &Path, store: &Store, log: File, seed: u64) -> Self {
        let config = directory.join("shard.toml");
        let text = format!("[lease]\nttl_ms = {}\n{CHECKPOINTS}", TTL.as_millis());
        std::fs::write(&config, text).expect("a writable directory");
        let mut cluster = LocalCluster::new(env!("CARGO_BIN_EXE_everhold").into(), directory);
        cluster.log_to(log.into());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let slots = (0..SLOTS).map(|slot| Slot {
            network: Proxy::udp(nowhere, seed.wrapping_add(100 + slot as u64)),
            process: 0,
            is_wanted: true,
            start_at: Instant::now(),
        });
        let mut shards = Self {
            cluster,
            slots: slots.collect(),
            config: config.to_string_lossy().into_owned(),
            told_to_end: BTreeSet::new(),
            paused: BTreeMap::new(),
            buried: BTreeSet::new(),
            findings: Vec::new(),
        };
        for slot in 0..SLOTS {
            let (zones, arguments) = shards.command_line(slot, store);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let process = shards.cluster.start(&zones, &arguments).expect("a shard that serves");
            shards.slots[slot].process = process;
        }
        shards.lead();
        shards
    }

    fn command_line(&self, slot: usize, store: &Store) -> (Vec<ZoneName>, Vec<String>) {
        let (zones, has_guardian) = FLAGS[slot];
        let zones = zones.iter().map(|zone| zone.parse().expect("a zone name")).collect();
        let advertised = self.slots[slot].network.addr().to_string();
        let mut arguments = vec!["--config".to_owned(), self.config.clone()];
        // If another process takes the port meanwhile, the shard does not start, and is started at another one.
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let free = free.expect("a port that is free again").to_string();
        arguments.extend(["--listen".to_owned(), free, "--advertise".to_owned(), advertised]);
        arguments.extend(store.arguments(slot));
        if !has_guardian {
            arguments.push("--no-guardian".to_owned());
        }
        (zones, arguments)
    }

    /// Returns the addresses for players.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.slots.iter().map(|slot| slot.network.addr()).collect()
    }

    /// Returns the network between players and a slot.
    pub(crate) fn network(&self, slot: usize) -> &Proxy {
        &self.slots[slot].network
    }

    fn is_alive(&self, process: usize) -> bool {
        self.cluster.all[process].killed.is_none()
    }

    /// Whether the slot's process serves.
    fn is_up(&self, slot: usize) -> bool {
        let process = self.slots[slot].process;
        self.slots[slot].is_wanted && self.is_alive(process) && self.cluster.all[process].pid != 0
    }

    fn signal(&mut self, slot: usize, who: Who, signal: Signal) -> bool {
        // One that has ended meanwhile is noticed later.
        self.is_up(slot) && self.cluster.signal_to(self.slots[slot].process, who, signal).is_ok()
    }

    /// Has the slot's process end by this signal, and no other start before [`Shards::start_again`]. `false`: it had
    /// none.
    pub(crate) fn end(&mut self, slot: usize, signal: Signal) -> bool {
        let who = if signal == Signal::KILL {
            Who::Server
        } else {
            Who::Guardian
        };
        let is_told = self.signal(slot, who, signal);
        if is_told {
            self.told_to_end.insert(self.slots[slot].process);
        }
        self.slots[slot].is_wanted = false;
        is_told
    }

    /// Lets the slot have a process again.
    pub(crate) fn start_again(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        if !slot.is_wanted {
            (slot.is_wanted, slot.start_at) = (true, Instant::now());
        }
    }

    /// Stops the slot's process in its tracks. `false`: it had none.
    pub(crate) fn pause(&mut self, slot: usize) -> bool {
        let is_stopped = self.signal(slot, Who::Server, Signal::STOP);
        if is_stopped {
            self.paused.insert(self.slots[slot].process, None);
        }
        is_stopped
    }

    /// Lets the slot's process go on.
    pub(crate) fn go_on(&mut self, slot: usize) {
        let process = self.slots[slot].process;
        if self.paused.contains_key(&process) {
            self.signal(slot, Who::Server, Signal::CONT);
            self.paused.insert(process, Some(Instant::now()));
        }
    }

    /// Hears what shards say, notices which have ended, and starts those that are to be there.
    pub(crate) fn look(&mut self, store: &Store, diary: &mut Diary) {
        self.cluster.listen();
        for (process, status) in self.cluster.bury().expect("processes can be asked after") {
            diary.note(&format!("shard {process} has ended: {status}"));
            self.buried.insert(process);
            self.judge_end(process, &status);
        }
        for slot in 0..SLOTS {
            let Slot {
                process,
                is_wanted,
                start_at,
                ..
            } = self.slots[slot];
            if !is_wanted || self.is_current(process) || Instant::now() < start_at {
                continue;
            }
            let (zones, arguments) = self.command_line(slot, store);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let process = self.cluster.launch(&zones, &arguments).expect("a process");
            diary.note(&format!("shard {process} is started in slot {slot}"));
            (self.slots[slot].process, self.slots[slot].start_at) = (process, Instant::now() + RESTART_AFTER);
        }
        self.lead();
    }

    /// Whether a process is there and was not told to end.
    fn is_current(&self, process: usize) -> bool {
        self.is_alive(process) && !self.told_to_end.contains(&process)
    }

    /// An end without a reason is a finding. A guardian's server that is silent for a whole lease is killed (137); one
    /// whose tick stood still ends itself (134). Both happen to what was stopped, and the first on a busy machine.
    fn judge_end(&mut self, process: usize, status: &str) {
        let never_served = self.cluster.all[process].pid == 0;
        let was_paused = match self.paused.get(&process) {
            Some(Some(until)) => until.elapsed() < AFTERMATH,
            Some(None) => true,
            None => false,
        };
        let is_abort = ["134", "signal: 6"].iter().any(|code| status.contains(code));
        let is_panic = status.contains("101");
        let has_reason = self.told_to_end.contains(&process) || never_served || was_paused || status.contains("137");
        if is_panic || (is_abort && !was_paused) || !has_reason {
            self.findings
                .push(format!("shard {process} has ended by itself: {status}"));
        }
    }

    /// Leads each slot's network to its process.
    fn lead(&self) {
        for slot in &self.slots {
            let process = &self.cluster.all[slot.process];
            if process.pid != 0 {
                slot.network.lead_to(process.listens);
            }
        }
    }

    /// Whether each slot has a process that serves, and no other process lives.
    pub(crate) fn are_complete(&self) -> bool {
        let living = (0..self.cluster.all.len()).filter(|process| self.is_alive(*process));
        living.count() == SLOTS && (0..SLOTS).all(|slot| self.is_up(slot))
    }

    /// Returns who runs a zone, as living processes have said: each with its epoch.
    pub(crate) fn owners(&self, zone: &str) -> Vec<(usize, Epoch)> {
        let adoptions = self.cluster.adoptions.iter();
        let here = adoptions.filter(|one| one.report.zone.as_str() == zone && self.is_alive(one.process));
        let runs = here.map(|one| (one.process, one.report.epoch));
        let has_ended = |(process, epoch): &(usize, Epoch)| {
            let mut ends = self.cluster.ends.iter();
            ends.any(|end| end.zone.as_str() == zone && end.process == *process && end.epoch == *epoch)
        };
        runs.filter(|run| !has_ended(run)).collect()
    }

    /// Returns a slot whose process owns no zone: one that prefers a zone, if there is one.
    pub(crate) fn spare(&self) -> Option<usize> {
        let owners: BTreeSet<usize> = ZONES
            .iter()
            .flat_map(|zone| self.owners(zone))
            .map(|(one, _)| one)
            .collect();
        (0..SLOTS).find(|slot| self.is_up(*slot) && !owners.contains(&self.slots[*slot].process))
    }

    /// Whether every zone has one owner.
    pub(crate) fn is_every_zone_owned(&self) -> bool {
        ZONES.iter().all(|zone| self.owners(zone).len() == 1)
    }

    /// Returns the memory of each shard that serves, bytes.
    pub(crate) fn rss_bytes(&self) -> Vec<u64> {
        let processes = (0..SLOTS).filter(|slot| self.is_up(*slot));
        let processes = processes.map(|slot| &self.cluster.all[self.slots[slot].process]);
        processes
            .filter_map(|process| process.usage.as_ref()?.rss_bytes)
            .collect()
    }
}

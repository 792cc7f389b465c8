//! The surroundings of simulated processes: one virtual clock, one agenda of events in order of time, the links
//! between parties, the store, and the authority. What the parties do with an event is decided by their machines.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use everhold_protocol::rng::SplitMix64;

use crate::event::{ShardInput, SimEvent, SimRequest};
use crate::links::{Links, Party};
use crate::services::Services;

struct AgendaEntry {
    at: Duration,
    order: u64,
    event: SimEvent,
}

impl PartialEq for AgendaEntry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for AgendaEntry {}

impl PartialOrd for AgendaEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AgendaEntry {
    /// The earliest is the greatest, so that a heap gives it first; among equals the one that was added first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Everything around the simulated processes.
pub struct Env {
    /// The time since the beginning.
    pub now: Duration,
    origin: Instant,
    agenda: BinaryHeap<AgendaEntry>,
    next_order: u64,
    /// Whether a World was thrown away since the books were looked at.
    pub lost_memory: bool,
    /// Whether the zones of this run show what is not stored yet.
    pub is_async: bool,
    /// Chance: everything that is drawn is drawn from here, in order.
    pub rng: SplitMix64,
    /// The chance of what concerns the archive alone: with it and without it, all else draws the same.
    archive_rng: SplitMix64,
    /// The links between parties.
    pub links: Links,
    /// Store, authority, and what was ever told or stored.
    pub services: Services,
    /// The number of times that each path was taken which a good pool of seeds must take.
    pub paths: BTreeMap<&'static str, u64>,
    /// The history of the run in lines, if it is wanted.
    pub story: Option<Vec<String>>,
    /// A hash of the history: two runs of a seed must agree.
    pub history: u64,
}

impl Env {
    /// An environment at its beginning, which counts as the instant `origin`.
    #[must_use]
    pub fn new(seed: u64, origin: Instant, tells_story: bool) -> Self {
        Self {
            now: Duration::ZERO,
            origin,
            agenda: BinaryHeap::new(),
            next_order: 0,
            rng: SplitMix64::new(seed),
            archive_rng: SplitMix64::new(!seed),
            lost_memory: false,
            is_async: false,
            links: Links::default(),
            services: Services::default(),
            paths: BTreeMap::new(),
            story: tells_story.then(Vec::new),
            history: seed,
        }
    }

    /// Returns the present as an [`Instant`]: only differences between them count.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.origin + self.now
    }

    /// Puts an event on the agenda.
    pub fn at(&mut self, at: Duration, event: SimEvent) {
        let order = self.next_order;
        self.next_order += 1;
        self.agenda.push(AgendaEntry { at, order, event });
    }

    /// Puts an event on the agenda that is due after a while.
    pub fn after(&mut self, wait: Duration, event: SimEvent) {
        self.at(self.now + wait, event);
    }

    /// Takes the next event up to a time, and lets time pass until then.
    pub fn next(&mut self, until: Duration) -> Option<SimEvent> {
        let due = self.agenda.peek().is_some_and(|entry| entry.at <= until);
        let entry = if due { self.agenda.pop() } else { None };
        self.now = entry.as_ref().map_or(until, |entry| self.now.max(entry.at));
        self.services.now = self.now;
        entry.map(|entry| entry.event)
    }

    /// Sends a request to the store, the archive, or the authority. If a link is blocked, it is lost without a word.
    pub fn request(&mut self, request: SimRequest) {
        let (from, to) = (request.from.0, request.to);
        if !self.links.is_open(from, to) {
            return;
        }
        let delay = self.delay(from, to);
        let permille = self.links.repeat_permille;
        if self.chance((from, to)).below(1_000) < permille {
            self.took("a request that arrived twice");
            let again = delay + Duration::from_millis(1 + self.chance((from, to)).below(400));
            self.after(again, SimEvent::Request(request.clone()));
        }
        self.after(delay, SimEvent::Request(request));
    }

    /// Carries a request out that has arrived, and sends its answer.
    pub fn serve(&mut self, request: SimRequest) {
        let SimRequest {
            from: (from, life),
            to,
            number,
            operation,
        } = request;
        if self.links.is_down(to) {
            return;
        }
        let answer = if self.links.is_refused(to) {
            self.took("a request that was refused");
            number.map_or(ShardInput::Nothing, ShardInput::Expired)
        } else {
            operation(&mut self.services)
        };
        if !self.links.is_open(to, from) {
            self.took("a time-out that was carried out");
            return;
        }
        let delay = self.delay(to, from);
        if let Party::Shard(shard) = from {
            self.after(delay, SimEvent::Shard(shard, life, answer));
        }
    }

    /// Draws the delay of a message.
    pub fn delay(&mut self, from: Party, to: Party) -> Duration {
        let of_player = matches!(from, Party::Player(_)) || matches!(to, Party::Player(_));
        let (least, spread) = if of_player { (2_000, 8_000) } else { (200, 800) };
        let permille = self.links.late_permille;
        let mut drawn = Duration::from_micros(least + self.chance((from, to)).below(spread));
        if self.chance((from, to)).below(1_000) < permille {
            self.took("a message that was late");
            drawn += Duration::from_millis(self.chance((from, to)).below(1_500));
        }
        drawn + self.links.addition(from, to)
    }

    /// Returns the chance from which a message between two parties draws.
    fn chance(&mut self, parties: (Party, Party)) -> &mut SplitMix64 {
        match parties {
            (Party::Archive, _) | (_, Party::Archive) => &mut self.archive_rng,
            _ => &mut self.rng,
        }
    }

    /// Counts a path.
    pub fn took(&mut self, path: &'static str) {
        *self.paths.entry(path).or_default() += 1;
    }

    /// Adds a line to the history.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        let words = std::iter::once(self.now.as_micros() as u64).chain(line.bytes().map(u64::from));
        for word in words {
            self.history = (self.history ^ word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
        if let Some(story) = &mut self.story {
            story.push(format!("{:>10.3} {line}", self.now.as_secs_f64() * 1e3));
        }
    }
}

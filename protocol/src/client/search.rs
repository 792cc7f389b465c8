//! The search for a shard that speaks for the session: at login, when the owner falls silent or is lost, and when it
//! sends the client on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::{Epoch, ZoneName};
use crate::limits::DATAGRAM_BYTES_MAX;
use crate::message::{ClientMessage, Credential, RefusalCode};

use super::port::{Command, ConnId, Notice};
use super::{Client, ms};

/// Connections under way at once: a second one covers a dead first choice, a third would only load the survivors of a
/// crash.
const CANDIDATES_MAX: usize = 2;

/// Redirects that are followed without a pause. More are two shards that each believe the other to be the owner.
const REDIRECTS_MAX: u32 = 4;

/// The longest pause between two rounds, ms, before jitter: a player waits no longer than this for a shard that is
/// back.
const RETRY_MS_MAX: u64 = 2_000;

/// The pause before a shard that was [overloaded](RefusalCode::Overloaded) is asked again, ms, before jitter: with
/// 1,000 refused clients a hundred handshakes a second, a tenth of a core.
const OVERLOADED_MS: u64 = 10_000;

/// Time from a `Wait` until a second shard is asked, ms, before jitter. The first shard lives, but may die, too, or not
/// learn which shard owns the zone. An adoption without a guardian takes a ttl and is twice as long.
const SECOND_AFTER_WAIT_MS: u64 = 2_000;

/// Datagrams of one connection that may wait for its `Attached`: at 20 Hz 400 ms, in which everything around is sent
/// twice.
const EARLY_DATAGRAMS_MAX: usize = 8;

/// Addresses that one search goes through.
const TARGETS_MAX: usize = 16;

/// The reason why the client searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The first login.
    Login,
    /// The owner has fallen silent; it may speak again.
    Silence,
    /// The owner's connection is gone.
    Loss,
    /// The owner has sent the client on.
    Redirect,
}

/// The stage that a connection has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnStage {
    /// Not up yet.
    Connecting,
    /// `Hello` is sent.
    Greeted,
    /// The shard has said `Wait`, and will say more.
    Waiting,
}

/// The place to which a shard has redirected the client.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub(super) addr: SocketAddr,
    pub(super) zone: ZoneName,
    pub(super) epoch: Epoch,
}

/// A connection that may come to speak for the session.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) conn: ConnId,
    pub(super) addr: SocketAddr,
    stage: ConnStage,
    /// The zone whose owner is thought to be there, if the client was redirected.
    led_to: Option<ZoneName>,
    deadline: Option<Duration>,
    /// The first datagrams that came before `Attached`. The first snapshot of an owner, which shows everything, mostly
    /// does: streams are sent after datagrams.
    pub(super) early: Vec<Vec<u8>>,
}

impl Candidate {
    /// Whether its shard has a `Hello` of ours that it has neither accepted nor refused.
    fn may_attach(&self) -> bool {
        match self.stage {
            ConnStage::Connecting => false,
            ConnStage::Greeted | ConnStage::Waiting => true,
        }
    }
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) cause: Cause,
    pub(super) began_at: Duration,
    /// Addresses, asked in turn, again and again.
    targets: VecDeque<SocketAddr>,
    /// Targets that this round has not tried.
    left: usize,
    backoff_ms: u64,
    redirects: u32,
    candidates: Vec<Candidate>,
    /// The moment at which the next round begins.
    retry_at: Option<Duration>,
    /// The moment at which a second candidate is opened.
    second_at: Option<Duration>,
}

impl Search {
    fn new(cause: Cause, now: Duration, mut targets: VecDeque<SocketAddr>, backoff_ms: u64) -> Self {
        targets.truncate(TARGETS_MAX);
        Self {
            cause,
            began_at: now,
            left: targets.len(),
            targets,
            backoff_ms,
            redirects: 0,
            candidates: Vec::with_capacity(CANDIDATES_MAX),
            retry_at: None,
            second_at: None,
        }
    }

    /// Returns the next target of this round that no candidate has.
    fn next_target(&mut self) -> Option<SocketAddr> {
        while self.left > 0 {
            self.left -= 1;
            self.targets.rotate_left(1);
            let &addr = self.targets.back()?;
            if !self.has_candidate_at(addr) {
                return Some(addr);
            }
        }
        None
    }

    fn has_candidate_at(&self, addr: SocketAddr) -> bool {
        self.candidates.iter().any(|candidate| candidate.addr == addr)
    }

    fn candidate(&self, conn: ConnId) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.conn == conn)
    }

    fn candidate_mut(&mut self, conn: ConnId) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.conn == conn)
    }

    /// Returns the next moment at which something is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let deadlines = self.candidates.iter().filter_map(|candidate| candidate.deadline);
        deadlines.chain(self.retry_at).chain(self.second_at).min()
    }
}

impl Client {
    /// Begins a search, or continues it for another reason.
    pub(super) fn search(&mut self, now: Duration, cause: Cause) {
        if let Some(search) = &mut self.search {
            search.cause = cause;
        } else {
            let targets = self.targets();
            self.search = Some(Search::new(cause, now, targets, self.config.retry_ms));
        }
    }

    /// Returns the addresses to ask. At login these are the given ones in the given order. Later they are the owner's
    /// peers from a random one on, so that clients that lost one shard spread over the others, then the given ones. The
    /// address of the active connection is never among them.
    fn targets(&mut self) -> VecDeque<SocketAddr> {
        let mut targets: VecDeque<SocketAddr> = self.peers.iter().copied().collect();
        if !targets.is_empty() {
            let first = self.rng.below(targets.len() as u64) as usize;
            targets.rotate_left(first);
        }
        for &addr in &self.addrs {
            if !targets.contains(&addr) {
                targets.push_back(addr);
            }
        }
        let own = self.active.as_ref().map(|active| active.addr);
        targets.retain(|&addr| Some(addr) != own);
        targets
    }

    /// Searches after the owner's silence: all clients that lost it with us search from the same moment on, so each
    /// pauses for a while of its own.
    pub(super) fn search_after_silence(&mut self, now: Duration) {
        self.search(now, Cause::Silence);
        let pause = self.rng.below(self.config.park_spread_ms + 1);
        if let Some(search) = &mut self.search {
            search.retry_at = Some(now + ms(pause));
        }
    }

    /// Searches after the loss of the owner's connection: no pause holds the search back any longer. Its address is
    /// asked last in a round, for a process that starts again in its place.
    pub(super) fn search_after_loss(&mut self, now: Duration, addr: SocketAddr) {
        self.search(now, Cause::Loss);
        let Some(Search {
            targets,
            left,
            retry_at,
            ..
        }) = &mut self.search
        else {
            return;
        };
        *retry_at = None;
        // Targets that this round has not tried stand first.
        match targets.iter().position(|&target| target == addr) {
            Some(place) if place < *left => {
                targets.remove(place);
                targets.insert(*left - 1, addr);
            }
            None if targets.len() < TARGETS_MAX => {
                targets.insert(*left, addr);
                *left += 1;
            }
            _ => {}
        }
        self.advance_search(now);
    }

    /// Lets a search go on: by a candidate under way, else the next target, else a pause.
    pub(super) fn advance_search(&mut self, now: Duration) {
        let Some(search) = &mut self.search else { return };
        if !search.candidates.is_empty() || search.retry_at.is_some() {
            return;
        }
        if let Some(addr) = search.next_target() {
            self.open(now, addr);
            return;
        }
        (search.left, search.redirects) = (search.targets.len(), 0);
        search.second_at = None;
        search.retry_at = Some(now + ms(self.rng.around(search.backoff_ms).max(1)));
        search.backoff_ms = (search.backoff_ms * 2).min(RETRY_MS_MAX);
    }

    /// Opens a connection to a target of the search.
    fn open(&mut self, now: Duration, addr: SocketAddr) {
        self.connect(now, addr, None);
        if self.standing.is_none() {
            // A ticket is valid once: showing it at two shards would spend it against ourselves.
            return;
        }
        if self.search.as_ref().is_some_and(|search| search.cause != Cause::Login) {
            self.notices.push_back(Notice::Parked { addr });
        }
        let pause = ms(self.rng.around(self.config.park_second_ms));
        if let Some(search) = &mut self.search
            && search.candidates.len() < CANDIDATES_MAX
        {
            search.second_at = Some(now + pause);
        }
    }

    fn connect(&mut self, now: Duration, addr: SocketAddr, led_to: Option<ZoneName>) {
        let Some(search) = &mut self.search else { return };
        let conn = ConnId(self.next_conn);
        self.next_conn = self.next_conn.wrapping_add(1);
        let deadline = Some(now + ms(self.config.connect_ms_max));
        search.candidates.push(Candidate {
            conn,
            addr,
            stage: ConnStage::Connecting,
            led_to,
            deadline,
            early: Vec::new(),
        });
        self.commands.push_back(Command::Connect { conn, addr });
    }

    /// Whether a redirect leads to another owner than the present one. If not, it comes from an outdated directory, or
    /// the owner lives and is only silent: as long as its connection holds, a second one to it would be no better.
    pub(super) fn leads_on(&self, lead: &Lead) -> bool {
        let stands = self
            .standing
            .as_ref()
            .is_some_and(|standing| standing.zone == lead.zone);
        let here = stands && self.active.as_ref().is_some_and(|active| active.addr == lead.addr);
        let known = self.epochs.of(&lead.zone);
        lead.epoch > known || (lead.epoch == known && !here)
    }

    /// Connects to the owner that a redirect named. A shard that has redirected says no more, so its connection is
    /// closed either way.
    pub(super) fn follow(&mut self, now: Duration, from: Option<ConnId>, lead: Lead) {
        if let Some(conn) = from {
            self.take_candidate(conn);
            self.close(conn, RefusalCode::Bye);
        }
        if !self.leads_on(&lead) {
            return;
        }
        let Some(search) = &mut self.search else { return };
        // A candidate that asks there already is enough, unless it asks for the zone that the session has left.
        let there = search.candidates.iter().find(|candidate| candidate.addr == lead.addr);
        if let Some(candidate) = there {
            let asked = candidate
                .led_to
                .as_ref()
                .or_else(|| self.standing.as_ref().map(|standing| &standing.zone));
            if asked.is_none_or(|zone| *zone == lead.zone) {
                return;
            }
            let conn = candidate.conn;
            self.drop_candidate(now, conn);
        }
        let Some(search) = &mut self.search else { return };
        search.redirects += 1;
        if search.redirects > REDIRECTS_MAX {
            search.left = 0;
            return;
        }
        search.retry_at = None;
        if search.candidates.len() >= CANDIDATES_MAX {
            let oldest = search.candidates[0].conn;
            self.drop_candidate(now, oldest);
        }
        self.connect(now, lead.addr, Some(lead.zone));
    }

    /// Pauses for an overloaded shard: asking it soon, or another shard that would send the client back, makes it
    /// worse.
    pub(super) fn stay_away(&mut self) {
        if let Some(search) = &mut self.search {
            (search.left, search.backoff_ms) = (0, OVERLOADED_MS);
        }
    }

    /// Notes that the candidate's shard will say more.
    pub(super) fn wait(&mut self, now: Duration, conn: ConnId) {
        let pause = ms(self.rng.around(SECOND_AFTER_WAIT_MS));
        let Some(search) = &mut self.search else { return };
        let Some(candidate) = search.candidate_mut(conn) else {
            return;
        };
        (candidate.stage, candidate.deadline) = (ConnStage::Waiting, None);
        if let Some(second_at) = &mut search.second_at {
            *second_at = now + pause;
        }
    }

    /// Sends `Hello`: a candidate's connection is up.
    pub(super) fn greet(&mut self, now: Duration, conn: ConnId) {
        let Some(candidate) = self.search.as_ref().and_then(|search| search.candidate(conn)) else {
            return;
        };
        let credential = self.hello_credential(candidate.led_to.as_ref());
        // A ticket may have been spent by a `Hello` whose answer is still held back: only the connection's end ends
        // that wait.
        let patience = matches!(credential, Credential::Resume { .. }).then(|| ms(self.config.connect_ms_max));
        let Some(candidate) = self.search.as_mut().and_then(|search| search.candidate_mut(conn)) else {
            return;
        };
        if candidate.stage != ConnStage::Connecting {
            return;
        }
        (candidate.stage, candidate.deadline) = (ConnStage::Greeted, patience.map(|patience| now + patience));
        let message = ClientMessage::Hello {
            protocol: crate::PROTOCOL_VERSION,
            credential,
        };
        self.commands.push_back(Command::SendControl { conn, message });
    }

    /// Drops a candidate that failed. Gives a notice if nothing else speaks for the session.
    pub(super) fn candidate_failed(&mut self, now: Duration, conn: ConnId, detail: &str) {
        self.take_candidate(conn);
        if self.active.is_none() {
            self.notices.push_back(Notice::Disconnected {
                detail: detail.to_owned(),
            });
        }
        self.advance_search(now);
    }

    /// Whether the connection is a candidate.
    pub(super) fn is_candidate(&self, conn: ConnId) -> bool {
        self.search
            .as_ref()
            .is_some_and(|search| search.candidates.iter().any(|candidate| candidate.conn == conn))
    }

    /// Whether the connection that took the session from this one may be another of ours.
    pub(super) fn has_rival_of(&self, now: Duration, conn: ConnId) -> bool {
        let closed = self.rival_until.is_some_and(|until| now <= until);
        let candidates = self.search.iter().flat_map(|search| &search.candidates);
        let open = candidates.filter(|other| other.conn != conn).any(Candidate::may_attach);
        closed || open || (self.is_candidate(conn) && self.active.is_some())
    }

    /// Keeps a datagram that has overtaken the `Attached` of its connection, unless [`EARLY_DATAGRAMS_MAX`] have.
    pub(super) fn keep_early(&mut self, conn: ConnId, bytes: &[u8]) {
        if bytes.len() <= DATAGRAM_BYTES_MAX
            && let Some(candidate) = self.search.as_mut().and_then(|search| search.candidate_mut(conn))
            && candidate.early.len() < EARLY_DATAGRAMS_MAX
        {
            candidate.early.push(bytes.to_vec());
        }
    }

    /// Takes a candidate out of the search.
    pub(super) fn take_candidate(&mut self, conn: ConnId) -> Option<Candidate> {
        let search = self.search.as_mut()?;
        let place = search.candidates.iter().position(|candidate| candidate.conn == conn)?;
        Some(search.candidates.remove(place))
    }

    /// Closes a candidate. If its `Hello` has no answer yet, its shard may still attach it, and so supersede the
    /// present connection by our own doing.
    pub(super) fn drop_candidate(&mut self, now: Duration, conn: ConnId) {
        let Some(candidate) = self.take_candidate(conn) else {
            return;
        };
        self.close(conn, RefusalCode::Bye);
        if candidate.may_attach() {
            self.rival_until = Some(now + ms(self.config.connect_ms_max));
        }
    }

    /// Ends the search and closes what is left of it.
    pub(super) fn end_search(&mut self, now: Duration) {
        while let Some(candidate) = self.search.as_ref().and_then(|search| search.candidates.first()) {
            self.drop_candidate(now, candidate.conn);
        }
        self.search = None;
    }

    /// Does what is due of the search.
    pub(super) fn search_timeout(&mut self, now: Duration) {
        while let Some(conn) = self.overdue_candidate(now) {
            self.drop_candidate(now, conn);
            self.candidate_failed(now, conn, "no answer in time");
        }
        let Some(search) = &mut self.search else { return };
        search.retry_at = search.retry_at.filter(|&at| at > now);
        if search.second_at.is_some_and(|at| at <= now) {
            search.second_at = None;
            let led = search.candidates.iter().any(|candidate| candidate.led_to.is_some());
            if search.candidates.len() < CANDIDATES_MAX
                && !led
                && let Some(addr) = search.next_target()
            {
                self.open(now, addr);
            }
        }
        self.advance_search(now);
    }

    fn overdue_candidate(&self, now: Duration) -> Option<ConnId> {
        let overdue = |candidate: &&Candidate| candidate.deadline.is_some_and(|at| at <= now);
        self.search
            .as_ref()?
            .candidates
            .iter()
            .find(overdue)
            .map(|candidate| candidate.conn)
    }
}

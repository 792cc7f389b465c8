//! The kills of `--kill once` and `--kill repeat`: when they are due, and which process dies. It shows nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use everhold_local_cluster::LocalCluster;
use everhold_os::clock;

/// A process that was killed is started again, as a spare, after this: about what a supervisor takes.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// The last kill comes so long before the end, seconds, that even without a guardian (a lease of 4 s) its players are
/// back by then.
const LAST_KILL_BEFORE_END_S: f64 = 8.0;

/// A kill, on the clocks that it is compared by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    /// On the clock of the swarm.
    pub(super) at: Instant,
    /// On the clock of the shards' reports.
    pub(super) boottime_ms: f64,
    /// Players that it served.
    pub(super) players: u32,
}

/// A shard process that was just killed, for the display.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    pub(super) pid: u32,
    pub(super) addr: SocketAddr,
    /// Players that it served.
    pub(super) players: u32,
}

/// The times at which shards are killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Schedule {
    /// No shard is killed.
    Never,
    /// One, at this second of play.
    Once(f64),
    /// One after the other, so many seconds apart, until shortly before the end at this second.
    Every(f64, f64),
}

impl Schedule {
    /// Returns the least number of kills by the end. Each may come late, because it waits for a spare.
    pub(super) fn kills_min(self) -> usize {
        match self {
            Self::Never => 0,
            Self::Once(_) => 1,
            Self::Every(every, end) => {
                let fitting = ((end - LAST_KILL_BEFORE_END_S) / every).floor();
                // A count of seconds in a run: small, and not negative.
                (fitting.max(1.0) as usize).saturating_sub(1).max(1)
            }
        }
    }

    fn is_due(self, second: f64, kills: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Once(at) => kills == 0 && second >= at,
            Self::Every(every, end) => {
                second >= every * (kills + 1) as f64 && second <= (end - LAST_KILL_BEFORE_END_S).max(every)
            }
        }
    }
}

/// Kills by schedule, and starts again what it killed.
pub(super) struct Killer {
    schedule: Schedule,
    arguments: Vec<String>,
    restart_at: Option<Instant>,
    /// In order.
    pub(super) killed: Vec<Killed>,
}

impl Killer {
    /// `arguments` are those of each shard that is started.
    pub(super) const fn new(schedule: Schedule, arguments: Vec<String>) -> Self {
        Self {
            schedule,
            arguments,
            restart_at: None,
            killed: Vec::new(),
        }
    }

    /// Those of each shard that is started.
    pub(super) fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    /// Starts a spare in the place of the process that was killed last, if it is time. Returns whether it did.
    pub(super) fn restart_due(&mut self, cluster: &mut LocalCluster) -> anyhow::Result<bool> {
        if self.restart_at.take_if(|at| Instant::now() >= *at).is_none() {
            return Ok(false);
        }
        cluster.launch(&[], &self.arguments())?;
        Ok(true)
    }

    /// Kills the shard with most players if a kill is due at this second of play, every zone has a living owner again,
    /// and a spare is ready. Returns the process that it killed.
    pub(super) fn kill_due(&mut self, second: f64, cluster: &mut LocalCluster) -> anyhow::Result<Option<Victim>> {
        let settled = self.restart_at.is_none() && cluster.is_settled() && cluster.has_spare();
        if !settled || !self.schedule.is_due(second, self.killed.len()) {
            return Ok(None);
        }
        let index = cluster.busiest().context("no shard process is left to kill")?;
        let process = &cluster.all[index];
        let victim = Victim {
            pid: process.pid,
            addr: process.addr,
            players: process.players(),
        };
        let at = cluster.kill(index)?;
        self.killed.push(Killed {
            at,
            boottime_ms: clock::boottime().saturating_sub(at.elapsed()).as_secs_f64() * 1e3,
            players: victim.players,
        });
        if matches!(self.schedule, Schedule::Every(..)) {
            self.restart_at = Some(at + RESTART_AFTER);
        }
        Ok(Some(victim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kill_is_due_once() {
        let once = Schedule::Once(10.0);
        assert!(!once.is_due(9.9, 0) && once.is_due(10.0, 0) && !once.is_due(20.0, 1));
    }

    #[test]
    fn kills_follow_each_other_and_end_before_the_end() {
        let every = Schedule::Every(12.0, 60.0);
        assert!(every.is_due(12.0, 0) && !every.is_due(23.9, 1) && every.is_due(24.0, 1));
        assert!(
            every.is_due(50.0, 3) && !every.is_due(53.0, 3),
            "its players must be back by the end"
        );
        assert_eq!(every.kills_min(), 3);
    }

    #[test]
    fn short_play_has_one_kill_all_the_same() {
        let every = Schedule::Every(5.0, 10.0);
        assert!(every.is_due(5.0, 0));
        assert_eq!(every.kills_min(), 1);
    }
}

//! The sweep for the number of players that one server holds: a fresh server for each number, and a verdict. It judges
//! by what the players measured and by what the server says and the kernel says of it.
//!
//! ```text
//!  for each N:  start a server ─────────────► swarm of N in this process ──► kill the server
//!               (a child, on its own CPU,                   │
//!                with a world of its own)                   ▼
//!                          point: figures of the play after the warm-up ──► verdict: does N hold?
//! ```

mod chart;
mod figures;
mod floor;
mod process;
mod server;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::chart::{ChartError, chart};
pub use self::figures::{Floor, ServerFigures, SweepPoint};

use self::figures::Watched;
use self::server::Server;
use crate::affinity::{PinError, pin_thread};
use crate::behavior::Behavior;
use crate::swarm::{Control, SwarmConfig, SwarmError, SwarmPhase, SwarmProgress};

/// While a process of the sweep is waited for, it and the order to stop are looked after this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Configuration of a sweep.
#[derive(Clone, Debug)]
pub struct SweepConfig {
    /// The binary `everhold`.
    pub server: PathBuf,
    /// Numbers of players, rising.
    pub players: Vec<usize>,
    /// Configuration of the players. Its zones are those of the server; address, number, and keys are set by the sweep.
    pub swarm: SwarmConfig,
    /// The server's `--durability`.
    pub durability: String,
    /// A world file; else the world that comes with the server.
    pub world: Option<PathBuf>,
    /// The only CPU of the server.
    pub server_cpu: Option<usize>,
    /// The only CPU of the players.
    pub pin: Option<usize>,
    /// The binary `udp-floor`, to measure the floor under each number of players: on their two CPUs, which must be
    /// named then.
    pub udp_floor: Option<PathBuf>,
    /// Goes on after the first number that does not hold.
    pub all: bool,
    /// Halves the gap between the largest number that holds and the next until it is no wider than this.
    pub refine: Option<usize>,
    /// Directory of the servers' logs and the results.
    pub out: PathBuf,
    /// Set by the caller to end the sweep soon, with what it has.
    pub stop: Arc<AtomicBool>,
}

/// Result of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The largest number of players that holds, with every smaller one that was tried.
    pub holds_max: Option<usize>,
    /// Whether it was ended before its time.
    pub stopped: bool,
    /// Behaviour of the players.
    pub behavior: Behavior,
    /// Zones of the players.
    pub zones: Vec<String>,
    /// The world file, if it was not the server's own world.
    pub world: Option<PathBuf>,
    /// The server's durability.
    pub durability: String,
    /// Seconds of play at each number.
    pub seconds: f64,
    /// The server's CPU.
    pub server_cpu: Option<usize>,
    /// The simulator's CPU.
    pub pin: Option<usize>,
    /// One for each number of players, rising.
    pub points: Vec<SweepPoint>,
}

/// News for an observer.
#[derive(Clone, Copy, Debug)]
pub enum SweepNews<'a> {
    /// A server has started for so many players.
    Begins {
        /// Number of players.
        players: usize,
        /// The server's process.
        pid: u32,
    },
    /// A look at the players, a few times a second.
    Progress(&'a SwarmProgress),
    /// A number of players has its verdict.
    Done(&'a SweepPoint),
}

/// Error of a sweep that cannot go on. A number of players that does not hold is no error.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Orders that make no sense.
    #[error("{0}")]
    Config(&'static str),
    /// A CPU that cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The server does not start.
    #[error("the server {}: {problem}", server.display())]
    Server {
        /// The server's binary.
        server: PathBuf,
        /// The problem, in words.
        problem: String,
    },
    /// The program that measures the floor does not start.
    #[error("cannot run {}", program.display())]
    Floor {
        /// The binary.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Files and processes.
    #[error("{doing}")]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There was no swarm, for a reason that is not the server's.
    #[error("swarm")]
    Swarm(#[from] SwarmError),
}

impl SweepConfig {
    fn check(&self) -> Result<(), SweepError> {
        let rising = self.players.windows(2).all(|pair| pair[0] < pair[1]);
        let fault = if self.players.is_empty() || self.players[0] == 0 || !rising {
            Some("the numbers of players must rise, from at least 1")
        } else if self.refine == Some(0) {
            Some("a step of 0 players refines nothing")
        } else if self.udp_floor.is_some() && !self.has_two_cpus() {
            Some("the floor is compared with a server on one CPU and players on another: name both")
        } else {
            None
        };
        fault.map_or(Ok(()), |fault| Err(SweepError::Config(fault)))
    }

    fn has_two_cpus(&self) -> bool {
        self.server_cpu.is_some() && self.pin.is_some() && self.server_cpu != self.pin
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs a sweep on the calling thread, which is pinned if so ordered. No server outlives the call.
pub fn sweep(config: &SweepConfig, observer: &mut dyn FnMut(SweepNews<'_>)) -> Result<Sweep, SweepError> {
    config.check()?;
    if let Some(cpu) = config.pin {
        pin_thread(cpu)?;
    }
    if let Some(program) = &config.udp_floor {
        floor::check(program)?;
    }
    let mut points: Vec<SweepPoint> = Vec::new();
    for players in &config.players {
        let Some(point) = run_point(config, *players, observer)? else {
            break;
        };
        let holds = point.holds();
        points.push(point);
        if !holds && !config.all {
            break;
        }
    }
    while let Some(players) = config.refine.and_then(|step| between(&points, step)) {
        let Some(point) = run_point(config, players, observer)? else {
            break;
        };
        points.push(point);
        points.sort_by_key(|point| point.players);
    }
    Ok(Sweep {
        holds_max: gap(&points).0,
        stopped: config.stops(),
        behavior: config.swarm.behavior,
        zones: config.swarm.zones.iter().map(ToString::to_string).collect(),
        world: config.world.clone(),
        durability: config.durability.clone(),
        seconds: config.swarm.seconds,
        server_cpu: config.server_cpu,
        pin: config.pin,
        points,
    })
}

/// Returns the largest number that holds below the first that does not, and that one.
fn gap(points: &[SweepPoint]) -> (Option<usize>, Option<usize>) {
    let holding = points.iter().take_while(|point| point.holds());
    let failing = points.iter().find(|point| !point.holds());
    (
        holding.last().map(|point| point.players),
        failing.map(|point| point.players),
    )
}

/// Returns the number to try next, a multiple of `step` about the middle of the gap, if the gap is wider than `step`.
fn between(points: &[SweepPoint], step: usize) -> Option<usize> {
    let (Some(low), Some(high)) = gap(points) else {
        return None;
    };
    let middle = ((low + high) / 2 / step).max(low / step + 1) * step;
    (high - low > step && middle < high).then_some(middle)
}

/// Measures one number of players, from the server's start to its end. `None`: the sweep is to stop.
fn run_point(
    config: &SweepConfig,
    players: usize,
    observer: &mut dyn FnMut(SweepNews<'_>),
) -> Result<Option<SweepPoint>, SweepError> {
    if config.stops() {
        return Ok(None);
    }
    let mut server = Server::start(config, players)?;
    let Some(addr) = server.until_serving(config)? else {
        return Ok(None);
    };
    let pid = server.pid();
    observer(SweepNews::Begins { players, pid });
    let swarm = SwarmConfig {
        connect: vec![addr],
        players,
        keys: server.keys(),
        ..config.swarm.clone()
    };
    let mut watched = Watched::begin(&server);
    let outcome = crate::swarm::run(swarm, &mut |progress| {
        if progress.phase == SwarmPhase::Running {
            watched.look(Instant::now());
        }
        observer(SweepNews::Progress(progress));
        if config.stops() {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    if config.stops() {
        return Ok(None);
    }
    let ended = server.ended();
    let figures = watched.figures(&server.take_lines(), &config.swarm.zones, players);
    drop(server);
    let mut point = match outcome {
        Ok(report) => {
            let mut point = SweepPoint::new(report, figures);
            point.reasons = verdict::reasons(&point);
            point.reasons.extend(ended);
            point
        }
        Err(error @ (SwarmError::JoinDeadline { .. } | SwarmError::Stopped)) => {
            SweepPoint::without_play(players, figures, error.to_string(), ended)
        }
        Err(error) => return Err(error.into()),
    };
    match floor::measure(config, &point) {
        Ok(floor) => point.floor = floor,
        Err(problem) => point.floor_problem = Some(problem),
    }
    observer(SweepNews::Done(&point));
    Ok(Some(point))
}

#[cfg(test)]
mod tests {
    use super::{SweepPoint, between, gap};

    fn points(of: &[(usize, bool)]) -> Vec<SweepPoint> {
        of.iter()
            .map(|(players, holds)| SweepPoint::made_up(*players, *holds))
            .collect()
    }

    #[test]
    fn largest_that_holds_is_below_the_first_that_does_not() {
        assert_eq!(gap(&[]), (None, None));
        assert_eq!(gap(&points(&[(10, true), (20, true)])), (Some(20), None));
        assert_eq!(
            gap(&points(&[(10, true), (20, false), (30, true)])),
            (Some(10), Some(20))
        );
        assert_eq!(gap(&points(&[(10, false)])), (None, Some(10)));
    }

    #[test]
    fn gap_is_halved_down_to_the_step() {
        assert_eq!(between(&points(&[(2_000, true), (4_000, false)]), 250), Some(3_000));
        assert_eq!(between(&points(&[(2_000, true), (3_000, false)]), 250), Some(2_500));
        assert_eq!(between(&points(&[(2_000, true), (2_500, false)]), 250), Some(2_250));
        assert_eq!(between(&points(&[(2_250, true), (2_500, false)]), 250), None);
        assert_eq!(between(&points(&[(2_250, true)]), 250), None);
        assert_eq!(between(&points(&[(2_250, false)]), 250), None);
    }

    #[test]
    fn gap_is_never_left_wider_than_the_step() {
        assert_eq!(between(&points(&[(10, true), (20, false)]), 15), None);
        assert_eq!(between(&points(&[(1_000, true), (1_900, false)]), 500), Some(1_500));
        assert_eq!(between(&points(&[(20, true), (41, false)]), 20), Some(40));
        assert_eq!(between(&points(&[(40, true), (41, false)]), 20), None);
    }
}

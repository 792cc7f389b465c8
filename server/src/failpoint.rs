//! For tests only: moments at which a shard process may be told to die, so that a test need not guess when they come. A
//! binary without the feature `testing` has none of this.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use everhold_protocol::ZoneName;
use rustix::process::{Signal, getpid, kill_process};

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// The store is fenced and read; the zone is about to be restored and replayed.
    Replay,
    /// The first record of the epoch, `EpochStart`, is stored; no player has been told anything yet.
    EpochStarted,
    /// All parts of a checkpoint are stored; the head is about to be moved.
    HeadUnmoved,
    /// The head is moved; the zone's pipeline has not been told yet.
    HeadMoved,
    /// A restore has written this zone whole, and others, or the end, are still to come.
    ZoneRestored,
}

impl FromStr for Failpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "replay" => Self::Replay,
            "epoch-started" => Self::EpochStarted,
            "head-unmoved" => Self::HeadUnmoved,
            "head-moved" => Self::HeadMoved,
            "zone-restored" => Self::ZoneRestored,
            _ => return Err("it is replay, epoch-started, head-unmoved, head-moved, or zone-restored".to_owned()),
        })
    }
}

/// The failpoint at which a process dies, and the zone: written `POINT@ZONE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmedFailpoint {
    point: Failpoint,
    zone: ZoneName,
}

impl FromStr for ArmedFailpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (point, zone) = text.split_once('@').ok_or("it is written POINT@ZONE")?;
        Ok(Self {
            point: point.parse()?,
            zone: zone.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

static STUCK: OnceLock<ZoneName> = OnceLock::new();

/// The replay of this zone does not end in this process.
///
/// # Panics
/// If that was said before.
pub fn stick(zone: ZoneName) {
    STUCK.set(zone).expect("it is said once");
}

/// Does not return if this zone was told to stick.
pub(crate) fn stick_at(zone: &ZoneName) {
    while STUCK.get() == Some(zone) {
        std::thread::park();
    }
}

/// A part of a server that may be told to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The lease keeper, once a player is attached.
    Keeper,
    /// The router, at the first player.
    Router,
    /// The durable task of a zone, once a player is attached; once.
    Durable,
    /// The durable task of a zone after its last tick; once.
    Sealed,
    /// The encoding of a checkpoint; once.
    Capture,
    /// The adoption of a zone in memory; once.
    Adoption,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keeper" => Ok(Self::Keeper),
            "router" => Ok(Self::Router),
            "durable" => Ok(Self::Durable),
            "sealed" => Ok(Self::Sealed),
            "capture" => Ok(Self::Capture),
            "adoption" => Ok(Self::Adoption),
            _ => Err("it is keeper, router, durable, sealed, capture, or adoption".to_owned()),
        }
    }
}

static BROKEN: OnceLock<Part> = OnceLock::new();

/// This part of this process panics at its moment.
///
/// # Panics
/// If that was said before.
pub fn break_part(part: Part) {
    BROKEN.set(part).expect("it is said once");
}

/// Panics if this part was told to.
pub(crate) fn fail(part: Part) {
    assert_ne!(BROKEN.get(), Some(&part), "as told");
}

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// Panics if this part was told to, the first time that it comes here.
pub(crate) fn fail_once(part: Part) {
    assert!(
        BROKEN.get() != Some(&part) || HAS_FAILED.swap(true, Ordering::Relaxed),
        "as told"
    );
}

static BURNT_PER_PLAYER: OnceLock<Duration> = OnceLock::new();

/// From now on each tick of this process takes so much longer for every player.
///
/// # Panics
/// If that was said before.
pub fn burn(per_player: Duration) {
    BURNT_PER_PLAYER.set(per_player).expect("it is said once");
}

/// Makes a tick as slow as it was told to be.
pub(crate) fn burn_tick(players: usize) {
    let Some(per_player) = BURNT_PER_PLAYER.get() else {
        return;
    };
    let until = Instant::now() + *per_player * u32::try_from(players).unwrap_or(u32::MAX);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

static ARMED: OnceLock<ArmedFailpoint> = OnceLock::new();

/// This process dies when it comes there.
///
/// # Panics
/// If another failpoint is armed already.
pub fn arm(armed: ArmedFailpoint) {
    ARMED.set(armed).expect("a process dies once");
}

/// Dies here, as by `kill -9`, if armed so.
pub(crate) fn reach(point: Failpoint, zone: &ZoneName) {
    if ARMED
        .get()
        .is_some_and(|armed| armed.point == point && armed.zone == *zone)
    {
        tracing::warn!(?point, %zone, "dying here, as told");
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        loop {
            std::thread::park();
        }
    }
}

//! Worlds for the benches, the same on every run. It measures nothing itself.

pub mod hot;
pub mod run;
mod walkers;

use std::time::Duration;

use criterion::Criterion;
use everhold_core::ingress::AttachToken;
use everhold_core::zone::{Scene, SceneSession};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{EntityId, EntityKind, EntityView};

pub use walkers::{Turning, Walkers};

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Players of the worlds that are measured.
pub const PLAYERS: [usize; 4] = [1_000, 5_000, 10_000, 50_000];

/// The worlds in which views are measured: every size, spread out, in a crowd, and in one spot.
pub const WORLDS: [(usize, Crowding); 12] = [
    (1_000, Crowding::Spread),
    (5_000, Crowding::Spread),
    (10_000, Crowding::Spread),
    (50_000, Crowding::Spread),
    (1_000, Crowding::Crowd),
    (5_000, Crowding::Crowd),
    (10_000, Crowding::Crowd),
    (50_000, Crowding::Crowd),
    (1_000, Crowding::Stacked),
    (5_000, Crowding::Stacked),
    (10_000, Crowding::Stacked),
    (50_000, Crowding::Stacked),
];

/// View radius of a player in every bench, cm.
pub const RADIUS_CM: i32 = 10_000;

/// Ticks after which no player is new to another, all have turned, and buffers have grown.
pub const SETTLING_TICKS: u64 = 40;

/// The distribution of players over a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowding {
    /// All over a square in which each has about 50 others within [`RADIUS_CM`].
    Spread,
    /// All in a disc of a radius of 50 m, so that all players see each other.
    Crowd,
    /// All in one spot.
    Stacked,
}

impl Crowding {
    /// Returns the name that benches use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Crowd => "crowd",
            Self::Stacked => "stacked",
        }
    }

    /// Returns the position of a player in a world of `players`.
    #[must_use]
    pub fn position(self, players: usize, random: &mut SplitMix64) -> (i32, i32) {
        match self {
            Self::Spread => {
                let side = spread_side_cm(players);
                (random.below(side) as i32, random.below(side) as i32)
            }
            Self::Crowd => loop {
                let (x, y) = (random.below(10_000) as i32 - 5_000, random.below(10_000) as i32 - 5_000);
                if x * x + y * y <= 5_000 * 5_000 {
                    return (x, y);
                }
            },
            Self::Stacked => (0, 0),
        }
    }
}

/// Returns the side of a square, cm, on which `players` have 50 others within [`RADIUS_CM`]: `players · π · radius² =
/// 50 · side²`.
#[must_use]
pub fn spread_side_cm(players: usize) -> u64 {
    let area = players as u64 * 314 * (RADIUS_CM as u64).pow(2) / 5_000;
    area.isqrt()
}

/// Returns a scene of `players`, all of them viewers, in order of id.
#[must_use]
pub fn scene(players: usize, crowding: Crowding) -> Scene {
    let mut random = SplitMix64::new(7);
    let mut scene = Scene::default();
    for counter in 1..=players as u32 {
        let id = EntityId::new(1, counter);
        let (x, y) = crowding.position(players, &mut random);
        scene.entities.push(EntityView {
            id,
            kind: EntityKind::Player,
            x,
            y,
            health: 255,
        });
        let (last_input_seq, event_seq) = (u64::from(counter), 3);
        scene.sessions.push(SceneSession {
            session: id,
            attach: AttachToken(u64::from(counter)),
            last_input_seq,
            event_seq,
            x,
            y,
            hp: 100,
            value_digest: counter,
        });
    }
    scene
}

/// Returns a brief Criterion: the whole of `cargo bench` takes a few minutes.
#[must_use]
pub fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_000))
        .configure_from_args()
}

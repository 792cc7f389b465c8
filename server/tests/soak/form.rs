//! The form of a soak: how long, with how many players, and of which seed. The environment switches from the short form
//! of continuous integration to a long one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The zones of the world that comes with the server.
pub(crate) const ZONES: [&str; 3] = ["meadow", "forest", "harbor"];

/// Slots for shards: each has a process as long as nothing is wrong with it.
pub(crate) const SLOTS: usize = 4;

/// The length of a lease. Long enough for a busy machine, and so short that many are outlived.
pub(crate) const TTL: Duration = Duration::from_secs(3);

/// Players of the short form.
const PLAYERS: usize = 30;

/// Players of the long form, unless `SOAK_PLAYERS` says otherwise.
const PLAYERS_LONG: usize = 120;

/// Seconds of the short form.
const SECONDS: u64 = 15;

/// The seeds of the short forms: a test of the plan says what they have.
const SEED_ON_REDIS: u64 = 404;
const SEED_ON_FILES: u64 = 139;

/// The kind of the state store and authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Redis,
    Files,
}

/// The form of a soak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) store: StoreKind,
    /// Time of play under faults, s.
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) players: usize,
}

impl Form {
    /// The form of continuous integration.
    pub(crate) const fn short(store: StoreKind) -> Self {
        let seed = match store {
            StoreKind::Redis => SEED_ON_REDIS,
            StoreKind::Files => SEED_ON_FILES,
        };
        Self {
            store,
            seconds: SECONDS,
            seed,
            players: PLAYERS,
        }
    }

    /// The short form, unless the environment asks for more.
    pub(crate) fn asked_for(store: StoreKind) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).unwrap_or_default();
            let number = || {
                text.parse::<u64>()
                    .unwrap_or_else(|_| panic!("{name}: {text:?} is no number"))
            };
            (!text.is_empty()).then(number)
        };
        let mut form = Self::short(store);
        if let Some(seconds) = number("SOAK_SECONDS") {
            form = Self {
                seconds,
                seed: RandomState::new().hash_one(0) % 1_000_000,
                players: PLAYERS_LONG,
                ..form
            };
        }
        Self {
            seed: number("SOAK_SEED").unwrap_or(form.seed),
            players: number("SOAK_PLAYERS").map_or(form.players, |players| players as usize),
            ..form
        }
    }

    /// Returns the command that repeats it.
    pub(crate) fn command(&self) -> String {
        let store = match self.store {
            StoreKind::Redis => "redis",
            StoreKind::Files => "embedded",
        };
        let Self {
            seconds, seed, players, ..
        } = self;
        format!("make soak SECONDS={seconds} SEED={seed} PLAYERS={players} STORE={store}")
    }
}

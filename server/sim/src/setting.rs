//! The setting of a run, drawn from its seed: how many shards and players, which lease, which level of durability. No
//! fault is in it.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_core::durability::gate::Durability;
use everhold_protocol::ZoneName;
use everhold_protocol::rng::SplitMix64;

/// The flags with which a shard is started, again after it died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The zones that it prefers.
    pub preferred: BTreeSet<ZoneName>,
    /// Zones that it takes at most.
    pub room: usize,
    /// Whether a guardian is beside it.
    pub is_guarded: bool,
    /// The ttl of its leases, if it is not that of the run.
    pub ttl: Option<Duration>,
    /// The life from which on it runs other rules than the world's. In its first it is a spare, and starts late.
    pub other_rules_from: Option<u64>,
}

/// The setting of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSetting {
    /// The flags of each shard.
    pub shards: Vec<Flags>,
    /// The number of players.
    pub players: usize,
    /// The ttl of leases, but of shards that have another one.
    pub ttl: Duration,
    /// Ticks per second.
    pub tick_hz: u16,
    /// The level of durability of every zone.
    pub durability: Durability,
    /// The additions to the delays of the store, if it is far away: to the answers on the link that carries appends,
    /// and to everything on the other link, either way.
    pub far: Option<(Duration, Duration)>,
    /// Whether zones are written behind into an archive.
    pub has_archive: bool,
    /// The time at which the first fault may strike.
    pub begin: Duration,
    /// The time in which faults strike.
    pub span: Duration,
    /// The time at which another world file is put on record: shards that start afterwards have it.
    pub rolls_at: Option<Duration>,
}

impl RunSetting {
    /// Draws a setting. One in twenty has a lease of a minute and a half, so that bounds of minutes are met.
    #[must_use]
    pub fn draw(zones: &[ZoneName], rng: &mut SplitMix64) -> Self {
        let is_slow = rng.below(20) == 0;
        let shards = 2 + rng.below(3);
        let mut shards: Vec<Flags> = (0..shards).map(|_| draw_flags(zones, rng)).collect();
        if is_slow {
            // No zone waits for minutes until it is declared.
            shards[0].preferred = zones.iter().cloned().collect();
        }
        let seconds = Duration::from_secs;
        Self {
            shards,
            players: 2 + draw_below(5, rng),
            ttl: seconds(if is_slow { 90 } else { 1 }),
            tick_hz: if is_slow { 5 } else { 20 },
            durability: if rng.below(4) == 0 {
                Durability::Async
            } else {
                Durability::Store
            },
            begin: seconds(4),
            span: seconds(if is_slow { 200 } else { 8 }),
            far: draw_far(rng),
            has_archive: false,
            rolls_at: None,
        }
    }

    /// Draws whether zones that wait for the store wait for its replica, too, from chance of its own. Where the replica
    /// follows, that makes no difference.
    pub fn draw_replica(&mut self, rng: &mut SplitMix64) {
        if self.durability == Durability::Store && rng.below(3) == 0 {
            self.durability = Durability::Replica;
        }
    }

    /// Draws what makes shards of the run unlike each other, from chance of its own: a setting is otherwise the same
    /// with it and without. In one run in six a shard runs other rules, from its first life on or when it comes back;
    /// in one in six leases have two ttls.
    pub fn draw_unlike(&mut self, rng: &mut SplitMix64) {
        let shards = self.shards.len() as u64;
        match rng.below(12) {
            0 => {
                // The first may be the one that declares all zones.
                let spare = &mut self.shards[1 + draw_below(shards - 1, rng)];
                spare.other_rules_from = Some(1);
                spare.preferred.clear();
            }
            1 => self.shards[draw_below(shards, rng)].other_rules_from = Some(2),
            2 | 3 if self.ttl <= Duration::from_secs(1) => {
                for shard in &mut self.shards {
                    shard.ttl = (rng.below(2) == 0).then_some(3 * self.ttl);
                }
            }
            _ => {}
        }
    }

    /// Draws whether there is an archive, from chance of its own: one run in two is what it would be without any.
    pub fn draw_archive(&mut self, rng: &mut SplitMix64) {
        self.has_archive = rng.below(2) == 0;
    }

    /// Draws whether the world's file changes while it is served, from chance of its own: in one run in five, if its
    /// shards do not run other rules anyhow.
    pub fn draw_roll(&mut self, rng: &mut SplitMix64) {
        let are_alike = self.shards.iter().all(|flags| flags.other_rules_from.is_none());
        let at = self.begin + self.span * u32::try_from(rng.below(700)).unwrap_or_default() / 1_000;
        self.rolls_at = (rng.below(5) == 0 && are_alike).then_some(at);
    }

    /// Returns the longest ttl of a shard: so long it may take until a lease runs out.
    #[must_use]
    pub fn longest_ttl(&self) -> Duration {
        let ttls = self.shards.iter().filter_map(|flags| flags.ttl);
        ttls.max().unwrap_or(self.ttl).max(self.ttl)
    }

    /// Returns the ttl in milliseconds.
    #[must_use]
    pub fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

/// One store in six is far away, and answers appends late: the link that carries them loses packets.
fn draw_far(rng: &mut SplitMix64) -> Option<(Duration, Duration)> {
    let millis = Duration::from_millis;
    (rng.below(6) == 0).then(|| (millis(rng.below(1_900)), millis(rng.below(28))))
}

fn draw_flags(zones: &[ZoneName], rng: &mut SplitMix64) -> Flags {
    Flags {
        preferred: zones.iter().filter(|_| rng.below(3) == 0).cloned().collect(),
        room: zones.len(),
        is_guarded: rng.below(2) == 0,
        ttl: None,
        other_rules_from: None,
    }
}

/// Draws a number below a bound.
pub fn draw_below(bound: u64, rng: &mut SplitMix64) -> usize {
    usize::try_from(rng.below(bound)).unwrap_or(usize::MAX)
}

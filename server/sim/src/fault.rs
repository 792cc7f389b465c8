//! Faults, and the plan of a run: which of them strike when. A plan follows from its seed, or is given, so that a
//! finding can be made smaller by leaving faults out.

use std::time::Duration;

use everhold_core::durability::gate::Durability;
use everhold_protocol::rng::SplitMix64;

use crate::links::Party;
use crate::setting::{RunSetting, draw_below};

/// One thing that goes wrong, or ends going wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A shard process dies at once.
    Kill(usize),
    /// A shard process is asked to stop.
    Stop(usize),
    /// A bit of what the store has is flipped.
    Damage,
    /// A dead shard is started with the same flags.
    Restart(usize),
    /// A shard process stands still for a while.
    Pause(usize, Duration),
    /// Nothing passes from the first to the second for a while.
    Block(Party, Party, Duration),
    /// That ends.
    Unblock(Party, Party),
    /// Store or authority takes nothing and answers nothing for a while.
    Down(Party, Duration),
    /// That ends.
    Up(Party),
    /// Everything that a party sends and receives takes longer for a while.
    Slow(Party, Duration, Duration),
    /// That ends.
    Quick(Party),
    /// A service is refused at once, as by a host on which it does not run, for a while.
    Refuse(Party, Duration),
    /// That ends.
    Accept(Party),
    /// The store forgets everything.
    StoreForgets,
    /// The store goes back to what it held some time ago.
    StoreRewinds,
    /// The authority forgets everything.
    AuthorityForgets,
    /// The store takes no write for a while.
    Full(Duration),
    /// That ends.
    Room,
    /// A player says a line that makes a rule fail.
    Poison(usize),
    /// A zone of this shard never ends its tick.
    Wedge(usize),
    /// The store's present is remembered, to go back to.
    Remember,
    /// The end of a record or a checkpoint that the store has is torn off.
    Tear,
    /// The authority ends every lease of a shard process that lives.
    EarlyExpiry(usize),
    /// The clock by which a shard process measures its leases stands still for a while, so that they end too late.
    LateExpiry(usize, Duration),
    /// All players log in anew at once.
    Storm,
    /// The next tick of a zone of this shard takes as long.
    Stall(usize, Duration),
    /// The store has another history of the epoch in which a zone's newest records were written.
    Forge,
    /// The store has no room for parts of checkpoints and evidence for a while, and does every other write.
    PartsRefused(Duration),
    /// That ends.
    PartsTaken,
    /// The store's replica is cut off from it for a while.
    ReplicaAway(Duration),
    /// That ends.
    ReplicaBack,
    /// The store is gone, and its replica takes its place, with what it has.
    Promotion,
    /// The archive goes back to a backup.
    ArchiveRewinds,
    /// The archive goes back to its first moment.
    ArchiveForgets,
    /// The archive does commits, and no answer to one arrives, for a while.
    CommitsUnheard(Duration),
    /// The archive gets no commits for a while, although it does everything else.
    CommitsLost(Duration),
    /// Either ends.
    CommitsHeard,
    /// Another world file is put on record as the wanted one.
    Apply,
}

/// The faults of a run, each with its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub Vec<(Duration, Fault)>);

impl Fault {
    /// Returns the kind of the fault, if it strikes something itself: what ends a fault is none.
    #[must_use]
    pub const fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Pause(..) => "pause",
            Self::Down(Party::Store, _) => "store away",
            Self::Down(Party::Archive, _) | Self::Refuse(Party::Archive, _) => "archive away",
            Self::Block(Party::Archive, ..) | Self::Block(_, Party::Archive, _) => "one-way partition of the archive",
            Self::Slow(Party::Archive, ..) => "slow archive",
            Self::Block(..) => "one-way partition",
            Self::Down(..) => "authority away",
            Self::Slow(Party::Shard(_), ..) => "slow shard",
            Self::Slow(..) => "slow service",
            Self::Refuse(..) => "refused service",
            Self::StoreForgets => "store forgets all",
            Self::StoreRewinds => "store forgets a tail",
            Self::AuthorityForgets => "authority forgets all",
            Self::Full(_) => "disk full",
            Self::Poison(_) => "poison",
            Self::Wedge(_) => "wedged tick",
            Self::Damage => "damaged data",
            Self::Tear => "torn data",
            Self::EarlyExpiry(_) => "early expiry",
            Self::LateExpiry(..) => "late expiry",
            Self::Storm => "storm of log-ins",
            Self::Stall(..) => "stalled tick",
            Self::Forge => "forged records",
            Self::PartsRefused(_) => "no room for checkpoints",
            Self::Restart(_) => "restart",
            Self::ReplicaAway(_) => "replica away",
            Self::Promotion => "promotion",
            Self::ArchiveRewinds => "archive forgets a tail",
            Self::ArchiveForgets => "archive forgets all",
            Self::CommitsUnheard(_) => "commits without an answer",
            Self::CommitsLost(_) => "commits that are lost",
            Self::Apply => "another world file",
            Self::Unblock(..) | Self::Up(_) | Self::Quick(_) | Self::Accept(_) => return None,
            Self::Room | Self::PartsTaken | Self::ReplicaBack | Self::Remember | Self::CommitsHeard => return None,
        })
    }
}

impl Plan {
    /// Draws a plan: two to seven faults in the middle of the run.
    #[must_use]
    pub fn draw(setting: &RunSetting, rng: &mut SplitMix64) -> Self {
        let mut plan = Self::default();
        for _ in 0..2 + rng.below(6) {
            let at = setting.begin + millis(rng.below(ms(setting.span)));
            plan.add(at, setting, rng);
        }
        plan.0.push((setting.begin, Fault::Remember));
        plan.0.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Adds up to three faults of kinds that [`Plan::draw`] does not draw, from a chance of their own: a seed that gets
    /// none of them keeps the history that it has without them.
    pub fn draw_more(&mut self, setting: &RunSetting, rng: &mut SplitMix64) {
        for _ in 0..rng.below(4) {
            let at = setting.begin + millis(rng.below(ms(setting.span)));
            let shard = draw_below(setting.shards.len() as u64, rng);
            let lasts = millis(20 + rng.below(setting.ttl_ms() * 3));
            let back = at + lasts;
            match rng.below(12) {
                0..=2 => self.0.push((at, Fault::EarlyExpiry(shard))),
                3 => self.0.push((at, Fault::LateExpiry(shard, lasts))),
                4 => self.0.push((at, Fault::Storm)),
                5 => self.0.push((at, Fault::Stall(shard, lasts / 3))),
                6 => {
                    let slow = Fault::Slow(Party::Shard(shard), millis(rng.below(200)), lasts);
                    self.0.push((at, slow));
                }
                7 => self.0.push((at, Fault::Tear)),
                // For as long as a zone's checkpoints may lag behind without an alarm, and longer.
                8 => self.0.push((setting.begin, Fault::PartsRefused(setting.span))),
                9 => {
                    // The store is replaced while a shard stops.
                    let replaced = at + millis(rng.below(40));
                    self.0
                        .extend([(at, Fault::Stop(shard)), (replaced, Fault::StoreForgets)]);
                    self.0.push((back, Fault::Restart(shard)));
                }
                _ => {
                    // The host of a shard and of the authority.
                    self.0.extend([(at, Fault::Kill(shard)), (at, Fault::AuthorityForgets)]);
                    self.0.push((back, Fault::Restart(shard)));
                }
            }
        }
        self.0.sort_by_key(|(at, _)| *at);
    }

    /// Adds, to one plan in six, records that are forged, from a chance of their own as well: while their owner lives,
    /// or just after it died; and half the time there is no room for evidence of that.
    pub fn draw_forgery(&mut self, setting: &RunSetting, rng: &mut SplitMix64) {
        if rng.below(6) != 0 {
            return;
        }
        let at = setting.begin + millis(rng.below(ms(setting.span)));
        let lasts = millis(20 + rng.below(setting.ttl_ms() * 3));
        if rng.below(2) == 0 {
            let shard = draw_below(setting.shards.len() as u64, rng);
            self.0
                .extend([(at, Fault::Kill(shard)), (at + lasts, Fault::Restart(shard))]);
        }
        if rng.below(3) == 0 {
            self.0.push((at, Fault::PartsRefused(lasts)));
        }
        self.0.push((at, Fault::Forge));
        self.0.sort_by_key(|(at, _)| *at);
    }

    /// Adds, to one plan in two at level `replica` and to one in eight at the others, a replica that is cut off, and
    /// mostly takes the store's place then; half the time a shard dies in the same moment.
    pub fn draw_promotion(&mut self, setting: &RunSetting, rng: &mut SplitMix64) {
        let plans = if setting.durability == Durability::Replica {
            2
        } else {
            8
        };
        if rng.below(plans) != 0 {
            return;
        }
        let at = setting.begin + millis(rng.below(ms(setting.span)));
        let lasts = millis(20 + rng.below(setting.ttl_ms() * 3));
        self.0.push((at, Fault::ReplicaAway(lasts)));
        if rng.below(4) != 0 {
            let promoted = at + lasts / 2;
            if rng.below(2) == 0 {
                let shard = draw_below(setting.shards.len() as u64, rng);
                self.0.extend([
                    (promoted, Fault::Kill(shard)),
                    (promoted + lasts, Fault::Restart(shard)),
                ]);
            }
            self.0.push((promoted, Fault::Promotion));
        }
        self.0.sort_by_key(|(at, _)| *at);
    }

    /// Adds, to two plans in three of runs with an archive, one or two faults of it, from a chance of their own as
    /// well.
    pub fn draw_archive(&mut self, setting: &RunSetting, rng: &mut SplitMix64) {
        if !setting.has_archive || rng.below(3) == 0 {
            return;
        }
        for _ in 0..1 + rng.below(2) {
            let at = setting.begin + millis(rng.below(ms(setting.span)));
            let shard = draw_below(setting.shards.len() as u64, rng);
            let lasts = millis(20 + rng.below(setting.ttl_ms() * 3));
            match rng.below(12) {
                0 | 1 => self.0.push((at, Fault::Down(Party::Archive, lasts))),
                2 => self.0.push((at, Fault::Refuse(Party::Archive, 3 * lasts))),
                3 => {
                    // A zone loses its owner while the archive is away.
                    let away = Fault::Down(Party::Archive, setting.span);
                    self.0.extend([(setting.begin, away), (at, Fault::Kill(shard))]);
                    self.0.push((at + lasts, Fault::Restart(shard)));
                }
                4 => self
                    .0
                    .push((at, Fault::Slow(Party::Archive, millis(rng.below(2_500)), lasts))),
                5 => self
                    .0
                    .push((at, Fault::Block(Party::Shard(shard), Party::Archive, lasts))),
                // It does what it is asked to, and nobody hears of it.
                6 => self
                    .0
                    .push((at, Fault::Block(Party::Archive, Party::Shard(shard), lasts))),
                7 => self.0.push((at, Fault::CommitsUnheard(2 * lasts))),
                8 => self.0.push((at, Fault::CommitsLost(2 * lasts))),
                9 => self.0.push((at, Fault::ArchiveRewinds)),
                10 => self.0.push((at, Fault::ArchiveForgets)),
                _ => {
                    // Whatever the zones have done since is in the archive alone.
                    let shards = 0..setting.shards.len();
                    self.0.extend(shards.clone().map(|shard| (at, Fault::Kill(shard))));
                    self.0.push((at, Fault::StoreRewinds));
                    self.0.extend(shards.map(|shard| (at + lasts, Fault::Restart(shard))));
                }
            }
        }
        self.0.sort_by_key(|(at, _)| *at);
    }

    fn add(&mut self, at: Duration, setting: &RunSetting, rng: &mut SplitMix64) {
        let shard = draw_below(setting.shards.len() as u64, rng);
        // From a hiccup to three leases. A process that stands still for longer than the grace is none that can help.
        let lasts = millis(20 + rng.below(setting.ttl_ms() * 3));
        let briefly = lasts / 3;
        let back = at + millis(50 + rng.below(setting.ttl_ms() * 2));
        match rng.below(24) {
            0..=3 => self.0.extend([(at, Fault::Kill(shard)), (back, Fault::Restart(shard))]),
            4 => self.0.extend([(at, Fault::Stop(shard)), (back, Fault::Restart(shard))]),
            5 | 6 => self.0.push((at, Fault::Pause(shard, briefly))),
            7 | 8 => {
                let (one, other) = (Party::Shard(shard), draw_peer(setting, rng));
                let (from, to) = if rng.below(2) == 0 { (one, other) } else { (other, one) };
                self.0.push((at, Fault::Block(from, to, briefly)));
            }
            9 => self.0.push((at, Fault::Down(Party::Store, lasts))),
            10 => self.0.push((at, Fault::Down(Party::Authority, lasts))),
            11 => {
                let party = if rng.below(2) == 0 {
                    Party::Store
                } else {
                    Party::Authority
                };
                self.0.push((at, Fault::Slow(party, millis(rng.below(400)), lasts)));
            }
            12 => self.forget(at, Fault::StoreForgets, lasts, rng),
            13 => self.forget(at, Fault::StoreRewinds, lasts, rng),
            14 => self.0.push((at, Fault::AuthorityForgets)),
            15 => self.0.push((at, Fault::Full(lasts))),
            16 => self.0.push((at, Fault::Wedge(shard))),
            17 => self.0.push((at, Fault::Damage)),
            18 => self.flap(at, setting, rng),
            19 => {
                let party = if rng.below(2) == 0 {
                    Party::Store
                } else {
                    Party::Authority
                };
                self.0.push((at, Fault::Down(party, 3 * lasts)));
            }
            20 => self.forget_at_once(at, rng),
            21 => {
                // The host of a shard and of both services.
                self.0.extend([(at, Fault::Kill(shard)), (back, Fault::Restart(shard))]);
                self.forget(at, Fault::StoreForgets, lasts, rng);
            }
            _ => {
                let player = draw_below(setting.players as u64, rng);
                let times = 1 + rng.below(setting.shards.len() as u64 + 2);
                let poison = |time| (at + millis(time * 1_500), Fault::Poison(player));
                self.0.extend((0..times).map(poison));
            }
        }
    }

    /// A Redis that restarts: store and authority are away, for a while or for a moment, and forget meanwhile.
    fn forget(&mut self, at: Duration, how: Fault, away: Duration, rng: &mut SplitMix64) {
        let away = if rng.below(2) == 0 { away } else { millis(20) };
        self.0.push((at, Fault::Down(Party::Store, away)));
        self.0.push((at, Fault::Down(Party::Authority, away)));
        self.0.push((at + away / 2, how));
        self.0.push((at + away / 2, Fault::AuthorityForgets));
    }

    /// A store without a replica that has its data: what answers next has nothing, and no request is lost meanwhile.
    fn forget_at_once(&mut self, at: Duration, rng: &mut SplitMix64) {
        self.0.push((at, Fault::StoreForgets));
        if rng.below(2) == 0 {
            self.0.push((at, Fault::AuthorityForgets));
        }
    }

    /// A service, or the one Redis that is both, that is started again and again and soon dies each time.
    fn flap(&mut self, mut at: Duration, setting: &RunSetting, rng: &mut SplitMix64) {
        let parties = match rng.below(4) {
            0 => vec![Party::Store],
            1 => vec![Party::Authority],
            _ => vec![Party::Store, Party::Authority],
        };
        while at < setting.begin + setting.span {
            let away = millis(200 + rng.below(6_000));
            self.0
                .extend(parties.iter().map(|party| (at, Fault::Refuse(*party, away))));
            // Half the time it lives no longer than a claim and a few requests take.
            let lives = if rng.below(2) == 0 { 300 } else { 40 };
            at += away + millis(5 + rng.below(lives));
        }
    }
}

fn draw_peer(setting: &RunSetting, rng: &mut SplitMix64) -> Party {
    match rng.below(4) {
        0 => Party::Store,
        1 => Party::Authority,
        _ => Party::Player(draw_below(setting.players as u64, rng)),
    }
}

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! One random history, lived twice: by a world that is never captured, and by one that is captured, lost, restored, and
//! replayed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use everhold_core::game::RuleBook;
use everhold_core::game::test_zone::{Audit, TestZone};
use everhold_core::ingress::Input;
use everhold_core::zone::{Cut, Outputs, Reply, Scene, Zone, ZoneConfig};
use everhold_protocol::event::RejectReason;
use everhold_protocol::{EntityId, Epoch, Event, ItemCause, Tick};

use crate::dice::Dice;
use crate::players::{Deeds, Players};

const TICKS: u64 = 260;
/// Lost worlds per history: two are adopted by a new owner, the third is replayed in place.
const LOSSES: usize = 3;

/// A difference between the two worlds, which must be the same.
#[derive(Debug)]
pub(crate) struct Divergence {
    tick: Tick,
    what: &'static str,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} differ after tick {}", self.what, self.tick)
    }
}

/// Counts of what the histories contained, so that none of it goes untested.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    deeds: Deeds,
    deaths: u64,
    respawns: u64,
    kills: u64,
    pick_ups: u64,
    contests: u64,
    gifts: u64,
    refusals: u64,
    adoptions: u64,
    failed_captures: u64,
    losses_with_full_outbox: u64,
    losses_after_despawn_since_base: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.deeds.takeovers += other.deeds.takeovers;
        self.deeds.leaves_and_joins_in_one_tick += other.deeds.leaves_and_joins_in_one_tick;
        self.deeds.resumes += other.deeds.resumes;
        self.deeds.quarantined += other.deeds.quarantined;
        self.deaths += other.deaths;
        self.respawns += other.respawns;
        self.kills += other.kills;
        self.pick_ups += other.pick_ups;
        self.contests += other.contests;
        self.gifts += other.gifts;
        self.refusals += other.refusals;
        self.adoptions += other.adoptions;
        self.failed_captures += other.failed_captures;
        self.losses_with_full_outbox += other.losses_with_full_outbox;
        self.losses_after_despawn_since_base += other.losses_after_despawn_since_base;
    }

    /// A property over histories in which nothing happens proves nothing.
    pub(crate) fn check_rich(&self) {
        let parts = [
            ("takeovers", self.deeds.takeovers),
            ("leaves and joins in one tick", self.deeds.leaves_and_joins_in_one_tick),
            ("resumes", self.deeds.resumes),
            ("quarantined inputs", self.deeds.quarantined),
            ("deaths", self.deaths),
            ("respawns", self.respawns),
            ("kills", self.kills),
            ("pick-ups", self.pick_ups),
            ("contests", self.contests),
            ("gifts", self.gifts),
            ("refusals", self.refusals),
            ("adoptions", self.adoptions),
            ("failed captures", self.failed_captures),
            ("losses with a full outbox", self.losses_with_full_outbox),
            (
                "losses after a despawn since the base",
                self.losses_after_despawn_since_base,
            ),
        ];
        for (part, count) in parts {
            assert!(count >= 100, "only {count} {part} in all histories");
        }
    }

    fn note(&mut self, outputs: &Outputs) {
        self.refusals += outputs
            .replies
            .iter()
            .filter(|(_, reply)| matches!(reply, Reply::Refused(_)))
            .count() as u64;
        for (_, event) in &outputs.events {
            match &event.event {
                Event::Death { .. } => self.deaths += 1,
                Event::Respawn => self.respawns += 1,
                Event::Kill { .. } => self.kills += 1,
                Event::ItemGained {
                    cause: ItemCause::PickedUp,
                    ..
                } => self.pick_ups += 1,
                Event::ItemGained {
                    cause: ItemCause::GiftFrom(_),
                    ..
                } => self.gifts += 1,
                Event::Rejected {
                    reason: RejectReason::Contested,
                    ..
                } => self.contests += 1,
                _ => {}
            }
        }
    }
}

/// The captured world, its store, and its journal.
struct Hosted {
    config: ZoneConfig,
    test_zone: TestZone,
    zone: Zone,
    chain: Vec<Vec<u8>>,
    /// Entities at the base, to see that some are gone at a loss.
    at_base: BTreeSet<EntityId>,
    journal: Vec<(Vec<Input>, Outputs)>,
    captures: u64,
}

impl Hosted {
    fn new(config: ZoneConfig, test_zone: TestZone) -> Self {
        let zone = test_zone.begin(&config);
        let chain = Vec::new();
        Self {
            config,
            test_zone,
            zone,
            chain,
            at_base: BTreeSet::new(),
            journal: Vec::new(),
            captures: 0,
        }
    }

    /// Cuts; on success the store has it and the journal is trimmed. One in six bases; the first must be one.
    fn capture(&mut self, stored: bool) {
        self.captures += 1;
        let cut = if self.captures % 6 == 1 { Cut::Base } else { Cut::Delta };
        let capture = self.zone.capture(cut);
        if !stored {
            return self.zone.capture_failed();
        }
        self.zone.capture_confirmed();
        if capture.base {
            self.chain.clear();
            self.at_base = entities(&mut self.zone);
        }
        self.chain.push(capture.body);
        self.journal.clear();
    }

    /// Loses the world: another is restored and replayed. A replay's outputs go to no player, but they must be the
    /// same.
    fn lose(&mut self) -> Result<(), Divergence> {
        let bodies: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        self.test_zone.shuffle_seed = self.test_zone.shuffle_seed.map(|seed| seed + 1);
        self.zone = match bodies.as_slice() {
            [] => self.test_zone.begin(&self.config),
            chain => self.test_zone.restore(&self.config, chain).expect("a chain restores"),
        };
        for (inputs, told) in &self.journal {
            if self.zone.step(inputs) != *told {
                return Err(Divergence {
                    tick: self.zone.tick(),
                    what: "replayed outputs",
                });
            }
        }
        Ok(())
    }

    fn step(&mut self, inputs: &[Input]) -> Outputs {
        let outputs = self.zone.step(inputs);
        self.journal.push((inputs.to_vec(), outputs.clone()));
        outputs
    }
}

fn entities(zone: &mut Zone) -> BTreeSet<EntityId> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.entities.iter().map(|entity| entity.id).collect()
}

fn config(seed: u64) -> ZoneConfig {
    let rules = Arc::new(RuleBook::from_toml(include_str!("arena.toml")).expect("the arena is well-formed"));
    ZoneConfig {
        name: "arena".parse().expect("a name"),
        seed,
        tick_hz: 20,
        game: rules,
    }
}

/// Lives the history of this seed.
pub(crate) fn run(seed: u64, test_zone: TestZone) -> Result<Tally, Divergence> {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let config = config(seed);
    let rules_id = config.rules_id();
    let mut straight = TestZone {
        shuffle_seed: Some(seed),
        ..test_zone
    }
    .begin(&config);
    let mut hosted = Hosted::new(
        config,
        TestZone {
            shuffle_seed: Some(seed + 1_000),
            ..test_zone
        },
    );
    let mut players = Players::new(seed);
    let mut tally = Tally::default();
    let (mut scene, mut epoch) = (Scene::default(), 0);
    let interval = 7 + dice.below(25);
    let losses: Vec<Tick> = (0..LOSSES).map(|_| Tick(20 + dice.below(TICKS - 20))).collect();
    let mut supply = Supply::default();
    for tick in (1..=TICKS).map(Tick) {
        let lost = losses.iter().position(|&loss| loss == tick);
        if lost.is_some() {
            tally.losses_with_full_outbox += u64::from(Audit::of(&mut straight).outbox_events > 0);
            tally.losses_after_despawn_since_base += u64::from(!hosted.at_base.is_subset(&entities(&mut straight)));
            hosted.lose()?;
        }
        straight.scene(&mut scene);
        let mut inputs = Vec::new();
        if tick == Tick(1) || lost.is_some_and(|loss| loss < 2) {
            epoch += 1;
            tally.adoptions += u64::from(tick > Tick(1));
            inputs.push(Input::EpochStart {
                epoch: Epoch(epoch),
                nonce: seed,
                rules_id,
            });
            players.lose_connections();
        }
        inputs.extend(players.act(tick, &scene));
        let outputs = straight.step(&inputs);
        let hosted_outputs = hosted.step(&inputs);
        compare(tick, "outputs", &outputs, &hosted_outputs)?;
        compare(tick, "digests", &straight.digest(), &hosted.zone.digest())?;
        supply.check(&mut straight);
        players.hear(&outputs);
        tally.note(&outputs);
        if tick.is_every(interval) {
            let stored = !dice.once_in(5);
            tally.failed_captures += u64::from(!stored);
            hosted.capture(stored);
        }
    }
    tally.deeds = players.deeds;
    Ok(tally)
}

fn compare<T: PartialEq>(tick: Tick, what: &'static str, one: &T, other: &T) -> Result<(), Divergence> {
    if one == other {
        Ok(())
    } else {
        Err(Divergence { tick, what })
    }
}

/// Gold and items in the zone: they come into being where the rules say so, and never go.
#[derive(Default)]
struct Supply {
    gold: u64,
    uids: BTreeSet<EntityId>,
}

impl Supply {
    fn check(&mut self, zone: &mut Zone) {
        let audit = Audit::of(zone);
        assert_eq!(
            audit.gold,
            self.gold + audit.gold_minted,
            "gold came or went untold in tick {}",
            zone.tick()
        );
        self.gold = audit.gold;
        let uids: BTreeSet<EntityId> = audit.items.iter().map(|item| item.uid).collect();
        assert_eq!(
            uids.len(),
            audit.items.len(),
            "an item exists twice after tick {}",
            zone.tick()
        );
        assert!(self.uids.is_subset(&uids), "an item is gone after tick {}", zone.tick());
        self.uids = uids;
    }
}

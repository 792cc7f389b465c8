//! The plan of a soak: what goes wrong, and when, drawn from the seed. It does nothing, and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use client_sim::rng::Rng;
use everhold_testing::proxy::{Door, Faults, Way};

use crate::form::{Form, SLOTS, StoreKind, TTL};

/// Two of these are so far apart at most.
const GAP_MS_MAX: u32 = 2_500;

/// Everything is well for so long at the beginning.
const CALM: Duration = Duration::from_secs(2);

/// Shards that fare ill at the same time, but for one time in eight.
const TROUBLED_MAX: usize = 2;

/// A fault, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// SIGKILL; started again at the end, with the same flags.
    Kill(usize),
    /// SIGSTOP, and SIGCONT at the end.
    Pause(usize),
    /// SIGTERM; started again at the end, with the same flags.
    Stop(usize),
    /// Between players and a shard.
    PlayerLink(usize, Faults),
    /// Between a shard and Redis. The connections that there are end with a reset.
    StoreLink(usize, Faults, AtFirst),
    /// Redis is killed; started again at the end, with its data.
    StoreKill,
    /// Redis is stopped, and goes on at the end.
    StorePause,
    /// Redis has no memory left for writes, or the disk no room, until the end.
    StoreFull,
    /// Another process has the write lock of a zone's file.
    FileLock(usize),
}

/// The fate of a link's connections when its faults begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtFirst {
    Reset,
    Keep,
}

/// The way in which a Redis forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgetting {
    /// By a command.
    Flush,
    /// It is killed, and comes back empty at once.
    RestartEmpty,
    /// It is away for longer than a lease, and comes back empty: then every zone is suspended.
    AwayAndEmpty,
}

/// A step of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Begin(Strike),
    End(Strike),
    /// The store forgets everything while every zone is in some shard's memory: so all is well before, and nothing else
    /// is wrong until everything is stored again. Only a spare is killed before it, and starts at that very moment.
    Forget(Forgetting),
}

/// The thing that a strike is about: two at once would undo each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Process(usize),
    PlayerLink(usize),
    StoreLink(usize),
    Store,
    File(usize),
}

impl Strike {
    const fn target(&self) -> Target {
        match *self {
            Self::Kill(slot) | Self::Pause(slot) | Self::Stop(slot) => Target::Process(slot),
            Self::PlayerLink(slot, _) => Target::PlayerLink(slot),
            Self::StoreLink(slot, ..) => Target::StoreLink(slot),
            Self::StoreKill | Self::StorePause | Self::StoreFull => Target::Store,
            Self::FileLock(zone) => Target::File(zone),
        }
    }
}

/// Draws the plan of a form: each step with its moment, in order. Every strike ends before the end.
pub(crate) fn draw(form: &Form) -> Vec<(Duration, Order)> {
    let mut rng = Rng::new(form.seed, 0);
    let end = Duration::from_secs(form.seconds);
    let mut steps: Vec<(Duration, Order)> = Vec::new();
    let mut busy: BTreeMap<Target, Duration> = BTreeMap::new();
    let mut now = CALM;
    while now + TTL / 2 < end {
        if form.store == StoreKind::Redis && rng.one_in(10) {
            // Behind all that is wrong.
            now = busy.values().fold(now, |now, until| now.max(*until));
            let how = match rng.below(3) {
                0 => Forgetting::Flush,
                1 => Forgetting::RestartEmpty,
                _ => Forgetting::AwayAndEmpty,
            };
            steps.push((now, Order::Forget(how)));
        } else {
            let strike = draw_strike(&mut rng, form.store);
            let until = (now + span(&mut rng, &strike)).min(end);
            busy.retain(|_, until| *until > now);
            let troubled = busy
                .keys()
                .filter(|target| !matches!(target, Target::PlayerLink(_)))
                .count();
            let is_bearable = troubled < TROUBLED_MAX || rng.one_in(8);
            if is_bearable && !busy.contains_key(&strike.target()) {
                busy.insert(strike.target(), until);
                steps.push((now, Order::Begin(strike)));
                steps.push((until, Order::End(strike)));
            }
        }
        now += Duration::from_millis(u64::from(rng.between(100, GAP_MS_MAX)));
    }
    // Stable: what was drawn first comes first.
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn draw_strike(rng: &mut Rng, store: StoreKind) -> Strike {
    let slot = rng.below(SLOTS as u32) as usize;
    match (rng.below(12), store) {
        (0 | 1, _) => Strike::Kill(slot),
        (2 | 3, _) => Strike::Pause(slot),
        (4, _) => Strike::Stop(slot),
        (5..=7, _) => Strike::PlayerLink(slot, player_faults(rng)),
        (8 | 9, StoreKind::Redis) => {
            let (faults, at_first) = store_faults(rng);
            Strike::StoreLink(slot, faults, at_first)
        }
        (8 | 9, StoreKind::Files) => Strike::FileLock(rng.below(3) as usize),
        (10, StoreKind::Redis) if rng.one_in(2) => Strike::StorePause,
        (10, StoreKind::Redis) => Strike::StoreKill,
        _ => Strike::StoreFull,
    }
}

/// Draws how long a strike lasts: from well below a lease to well above it.
fn span(rng: &mut Rng, strike: &Strike) -> Duration {
    let ttl = TTL.as_millis() as u32;
    let (low, high) = match strike {
        Strike::Kill(_) | Strike::Stop(_) => (200, 2 * ttl),
        Strike::Pause(_) => (100, 5 * ttl / 2),
        _ => (200, 2 * ttl),
    };
    Duration::from_millis(u64::from(rng.between(low, high)))
}

fn millis(rng: &mut Rng, low: u32, high: u32) -> Duration {
    Duration::from_millis(u64::from(rng.between(low, high)))
}

fn player_faults(rng: &mut Rng) -> Faults {
    let healthy = Faults::default();
    match rng.below(5) {
        0 => Faults::CUT,
        1 => Faults {
            there: Way::STALLED,
            ..healthy
        },
        2 => Faults {
            back: Way::STALLED,
            ..healthy
        },
        3 => Faults::both(Way {
            loss_per_mille: rng.between(20, 300) as u16,
            ..Way::default()
        }),
        _ => Faults::both(Way {
            delay: millis(rng, 5, 150),
            jitter: millis(rng, 0, 100),
            ..Way::default()
        }),
    }
}

fn store_faults(rng: &mut Rng) -> (Faults, AtFirst) {
    let healthy = Faults::default();
    let at_first = if rng.one_in(3) { AtFirst::Reset } else { AtFirst::Keep };
    let faults = match rng.below(8) {
        0 => Faults {
            there: Way::STALLED,
            ..healthy
        },
        1 | 2 => Faults {
            back: Way::STALLED,
            ..healthy
        },
        3 => Faults::CUT,
        4 => Faults {
            door: Door::HalfOpen,
            ..healthy
        },
        5 => Faults {
            door: Door::Shut,
            ..healthy
        },
        6 => Faults::both(Way {
            bytes_per_s: Some(rng.between(500, 20_000)),
            ..Way::default()
        }),
        _ => Faults::both(Way {
            delay: millis(rng, 5, 400),
            jitter: millis(rng, 0, 200),
            ..Way::default()
        }),
    };
    // A door is for connections that are new.
    let is_about_new = faults.door != Door::Open;
    (faults, if is_about_new { AtFirst::Reset } else { at_first })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(store: StoreKind, seed: u64) -> Vec<(Duration, Order)> {
        draw(&Form {
            store,
            seconds: 120,
            seed,
            players: 1,
        })
    }

    #[test]
    fn same_seed_gives_the_same_plan_and_another_one_another() {
        for store in [StoreKind::Redis, StoreKind::Files] {
            assert_eq!(plan(store, 1), plan(store, 1));
            assert_ne!(plan(store, 1), plan(store, 2));
        }
    }

    #[test]
    fn every_strike_ends_in_time_and_no_two_are_about_the_same() {
        for (store, seed) in (0..200).flat_map(|seed| [(StoreKind::Redis, seed), (StoreKind::Files, seed)]) {
            let mut present: BTreeMap<Target, Strike> = BTreeMap::new();
            for (at, order) in plan(store, seed) {
                assert!(at <= Duration::from_secs(120) || matches!(order, Order::Forget(_)));
                match order {
                    Order::Begin(strike) => assert_eq!(present.insert(strike.target(), strike), None),
                    Order::End(strike) => assert_eq!(present.remove(&strike.target()), Some(strike)),
                    Order::Forget(_) => assert!(present.is_empty(), "seed {seed}: {present:?}"),
                }
            }
            assert!(present.is_empty(), "seed {seed}: {present:?}");
        }
    }

    #[test]
    fn every_kind_of_strike_is_drawn_soon_for_the_store_that_has_it() {
        let kinds = |store| {
            (0..20)
                .flat_map(|seed| names(&plan(store, seed)))
                .collect::<BTreeSet<_>>()
        };
        let (redis, embedded) = (kinds(StoreKind::Redis), kinds(StoreKind::Files));
        for both in ["Kill", "Pause", "Stop", "PlayerLink", "StoreFull"] {
            let begins = format!("Begin {both}");
            assert!(redis.contains(&begins) && embedded.contains(&begins), "{both}");
        }
        for one in [
            "Begin StoreLink",
            "Begin StoreKill",
            "Begin StorePause",
            "Forget Flush",
            "Forget RestartEmpty",
            "Forget AwayAndEmpty",
        ] {
            assert!(redis.contains(one) && !embedded.contains(one), "{one}");
        }
        assert!(embedded.contains("Begin FileLock") && !redis.contains("Begin FileLock"));
    }

    /// The names of what a plan begins.
    fn names(plan: &[(Duration, Order)]) -> BTreeSet<String> {
        let names = plan.iter().map(|(_, order)| {
            let words = format!("{order:?}");
            words.split(['(', ')', ',']).take(2).collect::<Vec<_>>().join(" ")
        });
        names.collect()
    }

    /// Whether the short form of this seed has what matters most of its store.
    fn is_worth_a_run(form: &Form) -> bool {
        let plan = draw(form);
        let names = names(&plan);
        let both = ["Begin Kill", "Begin Pause", "Begin PlayerLink", "Begin StoreFull"];
        let own: &[&str] = match form.store {
            StoreKind::Redis => &["Begin StoreLink", "Forget AwayAndEmpty"],
            StoreKind::Files => &["Begin FileLock", "Begin Stop"],
        };
        let is_long = |strike: &Strike, at: Duration| {
            let mut ends = plan
                .iter()
                .filter(|(end, order)| *end > at && *order == Order::End(*strike));
            ends.next().is_some_and(|(end, _)| *end - at > TTL)
        };
        let is_outlived = plan.iter().any(|(at, order)| match order {
            Order::Begin(strike @ Strike::Pause(_)) => is_long(strike, *at),
            _ => false,
        });
        is_outlived && both.iter().chain(own).all(|name| names.contains(*name))
    }

    #[test]
    fn short_form_has_what_matters_most_of_each_store() {
        for store in [StoreKind::Redis, StoreKind::Files] {
            assert!(is_worth_a_run(&Form::short(store)), "{store:?}: draw another seed");
        }
    }
}

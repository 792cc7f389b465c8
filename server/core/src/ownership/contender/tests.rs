//! The contender, told by circumstances. Times are ms on a made-up clock.

mod fit;
mod suspended;

use everhold_protocol::Epoch;

use super::*;
use crate::ownership::Nonce;

const TTL: u64 = 4_000;
/// Longer than any back-off of a contender that holds nothing, ms.
const BACKOFF: u64 = 50;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(zone: &str) -> ZoneName {
    zone.parse().unwrap()
}

fn rules(number: u8) -> RulesTag {
    RulesTag::new(&[number; 32])
}

fn config(preferred: &[&str], room: usize, seed: u64) -> ContenderConfig {
    let preferred = preferred.iter().map(|zone| name(zone)).collect();
    ContenderConfig::new(ms(TTL), room, rules(1), preferred, seed)
}

fn contender() -> Contender {
    Contender::new(config(&[], 8, 1))
}

fn held(zone: &str, beat: u64, players: u32) -> LeaseView {
    let addr = ([127, 0, 0, 1], 1).into();
    LeaseView {
        zone: name(zone),
        epoch: Epoch(3),
        nonce: Nonce(9),
        beat,
        released: false,
        addr,
        players,
        ttl: Duration::ZERO,
        mark: None,
    }
}

fn released(zone: &str, players: u32) -> LeaseView {
    LeaseView {
        released: true,
        ..held(zone, 1, players)
    }
}

fn never_held(zone: &str) -> LeaseView {
    LeaseView {
        epoch: Epoch::NONE,
        nonce: Nonce(0),
        ..released(zone, 0)
    }
}

fn claim(contender: &mut Contender, now: u64) -> Option<String> {
    contender.poll_claim(ms(now)).map(|view| view.zone.to_string())
}

#[test]
fn lease_of_a_longer_ttl_is_watched_for_that_long_and_within_the_bound() {
    let with_ttl = |ttl: u64| LeaseView {
        ttl: ms(ttl),
        ..held("meadow", 1, 5)
    };
    let bound = crate::ownership::LeaseConfig::TTL_MS_MAX;
    for (ttl, wait) in [(0, TTL), (1_000, TTL), (5 * TTL, 5 * TTL), (10 * bound, bound)] {
        let mut contender = contender();
        let mut now = 0;
        while now < wait {
            contender.handle_leases(ms(now), vec![with_ttl(ttl)]);
            assert_eq!(claim(&mut contender, now), None, "{ttl}");
            now += 500;
        }
        contender.handle_leases(ms(wait), vec![with_ttl(ttl)]);
        assert_eq!(
            claim(&mut contender, wait + BACKOFF).as_deref(),
            Some("meadow"),
            "{ttl}"
        );
    }
    let mut contender = contender();
    let released = LeaseView {
        released: true,
        ..with_ttl(5 * TTL)
    };
    contender.handle_leases(ms(0), vec![released]);
    assert_eq!(
        claim(&mut contender, BACKOFF).as_deref(),
        Some("meadow"),
        "given up is given up"
    );
}

#[test]
fn released_zone_is_claimed_after_a_short_back_off() {
    let mut contender = contender();
    contender.handle_leases(ms(100), vec![released("meadow", 5)]);
    let due = contender.poll_timeout().unwrap();
    assert!((ms(100)..ms(100 + BACKOFF)).contains(&due), "{due:?}");
    assert_eq!(contender.poll_claim(due - Duration::from_nanos(1)), None);
    assert_eq!(
        contender.poll_claim(due),
        Some(released("meadow", 5)),
        "exactly what was watched"
    );
}

#[test]
fn held_zone_is_claimed_only_after_a_full_ttl_without_a_beat() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5)]);
    contender.handle_leases(ms(3_900), vec![held("meadow", 2, 5)]);
    assert_eq!(claim(&mut contender, 3_900 + TTL - 1), None);
    assert_eq!(claim(&mut contender, 3_900 + TTL + BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn change_that_is_no_sign_of_life_does_not_start_the_watch_anew() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5)]);
    contender.handle_leases(ms(1_000), vec![held("meadow", 1, 6)]);
    assert_eq!(claim(&mut contender, TTL + BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn contender_that_just_started_does_not_trust_what_it_sees_first() {
    let mut contender = contender();
    contender.handle_leases(ms(1_000_000), vec![held("meadow", 1, 5)]);
    assert_eq!(claim(&mut contender, 1_000_000 + TTL - 1), None);
}

#[test]
fn zones_with_most_players_come_first() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("a", 1), released("b", 900), released("c", 50)]);
    assert_eq!(claim(&mut contender, BACKOFF).as_deref(), Some("b"));
    contender.handle_granted();
    assert_eq!(claim(&mut contender, 2 * BACKOFF).as_deref(), Some("c"));
}

#[test]
fn few_zones_are_adopted_at_a_time() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("a", 3), released("b", 2), released("c", 1)]);
    for _ in 0..2 {
        claim(&mut contender, BACKOFF).unwrap();
        contender.handle_granted();
    }
    assert_eq!((claim(&mut contender, BACKOFF), contender.poll_timeout()), (None, None));
    contender.handle_adopted(&name("a"));
    assert_eq!(claim(&mut contender, BACKOFF).as_deref(), Some("c"));
}

#[test]
fn zones_that_wait_for_the_archive_keep_no_other_zone_from_being_adopted() {
    let mut contender = contender();
    let zones = [("a", 3), ("b", 2), ("c", 1), ("d", 0)].map(|(zone, players)| released(zone, players));
    contender.handle_leases(ms(0), zones.to_vec());
    for _ in 0..2 {
        claim(&mut contender, BACKOFF).unwrap();
        contender.handle_granted();
    }
    assert_eq!(claim(&mut contender, BACKOFF), None, "two are adopted at a time");
    contender.note_waiting([name("a")].into());
    assert_eq!(claim(&mut contender, BACKOFF).as_deref(), Some("c"));
    contender.handle_granted();
    assert_eq!(claim(&mut contender, BACKOFF), None);
}

#[test]
fn no_more_zones_are_claimed_than_there_is_room_for() {
    let mut contender = Contender::new(config(&[], 1, 1));
    contender.handle_leases(ms(0), vec![released("a", 3), released("b", 2)]);
    claim(&mut contender, BACKOFF).unwrap();
    assert_eq!(claim(&mut contender, BACKOFF), None, "one claim at a time");
    contender.handle_granted();
    contender.handle_adopted(&name("a"));
    assert_eq!(claim(&mut contender, 10 * TTL), None);
    assert_eq!(
        contender.held().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a"]
    );
}

#[test]
fn preferred_zone_comes_first_and_at_once_but_is_never_stolen() {
    let mut contender = Contender::new(config(&["small"], 8, 1));
    contender.handle_leases(ms(0), vec![released("large", 900), released("small", 0)]);
    assert_eq!(claim(&mut contender, 0).as_deref(), Some("small"));
    contender.handle_refused(ms(1), held("small", 1, 0));
    assert_eq!(claim(&mut contender, TTL).as_deref(), Some("large"));
    contender.handle_granted();
    assert_eq!(claim(&mut contender, TTL), None, "it beats until proven otherwise");
    assert_eq!(claim(&mut contender, TTL + 1).as_deref(), Some("small"));
}

#[test]
fn zone_that_was_never_held_is_not_free_and_left_to_those_that_prefer_it() {
    let mut spare = contender();
    spare.handle_leases(ms(0), vec![never_held("meadow")]);
    assert_eq!(claim(&mut spare, 2 * TTL - 1), None);
    assert_eq!(claim(&mut spare, 2 * TTL + BACKOFF).as_deref(), Some("meadow"));
    let mut preferring = Contender::new(config(&["meadow"], 8, 1));
    preferring.handle_leases(ms(0), vec![never_held("meadow")]);
    assert_eq!(
        claim(&mut preferring, TTL - 1),
        None,
        "its owner may be alive, and forgotten"
    );
    assert_eq!(claim(&mut preferring, TTL).as_deref(), Some("meadow"));
}

#[test]
fn zone_that_was_never_held_is_free_to_those_that_prefer_it_where_the_authority_does_not_forget() {
    let may_claim_at = |preferred: &[&str]| {
        let config = ContenderConfig {
            may_forget: false,
            ..config(preferred, 8, 1)
        };
        let mut contender = Contender::new(config);
        contender.handle_leases(ms(0), vec![never_held("meadow")]);
        contender.poll_timeout().expect("it is a candidate")
    };
    assert_eq!(may_claim_at(&["meadow"]), ms(0));
    assert!(may_claim_at(&[]) >= ms(TTL));
}

#[test]
fn released_lease_that_shows_less_than_is_known_is_watched_for_a_ttl() {
    for preferred in [&["meadow"][..], &[]] {
        let mut contender = Contender::new(config(preferred, 8, 1));
        contender.handle_leases(ms(0), vec![released("meadow", 5)]);
        contender.note_forgotten(&name("meadow"));
        assert_eq!(claim(&mut contender, TTL - 1), None);
        assert_eq!(claim(&mut contender, TTL + BACKOFF).as_deref(), Some("meadow"));
        assert!(
            !contender.handle_forgotten(ms(TTL + BACKOFF)),
            "it was watched long enough"
        );
    }
}

#[test]
fn claim_of_a_lease_that_shows_less_than_the_store_knows_is_put_off() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("meadow", 5)]);
    assert_eq!(claim(&mut contender, BACKOFF).as_deref(), Some("meadow"));
    assert!(contender.handle_forgotten(ms(BACKOFF)));
    assert_eq!(claim(&mut contender, TTL - 1), None);
    assert_eq!(claim(&mut contender, TTL + BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn busy_contender_lets_an_idle_one_go_first() {
    let mut busy = contender();
    busy.handle_leases(ms(0), vec![released("a", 1)]);
    claim(&mut busy, BACKOFF).unwrap();
    busy.handle_granted();
    busy.handle_adopted(&name("a"));
    let mut idle = Contender::new(config(&[], 8, 2));
    for contender in [&mut busy, &mut idle] {
        contender.handle_leases(ms(1_000), vec![released("a", 1), released("b", 7)]);
    }
    // The idle contender's `a` is not compared: the busy one holds it, whatever the test's authority says.
    let of_b = |contender: &Contender| contender.claimable_at(&contender.watches[&name("b")]);
    assert!(of_b(&idle) < of_b(&busy));
}

#[test]
fn back_offs_differ_between_processes_and_repeat_with_a_seed() {
    let due = |seed| {
        let mut contender = Contender::new(config(&[], 8, seed));
        contender.handle_leases(ms(0), vec![released("meadow", 1)]);
        contender.poll_timeout()
    };
    assert_eq!(due(1), due(1));
    let distinct: BTreeSet<_> = (0..20).map(due).collect();
    assert!(distinct.len() > 15, "{distinct:?}");
}

#[test]
fn contender_that_came_second_watches_the_winner_from_scratch() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("meadow", 5)]);
    claim(&mut contender, BACKOFF).unwrap();
    contender.handle_refused(ms(60), held("meadow", 7, 5));
    assert_eq!(claim(&mut contender, 60 + TTL - 1), None);
    assert_eq!(claim(&mut contender, 60 + TTL + BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn claim_of_unknown_outcome_is_made_again_as_it_was() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("meadow", 5)]);
    let first = contender.poll_claim(ms(BACKOFF));
    contender.handle_unavailable(ms(1_000));
    assert_eq!(contender.poll_claim(ms(1_000)), None);
    assert_eq!(contender.poll_claim(ms(1_000 + 2 * BACKOFF)), first);
}

#[test]
fn zone_that_was_dropped_is_watched_from_scratch() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5)]);
    claim(&mut contender, TTL + BACKOFF).unwrap();
    contender.handle_granted();
    contender.handle_dropped(&name("meadow"));
    contender.handle_leases(ms(5_000), vec![held("meadow", 1, 5)]);
    assert_eq!(claim(&mut contender, 5_000 + TTL - 1), None);
}

#[test]
fn zone_that_the_authority_no_longer_lists_is_not_claimed() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![released("meadow", 5)]);
    contender.handle_leases(ms(10), vec![]);
    assert_eq!(claim(&mut contender, TTL), None);
}

/// Returns the leases of an authority that shows the forest's and cannot read the meadow's.
fn without_the_meadow() -> Leases {
    Leases {
        unread: BTreeSet::from([name("meadow")]),
        ..Leases::from(vec![held("forest", 1, 5)])
    }
}

#[test]
fn zone_whose_lease_could_not_be_read_for_long_is_watched_anew() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5), held("forest", 1, 5)]);
    for now in (500..=3_500).step_by(500) {
        contender.handle_leases(ms(now), without_the_meadow());
    }
    contender.handle_leases(ms(4_000), vec![held("meadow", 1, 5), held("forest", 1, 5)]);
    assert_eq!(
        claim(&mut contender, 4_500).as_deref(),
        Some("forest"),
        "it was watched all the time"
    );
    contender.handle_granted();
    assert_eq!(claim(&mut contender, 7_900), None);
    assert_eq!(claim(&mut contender, 8_500).as_deref(), Some("meadow"));
}

#[test]
fn zone_whose_lease_could_not_be_read_once_is_watched_on_and_not_claimed_meanwhile() {
    let mut contender = Contender::new(config(&[], 1, 1));
    let both = || vec![held("meadow", 1, 5), held("forest", 1, 5)];
    for now in (0..TTL).step_by(500) {
        contender.handle_leases(ms(now), both());
    }
    contender.handle_leases(ms(TTL), without_the_meadow());
    contender.handle_dropped(&name("forest"));
    assert_eq!(claim(&mut contender, TTL + BACKOFF), None);
    contender.handle_leases(ms(TTL + 2 * BACKOFF), both());
    assert_eq!(claim(&mut contender, TTL + 2 * BACKOFF).as_deref(), Some("meadow"));
}

#[test]
fn holder_comes_first_after_a_time_in_which_nothing_could_be_written() {
    let mut contender = contender();
    let mut claims = Vec::new();
    for now in (0..4 * TTL).step_by(500) {
        contender.handle_leases(ms(now), vec![held("meadow", 1, 5)]);
        if contender.poll_claim(ms(now)).is_some() {
            claims.push(now);
            contender.handle_unavailable(ms(now));
        }
    }
    let last = *claims.last().expect("it tries");
    assert!(claims.windows(2).all(|two| two[1] - two[0] >= TTL), "{claims:?}");
    // Now it can: the holder's renewal is there before the next claim.
    contender.handle_leases(ms(4 * TTL), vec![held("meadow", 2, 5)]);
    assert_eq!(claim(&mut contender, last + TTL + BACKOFF), None);
}

/// Two contenders and an authority that grants by compare-and-set: the later one is refused, and no zone is claimed
/// twice.
#[test]
fn of_two_contenders_one_wins_and_the_other_waits() {
    let mut contenders = [Contender::new(config(&[], 8, 1)), Contender::new(config(&[], 8, 2))];
    let mut lease = held("meadow", 1, 5);
    let mut granted = Vec::new();
    for now in (0..2 * TTL).step_by(10) {
        for (index, contender) in contenders.iter_mut().enumerate() {
            contender.handle_leases(ms(now), vec![lease.clone()]);
            let Some(watched) = contender.poll_claim(ms(now)) else {
                continue;
            };
            if watched == lease {
                lease = LeaseView {
                    epoch: lease.epoch.next().unwrap(),
                    nonce: Nonce(index as u64),
                    beat: lease.beat + 1,
                    ..lease
                };
                contender.handle_granted();
                granted.push((index, now));
            } else {
                contender.handle_refused(ms(now), lease.clone());
            }
        }
    }
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert!(granted[0].1 >= TTL);
}

#[test]
fn watch_begins_anew_after_a_time_without_a_look() {
    let mut contender = contender();
    contender.handle_leases(ms(0), vec![held("meadow", 1, 5)]);
    let back = 3 * TTL;
    contender.handle_leases(ms(back), vec![held("meadow", 1, 5)]);
    assert_eq!(claim(&mut contender, back + TTL - 1), None);
    assert_eq!(claim(&mut contender, back + TTL + BACKOFF).as_deref(), Some("meadow"));
}

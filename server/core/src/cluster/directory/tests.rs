//! The directory, told by circumstances on a clock that only the test moves. It asks no authority.

use everhold_protocol::Epoch;

use super::*;
use crate::ownership::KeyFingerprints;

const TTL: Duration = Duration::from_secs(4);
const ME: Nonce = Nonce(1);
const OTHER: Nonce = Nonce(2);

fn zone() -> ZoneName {
    "meadow".parse().unwrap()
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn lease(nonce: Nonce, epoch: u32, beat: u64) -> LeaseView {
    LeaseView {
        zone: zone(),
        epoch: Epoch(epoch),
        nonce,
        beat,
        released: false,
        addr: addr(4002),
        players: 3,
        ttl: Duration::ZERO,
        mark: None,
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns a directory that saw `OTHER` renew the zone under epoch 3 at 1,000 ms.
fn seen_alive() -> Directory {
    let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
    directory.handle_views(at(0), &[lease(OTHER, 3, 1)], Some(&[]));
    directory.handle_views(at(1_000), &[lease(OTHER, 3, 2)], Some(&[]));
    directory
}

#[test]
fn a_newcomer_is_sent_to_the_living_owner() {
    let place = seen_alive().place(at(1_500), &zone(), None, RouteRequest::New);
    assert_eq!(
        place,
        Placement::There {
            addr: addr(4002),
            epoch: Epoch(3)
        }
    );
}

#[test]
fn nobody_is_sent_to_an_owner_whose_beat_stands_still() {
    let place = seen_alive().place(at(3_600), &zone(), None, RouteRequest::New);
    assert_eq!(place, Placement::Wait);
}

#[test]
fn a_resume_waits_while_its_silent_owner_has_not_renewed_since() {
    let resume = RouteRequest::Resume {
        epoch: Epoch(3),
        since: at(1_100),
    };
    assert_eq!(seen_alive().place(at(1_200), &zone(), None, resume), Placement::Wait);
}

#[test]
fn a_resume_is_sent_back_to_an_owner_that_renews_after_it_came() {
    let mut directory = seen_alive();
    directory.handle_views(at(2_000), &[lease(OTHER, 3, 3)], Some(&[]));
    let resume = RouteRequest::Resume {
        epoch: Epoch(3),
        since: at(1_100),
    };
    assert!(matches!(
        directory.place(at(2_000), &zone(), None, resume),
        Placement::There { .. }
    ));
}

#[test]
fn a_resume_is_sent_to_the_adopter_at_once() {
    let mut directory = seen_alive();
    directory.handle_views(at(5_000), &[lease(Nonce(7), 4, 1)], Some(&[]));
    let resume = RouteRequest::Resume {
        epoch: Epoch(3),
        since: at(4_990),
    };
    assert!(matches!(
        directory.place(at(5_000), &zone(), None, resume),
        Placement::There { epoch: Epoch(4), .. }
    ));
}

#[test]
fn a_resume_is_never_sent_to_a_lower_epoch() {
    let resume = RouteRequest::Resume {
        epoch: Epoch(4),
        since: at(0),
    };
    assert_eq!(seen_alive().place(at(1_500), &zone(), None, resume), Placement::Wait);
}

/// Places, at each of these times, a resume that has seen epoch 4 and came at 1,000 ms.
fn heard_at(directory: &Directory, here: Option<Hosted>, times_ms: &[u64]) -> Vec<Placement> {
    let resume = RouteRequest::Resume {
        epoch: Epoch(4),
        since: at(1_000),
    };
    let place = |ms: &u64| directory.place(at(*ms), &zone(), here, resume);
    times_ms.iter().map(place).collect()
}

fn hosted(epoch: u32, since_ms: u64) -> Option<Hosted> {
    Some(Hosted {
        epoch: Epoch(epoch),
        since: at(since_ms),
        may_speak: true,
    })
}

#[test]
fn an_owner_here_of_a_lower_epoch_says_wait_and_after_two_ttl_that_it_knows_no_such_session() {
    use Placement::{SessionUnknown, Wait};
    let heard = heard_at(&seen_alive(), hosted(3, 0), &[1_000, 8_999, 9_000]);
    assert_eq!(heard, [Wait, Wait, SessionUnknown]);
    let heard = heard_at(&seen_alive(), hosted(3, 5_000), &[9_000, 12_999, 13_000]);
    assert_eq!(heard, [Wait, Wait, SessionUnknown], "from when it came up");
}

#[test]
fn an_owner_here_of_the_seen_or_a_higher_epoch_answers_at_once() {
    for epoch in [4, 5, u32::MAX] {
        assert_eq!(
            heard_at(&seen_alive(), hosted(epoch, 0), &[1_000, 99_000]),
            [Placement::Here; 2]
        );
    }
}

#[test]
fn an_absurd_epoch_costs_two_ttl() {
    let absurd = RouteRequest::Resume {
        epoch: Epoch(u32::MAX),
        since: at(1_000),
    };
    let place = |ms| seen_alive().place(at(ms), &zone(), hosted(3, 0), absurd);
    assert_eq!(
        (place(8_999), place(9_000)),
        (Placement::Wait, Placement::SessionUnknown)
    );
}

#[test]
fn an_owner_here_that_may_not_speak_denies_no_session() {
    let paused = Some(Hosted {
        may_speak: false,
        ..hosted(3, 0).unwrap()
    });
    assert_eq!(heard_at(&seen_alive(), paused, &[9_000, 99_000]), [Placement::Wait; 2]);
}

#[test]
fn an_owner_elsewhere_of_a_lower_epoch_is_believed_after_two_ttl_of_its_renewals() {
    let mut directory = seen_alive();
    let mut heard = Vec::new();
    for s in 2..=9 {
        directory.handle_views(at(s * 1_000), &[lease(OTHER, 3, 1 + s)], Some(&[]));
        heard.extend(heard_at(&directory, None, &[s * 1_000]));
    }
    let (last, before) = heard.split_last().unwrap();
    assert!(
        before.iter().all(|placement| *placement == Placement::Wait),
        "{before:?}"
    );
    assert_eq!(*last, Placement::SessionUnknown);
    assert_eq!(
        heard_at(&directory, None, &[12_000]),
        [Placement::Wait],
        "its beat stands still"
    );
}

#[test]
fn a_lower_epoch_that_was_granted_only_now_is_not_believed_yet() {
    let mut directory = seen_alive();
    directory.handle_views(at(20_000), &[lease(Nonce(7), 2, 9)], Some(&[]));
    directory.handle_views(at(27_000), &[lease(Nonce(7), 2, 10)], Some(&[]));
    directory.handle_views(at(28_000), &[lease(Nonce(7), 2, 11)], Some(&[]));
    let heard = heard_at(&directory, None, &[27_999, 28_000]);
    assert_eq!(heard, [Placement::Wait, Placement::SessionUnknown]);
}

#[test]
fn nobody_is_sent_to_an_owner_that_has_withdrawn() {
    let shard = |beat| ShardView {
        nonce: OTHER,
        addr: addr(4002),
        beat,
        keys: KeyFingerprints::default(),
        ttl: TTL,
    };
    let mut directory = seen_alive();
    directory.handle_views(at(1_200), &[lease(OTHER, 3, 3)], Some(&[shard(1)]));
    let place = |directory: &Directory| directory.place(at(1_300), &zone(), None, RouteRequest::New);
    assert!(matches!(place(&directory), Placement::There { .. }));
    directory.handle_views(at(1_300), &[lease(OTHER, 3, 3)], Some(&[]));
    assert_eq!(place(&directory), Placement::Wait);
    directory.handle_views(at(1_300), &[lease(OTHER, 3, 4)], Some(&[]));
    assert!(
        matches!(place(&directory), Placement::There { .. }),
        "it renews: only its entry was lost"
    );
}

#[test]
fn nobody_is_sent_to_an_owner_that_has_released_the_zone() {
    let mut directory = seen_alive();
    let released = LeaseView {
        released: true,
        ..lease(OTHER, 3, 3)
    };
    directory.handle_views(at(1_200), &[released], Some(&[]));
    assert_eq!(
        directory.place(at(1_200), &zone(), None, RouteRequest::New),
        Placement::Wait
    );
}

#[test]
fn a_client_waits_while_the_leases_have_not_been_read() {
    let directory = Directory::new(ME, TTL, [zone()].into_iter());
    assert_eq!(
        directory.place(at(0), &zone(), None, RouteRequest::New),
        Placement::Wait
    );
}

#[test]
fn a_zone_that_the_world_does_not_have_is_unknown() {
    let nowhere = "nowhere".parse().unwrap();
    assert_eq!(
        seen_alive().place(at(1_500), &nowhere, None, RouteRequest::New),
        Placement::ZoneUnknown
    );
}

#[test]
fn peers_are_other_shards_whose_beat_moves() {
    let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
    let shard = |nonce, port, beat| ShardView {
        nonce,
        addr: addr(port),
        beat,
        keys: KeyFingerprints::default(),
        ttl: TTL,
    };
    directory.handle_views(
        at(0),
        &[],
        Some(&[shard(ME, 1, 1), shard(OTHER, 2, 1), shard(Nonce(3), 3, 1)]),
    );
    directory.handle_views(
        at(900),
        &[],
        Some(&[shard(ME, 1, 2), shard(OTHER, 2, 2), shard(Nonce(3), 3, 1)]),
    );
    assert_eq!(directory.peers(), [addr(2)]);
}

/// Returns a directory that saw the other shard announce itself, every second up to `last_s`.
fn with_a_peer(last_s: u64) -> Directory {
    let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
    for s in 0..=last_s {
        directory.handle_views(at(s * 1_000), &[], Some(&[peer(s)]));
    }
    directory
}

fn peer(beat: u64) -> ShardView {
    ShardView {
        nonce: OTHER,
        addr: addr(2),
        beat,
        keys: KeyFingerprints::default(),
        ttl: TTL,
    }
}

#[test]
fn peers_stay_while_nobody_can_look_and_for_as_long_afterwards_as_they_had_left() {
    let mut directory = with_a_peer(5);
    for s in 6..60 {
        // Leases are read, the directory of shards is not.
        directory.handle_views(at(s * 1_000), &[lease(OTHER, 3, s)], None);
        assert_eq!(directory.peers(), [addr(2)]);
    }
    directory.handle_views(at(60_000), &[], Some(&[peer(5)]));
    assert_eq!(directory.peers(), [addr(2)], "it could not say that it lives");
    for ms in (60_500..62_500).step_by(500) {
        directory.handle_views(at(ms), &[], Some(&[peer(5)]));
        assert_eq!(directory.peers(), [addr(2)]);
    }
    directory.handle_views(at(62_500), &[], Some(&[peer(5)]));
    assert_eq!(directory.peers(), [], "it could, and did not");
}

#[test]
fn peer_with_longer_leases_announces_itself_less_often() {
    let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
    let slow = |beat| ShardView {
        ttl: 5 * TTL,
        ..peer(beat)
    };
    for ms in (0..=14_500).step_by(500) {
        directory.handle_views(at(ms), &[], Some(&[slow(1 + u64::from(ms >= 1_000))]));
        assert_eq!(
            directory.peers().len(),
            usize::from((1_000..13_500).contains(&ms)),
            "{ms}"
        );
    }
}

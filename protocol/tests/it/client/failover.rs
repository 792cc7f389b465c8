//! An owner that falls silent, dies, moves, or wakes up again.

use std::time::Duration;

use everhold_protocol::client::{Failover, Notice};
use everhold_protocol::{Credential, Epoch, RefusalCode, ServerMessage, Tick};

use super::script::{Attach, SESSION, Script, addr, header, redirect, refused};

fn is_resume(credential: &Credential, secret_byte: u8, known_epoch: Epoch) -> bool {
    matches!(credential, Credential::Resume { session: SESSION, secret, epoch, .. }
        if *secret == [secret_byte; 32] && *epoch == known_epoch)
}

fn failover_of(notices: &[Notice]) -> Option<Failover> {
    notices.iter().find_map(|notice| match notice {
        Notice::Attached { failover, .. } => *failover,
        _ => None,
    })
}

#[test]
fn silence_parks_at_one_other_shard_and_then_at_a_second() {
    let (mut script, _) = Script::attached();
    script.advance(249);
    assert!(script.wants_no_connection());
    script.advance(1);
    let (_, first) = script.connect();
    assert_eq!(script.take_notices(), [Notice::Silent, Notice::Parked { addr: first }]);
    script.advance(74);
    assert!(script.wants_no_connection());
    script.advance(151);
    let (_, second) = script.connect();
    assert!(first != second && first != addr(1) && second != addr(1));
    script.advance(2_000);
    assert!(script.wants_no_connection());
}

#[test]
fn player_asks_those_whom_its_owner_named_last() {
    let (mut script, conn) = Script::attached();
    script.control(conn, ServerMessage::Peers(vec![addr(77)]));
    script.advance(250);
    let (_, asked) = script.connect();
    assert_eq!(asked, addr(77));
}

#[test]
fn false_alarm_makes_the_client_wait_longer_the_next_time() {
    let (mut script, old, _) = Script::parked();
    script.snapshot(old, header(1, Tick(101)));
    script.take_notices();
    script.advance(499);
    assert!(script.wants_no_connection(), "it was wrong after 250 ms");
    script.advance(1);
    script.connect();
}

#[test]
fn parked_connection_shows_the_secret_and_the_highest_epoch() {
    let (script, _, [(first, _), (second, _)]) = Script::parked();
    assert!(is_resume(&script.hello(first), 1, Epoch(1)) && is_resume(&script.hello(second), 1, Epoch(1)));
    assert!(script.closed.is_empty(), "the old connection is kept");
}

#[test]
fn adopter_takes_the_session_over() {
    let (mut script, old, [(first, _), (second, _)]) = Script::parked();
    let silent_at = Duration::from_millis(1_250);
    script.control(first, ServerMessage::Wait);
    script.control(second, ServerMessage::Wait);
    script.advance(4_000);
    script.control(second, Attach::epoch(2).message());
    assert_eq!(script.closed, [old, first]);
    let last_snapshot_at = Duration::from_secs(1);
    let failover = Failover {
        from_epoch: Epoch(1),
        to_epoch: Epoch(2),
        last_snapshot_at,
        silent_at,
        attached_at: script.now,
    };
    assert_eq!(failover_of(&script.take_notices()), Some(failover));
    script.snapshot(second, header(2, Tick(201)));
    assert!(matches!(script.take_notices()[..], [Notice::Snapshot { .. }]));
}

#[test]
fn gap_is_counted_from_the_last_snapshot_of_the_old_owner() {
    let (mut script, old) = Script::attached();
    script.advance(40);
    script.snapshot(old, header(1, Tick(101)));
    let shown_at = script.now;
    script.disconnected(old, None);
    let (conn, _) = script.connect();
    script.connected(conn);
    script.control(conn, Attach::epoch(2).message());
    assert_eq!(failover_of(&script.take_notices()).unwrap().last_snapshot_at, shown_at);
}

#[test]
fn old_owner_that_speaks_again_keeps_the_session() {
    let (mut script, old, [(first, _), (second, _)]) = Script::parked();
    script.snapshot(old, header(1, Tick(101)));
    assert_eq!(script.closed, [first, second]);
    assert!(matches!(script.take_notices()[..], [Notice::Snapshot { .. }]));
    script.control(first, Attach::epoch(2).message());
    assert_eq!(
        script.client.mirror().epoch,
        Epoch(1),
        "a closed connection is not heard"
    );
    script.advance(500);
    assert!(
        script.notices.contains(&Notice::Silent),
        "and its next silence is noticed, if a little later"
    );
}

#[test]
fn snapshot_of_another_epoch_does_not_end_the_parking() {
    let (mut script, old, _) = Script::parked();
    script.snapshot(old, header(2, Tick(300)));
    assert!(script.closed.is_empty());
    assert_eq!(script.take_notices(), []);
}

#[test]
fn clients_of_a_dead_shard_spread_over_its_peers() {
    let first = |seed| {
        let mut script = Script::seeded(seed);
        let conn = script.greeted_at(1);
        script.control(conn, Attach::epoch(1).message());
        script.disconnected(conn, None);
        script.connect().1
    };
    let at_second = (0..100).filter(|&seed| first(seed) == addr(2)).count();
    assert!((30..=70).contains(&at_second), "{at_second} of 100");
}

#[test]
fn control_message_of_the_owner_is_a_sign_of_life() {
    let (mut script, conn) = Script::attached();
    script.advance(200);
    script.control(conn, ServerMessage::Wait);
    script.advance(200);
    assert!(!script.notices.contains(&Notice::Silent));
}

#[test]
fn zombie_of_a_lower_epoch_is_not_heard() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.control(first, Attach::epoch(3).message());
    script.take_notices();
    script.control(second, Attach::epoch(2).message());
    script.snapshot(second, header(2, Tick(400)));
    script.snapshot(first, header(2, Tick(400)));
    assert_eq!(
        (script.client.mirror().epoch, script.client.mirror().tick),
        (Epoch(3), Tick(300))
    );
    assert_eq!(script.take_notices(), []);
}

#[test]
fn parked_shard_that_attaches_under_a_lower_epoch_is_dropped() {
    let (mut script, old, [(first, _), (second, _)]) = Script::parked();
    script.control(first, Attach::epoch(5).message());
    script.advance(250);
    let (conn, _) = script.connect();
    script.connected(conn);
    script.control(conn, Attach::epoch(4).message());
    assert_eq!(script.closed, [old, second, conn]);
    assert_eq!(script.client.mirror().epoch, Epoch(5));
}

#[test]
fn lost_connection_parks_at_once_and_asks_its_shard_last() {
    for peers in [vec![], vec![addr(2)], vec![addr(3), addr(2)], vec![addr(1), addr(3)]] {
        let (mut script, conn) = Script::attached();
        script.control(
            conn,
            Attach {
                peers,
                ..Attach::epoch(1)
            }
            .message(),
        );
        script.disconnected(conn, None);
        assert!(!script.client.is_attached());
        let mut asked = Vec::new();
        for _ in 0..3 {
            let (conn, addr) = script.connect();
            asked.push(addr);
            script.disconnected(conn, None);
        }
        assert_eq!(asked[2], addr(1));
        assert!(script.wants_no_connection());
    }
}

#[test]
fn silent_owner_that_is_lost_at_last_is_asked_after_the_others() {
    let (mut script, old, [(first, _), (second, _)]) = Script::parked();
    script.disconnected(first, None);
    script.disconnected(second, None);
    assert!(script.wants_no_connection());
    script.disconnected(old, None);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let (conn, addr) = script.connect();
        asked.push(addr);
        script.disconnected(conn, None);
    }
    assert_eq!(asked[2], addr(1));
}

#[test]
fn silent_owner_is_not_asked_on_another_connection() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.disconnected(first, None);
    script.disconnected(second, None);
    for _ in 0..4 {
        assert!(script.wants_no_connection(), "a round in vain is followed by a pause");
        script.advance(3_000);
        while !script.wants_no_connection() {
            let (conn, to) = script.connect();
            assert_ne!(to, addr(1));
            script.disconnected(conn, None);
        }
    }
}

#[test]
fn pauses_between_rounds_grow() {
    let (mut script, old) = Script::attached();
    script.disconnected(old, None);
    let mut rounds = Vec::new();
    for _ in 0..6 {
        let began = script.now;
        while script.wants_no_connection() {
            script.advance(1);
        }
        rounds.push((script.now - began).as_millis());
        while !script.wants_no_connection() {
            let (conn, _) = script.connect();
            script.disconnected(conn, None);
        }
    }
    assert!(
        rounds[1] <= 375 && rounds[2..].iter().all(|pause| (125..=3_000).contains(pause)),
        "{rounds:?}"
    );
    assert!(rounds[4] >= 1_000 && rounds[5] >= 1_000, "{rounds:?}");
}

#[test]
fn frames_to_a_silent_owner_do_not_shorten_a_pause() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.disconnected(first, None);
    script.disconnected(second, None);
    script.advance(124);
    assert!(script.wants_no_connection());
}

#[test]
fn second_shard_is_not_asked_while_a_redirect_is_followed() {
    let (mut script, _) = Script::attached();
    script.advance(250);
    let (first, _) = script.connect();
    script.connected(first);
    script.control(first, redirect(4, 2));
    script.greeted_at(4);
    script.advance(1_000);
    assert!(script.wants_no_connection());
}

#[test]
fn logout_while_parked_closes_what_is_parked() {
    let (mut script, old, [(first, _), (second, _)]) = Script::parked();
    script.logout();
    assert_eq!(script.closed, [first, second]);
    script.disconnected(old, None);
    assert!(script.client.is_finished());
}

#[test]
fn same_owner_answers_again_after_the_connection_was_lost() {
    let (mut script, old) = Script::attached();
    script.disconnected(old, None);
    let (conn, _) = script.connect();
    script.connected(conn);
    script.control(conn, redirect(1, 1));
    let again = script.greeted_at(1);
    script.take_notices();
    script.control(
        again,
        Attach {
            tick: Tick(105),
            secret: 7,
            ..Attach::epoch(1)
        }
        .message(),
    );
    assert!(matches!(
        script.take_notices()[..],
        [Notice::Attached {
            failover: None,
            rewound_ticks: 0,
            ..
        }]
    ));
}

#[test]
fn parked_shard_that_names_the_silent_owner_is_asked_again_later() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.control(first, redirect(1, 1));
    script.control(second, redirect(1, 1));
    assert_eq!(script.closed, [first, second]);
    assert!(script.wants_no_connection());
    script.advance(375);
    assert_ne!(script.connect().1, addr(1));
}

#[test]
fn silent_owner_under_a_higher_epoch_is_asked_on_a_new_connection() {
    let (mut script, _, [(first, _), _]) = Script::parked();
    script.control(first, redirect(1, 2));
    script.greeted_at(1);
}

#[test]
fn outdated_directory_is_asked_again_later() {
    let (mut script, old) = Script::attached();
    script.control(old, Attach::epoch(4).message());
    script.disconnected(old, None);
    for _ in 0..3 {
        let (conn, _) = script.connect();
        script.connected(conn);
        script.control(conn, redirect(2, 3));
    }
    assert!(script.wants_no_connection());
    script.advance(375);
    assert!(!script.wants_no_connection());
}

#[test]
fn parked_shard_redirects_to_the_adopter() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.control(first, redirect(4, 2));
    let adopter = script.greeted_at(4);
    script.control(adopter, Attach::epoch(2).message());
    assert!(script.closed.contains(&second));
    assert!(is_resume(&script.hello(adopter), 1, Epoch(1)));
    assert!(script.client.is_attached());
}

#[test]
fn planned_move_keeps_the_old_connection_until_the_new_one_answers() {
    let (mut script, old) = Script::attached();
    script.control(old, redirect(2, 2));
    let new = script.greeted_at(2);
    script.snapshot(old, header(1, Tick(101)));
    assert!(script.closed.is_empty());
    script.control(new, Attach::epoch(2).message());
    assert_eq!(script.closed, [old]);
    assert!(failover_of(&script.take_notices()).is_some());
}

#[test]
fn lost_answer_is_asked_for_again_with_the_secret_at_hand() {
    let (mut script, old) = Script::attached();
    script.disconnected(old, None);
    let (first, _) = script.connect();
    script.connected(first);
    script.disconnected(first, None);
    let (second, _) = script.connect();
    script.connected(second);
    assert!(is_resume(&script.hello(second), 1, Epoch(1)));
    script.control(
        second,
        Attach {
            secret: 9,
            ..Attach::epoch(2)
        }
        .message(),
    );
    script.disconnected(second, None);
    let (third, _) = script.connect();
    script.connected(third);
    assert!(is_resume(&script.hello(third), 9, Epoch(2)));
}

#[test]
fn resume_that_is_not_answered_is_tried_elsewhere() {
    let (mut script, old) = Script::attached();
    script.disconnected(old, None);
    let (first, _) = script.connect();
    script.connected(first);
    script.advance(225);
    let (second, _) = script.connect();
    script.connected(second);
    script.control(second, ServerMessage::Wait);
    script.advance(3_000);
    assert_eq!(script.closed, [first], "the one that waits is kept");
}

#[test]
fn unknown_session_ends_the_machine() {
    let (mut script, _, [(first, _), _]) = Script::parked();
    script.control(first, refused(RefusalCode::SessionUnknown));
    assert!(script.client.is_finished() && !script.client.is_attached());
    assert!(matches!(
        script.take_notices()[..],
        [Notice::Refused {
            code: RefusalCode::SessionUnknown,
            ..
        }]
    ));
}

#[test]
fn newer_login_elsewhere_ends_the_machine() {
    let (mut script, conn) = Script::attached();
    script.control(conn, ServerMessage::Superseded);
    assert_eq!(script.take_notices(), [Notice::Superseded]);
    assert!(script.client.is_finished());
}

#[test]
fn attach_that_the_client_itself_gave_up_does_not_end_it() {
    let (mut script, old, _) = Script::parked();
    script.snapshot(old, header(1, Tick(101)));
    script.take_notices();
    // A parked `Hello` had been attached all the same.
    script.control(old, ServerMessage::Superseded);
    assert!(!script.client.is_finished());
    let (conn, _) = script.connect();
    script.connected(conn);
    script.control(
        conn,
        Attach {
            tick: Tick(110),
            ..Attach::epoch(1)
        }
        .message(),
    );
    assert!(script.client.is_attached());
}

#[test]
fn stopping_owner_is_left_at_once() {
    let (mut script, conn) = Script::attached();
    script.disconnected(conn, Some(RefusalCode::Stopping));
    assert!(!script.client.is_finished() && !script.wants_no_connection());
}

#[test]
fn ticks_shown_before_and_not_had_after_are_counted() {
    let (mut script, old) = Script::attached();
    script.snapshot(old, header(1, Tick(250)));
    script.disconnected(old, None);
    let (conn, _) = script.connect();
    script.connected(conn);
    script.take_notices();
    script.control(
        conn,
        Attach {
            tick: Tick(240),
            ..Attach::epoch(2)
        }
        .message(),
    );
    assert!(matches!(
        script.take_notices()[0],
        Notice::Attached { rewound_ticks: 10, .. }
    ));
}

//! Logging in: the shard that is asked, the target of a redirect, the end by a refusal.

use everhold_protocol::client::{Busy, Notice};
use everhold_protocol::{ClientMessage, Credential, Epoch, Heading, Intent, RefusalCode, ServerMessage, Tick};

use super::script::{Attach, SESSION, Script, addr, own, redirect, refused};

#[test]
fn login_at_the_owner_attaches() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    assert_eq!(script.hello(conn), Credential::Ticket(vec![1, 2, 3]));
    script.control(
        conn,
        Attach {
            event_seq: 9,
            events_forgotten: 9,
            last_input_seq: 4,
            ..Attach::epoch(1)
        }
        .message(),
    );
    assert!(script.client.is_attached());
    let mirror = script.client.mirror();
    assert_eq!(
        (mirror.session, mirror.epoch, mirror.tick),
        (Some(SESSION), Epoch(1), Tick(100))
    );
    assert_eq!((mirror.event_seq, mirror.last_confirmed, &mirror.own), (9, 4, &own()));
    let notices = script.take_notices();
    assert!(
        matches!(
            notices[..],
            [Notice::Attached {
                epoch: Epoch(1),
                lost_inputs: 0,
                failover: None,
                ..
            }]
        ),
        "{notices:?}"
    );
}

#[test]
fn unreachable_shard_is_passed_over() {
    let mut script = Script::start();
    let (first, _) = script.connect();
    script.disconnected(first, None);
    assert!(matches!(script.notices[..], [Notice::Disconnected { .. }]));
    script.greeted_at(2);
}

#[test]
fn shard_that_does_not_answer_is_given_up() {
    let mut script = Script::start();
    let (first, _) = script.connect();
    script.advance(2_999);
    assert!(script.wants_no_connection());
    script.advance(1);
    assert_eq!(script.closed, [first]);
    assert_eq!(script.connect().1, addr(2));
}

#[test]
fn ticket_is_never_shown_while_an_earlier_hello_may_still_be_answered() {
    let mut script = Script::start();
    script.greeted_at(1);
    script.advance(60_000);
    assert!(script.wants_no_connection());
}

#[test]
fn round_in_vain_is_followed_by_a_pause() {
    let mut script = Script::start();
    for n in 1..=3 {
        let conn = script.greeted_at(n);
        script.disconnected(conn, None);
    }
    script.advance(124);
    assert!(script.wants_no_connection());
    script.advance(251);
    script.greeted_at(1);
}

#[test]
fn redirect_is_followed_with_the_same_ticket() {
    let mut script = Script::start();
    let first = script.greeted_at(1);
    script.control(first, redirect(3, 1));
    assert_eq!(script.closed, [first]);
    let owner = script.greeted_at(3);
    assert_eq!(script.hello(owner), Credential::Ticket(vec![1, 2, 3]));
    script.control(owner, Attach::epoch(1).message());
    assert!(script.client.is_attached());
}

#[test]
fn redirects_in_a_circle_end_in_a_pause() {
    let mut script = Script::start();
    for n in [1, 2, 1, 2, 1] {
        let conn = script.greeted_at(n);
        script.control(conn, redirect(3 - n, 1));
    }
    assert!(script.wants_no_connection());
    script.advance(375);
    assert!(!script.wants_no_connection());
}

#[test]
fn wait_keeps_the_connection_until_the_shard_says_more() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, ServerMessage::Wait);
    script.advance(30_000);
    assert!(script.wants_no_connection() && script.closed.is_empty());
    script.control(conn, Attach::epoch(1).message());
    assert!(script.client.is_attached());
}

#[test]
fn full_shard_is_passed_over() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, refused(RefusalCode::Full));
    assert!(matches!(
        script.notices[0],
        Notice::Refused {
            code: RefusalCode::Full,
            ..
        }
    ));
    assert!(!script.client.is_finished());
    script.greeted_at(2);
}

#[test]
fn final_refusal_ends_the_machine() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, refused(RefusalCode::TicketUsed));
    assert!(script.client.is_finished());
    assert!(matches!(
        script.notices[..],
        [Notice::Refused {
            code: RefusalCode::TicketUsed,
            ..
        }]
    ));
    script.advance(60_000);
    assert!(script.wants_no_connection());
}

#[test]
fn final_refusal_whose_message_was_lost_is_known_by_its_close_code() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.disconnected(conn, Some(RefusalCode::Version));
    assert!(script.client.is_finished());
    assert!(matches!(
        script.notices[..],
        [Notice::Refused {
            code: RefusalCode::Version,
            ..
        }]
    ));
}

#[test]
fn intents_before_the_first_attach_are_not_taken() {
    let mut script = Script::start();
    script.greeted_at(1);
    assert_eq!(
        script.client.push_intent(script.now, Intent::Move(Heading::STILL)),
        Err(Busy)
    );
}

#[test]
fn saved_secret_resumes_a_session_in_a_new_machine() {
    let zone = "meadow".parse().unwrap();
    let saved = Credential::Resume {
        zone,
        session: SESSION,
        secret: [9; 32],
        epoch: Epoch(4),
        event_seq: 6,
    };
    let mut script = Script::start_with(saved.clone(), vec![addr(1)], 1);
    let conn = script.greeted_at(1);
    assert_eq!(script.hello(conn), saved);
    script.control(
        conn,
        Attach {
            event_seq: 6,
            last_input_seq: 5,
            ..Attach::epoch(4)
        }
        .message(),
    );
    assert_eq!(
        script.client.push_intent(script.now, Intent::Move(Heading::STILL)),
        Ok(6)
    );
    let notices = script.take_notices();
    assert!(
        matches!(
            notices[..],
            [Notice::Attached {
                lost_inputs: 0,
                failover: None,
                ..
            }]
        ),
        "{notices:?}"
    );
}

#[test]
fn logout_ends_when_the_server_closes() {
    let (mut script, conn) = Script::attached();
    script.logout();
    assert_eq!(script.sent.back(), Some(&(conn, ClientMessage::Logout)));
    assert!(!script.client.is_finished());
    script.disconnected(conn, Some(RefusalCode::Bye));
    assert!(script.client.is_finished());
    assert_eq!(script.take_notices(), [], "the log-out is stored");
}

#[test]
fn logout_that_is_answered_by_anything_but_goodbye_was_not_heard() {
    for code in [
        RefusalCode::Stopping,
        RefusalCode::Superseded,
        RefusalCode::SessionUnknown,
    ] {
        let (mut script, conn) = Script::attached();
        script.logout();
        script.control(conn, refused(code));
        assert!(script.client.is_finished());
        assert_eq!(script.take_notices(), [Notice::LogoutUnheard], "{code:?}");
    }
}

#[test]
fn logout_ends_although_the_server_does_not_answer() {
    let (mut script, conn) = Script::attached();
    script.logout();
    script.advance(3_000);
    assert!(script.client.is_finished());
    assert_eq!(script.closed, [conn]);
    assert_eq!(script.take_notices(), [Notice::LogoutUnheard]);
}

#[test]
fn logout_that_is_answered_by_a_redirect_was_not_heard() {
    let (mut script, conn) = Script::attached();
    script.logout();
    script.control(conn, redirect(2, 9));
    assert!(script.client.is_finished());
    assert_eq!(script.take_notices(), [Notice::LogoutUnheard]);
}

#[test]
fn logout_whose_connection_is_lost_was_not_heard() {
    let (mut script, conn) = Script::attached();
    script.logout();
    script.disconnected(conn, None);
    assert!(script.client.is_finished());
    assert_eq!(script.take_notices().last(), Some(&Notice::LogoutUnheard));
}

#[test]
fn logout_between_two_owners_is_heard_by_nobody() {
    let (mut script, conn) = Script::attached();
    script.disconnected(conn, None);
    script.take_notices();
    script.logout();
    assert!(script.client.is_finished());
    assert_eq!(script.take_notices(), [Notice::LogoutUnheard]);
}

//! A shard that has too much to do: slower time, a queue, a refusal.

use everhold_protocol::client::Notice;
use everhold_protocol::{RefusalCode, ServerMessage, SnapshotHeader, Tick};

use super::script::{Attach, Script, header, refused};

fn queued(position: u32) -> ServerMessage {
    ServerMessage::Queued { position }
}

/// Returns a client whose owner's time runs at this speed, 255ths, from tick 101 on.
fn slowed(dilation: u8) -> (Script, everhold_protocol::client::ConnId) {
    let (mut script, conn) = Script::attached();
    script.snapshot(
        conn,
        SnapshotHeader {
            dilation,
            ..header(1, Tick(101))
        },
    );
    script.take_frames();
    (script, conn)
}

#[test]
fn queued_client_is_told_its_place_and_asks_nowhere_else() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, queued(7));
    script.control(conn, queued(3));
    assert_eq!(
        script.take_notices(),
        [Notice::Queued { position: 7 }, Notice::Queued { position: 3 }]
    );
    script.advance(600_000);
    assert!(script.wants_no_connection() && script.closed.is_empty());
    script.control(conn, Attach::epoch(1).message());
    assert!(script.client.is_attached());
}

#[test]
fn queued_client_that_loses_its_connection_asks_the_next_shard() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, queued(7));
    script.disconnected(conn, None);
    script.greeted_at(2);
}

#[test]
fn attached_client_is_not_queued() {
    let (mut script, conn) = Script::attached();
    script.control(conn, queued(1));
    assert_eq!(script.take_notices(), []);
    assert!(script.client.is_attached());
}

#[test]
fn client_that_an_overloaded_shard_refused_stays_away_for_a_while() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(conn, refused(RefusalCode::Overloaded));
    script.advance(4_999);
    assert!(
        script.wants_no_connection(),
        "other shards would only send it back to the same owner"
    );
    script.advance(10_002);
    script.connect();
    assert!(!script.client.is_finished());
}

#[test]
fn frames_are_sent_at_the_speed_of_game_time() {
    let (mut script, conn) = slowed(128);
    script.take_notices();
    for tick in (102..122).map(Tick) {
        script.advance(100);
        script.snapshot(
            conn,
            SnapshotHeader {
                dilation: 128,
                ..header(1, tick)
            },
        );
    }
    assert!(
        (5..=6).contains(&script.take_frames().len()),
        "one in four ticks, as at full speed"
    );
    script.snapshot(conn, header(1, Tick(122)));
    script.advance(400);
    assert!((1..=2).contains(&script.take_frames().len()), "and at full speed again");
}

#[test]
fn owner_that_ticks_slowly_is_not_called_silent_sooner() {
    let (mut script, _) = slowed(128);
    script.take_notices();
    script.advance(490);
    assert_eq!(script.take_notices(), []);
    script.advance(20);
    assert_eq!(script.take_notices()[0], Notice::Silent);
}

#[test]
fn owner_that_says_time_stands_still_does_not_silence_its_client() {
    let (mut script, _) = slowed(0);
    script.advance(2_000);
    assert!(script.take_frames().len() >= 3);
}

#[test]
fn new_owner_is_thought_to_be_at_full_speed() {
    let (mut script, old) = slowed(128);
    assert_eq!(script.client.speed(), 128);
    script.disconnected(old, None);
    let (conn, _) = script.connect();
    script.connected(conn);
    script.control(conn, Attach::epoch(2).message());
    assert_eq!(script.client.speed(), 255);
}

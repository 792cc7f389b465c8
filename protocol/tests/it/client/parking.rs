//! Parking of a client whose owner has fallen silent: after which pause, and at how many shards.

use everhold_protocol::client::Notice;
use everhold_protocol::{ServerMessage, Tick};

use super::script::{Attach, Script, header, redirect};

/// Returns the milliseconds from a noticed silence to parking.
fn pause(script: &mut Script) -> u64 {
    let pause = (0..).find(|_| {
        let parked = !script.wants_no_connection();
        script.advance(u64::from(!parked));
        parked
    });
    pause.expect("it parks some time")
}

#[test]
fn clients_that_lose_their_shard_together_park_one_after_the_other() {
    let mut pauses: Vec<u64> = (0..100)
        .map(|seed| {
            let (mut script, _) = Script::attached_spread(100, seed);
            script.advance(250);
            assert_eq!(script.take_notices()[0], Notice::Silent, "it is noticed by all at once");
            pause(&mut script)
        })
        .collect();
    pauses.sort_unstable();
    assert!(pauses[0] < 20 && pauses[99] > 80 && pauses[99] <= 100, "{pauses:?}");
    assert!((30..70).contains(&pauses[50]), "{pauses:?}");
}

#[test]
fn each_silence_has_a_pause_of_its_own() {
    let (mut script, old) = Script::attached_spread(100, 1);
    let mut pauses = Vec::new();
    for tick in (101..106).map(Tick) {
        script.advance(2_000);
        script.snapshot(old, header(1, tick));
        script.take_notices();
        while script.take_notices().is_empty() {
            script.advance(1);
        }
        pauses.push(pause(&mut script));
        let (conn, _) = script.connect();
        script.disconnected(conn, None);
    }
    pauses.dedup();
    assert!(pauses.len() > 2, "{pauses:?}");
}

#[test]
fn owner_that_speaks_again_during_the_pause_costs_no_handshake() {
    let (mut script, old) = Script::attached_spread(100, 1);
    script.advance(250);
    assert_eq!(script.take_notices(), [Notice::Silent]);
    script.snapshot(old, header(1, Tick(101)));
    script.advance(200);
    assert!(script.wants_no_connection());
}

#[test]
fn owner_that_is_lost_during_the_pause_ends_it() {
    let (mut script, old) = Script::attached_spread(100, 1);
    script.advance(250);
    assert!(script.wants_no_connection());
    script.disconnected(old, None);
    script.connect();
}

#[test]
fn owner_that_sends_its_client_on_during_the_pause_ends_it() {
    let (mut script, old) = Script::attached_spread(100, 1);
    script.advance(250);
    script.control(old, redirect(2, 2));
    script.greeted_at(2);
}

#[test]
fn second_shard_is_not_asked_soon_when_the_first_has_said_wait() {
    let (mut script, _) = Script::attached();
    script.advance(250);
    let (first, _) = script.connect();
    script.connected(first);
    script.control(first, ServerMessage::Wait);
    script.advance(999);
    assert!(script.wants_no_connection(), "it lives, and will say more");
    script.advance(2_001);
    let (second, _) = script.connect();
    script.connected(second);
    script.control(second, Attach::epoch(2).message());
    assert!(script.closed.contains(&first), "but it is not all that there is");
}

#[test]
fn second_connection_to_one_shard_takes_the_place_of_the_first_in_whatever_order_they_are_read() {
    for waits_first in [true, false] {
        let (mut script, old, [(first, _), (second, _)]) = Script::parked();
        script.disconnected(old, None);
        script.control(first, ServerMessage::Wait);
        let mut answers = [(first, ServerMessage::Superseded), (second, ServerMessage::Wait)];
        if waits_first {
            answers.reverse();
        }
        for (conn, message) in answers {
            script.control(conn, message);
        }
        assert!(!script.client.is_finished(), "{waits_first}: it is its own doing");
        script.control(second, Attach::epoch(2).message());
        assert!(script.client.is_attached());
        script.control(second, ServerMessage::Superseded);
        assert!(script.client.is_finished(), "{waits_first}: that one is another's");
    }
}

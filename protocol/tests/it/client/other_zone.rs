//! A session that goes to another zone, whose epochs are its own.

use everhold_protocol::client::{ConnId, Notice};
use everhold_protocol::{Credential, Epoch, ServerMessage, Tick, ZoneName};

use super::script::{Attach, Script, header, redirect, redirect_to};

fn attach(zone: &'static str, epoch: u32) -> ServerMessage {
    Attach {
        zone,
        ..Attach::epoch(epoch)
    }
    .message()
}

/// Returns zone and epoch of the last `Hello`.
fn asked(script: &Script, conn: ConnId) -> (ZoneName, Epoch) {
    match script.hello(conn) {
        Credential::Resume { zone, epoch, .. } => (zone, epoch),
        Credential::Ticket(_) => panic!("a ticket is shown"),
    }
}

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

/// Returns a client that was in the meadow under epoch 5, and is in the forest at shard 2 under epoch 2.
fn moved() -> (Script, ConnId) {
    let mut script = Script::start();
    let old = script.greeted_at(1);
    script.control(old, attach("meadow", 5));
    script.control(old, redirect_to("forest", 2, 2));
    let new = script.greeted_at(2);
    assert_eq!(
        asked(&script, new),
        (zone("forest"), Epoch::NONE),
        "it knows no epoch of that zone"
    );
    script.take_notices();
    script.control(new, attach("forest", 2));
    assert_eq!(script.closed, [old]);
    (script, new)
}

#[test]
fn lower_epoch_of_another_zone_takes_the_session_over() {
    let (mut script, new) = moved();
    let notices = script.take_notices();
    let attached = notices.iter().find_map(|notice| match notice {
        Notice::Attached {
            zone,
            epoch,
            failover,
            rewound_ticks,
            ..
        } => Some((zone.clone(), *epoch, *failover, *rewound_ticks)),
        _ => None,
    });
    assert_eq!(
        attached,
        Some((zone("forest"), Epoch(2), None, 0)),
        "nobody failed, and nothing was taken back"
    );
    script.snapshot(new, header(2, Tick(201)));
    assert!(matches!(script.take_notices()[..], [Notice::Snapshot { .. }]));
}

#[test]
fn silent_owner_of_the_new_zone_is_looked_for_under_its_own_epoch() {
    let (mut script, _) = moved();
    script.advance(250);
    let (conn, _) = script.connect();
    script.connected(conn);
    assert_eq!(asked(&script, conn), (zone("forest"), Epoch(2)));
    script.control(conn, attach("forest", 1));
    assert_eq!(
        script.client.mirror().epoch,
        Epoch(2),
        "a lower epoch of this zone is a zombie's"
    );
}

#[test]
fn zombie_of_a_zone_that_was_left_is_not_heard_on_the_way_back() {
    let (mut script, new) = moved();
    script.control(new, redirect_to("meadow", 3, 4));
    assert!(script.wants_no_connection(), "the meadow has been seen under epoch 5");
    script.control(new, redirect_to("meadow", 3, 5));
    let back = script.greeted_at(3);
    assert_eq!(asked(&script, back), (zone("meadow"), Epoch(5)));
    script.control(back, attach("meadow", 4));
    assert_eq!(script.client.mirror().epoch, Epoch(2));
}

#[test]
fn shard_that_serves_both_zones_is_asked_again_over_a_connection_of_its_own() {
    let (mut script, old) = Script::attached();
    script.control(old, redirect(1, 1));
    assert!(script.wants_no_connection(), "that is where it is");
    script.control(old, redirect_to("forest", 1, 1));
    let new = script.greeted_at(1);
    assert_eq!(asked(&script, new), (zone("forest"), Epoch::NONE));
}

#[test]
fn one_parked_there_for_the_old_zone_makes_way() {
    let (mut script, old, [(first, to), _]) = Script::parked();
    let n = to.port() - super::script::addr(0).port();
    script.control(old, redirect_to("forest", n, 1));
    assert!(script.closed.contains(&first));
    let new = script.greeted_at(n);
    assert_eq!(asked(&script, new), (zone("forest"), Epoch::NONE));
}

#[test]
fn home_in_another_zone_than_the_ticket_names_may_have_any_epoch() {
    let mut script = Script::start();
    let first = script.greeted_at(1);
    script.control(first, redirect_to("forest", 3, 1));
    let second = script.greeted_at(3);
    assert_eq!(script.hello(second), Credential::Ticket(vec![1, 2, 3]));
    script.control(second, attach("forest", 1));
    assert_eq!(script.client.mirror().epoch, Epoch(1));
}

//! Ends: of connections, of sessions, of zones, and of the shard.

use super::*;

#[test]
fn connection_that_ends_in_a_zone_is_told_to_it_once() {
    let mut shard = Shard::with_meadow(10);
    shard.log_in(1, 1);
    assert_eq!(shard.gone(1), ["1 detach meadow"]);
    assert!(shard.gone(1).is_empty());
}

#[test]
fn logout_is_told_to_the_zone_once_and_its_end_is_no_detach() {
    let mut shard = Shard::with_meadow(10);
    shard.log_in(1, 1);
    assert_eq!(shard.logout(1), ["1 logout meadow"]);
    assert!(shard.logout(1).is_empty());
    assert!(shard.gone(1).is_empty());
}

#[test]
fn logout_of_a_connection_that_waits_is_done_when_it_attaches_and_takes_no_players_place() {
    let mut shard = Shard::new(1);
    shard.log_in(1, 1);
    assert!(shard.logout(1).is_empty());
    assert_eq!(shard.zone_up("meadow", 1), ["1 join meadow leave"]);
    assert!(shard.logout(1).is_empty(), "it is on its way");
    assert_eq!(shard.log_in(2, 2), ["2 join meadow"]);
    assert!(shard.gone(1).is_empty());
}

#[test]
fn logout_that_no_zone_takes_is_refused() {
    let mut shard = Shard::with_meadow(10);
    for conn in [1, 2] {
        shard.log_in(conn, conn);
    }
    assert_eq!(shard.logout(1), ["1 logout meadow"]);
    shard.routing.handle_logout_failed(token(1));
    assert_eq!(
        shard.commands(),
        ["1 refused Stopping"],
        "the zone was over before it heard"
    );
    shard.zone_ended("meadow", 1);
    assert_eq!(shard.logout(2), ["2 refused Stopping"]);
}

#[test]
fn attach_with_a_logout_that_the_inbox_did_not_take_is_refused() {
    let mut shard = Shard::new(1);
    shard.log_in(1, 1);
    shard.logout(1);
    shard.zone_up("meadow", 1);
    shard.routing.handle_attach_failed(token(1));
    assert_eq!(shard.commands(), ["1 refused Full"]);
    assert_eq!(shard.log_in(2, 2), ["2 join meadow"]);
}

#[test]
fn end_of_an_earlier_grant_says_nothing_of_the_zone() {
    let mut shard = Shard::with_meadow(10);
    shard.zone_up("meadow", 2);
    assert!(shard.zone_ended("meadow", 1).is_empty());
    assert_eq!(shard.log_in(1, 1), ["1 join meadow"]);
    assert_eq!(shard.zone_ended("meadow", 2), ["forget meadow"]);
    assert_eq!(shard.log_in(2, 2), ["2 wait"]);
}

#[test]
fn clients_of_a_zone_that_ended_are_not_told_to_its_next_host() {
    let mut shard = Shard::with_meadow(1);
    shard.log_in(1, 1);
    shard.zone_ended("meadow", 1);
    shard.zone_up("meadow", 2);
    assert!(shard.gone(1).is_empty());
    assert_eq!(
        shard.log_in(2, 2),
        ["2 join meadow"],
        "it counts no players of its predecessor"
    );
}

#[test]
fn newcomer_that_queued_is_let_in_when_its_zone_comes_back_though_its_ticket_has_expired() {
    let mut shard = Shard::with_meadow(1);
    shard.log_in(1, 1);
    assert_eq!(heard(shard.log_in(2, 2)), ["2 queued 1"]);
    shard.zone_ended("meadow", 1);
    let forest = TicketClaims {
        zone: zone("forest"),
        ..claims(3, 3)
    };
    assert_eq!(shard.log_in_with(3, forest), ["3 wait"], "it never queued");
    shard.advance(TICKET_GOOD_S * 10);
    assert_eq!(shard.pulse(), ["3 refused TicketExpired"]);
    assert_eq!(shard.zone_up("meadow", 2), ["2 join meadow"]);
}

#[test]
fn newcomer_that_queued_here_too_long_for_any_other_shard_is_told_so() {
    for (seconds, said) in [
        (0, "2 redirect meadow 4002 2"),
        (TICKET_GOOD_S * 10, "2 refused TicketExpired"),
    ] {
        let mut shard = Shard::with_meadow(1);
        shard.log_in(1, 1);
        shard.log_in(2, 2);
        assert_eq!(shard.zone_ended("meadow", 1), ["forget meadow"]);
        shard.advance(seconds);
        assert!(shard.pulse().is_empty());
        assert_eq!(shard.served_elsewhere("meadow", 2), [said]);
    }
}

#[test]
fn shard_that_stops_refuses_those_that_wait_and_all_that_come_and_leaves_players_to_their_zone() {
    let mut shard = Shard::with_meadow(1);
    shard.log_in(1, 1);
    shard.log_in(2, 2);
    shard.log_in_with(
        3,
        TicketClaims {
            zone: zone("forest"),
            ..claims(3, 3)
        },
    );
    shard.routing.handle_close();
    assert_eq!(shard.turns(), ["2 refused Stopping", "3 refused Stopping"]);
    assert_eq!(shard.log_in(4, 4), ["4 refused Stopping"]);
    assert_eq!(shard.gone(1), ["1 detach meadow"]);
    assert!(shard.pulse().is_empty(), "the queue is empty");
}

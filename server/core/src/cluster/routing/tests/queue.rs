//! The login queue as clients see it: who enters at once, who waits at which position, and who is refused.

use everhold_protocol::Epoch;

use super::*;
use crate::ingress::{Input, Join, Resume};
use crate::limits::{LOGIN_QUEUE_MAX, TICKET_MEMORY_SLACK_S};

/// A shard whose meadow is full with accounts 1 and 2 on connections 1 and 2, which live there.
fn full() -> Shard {
    let mut shard = Shard::with_meadow(2);
    for conn in [1, 2] {
        assert_eq!(shard.log_in(conn, conn), [format!("{conn} join meadow")]);
        shard.local.conns.insert(token(conn), ConnStatus::Attached);
        let taken = [
            Residence::Taken(Account(conn)),
            Residence::TicketSpent(ticket_id(conn), Tick(9_999)),
        ];
        shard.meadow().residents.handle_tick(Tick(1_000), &taken);
    }
    shard
}

#[test]
fn newcomer_queues_while_the_zone_is_full_and_is_counted() {
    let mut shard = full();
    let said = ["3 queued 1", "meter meadow Queued", "meter meadow Length(1)"];
    assert_eq!(shard.log_in(3, 3), said);
    assert_eq!(heard(shard.log_in(4, 4)), ["4 queued 2"]);
    assert_eq!(shard.pulse(), ["meter meadow Length(2)"], "nothing has changed");
}

#[test]
fn clients_with_a_character_in_the_world_enter_past_the_queue() {
    let mut shard = full();
    shard.log_in(3, 3);
    assert_eq!(shard.log_in(4, 1), ["4 join meadow"], "a ticket of a resident");
    assert_eq!(shard.resume(5, 7), ["5 resume meadow"], "a secret");
    assert_eq!(
        heard(shard.log_in(6, 6)),
        ["6 queued 2"],
        "the newcomer has its place still"
    );
}

#[test]
fn spent_ticket_neither_waits_nor_takes_the_place_of_its_account() {
    let mut shard = full();
    assert_eq!(shard.log_in_with(3, claims(1, 1)), ["3 refused TicketUsed"]);
    shard.log_in(4, 4);
    assert_eq!(
        shard.log_in_with(5, claims(4, 2)),
        ["5 refused TicketUsed"],
        "another's ticket"
    );
    assert_eq!(heard(shard.log_in(6, 6)), ["6 queued 2"]);
}

#[test]
fn later_login_of_an_account_keeps_the_place_of_the_earlier_one() {
    let mut shard = full();
    shard.log_in(3, 3);
    shard.log_in(4, 4);
    shard.logout(3);
    assert_eq!(heard(shard.log_in(5, 3)), ["3 refused Superseded", "5 queued 1"]);
    assert!(heard(shard.gone(3)).is_empty());
    shard.gone(1);
    assert_eq!(
        heard(shard.pulse()),
        ["4 queued 1", "5 join meadow"],
        "the log-out was the earlier connection's"
    );
}

#[test]
fn secret_of_the_account_moves_no_newcomer_out_of_the_queue() {
    let mut shard = full();
    assert_eq!(heard(shard.log_in(3, 1_000)), ["3 queued 1"]);
    let login = Login::Resume(ResumeClaim {
        account: Account(1_000),
        zone: meadow(),
        session: SessionId::new(1, 2),
        secret: [9; 32],
        epoch: Epoch(1),
        event_seq: 0,
    });
    shard.routing.handle_login(at!(shard), token(4), login);
    assert_eq!(shard.commands(), ["4 resume meadow"], "the zone compares it");
    // Both the thief and one player are gone: there is room for one.
    shard.gone(4);
    shard.gone(1);
    assert_eq!(heard(shard.pulse()), ["3 join meadow"]);
}

#[test]
fn players_that_leave_make_room_for_as_many_newcomers_in_the_order_of_their_coming() {
    let mut shard = full();
    for conn in 3..=5 {
        shard.log_in(conn, conn);
    }
    assert_eq!(shard.gone(1), ["1 detach meadow"]);
    assert_eq!(heard(shard.pulse()), ["4 queued 1", "5 queued 2", "3 join meadow"]);
    assert!(heard(shard.pulse()).is_empty(), "it is full again");
}

#[test]
fn clients_that_wait_for_a_zone_fill_it_to_its_limit_in_one_turn_and_queue_beyond() {
    let mut shard = Shard::new(2);
    for conn in 1..=4 {
        shard.log_in(conn, conn);
    }
    let said = heard(shard.zone_up("meadow", 1));
    assert_eq!(said, ["3 queued 1", "4 queued 2", "1 join meadow", "2 join meadow"]);
}

#[test]
fn connection_that_the_inbox_did_not_take_is_refused_and_leaves_its_place() {
    let mut shard = full();
    shard.log_in(3, 3);
    shard.log_in(4, 4);
    shard.gone(2);
    assert_eq!(heard(shard.pulse()), ["4 queued 1", "3 join meadow"]);
    shard.routing.handle_attach_failed(token(3));
    assert_eq!(shard.commands(), ["3 refused Full"]);
    assert!(shard.gone(3).is_empty(), "the zone knows nothing of it");
    assert_eq!(heard(shard.pulse()), ["4 join meadow"]);
}

#[test]
fn ladder_lets_newcomers_wait_and_at_its_end_refuses_them() {
    let table = [
        (Rung::Normal, vec!["1 join meadow"]),
        (Rung::Slower, vec!["1 join meadow"]),
        (
            Rung::Queue,
            vec!["1 queued 1", "meter meadow Queued", "meter meadow Length(1)"],
        ),
        (Rung::Refuse, vec!["meter meadow Refused", "1 refused Overloaded"]),
    ];
    for (rung, said) in table {
        let mut shard = Shard::with_meadow(10);
        shard.meadow().status.rung = rung;
        assert_eq!(shard.log_in(1, 1), said, "{rung}");
        assert_eq!(shard.resume(2, 7), ["2 resume meadow"], "{rung}");
    }
}

#[test]
fn strained_zone_admits_none_of_those_that_wait() {
    let mut shard = full();
    shard.log_in(3, 3);
    shard.gone(1);
    shard.meadow().status.rung = Rung::Queue;
    assert_eq!(shard.pulse(), ["meter meadow Length(1)"]);
    shard.meadow().status.rung = Rung::Slower;
    assert_eq!(shard.pulse(), ["meter meadow Length(0)", "3 join meadow"]);
}

#[test]
fn newcomer_is_refused_when_as_many_wait_as_may() {
    let mut shard = full();
    let last = 2 + LOGIN_QUEUE_MAX as u64;
    for conn in 3..=last {
        shard.log_in(conn, conn);
    }
    let refused = format!("{} refused Overloaded", last + 1);
    assert_eq!(heard(shard.log_in(last + 1, last + 1)), [refused]);
}

#[test]
fn zone_that_runs_no_longer_admits_no_client_before_its_end_is_told() {
    let mut shard = full();
    shard.log_in(3, 3);
    shard.gone(1);
    shard.meadow().status.hosted = None;
    assert!(shard.pulse().is_empty());
    assert_eq!(shard.log_in(4, 4), ["4 wait"]);
}

#[test]
fn newcomer_that_leaves_the_queue_lets_the_others_move_up() {
    let mut shard = full();
    shard.log_in(3, 3);
    shard.log_in(4, 4);
    assert_eq!(shard.gone(3), ["meter meadow Length(1)"]);
    assert_eq!(heard(shard.pulse()), ["4 queued 1"]);
}

#[test]
fn zone_remembers_a_ticket_for_longer_than_it_is_good() {
    let mut shard = Shard::with_meadow(10);
    let login = Login::Ticket(claims(5, 8));
    shard.routing.handle_login(at!(shard), token(1), login);
    let attach = loop {
        match shard.routing.poll_command().expect("it enters") {
            RoutingCommand::AskAccount { conn, query, .. } => shard.answer(conn, &query),
            RoutingCommand::Attach(attach) => break attach,
            _ => {}
        }
    };
    let input = attach.input([3; 32]);
    let expected = Input::Join(Join {
        account: Account(5),
        ticket: ticket_id(8),
        ticket_forget_tick: Tick(1_000 + (TICKET_GOOD_S + TICKET_MEMORY_SLACK_S) * u64::from(HZ)),
        secret: [3; 32],
        token: token(1),
        birth: Birth::Allowed {
            asked: crate::ownership::DataStamp {
                epoch: Epoch(1),
                tick: Tick(1_000),
            },
            generation: 1,
        },
    });
    assert_eq!(input, expected);
}

#[test]
fn zone_compares_hashes_of_secrets_and_never_sees_one() {
    let mut shard = Shard::with_meadow(10);
    shard.routing.handle_login(
        at!(shard),
        token(1),
        Login::Resume(ResumeClaim {
            account: Account(1),
            zone: meadow(),
            session: SessionId::new(1, 2),
            secret: [7; 32],
            epoch: Epoch(1),
            event_seq: 9,
        }),
    );
    let Some(RoutingCommand::AskAccount { conn, query, .. }) = shard.routing.poll_command() else {
        panic!("its zone does not have it");
    };
    shard.answer(conn, &query);
    let Some(RoutingCommand::Attach(attach)) = shard.routing.poll_command() else {
        panic!("it enters at once")
    };
    let expected = Input::Resume(Resume {
        session: SessionId::new(1, 2),
        secret: *blake3::hash(&[7; 32]).as_bytes(),
        next_secret: [3; 32],
        event_seq: 9,
        token: token(1),
    });
    assert_eq!(attach.input([3; 32]), expected);
}

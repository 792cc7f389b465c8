//! Homes: where a character is born, where it lives, and what a client hears while the store does not answer.

use super::*;

fn ask(shard: &mut Shard, conn: u64, account: u64) {
    let login = Login::Ticket(claims(account, conn));
    shard.routing.handle_login(at!(shard), token(conn), login);
    assert_eq!(shard.commands(), [format!("{conn} home meadow 1 0")]);
}

fn answer(shard: &mut Shard, conn: u64, answer: Result<Option<Home>, StoreError>) -> Vec<String> {
    shard.routing.handle_home(at!(shard), token(conn), answer);
    shard.commands()
}

fn away() -> StoreError {
    StoreError::Unavailable("gone".to_owned())
}

#[test]
fn new_character_is_born_where_its_ticket_says_and_an_old_one_goes_where_it_lives() {
    let moved = Home {
        zone: zone("forest"),
        generation: 7,
    };
    let table = [(None, "1 join meadow"), (Some(moved), "1 join forest")];
    for (home, said) in table {
        let mut shard = Shard::with_meadow(10);
        shard.zone_up("forest", 1);
        ask(&mut shard, 1, 2);
        assert_eq!(answer(&mut shard, 1, Ok(home)), [said]);
    }
}

#[test]
fn client_goes_nowhere_before_its_home_is_known() {
    let mut shard = Shard::new(10);
    ask(&mut shard, 1, 2);
    assert!(shard.zone_up("meadow", 1).is_empty());
    shard.advance(TICKET_GOOD_S * 10);
    assert!(shard.pulse().is_empty(), "its ticket was heard in time");
    shard.routing.handle_views(at!(shard), &[], None);
    assert!(shard.turns().is_empty());
}

#[test]
fn store_that_does_not_answer_is_asked_nine_times_before_the_login_is_refused() {
    let mut shard = Shard::with_meadow(10);
    ask(&mut shard, 1, 2);
    for _ in 0..8 {
        assert_eq!(answer(&mut shard, 1, Err(away())), ["1 home meadow 1 250"]);
    }
    let given_up = answer(&mut shard, 1, Err(away()));
    assert_eq!(
        given_up,
        ["report the store does not answer: gone", "1 refused Internal"]
    );
}

#[test]
fn store_that_answers_at_last_lets_the_login_go_on() {
    let mut shard = Shard::with_meadow(10);
    ask(&mut shard, 1, 2);
    answer(&mut shard, 1, Err(away()));
    assert_eq!(answer(&mut shard, 1, Ok(None)), ["1 join meadow"]);
}

#[test]
fn store_that_has_lost_its_data_is_not_asked_again() {
    let mut shard = Shard::with_meadow(10);
    ask(&mut shard, 1, 2);
    let refused = answer(&mut shard, 1, Err(StoreError::Lost));
    assert_eq!(refused, ["report the zone's data set is gone", "1 refused Internal"]);
}

#[test]
fn look_up_of_a_client_that_left_goes_on_and_attaches_nothing() {
    let mut shard = Shard::with_meadow(10);
    ask(&mut shard, 1, 2);
    assert!(shard.gone(1).is_empty());
    assert_eq!(answer(&mut shard, 1, Err(away())), ["1 home meadow 1 250"]);
    assert!(answer(&mut shard, 1, Ok(None)).is_empty());
}

#[test]
fn later_login_of_an_account_takes_the_place_of_one_whose_home_is_being_looked_up() {
    let mut shard = Shard::with_meadow(10);
    ask(&mut shard, 1, 2);
    let login = Login::Ticket(claims(2, 2));
    shard.routing.handle_login(at!(shard), token(2), login);
    assert_eq!(shard.commands(), ["1 refused Superseded", "2 home meadow 1 0"]);
    assert!(answer(&mut shard, 1, Ok(None)).is_empty());
    assert_eq!(answer(&mut shard, 2, Ok(None)), ["2 join meadow"]);
}

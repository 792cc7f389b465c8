//! Accounts that are banned while connections of theirs are here.

use super::*;

impl Shard {
    fn banned(&mut self, accounts: &[u64]) -> Vec<String> {
        let accounts = accounts.iter().map(|account| Account(*account)).collect();
        self.routing.handle_banned(&accounts);
        self.commands()
    }
}

#[test]
fn zone_is_told_of_a_banned_player_until_its_connection_is_gone() {
    let mut shard = Shard::with_meadow(10);
    shard.log_in(1, 7);
    shard.log_in(2, 8);
    for _ in 0..2 {
        assert_eq!(shard.banned(&[7]), ["dismiss 7 meadow Banned"]);
    }
    assert_eq!(shard.gone(1), ["1 detach meadow"]);
    assert!(shard.banned(&[7]).is_empty(), "the other is another account");
}

#[test]
fn banned_connection_that_waits_is_refused_once_and_leaves_the_queue() {
    let mut shard = Shard::with_meadow(1);
    shard.log_in(1, 1);
    assert_eq!(heard(shard.log_in(2, 7)), ["2 queued 1"]);
    assert_eq!(heard(shard.log_in(3, 8)), ["3 queued 2"]);
    assert_eq!(heard(shard.banned(&[7])), ["2 refused Banned"]);
    assert!(heard(shard.banned(&[7])).is_empty());
    shard.gone(1);
    assert_eq!(heard(shard.pulse()), ["3 join meadow"]);
}

#[test]
fn banned_connection_whose_character_is_looked_up_is_refused_and_takes_no_place() {
    let mut shard = Shard::with_meadow(1);
    shard.store_answers = false;
    shard.log_in(1, 7);
    assert_eq!(shard.banned(&[7]), ["1 refused Banned"]);
    shard.gone(1);
    shard.store_answers = true;
    assert_eq!(shard.log_in(2, 8), ["2 join meadow"]);
}

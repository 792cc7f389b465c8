//! The login queue of one zone: newcomers who must wait, first come, first served. It sends nothing itself.
//!
//! Only newcomers wait. A client that shows the secret of a session lost a connection or a shard, and has a place in
//! the world already. So has one that logs in by ticket while its character is in the world: it takes no place but its
//! own.
//!
//! An account has one place at most. A later connection of it takes over the place of the earlier one, also when it
//! shows the same ticket: mostly the player's connection broke, and the server has not noticed yet. So a thousand
//! connections with one ticket, or with a thousand tickets of one account, hold one place.

use std::collections::VecDeque;

use super::{Caller, Rung};
use crate::limits::{LOGIN_ADMISSIONS_MIN, LOGIN_ADMISSIONS_SHARE, LOGIN_QUEUE_MAX};

/// A zone's load and its players, by which a newcomer is admitted, or waits, or is refused.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The zone's rung on the overload ladder.
    pub rung: Rung,
    /// Connections that the zone serves, or is about to.
    pub players: u32,
    /// Connections above which newcomers wait.
    pub players_max: u32,
}

impl Admission {
    const fn is_open(&self) -> bool {
        (self.rung.place() < Rung::Queue.place()) && self.players < self.players_max
    }

    /// Returns the logins that may be admitted at once. More might be too many before the ladder notices.
    fn admissions(&self) -> usize {
        if !self.is_open() {
            return 0;
        }
        let paced = match self.rung {
            Rung::Normal => 4 * (LOGIN_ADMISSIONS_MIN + self.players / LOGIN_ADMISSIONS_SHARE),
            _ => LOGIN_ADMISSIONS_MIN + self.players / LOGIN_ADMISSIONS_SHARE,
        };
        paced.min(self.players_max - self.players) as usize
    }
}

/// The answer to a client that asks to enter a zone with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryVerdict {
    /// The player comes in.
    Admit,
    /// The player waits at this position; 1 is next.
    Wait {
        /// The position.
        position: u32,
    },
    /// The player may not even wait.
    Refuse,
    /// The ticket was used before.
    TicketUsed,
}

#[derive(Debug)]
struct WaitingNewcomer<T> {
    who: T,
    /// The position that the client was last told.
    told: u32,
}

/// The newcomers that wait for one zone. `T` names a connection.
#[derive(Debug)]
pub struct LoginQueue<T> {
    waiting: VecDeque<WaitingNewcomer<T>>,
}

impl<T> Default for LoginQueue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<T: Copy + PartialEq> LoginQueue<T> {
    /// A client asks to enter. A newcomer that is told a position counts as told.
    pub fn handle_arrival(&mut self, who: T, caller: Caller, admission: Admission) -> EntryVerdict {
        match caller {
            Caller::TicketSpent => return EntryVerdict::TicketUsed,
            Caller::Resident => return EntryVerdict::Admit,
            Caller::Newcomer => {}
        }
        if admission.is_open() && self.waiting.is_empty() {
            return EntryVerdict::Admit;
        }
        if admission.rung >= Rung::Refuse || self.waiting.len() >= LOGIN_QUEUE_MAX {
            return EntryVerdict::Refuse;
        }
        let position = position(self.waiting.len());
        self.waiting.push_back(WaitingNewcomer { who, told: position });
        EntryVerdict::Wait { position }
    }

    /// Puts a later connection of an account in an earlier one's place. Returns the position, which counts as told;
    /// `None` if the earlier one does not wait here.
    pub fn handle_successor(&mut self, earlier: T, who: T) -> Option<u32> {
        let place = self.waiting.iter().position(|waiting| waiting.who == earlier)?;
        let told = position(place);
        self.waiting[place] = WaitingNewcomer { who, told };
        Some(told)
    }

    /// Removes a connection that is gone.
    pub fn handle_gone(&mut self, who: T) {
        self.waiting.retain(|waiting| waiting.who != who);
    }

    /// Those who come in now: call it once every [`LOGIN_ROUND_MS`](crate::limits::LOGIN_ROUND_MS).
    pub fn poll_admitted(&mut self, admission: Admission) -> Vec<T> {
        let count = admission.admissions().min(self.waiting.len());
        self.waiting.drain(..count).map(|waiting| waiting.who).collect()
    }

    /// Returns the connections that are to be told a new position, with the position. The last of a long queue advances
    /// with every admission; it is told when its position has fallen by a tenth.
    pub fn poll_positions(&mut self) -> Vec<(T, u32)> {
        let mut moved = Vec::new();
        for (place, waiting) in self.waiting.iter_mut().enumerate() {
            let now = position(place);
            if waiting.told - now > waiting.told / 10 {
                waiting.told = now;
                moved.push((waiting.who, now));
            }
        }
        moved
    }

    /// Returns the number of connections that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn position(place: usize) -> u32 {
    u32::try_from(place + 1).expect("the queue is bounded")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: Admission = Admission {
        rung: Rung::Normal,
        players: 10,
        players_max: 1_000,
    };
    const CLOSED: Admission = Admission {
        rung: Rung::Queue,
        ..OPEN
    };

    /// Returns a queue of `count` connections, named by their numbers.
    fn queue(count: u32) -> LoginQueue<u32> {
        let mut queue = LoginQueue::default();
        for who in 1..=count {
            assert_eq!(
                queue.handle_arrival(who, Caller::Newcomer, CLOSED),
                EntryVerdict::Wait { position: who }
            );
        }
        queue
    }

    #[test]
    fn newcomer_walks_in_while_nothing_is_wrong() {
        assert_eq!(
            LoginQueue::default().handle_arrival(1, Caller::Newcomer, OPEN),
            EntryVerdict::Admit
        );
    }

    #[test]
    fn one_whose_character_is_in_the_world_walks_past_everybody() {
        let hopeless = Admission {
            rung: Rung::Refuse,
            players: 1_000,
            ..OPEN
        };
        for admission in [OPEN, CLOSED, hopeless] {
            let mut queue = queue(3);
            assert_eq!(
                queue.handle_arrival(9, Caller::Resident, admission),
                EntryVerdict::Admit
            );
            assert_eq!(queue.len(), 3);
        }
    }

    #[test]
    fn spent_ticket_neither_waits_nor_comes_in() {
        for admission in [OPEN, CLOSED] {
            let mut queue = LoginQueue::default();
            assert_eq!(
                queue.handle_arrival(9, Caller::TicketSpent, admission),
                EntryVerdict::TicketUsed
            );
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn later_connection_of_an_account_keeps_the_place_of_the_earlier_one() {
        let mut queue = queue(3);
        assert_eq!(queue.handle_successor(2, 9), Some(2));
        assert_eq!(queue.handle_successor(2, 8), None, "it does not wait any more");
        queue.handle_gone(2);
        assert_eq!(queue.poll_admitted(OPEN), [1, 9, 3]);
    }

    #[test]
    fn newcomer_does_not_overtake_those_who_wait() {
        assert_eq!(
            queue(3).handle_arrival(9, Caller::Newcomer, OPEN),
            EntryVerdict::Wait { position: 4 }
        );
    }

    #[test]
    fn newcomer_waits_when_the_zone_has_as_many_players_as_it_may() {
        let full = Admission { players: 1_000, ..OPEN };
        assert_eq!(
            LoginQueue::default().handle_arrival(1, Caller::Newcomer, full),
            EntryVerdict::Wait { position: 1 }
        );
    }

    #[test]
    fn newcomer_is_refused_on_the_last_rung_and_those_who_wait_stay() {
        let mut queue = queue(3);
        let hopeless = Admission {
            rung: Rung::Refuse,
            ..OPEN
        };
        assert_eq!(
            queue.handle_arrival(9, Caller::Newcomer, hopeless),
            EntryVerdict::Refuse
        );
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn newcomer_is_refused_when_the_queue_is_full() {
        let max = u32::try_from(LOGIN_QUEUE_MAX).unwrap();
        assert_eq!(
            queue(max).handle_arrival(max + 1, Caller::Newcomer, CLOSED),
            EntryVerdict::Refuse
        );
    }

    #[test]
    fn nobody_is_admitted_while_the_zone_is_strained() {
        assert!(queue(5).poll_admitted(CLOSED).is_empty());
    }

    #[test]
    fn those_who_wait_come_in_in_order_and_no_more_than_there_is_room_for() {
        let nearly_full = Admission { players: 998, ..OPEN };
        let mut queue = queue(5);
        assert_eq!(queue.poll_admitted(nearly_full), [1, 2]);
        assert_eq!(queue.poll_positions(), [(3, 1), (4, 2), (5, 3)]);
    }

    #[test]
    fn a_strained_zone_admits_fewer_than_a_calm_one() {
        let strained = Admission {
            rung: Rung::Slower,
            ..OPEN
        };
        assert!(queue(500).poll_admitted(strained).len() < queue(500).poll_admitted(OPEN).len());
    }

    #[test]
    fn one_that_goes_loses_its_place_and_the_others_move_up() {
        let mut queue = queue(3);
        queue.handle_gone(2);
        assert_eq!(queue.poll_positions(), [(3, 2)]);
        assert_eq!(queue.poll_admitted(OPEN), [1, 3]);
    }

    #[test]
    fn far_behind_in_a_queue_not_every_step_is_told() {
        let mut queue = queue(100);
        queue.handle_gone(1);
        let told = queue.poll_positions();
        assert_eq!(told, (2..=9).map(|who| (who, who - 1)).collect::<Vec<_>>());
    }

    #[test]
    fn what_one_that_waits_long_hears_is_bounded() {
        let mut queue = queue(1_000);
        let mut heard = 0;
        for gone in 1..1_000 {
            queue.handle_gone(gone);
            heard += queue.poll_positions().iter().filter(|(who, _)| *who == 1_000).count();
        }
        assert!((20..80).contains(&heard), "{heard}");
    }

    proptest! {
        #[test]
        fn positions_are_dense_and_nobody_is_forgotten(ops in prop::collection::vec((0..5_u8, 0..40_u32), 0..200)) {
            let mut queue = LoginQueue::default();
            let mut model: Vec<u32> = Vec::new();
            for (op, who) in ops {
                match op {
                    0 | 1 if !model.contains(&who) => {
                        let verdict = queue.handle_arrival(who, Caller::Newcomer, if op == 0 { CLOSED } else { OPEN });
                        match verdict {
                            EntryVerdict::Admit => prop_assert!(model.is_empty() && op == 1),
                            EntryVerdict::Wait { position } => {
                                model.push(who);
                                prop_assert_eq!(position as usize, model.len());
                            }
                            EntryVerdict::Refuse | EntryVerdict::TicketUsed => {
                                prop_assert!(false, "neither full nor hopeless, and no ticket is spent");
                            }
                        }
                    }
                    2 if model.contains(&who) => {
                        let position = queue.handle_successor(who, who + 100);
                        let place = model.iter().position(|other| *other == who).unwrap();
                        prop_assert_eq!(position, Some(place as u32 + 1));
                        model[place] = who + 100;
                    }
                    3 => {
                        model.retain(|other| *other != who);
                        queue.handle_gone(who);
                    }
                    _ => {
                        let admitted = queue.poll_admitted(OPEN);
                        prop_assert!(model.starts_with(&admitted) && (model.is_empty() || !admitted.is_empty()));
                        model.drain(..admitted.len());
                    }
                }
                for (who, position) in queue.poll_positions() {
                    prop_assert_eq!(model[position as usize - 1], who);
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}

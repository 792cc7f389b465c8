//! The accounts that have a place in a zone already, and the tickets that are spent there, as far as the zone's
//! acknowledged ticks say. It sends nothing.
//!
//! The zone itself decides about each login; this is what a shard knows beforehand. A list may lag behind by what is
//! not acknowledged yet. It costs nothing in a tick in which no player comes or goes to rest.

use std::collections::{BTreeMap, BTreeSet};

use everhold_protocol::{Account, Tick};

use crate::zone::{Residence, Zone};

/// Tickets up to which none are searched for expired ones.
const TICKETS_KEPT_MIN: usize = 1_024;

/// The standing of a client that asks to enter a zone with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Its character is not in the world.
    Newcomer,
    /// Its character is in the world: the login takes that place and no other.
    Resident,
    /// Its ticket was used before.
    TicketSpent,
}

/// The accounts and the spent tickets of one zone.
#[derive(Debug, Default)]
pub struct Residents {
    accounts: BTreeSet<Account>,
    /// Those whose characters rest in the zone.
    resting: BTreeSet<Account>,
    spent: BTreeMap<[u8; 16], Tick>,
    /// Tickets at which expired ones are searched for: twice as many as the last search left.
    look_at: usize,
}

impl Residents {
    /// Returns the residents of a zone that was just adopted.
    #[must_use]
    pub fn of(zone: &mut Zone) -> Self {
        let accounts: BTreeSet<Account> = zone.residents().into_iter().collect();
        let resting = zone
            .accounts()
            .into_iter()
            .filter(|account| !accounts.contains(account));
        Self {
            resting: resting.collect(),
            accounts,
            spent: zone.spent_tickets().into_iter().collect(),
            look_at: 0,
        }
    }

    /// Takes the changes of an acknowledged tick.
    pub fn handle_tick(&mut self, tick: Tick, changes: &[Residence]) {
        for change in changes {
            match change {
                Residence::Taken(account) => {
                    self.accounts.insert(*account);
                    self.resting.remove(account);
                }
                Residence::Left(account) => {
                    self.accounts.remove(account);
                    self.resting.insert(*account);
                }
                Residence::Evicted(account) => _ = self.resting.remove(account),
                Residence::TicketSpent(ticket, forget_tick) => _ = self.spent.insert(*ticket, *forget_tick),
            }
        }
        if self.spent.len() > self.look_at.max(TICKETS_KEPT_MIN) {
            self.spent.retain(|_, forget_tick| *forget_tick > tick);
            self.look_at = self.spent.len() * 2;
        }
    }

    /// Returns the number of characters that the zone has, in the world or at rest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len() + self.resting.len()
    }

    /// Whether the zone has no character.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the zone has the account's character, in the world or at rest.
    #[must_use]
    pub fn has(&self, account: Account) -> bool {
        self.accounts.contains(&account) || self.resting.contains(&account)
    }

    /// Judges a client that shows this ticket at `tick`.
    #[must_use]
    pub fn judge(&self, account: Account, ticket: &[u8; 16], tick: Tick) -> Caller {
        if self.spent.get(ticket).is_some_and(|forget_tick| *forget_tick > tick) {
            Caller::TicketSpent
        } else if self.accounts.contains(&account) {
            Caller::Resident
        } else {
            Caller::Newcomer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Account = Account(1);
    const TICKET: [u8; 16] = [7; 16];

    fn residents(changes: &[Residence]) -> Residents {
        let mut residents = Residents::default();
        residents.handle_tick(Tick(1), changes);
        residents
    }

    #[test]
    fn account_is_a_resident_until_its_character_rests() {
        let mut residents = residents(&[Residence::Taken(MINE)]);
        assert_eq!(residents.judge(MINE, &TICKET, Tick(2)), Caller::Resident);
        assert_eq!(residents.judge(Account(2), &TICKET, Tick(2)), Caller::Newcomer);
        residents.handle_tick(Tick(3), &[Residence::Left(MINE)]);
        assert_eq!(residents.judge(MINE, &TICKET, Tick(3)), Caller::Newcomer);
        residents.handle_tick(Tick(4), &[Residence::Left(MINE), Residence::Taken(MINE)]);
        assert_eq!(residents.judge(MINE, &TICKET, Tick(4)), Caller::Resident);
    }

    #[test]
    fn zone_has_a_character_at_rest_until_it_is_evicted() {
        let mut residents = residents(&[Residence::Taken(MINE)]);
        assert!(residents.has(MINE));
        residents.handle_tick(Tick(2), &[Residence::Left(MINE)]);
        assert!(residents.has(MINE));
        residents.handle_tick(Tick(3), &[Residence::Evicted(MINE)]);
        assert!(!residents.has(MINE));
        residents.handle_tick(Tick(4), &[Residence::Taken(MINE)]);
        assert!(residents.has(MINE));
    }

    #[test]
    fn spent_ticket_is_spent_for_everybody_until_it_is_forgotten() {
        let residents = residents(&[Residence::TicketSpent(TICKET, Tick(100)), Residence::Taken(MINE)]);
        for account in [MINE, Account(2)] {
            assert_eq!(residents.judge(account, &TICKET, Tick(99)), Caller::TicketSpent);
            assert_ne!(residents.judge(account, &TICKET, Tick(100)), Caller::TicketSpent);
            assert_ne!(residents.judge(account, &[8; 16], Tick(99)), Caller::TicketSpent);
        }
    }

    #[test]
    fn expired_tickets_do_not_pile_up() {
        let mut residents = Residents::default();
        for tick in (1..100_000).map(Tick) {
            let mut ticket = [0; 16];
            ticket[..8].copy_from_slice(&tick.0.to_le_bytes());
            residents.handle_tick(tick, &[Residence::TicketSpent(ticket, tick + 1_000)]);
            assert!(residents.spent.len() <= 2 * TICKETS_KEPT_MIN + 1, "at tick {tick}");
            assert_eq!(residents.judge(MINE, &ticket, tick), Caller::TicketSpent);
        }
    }
}

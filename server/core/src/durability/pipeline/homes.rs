//! Homes that may be missing though the zone is not: when those of its characters are written anew, how many at once,
//! and how often one that the store does not take is tried. It asks no store.
//!
//! ```text
//!  doubts, or a data set made anew ─► Roster ─► accounts that wait ─► SetHome, a few at once ─► done
//!                                       ▲ not answered: again     ▲                │
//!                                       └─ after a second         └── after a back-off: not taken
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use everhold_protocol::Account;

use super::command::PipelineNotice;
use super::{Pipeline, PipelineCommand};
use crate::durability::store::StoreError;
use crate::limits::HOMES_IN_FLIGHT_MAX;
use crate::outage::Outage;

/// A roster that does not come in this time is asked for again: the zone's thread had no room for it.
const ROSTER_MAX: Duration = Duration::from_secs(1);

/// First and longest wait after a store did not take a home. As long as the zone is held it is asked again: an account
/// without a home would be born again elsewhere.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl<S, R> Pipeline<S, R> {
    /// Takes what the store of homes says of what it may have lost.
    pub fn handle_home_doubts(&mut self, doubts: Option<u64>) {
        if self.homes.note(doubts) {
            self.homes.handle_wanted();
        }
    }

    /// Takes the accounts that have a session in the zone.
    pub fn handle_roster(&mut self, accounts: Vec<Account>) {
        self.homes.handle_roster(accounts);
    }

    /// Takes the answer to the setting of this account's home, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_home_set(&mut self, now: Instant, account: Account, answer: Result<(), StoreError>) {
        let notice = self.homes.handle_set(now, account, answer);
        self.log(notice);
    }

    /// Returns what is to be done for the homes of the zone's characters.
    pub(super) fn poll_homes(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        if self.homes.poll_roster(now) {
            return Some(PipelineCommand::Roster);
        }
        self.homes.poll_set(now).map(PipelineCommand::SetHome)
    }
}

/// The roster of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Roster {
    /// It is not wanted.
    #[default]
    None,
    /// It is to be asked for.
    Wanted,
    /// It was asked for then.
    Asked(Instant),
}

/// The homes of a zone's characters that are to be written anew because some may be missing.
#[derive(Debug, Default)]
pub(super) struct HomeRestore {
    noted: Option<u64>,
    roster: Roster,
    /// Accounts whose home is to be set, each once.
    waiting: VecDeque<Account>,
    in_flight: BTreeSet<Account>,
    /// Homes set since the last time that none was left.
    set: u64,
    /// The wait after the last failure, and its end.
    back_off: Option<(Duration, Instant)>,
    fail: Outage,
}

impl HomeRestore {
    /// Takes what the store of homes doubts now (`HomeStore::doubts`). Returns whether that is new.
    fn note(&mut self, doubts: Option<u64>) -> bool {
        let is_new = doubts.is_some() && doubts != self.noted;
        self.noted = doubts;
        is_new
    }

    /// Notes that all homes are to be written anew.
    pub(super) const fn handle_wanted(&mut self) {
        self.roster = Roster::Wanted;
    }

    /// Whether a stop waits: there are homes to be set, and the store takes them.
    pub(super) fn holds_up_a_stop(&self) -> bool {
        let is_done = self.roster == Roster::None && self.waiting.is_empty() && self.in_flight.is_empty();
        !is_done && self.back_off.is_none()
    }

    /// Takes the accounts. One that is under way is set once more: its loss may be newer.
    fn handle_roster(&mut self, accounts: Vec<Account>) {
        if matches!(self.roster, Roster::Asked(_)) {
            self.roster = Roster::None;
        }
        let waiting: BTreeSet<Account> = self.waiting.iter().copied().collect();
        self.waiting
            .extend(accounts.into_iter().filter(|account| !waiting.contains(account)));
    }

    /// Whether the roster is to be asked for now.
    fn poll_roster(&mut self, now: Instant) -> bool {
        let is_due = match self.roster {
            Roster::None => false,
            Roster::Wanted => true,
            Roster::Asked(at) => now.saturating_duration_since(at) >= ROSTER_MAX,
        };
        if is_due {
            self.roster = Roster::Asked(now);
        }
        is_due
    }

    /// Returns an account whose home is to be set now.
    fn poll_set(&mut self, now: Instant) -> Option<Account> {
        let waits = self.back_off.is_some_and(|(_, until)| now < until);
        if waits || self.in_flight.len() >= HOMES_IN_FLIGHT_MAX {
            return None;
        }
        let next = self
            .waiting
            .iter()
            .position(|account| !self.in_flight.contains(account))?;
        let account = self.waiting.remove(next)?;
        self.in_flight.insert(account);
        Some(account)
    }

    fn handle_set(&mut self, now: Instant, account: Account, answer: Result<(), StoreError>) -> Option<PipelineNotice> {
        assert!(self.in_flight.remove(&account), "a home that was not to be set");
        match answer {
            Ok(()) => {
                self.set += 1;
                self.back_off = None;
                let is_last = self.waiting.is_empty() && self.in_flight.is_empty();
                is_last.then(|| {
                    self.fail.end(now);
                    PipelineNotice::HomesSet(std::mem::take(&mut self.set))
                })
            }
            Err(error) => {
                // Behind the others: one that cannot be set holds none of them up.
                if !self.waiting.contains(&account) {
                    self.waiting.push_back(account);
                }
                self.wait_longer(now);
                let lasted = self.fail.note(now)?;
                Some(PipelineNotice::HomeFailed(error, lasted))
            }
        }
    }

    /// Waits after a failure, for twice as long as after the one before. Those that were under way together count as
    /// one.
    fn wait_longer(&mut self, now: Instant) {
        let wait = match self.back_off {
            None => RETRY.0,
            Some((_, until)) if now < until => return,
            Some((wait, _)) => (2 * wait).min(RETRY.1),
        };
        self.back_off = Some((wait, now + wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(numbers: std::ops::RangeInclusive<u64>) -> Vec<Account> {
        numbers.map(Account).collect()
    }

    fn away() -> StoreError {
        StoreError::Unavailable("a time-out".to_owned())
    }

    /// Homes of so many accounts that wait to be set.
    fn wanted(count: u64) -> (HomeRestore, Instant) {
        let (mut homes, now) = (HomeRestore::default(), Instant::now());
        homes.handle_wanted();
        assert!(homes.poll_roster(now));
        homes.handle_roster(accounts(1..=count));
        (homes, now)
    }

    fn poll_all(homes: &mut HomeRestore, now: Instant) -> Vec<Account> {
        std::iter::from_fn(|| homes.poll_set(now)).collect()
    }

    #[test]
    fn homes_are_in_doubt_at_first_and_after_each_change_and_never_in_a_store_that_loses_all_or_none() {
        let mut watch = HomeRestore::default();
        let due: Vec<bool> = [Some(7), Some(7), Some(8), Some(7), Some(7)]
            .map(|doubts| watch.note(doubts))
            .into();
        assert_eq!(due, [true, false, true, true, false]);
        assert!(!HomeRestore::default().note(None));
    }

    #[test]
    fn roster_that_does_not_come_is_asked_for_again() {
        let (mut homes, now) = (HomeRestore::default(), Instant::now());
        assert!(!homes.poll_roster(now), "it is not wanted");
        homes.handle_wanted();
        let asked = [0, 1, 999, 1_000, 1_001].map(|ms| homes.poll_roster(now + Duration::from_millis(ms)));
        assert_eq!(asked, [true, false, false, true, false]);
        homes.handle_roster(Vec::new());
        assert!(!homes.poll_roster(now + Duration::from_secs(60)));
    }

    #[test]
    fn homes_are_set_a_few_at_once_and_the_last_one_is_said() {
        let all = HOMES_IN_FLIGHT_MAX as u64 + 2;
        let (mut homes, now) = wanted(all);
        let first = poll_all(&mut homes, now);
        assert_eq!(first, accounts(1..=all - 2));
        for account in first {
            assert!(homes.handle_set(now, account, Ok(())).is_none());
        }
        assert!(homes.holds_up_a_stop());
        let last = poll_all(&mut homes, now);
        assert_eq!(last, accounts(all - 1..=all));
        assert!(homes.handle_set(now, last[0], Ok(())).is_none());
        let said = homes.handle_set(now, last[1], Ok(()));
        assert!(
            matches!(said, Some(PipelineNotice::HomesSet(set)) if set == all),
            "{said:?}"
        );
        assert!(!homes.holds_up_a_stop());
    }

    #[test]
    fn home_that_the_store_does_not_take_is_tried_until_it_does_ever_less_often() {
        let (mut homes, mut now) = wanted(1);
        let mut waits = Vec::new();
        for try_number in 0..10 {
            assert_eq!(poll_all(&mut homes, now), [Account(1)]);
            let said = homes.handle_set(now, Account(1), Err(away()));
            // The outage is said at its start, and again after half a minute.
            assert_eq!(said.is_some(), matches!(try_number, 0 | 9), "{try_number}: {said:?}");
            assert!(!homes.holds_up_a_stop(), "a store that is away holds up no stop");
            let until = (1..)
                .find(|ms| homes.back_off.unwrap().1 <= now + Duration::from_millis(*ms))
                .unwrap();
            assert!(homes.poll_set(now + Duration::from_millis(until - 1)).is_none());
            waits.push(until);
            now += Duration::from_millis(until);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(poll_all(&mut homes, now), [Account(1)]);
        let said = homes.handle_set(now, Account(1), Ok(()));
        assert!(matches!(said, Some(PipelineNotice::HomesSet(1))), "{said:?}");
    }

    #[test]
    fn home_that_cannot_be_set_holds_no_other_up_and_failures_together_are_one() {
        let (mut homes, mut now) = wanted(40);
        let damaged = |account: Account| account.0 <= 16;
        let mut set = BTreeSet::new();
        for _ in 0..4 {
            for account in poll_all(&mut homes, now) {
                let answer = if damaged(account) { Err(away()) } else { Ok(()) };
                set.extend(answer.is_ok().then_some(account));
                homes.handle_set(now, account, answer);
            }
            now += Duration::from_millis(400);
        }
        assert_eq!(set, accounts(17..=40).into_iter().collect());
        assert_eq!(homes.waiting.len(), 16, "they are tried again, each once at a time");
    }

    #[test]
    fn home_that_is_under_way_when_more_is_lost_is_set_once_more_after_its_answer() {
        let (mut homes, now) = wanted(1);
        assert_eq!(poll_all(&mut homes, now), [Account(1)]);
        homes.handle_wanted();
        assert!(homes.poll_roster(now));
        homes.handle_roster(accounts(1..=1));
        assert_eq!(poll_all(&mut homes, now), [], "one write of a home at a time");
        assert!(homes.handle_set(now, Account(1), Ok(())).is_none());
        assert_eq!(poll_all(&mut homes, now), [Account(1)]);
    }
}

//! Characters at rest on their way out of the zone: the archive has them as they are, then the store keeps their
//! records, and then the zone is told to forget them. It asks no store.
//!
//! ```text
//!  a base is in the archive ─► those that rest in it ─► KeepRest, a few at once ─► Input: Evict
//!                                    ▲ not answered: again   │ a newer record is there
//!                                    └── after a back-off    ▼
//!  the archive has a newer row ──────────────────────────► Input: Outrank
//! ```
//!
//! Nothing of it is state. What is lost on the way (a shard that dies, a full inbox) is done again after the next base:
//! every step may be repeated, and a character that woke meanwhile is of a higher generation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use everhold_protocol::Account;

use super::command::PipelineNotice;
use super::{Pipeline, PipelineCommand};
use crate::durability::archivist::ArchivedRest;
use crate::durability::store::StoreError;
use crate::ingress::Input;
use crate::limits::{OUTRANK_GENERATIONS, RESTS_IN_FLIGHT_MAX};
use crate::outage::Outage;

/// First and longest wait after a store did not keep a character.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl<S, R> Pipeline<S, R> {
    /// Takes the answer to [`PipelineCommand::KeepRest`], which came at `now`: the generation of a newer record, if one
    /// is there.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_rest_kept(&mut self, now: Instant, account: Account, answer: Result<Option<u64>, StoreError>) {
        let notice = self.rests.handle_kept(now, account, answer);
        self.log(notice);
    }

    /// Takes what the archivist knows of characters.
    pub(super) fn look_after_rests(&mut self) {
        if let Some(archivist) = &mut self.archivist {
            self.rests.handle_archived(archivist.take_resting());
            self.rests.handle_outranked(archivist.take_outranked());
        }
    }

    /// Returns what is to be done for characters at rest.
    pub(super) fn poll_rests(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        if let Some(input) = self.rests.inputs.pop_front() {
            return Some(PipelineCommand::Input(input));
        }
        self.rests.poll_keep(now).map(PipelineCommand::KeepRest)
    }
}

/// The characters of a zone that are on their way out of it.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// Those to be kept, each once.
    waiting: VecDeque<ArchivedRest>,
    in_flight: BTreeMap<Account, ArchivedRest>,
    /// Inputs for the zone. Bounded: the driver drains it in each turn.
    inputs: VecDeque<Input>,
    /// The wait after the last failure, and its end.
    back_off: Option<(Duration, Instant)>,
    fail: Outage,
}

impl Rests {
    /// Takes all that rest in a base: what waits from the one before is as old.
    fn handle_archived(&mut self, resting: Vec<ArchivedRest>) {
        if resting.is_empty() {
            return;
        }
        let in_flight: BTreeSet<Account> = self.in_flight.keys().copied().collect();
        self.waiting.clear();
        self.waiting
            .extend(resting.into_iter().filter(|rest| !in_flight.contains(&rest.account)));
    }

    /// Takes characters of which the archive has a higher generation than the zone, with that of the zone. How much
    /// higher is not known: their own is raised by a stride, and again if that was too little.
    fn handle_outranked(&mut self, outranked: Vec<(Account, u64)>) {
        let inputs = outranked.into_iter().map(|(account, generation)| Input::Outrank {
            account,
            generation: generation + OUTRANK_GENERATIONS,
        });
        self.inputs.extend(inputs);
    }

    fn poll_keep(&mut self, now: Instant) -> Option<ArchivedRest> {
        let waits = self.back_off.is_some_and(|(_, until)| now < until);
        if waits || self.in_flight.len() >= RESTS_IN_FLIGHT_MAX {
            return None;
        }
        let rest = self.waiting.pop_front()?;
        self.in_flight.insert(rest.account, rest.clone());
        Some(rest)
    }

    fn handle_kept(
        &mut self,
        now: Instant,
        account: Account,
        answer: Result<Option<u64>, StoreError>,
    ) -> Option<PipelineNotice> {
        let rest = self
            .in_flight
            .remove(&account)
            .expect("only what was asked for is kept");
        match answer {
            Ok(None) => {
                self.back_off = None;
                self.inputs.push_back(Input::Evict {
                    account,
                    generation: rest.generation,
                });
                self.fail.end(now).map(PipelineNotice::RestsKept)
            }
            Ok(Some(generation)) => {
                self.inputs.push_back(Input::Outrank { account, generation });
                None
            }
            Err(error) => {
                // Behind the others: one that cannot be kept holds none of them up.
                self.waiting.push_back(rest);
                self.wait_longer(now);
                let lasted = self.fail.note(now)?;
                Some(PipelineNotice::RestFailed(error, lasted))
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
    use bytes::Bytes;

    use super::*;

    fn rest(account: u64, generation: u64) -> ArchivedRest {
        ArchivedRest {
            account: Account(account),
            generation,
            payload: Bytes::from_static(b"character"),
        }
    }

    fn evict(account: u64, generation: u64) -> Input {
        let account = Account(account);
        Input::Evict { account, generation }
    }

    fn poll_all(rests: &mut Rests, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| rests.poll_keep(now))
            .map(|rest| rest.account.0)
            .collect()
    }

    #[test]
    fn zone_forgets_a_character_when_store_and_archive_have_it_and_not_before() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        rests.handle_archived(vec![rest(1, 3), rest(2, 5)]);
        assert_eq!(poll_all(&mut rests, now), [1, 2]);
        assert!(rests.inputs.is_empty());
        assert!(rests.handle_kept(now, Account(2), Ok(None)).is_none());
        assert_eq!(rests.inputs, [evict(2, 5)]);
    }

    #[test]
    fn character_with_a_newer_record_stays_and_goes_above_it() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        rests.handle_archived(vec![rest(1, 3)]);
        assert_eq!(poll_all(&mut rests, now), [1]);
        rests.handle_kept(now, Account(1), Ok(Some(9)));
        rests.handle_outranked(vec![(Account(2), 4)]);
        let outrank = |account, generation| Input::Outrank {
            account: Account(account),
            generation,
        };
        assert_eq!(rests.inputs, [outrank(1, 9), outrank(2, 4 + OUTRANK_GENERATIONS)]);
    }

    #[test]
    fn store_that_is_away_is_asked_ever_less_often_and_a_few_at_once() {
        let (mut rests, mut now) = (Rests::default(), Instant::now());
        let all = RESTS_IN_FLIGHT_MAX as u64 + 1;
        rests.handle_archived((1..=all).map(|account| rest(account, 3)).collect());
        let first = poll_all(&mut rests, now);
        assert_eq!(first.len(), RESTS_IN_FLIGHT_MAX);
        for account in first {
            let away = StoreError::Unavailable("a time-out".to_owned());
            let said = rests.handle_kept(now, Account(account), Err(away));
            assert_eq!(said.is_some(), account == 1, "an outage is said once");
        }
        assert!(poll_all(&mut rests, now).is_empty());
        now += RETRY.0;
        assert_eq!(poll_all(&mut rests, now)[0], all, "the one that was not tried yet");
        assert!(rests.inputs.is_empty());
        assert!(matches!(
            rests.handle_kept(now, Account(all), Ok(None)),
            Some(PipelineNotice::RestsKept(_))
        ));
    }

    #[test]
    fn later_base_tells_anew_who_rests() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        rests.handle_archived(
            (1..=RESTS_IN_FLIGHT_MAX as u64 + 2)
                .map(|account| rest(account, 3))
                .collect(),
        );
        let first = poll_all(&mut rests, now);
        rests.handle_archived(vec![rest(1, 3), rest(99, 7)]);
        assert_eq!(
            rests.waiting,
            [rest(99, 7)],
            "one is under way, the others woke or left"
        );
        for account in first {
            rests.handle_kept(now, Account(account), Ok(None));
        }
        assert_eq!(poll_all(&mut rests, now), [99]);
    }
}

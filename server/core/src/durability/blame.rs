//! The inquiry into a zone's failure: it finds the input that is to blame, and has it quarantined. It writes nothing
//! itself and reads no clock.
//!
//! An adopter would fail at the same input, for its client repeats what was never confirmed. So the failing owner,
//! while its lease is good, writes down the input that was being applied, fenced like every write; adopters refuse it
//! from then on. It does so at the *first* failure: the probe says exactly which input was being applied, the rules are
//! a pure function, so it fails again wherever it is tried, and each try would cost all players of the zone a failover.
//! An innocent input (one in the hands of a tick that stalled because the machine did) costs one player one rejected
//! intent.
//!
//! A failure with no input under way (a system's) is the fault of no player. Nothing is skipped then: the zone fails
//! again wherever it is adopted, each shard shuns it after its own failure, and it stays down, as it was last stored,
//! until a build with other rules or a person comes.

use std::time::{Duration, Instant};

use everhold_protocol::{SessionId, Tick};

use super::store::StoreError;
use crate::ownership::{EndReason, LeaseState};
use crate::zone::probe::Suspect;

/// The store is asked again this often while it does not answer, until the lease is over.
const RETRY: Duration = Duration::from_millis(50);

/// A write that takes longer counts as unanswered. A lease has a few of these left when a stall is found.
pub const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The conclusion of an inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// This session's input with this number: the store refuses it from now on.
    Input(SessionId, u64),
    /// No player's input was being applied.
    Nobody,
    /// An input was, but the store did not take the note: the next owner may fail once more.
    Unwritten,
}

impl Blame {
    /// Returns why a zone ends of which `tick` failed, as `why` says.
    #[must_use]
    pub fn end_reason(self, tick: Tick, why: String) -> EndReason {
        match self {
            Self::Input(session, seq) => EndReason::Poisoned(tick, session, seq, why),
            Self::Nobody | Self::Unwritten => EndReason::Panicked(tick, why),
        }
    }
}

/// A command to the driver of an inquiry.
#[derive(Debug)]
pub enum InquiryCommand {
    /// Quarantine the input of this tick, by its session and number, with [`ANSWER_MAX`] for the answer; answer with
    /// [`Inquiry::handle_answer`].
    Quarantine(Tick, SessionId, u64),
    /// Log this.
    Log(InquiryNotice),
    /// This is known. It is the last command.
    Conclude(Blame),
}

/// A line of the log about an inquiry.
#[derive(Debug)]
pub enum InquiryNotice {
    /// No player's input is to blame for the failure of this tick.
    NoInput(Tick),
    /// The input is quarantined.
    Quarantined(Tick, SessionId, u64),
    /// The store did not answer, for this reason, and is asked again.
    Unanswered(String),
    /// The store refuses the note.
    Refused(Tick, StoreError),
}

/// The step that an inquiry is at.
#[derive(Clone, Copy, Debug)]
enum InquiryStep {
    /// It is to say that no input is to blame.
    Nobody,
    /// It is to have the input written down, not before this moment if there is one.
    Write(SessionId, u64, Option<Instant>),
    /// That is under way.
    InFlight(SessionId, u64),
    /// It is to say what is known.
    Concluded(Blame),
}

/// The inquiry into the failure of one tick.
#[derive(Debug)]
pub struct Inquiry {
    tick: Tick,
    step: InquiryStep,
    notice: Option<InquiryNotice>,
}

impl Inquiry {
    /// Begins the inquiry into the failure of `tick`, in which `suspect` was being applied.
    #[must_use]
    pub fn new(tick: Tick, suspect: Option<Suspect>) -> Self {
        let intent = suspect.and_then(|suspect| suspect.intent);
        let step = intent.map_or(InquiryStep::Nobody, |(session, seq)| {
            InquiryStep::Write(session, seq, None)
        });
        Self {
            tick,
            step,
            notice: None,
        }
    }

    /// Returns what is to be done at `now`, while the lease stands at `lease`. `None`: an answer is awaited, or the
    /// moment of [`Inquiry::poll_timeout`].
    pub fn poll_command(&mut self, now: Instant, lease: LeaseState) -> Option<InquiryCommand> {
        if let Some(notice) = self.notice.take() {
            return Some(InquiryCommand::Log(notice));
        }
        match self.step {
            InquiryStep::Nobody => {
                self.step = InquiryStep::Concluded(Blame::Nobody);
                Some(InquiryCommand::Log(InquiryNotice::NoInput(self.tick)))
            }
            InquiryStep::Write(.., Some(at)) if now < at => None,
            InquiryStep::Write(..) if lease.is_over() => Some(InquiryCommand::Conclude(Blame::Unwritten)),
            InquiryStep::Write(session, seq, _) => {
                self.step = InquiryStep::InFlight(session, seq);
                Some(InquiryCommand::Quarantine(self.tick, session, seq))
            }
            InquiryStep::InFlight(..) => None,
            InquiryStep::Concluded(blame) => Some(InquiryCommand::Conclude(blame)),
        }
    }

    /// Returns when the next command is due that waits for time to pass.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            InquiryStep::Write(_, _, at) => at,
            _ => None,
        }
    }

    /// Takes the store's answer, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked to.
    pub fn handle_answer(&mut self, now: Instant, answer: Result<(), StoreError>) {
        let InquiryStep::InFlight(session, seq) = self.step else {
            panic!("an answer to nothing")
        };
        (self.step, self.notice) = match answer {
            Ok(()) => (
                InquiryStep::Concluded(Blame::Input(session, seq)),
                Some(InquiryNotice::Quarantined(self.tick, session, seq)),
            ),
            Err(StoreError::Unavailable(why)) => (
                InquiryStep::Write(session, seq, Some(now + RETRY)),
                Some(InquiryNotice::Unanswered(why)),
            ),
            Err(error) => (
                InquiryStep::Concluded(Blame::Unwritten),
                Some(InquiryNotice::Refused(self.tick, error)),
            ),
        };
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Epoch;

    use super::*;

    const SESSION: SessionId = everhold_protocol::EntityId(5);

    const PAUSED: LeaseState = LeaseState::Paused {
        deadline: Duration::MAX,
        woke_at: Duration::ZERO,
    };

    fn inquiry(intent: Option<(SessionId, u64)>) -> Inquiry {
        Inquiry::new(Tick(7), Some(Suspect { index: 3, intent }))
    }

    /// All that is asked for at `now`, in words.
    fn words(inquiry: &mut Inquiry, now: Instant, lease: LeaseState) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(command) = inquiry.poll_command(now, lease) {
            words.push(format!("{command:?}"));
            if matches!(command, InquiryCommand::Conclude(_)) {
                break;
            }
        }
        words
    }

    #[test]
    fn failure_without_a_players_input_is_blamed_on_nobody() {
        for mut inquiry in [inquiry(None), Inquiry::new(Tick(7), None)] {
            let words = words(&mut inquiry, Instant::now(), PAUSED);
            assert_eq!(words, ["Log(NoInput(Tick(7)))", "Conclude(Nobody)"]);
        }
    }

    #[test]
    fn input_is_written_down_as_long_as_the_zone_may_write() {
        let (mut now, mut inquiry) = (Instant::now(), inquiry(Some((SESSION, 9))));
        let asked = format!("Quarantine(Tick(7), {SESSION:?}, 9)");
        assert_eq!(words(&mut inquiry, now, PAUSED), [asked.as_str()]);
        inquiry.handle_answer(now, Err(StoreError::Unavailable("a time-out".to_owned())));
        assert_eq!(words(&mut inquiry, now, PAUSED), ["Log(Unanswered(\"a time-out\"))"]);
        assert_eq!(inquiry.poll_timeout(), Some(now + RETRY));
        now += RETRY;
        assert_eq!(words(&mut inquiry, now, PAUSED), [asked.as_str()]);
        inquiry.handle_answer(now, Ok(()));
        let known = [
            format!("Log(Quarantined(Tick(7), {SESSION:?}, 9))"),
            format!("Conclude(Input({SESSION:?}, 9))"),
        ];
        assert_eq!(words(&mut inquiry, now, PAUSED), known);
    }

    #[test]
    fn lease_that_is_over_before_the_store_answers_leaves_the_input_unwritten() {
        for lease in [LeaseState::Suspended, LeaseState::Lost] {
            let (now, mut inquiry) = (Instant::now(), inquiry(Some((SESSION, 9))));
            words(&mut inquiry, now, PAUSED);
            inquiry.handle_answer(now, Err(StoreError::Unavailable("a time-out".to_owned())));
            words(&mut inquiry, now, PAUSED);
            assert_eq!(words(&mut inquiry, now + RETRY, lease), ["Conclude(Unwritten)"]);
        }
    }

    #[test]
    fn store_that_refuses_the_note_is_not_asked_again() {
        let (now, mut inquiry) = (Instant::now(), inquiry(Some((SESSION, 9))));
        words(&mut inquiry, now, PAUSED);
        inquiry.handle_answer(now, Err(StoreError::Fenced { epoch: Epoch(4) }));
        let known = [
            "Log(Refused(Tick(7), Fenced { epoch: Epoch(4) }))",
            "Conclude(Unwritten)",
        ];
        assert_eq!(words(&mut inquiry, now, PAUSED), known);
    }

    #[test]
    fn zone_that_failed_at_a_quarantined_input_ends_poisoned() {
        let why = || "a rule".to_owned();
        assert_eq!(
            Blame::Input(SESSION, 9).end_reason(Tick(7), why()),
            EndReason::Poisoned(Tick(7), SESSION, 9, why())
        );
        for blame in [Blame::Nobody, Blame::Unwritten] {
            assert_eq!(blame.end_reason(Tick(7), why()), EndReason::Panicked(Tick(7), why()));
        }
    }
}

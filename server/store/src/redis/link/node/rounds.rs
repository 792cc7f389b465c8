//! Writes that replicas must confirm. They go out in rounds: all that wait, in one go, and one `WAIT` behind them on
//! the same connection.
//!
//! ```text
//!   write ─┐
//!   write ─┼─ round ─► EVALSHA EVALSHA EVALSHA WAIT n t ─► answers, and how many replicas have all of them
//!   write ─┘     │
//!   write ───────┴─ waits for the answers, and goes with the next round
//! ```
//!
//! `WAIT` holds up whatever comes after it on its connection, so a second one behind each write would make as many
//! writes take as many round trips to the replicas, one after the other. In rounds a write takes one round trip, and
//! at most the rest of the one before.
//!
//! Redis answers `WAIT` with the number of replicas that have acknowledged everything that *this connection* wrote. So
//! the answer says nothing of a write over an earlier connection: such a write is sent again, and its script writes
//! something each time, even if it was done before. A replica has a prefix of all that its primary wrote; one that has
//! confirmed the repeat therefore has what is repeated.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Pipeline;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Mode, RedisNode, custom, options};
use crate::redis::script::says_done;
use crate::redis::{REPLICAS_ANSWER_MAX, RedisError};

/// Bound on the writes of one round: a zone has a handful under way, a thousand log-ins one each.
const ROUND_WRITES_MAX: usize = 256;

/// A write on its way to replicas.
pub(super) struct UnconfirmedWrite {
    pub(super) name: &'static str,
    pub(super) words: Vec<Value>,
    pub(super) mode: Mode,
    pub(super) replicas: NonZeroU32,
    pub(super) deadline: Instant,
}

/// The writes of one connection that replicas must confirm.
#[derive(Default)]
pub(super) struct Rounds {
    waiting: Mutex<Vec<Queued>>,
    /// The turn to send a round; it lasts until the answers are there.
    turn: tokio::sync::Mutex<()>,
    /// Whether the last round was confirmed by too few replicas, which was said.
    is_short: AtomicBool,
}

struct Queued {
    write: UnconfirmedWrite,
    answer: oneshot::Sender<Result<Value, RedisError>>,
}

impl Queued {
    fn answer(self, outcome: Result<Value, RedisError>) {
        // Whoever asked may have stopped waiting.
        let _heard = self.answer.send(outcome);
    }
}

impl Rounds {
    fn push(&self, queued: Queued) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(queued);
    }

    /// Takes the writes of the next round. Those that are too late are answered.
    fn take(&self, now: Instant) -> Vec<Queued> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(ROUND_WRITES_MAX);
        let next: Vec<Queued> = waiting.drain(..count).collect();
        drop(waiting);
        let (next, late): (Vec<_>, Vec<_>) = next.into_iter().partition(|queued| queued.write.deadline > now);
        for queued in late {
            let error = Error::new(ErrorKind::Timeout, "the round before took too long");
            queued.answer(Err(RedisError::Command(error)));
        }
        next
    }
}

impl RedisNode {
    /// Sends a write, once, with the next round, and waits until its replicas have confirmed it. After an error its
    /// outcome is unknown, unless the error is the server's own word that it has done nothing.
    pub(super) async fn send_confirmed(&self, write: UnconfirmedWrite) -> Result<Value, RedisError> {
        let (answer, mut answered) = oneshot::channel();
        self.rounds.push(Queued { write, answer });
        loop {
            tokio::select! {
                biased;
                outcome = &mut answered => {
                    let given_up = |_| Err(RedisError::Thread("a round was given up".to_owned()));
                    return outcome.unwrap_or_else(given_up);
                }
                _turn = self.rounds.turn.lock() => self.send_round().await,
            }
        }
    }

    async fn send_round(&self) {
        let now = Instant::now();
        let mut round = self.rounds.take(now);
        let Some(last) = round.iter().map(|queued| queued.write.deadline).max() else {
            return;
        };
        let replicas = round.iter().map(|queued| queued.write.replicas).max();
        let replicas = replicas.expect("a round has a write");
        let (connection, left) = (self.connection(), last - now);
        let before = connection.generation.load(Ordering::Acquire);
        let pipeline = Pipeline::from(connection.client.with_options(&options(left)));
        // It is only queued here, which cannot fail.
        for UnconfirmedWrite { name, words, mode, .. } in round.iter_mut().map(|queued| &mut queued.write) {
            if *mode == Mode::Asking {
                let _queued: Result<Value, Error> = pipeline.custom(custom("ASKING"), Vec::<Value>::new()).await;
            }
            let _queued: Result<Value, Error> = pipeline.custom(custom(name), std::mem::take(words)).await;
        }
        let _queued: Result<Value, Error> = pipeline.custom(custom("WAIT"), wait_words(replicas, left)).await;
        let outcomes = pipeline.try_all::<Value>().await;
        let is_replaced = connection.generation.load(Ordering::Acquire) != before;
        if let Some(outcome) = outcomes.first() {
            self.note(outcome);
        }
        self.answer_round(round, outcomes, is_replaced);
    }

    fn answer_round(&self, round: Vec<Queued>, mut outcomes: Vec<Result<Value, Error>>, is_replaced: bool) {
        let commands = round.iter().map(|queued| match queued.write.mode {
            Mode::Plain => 1,
            Mode::Asking => 2,
        });
        if outcomes.len() != commands.sum::<usize>() + 1 {
            // One error stands for all.
            let lost = || Error::new(ErrorKind::Unknown, "no answer");
            let error = outcomes.pop().and_then(Result::err).unwrap_or_else(lost);
            for queued in round {
                queued.answer(Err(RedisError::Command(error.clone())));
            }
            return;
        }
        let waited = outcomes.pop().expect("the answer to WAIT");
        let waited = waited.map(|count| count.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0));
        if let (Ok(confirmed), false) = (&waited, is_replaced) {
            self.note_confirmed(*confirmed, &round);
        }
        let mut outcomes = outcomes.into_iter();
        for queued in round {
            if queued.write.mode == Mode::Asking {
                outcomes.next();
            }
            let outcome = match outcomes.next().expect("one for each command") {
                Ok(_) if is_replaced => Err(RedisError::Replaced),
                Ok(value) if !says_done(&value) => Ok(value),
                Ok(value) => is_confirmed(&waited, queued.write.replicas).map(|()| value),
                Err(error) => Err(RedisError::Command(error)),
            };
            queued.answer(outcome);
        }
    }

    /// Says it once when replicas fall short, and once when they are back.
    fn note_confirmed(&self, confirmed: u32, round: &[Queued]) {
        let replicas = round.iter().map(|queued| queued.write.replicas.get()).max();
        let is_short = replicas.is_some_and(|replicas| confirmed < replicas);
        let was_short = self.rounds.is_short.swap(is_short, Ordering::Relaxed);
        let (link, server) = (self.link, self.server());
        match (was_short, is_short) {
            (false, true) => tracing::error!(
                link,
                %server,
                confirmed,
                replicas,
                "too few replicas of Redis confirm writes: zones hold until there are enough"
            ),
            (true, false) => tracing::info!(link, %server, confirmed, "enough replicas of Redis confirm writes again"),
            _ => {}
        }
    }
}

fn is_confirmed(waited: &Result<u32, Error>, replicas: NonZeroU32) -> Result<(), RedisError> {
    match waited {
        Ok(confirmed) if *confirmed >= replicas.get() => Ok(()),
        Ok(confirmed) => Err(RedisError::Unconfirmed {
            confirmed: *confirmed,
            replicas,
        }),
        Err(error) => Err(RedisError::Command(error.clone())),
    }
}

/// Returns the words of a `WAIT` that leaves time for its answer.
pub(in crate::redis) fn wait_words(replicas: NonZeroU32, left: Duration) -> Vec<Value> {
    // Zero would be for ever.
    let ms = (left / 2).min(REPLICAS_ANSWER_MAX).as_millis().max(1);
    vec![
        i64::from(replicas.get()).into(),
        i64::try_from(ms).unwrap_or(i64::MAX).into(),
    ]
}

//! The players of a soak, on a thread of their own. They judge what they were told, and this nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, SwarmConfig, SwarmError, SwarmPhase, SwarmProgress, SwarmReport};

use crate::form::Form;
use crate::shards::Shards;

/// Far above what players need to come in, or to hear everything at the end, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest play, s: it ends when all troubles are over.
const SECONDS_MAX: f64 = 1e6;

/// Players that trade, in all zones.
pub(crate) struct Play {
    swarm: Option<JoinHandle<Result<SwarmReport, SwarmError>>>,
    progress: Arc<Mutex<Option<(Instant, SwarmProgress)>>>,
    may_end: Arc<AtomicBool>,
}

impl Play {
    pub(crate) fn start(form: &Form, shards: &Shards, keys: PathBuf) -> Self {
        let config = SwarmConfig {
            connect: shards.addrs(),
            players: form.players,
            seconds: SECONDS_MAX,
            behavior: Behavior::Trade,
            keys,
            seed: form.seed,
            join_deadline_s: PATIENCE.as_secs_f64(),
            settle_deadline_s: PATIENCE.as_secs_f64(),
            ..SwarmConfig::default()
        };
        let progress = Arc::new(Mutex::new(None));
        let may_end = Arc::new(AtomicBool::new(false));
        let (told, ends) = (Arc::clone(&progress), Arc::clone(&may_end));
        let swarm = std::thread::spawn(move || {
            client_sim::run(config, &mut |progress: &SwarmProgress| {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), progress.clone()));
                if ends.load(Ordering::Relaxed) {
                    Control::Stop
                } else {
                    Control::Continue
                }
            })
        });
        Self {
            swarm: Some(swarm),
            progress,
            may_end,
        }
    }

    fn progress(&self) -> Option<(Instant, SwarmProgress)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether all players were in, and heard their zones, at some moment after `since`.
    pub(crate) fn do_all_play(&self, since: Instant) -> bool {
        self.progress().is_some_and(|(at, now)| at > since && do_all_play(&now))
    }

    /// Whether the players have ended before their time.
    pub(crate) fn has_ended(&self) -> bool {
        self.swarm.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Returns the state of the players in words.
    pub(crate) fn state(&self) -> String {
        self.progress().map_or_else(
            || "no player yet".to_owned(),
            |(_, now)| {
                let zones: Vec<String> = now
                    .zones
                    .iter()
                    .map(|zone| format!("{} {}-{} {:?}", zone.zone, zone.attached, zone.silent, zone.epochs))
                    .collect();
                format!(
                    "{:?}: {} of {} in, {} silent; {}",
                    now.phase,
                    now.attached,
                    now.players,
                    now.silent,
                    zones.join(", ")
                )
            },
        )
    }

    /// Lets the players hear everything that follows from what they did, and go.
    pub(crate) fn finish(mut self) -> Result<SwarmReport, SwarmError> {
        self.may_end.store(true, Ordering::Relaxed);
        let swarm = self.swarm.take().expect("it is joined once");
        swarm.join().expect("a swarm that does not panic")
    }
}

impl Drop for Play {
    /// Lets the players go: nothing waits for them any more.
    fn drop(&mut self) {
        self.may_end.store(true, Ordering::Relaxed);
    }
}

/// Whether all players are in, and hear their zones.
pub(crate) fn do_all_play(progress: &SwarmProgress) -> bool {
    progress.phase == SwarmPhase::Running && progress.attached == progress.players && progress.silent == 0
}

//! Adoption: carries out what an [`Adoption`] asks for, one command after the other. It decides nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use everhold_core::durability::adoption::{
    ANSWER_MAX, AdoptError, Adoption, AdoptionCommand, AdoptionNotice, FromMemory, History, KeptFile, Start,
};
use everhold_core::durability::journal::Journal;
use everhold_core::durability::pending_moves::PendingMoves;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{Origin, StoreError, ZoneData, ZoneOutline, ZoneStore};
use everhold_core::durability::suspended::{Surrender, SuspendedZone};
use everhold_core::durability::{ReplayError, Replayed, plan, replay};
use everhold_core::ownership::{AdoptionFailure, AdoptionSteps, RulesId, Tenure};
use everhold_core::zone::{Game, Zone, ZoneConfig};

use super::{ArchiveService, LeaseGuard, archived, evidence};
use crate::deadline::answer;

/// A zone that was granted to this process and does not run here.
pub struct NotAdopted {
    /// The failure, for the table of what becomes of the zone's lease.
    pub failure: AdoptionFailure,
    /// The failure, for the log.
    pub error: anyhow::Error,
    /// The zone as it was to begin, if it got so far. What the shard has in memory it still has.
    pub memory: Option<Box<SuspendedZone>>,
}

/// The history that an adopted zone is to be hosted from.
pub enum Adopted {
    /// The one in the store.
    Stored(Box<Start>, History),
    /// The one that this process has in memory.
    Memory(FromMemory),
}

impl Adopted {
    /// Returns the kind of history.
    pub const fn history(&self) -> History {
        match self {
            Self::Stored(_, history) => *history,
            Self::Memory(from) => History::Memory(*from),
        }
    }
}

impl NotAdopted {
    /// A zone whose tick thread did not start: it is suspended as it was to begin.
    pub(super) fn not_started(error: std::io::Error, zone: Zone, (journal, moves): (Journal, PendingMoves)) -> Self {
        Self {
            failure: AdoptionFailure::NotStarted,
            error: anyhow::Error::new(error).context("start the tick thread"),
            memory: Some(Box::new(Surrender::new(journal).with_moves(moves).handle_zone(zone))),
        }
    }

    fn new(error: AdoptError) -> Self {
        Self {
            failure: error.failure(),
            error: error.into(),
            memory: None,
        }
    }
}

/// Takes the zone over under `tenure`, as its `adoption` says. The replay runs on a thread of its own: the zones that
/// are hosted already must not feel it. `drop_memory` is called if the zone that the shard has in memory is of no use
/// any more, `log` for each line of the log; `build` makes the game of a world file that the store has kept, if it is
/// sound.
pub async fn adopt(
    (store, rules, archive): (Arc<dyn ZoneStore>, Arc<dyn RulesStore>, Option<ArchiveService>),
    (tenure, guard): (&Tenure, &LeaseGuard),
    (config, build): (ZoneConfig, impl Fn(&WorldFile) -> Option<Arc<dyn Game>>),
    mut adoption: Adoption,
    (drop_memory, log): (impl Fn(), impl Fn(AdoptionNotice)),
) -> Result<Adopted, NotAdopted> {
    let mut turn = None;
    // With the rules of the kept file.
    let mut kept_config = None;
    loop {
        let Some(command) = adoption.poll_command(Instant::now(), guard.state()) else {
            let at = adoption.poll_timeout().expect("every command was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        match command {
            AdoptionCommand::Replay(data) => {
                #[cfg(feature = "testing")]
                crate::failpoint::reach(crate::failpoint::Failpoint::Replay, &tenure.zone);
                let kept = kept_config.as_ref().filter(|_| adoption.runs_kept_rules());
                let (config, steps) = (kept.unwrap_or(&config).clone(), adoption.steps());
                let replay = tokio::task::spawn_blocking(|| replay_here(data, config, steps));
                match while_held(guard, replay).await {
                    Some(Ok(outcome)) => {
                        adoption.handle_replayed(outcome);
                        turn = None;
                    }
                    Some(Err(error)) => adoption.handle_replay_lost(error.into()),
                    // Its thread cannot be ended. What it comes to is not looked at.
                    None => {}
                }
            }
            AdoptionCommand::ReadWanted => {
                if let Some(wanted) = while_held(guard, answer(ANSWER_MAX, rules.wanted())).await {
                    adoption.handle_wanted(Instant::now(), wanted);
                }
            }
            command @ (AdoptionCommand::FenceArchive | AdoptionCommand::ReadBlobPart(..)) => {
                let service = archive.as_ref().expect("only an adoption with an archive asks it");
                if matches!(command, AdoptionCommand::ReadBlobPart(..)) && turn.is_none() {
                    turn = while_held(guard, Arc::clone(&service.turns).acquire_owned()).await;
                }
                let _was_answered = while_held(guard, archived::ask(service, tenure, &mut adoption, command)).await;
            }
            AdoptionCommand::ReadKept(id) => {
                let read = while_held(guard, answer(ANSWER_MAX, read_kept(rules.as_ref(), id))).await;
                let zone = |file: &WorldFile| kept_zone(file, &config, &build);
                kept_config = read.and_then(|read| tell_kept(&mut adoption, read, zone));
            }
            AdoptionCommand::Log(notice) => log(notice),
            AdoptionCommand::DropMemory => drop_memory(),
            AdoptionCommand::Start(start, history) => return Ok(Adopted::Stored(start, history)),
            AdoptionCommand::StartFromMemory(from) => return Ok(Adopted::Memory(from)),
            AdoptionCommand::Fail(error) => return Err(NotAdopted::new(error)),
            // An answer that comes when the lease is over is of no use any more.
            command => drop(while_held(guard, ask_store(store.as_ref(), tenure, &mut adoption, command)).await),
        }
    }
}

/// Carries out a command that asks the store.
async fn ask_store(store: &dyn ZoneStore, tenure: &Tenure, adoption: &mut Adoption, command: AdoptionCommand) {
    let (zone, reader) = (&tenure.zone, Some(tenure.grant));
    match command {
        AdoptionCommand::Summarize => {
            // Only a zone in memory is asked about so.
            #[cfg(feature = "testing")]
            crate::failpoint::fail_once(crate::failpoint::Part::Adoption);
            let summary = answer(ANSWER_MAX, store.summary(zone)).await;
            adoption.handle_summary(Instant::now(), summary);
        }
        AdoptionCommand::Fence => {
            let fenced = answer(ANSWER_MAX, store.fence(tenure)).await;
            adoption.handle_fenced(Instant::now(), fenced);
        }
        AdoptionCommand::FenceAndRead => {
            let read = async {
                store.fence(tenure).await?;
                store.outline(zone, reader).await
            };
            let read = answer(ANSWER_MAX, read).await;
            adoption.handle_read(Instant::now(), read);
        }
        AdoptionCommand::BeginAnew => {
            let begun = answer(ANSWER_MAX, begin_anew(store, tenure)).await;
            adoption.handle_read(Instant::now(), begun);
        }
        AdoptionCommand::ReadParts(parts) => {
            let read = answer(ANSWER_MAX, store.read_parts(zone, reader, &parts)).await;
            adoption.handle_parts(Instant::now(), read);
        }
        AdoptionCommand::ReadRecords(from, ticks) => {
            let read = answer(ANSWER_MAX, store.read_records(zone, reader, from, ticks)).await;
            adoption.handle_records(Instant::now(), read);
        }
        AdoptionCommand::Quarantine(tick, session, seq) => {
            let written = answer(ANSWER_MAX, store.quarantine(tenure, tick, session, seq)).await;
            adoption.handle_quarantined(Instant::now(), written);
        }
        AdoptionCommand::Keep(keep, max) => {
            let kept = answer(max, evidence::keep(store, tenure, keep)).await;
            adoption.handle_kept(Instant::now(), kept);
        }
        AdoptionCommand::Rewind(to) => {
            let rewound = answer(ANSWER_MAX, store.rewind(tenure, to)).await;
            adoption.handle_rewound(Instant::now(), rewound);
        }
        AdoptionCommand::Replay(_)
        | AdoptionCommand::FenceArchive
        | AdoptionCommand::ReadBlobPart(..)
        | AdoptionCommand::ReadWanted
        | AdoptionCommand::ReadKept(_)
        | AdoptionCommand::Log(_)
        | AdoptionCommand::DropMemory
        | AdoptionCommand::Start(..)
        | AdoptionCommand::StartFromMemory(_)
        | AdoptionCommand::Fail(_) => unreachable!("it asks nothing of a zone's data"),
    }
}

async fn begin_anew(store: &dyn ZoneStore, tenure: &Tenure) -> Result<ZoneOutline, StoreError> {
    store.create(tenure, Origin::Nothing).await?;
    store.outline(&tenure.zone, Some(tenure.grant)).await
}

/// Tells an adoption what was read of a kept file. Returns the configuration of the zone under it.
fn tell_kept(
    adoption: &mut Adoption,
    read: Result<(Option<RulesId>, Option<WorldFile>), StoreError>,
    zone: impl Fn(&WorldFile) -> Option<ZoneConfig>,
) -> Option<ZoneConfig> {
    let mut config = None;
    let file = read.map(|(wanted, file)| {
        config = file.as_ref().and_then(zone);
        KeptFile {
            wanted,
            says: file.map(|file| file.rules),
            is_built: config.is_some(),
        }
    });
    adoption.handle_kept_file(Instant::now(), file);
    config
}

/// Reads which rules the world is to run, and the kept file of these.
async fn read_kept(rules: &dyn RulesStore, id: RulesId) -> Result<(Option<RulesId>, Option<WorldFile>), StoreError> {
    let wanted = rules.wanted().await?;
    Ok((wanted, rules.kept_file(id).await?))
}

/// Returns the configuration of a zone under a kept world file. `None`: the file does not give the rules that it says.
fn kept_zone(
    file: &WorldFile,
    config: &ZoneConfig,
    build: impl Fn(&WorldFile) -> Option<Arc<dyn Game>>,
) -> Option<ZoneConfig> {
    let kept = ZoneConfig {
        tick_hz: file.tick_hz,
        game: build(file)?,
        ..config.clone()
    };
    (kept.rules() == file.rules).then_some(kept)
}

/// Waits for an answer as long as the lease lasts. `None`: it is over.
async fn while_held<T>(guard: &LeaseGuard, answered: impl Future<Output = T>) -> Option<T> {
    let over = async {
        while !guard.state().is_over() {
            tokio::time::sleep(Adoption::LOOK_EVERY).await;
        }
    };
    tokio::select! {
        answer = answered => Some(answer),
        () = over => None,
    }
}

fn replay_here(data: ZoneData, config: ZoneConfig, steps: AdoptionSteps) -> Result<Replayed, ReplayError> {
    #[cfg(feature = "testing")]
    crate::failpoint::stick_at(&config.name);
    plan(data).and_then(|plan| replay(plan.counted_by(steps), config))
}

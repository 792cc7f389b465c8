//! Adoption: carries out what an [`Adoption`] asks for, one command after the other. It decides nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everhold_core::durability::adoption::{ANSWER_MAX, AdoptError, Adoption, AdoptionCommand, History, Start};
use everhold_core::durability::store::{Origin, ZoneData, ZoneStore};
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::durability::{ReplayError, Replayed, plan, replay};
use everhold_core::ownership::Tenure;
use everhold_core::zone::ZoneConfig;

use super::notices;
use crate::deadline::answer;

/// Takes the zone over under `tenure`, from `memory` if this process has it suspended, else from the store. The replay
/// runs on a thread of its own: the zones that are hosted already must not feel it. `reseed_grace` is how long a zone
/// that the store has lost may come back.
pub async fn adopt(
    store: Arc<dyn ZoneStore>,
    tenure: &Tenure,
    config: ZoneConfig,
    reseed_grace: Duration,
    memory: Option<SuspendedZone>,
) -> Result<(Start, History), AdoptError> {
    let (store, zone) = (store.as_ref(), &tenure.zone);
    let mut adoption = Adoption::new(Instant::now(), tenure.grant, reseed_grace, memory);
    loop {
        let Some(command) = adoption.poll_command(Instant::now()) else {
            let at = adoption.poll_timeout().expect("every command was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        match command {
            AdoptionCommand::Summarize => {
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
                    store.read_zone(zone).await
                };
                let read = answer(ANSWER_MAX, read).await;
                adoption.handle_read(Instant::now(), read);
            }
            AdoptionCommand::BeginAnew => {
                let begin = async {
                    store.create(tenure, Origin::Nothing).await?;
                    store.read_zone(zone).await
                };
                let begun = answer(ANSWER_MAX, begin).await;
                adoption.handle_read(Instant::now(), begun);
            }
            AdoptionCommand::Replay(data) => {
                #[cfg(feature = "testing")]
                crate::failpoint::reach(crate::failpoint::Failpoint::Replay, zone);
                let config = config.clone();
                match tokio::task::spawn_blocking(|| replay_here(data, config)).await {
                    Ok(outcome) => adoption.handle_replayed(outcome),
                    Err(error) => adoption.handle_replay_lost(error.into()),
                }
            }
            AdoptionCommand::Quarantine(tick, session, seq) => {
                let written = answer(ANSWER_MAX, store.quarantine(tenure, tick, session, seq)).await;
                adoption.handle_quarantined(Instant::now(), written);
            }
            AdoptionCommand::Log(notice) => notices::log_adoption(tenure, notice),
            AdoptionCommand::Start(start, history) => return Ok((*start, history)),
            AdoptionCommand::Fail(error) => return Err(error),
        }
    }
}

fn replay_here(data: ZoneData, config: ZoneConfig) -> Result<Replayed, ReplayError> {
    #[cfg(feature = "testing")]
    crate::failpoint::stick_at(&config.name);
    plan(data).and_then(|plan| replay(plan, config))
}

//! The notices of a hosted zone's machines, as lines of the log. When a line is due is theirs to decide.

use everhold_core::durability::adoption::AdoptionNotice;
use everhold_core::durability::archivist::ArchivistNotice;
use everhold_core::durability::blame::InquiryNotice;
use everhold_core::durability::keeping::KeepOutcome;
use everhold_core::durability::{LagState, PipelineNotice};
use everhold_core::outage::Lasted;
use everhold_core::ownership::{RulesTag, Tenure};
use everhold_core::report::ShardEvent;
use everhold_protocol::ZoneName;

/// Returns the event by which the shard's report tells of a notice, if it is an alarm or the end of one.
pub(super) fn alarm(tenure: &Tenure, notice: &PipelineNotice) -> Option<ShardEvent> {
    let (zone, epoch) = (tenure.zone.clone(), tenure.epoch());
    match notice {
        PipelineNotice::AppendFailed(error, lasted) => Some(ShardEvent::Unconfirmed {
            zone,
            epoch,
            reason: error.to_string(),
            lasted_ms: lasted.ms as f64,
        }),
        PipelineNotice::AppendsConfirmed(lasted) => Some(ShardEvent::ConfirmedAgain {
            zone,
            epoch,
            lasted_ms: lasted.ms as f64,
        }),
        _ => None,
    }
}

/// Returns the event by which the shard's report tells of an archivist's notice, if it is an alarm or the end of one.
pub(super) fn archive_alarm(tenure: &Tenure, notice: &ArchivistNotice) -> Option<ShardEvent> {
    let ArchivistNotice::LagChanged(state, lag_ticks) = *notice else {
        return None;
    };
    Some(ShardEvent::ArchiveLag {
        zone: tenure.zone.clone(),
        epoch: tenure.epoch(),
        state,
        lag_ticks,
    })
}

/// Logs what a pipeline says of its zone.
pub(super) fn log_pipeline(zone: &ZoneName, notice: PipelineNotice) {
    match notice {
        PipelineNotice::AppendFailed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "an append was not confirmed");
        }
        PipelineNotice::AppendsConfirmed(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "appends are confirmed again");
        }
        PipelineNotice::Resending(from) => {
            tracing::warn!(%zone, from = from.0, "the store has a gap; its records are sent again");
        }
        PipelineNotice::Reseeding => {
            tracing::warn!(%zone, "the store's gap is older than memory; a base will bridge it");
        }
        PipelineNotice::DataSetLost => {
            tracing::error!(%zone, "the store has lost this zone's data; it is written anew from memory");
        }
        PipelineNotice::CreateFailed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "the zone's data set is not made anew yet");
        }
        PipelineNotice::Created(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "the zone's data set is made anew");
        }
        PipelineNotice::WriteFailed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "a checkpoint was not written");
        }
        PipelineNotice::CaptureLost(why, Lasted { ms, failures }) => {
            tracing::error!(%zone, why, ms, failures, "a checkpoint was not encoded; the zone goes on without it");
        }
        PipelineNotice::HomeFailed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "a home of this zone's characters is not stored again yet");
        }
        PipelineNotice::HomesSet(homes) => {
            tracing::info!(%zone, homes, "the homes of this zone's characters are stored again");
        }
        PipelineNotice::RestFailed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "a character at rest is not stored yet, and stays in the zone");
        }
        PipelineNotice::RestsKept(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "characters at rest are stored again");
        }
        PipelineNotice::Refused => {
            tracing::error!(
                %zone,
                "the store refuses to be written anew under this epoch; the zone goes on from memory under another"
            );
        }
        PipelineNotice::WritesConfirmed(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "checkpoints are written again");
        }
        PipelineNotice::Unsealed(why) => tracing::warn!(
            %zone,
            why,
            "the zone was stopped and is stored, but not sealed: other rules take it over only after a replay under \
             these"
        ),
    }
}

/// Logs what an archivist says of its zone.
pub(super) fn log_archive(zone: &ZoneName, notice: &ArchivistNotice) {
    match notice {
        ArchivistNotice::Failed(error, Lasted { ms, failures }) => {
            tracing::warn!(%zone, %error, ms, failures, "the archive does not take this zone; it is asked again");
        }
        ArchivistNotice::Confirmed(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "the archive takes this zone again");
        }
        ArchivistNotice::Reported(report) => tracing::warn!(
            %zone,
            superseded = report.superseded.len(),
            names_taken = report.names_taken.len(),
            undone = report.undone,
            "the archive has something newer, or rows of ticks that this history does not have"
        ),
        ArchivistNotice::Moved(last) => tracing::warn!(
            %zone,
            last = last.map(|last| last.position.tick.0),
            "the archive has another last commit than was known: all characters of the zone are written anew"
        ),
        ArchivistNotice::Merged(rows) => tracing::error!(
            %zone,
            rows,
            "the archive is away for too long: so many moves of value became what they add up to"
        ),
        ArchivistNotice::LagChanged(LagState::Fine, lag_ticks) => {
            tracing::info!(%zone, lag_ticks, "the archive follows the zone again");
        }
        ArchivistNotice::LagChanged(LagState::Behind | LagState::Held, lag_ticks) => tracing::error!(
            %zone,
            lag_ticks,
            "the archive has fallen behind: if the state store were lost now, the zone would lose these ticks"
        ),
        ArchivistNotice::Fenced => {
            tracing::warn!(%zone, "the archive knows of a newer owner of this zone: nothing more is written to it");
        }
    }
}

/// Logs that a zone's checkpoints fall behind, or follow again.
pub(super) fn log_lag(zone: &ZoneName, state: LagState, lag_ticks: u64) {
    match state {
        LagState::Fine => tracing::info!(%zone, lag_ticks, "checkpoints follow the zone again"),
        LagState::Behind => tracing::error!(%zone, lag_ticks, "checkpoints fail: an adopter would have to replay long"),
        LagState::Held => tracing::error!(
            %zone,
            lag_ticks,
            "checkpoints have failed for so long that the zone holds until one is stored"
        ),
    }
}

/// Logs what an adoption says of its zone.
pub(crate) fn log_adoption(tenure: &Tenure, notice: AdoptionNotice) {
    let zone = &tenure.zone;
    match notice {
        AdoptionNotice::Unanswered(why) => {
            tracing::warn!(%zone, why, "the store does not answer; it is asked again");
        }
        AdoptionNotice::Lost => {
            tracing::warn!(%zone, "the store has lost this zone; it is asked again for a while");
        }
        AdoptionNotice::BeginsAgain => tracing::error!(
            %zone,
            epoch = %tenure.epoch(),
            "the store has lost this zone, and nobody has it in memory: it begins again, \
             all its players' progress is gone"
        ),
        AdoptionNotice::Poison {
            tick,
            session,
            seq,
            reason,
        } => tracing::error!(
            %zone,
            tick = tick.0,
            session = session.0,
            seq,
            reason,
            "the replay fails at this input; it is quarantined"
        ),
        loss @ (AdoptionNotice::Damaged { .. }
        | AdoptionNotice::GoneBack { .. }
        | AdoptionNotice::DamagedBeyondMemory { .. }) => log_loss(zone, loss),
        AdoptionNotice::AsksArchive(why) => tracing::warn!(%zone, why, "the archive is asked for the zone"),
        AdoptionNotice::ArchiveUnanswered(why) => tracing::error!(
            %zone,
            why,
            "the archive does not answer, and what the store does not have of this zone may be there: the zone waits"
        ),
        AdoptionNotice::FromArchive(restored) => tracing::error!(
            %zone,
            epoch = %tenure.epoch(),
            of_epoch = %restored.commit.epoch,
            tick = restored.commit.tick.0,
            rewound_ticks = restored.rewound_ticks,
            interval_ticks = restored.interval_ticks,
            blobs_given_up = restored.blobs_given_up,
            "the zone goes on from the archive: what came after its last commit is lost"
        ),
        AdoptionNotice::Divergent(tick) => tracing::error!(
            %zone,
            tick = tick.0,
            "the replayed world differs from the one that was recorded: this zone is divergent"
        ),
        AdoptionNotice::Evidence(outcome) => log_evidence(zone, outcome),
        AdoptionNotice::UnderKeptRules(id) => tracing::warn!(
            %zone,
            rules = %RulesTag::new(&id),
            "the zone ran other rules and was not stopped in good order: it is replayed under the world file that the \
             store has kept of them, stopped, and then taken over"
        ),
    }
}

/// Logs what an adoption says of stored data that is damaged or gone.
fn log_loss(zone: &ZoneName, notice: AdoptionNotice) {
    match notice {
        AdoptionNotice::Damaged {
            what,
            given_up,
            last,
            lost_ticks,
        } => tracing::error!(
            %zone,
            what,
            checkpoints_given_up = given_up,
            last = last.0,
            lost_ticks,
            "stored data of this zone is damaged; it goes on from what is whole"
        ),
        AdoptionNotice::GoneBack { last, promised } => tracing::error!(
            %zone,
            last = last.0,
            promised = promised.0,
            lost_ticks = promised.0.saturating_sub(last.0),
            "the store has lost what it acknowledged of this zone"
        ),
        AdoptionNotice::DamagedBeyondMemory { what, last, lost_ticks } => tracing::error!(
            %zone,
            what,
            last = last.0,
            lost_ticks,
            "stored data of this zone is damaged, and its newest whole history is in memory here: it goes on from there"
        ),
        other => unreachable!("no loss: {other:?}"),
    }
}

/// Logs what became of the evidence of a zone that went wrong.
pub(super) fn log_evidence(zone: &ZoneName, outcome: KeepOutcome) {
    match outcome {
        KeepOutcome::Kept(mark) => tracing::warn!(
            %zone,
            tick = mark.tick.0,
            why = %mark.why,
            bytes = mark.bytes,
            "evidence of it is kept in the store: read it with `everhold export --evidence`"
        ),
        KeepOutcome::Counted => {
            tracing::warn!(%zone, "earlier evidence of this zone is kept already: this time is only counted");
        }
        KeepOutcome::GivenUp(why) => tracing::error!(%zone, why, "evidence of it could not be kept"),
        KeepOutcome::OverTime(max) => tracing::error!(
            %zone,
            waited_ms = max.as_millis(),
            "evidence of it could not be written in time, and is not kept: the zone goes on without it"
        ),
    }
}

/// Logs what an inquiry says of its zone's failure.
pub(super) fn log_inquiry(zone: &ZoneName, notice: InquiryNotice) {
    match notice {
        InquiryNotice::NoInput(tick) => tracing::error!(
            %zone,
            tick = tick.0,
            "no player's input is to blame: nothing is skipped, and the zone will fail wherever it is adopted"
        ),
        InquiryNotice::Quarantined(tick, session, seq) => tracing::error!(
            %zone,
            tick = tick.0,
            session = session.0,
            seq,
            "the zone failed at this input; it is quarantined"
        ),
        InquiryNotice::Unanswered(why) => tracing::warn!(%zone, why, "the culprit is not written down yet"),
        InquiryNotice::Refused(tick, error) => {
            tracing::error!(%zone, tick = tick.0, %error, "the culprit cannot be written down");
        }
    }
}

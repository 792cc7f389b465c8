//! What the machines of a hosted zone have to say, as lines of the log. When a line is due is theirs to decide.

use everhold_core::durability::PipelineNotice;
use everhold_core::outage::Lasted;
use everhold_protocol::ZoneName;

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
            tracing::warn!(%zone, from, "the store has a gap; its records are sent again");
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
        PipelineNotice::WritesConfirmed(Lasted { ms, failures }) => {
            tracing::info!(%zone, ms, failures, "checkpoints are written again");
        }
    }
}

//! The data set of a zone that the store has lost, while it is made anew from memory.

use std::time::{Duration, Instant};

use super::states::Creation;
use super::{Pipeline, PipelineNotice};
use crate::durability::store::StoreError;
use crate::ownership::EndReason;

/// A store that for so long refuses to be written anew does not change its mind: another epoch may replace what this
/// one may not. Some dozens of tries, and far apart enough that no epochs run out.
pub(super) const REFUSED_MAX: Duration = Duration::from_secs(10);

impl<S, R> Pipeline<S, R> {
    /// Has the data set made anew: the store came back without it, and the zone is written from memory, whole.
    pub(super) fn want_creation(&mut self) {
        if matches!(self.creation, Creation::None) {
            self.creation = Creation::Due;
            self.log(Some(PipelineNotice::DataSetLost));
        }
    }

    /// Notes that the store refuses what would replace its lost data. In the end this epoch is given up, and no memory.
    pub(super) fn note_refusal(&mut self, now: Instant, error: &StoreError) {
        let is_lost = self.journal.is_reseeding() || !matches!(self.creation, Creation::None);
        if !is_lost || !matches!(error, StoreError::Corrupt(_)) {
            return;
        }
        let since = *self.refused_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= REFUSED_MAX {
            self.log(Some(PipelineNotice::Refused));
            self.end(EndReason::Refused);
        }
    }
}

//! Homes that may be missing though the zone is not: when those of its characters are to be written anew. It asks no
//! store.

use super::{Pipeline, PipelineCommand};

impl<S, R> Pipeline<S, R> {
    /// Takes what the store of homes says of what it may have lost.
    pub fn handle_home_doubts(&mut self, doubts: Option<u64>) {
        if self.homes.note(doubts) && !self.is_ending() {
            self.queue.push_back(PipelineCommand::RestoreHomes);
        }
    }
}

/// Notes when the homes of a zone's characters are to be written anew because some may be missing.
#[derive(Debug, Default)]
pub(super) struct HomeWatch {
    noted: Option<u64>,
}

impl HomeWatch {
    /// Takes what the store of homes doubts now (`HomeStore::doubts`). Returns whether that is new.
    pub(super) fn note(&mut self, doubts: Option<u64>) -> bool {
        let is_new = doubts.is_some() && doubts != self.noted;
        self.noted = doubts;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_in_doubt_at_first_and_after_each_change_and_never_in_a_store_that_loses_all_or_none() {
        let mut watch = HomeWatch::default();
        let due: Vec<bool> = [Some(7), Some(7), Some(8), Some(7), Some(7)]
            .map(|doubts| watch.note(doubts))
            .into();
        assert_eq!(due, [true, false, true, true, false]);
        assert!(!HomeWatch::default().note(None));
    }
}

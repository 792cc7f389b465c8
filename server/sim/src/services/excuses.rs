//! The excuses in the books of the archive, for what the machines cannot help yet. Each goes with the fault that it is
//! for; nothing else of the books depends on them.

use everhold_core::durability::archive::{ArchiveCommit, ArchivedCharacter};
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};

use super::Services;

impl Services {
    /// Excuses what a commit may lack, or have too much.
    pub(super) fn excuse(&mut self, zone: &ZoneName, commit: &ArchiveCommit) {
        self.excuse_moves_of_dead_owners(zone, commit);
        self.excuse_unknown_fork(zone, commit);
    }

    /// The moves of value that an owner had done, and that were in no commit when it died or was suspended, are in what
    /// the next one goes on from, and its archivist does not hear of them. The first commit of an epoch lacks them.
    fn excuse_moves_of_dead_owners(&mut self, zone: &ZoneName, commit: &ArchiveCommit) {
        let epoch = commit.mark.position.epoch;
        if commit.parent.is_some_and(|parent| parent.position.epoch == epoch) {
            return;
        }
        let Some(root) = self.book(zone).root(epoch) else {
            return;
        };
        let kept = commit.kept.tick;
        let history = self.history(zone, root);
        let lacking = history.into_iter().filter(|stamp| stamp.tick > kept);
        self.archive_book(zone).excused.extend(lacking);
    }

    /// An archivist knows where its own epoch begins, and not where those between began of which the archive has no
    /// commit. If one of them did not go on from all that the archive has, the rest is not marked as undone.
    fn excuse_unknown_fork(&mut self, zone: &ZoneName, commit: &ArchiveCommit) {
        let stretches = self.book(zone).stretches(commit.mark.position.stamp());
        let kept = commit.kept.stamp();
        let is_kept = kept.tick == Tick(0) || is_within(&stretches, self.book(zone).resolve(kept));
        self.archive_book(zone).is_confused |= !is_kept;
    }

    /// Whether the archive has seen, or had, an epoch of the zone that shuts this owner out: its claim did not ask it.
    /// If store and authority forgot the zone, its epochs begin anew, and ticks of two owners have one name.
    #[must_use]
    pub fn is_shut_out(&self, tenure: &Tenure) -> bool {
        let zone = self.archive.zone(&tenure.zone, None).ok().flatten();
        let fence = zone.map(|zone| zone.fence);
        let book = self.archived.get(&tenure.zone);
        let was_shut_out = book.is_some_and(|book| book.shut_out.contains(&tenure.epoch()));
        was_shut_out
            || fence.is_some_and(|fence| fence.0 >= tenure.epoch() && fence != (tenure.epoch(), tenure.grant.nonce()))
    }
}

/// Whether a character of which a history knows nothing was born in ticks that are taken back: no commit names it any
/// more, and its row stays. Or it is not born at all: its account is reserved.
pub(super) fn is_left_behind(character: &ArchivedCharacter, history: &[(Epoch, Tick, Tick)]) -> bool {
    character.stamp.is_none_or(|stamp| !is_within(history, stamp))
}

/// Whether a tick is in a history.
fn is_within(history: &[(Epoch, Tick, Tick)], stamp: DataStamp) -> bool {
    let mut stretches = history.iter();
    stretches.any(|(epoch, after, last)| *epoch == stamp.epoch && stamp.tick > *after && stamp.tick <= *last)
}

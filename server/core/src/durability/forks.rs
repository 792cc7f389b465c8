//! The beginnings of a zone's epochs: how much of the archive's history the zone goes on from. An epoch may go on from
//! less than the one before it had, and die before it commits anything; the next one hears of it by the sections of
//! checkpoints, and by the records.
//!
//! ```text
//!   the archive's last commit: epoch 1, tick 90
//!   epoch 2 ── root: epoch 1, tick 80 ── never commits
//!   epoch 3 ── root: epoch 2, tick 95 ── commits: of the archive's history it keeps what is up to tick 80
//! ```

use everhold_protocol::Epoch;

use super::store::Position;
use crate::limits::FORKS_MAX;

/// The beginning of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The epoch.
    pub epoch: Epoch,
    /// The end of the history that it went on from.
    pub root: Position,
}

/// The beginnings of the epochs of one history, oldest first. Those before an epoch that went on from less say nothing
/// any more, and are not here: the roots rise with the epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forks(Vec<Fork>);

impl Forks {
    /// Notes that an epoch, later than all that are known, went on from `root`. Of more than [`FORKS_MAX`] the oldest
    /// is forgotten: an archive without a commit of as many epochs may keep too much.
    pub fn note(&mut self, fork: Fork) {
        if self.0.last().is_some_and(|last| last.epoch >= fork.epoch) {
            return;
        }
        self.0.retain(|before| before.root.stamp() < fork.root.stamp());
        self.0.push(fork);
        if self.0.len() > FORKS_MAX {
            self.0.remove(0);
        }
    }

    /// Returns the beginnings of epochs after this one, oldest first.
    #[must_use]
    pub fn after(&self, epoch: Epoch) -> &[Fork] {
        let known = self.0.partition_point(|fork| fork.epoch <= epoch);
        &self.0[known..]
    }

    /// Returns the last position that a history which ends at `last` and this one have in common.
    #[must_use]
    pub fn kept(&self, last: Position) -> Position {
        let first = self.after(last.epoch).first().map(|fork| fork.root);
        first.filter(|root| root.stamp() < last.stamp()).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Tick;

    use super::*;
    use crate::durability::store::RecordHash;

    fn position(epoch: u32, tick: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            tick: Tick(tick),
            hash: RecordHash([u8::try_from(tick).unwrap(); 32]),
        }
    }

    /// An epoch, and the epoch and tick of its root.
    type Beginning = (u32, (u32, u64));

    fn forks(all: &[Beginning]) -> Forks {
        let mut forks = Forks::default();
        for (epoch, (of, tick)) in all {
            forks.note(Fork {
                epoch: Epoch(*epoch),
                root: position(*of, *tick),
            });
        }
        forks
    }

    #[test]
    fn history_has_with_the_archives_in_common_what_every_epoch_since_went_on_from() {
        // The beginnings, the end of the archive's history, and what is kept of it.
        let table: [(&[Beginning], _, _); 9] = [
            (&[], (1, 90), (1, 90)),
            (&[(2, (1, 90))], (1, 90), (1, 90)),
            (&[(2, (1, 95))], (1, 90), (1, 90)),
            (&[(2, (1, 80))], (1, 90), (1, 80)),
            // Epoch 2 never committed.
            (&[(2, (1, 80)), (3, (2, 95))], (1, 90), (1, 80)),
            (&[(2, (1, 85)), (3, (1, 80)), (4, (3, 99))], (1, 90), (1, 80)),
            // It did.
            (&[(2, (1, 80)), (3, (2, 95))], (2, 93), (2, 93)),
            (&[(2, (1, 80)), (3, (2, 92))], (2, 93), (2, 92)),
            // The store lost everything of epoch 2.
            (&[(2, (1, 80)), (3, (1, 99))], (2, 93), (1, 99)),
        ];
        for (all, last, kept) in table {
            let kept_of = forks(all).kept(position(last.0, last.1));
            assert_eq!(kept_of, position(kept.0, kept.1), "{all:?} {last:?}");
        }
    }

    #[test]
    fn oldest_beginnings_are_forgotten_beyond_the_bound_and_known_ones_stay() {
        let many: Vec<_> = (1..=u32::try_from(FORKS_MAX).unwrap() + 3)
            .map(|epoch| (epoch + 1, (epoch, u64::from(epoch))))
            .collect();
        let mut forks = forks(&many);
        assert_eq!(forks.after(Epoch(0)).len(), FORKS_MAX);
        assert_eq!(forks.after(Epoch(0))[0].epoch, Epoch(5));
        let before = forks.clone();
        forks.note(Fork {
            epoch: Epoch(7),
            root: position(1, 1),
        });
        assert_eq!(forks, before);
    }
}

//! The seal of a zone that was stopped in good order: nothing but one base is needed to go on with it, and that base
//! can be read without the rules that made it. It is written by the stop; what may be done with it, an adoption says.

use everhold_protocol::Tick;

use super::{CheckpointHead, CheckpointKind, Position};
use crate::ownership::RulesStamp;

/// The word of an owner that a zone's newest base is all of it, and which rules it ran until then.
///
/// What it says of its position stays true for ever. It counts as long as the zone's data ends there: whatever moves
/// that end, a record or a head, ends the seal in the very same write, and no store has to remember to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seal {
    /// The position of the base, which is the zone's last tick.
    pub position: Position,
    /// The rules that the zone ran.
    pub rules: RulesStamp,
}

impl Seal {
    /// Whether it counts for a zone with these checkpoints, in order, and a journal with these first and last ticks.
    #[must_use]
    pub fn ends(&self, chain: &[CheckpointHead], journal: Option<(Tick, Tick)>) -> bool {
        let head = chain.last();
        let is_head = head.is_some_and(|head| head.kind == CheckpointKind::Base && head.position == self.position);
        is_head && journal.is_none_or(|(_, last)| last <= self.position.tick)
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Epoch;

    use super::*;
    use crate::durability::store::RecordHash;

    fn at(epoch: u32, tick: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            tick: Tick(tick),
            hash: RecordHash([tick as u8; 32]),
        }
    }

    const fn head(position: Position, kind: CheckpointKind) -> CheckpointHead {
        CheckpointHead {
            position,
            kind,
            parts: 1,
            bytes: 1,
        }
    }

    #[test]
    fn seal_counts_only_while_its_base_ends_the_data() {
        let seal = Seal {
            position: at(2, 9),
            rules: RulesStamp {
                id: [1; 32],
                code: 1,
                layout: 1,
            },
        };
        let base = head(at(2, 9), CheckpointKind::Base);
        let older = head(at(2, 5), CheckpointKind::Base);
        let delta = head(at(2, 9), CheckpointKind::Delta { parent: at(2, 5) });
        let other = head(at(3, 9), CheckpointKind::Base);
        let newer = head(at(2, 12), CheckpointKind::Base);
        let journal = |last| Some((Tick(4), Tick(last)));
        let table = [
            (&[base][..], None, true),
            (&[older, base], journal(9), true),
            (&[base], journal(8), true),
            (&[base], journal(10), false),
            (&[], None, false),
            (&[], journal(9), false),
            (&[older, delta], journal(9), false),
            (&[other], journal(9), false),
            (&[base, newer], journal(12), false),
        ];
        for (chain, journal, counts) in table {
            assert_eq!(seal.ends(chain, journal), counts, "{chain:?}, {journal:?}");
        }
    }
}

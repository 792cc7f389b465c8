//! Checks of what a head leaves in the store: each delta follows the checkpoint that it names, and the journal goes on
//! from the base before the newest, so that an adopter may go back to it.

use everhold_core::durability::store::{CheckpointHead, CheckpointKind, ZoneOutline};
use everhold_protocol::{Tick, ZoneName};

use super::Services;

impl Services {
    /// Checks that each stored delta follows the checkpoint before it.
    pub(super) fn check_chain(&mut self, zone: &ZoneName) {
        let chain = self.store.outline(zone, None).map(|outline| outline.chain);
        let chain = chain.unwrap_or_default();
        let mut before = None;
        for head in &chain {
            let follows = match head.kind {
                CheckpointKind::Delta { parent } => before == Some(parent),
                CheckpointKind::Base => true,
            };
            before = Some(head.position);
            if !follows {
                let detail = format!("{zone}: the delta of tick {}", head.position.tick);
                self.breach("a delta follows the checkpoint that it names", detail);
            }
        }
    }

    /// Returns the tick of the newest base, and the last record, of a zone whose journal goes on from that base.
    pub(super) fn base_to_go_on_from(&self, zone: &ZoneName) -> Option<(Tick, Tick)> {
        let ZoneOutline { chain, journal, .. } = self.store.outline(zone, None).ok()?;
        let mut bases = chain.iter().filter(|head| head.kind == CheckpointKind::Base);
        let base = bases.next_back()?.position.tick;
        let (_, last) = journal?;
        self.store.record_hash(zone, base.next()).map(|_| (base, last))
    }

    /// Checks that a base, which is a head now, left the records after the base before it, if they were there.
    pub(super) fn check_trim(&mut self, zone: &ZoneName, head: &CheckpointHead, before: Option<(Tick, Tick)>) {
        let Some((base, last)) = before.filter(|_| head.kind == CheckpointKind::Base) else {
            return;
        };
        // A base beyond the journal's end bridges a gap: nothing of it goes on from the one before.
        let bridges = last < head.position.tick || base >= head.position.tick;
        if !bridges && self.store.record_hash(zone, base.next()).is_none() {
            let detail = format!(
                "{zone}: the base of tick {} trimmed beyond that of {base}",
                head.position.tick
            );
            self.breach("the journal goes on from the base before", detail);
        }
    }
}

//! Checks of what a head leaves in the store: each delta follows the checkpoint that it names, and the journal goes on
//! from the base before the newest, so that an adopter may go back to it.

use everhold_core::durability::store::{CheckpointHead, CheckpointKind, ZoneOutline};
use everhold_protocol::ZoneName;

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

    /// Checks that a base, which is a head now, left the records after the base before it, as far as they were there.
    pub(super) fn check_trim(&mut self, zone: &ZoneName, head: &CheckpointHead, before: Option<ZoneOutline>) {
        let Some(ZoneOutline { chain, journal, .. }) = before.filter(|_| head.kind == CheckpointKind::Base) else {
            return;
        };
        let mut bases = chain.iter().filter(|head| head.kind == CheckpointKind::Base);
        let base = bases.next_back().map(|base| base.position);
        let (Some(base), Some((first, last))) = (base, journal) else {
            return;
        };
        let needed = base.tick.next();
        // A base beyond the journal's end bridges a gap: nothing of it goes on from the one before.
        let bridges = last < head.position.tick || base.tick >= head.position.tick;
        if bridges || first > needed {
            return;
        }
        let now = self.store.outline(zone, None).ok().and_then(|outline| outline.journal);
        if now.is_none_or(|(first, _)| first > needed) {
            let detail = format!(
                "{zone}: the base of tick {} trimmed beyond that of {}",
                head.position.tick, base.tick
            );
            self.breach("the journal goes on from the base before", detail);
        }
    }
}

//! For benches only: the stages of a tick one by one. A server runs them in their one order, by [`TickLoop::step`].

use super::TickLoop;
use crate::durability::store::StoredRecord;
use crate::ingress::inbox::InboxEntry;
use crate::ingress::input::Input;
use crate::zone::{Outputs, Zone};

impl TickLoop {
    /// For benches: turns entries into inputs of the next tick.
    pub fn stage_drain(&mut self, entries: impl Iterator<Item = InboxEntry>) {
        self.inbox.drain(entries, &mut self.inputs);
    }

    /// For benches: freezes the next tick's inputs into its record.
    pub fn stage_freeze(&mut self) -> StoredRecord {
        self.freeze()
    }

    /// For benches: steps the zone on the frozen inputs.
    pub fn stage_step(&mut self) -> Outputs {
        self.step_zone()
    }

    /// For benches: fills the loop's scene from the zone.
    pub fn stage_scene(&mut self) {
        self.zone.scene(&mut self.scene);
    }

    /// For benches: the inputs of the next tick.
    pub fn inputs(&mut self) -> &mut Vec<Input> {
        &mut self.inputs
    }

    /// For benches: the zone, between two ticks.
    pub fn zone(&mut self) -> &mut Zone {
        &mut self.zone
    }
}

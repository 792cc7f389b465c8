//! The entities around a client, each with its last known place and movement.

use crate::ids::{EntityId, SessionId, Tick};
use crate::limits::{FORGET_TICKS, REFRESH_TICKS};
use crate::snapshot::{EntityUpdate, EntityView, Velocity};

/// The entities around one client, in order of id.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    known: Vec<KnownEntity>,
    /// The tick at which forgotten entities are next removed.
    sweep_at: Tick,
}

/// An entity as it was last sent.
#[derive(Clone, Copy, Debug)]
struct KnownEntity {
    view: EntityView,
    velocity: Velocity,
    told_at: Tick,
}

impl KnownEntity {
    fn is_fresh(&self, tick: Tick) -> bool {
        tick.since(self.told_at) < FORGET_TICKS
    }

    /// Returns the entity as it is now, if it still moves as it was sent.
    fn at(&self, tick: Tick) -> EntityView {
        let ticks = u32::try_from(tick.since(self.told_at)).unwrap_or(u32::MAX);
        let (x, y) = self.velocity.lead(self.view.x, self.view.y, ticks);
        EntityView { x, y, ..self.view }
    }
}

impl Surroundings {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.sweep_at = Tick(0);
    }

    /// Takes a snapshot's records of a tick. One that comes after a newer one still corrects entities that the newer
    /// one did not name, but adds none: an entity that is missing may be gone since.
    pub(super) fn learn(&mut self, tick: Tick, updates: &[EntityUpdate], own: Option<SessionId>, is_late: bool) {
        for update in updates.iter().filter(|update| Some(update.id()) != own) {
            let place = self.place(update.id());
            match (*update, place) {
                (EntityUpdate::Seen(view, velocity), place) => {
                    let told = KnownEntity {
                        view,
                        velocity,
                        told_at: tick,
                    };
                    match place {
                        Ok(at) if self.known[at].told_at <= tick => self.known[at] = told,
                        Err(at) if !is_late => self.known.insert(at, told),
                        _ => {}
                    }
                }
                (EntityUpdate::Gone(_), Ok(at)) if self.known[at].told_at <= tick => _ = self.known.remove(at),
                (EntityUpdate::Gone(_), _) => {}
            }
        }
        if self.sweep_at <= tick {
            self.sweep_at = tick.saturating_add(REFRESH_TICKS);
            self.known.retain(|known| known.is_fresh(tick));
        }
    }

    /// Returns all entities that are not forgotten, as they are at `tick`.
    pub(super) fn at(&self, tick: Tick) -> impl Iterator<Item = EntityView> + '_ {
        let fresh = self.known.iter().filter(move |known| known.is_fresh(tick));
        fresh.map(move |known| known.at(tick))
    }

    /// Returns their approximate number.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn place(&self, id: EntityId) -> Result<usize, usize> {
        self.known.binary_search_by_key(&id, |known| known.view.id)
    }
}

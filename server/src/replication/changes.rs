//! What is to be told of a tick's entities, whoever looks: those that no longer move as was told, those of whom that was told a moment
//! ago (it may have been lost), and those whose turn it is to be refreshed. It knows no viewer.
//!
//! What is due stays so for a *window* of ticks, as many as pass until every viewer has had a turn. In the first of them the truth is
//! told, and in the others where it leads if nothing else happens, so that all viewers believe the same.
//!
//! An entity's velocity is what it moved in the last tick, so that walkers, monsters, and whatever a rule will push around are told of in
//! the same way, and a rule need not say how anything moves.

use everhold_protocol::limits::{DEVIATION_CM_MAX, REFRESH_TICKS};
use everhold_protocol::{EntityId, EntityUpdate, EntityView, Tick, Velocity};

use crate::limits::CHANGE_REPEAT_TICKS;

/// The entities of the last tick, and what is due of this one's.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In order of id.
    tracks: Vec<Track>,
    /// Those that vanished, until that was told again.
    gone: Vec<(EntityView, Tick)>,
    due: Vec<Due>,
    scratch: Vec<Track>,
}

/// What is due of one entity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Where it is, or was last.
    pub(super) view: EntityView,
    /// What to tell.
    pub(super) update: EntityUpdate,
}

/// One entity, and what viewers think of it.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// As it was at the last tick.
    view: EntityView,
    /// How it moved then.
    velocity: Velocity,
    /// Where those who were told believe it to be, and how they believe it to move.
    believed: (i32, i32),
    believed_velocity: Velocity,
    /// When it last did what nobody expected.
    changed_at: Tick,
}

impl Track {
    fn new(view: EntityView, tick: Tick) -> Self {
        Self {
            view,
            velocity: Velocity::STILL,
            believed: (view.x, view.y),
            believed_velocity: Velocity::STILL,
            changed_at: tick,
        }
    }

    /// One tick on.
    fn advance(&mut self, view: EntityView, tick: Tick) {
        self.velocity = velocity(&self.view, &view);
        self.believed = self.believed_velocity.lead(self.believed.0, self.believed.1, 1);
        let deviation = self.believed.0.abs_diff(view.x).max(self.believed.1.abs_diff(view.y));
        if deviation > DEVIATION_CM_MAX.unsigned_abs() || (view.health, view.kind) != (self.view.health, self.view.kind)
        {
            self.changed_at = tick;
        }
        self.view = view;
    }

    /// What of it is due, which counts as told.
    fn due(&mut self, tick: Tick, window: u64) -> Option<Due> {
        let since_change = since_told(self.changed_at, tick);
        let since_refresh = tick.wrapping_add(self.view.id.0) % REFRESH_TICKS;
        match since_change.min(since_refresh) {
            0 => (self.believed, self.believed_velocity) = ((self.view.x, self.view.y), self.velocity),
            since if since >= window => return None,
            _ => {}
        }
        let (x, y) = self.believed;
        Some(Due {
            view: self.view,
            update: EntityUpdate::Seen(EntityView { x, y, ..self.view }, self.believed_velocity),
        })
    }
}

/// Ticks since it was told first or again what happened then.
const fn since_told(then: Tick, tick: Tick) -> u64 {
    let age = tick.saturating_sub(then);
    if age < CHANGE_REPEAT_TICKS {
        age
    } else {
        age - CHANGE_REPEAT_TICKS
    }
}

/// How something moved within a tick; standing if that is more than a velocity can say.
fn velocity(before: &EntityView, now: &EntityView) -> Velocity {
    let axis = |before: i32, now: i32| i8::try_from(now.wrapping_sub(before)).ok();
    match (axis(before.x, now.x), axis(before.y, now.y)) {
        (Some(dx), Some(dy)) => Velocity { dx, dy },
        _ => Velocity::STILL,
    }
}

impl Changes {
    /// Takes a tick's entities, in order of id, and says what is due of them.
    pub(super) fn advance<'a, I>(&mut self, entities: impl Fn() -> I, tick: Tick, window: u64) -> &[Due]
    where
        I: ExactSizeIterator<Item = &'a EntityView>,
    {
        self.due.clear();
        let known = self.follow(entities(), 0, tick, window);
        if known < self.tracks.len().max(entities().len()) {
            self.align(entities().skip(known), known, tick);
            self.follow(entities().skip(known), known, tick, window);
        }
        for (view, gone_at) in &self.gone {
            if since_told(*gone_at, tick) < window {
                self.due.push(Due {
                    view: *view,
                    update: EntityUpdate::Gone(view.id),
                });
            }
        }
        self.gone
            .retain(|(_, gone_at)| *gone_at + CHANGE_REPEAT_TICKS + window > tick + 1);
        &self.due
    }

    /// Moves the tracks from the `first` on, for as long as they are of these entities, and says where that ended.
    fn follow<'a>(
        &mut self,
        entities: impl Iterator<Item = &'a EntityView>,
        first: usize,
        tick: Tick,
        window: u64,
    ) -> usize {
        let mut next = first;
        for (track, view) in self.tracks[first..].iter_mut().zip(entities) {
            if track.view.id != view.id {
                break;
            }
            track.advance(*view, tick);
            if let Some(due) = track.due(tick, window) {
                self.due.push(due);
            }
            next += 1;
        }
        next
    }

    /// From the `first` track on, one for each of these entities, in the same order.
    fn align<'a>(&mut self, entities: impl Iterator<Item = &'a EntityView>, first: usize, tick: Tick) {
        self.scratch.clear();
        let mut before = self.tracks[first..].iter().peekable();
        for view in entities {
            while let Some(lost) = before.next_if(|track| track.view.id < view.id) {
                self.gone.push((lost.view, tick));
            }
            let track = before.next_if(|track| track.view.id == view.id).copied();
            self.scratch.push(track.unwrap_or_else(|| {
                forgive(&mut self.gone, view.id);
                Track::new(*view, tick)
            }));
        }
        self.gone.extend(before.map(|lost| (lost.view, tick)));
        self.tracks.truncate(first);
        self.tracks.append(&mut self.scratch);
    }

    /// What there is to tell a viewer that knows nothing yet: everything, in order of id.
    pub(super) fn all(&self) -> impl Iterator<Item = Due> + '_ {
        self.tracks.iter().map(|track| Due {
            view: track.view,
            update: EntityUpdate::Seen(track.view, track.velocity),
        })
    }
}

/// It is back: a player who rested, for instance.
fn forgive(gone: &mut Vec<(EntityView, Tick)>, id: EntityId) {
    gone.retain(|(view, _)| view.id != id);
}

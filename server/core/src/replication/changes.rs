//! Changes of a tick's entities, to be told to any viewer: entities that no longer move as was told, those whose change
//! was told a moment ago (it may have been lost), those whose refresh is due; and, to viewers of their last place,
//! those that vanished or leapt away. It knows no viewer.
//!
//! A record stays due for a *window* of ticks, as many as pass until every viewer has had a turn. In the first of them
//! the truth is told, and in the others its extrapolation, so that all viewers believe the same. A newcomer is told
//! that belief as well, not the truth: only this one belief is compared with the truth, so a viewer with another one
//! would not be corrected before the next refresh.
//!
//! An entity's velocity is its movement in the last tick, so that walkers, monsters, and whatever a rule may push
//! around are told of in the same way, and a rule need not say how anything moves.

use everhold_protocol::limits::{DEVIATION_CM_MAX, REFRESH_TICKS};
use everhold_protocol::{EntityId, EntityUpdate, EntityView, Tick, Velocity};

use super::leap_cm;
use crate::limits::CHANGE_REPEAT_TICKS;

/// The entities of the last tick, and the records that are due in this one.
#[derive(Debug)]
pub(super) struct Changes {
    /// In order of id.
    tracks: Vec<Track>,
    /// Entities that vanished, until that was told again.
    gone: Vec<(EntityView, Tick)>,
    /// Entities that leapt, as they were before, until viewers of that place were told again.
    leapt: Vec<(EntityView, Tick)>,
    due: Vec<DueRecord>,
    /// The index in `due` at which the vanished and the leapt entities begin.
    partings: usize,
    radius_cm: u32,
    scratch: Vec<Track>,
}

/// The record that is due of one entity.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueRecord {
    /// The entity as it is, or was last.
    pub(super) view: EntityView,
    /// The record to send.
    pub(super) update: EntityUpdate,
}

/// One entity, and what viewers believe of it.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// The entity at the last tick.
    view: EntityView,
    /// Its velocity then.
    velocity: Velocity,
    /// Position and velocity that viewers believe it to have.
    believed: (i32, i32),
    believed_velocity: Velocity,
    /// The last tick in which it moved otherwise than viewers believed.
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

    /// Advances by one tick. Returns whether the entity leapt further than `leap_cm`.
    fn advance(&mut self, view: EntityView, tick: Tick, leap_cm: u32) -> bool {
        self.velocity = velocity(&self.view, &view);
        self.believed = self.believed_velocity.lead(self.believed.0, self.believed.1, 1);
        let deviation = distance_cm(self.believed, (view.x, view.y));
        let mut has_leapt = false;
        if deviation > DEVIATION_CM_MAX.unsigned_abs() || (view.health, view.kind) != (self.view.health, self.view.kind)
        {
            self.changed_at = tick;
            has_leapt = distance_cm((self.view.x, self.view.y), (view.x, view.y)) > leap_cm;
        }
        self.view = view;
        has_leapt
    }

    /// Returns the record that is due of it, which counts as told.
    fn due(&mut self, tick: Tick, window: u64) -> Option<DueRecord> {
        let since_change = since_told(self.changed_at, tick);
        let since_refresh = tick.0.wrapping_add(self.view.id.0) % REFRESH_TICKS;
        match since_change.min(since_refresh) {
            0 => (self.believed, self.believed_velocity) = ((self.view.x, self.view.y), self.velocity),
            since if since >= window => return None,
            _ => {}
        }
        Some(DueRecord {
            view: self.view,
            update: self.belief(),
        })
    }

    /// Returns the record of what viewers believe.
    fn belief(&self) -> EntityUpdate {
        let (x, y) = self.believed;
        EntityUpdate::Seen(EntityView { x, y, ..self.view }, self.believed_velocity)
    }
}

/// Returns the ticks since a change of tick `then` was told, first or again.
const fn since_told(then: Tick, tick: Tick) -> u64 {
    let age = tick.since(then);
    if age < CHANGE_REPEAT_TICKS {
        age
    } else {
        age - CHANGE_REPEAT_TICKS
    }
}

/// Returns the distance of two places on the axis on which it is larger, cm.
const fn distance_cm(one: (i32, i32), other: (i32, i32)) -> u32 {
    let (dx, dy) = (one.0.abs_diff(other.0), one.1.abs_diff(other.1));
    if dx > dy { dx } else { dy }
}

/// Returns an entity's movement within a tick; zero if that is more than a velocity can hold.
fn velocity(before: &EntityView, now: &EntityView) -> Velocity {
    let axis = |before: i32, now: i32| i8::try_from(now.wrapping_sub(before)).ok();
    match (axis(before.x, now.x), axis(before.y, now.y)) {
        (Some(dx), Some(dy)) => Velocity { dx, dy },
        _ => Velocity::STILL,
    }
}

impl Changes {
    /// Returns the changes of a zone with this view radius.
    pub(super) fn new(radius_cm: u32) -> Self {
        Self {
            tracks: Vec::new(),
            gone: Vec::new(),
            leapt: Vec::new(),
            due: Vec::new(),
            partings: 0,
            radius_cm,
            scratch: Vec::new(),
        }
    }

    /// Takes a tick's entities, in order of id, and returns the records that are due.
    pub(super) fn advance<'a, I>(&mut self, entities: impl Fn() -> I, tick: Tick, window: u64) -> &[DueRecord]
    where
        I: ExactSizeIterator<Item = &'a EntityView>,
    {
        self.due.clear();
        let known = self.follow(entities(), 0, tick, window);
        if known < self.tracks.len().max(entities().len()) {
            self.align(entities().skip(known), known, tick);
            self.follow(entities().skip(known), known, tick, window);
        }
        self.part(tick, window);
        &self.due
    }

    /// Adds the records of entities that left their place, for viewers of that place.
    fn part(&mut self, tick: Tick, window: u64) {
        self.partings = self.due.len();
        let is_due = |parted: &&(EntityView, Tick)| since_told(parted.1, tick) < window;
        for (view, _) in self.gone.iter().filter(is_due) {
            self.due.push(DueRecord {
                view: *view,
                update: EntityUpdate::Gone(view.id),
            });
        }
        for (view, _) in self.leapt.iter().filter(is_due) {
            let update = self.whereabouts(view);
            self.due.extend(update.map(|update| DueRecord { view: *view, update }));
        }
        let is_to_be_told = |parted: &(EntityView, Tick)| parted.1 + CHANGE_REPEAT_TICKS + window > tick.next();
        self.gone.retain(is_to_be_told);
        self.leapt.retain(is_to_be_told);
    }

    /// Returns what viewers of an entity's old place are told when it leapt: its new place, if all of them can be told
    /// a place so far away; that it is gone, if none of them sees it there. In between, which there is only with radii
    /// above 109 m, it stays in their mirrors until they forget it.
    fn whereabouts(&self, here: &EntityView) -> Option<EntityUpdate> {
        let place = self.tracks.binary_search_by_key(&here.id, |track| track.view.id);
        let Some(track) = place.ok().map(|place| &self.tracks[place]) else {
            return Some(EntityUpdate::Gone(here.id));
        };
        let distance = distance_cm((here.x, here.y), track.believed);
        if distance > 2 * self.radius_cm {
            Some(EntityUpdate::Gone(here.id))
        } else {
            let is_in_range = distance + self.radius_cm <= EntityUpdate::DISTANCE_CM_MAX.unsigned_abs();
            is_in_range.then(|| track.belief())
        }
    }

    /// Advances the tracks from the `first` on while they match these entities, and returns where that ended.
    fn follow<'a>(
        &mut self,
        entities: impl Iterator<Item = &'a EntityView>,
        first: usize,
        tick: Tick,
        window: u64,
    ) -> usize {
        let mut next = first;
        let leap_cm = leap_cm(self.radius_cm);
        for (track, view) in self.tracks[first..].iter_mut().zip(entities) {
            if track.view.id != view.id {
                break;
            }
            let before = track.view;
            if track.advance(*view, tick, leap_cm) {
                self.leapt.push((before, tick));
            }
            if let Some(due) = track.due(tick, window) {
                self.due.push(due);
            }
            next += 1;
        }
        next
    }

    /// Rebuilds the tracks from the `first` on: one for each of these entities, in the same order.
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

    /// Returns the records for a viewer that knows nothing yet: everything, in order of id. A viewer that was moved far
    /// may have seen what is gone.
    pub(super) fn all(&self) -> impl Iterator<Item = DueRecord> + '_ {
        let tracks = self.tracks.iter().map(|track| DueRecord {
            view: track.view,
            update: track.belief(),
        });
        tracks.chain(self.due[self.partings..].iter().copied())
    }
}

/// Forgets that an entity vanished, because it is back: a player who rested, for instance.
fn forgive(gone: &mut Vec<(EntityView, Tick)>, id: EntityId) {
    gone.retain(|(view, _)| view.id != id);
}

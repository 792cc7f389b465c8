//! What is to be told of a tick's entities, whoever looks: those that no longer move as was told, those of whom that was told a moment
//! ago (it may have been lost), and those whose turn it is to be refreshed; and to whoever saw them there, those that vanished or leapt
//! away. It knows no viewer.
//!
//! What is due stays so for a *window* of ticks, as many as pass until every viewer has had a turn. In the first of them the truth is
//! told, and in the others where it leads if nothing else happens, so that all viewers believe the same. A newcomer is told that
//! belief as well, not the truth: only the one belief is compared with the truth, so whoever held another would not be set right before
//! the next refresh.
//!
//! An entity's velocity is what it moved in the last tick, so that walkers, monsters, and whatever a rule will push around are told of in
//! the same way, and a rule need not say how anything moves.

use everhold_protocol::limits::{DEVIATION_CM_MAX, REFRESH_TICKS};
use everhold_protocol::{EntityId, EntityUpdate, EntityView, Tick, Velocity};

use super::leap_cm;
use crate::limits::CHANGE_REPEAT_TICKS;

/// The entities of the last tick, and what is due of this one's.
#[derive(Debug)]
pub(super) struct Changes {
    /// In order of id.
    tracks: Vec<Track>,
    /// Those that vanished, until that was told again.
    gone: Vec<(EntityView, Tick)>,
    /// Those that leapt, as they were before, until those who saw them there were told again.
    leapt: Vec<(EntityView, Tick)>,
    due: Vec<Due>,
    /// Where in `due` the vanished and the leapt begin.
    partings: usize,
    radius_cm: u32,
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

    /// Goes one tick on, and says whether it leapt further than `leap_cm`.
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

    /// What of it is due, which counts as told.
    fn due(&mut self, tick: Tick, window: u64) -> Option<Due> {
        let since_change = since_told(self.changed_at, tick);
        let since_refresh = tick.wrapping_add(self.view.id.0) % REFRESH_TICKS;
        match since_change.min(since_refresh) {
            0 => (self.believed, self.believed_velocity) = ((self.view.x, self.view.y), self.velocity),
            since if since >= window => return None,
            _ => {}
        }
        Some(Due {
            view: self.view,
            update: self.belief(),
        })
    }

    /// What viewers think of it.
    fn belief(&self) -> EntityUpdate {
        let (x, y) = self.believed;
        EntityUpdate::Seen(EntityView { x, y, ..self.view }, self.believed_velocity)
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

/// How far two places are from each other, on the axis on which that is more.
const fn distance_cm(one: (i32, i32), other: (i32, i32)) -> u32 {
    let (dx, dy) = (one.0.abs_diff(other.0), one.1.abs_diff(other.1));
    if dx > dy { dx } else { dy }
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
    /// Of a zone in which viewers see so far.
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
        self.part(tick, window);
        &self.due
    }

    /// What is due of those that are no longer where they were, to whoever saw them there.
    fn part(&mut self, tick: Tick, window: u64) {
        self.partings = self.due.len();
        let is_due = |parted: &&(EntityView, Tick)| since_told(parted.1, tick) < window;
        for (view, _) in self.gone.iter().filter(is_due) {
            self.due.push(Due {
                view: *view,
                update: EntityUpdate::Gone(view.id),
            });
        }
        for (view, _) in self.leapt.iter().filter(is_due) {
            let update = self.whereabouts(view);
            self.due.extend(update.map(|update| Due { view: *view, update }));
        }
        let is_to_be_told = |parted: &(EntityView, Tick)| parted.1 + CHANGE_REPEAT_TICKS + window > tick + 1;
        self.gone.retain(is_to_be_told);
        self.leapt.retain(is_to_be_told);
    }

    /// What to tell those who saw an entity here before it leapt: where it is now, if all of them can be told a place so far away; that
    /// it is gone, if none of them sees it there. In between, which there is only with radii above 109 m, it stays in their mirrors until
    /// they forget it.
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

    /// Moves the tracks from the `first` on, for as long as they are of these entities, and says where that ended.
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

    /// What there is to tell a viewer that knows nothing yet: everything, in order of id. One that was moved far may have seen what is
    /// gone.
    pub(super) fn all(&self) -> impl Iterator<Item = Due> + '_ {
        let tracks = self.tracks.iter().map(|track| Due {
            view: track.view,
            update: track.belief(),
        });
        tracks.chain(self.due[self.partings..].iter().copied())
    }
}

/// It is back: a player who rested, for instance.
fn forgive(gone: &mut Vec<(EntityView, Tick)>, id: EntityId) {
    gone.retain(|(view, _)| view.id != id);
}

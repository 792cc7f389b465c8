//! Replication decides what each session is told of a tick. It opens no socket and reads no clock.
//!
//! An entity is told of when it no longer moves as was told, and now and then to refresh (`changes`); what is due is encoded once a
//! tick, sorted by place, and copied to every viewer that is near (`layer`). Nothing is kept of what a viewer has received: a record is
//! whole, a change is told twice, and a refresh repairs what was lost all the same within
//! [`REFRESH_TICKS`](everhold_protocol::limits::REFRESH_TICKS). So a viewer costs neither memory nor a comparison with what it knows,
//! and an acknowledgement changes nothing. Only newcomers are shown everything (`newcomers`).
//!
//! When more is due than a datagram holds, the nearest are told of. Whoever is left out is refreshed in the next round, when others of
//! its neighbours are due: what is near is exact, and what is far in a crowd is older, or not seen.
//!
//! All datagrams of a tick lie in one buffer (`arena`), so that a player costs no allocation.

mod arena;
mod changes;
mod layer;
mod newcomers;
mod order;
#[cfg(test)]
mod tests;

use everhold_protocol::limits::DATAGRAM_BYTES_MAX;
use everhold_protocol::{EntityUpdate, SnapshotHeader, Tick};

use crate::interest::{Viewers, Viewpoint};
use crate::zone::{Scene, SceneSession};
use arena::Arenas;
pub use arena::Datagrams;
use changes::{Changes, Due};
use layer::Layer;
use newcomers::Newcomers;
use order::IdOrder;

/// What a view may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewConfig {
    /// How far a player sees, cm.
    pub radius_cm: i32,
    /// The longest datagram, bytes, but for a newcomer's first: one record beside the header at least, [`DATAGRAM_BYTES_MAX`] at most.
    pub datagram_bytes: usize,
}

impl Default for ViewConfig {
    /// 100 m, as far as a character is worth drawing. 320 bytes bound a player's share of the network to 8 kB/s (with all headers, at
    /// 20 Hz) whatever happens around it, and hold some thirty records: 600 in a second, of which 50 walking neighbours need 150.
    fn default() -> Self {
        Self {
            radius_cm: 10_000,
            datagram_bytes: 320,
        }
    }
}

/// How much viewers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// Of those in the outer half of the view, changes once and not twice, and every other refresh.
    FarSeldom,
    /// The same, in datagrams of half the length.
    Small,
}

/// Makes the datagrams of each tick.
#[derive(Debug)]
pub struct Replicator {
    config: ViewConfig,
    detail: Detail,
    changes: Changes,
    newcomers: Newcomers,
    viewers: Viewers,
    /// What is due, for everybody; with less detail only what the far ones are told too.
    due: Layer,
    /// With less detail: the rest of what is due, for those who are near.
    near: Layer,
    /// Everything, for newcomers.
    all: Layer,
    arenas: Arenas,
    scratch: Scratch,
}

/// Memory that is used again each tick.
#[derive(Debug, Default)]
struct Scratch {
    entity_order: IdOrder,
    session_order: IdOrder,
    /// Of the sessions, in order of id.
    viewpoints: Vec<Viewpoint>,
    is_new: Vec<bool>,
    /// Sessions in the order of the viewers' groups, each with whether it is new.
    seats: Vec<(SceneSession, bool)>,
    datagram: Vec<u8>,
}

impl Replicator {
    /// # Panics
    /// If the configuration is outside the bounds that [`ViewConfig`] and [`Reach`](crate::interest::Reach) name.
    #[must_use]
    pub fn new(config: ViewConfig) -> Self {
        let room = SnapshotHeader::BYTES_MAX + EntityUpdate::BYTES_MAX..=DATAGRAM_BYTES_MAX;
        assert!(
            room.contains(&config.datagram_bytes),
            "a datagram has {} to {} B",
            room.start(),
            room.end()
        );
        Self {
            config,
            detail: Detail::Full,
            changes: Changes::default(),
            newcomers: Newcomers::new(config.radius_cm.unsigned_abs() / 4),
            viewers: Viewers::new(config.radius_cm),
            due: Layer::new(config.radius_cm),
            near: Layer::new(config.radius_cm / 2),
            all: Layer::new(config.radius_cm),
            arenas: Arenas::default(),
            scratch: Scratch::default(),
        }
    }

    /// How much viewers are told from the next tick on.
    pub fn set_detail(&mut self, detail: Detail) {
        self.detail = detail;
    }

    /// One datagram for each session of the scene. `dilation` is the speed of game time in 255ths. Ticks follow each
    /// other, and every datagram is meant to be sent: a gap is repaired like a loss.
    pub fn snapshots(&mut self, scene: &Scene, epoch: u32, tick: Tick, dilation: u8) -> Datagrams {
        self.take(scene, tick);
        let id_range = self.rebuild_layers(scene, tick);
        self.assemble(epoch, tick, dilation, id_range)
    }

    /// Puts a scene in order, and viewers into groups.
    fn take(&mut self, scene: &Scene, tick: Tick) {
        let Scratch {
            entity_order,
            session_order,
            viewpoints,
            is_new,
            seats,
            ..
        } = &mut self.scratch;
        entity_order.update(scene.entities.len(), |index| scene.entities[index].id);
        session_order.update(scene.sessions.len(), |index| scene.sessions[index].session);
        let sessions = || session_order.indices().map(|index| &scene.sessions[index]);
        viewpoints.clear();
        viewpoints.extend(sessions().map(place));
        self.viewers.regroup(viewpoints);
        is_new.clear();
        self.newcomers.advance(sessions(), tick, is_new);
        // Gathered at once: reading here and there while a datagram is made would wait for the memory each time.
        seats.clear();
        let seat = |&member: &u32| {
            let session = &scene.sessions[session_order.index(member as usize)];
            (*session, is_new[member as usize])
        };
        seats.extend(self.viewers.order().iter().map(seat));
    }

    /// Sorts what is to be told into layers, and returns the range that their records need not name.
    fn rebuild_layers(&mut self, scene: &Scene, tick: Tick) -> u32 {
        let order = &self.scratch.entity_order;
        let entities = || order.indices().map(|index| &scene.entities[index]);
        // Of most: the ids of a zone come from few ranges.
        let middle = (!scene.entities.is_empty()).then(|| order.index(scene.entities.len() / 2));
        let id_range = middle.map_or(0, |index| scene.entities[index].id.range());
        let due = self.changes.advance(entities, tick);
        let room = |bytes: usize| bytes - SnapshotHeader::BYTES_MAX;
        let bytes = self.config.datagram_bytes;
        match self.detail {
            Detail::Full => self.due.rebuild(due, id_range, room(bytes)),
            Detail::FarSeldom | Detail::Small => {
                let bytes = if self.detail == Detail::Small { bytes / 2 } else { bytes };
                let bytes = bytes.max(SnapshotHeader::BYTES_MAX + 2 * EntityUpdate::BYTES_MAX);
                let (far, near): (Vec<Due>, Vec<Due>) = due.iter().partition(|due| due.is_far_reaching);
                self.due.rebuild(&far, id_range, room(bytes) / 2);
                self.near.rebuild(&near, id_range, room(bytes) / 2);
            }
        }
        if self.scratch.is_new.contains(&true) {
            let all: Vec<Due> = self.changes.all().collect();
            self.all.rebuild(&all, id_range, room(DATAGRAM_BYTES_MAX));
        }
        id_range
    }

    fn assemble(&mut self, epoch: u32, tick: Tick, dilation: u8, id_range: u32) -> Datagrams {
        let Scratch {
            is_new,
            seats,
            datagram,
            ..
        } = &mut self.scratch;
        let has_newcomers = is_new.contains(&true);
        let mut arena = self.arenas.take(seats.len() * self.config.datagram_bytes);
        let mut ends = Vec::with_capacity(seats.len());
        for group in self.viewers.groups() {
            self.due.approach(&group);
            if self.detail != Detail::Full {
                self.near.approach(&group);
            }
            if has_newcomers {
                self.all.approach(&group);
            }
            for (session, is_new) in &seats[group.seats] {
                let from = place(session);
                datagram.clear();
                header(session, epoch, tick, dilation).encode(id_range, datagram);
                if *is_new {
                    self.all.tell(from, tick, datagram);
                } else {
                    self.due.tell(from, tick, datagram);
                    if self.detail != Detail::Full {
                        self.near.tell(from, tick, datagram);
                    }
                }
                arena.extend_from_slice(datagram);
                ends.push((session.session, arena.len() as u32));
            }
        }
        self.arenas.share(arena, ends)
    }
}

/// Where a session's player is, and looks from.
fn place(session: &SceneSession) -> Viewpoint {
    Viewpoint {
        x: session.x,
        y: session.y,
    }
}

fn header(session: &SceneSession, epoch: u32, tick: Tick, dilation: u8) -> SnapshotHeader {
    let SceneSession {
        last_input_seq,
        event_seq,
        x,
        y,
        hp,
        value_digest,
        ..
    } = *session;
    SnapshotHeader {
        epoch,
        tick,
        dilation,
        last_input_seq,
        event_seq,
        x,
        y,
        hp,
        value_digest,
    }
}

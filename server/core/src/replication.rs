//! Replication decides what each session is told of a tick. It opens no socket and reads no clock.
//!
//! An entity is sent when it no longer moves as it was sent, and now and then to refresh (`changes`); records that are
//! due are encoded once a tick, sorted by place, and copied to every viewer nearby (`layer`). The server keeps nothing
//! of what a viewer has received: a record is whole, a change is sent twice, and a refresh repairs a loss within
//! [`REFRESH_TICKS`](everhold_protocol::limits::REFRESH_TICKS). So a viewer costs neither memory nor a comparison with
//! what it knows, and an acknowledgement changes nothing. Only newcomers are shown everything (`audience`), as the
//! other viewers believe it to be.
//!
//! When more is due than a datagram holds, the nearest entities are sent. Those that do not fit are sent in a later
//! round, when others of their neighbours are due. So near entities are exact; in a crowd, far ones are stale or
//! missing.
//!
//! All datagrams of a tick lie in one buffer (`arena`), so that a player costs no allocation.

mod arena;
mod audience;
mod changes;
mod layer;
mod order;
#[cfg(test)]
mod tests;

use everhold_protocol::limits::DATAGRAM_BYTES_MAX;
use everhold_protocol::{EntityUpdate, HeaderForm, SnapshotHeader, Tick, TickHeader};

pub use arena::Datagrams;

use crate::interest::{Viewers, Viewpoint};
use crate::zone::{Scene, SceneSession};
use arena::Arenas;
use audience::{Audience, Share};
use changes::{Changes, DueRecord};
use layer::Layer;
use order::IdOrder;

/// The shortest datagram limit, bytes: a header and one record.
const DATAGRAM_BYTES_MIN: usize = SnapshotHeader::BYTES_MAX + EntityUpdate::BYTES_MAX;

/// Limits of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewConfig {
    /// A player's view radius, cm.
    pub radius_cm: i32,
    /// The longest datagram, bytes, except a newcomer's first: one record beside the header at least,
    /// [`DATAGRAM_BYTES_MAX`] at most.
    pub datagram_bytes: usize,
}

impl Default for ViewConfig {
    /// Returns a view of 100 m, as far as a character is worth drawing. 320 bytes bound a player's share of the network
    /// to 8 kB/s (with all headers, at 20 Hz) whatever happens around it, and hold some thirty records: 600 in a
    /// second, of which 50 walking neighbours need 150.
    fn default() -> Self {
        Self {
            radius_cm: 10_000,
            datagram_bytes: 320,
        }
    }
}

/// The detail in which viewers are told of their surroundings.
///
/// A player costs its packets, far more than their content: telling less of far entities, each with a priority of its
/// own, was measured to cost the tick more than it spared the process. So with less detail everything comes less often,
/// far and near, and no player waits for the effect of an own action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything, in every tick.
    #[default]
    Full,
    /// Everything in every second tick; in between only to players who acted.
    Seldom,
    /// As `Seldom`, in datagrams of half the length.
    Small,
}

impl Detail {
    /// Returns the ticks in which every viewer is told at least once.
    const fn round(self) -> u64 {
        match self {
            Self::Full => 1,
            Self::Seldom | Self::Small => 2,
        }
    }
}

/// Makes the datagrams of each tick.
#[derive(Debug)]
pub struct Replicator {
    config: ViewConfig,
    detail: Detail,
    /// The round of the last tick: a viewer that had no turn in it must not miss what was due.
    round_before: u64,
    changes: Changes,
    audience: Audience,
    viewers: Viewers,
    /// Records that are due.
    due: Layer,
    /// Everything, for newcomers.
    all: Layer,
    arenas: Arenas,
    scratch: TickScratch,
}

/// Memory that is reused each tick.
#[derive(Debug, Default)]
struct TickScratch {
    entity_order: IdOrder,
    session_order: IdOrder,
    /// Each session's share, in order of session id.
    shares: Vec<Option<Share>>,
    has_newcomers: bool,
    /// Sessions that are told something: index in the scene's sessions, and share.
    told: Vec<(u32, Share)>,
    viewpoints: Vec<Viewpoint>,
    /// The same sessions in the order of the viewers' groups.
    seats: Vec<(SceneSession, Share)>,
}

impl Replicator {
    /// # Panics
    /// If the configuration is outside the bounds that [`ViewConfig`] and [`Reach`](crate::interest::Reach) name.
    #[must_use]
    pub fn new(config: ViewConfig) -> Self {
        let room = DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX;
        assert!(
            room.contains(&config.datagram_bytes),
            "a datagram has {} to {} B",
            room.start(),
            room.end()
        );
        Self {
            config,
            detail: Detail::Full,
            round_before: 1,
            changes: Changes::new(config.radius_cm.unsigned_abs()),
            audience: Audience::new(leap_cm(config.radius_cm.unsigned_abs())),
            viewers: Viewers::new(config.radius_cm),
            due: Layer::new(config.radius_cm),
            all: Layer::new(config.radius_cm),
            arenas: Arenas::default(),
            scratch: TickScratch::default(),
        }
    }

    /// Sets how much viewers are told from the next tick on.
    pub fn set_detail(&mut self, detail: Detail) {
        self.detail = detail;
    }

    /// Returns one datagram for each session of the scene whose turn it is. Ticks follow each other, and every datagram
    /// is meant to be sent: a gap is repaired like a loss.
    pub fn snapshots(&mut self, scene: &Scene, of: TickHeader) -> Datagrams {
        self.take(scene, of.tick);
        let id_range = self.rebuild_layers(scene, of.tick);
        self.assemble(of, id_range)
    }

    /// Sorts a scene, and groups its viewers.
    fn take(&mut self, scene: &Scene, tick: Tick) {
        let TickScratch {
            entity_order,
            session_order,
            shares,
            has_newcomers,
            told,
            viewpoints,
            seats,
        } = &mut self.scratch;
        entity_order.update(scene.entities.len(), |index| scene.entities[index].id);
        session_order.update(scene.sessions.len(), |index| scene.sessions[index].session);
        let sessions = session_order.indices().map(|index| &scene.sessions[index]);
        shares.clear();
        self.audience.advance(sessions, tick, self.detail.round(), shares);
        *has_newcomers = shares.contains(&Some(Share::Everything));
        told.clear();
        viewpoints.clear();
        for (index, &share) in session_order.indices().zip(&*shares) {
            if let Some(share) = share {
                told.push((index as u32, share));
                viewpoints.push(place(&scene.sessions[index]));
            }
        }
        self.viewers.regroup(viewpoints);
        // Gathered at once: scattered reads while a datagram is made would wait for the memory each time.
        let seat = |&member: &u32| {
            let (index, share) = told[member as usize];
            (scene.sessions[index as usize], share)
        };
        seats.clear();
        seats.extend(self.viewers.order().iter().map(seat));
    }

    /// Sorts due records into layers, and returns the id range that their records need not name.
    fn rebuild_layers(&mut self, scene: &Scene, tick: Tick) -> u32 {
        let order = &self.scratch.entity_order;
        let entities = || order.indices().map(|index| &scene.entities[index]);
        // The middle id's range: the ids of a zone come from few ranges.
        let middle = (!scene.entities.is_empty()).then(|| order.index(scene.entities.len() / 2));
        let id_range = middle.map_or(0, |index| scene.entities[index].id.range());
        let round = self.detail.round();
        let window = round.max(std::mem::replace(&mut self.round_before, round));
        let due = self.changes.advance(entities, tick, window);
        let room = |bytes: usize| bytes - SnapshotHeader::BYTES_MAX;
        let bytes = match self.detail {
            Detail::Full | Detail::Seldom => self.config.datagram_bytes,
            Detail::Small => (self.config.datagram_bytes / 2).max(DATAGRAM_BYTES_MIN),
        };
        self.due.rebuild(due, id_range, room(bytes));
        if self.scratch.has_newcomers {
            let all: Vec<DueRecord> = self.changes.all().collect();
            self.all.rebuild(&all, id_range, room(DATAGRAM_BYTES_MAX));
        }
        id_range
    }

    fn assemble(&mut self, of: TickHeader, id_range: u32) -> Datagrams {
        let form = HeaderForm::new(of, id_range);
        let mut arena = self.arenas.take();
        for group in self.viewers.groups() {
            self.due.approach(&group);
            if self.scratch.has_newcomers {
                self.all.approach(&group);
            }
            for (session, share) in &self.scratch.seats[group.seats] {
                let layer = match share {
                    Share::Everything => &mut self.all,
                    Share::News => &mut self.due,
                };
                let room = arena.room(HeaderForm::ROOM + layer.room());
                let (head, _) = room.split_first_chunk_mut().expect("a header fits its own room");
                let header_bytes = form.fill(&header(session, of), head);
                let bytes = layer.tell(place(session), of.tick, &mut room[header_bytes..]);
                arena.push(session.session, header_bytes + bytes);
            }
        }
        self.arenas.share(arena)
    }
}

/// Returns the distance in one tick, cm, beyond which an entity does not walk but leaps: a viewer then knows nothing of
/// its new place, and an entity vanishes where it was.
const fn leap_cm(radius_cm: u32) -> u32 {
    radius_cm / 4
}

/// Returns the position of a session's player, from which it sees.
fn place(session: &SceneSession) -> Viewpoint {
    Viewpoint {
        x: session.x,
        y: session.y,
    }
}

fn header(session: &SceneSession, of: TickHeader) -> SnapshotHeader {
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
        epoch: of.epoch,
        tick: of.tick,
        unconfirmed_ticks: of.unconfirmed_ticks,
        dilation: of.dilation,
        last_input_seq,
        event_seq,
        x,
        y,
        hp,
        value_digest,
    }
}

//! Replication decides what each session is told of a tick. It opens no socket and reads no clock.
//!
//! Every entity is encoded once a tick, into one array in grid order. A viewer's datagram is its own header and copies of the records
//! of those whom [`interest`](crate::interest) shows it, so bytes per player stay flat in a crowd and a record has the same bytes for
//! every viewer. All datagrams of a tick lie in one [`arena`], so that a player costs no allocation.
//!
//! Who is told of is decided nearest first. A datagram arrives whole or not at all, so its records stand in no particular order:
//! sorting them would take longer than all the rest and tell a client nothing that it cannot see.

pub mod arena;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use everhold_protocol::limits::DATAGRAM_BYTES_MAX;
use everhold_protocol::{EntityView, SessionId, SnapshotHeader, Tick};

use crate::interest::{Interest, Reach, Sight};
use crate::zone::{Scene, SceneSession};
use arena::Arenas;

/// What a view may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewConfig {
    /// How far a player sees, cm.
    pub radius_cm: i32,
    /// The longest datagram, bytes: at least one record beside the header, at most [`DATAGRAM_BYTES_MAX`].
    pub datagram_bytes: usize,
}

impl Default for ViewConfig {
    /// 100 m, as far as a character is worth drawing; datagrams as long as every path takes them.
    fn default() -> Self {
        Self {
            radius_cm: 10_000,
            datagram_bytes: DATAGRAM_BYTES_MAX,
        }
    }
}

impl ViewConfig {
    /// Records that fit a datagram.
    #[must_use]
    pub const fn budget(&self) -> usize {
        self.datagram_bytes.saturating_sub(SnapshotHeader::BYTES) / EntityView::BYTES
    }
}

/// How much of the world players are told: the first rungs of the overload ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// All that the view's configuration allows.
    #[default]
    Full,
    /// What is far away seldom.
    FarSeldom,
    /// Fewer entities, too.
    Small,
}

/// Makes the datagrams of each tick.
#[derive(Debug)]
pub struct Replicator {
    config: ViewConfig,
    detail: Detail,
    interest: Interest,
    arenas: Arenas,
    /// Every entity's record, in grid order.
    records: Vec<u8>,
    sight: Sight,
    datagram: Datagram,
}

/// The parts of the datagram that is being put together.
#[derive(Debug, Default)]
struct Datagram {
    header: Vec<u8>,
    records: Vec<[u8; EntityView::BYTES]>,
}

impl Replicator {
    /// # Panics
    /// If the configuration is outside the bounds that [`ViewConfig`] and [`Reach::RADIUS_CM`] name.
    #[must_use]
    pub fn new(config: ViewConfig) -> Self {
        assert!(
            config.datagram_bytes <= DATAGRAM_BYTES_MAX,
            "a datagram holds at most {DATAGRAM_BYTES_MAX} B"
        );
        Self {
            config,
            detail: Detail::Full,
            interest: Interest::new(reach(config, Detail::Full)),
            arenas: Arenas::default(),
            records: Vec::new(),
            sight: Sight::default(),
            datagram: Datagram::default(),
        }
    }

    /// How much is told from the next tick on.
    pub fn set_detail(&mut self, detail: Detail) {
        if std::mem::replace(&mut self.detail, detail) != detail {
            self.interest = Interest::new(reach(self.config, detail));
        }
    }

    /// One datagram for each session of the scene, in no particular order. `dilation` is the speed of game time in 255ths.
    pub fn snapshots(&mut self, scene: &Scene, epoch: u32, tick: Tick, dilation: u8) -> Vec<(SessionId, Bytes)> {
        self.interest.rebuild(scene);
        self.encode_entities(scene);
        let (records, _) = self.records.as_chunks();
        let mut arena = self.arenas.take(scene.sessions.len() * self.config.datagram_bytes);
        let mut ends = Vec::with_capacity(scene.sessions.len());
        for viewer in self.interest.viewers() {
            let session = &scene.sessions[viewer.session];
            self.interest.look(viewer, tick, &mut self.sight);
            self.datagram.header.clear();
            header(session, epoch, tick, dilation).encode(&mut self.datagram.header);
            self.datagram.records.clear();
            self.datagram
                .records
                .extend(self.sight.places().iter().map(|&place| records[place as usize]));
            arena.extend_from_slice(&self.datagram.header);
            arena.extend_from_slice(self.datagram.records.as_flattened());
            ends.push((session.session, arena.len()));
        }
        self.arenas.share(arena, &ends)
    }

    fn encode_entities(&mut self, scene: &Scene) {
        self.records.clear();
        for &index in self.interest.order() {
            scene.entities[index as usize].encode(&mut self.records);
        }
    }
}

/// What is seen at this detail. A quarter less of the radius is nearly half of what is in sight.
fn reach(config: ViewConfig, detail: Detail) -> Reach {
    let near = (config.radius_cm / 4 * 3).max(*Reach::RADIUS_CM.start());
    let (radius_cm, budget) = match detail {
        Detail::Full => (config.radius_cm, config.budget()),
        Detail::FarSeldom => (near, config.budget()),
        Detail::Small => (near, config.budget().div_ceil(2)),
    };
    Reach { radius_cm, budget }
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

//! Clients' mirrors against the truth, over a lossy path: errors of place, how long they last, and how many bytes the
//! path takes.

use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::client::{Client, ClientConfig, Command, ConnId};
use everhold_protocol::limits::{DEVIATION_CM_MAX, FORGET_TICKS, REFRESH_TICKS};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{
    Attached, Credential, EntityId, EntityKind, EntityView, Epoch, OwnState, ServerMessage, value_digest,
};

use super::super::*;
use crate::ingress::AttachToken;

/// Headers of UDP, IP, and QUIC, the tag, and an acknowledgement, beside a datagram's payload: bytes.
const OVERHEAD_BYTES: usize = 66;
const TICK_HZ: usize = 20;
const RADIUS_CM: i32 = 10_000;

/// Chance of these histories: the upper half of each number before its last shift, with which the figures of the tests
/// were found.
pub(super) struct Random(SplitMix64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.0.draw();
        (drawn >> 32 ^ drawn >> 63) % bound
    }
}

/// Returns a client that has connected and waits for its `Attached`.
pub(super) fn connect(session: EntityId) -> (Client, ConnId) {
    let addr: SocketAddr = ([127, 0, 0, 1], 7_000).into();
    let mut client = Client::new(
        ClientConfig::default(),
        Credential::Ticket(vec![1]),
        vec![addr],
        session.0,
    );
    client.handle_start(Duration::ZERO);
    let Some(Command::Connect { conn, .. }) = client.poll_command() else {
        panic!("a client connects at its start")
    };
    client.handle_connected(Duration::ZERO, conn);
    (client, conn)
}

pub(super) fn attached(session: EntityId, epoch: Epoch, resumed_tick: Tick) -> ServerMessage {
    ServerMessage::Attached(Attached {
        epoch,
        zone: "meadow".parse().unwrap(),
        session,
        secret: [0; 32],
        tick_hz: 20,
        resumed_tick,
        last_input_seq: 0,
        event_seq: 0,
        events_forgotten: 0,
        rewound_ticks: 0,
        own: OwnState::default(),
        peers: Vec::new(),
    })
}

/// A world of walkers, some of which are viewers.
struct World {
    scene: Scene,
    velocities: Vec<(i32, i32)>,
    side_cm: i32,
    random: Random,
    replicator: Replicator,
    watchers: Vec<(EntityId, Client, ConnId)>,
    tick: Tick,
    /// The detail of each tick, if viewers take turns at times and act once a second. Else they are told everything in
    /// every tick.
    turns: Option<fn(Tick) -> Detail>,
    /// Lost datagrams, ‰.
    lost: u64,
    bytes: usize,
    datagrams: usize,
}

/// The errors found.
#[derive(Debug, Default)]
struct Findings {
    /// Distances between mirror and truth, cm.
    errors_cm: Vec<u32>,
    /// Lengths of runs of ticks in which an entity was further off than it may be, or not seen though it was near.
    wrong_ticks: Vec<u64>,
    /// Entities shown nearby that have vanished.
    ghosts: usize,
}

fn p99<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() * 99 / 100).copied().unwrap_or_default()
}

impl World {
    /// Returns `walkers` on a square of `side_cm`; the first `watchers` of them are viewers.
    fn new(walkers: u32, side_cm: i32, watchers: usize, lost: u64) -> Self {
        let mut random = Random::new(3 + lost);
        let mut scene = Scene::default();
        for counter in 1..=walkers {
            let id = EntityId::new(4096, counter);
            let mut place = || random.below(side_cm as u64) as i32;
            let (x, y) = (place(), place());
            scene.entities.push(EntityView {
                id,
                kind: EntityKind::Player,
                x,
                y,
                health: 255,
            });
        }
        for entity in &scene.entities[..watchers] {
            scene.sessions.push(SceneSession {
                session: entity.id,
                attach: AttachToken(1),
                last_input_seq: 0,
                event_seq: 0,
                x: entity.x,
                y: entity.y,
                hp: 100,
                value_digest: value_digest(0, &[]),
            });
        }
        let watch = |session: &SceneSession| {
            let (mut client, conn) = connect(session.session);
            client.handle_control(Duration::ZERO, conn, attached(session.session, Epoch(1), Tick(0)));
            (session.session, client, conn)
        };
        Self {
            watchers: scene.sessions.iter().map(watch).collect(),
            velocities: vec![(0, 0); walkers as usize],
            scene,
            side_cm,
            random,
            replicator: Replicator::new(ViewConfig::default()),
            tick: Tick(0),
            turns: None,
            lost,
            bytes: 0,
            datagrams: 0,
        }
    }

    /// Moves all walkers, each of which turns once in `turn_ticks`; zero: all stand.
    fn walk(&mut self, turn_ticks: u64) {
        for (entity, velocity) in self.scene.entities.iter_mut().zip(&mut self.velocities) {
            if turn_ticks > 0 && self.random.below(turn_ticks) == 0 {
                let mut axis = || self.random.below(51) as i32 - 25;
                *velocity = (axis(), axis());
            }
            let at = (entity.x + velocity.0, entity.y + velocity.1);
            let inside = 0..self.side_cm;
            if inside.contains(&at.0) && inside.contains(&at.1) {
                (entity.x, entity.y) = at;
            }
        }
        for session in &mut self.scene.sessions {
            let own = self.scene.entities.iter().find(|entity| entity.id == session.session);
            (session.x, session.y) = own.map(|own| (own.x, own.y)).unwrap();
            session.last_input_seq += u64::from(self.turns.is_some() && self.random.below(20) == 0);
        }
    }

    /// Sends the next tick to all viewers, and loses some of it.
    fn show(&mut self) {
        self.tick += 1;
        let now = Duration::from_millis(50 * self.tick.0);
        self.replicator
            .set_detail(self.turns.map_or(Detail::Full, |detail| detail(self.tick)));
        let datagrams = self
            .replicator
            .snapshots(&self.scene, TickHeader::stored(Epoch(1), self.tick));
        for (session, datagram) in datagrams.iter() {
            (self.bytes, self.datagrams) = (self.bytes + datagram.len(), self.datagrams + 1);
            if self.random.below(1_000) >= self.lost {
                let (_, client, conn) = self.watchers.iter_mut().find(|watcher| watcher.0 == session).unwrap();
                client.handle_datagram(now, *conn, datagram);
            }
        }
    }

    fn bytes_per_s(&self) -> usize {
        TICK_HZ * (self.bytes / self.datagrams + OVERHEAD_BYTES)
    }

    /// Plays on, and compares every viewer's mirror with the truth at every tick in which a datagram of that tick
    /// arrived.
    fn watch(&mut self, ticks: u64, turn_ticks: u64) -> Findings {
        let entities = self.scene.entities.len();
        let mut wrong = vec![vec![0_u64; entities]; self.watchers.len()];
        let mut near_for = vec![vec![0_u64; entities]; self.watchers.len()];
        let mut findings = Findings::default();
        // An entity that comes into sight is sent by its next refresh, or a tick later if viewers take turns.
        let unseen_ticks = REFRESH_TICKS + u64::from(self.turns.is_some());
        for _ in 0..ticks {
            self.walk(turn_ticks);
            self.show();
            for (watcher, (session, client, _)) in self.watchers.iter().enumerate() {
                let mirror = client.mirror();
                if mirror.tick != self.tick {
                    continue;
                }
                let seen: std::collections::BTreeMap<_, _> = mirror.entities().map(|view| (view.id, view)).collect();
                for (index, truth) in self.scene.entities.iter().enumerate() {
                    let (dx, dy) = (i64::from(truth.x - mirror.own.x), i64::from(truth.y - mirror.own.y));
                    let near = dx * dx + dy * dy <= i64::from(RADIUS_CM).pow(2);
                    let near_for = &mut near_for[watcher][index];
                    *near_for = if near { *near_for + 1 } else { 0 };
                    if truth.id == *session || *near_for <= unseen_ticks {
                        continue;
                    }
                    let error = seen.get(&truth.id).map(|view| {
                        let (dx, dy) = (view.x.abs_diff(truth.x), view.y.abs_diff(truth.y));
                        findings.errors_cm.push((dx * dx + dy * dy).isqrt());
                        dx.max(dy)
                    });
                    let run = &mut wrong[watcher][index];
                    if error.is_none_or(|error| error > DEVIATION_CM_MAX.unsigned_abs()) {
                        *run += 1;
                    } else {
                        findings.wrong_ticks.push(std::mem::take(run));
                    }
                }
                let here = |id: &EntityId| self.scene.entities.iter().any(|entity| entity.id == *id);
                // An entity that was sent and then walked out of sight is not reported when it vanishes.
                let near = |view: &EntityView| {
                    let (dx, dy) = (view.x - mirror.own.x, view.y - mirror.own.y);
                    dx.pow(2) + dy.pow(2) <= (RADIUS_CM * 4 / 5).pow(2)
                };
                let ghosts = seen.values().filter(|view| near(view) && !here(&view.id));
                findings.ghosts += ghosts.count();
            }
        }
        findings.wrong_ticks.extend(wrong.into_iter().flatten());
        findings
    }
}

/// Returns walkers with some 50 others around each: the density at which there are 50 within a radius.
fn meadow(lost: u64) -> World {
    World::new(200, 35_000, 12, lost)
}

#[test]
fn mirror_is_exact_while_nothing_is_lost() {
    let mut world = meadow(0);
    let found = world.watch(300, 20);
    let worst = found.errors_cm.iter().max().unwrap();
    assert!(found.errors_cm.len() > 100_000 && *worst <= 15, "{worst} cm");
    assert_eq!(found.wrong_ticks.iter().max(), Some(&0));
}

#[test]
fn mirror_is_as_exact_when_snapshots_come_every_second_tick_or_the_detail_changes() {
    let now_and_then = |tick: Tick| {
        if tick.0 % 7 < 3 { Detail::Seldom } else { Detail::Full }
    };
    let seldom: fn(Tick) -> Detail = |_| Detail::Seldom;
    for detail in [seldom, now_and_then] {
        let mut world = meadow(0);
        world.turns = Some(detail);
        let found = world.watch(300, 20);
        let worst = found.errors_cm.iter().max().unwrap();
        assert!(found.errors_cm.len() > 50_000 && *worst <= 15, "{worst} cm");
        assert_eq!(found.wrong_ticks.iter().max(), Some(&0));
    }
}

#[test]
fn lost_datagrams_are_made_up_for_within_a_bounded_time() {
    for (lost, error_cm_max) in [(20, 15), (100, 60)] {
        let mut world = meadow(lost);
        let mut found = world.watch(600, 20);
        let longest = *found.wrong_ticks.iter().max().unwrap();
        found.wrong_ticks.retain(|&ticks| ticks > 0);
        let (error_cm, wrong_ticks) = (p99(&mut found.errors_cm), p99(&mut found.wrong_ticks));
        println!(
            "{} % lost: position error p99 {error_cm} cm, wrong for p99 {wrong_ticks} ticks, at most {longest}",
            lost / 10
        );
        assert!(error_cm <= error_cm_max, "{error_cm} cm");
        assert!((1..=FORGET_TICKS).contains(&longest), "wrong for {longest} ticks");
    }
}

#[test]
fn those_who_vanish_are_gone_from_every_mirror() {
    let vanish = |world: &mut World| {
        let left = world.velocities.len() - 10;
        world.scene.entities.truncate(left);
        world.velocities.truncate(left);
    };
    let mut world = meadow(0);
    world.watch(40, 20);
    vanish(&mut world);
    assert_eq!(world.watch(40, 20).ghosts, 0);
    let mut lossy = meadow(100);
    lossy.watch(40, 20);
    vanish(&mut lossy);
    assert!(lossy.watch(2, 20).ghosts > 0, "one in ten was not told at once");
    lossy.watch(FORGET_TICKS + REFRESH_TICKS, 20);
    assert_eq!(lossy.watch(40, 20).ghosts, 0);
}

#[test]
fn standing_still_costs_less_than_3_kb_per_second_and_50_walking_neighbours_less_than_8() {
    let mut standing = meadow(0);
    standing.watch(10, 0);
    (standing.bytes, standing.datagrams) = (0, 0);
    standing.watch(200, 0);
    let mut walking = meadow(0);
    walking.watch(10, 20);
    (walking.bytes, walking.datagrams) = (0, 0);
    walking.watch(200, 20);
    let mut turning = meadow(0);
    turning.watch(10, 1);
    (turning.bytes, turning.datagrams) = (0, 0);
    turning.watch(200, 1);
    let per_s = [standing.bytes_per_s(), walking.bytes_per_s(), turning.bytes_per_s()];
    println!("standing, walking, turning in every tick: {per_s:?} B/s");
    assert!(
        per_s[0] < 3_000 && per_s[1] < 4_000 && per_s[2] < 8_000,
        "{per_s:?} B/s"
    );
}

#[test]
fn neighbours_in_a_crowd_are_exact_though_not_everybody_is_seen() {
    // Two thousand in a square of 40 m: eighty within five metres.
    let mut world = World::new(2_000, 4_000, 4, 0);
    world.watch(80, 20);
    let mut errors = Vec::new();
    for _ in 0..60 {
        world.walk(20);
        world.show();
        for (session, client, _) in &world.watchers {
            let mirror = client.mirror();
            let seen: std::collections::BTreeMap<_, _> = mirror.entities().map(|view| (view.id, view)).collect();
            let far = |entity: &EntityView| (entity.x - mirror.own.x).pow(2) + (entity.y - mirror.own.y).pow(2);
            let mut nearest: Vec<_> = world
                .scene
                .entities
                .iter()
                .filter(|entity| entity.id != *session)
                .collect();
            nearest.sort_by_key(|entity| far(entity));
            for truth in &nearest[..20] {
                let off = |view: &EntityView| view.x.abs_diff(truth.x).max(view.y.abs_diff(truth.y));
                errors.push(seen.get(&truth.id).map_or(u32::MAX, off));
            }
        }
    }
    let error_cm = p99(&mut errors);
    println!("p99 of the twenty nearest in a crowd: {error_cm} cm");
    assert!(error_cm <= DEVIATION_CM_MAX.unsigned_abs(), "{error_cm} cm");
}

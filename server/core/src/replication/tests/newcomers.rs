//! Mirrors of clients that attach, come back, or are moved, while nothing is lost: from its first full view on, each is
//! as exact as the mirrors of clients that were there all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_protocol::Epoch;
use everhold_protocol::client::{Client, ConnId};
use everhold_protocol::limits::{DEVIATION_CM_MAX, REFRESH_TICKS};
use everhold_protocol::value_digest;

use super::super::*;
use super::mirrors::{Random, attached, connect};
use super::*;

const RADIUS_CM: i32 = 10_000;
/// Distance up to which an entity is surely in sight, also where a crowd's viewers share what they are told, cm.
const NEAR_CM: i32 = RADIUS_CM * 9 / 10;

/// A player's client.
struct Player {
    client: Client,
    conn: ConnId,
    /// The number of its attach.
    attach: u64,
    /// The tick of its last full view.
    full_view_at: Tick,
    at: (i32, i32),
    /// Entities nearby, and since when.
    near_since: BTreeMap<EntityId, Tick>,
}

/// An entity's movement: so much in each tick, for so many ticks.
#[derive(Clone, Copy, Default)]
struct Gait {
    step: (i32, i32),
    ticks: u64,
}

/// A square in which everything happens that a zone can bring about.
struct Square {
    random: Random,
    side_cm: i32,
    entities: BTreeMap<EntityId, (EntityView, Gait)>,
    players: BTreeMap<SessionId, Player>,
    replicator: Replicator,
    epoch: Epoch,
    tick: Tick,
    detail: Detail,
    attaches: u64,
    next_counter: u32,
}

impl Square {
    fn new(seed: u64, side_cm: i32, entities: u32) -> Self {
        let mut square = Self {
            random: Random::new(seed),
            side_cm,
            entities: BTreeMap::new(),
            players: BTreeMap::new(),
            replicator: Self::replicator(),
            epoch: Epoch(1),
            tick: Tick(100),
            detail: Detail::Full,
            attaches: 0,
            next_counter: 1,
        };
        for _ in 0..entities {
            square.appear();
        }
        square
    }

    /// Returns a replicator whose datagrams hold everything that there is to tell here.
    fn replicator() -> Replicator {
        Replicator::new(ViewConfig {
            radius_cm: RADIUS_CM,
            datagram_bytes: DATAGRAM_BYTES_MAX,
        })
    }

    fn is_chosen(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn axis(&mut self, cm_max: i32) -> i32 {
        self.random.below(2 * cm_max as u64 + 1) as i32 - cm_max
    }

    fn somewhere(&mut self) -> (i32, i32) {
        let mut axis = || self.random.below(self.side_cm as u64) as i32;
        (axis(), axis())
    }

    fn appear(&mut self) {
        let (x, y) = self.somewhere();
        let id = EntityId::new(4096, self.next_counter);
        self.next_counter += 1;
        let view = EntityView {
            id,
            kind: EntityKind::Player,
            x,
            y,
            health: 255,
        };
        self.entities.insert(id, (view, Gait::default()));
    }

    /// Moves all entities: small steps of one tick, walks, rests, wounds, and now and then a leap.
    fn move_everybody(&mut self) {
        let mut entities = std::mem::take(&mut self.entities);
        for (view, gait) in entities.values_mut() {
            if gait.ticks == 0 {
                let pace = [0, DEVIATION_CM_MAX, DEVIATION_CM_MAX, 25][self.random.below(4) as usize];
                gait.step = (self.axis(pace), self.axis(pace));
                gait.ticks = if pace == DEVIATION_CM_MAX {
                    1
                } else {
                    1 + self.random.below(30)
                };
            }
            gait.ticks -= 1;
            (view.x, view.y) = (view.x + gait.step.0, view.y + gait.step.1);
            if self.is_chosen(400) {
                (view.x, view.y) = self.somewhere();
            }
            if self.is_chosen(100) {
                view.health = self.random.below(256) as u8;
            }
        }
        self.entities = entities;
    }

    /// Logs a client in, or lets it take the session over from another.
    fn attach(&mut self, session: SessionId) {
        self.attaches += 1;
        let (mut client, conn) = connect(session);
        let is_early = self.is_chosen(2);
        if !is_early {
            client.handle_control(Duration::ZERO, conn, attached(session, self.epoch, self.tick));
        }
        let view = self.entities[&session].0;
        let player = Player {
            client,
            conn,
            attach: self.attaches,
            full_view_at: self.tick,
            at: (view.x, view.y),
            near_since: BTreeMap::new(),
        };
        self.players.insert(session, player);
    }

    /// Lets players come and go.
    fn change_company(&mut self) {
        let ids: Vec<EntityId> = self.entities.keys().copied().collect();
        for id in ids {
            match self.random.below(200) {
                0..6 if !self.players.contains_key(&id) => self.attach(id),
                0..2 => self.attach(id),
                2..3 => _ = self.players.remove(&id),
                3..4 => {
                    self.players.remove(&id);
                    self.entities.remove(&id);
                    self.appear();
                }
                _ => {}
            }
        }
        if self.is_chosen(150) {
            self.adopt();
        }
        if self.is_chosen(15) {
            self.detail = [Detail::Full, Detail::Seldom, Detail::Small][self.random.below(3) as usize];
        }
    }

    /// Lets another process own the zone from now on: no connection speaks for a session until it comes back.
    fn adopt(&mut self) {
        self.players.clear();
        self.replicator = Self::replicator();
        self.epoch = self.epoch.next().unwrap();
    }

    fn scene(&self) -> Scene {
        let row = |(session, player): (&SessionId, &Player)| {
            let view = self.entities[session].0;
            SceneSession {
                session: *session,
                attach: AttachToken(player.attach),
                last_input_seq: 0,
                event_seq: 0,
                x: view.x,
                y: view.y,
                hp: 100,
                value_digest: value_digest(0, &[]),
            }
        };
        Scene {
            entities: self.entities.values().map(|(view, _)| *view).collect(),
            sessions: self.players.iter().map(row).collect(),
        }
    }

    /// Plays one tick, and shows it to all players.
    fn play(&mut self) {
        self.tick += 1;
        self.move_everybody();
        self.change_company();
        self.show();
    }

    fn show(&mut self) {
        self.replicator.set_detail(self.detail);
        let datagrams = self
            .replicator
            .snapshots(&self.scene(), TickHeader::stored(self.epoch, self.tick));
        let now = Duration::from_millis(50 * self.tick.0);
        for (session, datagram) in datagrams.iter() {
            let Player { client, conn, .. } = self.players.get_mut(&session).unwrap();
            client.handle_datagram(now, *conn, datagram);
            if !client.is_attached() {
                client.handle_control(now, *conn, attached(session, self.epoch, self.tick));
            }
        }
    }

    /// Returns the errors in the mirrors of viewers that were told of this tick.
    fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        for (session, player) in &mut self.players {
            let own = self.entities[session].0;
            let leapt = own.x.abs_diff(player.at.0).max(own.y.abs_diff(player.at.1)) > RADIUS_CM as u32 / 4;
            if leapt {
                player.full_view_at = self.tick;
            }
            player.at = (own.x, own.y);
            let near = |view: &EntityView| {
                let (dx, dy) = (i64::from(view.x - own.x), i64::from(view.y - own.y));
                dx * dx + dy * dy <= i64::from(NEAR_CM).pow(2)
            };
            player
                .near_since
                .retain(|id, _| self.entities.get(id).is_some_and(|(view, _)| near(view)));
            for (view, _) in self.entities.values().filter(|(view, _)| near(view)) {
                player.near_since.entry(view.id).or_insert(self.tick);
            }
            let mirror = player.client.mirror();
            if mirror.tick != self.tick {
                continue;
            }
            let seen: BTreeMap<_, _> = mirror.entities().map(|view| (view.id, view)).collect();
            // An entity that came into sight later is seen by its next refresh, or a tick later if viewers take turns.
            let owed = player.near_since.iter().filter(|(id, since)| {
                *id != session && (**since <= player.full_view_at || self.tick - **since > REFRESH_TICKS + 1)
            });
            for (id, since) in owed {
                let (truth, seen) = (self.entities[id].0, seen.get(id));
                let is_right = seen.is_some_and(|seen| {
                    let off = seen.x.abs_diff(truth.x).max(seen.y.abs_diff(truth.y));
                    off <= DEVIATION_CM_MAX.unsigned_abs() && (seen.kind, seen.health) == (truth.kind, truth.health)
                });
                if !is_right {
                    let (tick, full) = (self.tick, player.full_view_at);
                    faults.push(format!(
                        "tick {tick}: {session:?} with a full view at {full} sees {seen:?}, near since {since}, for \
                         {truth:?}"
                    ));
                }
            }
            // Viewers that come to a place cannot be told that an entity vanished or leapt away from there before.
            let all_in_sight = self.side_cm < NEAR_CM * 7 / 10;
            for ghost in seen
                .values()
                .filter(|ghost| all_in_sight && !self.entities.contains_key(&ghost.id))
            {
                faults.push(format!("tick {}: {session:?} sees {ghost:?}, which is gone", self.tick));
            }
        }
        faults
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nobody_is_shown_wrongly_after_the_first_full_view_whoever_came_when(
        seed in any::<u64>(),
        side_cm in prop::sample::select(vec![3_000, 6_300, 40_000]),
        entities in 2..40_u32,
    ) {
        let mut square = Square::new(seed, side_cm, entities);
        for _ in 0..300 {
            square.play();
            prop_assert_eq!(square.faults(), Vec::<String>::new());
        }
    }
}

#[test]
fn newcomer_sees_who_takes_small_steps_as_well_as_those_who_were_there() {
    let mut square = Square::new(1, 1_000, 3);
    let [here, walker, newcomer] = [1, 2, 3].map(|counter| EntityId::new(4096, counter));
    square.attach(here);
    let mut told = 0;
    for tick in 0..60 {
        square.tick += 1;
        // A step of one tick, and later one back, of which no viewer need be told.
        let step = [0, 10, 0, 0, 0, 0, 0, -10][tick as usize % 8];
        square.entities.get_mut(&walker).unwrap().0.x += step;
        // The second full view is in the tick of a step.
        if tick == 23 {
            square.attach(newcomer);
        }
        square.show();
        assert_eq!(square.faults(), Vec::<String>::new());
        told += usize::from(square.players.contains_key(&newcomer));
    }
    assert_eq!(told, 37);
}

#[test]
fn whoever_leaps_out_of_sight_is_not_left_behind_in_the_mirrors_of_those_who_saw_it() {
    // To places where some viewers still see it, and where none does, even beyond what a record can hold.
    for to in [15_000, 21_000, 32_000, 90_000] {
        let mut square = Square::new(1, 1_000, 2);
        let [viewer, other] = [1, 2].map(|counter| EntityId::new(4096, counter));
        square.attach(viewer);
        square.show();
        square.tick += 1;
        square.entities.get_mut(&other).unwrap().0.x = to;
        square.show();
        let seen = square.players[&viewer].client.mirror().entities().next();
        assert!(seen.is_none_or(|seen| seen.x == to), "{seen:?} after a leap to {to}");
    }
}

#[test]
fn whoever_leaps_away_and_back_is_seen_where_it_is() {
    let mut square = Square::new(1, 1_000, 2);
    let [viewer, other] = [1, 2].map(|counter| EntityId::new(4096, counter));
    square.attach(viewer);
    let here = square.entities[&other].0.x;
    for x in [here, 90_000, here, here, here, here, here] {
        square.tick += 1;
        square.entities.get_mut(&other).unwrap().0.x = x;
        square.show();
        let seen = square.players[&viewer].client.mirror().entities().next();
        assert_eq!(seen.map(|seen| seen.x), (x == here).then_some(here));
    }
}

#[test]
fn client_that_takes_over_a_live_connection_sees_everything_at_once() {
    for detail in [Detail::Full, Detail::Seldom, Detail::Small] {
        let mut square = Square::new(1, 1_000, 9);
        square.detail = detail;
        let session = EntityId::new(4096, 1);
        square.attach(session);
        for tick in 0..9 {
            square.tick += 1;
            if tick == 5 {
                square.attach(session);
            }
            square.show();
            assert_eq!(square.faults(), Vec::<String>::new());
            assert_eq!(square.players[&session].client.mirror().entities_len(), 8);
        }
    }
}

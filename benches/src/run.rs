//! A zone full of players that are heard every tick, and the loop in which its shard runs a tick on one thread: inbox,
//! record, step, scene, views. It stores and sends nothing.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::gate::Durability;
use everhold_core::durability::store::{RecordHash, StoredRecord};
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Birth, InboxEntry, Input, Join, NewsFilter};
use everhold_core::load::LadderState;
use everhold_core::ownership::{Grant, Nonce};
use everhold_core::replication::ViewConfig;
use everhold_core::tick::{TickLoop, TickOut, TickStart};
use everhold_core::zone::{Outputs, Zone, ZoneConfig};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{
    Account, ClientConfig, Epoch, Heading, InputFrame, Intent, ReceivedFrame, SeqIntent, SessionId, Tick, ZoneName,
};

use crate::{Crowding, SETTLING_TICKS, Turning, Walkers, spread_side_cm};

/// Returns the rules that come with the server, without their zones.
fn rules_text() -> &'static str {
    let world = include_str!("../../assets/world.toml");
    world.split("[[zone]]").next().unwrap_or(world)
}

/// A zone for `players` whose spawn points are where they are to stand; a monster for every hundred, an item for every
/// fifty.
#[must_use]
pub fn config(players: usize, crowding: Crowding) -> ZoneConfig {
    let mut random = SplitMix64::new(7);
    let side = spread_side_cm(players).max(20_000) as i32;
    let middle = if crowding == Crowding::Spread { 0 } else { side / 2 };
    let mut text = rules_text().to_owned();
    let mut places = |count: usize| {
        let mut list = String::new();
        for _ in 0..count {
            let (x, y) = crowding.position(players, &mut random);
            let _ = write!(list, "[{}, {}], ", x + middle, y + middle);
        }
        list
    };
    let (spawns, camps) = (places(players), places(players / 100));
    let items = players / 50;
    let _ = write!(
        text,
        "[[zone]]\nname = \"bench\"\nnumber = 1\nwidth_cm = {side}\nheight_cm = {side}\nspawns = [{spawns}]\n\
         camps = [{camps}]\nitems_at_start = {items}\nitems_max = {items}\n"
    );
    let name: ZoneName = "bench".parse().expect("a zone's name");
    let rules = RuleBook::from_toml(&text).expect("the bench's world is well-formed");
    ZoneConfig {
        name,
        seed: 7,
        tick_hz: 20,
        game: Arc::new(rules),
    }
}

/// A zone with its players, in the loop that runs it on a server.
pub struct BenchRun {
    /// The zone's configuration.
    pub config: ZoneConfig,
    ticks: TickLoop,
    sessions: Vec<SessionId>,
    walkers: Walkers,
    said: Vec<SentIntents>,
    frames: u64,
    random: SplitMix64,
}

/// The intents and acknowledgements of one player.
#[derive(Clone, Debug, Default)]
struct SentIntents {
    seq: u64,
    /// The intents, each with the number of the frame that had it first.
    recent: Vec<(u64, SeqIntent)>,
    heard: NewsFilter,
}

impl BenchRun {
    /// Returns a run whose players have joined, have received the first events, and stand.
    #[must_use]
    pub fn new(players: usize, crowding: Crowding, turning: Turning) -> Self {
        let config = config(players, crowding);
        let start = TickStart {
            grant: Grant::issue(Epoch(1), Nonce(1)),
            rules_id: config.rules_id(),
            last: RecordHash::GENESIS,
            quarantine: &[],
            view: ViewConfig::default(),
            durability: Durability::Store,
        };
        let mut ticks = TickLoop::new(Zone::new(config.clone()), &start);
        let join = |number| {
            Input::Join(Join {
                account: Account(number),
                ticket: u128::from(number).to_le_bytes(),
                ticket_forget_tick: Tick(1),
                secret: [0; 32],
                token: AttachToken(number),
                birth: Birth::Always,
            })
        };
        take_all(&mut ticks, (1..=players as u64).map(join));
        let session = |number| {
            let session = ticks.zone().session_of(Account(number));
            session.expect("everybody has joined")
        };
        let sessions: Vec<_> = (1..=players as u64).map(session).collect();
        let ack = |&session: &SessionId| Input::EventAck { session, event_seq: 3 };
        take_all(&mut ticks, sessions.iter().map(ack));
        Self {
            config,
            ticks,
            sessions,
            walkers: Walkers::new(players, turning),
            said: vec![SentIntents::default(); players],
            frames: 0,
            random: SplitMix64::new(13),
        }
    }

    /// Returns a run after two seconds: no player is new to another any more, and buffers have grown.
    #[must_use]
    pub fn settled(players: usize, crowding: Crowding, turning: Turning) -> Self {
        let mut run = Self::new(players, crowding, turning);
        for _ in 0..SETTLING_TICKS {
            let entries = run.entries();
            run.tick(entries);
        }
        run
    }

    /// Returns the players that turn in the next tick, and their intents, in an order of its own.
    fn turns(&mut self) -> Vec<(usize, SeqIntent)> {
        let mut turns: Vec<_> = self.walkers.turn();
        self.shuffle(&mut turns);
        let mut say = |(player, (dx, dy)): (usize, (i8, i8))| {
            let said = &mut self.said[player];
            said.seq += 1;
            let intent = SeqIntent {
                seq: said.seq,
                intent: Intent::Move(Heading::new(dx, dy).unwrap_or(Heading::STILL)),
            };
            (player, intent)
        };
        turns.into_iter().map(&mut say).collect()
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.random.below(last as u64 + 1) as usize);
        }
    }

    /// Returns a tick's inputs: an intent of each player that turns.
    pub fn inputs(&mut self) -> Vec<Input> {
        let turns = self.turns();
        let input = |(player, SeqIntent { seq, intent }): (usize, SeqIntent)| Input::Intent {
            session: self.sessions[player],
            seq,
            intent,
        };
        turns.into_iter().map(input).collect()
    }

    /// The same as what connections put into the inbox: a decoded frame of each player who says something, and repeats
    /// it, as clients do.
    pub fn entries(&mut self) -> Vec<InboxEntry> {
        let frames = self.frames();
        let now = Duration::from_millis(50 * self.frames);
        let news = |(player, frame): (usize, InputFrame)| {
            let frame = ReceivedFrame::from(frame);
            self.said[player].heard.is_news(&frame, now).then(|| InboxEntry::Frame {
                session: self.sessions[player],
                token: AttachToken(player as u64 + 1),
                frame,
            })
        };
        frames.into_iter().filter_map(news).collect()
    }

    /// Returns the frames of all players in a tick, in an order of its own.
    fn frames(&mut self) -> Vec<(usize, InputFrame)> {
        self.frames += 1;
        let now = self.frames;
        // By then most intents are confirmed, and none is repeated once more.
        let repeat = u64::from(ClientConfig::default().repeat_frames);
        for (player, intent) in self.turns() {
            self.said[player].recent.push((now, intent));
        }
        let frame = |said: &mut SentIntents| {
            said.recent.retain(|(at, _)| now - at <= repeat);
            InputFrame {
                epoch: Epoch(1),
                snapshot_tick: Tick(now),
                event_ack: 3,
                intents: said
                    .recent
                    .iter()
                    .filter(|(at, _)| (now - at).is_multiple_of(repeat))
                    .map(|(_, intent)| intent.clone())
                    .collect(),
            }
        };
        let mut frames: Vec<_> = self.said.iter_mut().map(frame).enumerate().collect();
        self.shuffle(&mut frames);
        frames
    }

    /// Returns the frames of a tick as datagrams.
    pub fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let bytes = |(_, frame): (usize, InputFrame)| {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            bytes
        };
        self.frames().into_iter().map(bytes).collect()
    }

    /// The zone, between two ticks.
    pub fn zone(&mut self) -> &mut Zone {
        self.ticks.zone()
    }

    /// Turns entries into inputs, and throws away those of the time before. Returns how many there are.
    pub fn drain(&mut self, entries: Vec<InboxEntry>) -> usize {
        self.ticks.inputs().clear();
        self.ticks.stage_drain(entries.into_iter());
        self.ticks.inputs().len()
    }

    /// Freezes inputs into the next tick's record, as the journal gets it. Returns both.
    pub fn freeze(&mut self, inputs: Vec<Input>) -> (StoredRecord, Vec<Input>) {
        let before = std::mem::replace(self.ticks.inputs(), inputs);
        let stored = self.ticks.stage_freeze();
        (stored, std::mem::replace(self.ticks.inputs(), before))
    }

    /// Fills the loop's scene from the zone.
    pub fn scene(&mut self) {
        self.ticks.stage_scene();
    }

    /// Lets the cut in flight be stored, and a second pass.
    pub fn second_since_a_cut(&mut self) {
        self.zone().capture_confirmed();
        for _ in 0..self.config.tick_hz {
            let inputs = self.inputs();
            self.zone().step(&inputs);
        }
    }

    /// Runs a tick up to its scene: inbox, record, step, scene.
    pub fn untold_tick(&mut self, entries: Vec<InboxEntry>) -> (StoredRecord, Outputs) {
        self.ticks.stage_drain(entries.into_iter());
        let stored = self.ticks.stage_freeze();
        let outputs = self.ticks.stage_step();
        self.ticks.stage_scene();
        (stored, outputs)
    }

    /// Runs a whole tick: inbox, record, step, scene, views, snapshots.
    pub fn tick(&mut self, entries: Vec<InboxEntry>) -> TickOut {
        self.ticks.step(entries.into_iter(), Tick(0), LadderState::IDLE, |_| {})
    }
}

/// Runs ticks until the zone has taken these inputs: there may be more than one tick takes.
fn take_all(ticks: &mut TickLoop, inputs: impl Iterator<Item = Input>) {
    let mut entries = inputs.map(InboxEntry::Input).peekable();
    while entries.peek().is_some() {
        ticks.step(entries.by_ref(), Tick(0), LadderState::IDLE, |_| {});
    }
}

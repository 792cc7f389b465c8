//! A world small enough to lie on purpose: players stand on one spot and give each other gold. It keeps everything in
//! memory and serves it at two addresses, so that one can fall silent and the other take over, as often as wanted. The
//! real server never lies, so it cannot test the checker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use everhold_protocol::event::{Event, GoldCause, RejectReason};
use everhold_protocol::limits::HELLO_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::snapshot::value_digest;
use everhold_protocol::{
    Attached, ClientMessage, Credential, EntityId, EntityKind, EntityUpdate, EntityView, Epoch, InputFrame, Intent,
    OwnState, RefusalCode, SeqEvent, ServerMessage, Snapshot, SnapshotHeader, Tick, Velocity, ticket,
};
use quinn::{Connection, Endpoint, SendStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::server;

/// The seed of the ticket key.
const KEY: [u8; 32] = [7; 32];
const TICK: Duration = Duration::from_millis(50);

/// A fault of the world, which the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The world keeps its promises.
    None,
    /// The receiver of a gift gets one gold more than was given.
    MintsGold,
    /// The third event of everybody is never told.
    SwallowsEvents,
    /// Every gift is given twice.
    AppliesTwice,
    /// The successor has forgotten the last input of everybody.
    ForgetsInputs,
    /// The successor has forgotten the gold of everybody.
    ForgetsGold,
}

struct Soul {
    gold: u64,
    inputs: u64,
    events: Vec<SeqEvent>,
    line: Option<Line>,
}

/// The way to a player's client.
struct Line {
    connection: Connection,
    control: UnboundedSender<ServerMessage>,
}

struct State {
    lie: Lie,
    epoch: Epoch,
    tick: Tick,
    souls: BTreeMap<EntityId, Soul>,
    peers: Vec<SocketAddr>,
}

/// The world, until it is dropped.
pub(crate) struct World {
    pub(crate) addrs: [SocketAddr; 2],
    state: Arc<Mutex<State>>,
    speaker: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl World {
    /// Starts it, and writes what players need to log in to `keys`.
    pub(crate) fn start(lie: Lie, keys: &Path) -> Self {
        let identity = server::Identity::new();
        std::fs::write(keys.join("tls-cert.pem"), &identity.pem).unwrap();
        std::fs::write(keys.join("ticket.key"), "07".repeat(32)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let endpoints = [(); 2].map(|()| identity.bind(&runtime));
        let addrs = endpoints.each_ref().map(|endpoint| endpoint.local_addr().unwrap());
        let state = State {
            lie,
            epoch: Epoch(1),
            tick: Tick(0),
            souls: BTreeMap::new(),
            peers: addrs.to_vec(),
        };
        let state = Arc::new(Mutex::new(state));
        let speaker = Arc::new(AtomicUsize::new(0));
        for (index, endpoint) in endpoints.into_iter().enumerate() {
            runtime.spawn(serve(endpoint, Arc::clone(&state), Arc::clone(&speaker), index));
        }
        runtime.spawn(tick(Arc::clone(&state)));
        Self {
            addrs,
            state,
            speaker,
            _runtime: runtime,
        }
    }

    /// The address that speaks says nothing more; the other takes over under a higher epoch.
    pub(crate) fn fail_over(&self) {
        let mut state = self.state.lock().unwrap();
        self.speaker.fetch_xor(1, Ordering::SeqCst);
        state.epoch = state.epoch.next().expect("few deaths");
        let lie = state.lie;
        for soul in state.souls.values_mut() {
            soul.line = None;
            match lie {
                Lie::ForgetsInputs => soul.inputs = soul.inputs.saturating_sub(1),
                Lie::ForgetsGold => soul.gold = 0,
                _ => {}
            }
        }
    }
}

async fn serve(endpoint: Endpoint, state: Arc<Mutex<State>>, speaker: Arc<AtomicUsize>, index: usize) {
    while let Some(incoming) = endpoint.accept().await {
        if speaker.load(Ordering::SeqCst) != index {
            // The client hears nothing at all, as from a process that is gone; if it knocks on, it is let in once this
            // address speaks.
            incoming.ignore();
            continue;
        }
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                converse(connection, &state).await;
            }
        });
    }
}

async fn converse(connection: Connection, state: &Arc<Mutex<State>>) {
    let Ok((send, mut receive)) = connection.accept_bi().await else {
        return;
    };
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    let (control, queue) = unbounded_channel();
    tokio::spawn(write_control(send, queue));
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        decoder.push(&chunk.bytes);
        while let Some(message) = decoder.next::<ClientMessage>().unwrap() {
            match message {
                ClientMessage::Hello { credential, .. } => {
                    let line = Line {
                        connection: connection.clone(),
                        control: control.clone(),
                    };
                    let session = state.lock().unwrap().attach(&credential, line);
                    tokio::spawn(read_inputs(connection.clone(), Arc::clone(state), session));
                }
                ClientMessage::Logout => connection.close((RefusalCode::Bye as u32).into(), b""),
            }
        }
    }
}

async fn write_control(mut send: SendStream, mut queue: tokio::sync::mpsc::UnboundedReceiver<ServerMessage>) {
    while let Some(message) = queue.recv().await {
        if send.write_all(&encode_frame(&message).unwrap()).await.is_err() {
            return;
        }
    }
}

async fn read_inputs(connection: Connection, state: Arc<Mutex<State>>, session: EntityId) {
    while let Ok(datagram) = connection.read_datagram().await {
        let frame = InputFrame::decode(&datagram).unwrap().checked().unwrap();
        let mut state = state.lock().unwrap();
        if frame.epoch == state.epoch {
            frame
                .intents
                .into_iter()
                .for_each(|intent| state.apply(session, intent.seq, &intent.intent));
        }
    }
}

async fn tick(state: Arc<Mutex<State>>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        state.lock().unwrap().show();
    }
}

impl State {
    fn attach(&mut self, credential: &Credential, line: Line) -> EntityId {
        let (session, event_seq) = match credential {
            Credential::Ticket(bytes) => {
                let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
                let key = ed25519_dalek::SigningKey::from_bytes(&KEY).verifying_key();
                let account = ticket::verify(&key, bytes, now).unwrap().account;
                (EntityId::new(1, account.0 as u32), 0)
            }
            Credential::Resume { session, event_seq, .. } => (*session, *event_seq),
        };
        let new = !self.souls.contains_key(&session);
        let soul = self.souls.entry(session).or_insert(Soul {
            gold: 0,
            inputs: 0,
            events: Vec::new(),
            line: None,
        });
        if new {
            soul.gold = 100;
            soul.record(
                self.tick,
                Event::Gold {
                    total: 100,
                    delta: 100,
                    cause: GoldCause::Start,
                },
            );
        }
        let attached = ServerMessage::Attached(Attached {
            epoch: self.epoch,
            zone: "meadow".parse().unwrap(),
            session,
            secret: [0; 32],
            tick_hz: 20,
            resumed_tick: self.tick,
            last_input_seq: soul.inputs,
            event_seq: soul.events.len() as u64,
            events_forgotten: 0,
            rewound_ticks: 0,
            own: OwnState {
                hp: 100,
                gold: soul.gold,
                ..OwnState::default()
            },
            peers: self.peers.clone(),
        });
        line.control.send(attached).unwrap();
        for event in &soul.events[event_seq as usize..] {
            line.control.send(ServerMessage::Event(event.clone())).unwrap();
        }
        soul.line = Some(line);
        session
    }

    fn apply(&mut self, session: EntityId, seq: u64, intent: &Intent) {
        let soul = self.souls.get_mut(&session).unwrap();
        if seq != soul.inputs + 1 {
            return;
        }
        soul.inputs = seq;
        match intent {
            Intent::GiveGold { to, amount } => {
                for _ in 0..if self.lie == Lie::AppliesTwice { 2 } else { 1 } {
                    self.give(session, *to, *amount, seq);
                }
            }
            Intent::PickUp { .. } | Intent::GiveItem { .. } => self.reject(session, seq),
            Intent::Move(_) | Intent::Strike { .. } | Intent::Say(_) => {}
        }
    }

    fn give(&mut self, from: EntityId, to: EntityId, amount: u64, seq: u64) {
        if self.souls[&from].gold < amount {
            return self.reject(from, seq);
        }
        let got = amount + u64::from(self.lie == Lie::MintsGold);
        self.change(from, -(amount as i64), GoldCause::GiftTo(to));
        self.change(to, got as i64, GoldCause::GiftFrom(from));
    }

    fn change(&mut self, session: EntityId, delta: i64, cause: GoldCause) {
        let total = self.souls[&session].gold.checked_add_signed(delta).unwrap();
        self.souls.get_mut(&session).unwrap().gold = total;
        self.tell(session, Event::Gold { total, delta, cause });
    }

    fn reject(&mut self, session: EntityId, seq: u64) {
        self.tell(
            session,
            Event::Rejected {
                seq,
                reason: RejectReason::NotEnoughGold,
            },
        );
    }

    fn tell(&mut self, session: EntityId, event: Event) {
        let soul = self.souls.get_mut(&session).unwrap();
        let event = soul.record(self.tick, event);
        let swallowed = self.lie == Lie::SwallowsEvents && event.seq == 3;
        if let Some(line) = soul.line.as_ref().filter(|_| !swallowed) {
            // A connection that is gone is found out by its client.
            let _gone = line.control.send(ServerMessage::Event(event));
        }
    }

    /// Shows everybody the next one, on the same spot.
    fn show(&mut self) {
        self.tick += 1;
        let sessions: Vec<EntityId> = self.souls.keys().copied().collect();
        for (index, (_, soul)) in self.souls.iter().enumerate() {
            let Some(line) = &soul.line else { continue };
            let neighbour = sessions[(index + 1) % sessions.len()];
            let header = SnapshotHeader {
                epoch: self.epoch,
                tick: self.tick,
                unconfirmed_ticks: 0,
                dilation: 255,
                last_input_seq: soul.inputs,
                event_seq: soul.events.len() as u64,
                x: 0,
                y: 0,
                hp: 100,
                value_digest: value_digest(soul.gold, &[]),
            };
            let neighbour = EntityView {
                id: neighbour,
                kind: EntityKind::Player,
                x: 50,
                y: 0,
                health: 255,
            };
            let mut bytes = Vec::new();
            Snapshot {
                header,
                id_range: neighbour.id.range(),
                updates: vec![EntityUpdate::Seen(neighbour, Velocity::STILL)],
            }
            .encode(&mut bytes);
            let _gone = line.connection.send_datagram(Bytes::from(bytes));
        }
    }
}

impl Soul {
    fn record(&mut self, tick: Tick, event: Event) -> SeqEvent {
        let event = SeqEvent {
            seq: self.events.len() as u64 + 1,
            tick,
            event,
        };
        self.events.push(event.clone());
        event
    }
}

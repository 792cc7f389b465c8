//! Whole zones, and the inbox before them: any inputs in any order. Nothing of value comes into being or is lost, and a
//! restored zone equals the captured one.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use everhold_core::game::RuleBook;
use everhold_core::game::test_zone::Audit;
use everhold_core::ingress::{AttachToken, Birth, Inbox, InboxEntry, Input, Join, Resume};
use everhold_core::limits::TICK_INPUTS_MAX;
use everhold_core::zone::{Cut, Outputs, Reply, Scene, Zone, ZoneConfig};
use everhold_protocol::codec::Reader;
use everhold_protocol::{Account, EntityId, Epoch, InputFrame, Intent, SessionId, Tick};

/// A small and crowded world.
pub(crate) const ARENA: &str = include_str!("../../core/tests/determinism/arena.toml");

const LAST_TICK: Tick = Tick(200);
const TICK_INPUTS: usize = 12;
const ACCOUNTS: u64 = 6;

static CONFIG: LazyLock<ZoneConfig> = LazyLock::new(|| ZoneConfig {
    name: "arena".parse().expect("a zone name"),
    seed: 5,
    tick_hz: 20,
    game: Arc::new(RuleBook::from_toml(ARENA).expect("the arena is a world")),
});

/// A zone, its players' knowledge, and the books.
struct FuzzedZone {
    zone: Zone,
    scene: Scene,
    epoch: Epoch,
    tokens: u64,
    tickets: u64,
    sessions: BTreeMap<SessionId, PlayerKnowledge>,
    gold: u64,
}

/// A player's knowledge of its session.
#[derive(Clone, Copy, Default)]
struct PlayerKnowledge {
    token: u64,
    secret: u64,
    last_seq: u64,
}

/// Runs a zone's history on any bytes.
pub fn history(data: &[u8]) {
    let mut life = FuzzedZone::begin();
    // The history ends with the bytes.
    let _at_its_end = life.live(&mut Unstructured::new(data));
    life.check_captures();
}

impl FuzzedZone {
    fn begin() -> Self {
        let mut life = Self {
            zone: Zone::new(CONFIG.clone()),
            scene: Scene::default(),
            epoch: Epoch::NONE,
            tokens: 0,
            tickets: 0,
            sessions: BTreeMap::new(),
            gold: 0,
        };
        let start = life.next_epoch();
        life.step(&[start]);
        life
    }

    fn live(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        while self.zone.tick() < LAST_TICK && !bytes.is_empty() {
            let mut inputs = Vec::new();
            for _ in 0..bytes.int_in_range(0..=TICK_INPUTS)? {
                inputs.push(self.input(bytes)?);
            }
            // A new ownership begins with its own tick.
            inputs.sort_by_key(|input| !matches!(input, Input::EpochStart { .. }));
            self.step(&inputs);
            if bytes.ratio(1, 16)? {
                self.lose_the_world(bytes.arbitrary()?);
            }
        }
        Ok(())
    }

    fn input(&mut self, bytes: &mut Unstructured<'_>) -> Result<Input> {
        Ok(match bytes.int_in_range(0..=15)? {
            0 if self.epoch < Epoch(8) => self.next_epoch(),
            0..=2 => self.join(bytes)?,
            3 => self.resume(bytes)?,
            4 => {
                let session = self.someone(bytes)?;
                let token = AttachToken(self.known(session).token);
                Input::Detach { session, token }
            }
            5 => Input::EventAck {
                session: self.someone(bytes)?,
                event_seq: bytes.arbitrary::<u8>()?.into(),
            },
            6 => Input::Quarantine {
                session: self.someone(bytes)?,
                seq: self.tokens + u64::from(bytes.arbitrary::<u8>()?),
            },
            7 => {
                let session = self.someone(bytes)?;
                let token = AttachToken(self.known(session).token);
                Input::Logout { session, token }
            }
            _ => self.intent(bytes)?,
        })
    }

    fn next_epoch(&mut self) -> Input {
        self.epoch = self.epoch.next().expect("fewer than eight follow");
        Input::EpochStart {
            epoch: self.epoch,
            nonce: self.epoch.0.into(),
            rules_id: CONFIG.rules_id(),
        }
    }

    fn join(&mut self, bytes: &mut Unstructured<'_>) -> Result<Input> {
        self.tokens += 1;
        if bytes.ratio(7, 8)? {
            self.tickets += 1;
        }
        let mut ticket = [0; 16];
        ticket[..8].copy_from_slice(&self.tickets.to_le_bytes());
        Ok(Input::Join(Join {
            account: Account(bytes.int_in_range(1..=ACCOUNTS)?),
            ticket,
            ticket_forget_tick: self.zone.tick() + u64::from(bytes.arbitrary::<u8>()?),
            secret: secret(self.tokens),
            token: AttachToken(self.tokens),
            birth: Birth::Always,
        }))
    }

    fn resume(&mut self, bytes: &mut Unstructured<'_>) -> Result<Input> {
        self.tokens += 1;
        let session = self.someone(bytes)?;
        let shown = self.known(session).secret.saturating_sub(bytes.int_in_range(0..=2)?);
        Ok(Input::Resume(Resume {
            session,
            secret: secret(shown),
            next_secret: secret(self.tokens),
            event_seq: bytes.arbitrary::<u8>()?.into(),
            token: AttachToken(self.tokens),
        }))
    }

    /// Makes an intent that is mostly the next in its session's order, and whose targets mostly exist.
    fn intent(&mut self, bytes: &mut Unstructured<'_>) -> Result<Input> {
        let session = self.someone(bytes)?;
        let target = self.anything(bytes)?;
        let intent = match bytes.int_in_range(0..=7)? {
            0 => Intent::Strike { target },
            1 => Intent::PickUp { item: target },
            2 => Intent::GiveGold {
                to: target,
                amount: u64::from(bytes.arbitrary::<u8>()?) + 1,
            },
            3 => Intent::GiveItem {
                to: target,
                item: self.anything(bytes)?,
            },
            _ => {
                let len = bytes.int_in_range(0..=12)?;
                let raw = bytes.bytes(len.min(bytes.len()))?;
                let decoded = Intent::decode(&mut Reader::new(raw));
                let seq = self.next_seq(session, bytes)?;
                // As the inbox hands it on.
                return Ok(match decoded {
                    Ok(intent) => Input::Intent { session, seq, intent },
                    Err(_) => Input::Invalid { session, seq },
                });
            }
        };
        let seq = self.next_seq(session, bytes)?;
        Ok(Input::Intent { session, seq, intent })
    }

    fn next_seq(&mut self, session: SessionId, bytes: &mut Unstructured<'_>) -> Result<u64> {
        let known = self.sessions.entry(session).or_default();
        known.last_seq = known.last_seq.saturating_add(bytes.int_in_range(0..=8)?.clamp(1, 2));
        Ok(known.last_seq)
    }

    fn someone(&self, bytes: &mut Unstructured<'_>) -> Result<SessionId> {
        let at: usize = bytes.int_in_range(0..=7)?;
        Ok(self
            .sessions
            .keys()
            .nth(at)
            .copied()
            .unwrap_or_else(|| EntityId::new(1, at as u32)))
    }

    fn known(&self, session: SessionId) -> PlayerKnowledge {
        self.sessions.get(&session).copied().unwrap_or_default()
    }

    fn anything(&self, bytes: &mut Unstructured<'_>) -> Result<EntityId> {
        let at = usize::from(bytes.arbitrary::<u8>()?);
        Ok(self.scene.entities.get(at).map_or(EntityId(at as u64), |view| view.id))
    }

    fn step(&mut self, inputs: &[Input]) {
        let outputs = self.zone.step(inputs);
        self.hear(&outputs);
        self.zone.scene(&mut self.scene);
        let audit = Audit::of(&mut self.zone);
        assert_eq!(
            audit.gold,
            self.gold + audit.gold_minted,
            "gold in tick {}",
            self.zone.tick()
        );
        self.gold = audit.gold;
        let twice = audit.items.windows(2).find(|pair| pair[0].uid == pair[1].uid);
        assert_eq!(twice, None, "an item is there twice in tick {}", self.zone.tick());
    }

    fn hear(&mut self, outputs: &Outputs) {
        for (token, reply) in &outputs.replies {
            if let Reply::Attached(welcome) = reply {
                let known = PlayerKnowledge {
                    token: token.0,
                    secret: token.0,
                    last_seq: welcome.last_input_seq,
                };
                self.sessions.insert(welcome.session, known);
            }
        }
    }

    /// Ends the process between two ticks; another one goes on from its captures.
    fn lose_the_world(&mut self, with_delta: bool) {
        let before = self.zone.digest();
        let base = self.zone.capture(Cut::Base).body;
        self.zone.capture_confirmed();
        let mut chain = vec![base];
        if with_delta {
            self.step(&[]);
            chain.push(self.zone.capture(Cut::Delta).body);
        }
        let bodies: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let mut restored = Zone::restore(CONFIG.clone(), &bodies).expect("what was captured can be restored");
        let expected = if with_delta { self.zone.digest() } else { before };
        assert_eq!(restored.digest(), expected);
        self.zone = restored;
    }

    fn check_captures(mut self) {
        self.lose_the_world(true);
        self.step(&[]);
    }
}

fn secret(number: u64) -> [u8; 32] {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    secret
}

/// Fills an inbox with any entries in any order: a tick's inputs are bounded, and a session's intents are consecutive.
pub fn inbox(data: &[u8]) {
    // The flood ends with the bytes.
    let _at_its_end = flood(&mut Unstructured::new(data));
}

fn flood(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut inbox = Inbox::new();
    let mut last: BTreeMap<SessionId, u64> = BTreeMap::new();
    while !bytes.is_empty() {
        let mut entries = Vec::new();
        for _ in 0..bytes.int_in_range(1..=24)? {
            let session = EntityId::new(1, bytes.int_in_range(0..=3)?);
            let token = AttachToken(bytes.int_in_range(0..=3)?);
            let len = bytes.int_in_range(0..=40)?;
            let raw = bytes.bytes(len.min(bytes.len()))?;
            match InputFrame::decode(raw) {
                Ok(frame) => entries.push(InboxEntry::Frame { session, token, frame }),
                Err(_) if len == 0 => entries.push(InboxEntry::Input(Input::Detach { session, token })),
                Err(_) => {
                    let from = raw.first().copied().unwrap_or_default().into();
                    inbox.note_attached(session, token, from);
                    last.insert(session, from);
                }
            }
        }
        let mut inputs = Vec::new();
        inbox.drain(entries.into_iter(), &mut inputs);
        assert!(inputs.len() <= TICK_INPUTS_MAX, "{} inputs in a tick", inputs.len());
        for input in &inputs {
            if let Input::Intent { session, seq, .. } | Input::Invalid { session, seq } = input {
                let before = last.insert(*session, *seq);
                assert_eq!(
                    before.and_then(|seq| seq.checked_add(1)),
                    Some(*seq),
                    "an intent out of order"
                );
            }
        }
    }
    Ok(())
}

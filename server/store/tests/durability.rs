//! The durability machines, a real zone, and the SQLite store together: an owner that dies at any moment, and the next
//! one that goes on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use everhold_core::durability::store::{Position, ZoneStore};
use everhold_core::durability::{
    CheckpointCommand, CheckpointConfig, Checkpointer, Durability, Gate, Journal, JournalEvent, Record, Replayed,
    StopReason, plan, replay,
};
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Birth, Input, Join};
use everhold_core::ownership::Tenure;
use everhold_core::zone::{Digest, Outputs, Zone, ZoneConfig};
use everhold_protocol::{Account, Epoch, Heading, Intent, Tick, ZoneName};
use everhold_store::conformance::tenure;
use everhold_store::sqlite::SqliteStore;

fn name() -> ZoneName {
    "meadow".parse().unwrap()
}

fn config() -> ZoneConfig {
    ZoneConfig {
        name: name(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    }
}

/// A tick that a player was told of, with the digest that stands for what it was told.
type Told = (Tick, Digest);

/// One ownership, driven by hand.
struct Owner {
    store: SqliteStore,
    tenure: Tenure,
    zone: Zone,
    journal: Journal,
    gate: Gate<Digest, Outputs>,
    checkpointer: Checkpointer,
    told: Vec<Told>,
    stopped: Option<StopReason>,
}

impl Owner {
    /// Fences, reads, adopts.
    async fn adopt(directory: &Path, epoch: u32) -> Self {
        let store = SqliteStore::open(directory).unwrap();
        let tenure = tenure(&name(), epoch, u64::from(epoch));
        store.fence(&tenure).await.unwrap();
        let plan = plan(store.read_zone(&name()).await.unwrap()).unwrap();
        let Replayed {
            zone,
            last,
            chain,
            digest_equal,
            ..
        } = replay(plan, config()).unwrap_or_else(|e| panic!("{e}"));
        assert!(digest_equal);
        let config = CheckpointConfig {
            delta_ticks: 7,
            base_ticks: 30,
            retry_ticks: 2,
        };
        Self {
            store,
            tenure,
            journal: Journal::new(Epoch(epoch), last),
            gate: Gate::new(Durability::Store, Epoch(epoch), last.tick, last.tick),
            checkpointer: Checkpointer::new(config, &chain, last.tick),
            zone,
            told: Vec::new(),
            stopped: None,
        }
    }

    /// One tick: record, step, gate. Nothing reaches the store.
    fn step(&mut self, inputs: Vec<Input>) {
        let Position { tick, hash, .. } = self.journal.last();
        let epoch = self.tenure.epoch();
        let digest_before = tick.is_every(4).then(|| self.zone.digest());
        let record = Record {
            epoch,
            tick: tick.next(),
            prev_hash: hash,
            digest_before,
            inputs,
        };
        self.journal.push(record.encode()).unwrap();
        let outputs = self.zone.step(&record.inputs);
        self.gate.hold(record.tick, (record.tick, self.zone.digest()), outputs);
        self.checkpointer.handle_tick(record.tick);
    }

    /// Everything that can be brought into the store now.
    async fn store(&mut self) {
        while let Some(records) = self.journal.poll_append() {
            let answer = self.store.append(&self.tenure, &records).await;
            match self.journal.handle_answer(answer.as_ref().copied()) {
                JournalEvent::Acknowledged { position } => self.gate.handle_acknowledged(position.tick),
                JournalEvent::Stop(reason) => self.stopped = Some(reason),
                event => panic!("{event:?}"),
            }
        }
        self.tell();
        self.checkpointer.handle_released(self.gate.released_tick());
        while let Some(command) = self.checkpointer.poll_command() {
            self.checkpoint(command).await;
        }
    }

    fn tell(&mut self) {
        while self.gate.poll_told().is_some() {}
        while let Some(shown) = self.gate.poll_shown() {
            self.told.push((shown.tick(), shown.into_inner()));
        }
    }

    async fn checkpoint(&mut self, command: CheckpointCommand) {
        match command {
            CheckpointCommand::Cut(cut) => {
                self.checkpointer
                    .handle_captured(self.journal.last(), self.zone.capture(cut));
            }
            CheckpointCommand::PutPart { position, index, bytes } => {
                self.store.put_part(&self.tenure, position, index, bytes).await.unwrap();
                self.checkpointer.handle_part_put();
            }
            CheckpointCommand::MoveHead(head) => {
                self.store.move_head(&self.tenure, head).await.unwrap();
                self.checkpointer.handle_head_moved();
            }
            CheckpointCommand::CaptureConfirmed(head) => {
                self.zone.capture_confirmed();
                self.journal.forget(head.position.tick);
            }
            CheckpointCommand::CaptureFailed | CheckpointCommand::DropParts(..) => panic!("nothing fails here"),
        }
    }

    /// The first tick of an ownership, and ticks in which one player walks.
    async fn run(&mut self, ticks: u64) {
        let (epoch, nonce) = (self.tenure.epoch(), self.tenure.grant.nonce().0);
        let rules_id = config().rules_id();
        self.step(vec![Input::EpochStart { epoch, nonce, rules_id }, join(epoch.0)]);
        self.store().await;
        for turn in 1..ticks {
            let intent = Intent::Move(Heading::new((turn % 100) as i8, -20).unwrap());
            let session = self.zone.session_of(Account(1)).unwrap();
            let seq = self.journal.last().tick.0;
            self.step(vec![Input::Intent { session, seq, intent }]);
            self.store().await;
        }
    }
}

fn join(epoch: u32) -> Input {
    let byte = epoch as u8;
    Input::Join(Join {
        account: Account(1),
        ticket: [byte; 16],
        ticket_forget_tick: Tick(100_000),
        secret: [byte; 32],
        token: AttachToken(u64::from(epoch)),
        birth: Birth::Always,
    })
}

#[tokio::test]
async fn each_of_ten_owners_goes_on_from_what_the_last_one_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut told: Vec<Told> = Vec::new();
    for epoch in 1..=10 {
        let mut owner = Owner::adopt(directory.path(), epoch).await;
        let end = told.last().copied().unwrap_or((Tick(0), Digest(0)));
        assert_eq!(owner.zone.tick(), end.0, "every record was acknowledged, none is lost");
        assert!(
            epoch == 1 || owner.zone.digest() == end.1,
            "the very state that the players saw last"
        );
        owner.run(u64::from(epoch) * 5).await;
        assert_eq!(owner.told.first().unwrap().0, end.0 + 1, "without a gap");
        told.append(&mut owner.told);
    }
    let ticks: Vec<Tick> = told.iter().map(|told| told.0).collect();
    assert_eq!(ticks, (1..=275).map(Tick).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_never_acknowledged_was_never_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Owner::adopt(directory.path(), 1).await;
    owner.run(25).await;
    for _ in 0..3 {
        owner.step(Vec::new());
    }
    owner.tell();
    let told = owner.told.last().copied().unwrap();
    assert_eq!((told.0, owner.zone.tick()), (Tick(25), Tick(28)));
    drop(owner);
    let mut next = Owner::adopt(directory.path(), 2).await;
    assert_eq!((next.zone.tick(), next.zone.digest()), told);
}

#[tokio::test]
async fn zombie_that_wakes_after_an_adoption_tells_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut zombie = Owner::adopt(directory.path(), 1).await;
    zombie.run(25).await;
    let told = zombie.told.len();
    let mut next = Owner::adopt(directory.path(), 2).await;
    zombie.step(Vec::new());
    zombie.store().await;
    assert_eq!((zombie.stopped, zombie.told.len()), (Some(StopReason::Fenced), told));
    next.run(5).await;
    assert_eq!(next.told.first().unwrap().0, Tick(26));
}

/// The head names a tick that is acknowledged, whatever is captured and written when the owner dies.
#[tokio::test]
async fn owner_that_dies_while_it_writes_a_checkpoint_leaves_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Owner::adopt(directory.path(), 1).await;
    owner.run(20).await;
    let told = owner.told.last().copied().unwrap();
    let head = owner.checkpointer.head().unwrap();
    let body = owner.zone.capture(everhold_core::zone::Cut::Base).body;
    let position = owner.journal.last();
    owner
        .store
        .put_part(&owner.tenure, position, 0, body.into())
        .await
        .unwrap();
    drop(owner);
    let mut next = Owner::adopt(directory.path(), 2).await;
    assert_eq!((next.zone.tick(), next.zone.digest()), told);
    assert_eq!(next.checkpointer.head(), Some(head));
}

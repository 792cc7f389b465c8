//! Adoption of real zones, told by circumstances.

mod takeover;

use std::sync::Arc;

use everhold_protocol::{Account, Epoch, Heading, Intent};

use super::*;
use crate::durability::store::{Checkpoint, RecordHash};
use crate::game::RuleBook;
use crate::game::test_zone::{PlantedBug, TestZone};
use crate::ingress::{AttachToken, Birth, Join};
use crate::zone::Cut;

fn config(tick_hz: u16) -> ZoneConfig {
    let name = "meadow".parse().unwrap();
    ZoneConfig {
        name,
        seed: 7,
        tick_hz,
        game: Arc::new(RuleBook::default_world()),
    }
}

/// An owner: a zone, and what it stored.
struct Owner {
    zone: Zone,
    data: ZoneData,
    last: Position,
    /// The moves of value of its last tick.
    moves: Vec<ValueMove>,
}

impl Owner {
    fn new() -> Self {
        let mut owner = Self {
            zone: Zone::new(config(20)),
            data: ZoneData::default(),
            last: Position::GENESIS,
            moves: Vec::new(),
        };
        let start = Input::EpochStart {
            epoch: Epoch(1),
            nonce: 1,
            rules_id: config(20).rules_id(),
        };
        owner.step(vec![start, join(1), join(2)]);
        owner
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let tick = self.last.tick.next();
        let digest_before = tick.is_every(5).then(|| self.zone.digest());
        let stored = Record {
            epoch: Epoch(1),
            tick,
            prev_hash: self.last.hash,
            digest_before,
            inputs: inputs.clone(),
        }
        .encode();
        self.moves = self.zone.step(&inputs).moves;
        self.last = Position {
            epoch: Epoch(1),
            tick,
            hash: stored.hash,
        };
        self.data.records.push(stored);
    }

    /// Steps to `tick`, with the first player walking to and fro.
    fn walk_to(&mut self, tick: Tick) {
        let session = self.zone.session_of(Account(1)).unwrap();
        while self.last.tick < tick {
            let seq = self.last.tick.0;
            let heading = Heading::new(if seq.is_multiple_of(2) { 100 } else { -90 }, 3).unwrap();
            self.step(vec![Input::Intent {
                session,
                seq,
                intent: Intent::Move(heading),
            }]);
        }
    }

    /// Stores a checkpoint, and forgets the records that it covers.
    fn checkpoint(&mut self, cut: Cut) {
        let body = Bytes::from(self.zone.capture(cut).body);
        self.zone.capture_confirmed();
        let kind = match (cut, self.data.chain.last()) {
            (Cut::Delta, Some(parent)) => CheckpointKind::Delta {
                parent: parent.head.position,
            },
            _ => CheckpointKind::Base,
        };
        let head = CheckpointHead {
            position: self.last,
            kind,
            parts: 1,
            bytes: body.len() as u64,
        };
        self.data.chain.push(Checkpoint { head, body });
        self.data.records.clear();
    }

    fn replayed(mut self) -> (Replayed, Digest) {
        let expected = self.zone.digest();
        (
            replay(plan(self.data).unwrap(), config(20)).unwrap_or_else(|error| panic!("{error}")),
            expected,
        )
    }
}

fn join(account: u64) -> Input {
    Input::Join(Join {
        account: Account(account),
        ticket: [account as u8; 16],
        ticket_forget_tick: Tick(10_000),
        secret: [account as u8; 32],
        token: AttachToken(account),
        birth: Birth::Always,
    })
}

fn refused(data: ZoneData) -> ReplayError {
    match plan(data).and_then(|plan| replay(plan, config(20))) {
        Ok(_) => panic!("it was replayed"),
        Err(error) => error,
    }
}

/// The end of a history that is damaged there, and the defect.
fn damaged(data: ZoneData) -> (Tick, ReplayError) {
    let replayed = plan(data).and_then(|plan| replay(plan, config(20)));
    let replayed = replayed.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(replayed.zone.tick(), replayed.last.tick);
    (replayed.last.tick, replayed.damage.expect("it is damaged"))
}

#[test]
fn zone_without_data_begins() {
    let replayed = replay(plan(ZoneData::default()).unwrap(), config(20)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (replayed.zone.tick(), replayed.last, replayed.replayed_ticks),
        (Tick(0), Position::GENESIS, 0)
    );
    assert!(replayed.digest_equal && replayed.chain.is_empty());
}

#[test]
fn zone_without_checkpoints_is_replayed_from_its_beginning() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(33));
    let last = owner.last;
    let (mut replayed, expected) = owner.replayed();
    assert_eq!(
        (replayed.last, replayed.replayed_ticks, replayed.checked_digests),
        (last, 33, 6)
    );
    assert!(replayed.digest_equal && replayed.zone.digest() == expected);
}

#[test]
fn zone_is_restored_from_base_and_deltas_and_replayed_from_there() {
    let mut owner = Owner::new();
    for (tick, cut) in [(20, Cut::Base), (31, Cut::Delta), (42, Cut::Delta)] {
        owner.walk_to(Tick(tick));
        owner.checkpoint(cut);
    }
    owner.walk_to(Tick(60));
    let (mut replayed, expected) = owner.replayed();
    assert_eq!(
        (replayed.chain.len(), replayed.replayed_ticks, replayed.checked_digests),
        (3, 18, 4)
    );
    assert!(replayed.digest_equal && replayed.zone.digest() == expected);
}

#[test]
fn zone_whose_journal_ends_at_its_checkpoint_is_not_replayed() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(20));
    owner.checkpoint(Cut::Base);
    let (replayed, _) = owner.replayed();
    assert_eq!(
        (replayed.zone.tick(), replayed.last.tick, replayed.replayed_ticks),
        (Tick(20), Tick(20), 0)
    );
}

#[test]
fn digest_that_differs_is_reported_and_the_replayed_state_stands() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(12));
    let mut last = Position {
        epoch: Epoch(1),
        tick: Tick(0),
        hash: RecordHash::GENESIS,
    };
    for stored in &mut owner.data.records {
        let mut record = Record {
            prev_hash: last.hash,
            ..Record::decode(stored).unwrap()
        };
        record.digest_before = record.digest_before.map(|digest| Digest(digest.0 ^ 1));
        *stored = record.encode();
        last.hash = stored.hash;
    }
    let (mut replayed, expected) = owner.replayed();
    assert!(!replayed.digest_equal);
    assert_eq!(
        (replayed.first_divergence, replayed.checked_digests),
        (Some(Tick(4)), 2)
    );
    assert_eq!((replayed.zone.tick(), replayed.zone.digest()), (Tick(12), expected));
}

#[test]
fn history_ends_before_a_missing_record() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(9));
    owner.data.records.remove(5);
    assert_eq!(
        damaged(owner.data),
        (Tick(5), ReplayError::JournalBroken { tick: Tick(6) })
    );
}

#[test]
fn journal_that_does_not_start_where_the_checkpoint_ends_is_left_out() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(9));
    owner.checkpoint(Cut::Base);
    owner.walk_to(Tick(12));
    owner.data.chain[0].head.position.hash = RecordHash([1; 32]);
    assert_eq!(
        damaged(owner.data),
        (Tick(9), ReplayError::JournalBroken { tick: Tick(10) })
    );
}

#[test]
fn record_of_an_earlier_epoch_than_the_one_before_is_left_out() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(3));
    owner.checkpoint(Cut::Base);
    owner.data.chain[0].head.position.epoch = Epoch(2);
    owner.walk_to(Tick(4));
    assert_eq!(
        damaged(owner.data),
        (Tick(3), ReplayError::JournalBroken { tick: Tick(4) })
    );
}

#[test]
fn history_ends_before_a_damaged_record() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(9));
    let mut body = owner.data.records[6].body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    owner.data.records[6].body = body.into();
    let error = RecordError::HashMismatch;
    let defect = ReplayError::Record { tick: Tick(7), error };
    assert_eq!(damaged(owner.data), (Tick(6), defect));
}

#[test]
fn chain_with_a_missing_delta_is_refused() {
    let mut owner = Owner::new();
    for cut in [Cut::Base, Cut::Delta, Cut::Delta] {
        owner.walk_to(owner.last.tick + 5);
        owner.checkpoint(cut);
    }
    let without = |index: usize| {
        let mut data = owner.data.clone();
        data.chain.remove(index);
        refused(data)
    };
    assert_eq!(without(0), ReplayError::ChainBroken { tick: Tick(11) });
    assert_eq!(without(1), ReplayError::ChainBroken { tick: Tick(16) });
}

#[test]
fn damaged_checkpoint_is_named() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(8));
    owner.checkpoint(Cut::Base);
    let checkpoint = &mut owner.data.chain[0];
    checkpoint.body = checkpoint.body.slice(..checkpoint.body.len() / 2);
    assert!(matches!(
        refused(owner.data),
        ReplayError::Restore { tick: Tick(8), .. }
    ));
}

#[test]
fn checkpoint_of_another_tick_than_the_store_says_is_refused() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(8));
    owner.checkpoint(Cut::Base);
    owner.data.chain[0].head.position.tick = Tick(9);
    assert_eq!(
        refused(owner.data),
        ReplayError::OtherTick {
            tick: Tick(9),
            found: Tick(8)
        }
    );
}

#[test]
fn history_under_other_rules_is_not_replayed() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(4));
    let replayed = replay(plan(owner.data).unwrap(), config(10));
    assert_eq!(replayed.err(), Some(ReplayError::Rules { tick: Tick(1) }));
}

#[test]
fn zone_that_fails_in_replay_is_poison_and_named() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(5));
    let zone = TestZone {
        shuffle_seed: None,
        bug: Some(PlantedBug::Panic),
    }
    .begin(&config(20));
    let run = ReplayRun::new(plan(owner.data).unwrap(), zone, config(20));
    let error = run.run().err().unwrap();
    let ReplayError::Poison {
        tick: Tick(3),
        suspect: None,
        reason,
    } = error
    else {
        panic!("{error}")
    };
    assert!(!reason.is_empty());
}

#[test]
fn quarantined_intent_does_nothing_and_the_session_goes_on_after_it() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(2));
    let session = owner.zone.session_of(Account(1)).unwrap();
    let still = |seq| {
        vec![Input::Intent {
            session,
            seq,
            intent: Intent::Move(Heading::STILL),
        }]
    };
    owner.data.quarantine.push((session, 1));
    let (replayed, expected) = {
        let poisoned = owner.data.clone();
        let mut zone = replay(plan(poisoned).unwrap(), config(20))
            .unwrap_or_else(|error| panic!("{error}"))
            .zone;
        zone.step(&still(2));
        owner.step(still(2));
        (zone, owner.zone.digest())
    };
    let mut scene = crate::zone::Scene::default();
    let mut zone = replayed;
    zone.scene(&mut scene);
    let own = scene.sessions.iter().find(|own| own.session == session).unwrap();
    assert_eq!(own.last_input_seq, 2, "the number was used up, and the next one counts");
    assert_ne!(zone.digest(), expected, "the player never walked");
}

#[test]
fn quarantined_intent_that_the_journal_does_not_hold_is_left_for_the_new_epoch() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(2));
    let session = owner.zone.session_of(Account(1)).unwrap();
    owner.data.quarantine = vec![(session, 1), (session, 99)];
    let replayed = replay(plan(owner.data).unwrap(), config(20)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        replayed.quarantine,
        [(session, 99)],
        "the first was refused in the replay"
    );
}

#[test]
fn zone_that_this_world_lacks_is_an_error_and_no_panic() {
    let config = ZoneConfig {
        name: "atlantis".parse().unwrap(),
        ..config(20)
    };
    let replayed = plan(ZoneData::default()).and_then(|plan| replay(plan, config));
    assert_eq!(replayed.err(), Some(ReplayError::ZoneUnknown));
}

#[test]
fn moves_of_value_come_from_the_checkpoints_and_from_the_ticks_that_are_replayed() {
    let (mut owner, mut told) = (Owner::new(), PendingMoves::default());
    told.add(Epoch(1), owner.last.tick, owner.moves.clone());
    let mut parent = Tick(0);
    let forks = [Fork {
        epoch: Epoch(1),
        root: Position::GENESIS,
    }];
    for account in 3..=7 {
        owner.step(vec![join(account)]);
        assert!(!owner.moves.is_empty(), "a newcomer begins with something");
        told.add(Epoch(1), owner.last.tick, owner.moves.clone());
        if account == 4 || account == 6 {
            // What the archive lacks, then what came after that.
            owner.checkpoint(if account == 4 { Cut::Base } else { Cut::Delta });
            let section = section::encode(told.rows().filter(|row| row.stamp.tick > parent), &forks);
            let stored = owner.data.chain.last_mut().unwrap();
            stored.body = Bytes::from([stored.body.to_vec(), section].concat());
            parent = owner.last.tick;
        }
    }
    let (replayed, digest) = owner.replayed();
    assert!(replayed.moves.rows().eq(told.rows()));
    assert_eq!(replayed.moves.forks.after(Epoch::NONE), forks);
    let mut zone = replayed.zone;
    assert_eq!(zone.digest(), digest, "they are no part of the state");
}

#[test]
fn section_that_is_damaged_makes_its_checkpoint_a_damaged_one() {
    let mut owner = Owner::new();
    owner.checkpoint(Cut::Base);
    let mut section = section::encode(std::iter::empty(), &[]);
    section[0] ^= 2;
    let stored = owner.data.chain.last_mut().unwrap();
    stored.body = Bytes::from([stored.body.to_vec(), section].concat());
    let error = refused(owner.data);
    assert!(error.is_damage() && !error.is_foreign(), "{error}");
}

//! Recovery, told by circumstances: what is read and tried when stored data is damaged. The zones are real, the store
//! is a table.

use std::sync::Arc;

use everhold_protocol::{Account, Epoch, Heading, Intent};

use super::*;
use crate::durability::record::Record;
use crate::durability::replay::{plan, replay};
use crate::durability::store::{CheckpointHead, CheckpointKind, RecordHash};
use crate::game::RuleBook;
use crate::ingress::{AttachToken, Birth, Input, Join};
use crate::limits::PART_BYTES_MAX;
use crate::ownership::Nonce;
use crate::zone::{Cut, Digest, RestoreError, Zone, ZoneConfig};

fn config() -> ZoneConfig {
    ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    }
}

/// A store with the history of one zone: a checkpoint after each of some ticks, and records.
#[derive(Clone)]
struct Stored {
    chain: Vec<CheckpointHead>,
    /// By the checkpoint's tick and the part's index.
    parts: BTreeMap<(u64, u32), Bytes>,
    records: BTreeMap<Tick, StoredRecord>,
    /// The digest after each tick.
    digests: Vec<Digest>,
    asked: Vec<PageRequest>,
}

impl Stored {
    /// Plays to tick `end`, with these checkpoints; the journal begins after `trimmed`.
    fn played(end: u64, checkpoints: &[(u64, Cut)], trimmed: u64) -> Self {
        let mut zone = Zone::new(config());
        let mut stored = Self {
            chain: Vec::new(),
            parts: BTreeMap::new(),
            records: BTreeMap::new(),
            digests: vec![zone.digest()],
            asked: Vec::new(),
        };
        let mut last = Position::GENESIS;
        for tick in 1..=end {
            let record = Record {
                epoch: Epoch(1),
                tick: Tick(tick),
                prev_hash: last.hash,
                digest_before: None,
                inputs: inputs(&mut zone, tick),
            };
            zone.step(&record.inputs);
            let entry = record.encode();
            last = Position {
                epoch: Epoch(1),
                tick: Tick(tick),
                hash: entry.hash,
            };
            stored.digests.push(zone.digest());
            if tick > trimmed {
                stored.records.insert(Tick(tick), entry);
            }
            if let Some((_, cut)) = checkpoints.iter().find(|(at, _)| *at == tick) {
                stored.checkpoint(&mut zone, *cut, last);
            }
        }
        stored
    }

    fn checkpoint(&mut self, zone: &mut Zone, cut: Cut, position: Position) {
        let body = Bytes::from(zone.capture(cut).body);
        zone.capture_confirmed();
        let kind = match (cut, self.chain.last()) {
            (Cut::Delta, Some(parent)) => CheckpointKind::Delta {
                parent: parent.position,
            },
            _ => CheckpointKind::Base,
        };
        // Smaller parts than a store's: what is read in several pages is not large.
        let parts = body.chunks(body.len().div_ceil(3).min(PART_BYTES_MAX));
        let parts: Vec<Bytes> = parts.map(Bytes::copy_from_slice).collect();
        let head = CheckpointHead {
            position,
            kind,
            parts: parts.len() as u32,
            bytes: body.len() as u64,
        };
        self.chain.push(head);
        for (index, part) in (0..).zip(parts) {
            self.parts.insert((position.tick.0, index), part);
        }
    }

    fn outline(&self) -> ZoneOutline {
        let ticks = self.records.keys();
        ZoneOutline {
            fence: (Epoch(2), Nonce(1)),
            chain: self.chain.clone(),
            journal: ticks.clone().next().copied().zip(ticks.last().copied()),
            quarantine: Vec::new(),
            seal: None,
        }
    }

    fn flip(&mut self, checkpoint: u64) {
        let part = self.parts.get_mut(&(checkpoint, 1)).unwrap();
        let mut bytes = part.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        *part = bytes.into();
    }

    fn record(&mut self, tick: u64) -> &mut StoredRecord {
        self.records.get_mut(&Tick(tick)).unwrap()
    }

    fn flip_body(&mut self, tick: u64) {
        let record = self.record(tick);
        let mut body = record.body.to_vec();
        *body.last_mut().unwrap() ^= 1;
        record.body = body.into();
    }

    fn answer(&mut self, recovery: &mut Recovery, page: PageRequest) {
        self.asked.push(page.clone());
        match page {
            PageRequest::Parts(parts) => {
                let part = |(position, index): &PartKey| self.parts.get(&(position.tick.0, *index)).cloned();
                recovery.handle_parts(parts.iter().map(part).collect());
            }
            PageRequest::Records(from, ticks) => {
                let records = self.records.range(from..from + u64::from(ticks));
                recovery.handle_records(records.map(|(_, record)| record.clone()).collect());
            }
        }
    }

    /// Recovers the zone, and checks that it is the one that was played.
    fn recover(&mut self) -> Result<(Tick, Recovered), Damage> {
        let mut recovery = Recovery::new(self.outline());
        loop {
            match recovery.poll() {
                RecoveryStep::Read(page) => self.answer(&mut recovery, page),
                RecoveryStep::Replay(data) => match plan(data).and_then(|plan| replay(plan, config())) {
                    Ok(mut replayed) => {
                        if let Some(recovered) = recovery.handle_replayed(&replayed)? {
                            let tick = replayed.last.tick;
                            assert_eq!(replayed.zone.digest(), self.digests[tick.0 as usize]);
                            return Ok((tick, recovered));
                        }
                    }
                    Err(error) => recovery.handle_failed(error)?,
                },
                RecoveryStep::Fail(damage) => return Err(damage),
            }
        }
    }

    /// Recovers the zone, which must lose nothing, and returns the tick of the checkpoint that is left.
    fn left_without_loss(&mut self) -> Option<u64> {
        let (tick, recovered) = self.recover().unwrap();
        assert_eq!((tick, recovered.lost_ticks), (*self.records.keys().last().unwrap(), 0));
        let to = recovered.rewind.expect("something was given up");
        assert_eq!(to.last, tick);
        to.head.map(|head| head.tick.0)
    }
}

fn inputs(zone: &mut Zone, tick: u64) -> Vec<Input> {
    let Some(session) = zone.session_of(Account(1)) else {
        let join = Input::Join(Join {
            account: Account(1),
            ticket: [1; 16],
            ticket_forget_tick: Tick(10_000),
            secret: [1; 32],
            token: AttachToken(1),
            birth: Birth::Always,
        });
        return vec![join];
    };
    vec![Input::Intent {
        session,
        seq: tick,
        intent: Intent::Move(Heading::new(100, 3).unwrap()),
    }]
}

/// Two bases, each with two deltas, and the journal since the older one.
fn two_chains() -> Stored {
    let checkpoints = [
        (10, Cut::Base),
        (15, Cut::Delta),
        (20, Cut::Delta),
        (25, Cut::Base),
        (30, Cut::Delta),
        (35, Cut::Delta),
    ];
    Stored::played(40, &checkpoints, 10)
}

#[test]
fn whole_history_is_read_from_its_newest_chain_and_nothing_is_rewound() {
    let mut stored = two_chains();
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.rewind, recovered.lost_ticks), (Tick(40), None, 0));
    let [PageRequest::Parts(parts), PageRequest::Records(Tick(36), 5)] = &stored.asked[..] else {
        panic!("{:?}", stored.asked)
    };
    assert_eq!(parts.len(), 9, "the base, its two deltas, and no more");
}

#[test]
fn zone_that_has_not_begun_begins() {
    let mut stored = Stored::played(0, &[], 0);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.rewind, stored.asked.len()), (Tick(0), None, 0));
}

#[test]
fn damaged_checkpoint_costs_no_tick_while_an_older_one_and_the_journal_are_whole() {
    // What a flipped bit of the second says is said anew by the third.
    for (damaged, left) in [(35, 30), (25, 20)] {
        let mut stored = two_chains();
        stored.flip(damaged);
        assert_eq!(stored.left_without_loss(), Some(left), "{damaged} is damaged");
    }
    for (damaged, left) in [(35, 30), (30, 25), (25, 20)] {
        let mut stored = two_chains();
        stored.parts.remove(&(damaged, 1));
        assert_eq!(stored.left_without_loss(), Some(left), "{damaged} lacks a part");
    }
    let mut stored = two_chains();
    for damaged in [25, 20, 15] {
        stored.flip(damaged);
    }
    assert_eq!(stored.left_without_loss(), Some(10), "one after the other");
}

#[test]
fn first_base_of_a_zone_is_made_good_by_the_journal_from_its_beginning() {
    let mut stored = Stored::played(30, &[(10, Cut::Base), (20, Cut::Delta)], 0);
    stored.flip(10);
    assert_eq!(stored.left_without_loss(), None);
}

#[test]
fn zone_of_which_no_checkpoint_is_whole_and_no_journal_begins_is_not_begun_again() {
    let mut stored = two_chains();
    stored.flip(10);
    stored.flip(25);
    let Err(Damage::Unreplayable(ReplayError::Restore { tick: Tick(35), .. })) = stored.recover() else {
        panic!("it says what was wrong with the newest")
    };
}

#[test]
fn damaged_or_missing_record_ends_the_history_before_it_and_the_loss_is_counted() {
    let damages: [fn(&mut Stored); 3] = [
        |stored| stored.flip_body(38),
        |stored| stored.record(38).body = Bytes::new(),
        |stored| drop(stored.records.remove(&Tick(38))),
    ];
    for damage in damages {
        let mut stored = two_chains();
        damage(&mut stored);
        let (tick, recovered) = stored.recover().unwrap();
        assert_eq!((tick, recovered.lost_ticks, recovered.given_up), (Tick(37), 3, 0));
        let to = recovered.rewind.unwrap();
        assert_eq!((to.last, to.head.unwrap().tick), (Tick(37), Tick(35)));
    }
}

#[test]
fn damaged_record_below_a_whole_checkpoint_costs_nothing() {
    let mut stored = two_chains();
    stored.flip_body(33);
    assert_eq!(stored.recover().unwrap().1.rewind, None, "it is not even read");
    stored.flip(35);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.lost_ticks, recovered.given_up), (Tick(32), 8, 1));
}

#[test]
fn damaged_hash_is_proven_by_the_records_beside_it() {
    let mut stored = two_chains();
    stored.record(37).prev_hash = RecordHash([9; 32]);
    stored.record(39).hash = RecordHash([9; 32]);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.rewind), (Tick(40), None));
    stored.record(40).hash = RecordHash([9; 32]);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!(
        (tick, recovered.lost_ticks),
        (Tick(39), 1),
        "nothing proves the last one"
    );
}

#[test]
fn what_the_newest_checkpoint_alone_had_is_counted() {
    let mut stored = two_chains();
    stored.records.retain(|tick, _| *tick <= Tick(32));
    stored.flip(35);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.lost_ticks), (Tick(32), 3));
}

#[test]
fn what_seems_damaged_is_looked_at_twice() {
    let mut stored = two_chains();
    let whole = stored.clone();
    stored.flip(25);
    stored.flip_body(38);
    let mut recovery = Recovery::new(stored.outline());
    let mut replays = 0;
    loop {
        match recovery.poll() {
            RecoveryStep::Read(page) if replays == 0 => stored.answer(&mut recovery, page),
            RecoveryStep::Read(page) => whole.clone().answer(&mut recovery, page),
            RecoveryStep::Replay(data) => {
                replays += 1;
                match plan(data).and_then(|plan| replay(plan, config())) {
                    Ok(replayed) => {
                        let recovered = recovery.handle_replayed(&replayed).unwrap().expect("it is whole");
                        assert_eq!((recovered.rewind, replays), (None, 2));
                        return;
                    }
                    Err(error) => recovery.handle_failed(error).unwrap(),
                }
            }
            RecoveryStep::Fail(damage) => panic!("{damage}"),
        }
    }
}

#[test]
fn checkpoint_of_another_build_costs_no_tick() {
    let foreign = || ReplayError::Restore {
        tick: Tick(35),
        error: RestoreError::Layout { found: 99 },
    };
    for (lost, damage) in [(false, None), (true, Some(38))] {
        let mut stored = two_chains();
        if let Some(tick) = damage {
            stored.flip_body(tick);
        }
        let mut recovery = Recovery::new(stored.outline());
        let mut replays = 0;
        let outcome = loop {
            match recovery.poll() {
                RecoveryStep::Read(page) => stored.answer(&mut recovery, page),
                RecoveryStep::Replay(_) if replays < 2 => {
                    replays += 1;
                    recovery.handle_failed(foreign()).unwrap();
                }
                RecoveryStep::Replay(data) => {
                    let replayed = plan(data).and_then(|plan| replay(plan, config()));
                    let replayed = replayed.unwrap_or_else(|error| panic!("{error}"));
                    break recovery.handle_replayed(&replayed);
                }
                RecoveryStep::Fail(damage) => panic!("{damage}"),
            }
        };
        match outcome {
            Ok(recovered) => assert_eq!((recovered.unwrap().given_up, lost), (1, false)),
            Err(damage) => assert_eq!((damage, lost), (foreign().into(), true)),
        }
    }
}

#[test]
fn other_rules_are_no_damage() {
    let mut recovery = Recovery::new(two_chains().outline());
    let rules = ReplayError::Rules { tick: Tick(36) };
    assert_eq!(recovery.handle_failed(rules.clone()), Err(rules));
}

#[test]
fn page_that_does_not_come_is_asked_for_in_halves_until_it_is_the_smallest() {
    let mut stored = two_chains();
    let mut recovery = Recovery::new(stored.outline());
    let away = || StoreError::Unavailable("a time-out".to_owned());
    let mut sizes = Vec::new();
    loop {
        let RecoveryStep::Read(PageRequest::Parts(parts)) = recovery.poll() else {
            panic!("parts come first")
        };
        sizes.push(parts.len());
        if recovery.handle_unread(away()).is_err() {
            break;
        }
    }
    assert_eq!(sizes, [9, 8, 4, 2, 1]);
    // One that comes makes the next one larger.
    let mut sizes = Vec::new();
    while let RecoveryStep::Read(page) = recovery.poll() {
        if let PageRequest::Parts(parts) = &page {
            sizes.push(parts.len());
        }
        stored.answer(&mut recovery, page);
    }
    assert_eq!(sizes, [1, 2, 4, 2]);
}

#[test]
fn long_journal_of_small_records_is_read_in_growing_pages() {
    let mut stored = Stored::played(1_000, &[(1, Cut::Base)], 0);
    let (tick, recovered) = stored.recover().unwrap();
    assert_eq!((tick, recovered.rewind), (Tick(1_000), None));
    let ticks = stored.asked.iter().filter_map(|page| match page {
        PageRequest::Records(_, ticks) => Some(*ticks),
        PageRequest::Parts(_) => None,
    });
    assert_eq!(ticks.collect::<Vec<_>>(), [64, 128, 256, 512, 39]);
}

#[test]
fn what_cannot_be_read_even_by_itself_is_as_good_as_missing() {
    let mut stored = two_chains();
    let corrupt = || StoreError::Corrupt("a page of the file".to_owned());
    let mut recovery = Recovery::new(stored.outline());
    let lost = loop {
        match recovery.poll() {
            RecoveryStep::Read(PageRequest::Records(from, ticks))
                if (from..from + u64::from(ticks)).contains(&Tick(38)) =>
            {
                recovery.handle_unread(corrupt()).unwrap();
            }
            RecoveryStep::Read(page) => stored.answer(&mut recovery, page),
            RecoveryStep::Replay(data) => {
                let replayed = plan(data).and_then(|plan| replay(plan, config()));
                let replayed = replayed.unwrap_or_else(|error| panic!("{error}"));
                if let Some(recovered) = recovery.handle_replayed(&replayed).unwrap() {
                    break recovered.lost_ticks;
                }
            }
            RecoveryStep::Fail(damage) => panic!("{damage}"),
        }
    };
    assert_eq!(lost, 3);
}

//! Audits and comparisons of the histories of a real zone.

use std::sync::Arc;

use everhold_protocol::{Account, Epoch};

use super::*;
use crate::durability::history::HistoryWorld;
use crate::durability::store::RecordHash;
use crate::game::RuleBook;
use crate::ingress::{AttachToken, Birth, Input, Join};
use crate::ownership::Nonce;
use crate::zone::Cut;

fn config() -> ZoneConfig {
    ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    }
}

fn header() -> HistoryHeader {
    HistoryHeader {
        zone: config().name,
        fence: (Epoch(1), Nonce(1)),
        world: HistoryWorld::default(),
        evidence: None,
    }
}

fn join(account: u64) -> Input {
    Input::Join(Join {
        account: Account(account),
        ticket: [account as u8; 16],
        ticket_forget_tick: Tick(1_000),
        secret: [account as u8; 32],
        token: AttachToken(account),
        birth: Birth::Always,
    })
}

/// A history of `end` ticks: a base after ticks 10 and 30, a delta after tick 20, a digest in every fifth record. The
/// digests that the owner tells are others from the tick `drifts` on. A player joins in each tick of `joins`.
fn history(end: u64, drifts: u64, joins: &[u64]) -> ZoneHistory {
    let (mut zone, mut history) = (Zone::new(config()), ZoneHistory::new(header()));
    let mut last = Position::GENESIS;
    for tick in 1..=end {
        let start = Input::EpochStart {
            epoch: Epoch(1),
            nonce: 1,
            rules_id: config().rules_id(),
        };
        let mut inputs = if tick == 1 { vec![start] } else { Vec::new() };
        inputs.extend(joins.iter().filter(|at| **at == tick).map(|at| join(*at)));
        let digest = Digest(zone.digest().0 ^ u64::from(tick > drifts));
        let record = Record {
            epoch: Epoch(1),
            tick: Tick(tick),
            prev_hash: last.hash,
            digest_before: tick.is_multiple_of(5).then_some(digest),
            inputs,
        };
        let stored = record.encode();
        zone.step(&record.inputs);
        let parent = last;
        last = Position {
            epoch: Epoch(1),
            tick: Tick(tick),
            hash: stored.hash,
        };
        history.take(HistoryFrame::Record(stored));
        if [10, 20, 30].contains(&tick) {
            let capture = zone.capture(if tick == 20 { Cut::Delta } else { Cut::Base });
            zone.capture_confirmed();
            let place = history.chain.len() as u32;
            let kind = match history.chain.last() {
                Some(base) if tick == 20 => CheckpointKind::Delta { parent: base.position },
                _ => CheckpointKind::Base,
            };
            assert!(parent.tick < last.tick);
            history.take(HistoryFrame::Checkpoint(CheckpointHead {
                position: last,
                kind,
                parts: 1,
                bytes: capture.body.len() as u64,
            }));
            let bytes = capture.body.into();
            history.take(HistoryFrame::Part { place, index: 0, bytes });
        }
    }
    history
}

/// Takes the records before a tick away, as a base does.
fn trimmed(mut history: ZoneHistory, first: u64) -> ZoneHistory {
    history.records.retain(|tick, _| tick.0 >= first);
    history
}

fn audited(history: &ZoneHistory, from: Option<u64>, to: Option<u64>) -> Result<AuditReport, AuditError> {
    let range = (from.map(Tick), to.map(Tick));
    audit(history, range, config(), &mut |_, _| {}).map(|(report, _)| report)
}

#[test]
fn history_whose_digests_are_equal_says_how_many_were_compared() {
    let history = history(42, u64::MAX, &[3, 25]);
    let report = audited(&history, None, None).unwrap();
    assert_eq!(
        (report.restored_from, report.last, report.replayed_ticks),
        (None, Tick(42), 42)
    );
    // Eight of records, three of checkpoints.
    assert_eq!(
        (report.checked_digests, report.difference, report.last_equal),
        (11, None, Some(Tick(39)))
    );
    let from_oldest = audited(&trimmed(history, 11), None, None).unwrap();
    assert_eq!(from_oldest.restored_from.map(|head| head.tick), Some(Tick(10)));
    assert_eq!((from_oldest.replayed_ticks, from_oldest.difference), (32, None));
}

/// Evidence of an adoption is of that kind.
#[test]
fn history_that_begins_with_the_records_after_a_delta_is_replayed_from_there() {
    let history = trimmed(history(42, u64::MAX, &[3, 25]), 21);
    let report = audited(&history, None, None).unwrap();
    assert_eq!(report.restored_from.map(|head| head.tick), Some(Tick(20)));
    assert_eq!((report.last, report.replayed_ticks), (Tick(42), 22));
    assert_eq!((report.damage, report.difference), (None, None));
}

#[test]
fn replay_begins_at_the_newest_checkpoint_at_or_below_the_tick() {
    let history = trimmed(history(42, u64::MAX, &[3]), 11);
    for (from, restored) in [(10, 10), (19, 10), (20, 20), (29, 20), (30, 30), (42, 30)] {
        let report = audited(&history, Some(from), None).unwrap();
        assert_eq!(
            report.restored_from.map(|head| head.tick),
            Some(Tick(restored)),
            "from {from}"
        );
        assert_eq!((report.last, report.damage), (Tick(42), None));
    }
    let early = audited(&history, Some(9), None);
    let oldest = Some(Tick(10));
    assert_eq!(early, Err(AuditError::BeforeOldest { from: Tick(9), oldest }));
    let all_early = audited(&history, None, Some(9));
    assert_eq!(all_early, Err(AuditError::BeforeOldest { from: Tick(9), oldest }));
    let late = audited(&history, None, Some(43));
    let (to, last) = (Tick(43), Tick(42));
    assert_eq!(late, Err(AuditError::AfterNewest { to, last }));
    assert_eq!(audited(&history, Some(30), Some(30)).unwrap().replayed_ticks, 0);
}

#[test]
fn first_digest_that_differs_is_named_with_the_last_equal_one() {
    let report = audited(&history(42, 22, &[3]), None, None).unwrap();
    let difference = report.difference.unwrap();
    assert_eq!((difference.tick, report.last_equal), (Tick(24), Some(Tick(20))));
    assert_eq!(difference.told.0 ^ difference.found.0, 1);
}

#[test]
fn digest_of_the_last_tick_is_told_by_the_record_behind_it() {
    let history = history(42, 22, &[3]);
    let found = |to| audited(&history, Some(20), Some(to)).unwrap();
    let last = (20..40).find(|to| found(*to).difference.is_some()).unwrap();
    assert_eq!(found(last).difference.unwrap().tick, Tick(last));
    assert_eq!(found(last).last, Tick(last));
}

#[test]
fn player_is_seen_as_it_was_at_the_tick() {
    let history = history(42, u64::MAX, &[3, 25]);
    let at = |tick| {
        let range = (None, Some(Tick(tick)));
        audit(&history, range, config(), &mut |_, _| {}).unwrap().1.unwrap()
    };
    assert_eq!(at(24).session_of(Account(25)), None);
    let zone = at(25);
    let state = zone.describe(zone.session_of(Account(25)).unwrap()).unwrap();
    let (_, session) = state.iter().find(|(name, _)| *name == "Session").unwrap();
    assert!(session.contains("Account(25)"), "{session}");
    assert!(state.len() > 4, "the game's state is told as well: {state:?}");
    assert_eq!(zone.describe(everhold_protocol::EntityId(1)), None);
}

#[test]
fn record_that_is_damaged_or_missing_ends_the_history_and_is_named() {
    let whole = history(42, u64::MAX, &[3]);
    let mut damaged = whole.clone();
    let record = damaged.records.get_mut(&Tick(33)).unwrap();
    record.body = [&record.body[..], b"x"].concat().into();
    let report = audited(&damaged, None, None).unwrap();
    assert_eq!(report.last, Tick(32));
    assert!(
        matches!(report.damage, Some(ReplayError::Record { tick: Tick(33), .. })),
        "{report:?}"
    );
    let mut holed = whole;
    holed.records.remove(&Tick(42));
    holed.records.remove(&Tick(33));
    let report = audited(&holed, None, None).unwrap();
    assert_eq!(report.damage, Some(ReplayError::JournalBroken { tick: Tick(33) }));
}

#[test]
fn checkpoint_without_a_part_is_passed_over_or_named() {
    let mut history = trimmed(history(42, u64::MAX, &[3]), 11);
    history.parts.remove(&(2, 0));
    let report = audited(&history, Some(35), None).unwrap();
    assert_eq!(report.unread, [Tick(30)]);
    assert_eq!(report.restored_from.map(|head| head.tick), Some(Tick(20)));
    history.parts.clear();
    assert_eq!(
        audited(&history, Some(35), None),
        Err(AuditError::Unread { tick: Tick(10) })
    );
}

#[test]
fn histories_are_compared_as_far_as_both_go() {
    let (short, long) = (history(30, u64::MAX, &[3]), history(42, u64::MAX, &[3]));
    let all = Tick(0)..=Tick::MAX;
    let comparison = compare(&short, &trimmed(long.clone(), 11), all.clone());
    assert_eq!((comparison.difference, comparison.ends), (None, (Tick(30), Tick(42))));
    assert_eq!(comparison.compared, Some((Tick(10), Tick(30))));
    let other = history(42, u64::MAX, &[3, 15]);
    let difference = compare(&long, &other, all.clone()).difference.unwrap();
    assert_eq!(difference.tick, Tick(15));
    assert_eq!(difference.what, ["input 1: none and Join { account: 15 }"]);
    assert_eq!(compare(&long, &other, Tick(0)..=Tick(14)).difference, None);
    let late = compare(&long, &other, Tick(20)..=Tick(22)).difference.unwrap();
    assert!(late.what[0].contains("before this tick"), "{late:?}");
    let drifting = compare(&long, &history(42, 22, &[3]), all.clone()).difference.unwrap();
    assert_eq!(drifting.tick, Tick(25));
    assert!(
        drifting.what[0].starts_with("digest of the tick before"),
        "{drifting:?}"
    );
    let mut damaged = long.clone();
    damaged.records.get_mut(&Tick(12)).unwrap().hash = RecordHash([1; 32]);
    let damaged = compare(&long, &damaged, all).difference.unwrap();
    assert_eq!(damaged.tick, Tick(12));
    assert!(
        damaged.what[0].starts_with("the record of the second history"),
        "{damaged:?}"
    );
}

#[test]
fn ticks_that_one_history_does_not_have_are_holes_and_not_equal() {
    let whole = history(42, u64::MAX, &[3]);
    let all = || Tick(0)..=Tick::MAX;
    let without = |ticks: &[u64]| {
        let mut holed = whole.clone();
        holed.records.retain(|tick, _| !ticks.contains(&tick.0));
        holed
    };
    let none = HistoryHoles::default();
    let hole = |ticks, first, last| HistoryHoles {
        ticks,
        first: Some((Tick(first), Tick(last))),
    };
    let holed = without(&[17, 18, 25]);
    let comparison = compare(&whole, &holed, all());
    assert_eq!(
        (comparison.difference, comparison.holes),
        (None, (none, hole(3, 17, 18)))
    );
    assert_eq!(compare(&holed, &whole, all()).holes, (hole(3, 17, 18), none));
    let both = compare(&holed, &without(&[18]), all()).holes;
    assert_eq!(
        both,
        (hole(3, 17, 18), hole(1, 18, 18)),
        "what both lack is compared by neither"
    );
    assert_eq!(
        compare(&whole, &holed, Tick(18)..=Tick(24)).holes,
        (none, hole(1, 18, 18))
    );
    assert_eq!(compare(&whole, &holed, Tick(19)..=Tick(24)).holes, (none, none));
    // A history that begins later, with its oldest checkpoint, or ends earlier, has no holes there.
    assert_eq!(
        compare(&trimmed(whole.clone(), 11), &holed, Tick(0)..=Tick(16)).holes,
        (none, none)
    );
    assert_eq!(compare(&whole, &history(30, u64::MAX, &[3]), all()).holes, (none, none));
    let headless = trimmed(without(&[11, 12]), 11);
    let mut oldest = whole.clone();
    oldest.chain.truncate(1);
    oldest.records.retain(|tick, _| tick.0 > 12);
    assert_eq!(
        compare(&oldest, &headless, all()).holes,
        (hole(2, 11, 12), hole(2, 11, 12))
    );
}

/// The owner's build had other rules from some tick on: what was replayed before it is told.
#[test]
fn replay_that_fails_half_way_tells_what_was_replayed() {
    let mut history = trimmed(history(42, 22, &[3]), 11);
    let last = history.records.last_key_value().unwrap().1;
    let start = Input::EpochStart {
        epoch: Epoch(2),
        nonce: 2,
        rules_id: [9; 32],
    };
    let other = Record {
        epoch: Epoch(2),
        tick: Tick(43),
        prev_hash: last.hash,
        digest_before: None,
        inputs: vec![start],
    };
    history.take(HistoryFrame::Record(other.encode()));
    let mut seen = 0;
    let range = (Some(Tick(20)), None);
    let (report, zone) = audit(&history, range, config(), &mut |_, _| seen += 1).unwrap();
    assert!(zone.is_none(), "nothing is told of a zone that failed");
    assert_eq!(report.damage, Some(ReplayError::Rules { tick: Tick(43) }));
    assert_eq!((report.last, report.replayed_ticks, seen), (Tick(42), 22, 22));
    assert_eq!(report.restored_from.map(|head| head.tick), Some(Tick(20)));
    assert_eq!(report.difference.unwrap().tick, Tick(24));
}

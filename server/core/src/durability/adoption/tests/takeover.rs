//! Zones that are new, or sealed under other rules, and which rules the world is to run.

use super::*;
use crate::durability::store::{CheckpointHead, CheckpointKind, RecordHash, Seal};
use crate::limits::STATE_LAYOUT;
use crate::ownership::{RulesId, RulesRefusal, RulesStamp};
use crate::zone::Cut;

const fn stamp(id: u8) -> RulesStamp {
    RulesStamp {
        id: [id; 32],
        code: 1,
        layout: STATE_LAYOUT,
    }
}

/// An adoption by a process of rules 1 that has fenced the zone and waits for its outline.
fn reading() -> Adopter {
    let mut adopter = Adopter::new(None);
    adopter.adoption = adopter.adoption.under(stamp(1));
    assert_eq!(adopter.asks(), ["fence and read"]);
    adopter
}

/// A zone that was sealed under these rules, or not sealed.
fn stopped(seal: Option<RulesStamp>) -> ZoneOutline {
    let position = Position {
        epoch: Epoch(4),
        tick: Tick(9),
        hash: RecordHash([9; 32]),
    };
    ZoneOutline {
        chain: vec![CheckpointHead {
            position,
            kind: CheckpointKind::Base,
            parts: 1,
            bytes: 3,
        }],
        journal: Some((Tick(2), Tick(9))),
        seal: seal.map(|rules| Seal { position, rules }),
        ..outline(0)
    }
}

/// The words with which an adoption goes on after `outline` and, if it is asked for, the wanted rules.
fn after(outline: ZoneOutline, wanted: Option<RulesId>) -> (Adopter, Vec<String>) {
    let mut adopter = reading();
    adopter.read(Ok(outline));
    let mut words = adopter.asks();
    if words == ["read wanted"] {
        adopter.adoption.handle_wanted(adopter.now, Ok(wanted));
        words.extend(adopter.asks());
    }
    (adopter, words)
}

#[test]
fn wanted_rules_are_asked_for_only_if_they_matter() {
    let part = "read 1 parts";
    let (ours, other) = (Some([1; 32]), Some([2; 32]));
    let refused = format!("fail: {}", RulesRefusal::Unwanted);
    let later = RulesStamp { code: 2, ..stamp(2) };
    let later_refused = format!("fail: {}", RulesRefusal::LaterCode { theirs: 2, ours: 1 });
    let table: [(ZoneOutline, Option<RulesId>, Vec<&str>); 10] = [
        (stopped(None), other, vec![part]),
        (stopped(Some(stamp(1))), other, vec![part]),
        (stopped(Some(stamp(2))), ours, vec!["read wanted", part]),
        (stopped(Some(stamp(2))), other, vec!["read wanted", &refused]),
        (stopped(Some(stamp(2))), None, vec!["read wanted", &refused]),
        (stopped(Some(later)), ours, vec!["read wanted", &later_refused]),
        (outline(5), other, vec!["read 5 records from 1"]),
        (outline(0), ours, vec!["read wanted", "replay, refusing []"]),
        (outline(0), None, vec!["read wanted", "replay, refusing []"]),
        (outline(0), other, vec!["read wanted", &refused]),
    ];
    for (outline, wanted, expected) in table {
        let (adopter, words) = after(outline.clone(), wanted);
        assert_eq!(words, expected, "{outline:?}, {wanted:?}");
        let failure = adopter.failed.map(|error| error.failure());
        assert!(failure.is_none_or(|failure| failure == AdoptionFailure::Unfit));
    }
}

#[test]
fn store_that_does_not_say_which_rules_are_wanted_is_asked_again() {
    let mut adopter = reading();
    adopter.read(Ok(stopped(Some(stamp(2)))));
    assert_eq!(adopter.asks(), ["read wanted"]);
    adopter.adoption.handle_wanted(adopter.now, Err(unavailable()));
    let asked = adopter.asks_after(RETRY * 2);
    assert!(asked.contains(&"read wanted".to_owned()), "{asked:?}");
    adopter.adoption.handle_wanted(adopter.now, Ok(Some([1; 32])));
    assert_eq!(adopter.asks(), ["read 1 parts"]);
}

#[test]
fn seal_is_passed_on_only_with_its_base_and_nothing_after_it() {
    let (mut adopter, _) = after(stopped(Some(stamp(2))), Some([1; 32]));
    adopter
        .adoption
        .handle_parts(adopter.now, Ok(vec![Some(Bytes::from_static(b"abc"))]));
    let command = adopter.adoption.poll_command(adopter.now, adopter.lease);
    let Some(AdoptionCommand::Replay(data)) = command else {
        panic!("a replay is next")
    };
    assert!(data.may_change_rules && data.records.is_empty() && data.chain.len() == 1);
}

/// An adoption by a process of rules 1 whose replay of a zone that was left by rules 2, and not sealed, has failed.
fn beside_a_zone_that_was_left() -> Adopter {
    let game = RuleBook::from_toml(&RuleBook::default_world().to_toml().replace("hp = 100", "hp = 90"));
    let game = Arc::new(game.expect("one number changed"));
    let mut zone = Zone::new(ZoneConfig { game, ..config() });
    let body = Bytes::from(zone.capture(Cut::Base).body);
    let mut outline = stopped(None);
    outline.chain[0].bytes = body.len() as u64;
    let (mut adopter, words) = after(outline, None);
    assert_eq!(words, ["read 1 parts"]);
    adopter.adoption.handle_parts(adopter.now, Ok(vec![Some(body)]));
    assert_eq!(adopter.asks(), ["replay, refusing []"]);
    adopter
}

#[test]
fn zone_that_was_left_by_other_rules_is_replayed_under_their_kept_file_by_the_wanted_ones_only() {
    let left = ReplayError::Restore {
        tick: Tick(9),
        error: RestoreError::Rules,
    };
    let kept = stamp(2);
    let other_build = RulesStamp { code: 2, ..stamp(2) };
    let file = |wanted: u8, says, is_built| KeptFile {
        wanted: Some([wanted; 32]),
        says,
        is_built,
    };
    let refused = |refusal: RulesRefusal| format!("fail: {refusal}");
    let table = [
        (file(1, Some(kept), true), "replay, refusing []".to_owned()),
        (file(2, Some(kept), true), refused(RulesRefusal::Unwanted)),
        (
            file(1, Some(other_build), false),
            refused(RulesRefusal::OtherBuild {
                code: 2,
                layout: STATE_LAYOUT,
            }),
        ),
        (file(1, Some(kept), false), format!("fail: {}", AdoptError::KeptFile)),
        (file(1, None, false), "read 1 parts".to_owned()),
    ];
    for (file, expected) in table {
        let mut adopter = beside_a_zone_that_was_left();
        adopter.adoption.handle_replayed(Err(left.clone()));
        let asked = adopter.asks();
        assert!(asked[0].starts_with("read the file of "), "{asked:?}");
        adopter.adoption.handle_kept_file(adopter.now, Ok(file));
        let asked = adopter.asks();
        assert_eq!(asked.last(), Some(&expected), "{file:?}: {asked:?}");
        assert_eq!(adopter.adoption.runs_kept_rules(), expected.starts_with("replay"));
    }
}

//! Histories in which the rules change: at a seal, and nowhere else.

use super::*;

/// Other numbers, and another tick rate, for the same zone.
fn others() -> ZoneConfig {
    let text = include_str!("../../../../../../assets/world.toml").replace("hp = 100", "hp = 70");
    ZoneConfig {
        game: Arc::new(RuleBook::from_toml(&text).unwrap()),
        ..config(30)
    }
}

/// The data of a zone whose owner was stopped and sealed it.
fn sealed() -> ZoneData {
    let mut owner = Owner::new();
    owner.walk_to(Tick(40));
    owner.checkpoint(Cut::Base);
    owner.data.may_change_rules = true;
    owner.data
}

fn start_of(config: &ZoneConfig, epoch: u32) -> Input {
    Input::EpochStart {
        epoch: Epoch(epoch),
        nonce: 2,
        rules_id: config.rules_id(),
    }
}

/// Steps `zone` on these inputs, and appends their record.
fn record(zone: &mut Zone, data: &mut ZoneData, after: Position, epoch: u32, inputs: Vec<Input>) -> Position {
    let tick = after.tick.next();
    let stored = Record {
        epoch: Epoch(epoch),
        tick,
        prev_hash: after.hash,
        digest_before: tick.is_every(5).then(|| zone.digest()),
        inputs: inputs.clone(),
    }
    .encode();
    zone.step(&inputs);
    let hash = stored.hash;
    data.records.push(stored);
    Position {
        epoch: Epoch(epoch),
        tick,
        hash,
    }
}

fn replayed(data: ZoneData, config: ZoneConfig) -> Result<Replayed, ReplayError> {
    replay(plan(data).unwrap(), config)
}

#[test]
fn heir_of_other_rules_goes_on_from_a_seal_and_whoever_replays_it_comes_to_the_same() {
    let mut data = sealed();
    let heir = replayed(data.clone(), others()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (heir.last.tick, heir.replayed_ticks, heir.chain),
        (Tick(40), 0, Vec::new())
    );
    let (mut zone, mut last) = (heir.zone, heir.last);
    last = record(&mut zone, &mut data, last, 2, vec![start_of(&others(), 2)]);
    for _ in 0..30 {
        last = record(&mut zone, &mut data, last, 2, Vec::new());
    }
    data.may_change_rules = false;
    let next = replayed(data.clone(), others());
    let mut next = next.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((next.last, next.replayed_ticks, next.digest_equal), (last, 31, true));
    assert!(
        next.checked_digests >= 6 && next.chain.is_empty(),
        "a base under these rules is to follow"
    );
    assert_eq!(next.zone.digest(), zone.digest());
    assert_eq!(next.zone.accounts().len(), 2);
    let of_before = replayed(data, config(20));
    assert_eq!(
        of_before.err(),
        Some(ReplayError::Rules { tick: Tick(41) }),
        "there is no way back"
    );
}

#[test]
fn zone_that_is_not_sealed_is_replayed_under_its_own_rules_only() {
    let mut unsealed = sealed();
    unsealed.may_change_rules = false;
    let refused = |data| replayed(data, others()).err();
    let restore = ReplayError::Restore {
        tick: Tick(40),
        error: RestoreError::Rules,
    };
    assert_eq!(refused(unsealed), Some(restore.clone()));
    let mut owner = Owner::new();
    owner.walk_to(Tick(40));
    owner.checkpoint(Cut::Base);
    owner.walk_to(Tick(45));
    owner.data.may_change_rules = true;
    assert_eq!(
        refused(owner.data),
        Some(restore),
        "ticks follow that only its own rules can do"
    );
}

#[test]
fn rules_that_change_where_no_checkpoint_is_are_refused() {
    let mut owner = Owner::new();
    owner.walk_to(Tick(40));
    owner.checkpoint(Cut::Base);
    owner.step(Vec::new());
    owner.step(vec![start_of(&others(), 2)]);
    let refused = replayed(owner.data, config(20)).err();
    assert_eq!(refused, Some(ReplayError::Rules { tick: Tick(42) }));
}

#[test]
fn same_rules_go_on_from_a_seal_with_the_checkpoints_that_there_are() {
    let heir = replayed(sealed(), config(20)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(heir.chain.len(), 1);
}

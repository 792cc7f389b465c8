//! The end of a zone's pipeline.

use everhold_protocol::{Account, Epoch};

use super::*;
use crate::durability::archivist::ArchivistConfig;
use crate::durability::pending_moves::PendingMoves;

#[test]
fn lease_that_is_over_ends_the_zone_and_nothing_leaves_any_more() {
    for (lease, reason) in [
        (LeaseState::Lost, "end Fenced"),
        (LeaseState::Suspended, "end Suspended"),
    ] {
        let mut host = Host::quiet();
        host.tick(3);
        host.turn();
        host.append(Ok(AppendAnswer::Ok));
        host.tick(1);
        host.lease = lease;
        assert_eq!(host.turn(), ["acknowledged 103", reason], "what is stored is stored");
        host.lease = HELD;
        assert_eq!(host.turn(), [""; 0], "the end is the last word");
    }
}

#[test]
fn lease_that_ends_between_two_sendings_stops_the_second() {
    let mut host = Host::quiet();
    host.tick(2);
    host.turn();
    host.append(Ok(AppendAnswer::Ok));
    let done = [HELD, HELD, LeaseState::Suspended, HELD].map(|lease| host.poll_once(lease));
    let expected = [Some("acknowledged 102"), Some("tell 101"), Some("end Suspended"), None];
    assert_eq!(done.each_ref().map(Option::as_deref), expected);
}

#[test]
fn store_that_refuses_the_owner_or_has_another_history_ends_the_zone() {
    let corrupt = || StoreError::Corrupt("a hole".to_owned());
    let table = [
        (Ok(AppendAnswer::Fork { tick: Tick(101) }), vec!["end Fork"]),
        (
            Err(StoreError::Fenced { epoch: Epoch(3) }),
            vec!["log AppendFailed", "end Fenced"],
        ),
        (Err(corrupt()), vec!["log AppendFailed", "end Corrupt"]),
    ];
    for (answer, expected) in table {
        let mut host = Host::quiet();
        host.tick(1);
        host.turn();
        host.append(answer);
        assert_eq!(host.turn(), expected);
    }
}

#[test]
fn owner_that_is_fenced_off_from_any_write_ends() {
    let fenced = || Err(StoreError::Fenced { epoch: Epoch(3) });
    let mut host = Host::cut();
    host.capture(Tick(103), Cut::Delta);
    host.turn();
    host.write(fenced());
    assert_eq!(host.turn(), ["log WriteFailed", "end Fenced"]);

    let mut host = Host::quiet();
    host.tick(1);
    host.turn();
    host.append(Err(StoreError::Lost));
    host.turn();
    host.create(fenced());
    assert_eq!(host.turn(), ["end Fenced"]);
}

#[test]
fn failed_tick_ends_the_zone_and_what_was_wanted_of_it_is_not_asked_for() {
    let mut host = Host::quiet();
    host.tick_with(Some(frozen(Tick(101))));
    host.pipeline.handle_panicked(Tick(102), "a rule".to_owned());
    host.pipeline.handle_ticks_over();
    assert_eq!(host.turn(), ["end Panicked(Tick(102), \"a rule\")"]);
}

#[test]
fn tick_thread_that_is_gone_without_a_word_failed_in_the_tick_after_the_last() {
    let mut host = Host::quiet();
    host.tick(1);
    host.pipeline.handle_ticks_over();
    assert_eq!(host.turn(), ["end Panicked(Tick(102), \"the tick thread is gone\")"]);
}

/// A zone that was told to stop, with its last tick done.
fn sealed() -> Host {
    let mut host = Host::quiet();
    host.pipeline.handle_stop();
    assert_eq!(host.turn(), ["seal base"], "also of a zone that does not tick");
    host.tick_with(Some(frozen(Tick(101))));
    host.pipeline.handle_ticks_over();
    assert_eq!(sealed_turn(&mut host), ["encode 101", "append 101..=101"]);
    host
}

/// A turn of a zone that had its last tick: whatever it waits for, its lease is renewed.
fn sealed_turn(host: &mut Host) -> Vec<String> {
    let (alive, others): (Vec<String>, Vec<String>) = host.turn().into_iter().partition(|word| word == "alive");
    assert_eq!(alive.len(), 1, "{others:?}");
    others
}

#[test]
fn stop_waits_for_the_last_append_and_its_checkpoint_and_tells_all_before() {
    let mut host = sealed();
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(sealed_turn(&mut host), ["acknowledged 101", "tell 101", "show 101"]);
    host.capture(Tick(101), Cut::Base);
    assert_eq!(sealed_turn(&mut host), ["part 0 of 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["head 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["capture confirmed", "write seal 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["end Stopped"]);
}

#[test]
fn stop_whose_checkpoint_is_ready_first_waits_for_the_append() {
    let mut host = sealed();
    host.capture(Tick(101), Cut::Base);
    assert_eq!(host.turn_after(5_000), ["alive"]);
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(
        sealed_turn(&mut host),
        ["acknowledged 101", "part 0 of 101", "tell 101", "show 101"]
    );
}

#[test]
fn data_set_that_is_lost_during_a_stop_is_made_anew_from_the_sealed_zone() {
    let mut host = sealed();
    host.append(Ok(AppendAnswer::Ok));
    sealed_turn(&mut host);
    host.capture(Tick(101), Cut::Base);
    assert_eq!(sealed_turn(&mut host), ["part 0 of 101"]);
    host.write(Err(StoreError::Lost));
    assert_eq!(sealed_turn(&mut host), ["log WriteFailed", "log DataSetLost", "create"]);
    host.create(Ok(()));
    assert_eq!(
        sealed_turn(&mut host),
        ["capture failed", "cut base", "roster"],
        "no tick can be asked for"
    );
    host.pipeline.handle_roster(vec![Account(7)]);
    host.pipeline.handle_frozen(frozen(Tick(101)));
    assert_eq!(sealed_turn(&mut host), ["encode 101", "home 7"]);
    host.capture(Tick(101), Cut::Base);
    assert_eq!(sealed_turn(&mut host), ["part 0 of 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["head 101"]);
    host.write(Ok(()));
    assert_eq!(
        sealed_turn(&mut host),
        ["log WritesConfirmed", "capture confirmed", "acknowledged 101"],
        "and the homes are stored, too"
    );
    host.pipeline.handle_home_set(host.now, Account(7), Ok(()));
    assert_eq!(sealed_turn(&mut host), ["log HomesSet", "write seal 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["end Stopped"]);
}

#[test]
fn home_that_the_store_does_not_take_holds_up_no_stop() {
    let mut host = sealed();
    host.append(Ok(AppendAnswer::Ok));
    host.pipeline.handle_home_doubts(Some(1));
    assert!(sealed_turn(&mut host).contains(&"roster".to_owned()));
    host.pipeline.handle_roster(vec![Account(7)]);
    host.capture(Tick(101), Cut::Base);
    assert_eq!(sealed_turn(&mut host), ["part 0 of 101", "home 7"]);
    host.write(Ok(()));
    sealed_turn(&mut host);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["capture confirmed"]);
    host.pipeline.handle_home_set(host.now, Account(7), Err(unavailable()));
    assert_eq!(sealed_turn(&mut host), ["log HomeFailed", "write seal 101"]);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["end Stopped"]);
}

#[test]
fn stop_ends_without_its_checkpoint_if_that_cannot_be_written_and_the_journal_is() {
    let mut host = sealed();
    host.append(Ok(AppendAnswer::Ok));
    host.capture(Tick(101), Cut::Base);
    sealed_turn(&mut host);
    host.write(Err(unavailable()));
    assert_eq!(sealed_turn(&mut host), ["log WriteFailed"]);
    assert_eq!(host.turn_after(100), ["alive", "capture failed", "drop 1 parts of 101"]);
    host.write(Err(unavailable()));
    assert_eq!(host.turn_after(100), ["alive", "log Unsealed", "end Stopped"]);
}

#[test]
fn checkpoint_under_way_is_finished_before_the_one_of_a_stop() {
    let mut host = Host::cut();
    host.pipeline.handle_stop();
    host.capture(Tick(103), Cut::Delta);
    assert_eq!(host.turn(), ["part 0 of 103"]);
    host.write(Ok(()));
    host.turn();
    host.write(Ok(()));
    assert_eq!(host.turn(), ["capture confirmed", "seal base"]);
}

/// A stopped zone of which everything is stored, and whose seal is being written.
fn sealing() -> Host {
    let mut host = sealed();
    host.append(Ok(AppendAnswer::Ok));
    host.capture(Tick(101), Cut::Base);
    sealed_turn(&mut host);
    host.write(Ok(()));
    sealed_turn(&mut host);
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["capture confirmed", "write seal 101"]);
    host
}

#[test]
fn seal_that_is_not_answered_is_written_again_and_given_up_in_the_end() {
    let mut host = sealing();
    for _ in 0..2 {
        host.write(Err(unavailable()));
        assert_eq!(host.turn_after(99), ["alive"]);
        assert_eq!(host.turn_after(1), ["alive", "write seal 101"]);
    }
    host.write(Err(unavailable()));
    assert_eq!(sealed_turn(&mut host), ["log Unsealed", "end Stopped"]);
}

#[test]
fn stop_whose_seal_is_refused_ends_without_it() {
    for refusal in [StoreError::ParentMoved, StoreError::Fenced { epoch: Epoch(3) }] {
        let mut host = sealing();
        host.write(Err(refusal));
        assert_eq!(sealed_turn(&mut host), ["log Unsealed", "end Stopped"]);
    }
}

#[test]
fn data_set_that_is_lost_before_its_seal_is_made_anew_and_sealed() {
    let mut host = sealing();
    host.write(Err(StoreError::Lost));
    assert_eq!(sealed_turn(&mut host), ["log DataSetLost", "create"]);
    host.create(Ok(()));
    let wanted = sealed_turn(&mut host);
    assert!(wanted.contains(&"cut base".to_owned()), "{wanted:?}");
    host.pipeline.handle_roster(Vec::new());
    host.pipeline.handle_frozen(frozen(Tick(101)));
    host.capture(Tick(101), Cut::Base);
    let mut done = sealed_turn(&mut host);
    while !done.contains(&"write seal 101".to_owned()) {
        host.write(Ok(()));
        done = sealed_turn(&mut host);
    }
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["end Stopped"]);
}

#[test]
fn zone_that_is_suspended_or_fenced_can_go_on_from_memory() {
    let table = [
        (EndReason::Suspended, true),
        (EndReason::Refused, true),
        (EndReason::Fenced, true),
        (EndReason::Fork, false),
        (EndReason::Stopped, false),
        (EndReason::Panicked(Tick(1), String::new()), false),
    ];
    for (reason, goes_on) in table {
        assert_eq!(
            Host::quiet().pipeline.into_surrender(&reason).is_some(),
            goes_on,
            "{reason}"
        );
    }
}

#[test]
fn sealed_zone_waits_for_its_archive_only_for_a_while() {
    let mut host = sealing();
    let config = ArchivistConfig {
        zone: "meadow".parse().unwrap(),
        interval_ticks: 600,
        tick_hz: 20,
    };
    host.pipeline.archivist = Some(Archivist::new(config, Epoch(1), START, PendingMoves::default()));
    host.write(Ok(()));
    assert_eq!(sealed_turn(&mut host), ["archive"], "it is asked, and silent");
    assert_eq!(host.turn_after(2_999), ["alive"]);
    assert_eq!(host.turn_after(1), ["alive", "end Stopped"]);
}

//! The checkpointer, told by circumstances: a delta every 10 ticks, a base every 40, another attempt after 3.

use everhold_protocol::Epoch;

use super::*;
use crate::durability::store::RecordHash;
use crate::zone::Digest;

const CONFIG: CheckpointConfig = CheckpointConfig {
    delta_ticks: 10,
    base_ticks: 40,
    retry_ticks: 3,
};

fn position(tick: Tick) -> Position {
    Position {
        epoch: Epoch(1),
        tick,
        hash: RecordHash([tick.0 as u8; 32]),
    }
}

fn capture(tick: Tick, cut: Cut, len: usize) -> Capture {
    Capture {
        tick,
        base: cut == Cut::Base,
        digest: Digest(0),
        body: (0..len).map(|at| (at / PART_BYTES_MAX) as u8).collect(),
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("a time-out".to_owned())
}

/// Steps to `tick`. Returns the cut that is asked for, if any.
fn step(machine: &mut Checkpointer, tick: Tick) -> Option<Cut> {
    machine.handle_tick(tick);
    match machine.poll_command() {
        Some(CheckpointCommand::Cut(cut)) => Some(cut),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// Carries out every command at once, from the cut at `tick` to the confirmation.
fn store(machine: &mut Checkpointer, tick: Tick, len: usize) -> CheckpointHead {
    let cut = step(machine, tick).expect("a checkpoint is due");
    machine.handle_captured(position(tick), capture(tick, cut, len));
    machine.handle_released(tick);
    loop {
        match machine.poll_command().expect("there is something to do") {
            CheckpointCommand::PutPart { .. } => machine.handle_part_put(),
            CheckpointCommand::MoveHead(_) => machine.handle_head_moved(),
            CheckpointCommand::CaptureConfirmed(head) => return head,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns a machine whose base of 100 bytes was stored at tick 1.
fn based() -> Checkpointer {
    let mut machine = Checkpointer::new(CONFIG, &[], Tick(0));
    assert_eq!(store(&mut machine, Tick(1), 100).kind, CheckpointKind::Base);
    machine
}

#[test]
fn zone_that_was_never_stored_gets_a_base_at_once() {
    let mut machine = Checkpointer::new(CONFIG, &[], Tick(0));
    assert_eq!(step(&mut machine, Tick(1)), Some(Cut::Base));
}

#[test]
fn deltas_follow_at_their_interval_and_name_their_parents() {
    let mut machine = based();
    assert_eq!(step(&mut machine, Tick(10)), None);
    assert_eq!(
        store(&mut machine, Tick(11), 5).kind,
        CheckpointKind::Delta {
            parent: position(Tick(1))
        }
    );
    assert_eq!(
        store(&mut machine, Tick(21), 5).kind,
        CheckpointKind::Delta {
            parent: position(Tick(11))
        }
    );
    assert_eq!(machine.head(), Some(position(Tick(21))));
}

#[test]
fn base_follows_by_time() {
    let mut machine = based();
    for tick in [11, 21, 31].map(Tick) {
        store(&mut machine, tick, 5);
    }
    assert_eq!(store(&mut machine, Tick(41), 100).kind, CheckpointKind::Base);
}

#[test]
fn base_follows_when_the_deltas_outweigh_the_last_one() {
    let mut machine = based();
    store(&mut machine, Tick(11), 60);
    store(&mut machine, Tick(21), 60);
    assert_eq!(store(&mut machine, Tick(31), 100).kind, CheckpointKind::Base);
    assert!(
        matches!(store(&mut machine, Tick(41), 60).kind, CheckpointKind::Delta { .. }),
        "the count starts over"
    );
}

#[test]
fn adopter_goes_on_with_the_chain_that_it_found() {
    let base = CheckpointHead {
        position: position(Tick(5)),
        kind: CheckpointKind::Base,
        parts: 1,
        bytes: 100,
    };
    let kind = CheckpointKind::Delta {
        parent: position(Tick(5)),
    };
    let delta = CheckpointHead {
        position: position(Tick(15)),
        kind,
        parts: 1,
        bytes: 10,
    };
    let mut machine = Checkpointer::new(CONFIG, &[base, delta], Tick(20));
    assert_eq!(step(&mut machine, Tick(29)), None);
    assert_eq!(
        store(&mut machine, Tick(30), 5).kind,
        CheckpointKind::Delta {
            parent: position(Tick(15))
        }
    );
}

#[test]
fn no_byte_is_written_before_the_tick_is_released() {
    let mut machine = based();
    step(&mut machine, Tick(11));
    machine.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Delta, 5));
    machine.handle_released(Tick(10));
    assert_eq!(machine.poll_command(), None);
    machine.handle_released(Tick(11));
    assert!(matches!(
        machine.poll_command(),
        Some(CheckpointCommand::PutPart { index: 0, .. })
    ));
}

#[test]
fn body_is_written_in_parts_one_at_a_time_and_then_the_head_moves() {
    let mut machine = based();
    step(&mut machine, Tick(11));
    machine.handle_captured(
        position(Tick(11)),
        capture(Tick(11), Cut::Delta, 2 * PART_BYTES_MAX + 1),
    );
    machine.handle_released(Tick(11));
    for (expected, len) in [(0, PART_BYTES_MAX), (1, PART_BYTES_MAX), (2, 1)] {
        let Some(CheckpointCommand::PutPart { index, bytes, .. }) = machine.poll_command() else {
            panic!()
        };
        assert_eq!((index, bytes.len(), bytes[0]), (expected, len, expected as u8));
        assert_eq!(machine.poll_command(), None, "an answer is awaited");
        machine.handle_part_put();
    }
    let Some(CheckpointCommand::MoveHead(head)) = machine.poll_command() else {
        panic!()
    };
    assert_eq!((head.parts, head.bytes), (3, 2 * PART_BYTES_MAX as u64 + 1));
}

#[test]
fn one_checkpoint_is_under_way_at_a_time() {
    let mut machine = based();
    assert_eq!(step(&mut machine, Tick(11)), Some(Cut::Delta));
    for tick in (12..60).map(Tick) {
        assert_eq!(step(&mut machine, tick), None);
    }
    assert!(!machine.is_idle());
}

/// Returns a machine that writes the first of two parts, at tick 11.
fn writing() -> Checkpointer {
    let mut machine = based();
    step(&mut machine, Tick(11));
    let delta = capture(Tick(11), Cut::Delta, PART_BYTES_MAX + 1);
    machine.handle_captured(position(Tick(11)), delta);
    machine.handle_released(Tick(11));
    assert_part(&mut machine, 0);
    machine
}

fn assert_part(machine: &mut Checkpointer, expected: u32) {
    let command = machine.poll_command();
    assert!(
        matches!(command, Some(CheckpointCommand::PutPart { index, .. }) if index == expected),
        "{command:?}"
    );
}

/// Has the write in flight fail until it is given up.
fn exhaust(machine: &mut Checkpointer) {
    for _ in 0..ATTEMPTS_MAX {
        machine.handle_failed(&unavailable());
        machine.poll_command();
    }
    machine.handle_failed(&unavailable());
}

#[test]
fn part_that_is_not_answered_is_written_again_and_each_has_its_own_attempts() {
    let mut machine = writing();
    for index in [0, 1] {
        for _ in 0..ATTEMPTS_MAX {
            let later = CheckpointEvent::Later { after_ms: 100 };
            assert_eq!(machine.handle_failed(&unavailable()), later);
            assert_part(&mut machine, index);
        }
        machine.handle_part_put();
        if index == 0 {
            assert_part(&mut machine, 1);
        }
    }
    assert!(matches!(machine.poll_command(), Some(CheckpointCommand::MoveHead(_))));
}

#[test]
fn checkpoint_that_is_given_up_gives_its_capture_back_and_leaves_no_part() {
    let mut machine = writing();
    exhaust(&mut machine);
    assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
    let dropped = CheckpointCommand::DropParts(position(Tick(11)), 2);
    assert_eq!(machine.poll_command(), Some(dropped.clone()));
    machine.handle_failed(&unavailable());
    assert_eq!(machine.poll_command(), Some(dropped), "it may not be done");
    assert!(!machine.is_idle());
    machine.handle_parts_dropped();
    assert!(machine.is_idle());
    assert_eq!(step(&mut machine, Tick(13)), None);
    assert_eq!(
        store(&mut machine, Tick(14), 5).kind,
        CheckpointKind::Delta {
            parent: position(Tick(1))
        }
    );
}

#[test]
fn parts_that_cannot_be_deleted_are_left_to_the_next_base() {
    let mut machine = writing();
    exhaust(&mut machine);
    machine.poll_command();
    machine.poll_command();
    exhaust(&mut machine);
    assert!(machine.is_idle(), "the capture is given back once");
    for error in [StoreError::Lost, StoreError::Fenced { epoch: Epoch(9) }] {
        let mut machine = writing();
        exhaust(&mut machine);
        machine.poll_command();
        machine.poll_command();
        let event = machine.handle_failed(&error);
        assert!(matches!(event, CheckpointEvent::Lost | CheckpointEvent::Stop(_)));
    }
}

#[test]
fn wait_after_each_failure_is_twice_as_long_up_to_a_bound_and_short_again_after_a_success() {
    let mut machine = based();
    let mut at = Tick(11);
    for wait in [3, 6, 12, 24, 48, 96, 192, 192] {
        step(&mut machine, at).expect("it is due");
        machine.handle_captured(position(at), capture(at, Cut::Base, 0));
        machine.handle_released(at);
        machine.poll_command();
        machine.handle_failed(&StoreError::ParentMoved);
        assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
        at += wait;
        assert_eq!(step(&mut machine, at - 1), None);
    }
    store(&mut machine, at, 0);
    step(&mut machine, at + 10).expect("it is due");
    machine.handle_captured(position(at + 10), capture(at + 10, Cut::Delta, 0));
    machine.handle_released(at + 10);
    machine.poll_command();
    machine.handle_failed(&StoreError::ParentMoved);
    machine.poll_command();
    assert!(step(&mut machine, at + 13).is_some());
}

/// Returns a machine whose head is being moved, at tick 11.
fn moving() -> Checkpointer {
    let mut machine = based();
    step(&mut machine, Tick(11));
    machine.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Delta, 0));
    machine.handle_released(Tick(11));
    assert!(matches!(machine.poll_command(), Some(CheckpointCommand::MoveHead(_))));
    machine
}

#[test]
fn head_whose_move_is_unknown_is_moved_again() {
    let mut machine = moving();
    machine.handle_failed(&unavailable());
    assert!(
        matches!(machine.poll_command(), Some(CheckpointCommand::MoveHead(head)) if head.position == position(Tick(11)))
    );
    machine.handle_head_moved();
    assert!(matches!(
        machine.poll_command(),
        Some(CheckpointCommand::CaptureConfirmed(_))
    ));
}

#[test]
fn base_settles_where_the_head_is() {
    for (error, attempts) in [(StoreError::ParentMoved, 0), (unavailable(), ATTEMPTS_MAX)] {
        let mut machine = moving();
        for _ in 0..attempts {
            machine.handle_failed(&error);
            machine.poll_command();
        }
        machine.handle_failed(&error);
        assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
        assert_eq!(store(&mut machine, Tick(14), 100).kind, CheckpointKind::Base);
    }
}

#[test]
fn fenced_zone_is_dropped() {
    assert_eq!(
        moving().handle_failed(&StoreError::Fenced { epoch: Epoch(9) }),
        CheckpointEvent::Stop(StopReason::Fenced)
    );
}

#[test]
fn checkpoint_of_a_lost_data_set_gives_its_dirty_set_back() {
    let mut machine = moving();
    assert_eq!(machine.handle_failed(&StoreError::Lost), CheckpointEvent::Lost);
    assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
}

#[test]
fn reseed_does_not_wait_for_a_release_that_it_brings_about() {
    let mut machine = based();
    machine.handle_reseed_wanted();
    assert_eq!(step(&mut machine, Tick(5)), Some(Cut::Base));
    machine.handle_captured(position(Tick(5)), capture(Tick(5), Cut::Base, 5));
    assert!(matches!(
        machine.poll_command(),
        Some(CheckpointCommand::PutPart { .. })
    ));
}

#[test]
fn reseed_gives_up_a_delta_at_every_stage() {
    let mut cutting = based();
    step(&mut cutting, Tick(11));
    cutting.handle_reseed_wanted();
    cutting.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Delta, 5));
    let mut waiting = based();
    step(&mut waiting, Tick(11));
    waiting.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Delta, 5));
    let mut writing = based();
    step(&mut writing, Tick(11));
    writing.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Delta, 5));
    writing.handle_released(Tick(11));
    writing.poll_command();
    waiting.handle_reseed_wanted();
    writing.handle_reseed_wanted();
    writing.handle_part_put();
    for (mut machine, has_parts) in [(cutting, false), (waiting, false), (writing, true)] {
        assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
        if has_parts {
            let dropped = CheckpointCommand::DropParts(position(Tick(11)), 1);
            assert_eq!(machine.poll_command(), Some(dropped));
            machine.handle_parts_dropped();
        }
        assert_eq!(
            step(&mut machine, Tick(11)),
            Some(Cut::Base),
            "also of a zone that stands still"
        );
    }
}

#[test]
fn failed_reseed_is_tried_again_also_while_the_zone_stands_still() {
    let mut machine = based();
    machine.handle_reseed_wanted();
    step(&mut machine, Tick(5));
    machine.handle_captured(position(Tick(5)), capture(Tick(5), Cut::Base, 5));
    machine.poll_command();
    exhaust(&mut machine);
    assert_eq!(machine.poll_command(), Some(CheckpointCommand::CaptureFailed));
    machine.poll_command();
    machine.handle_parts_dropped();
    assert_eq!(store(&mut machine, Tick(5), 5).kind, CheckpointKind::Base);
    assert_eq!(step(&mut machine, Tick(6)), None);
}

#[test]
fn wanted_checkpoint_follows_the_one_under_way() {
    let mut machine = moving();
    machine.handle_wanted();
    machine.handle_head_moved();
    machine.poll_command();
    assert_eq!(
        store(&mut machine, Tick(12), 5).kind,
        CheckpointKind::Delta {
            parent: position(Tick(11))
        }
    );
}

#[test]
fn wanted_base_follows_soon() {
    let mut machine = based();
    machine.handle_base_wanted();
    assert_eq!(store(&mut machine, Tick(2), 5).kind, CheckpointKind::Base);
}

#[test]
fn zone_without_a_parent_of_its_own_gives_a_base_where_a_delta_was_asked_for() {
    let mut machine = based();
    assert_eq!(step(&mut machine, Tick(11)), Some(Cut::Delta));
    machine.handle_captured(position(Tick(11)), capture(Tick(11), Cut::Base, 0));
    machine.handle_released(Tick(11));
    assert!(
        matches!(machine.poll_command(), Some(CheckpointCommand::MoveHead(head)) if head.kind == CheckpointKind::Base)
    );
}

#[test]
fn base_that_is_under_way_when_a_stop_is_wanted_is_followed_by_another() {
    let mut machine = Checkpointer::new(CONFIG, &[], Tick(0));
    assert_eq!(step(&mut machine, Tick(1)), Some(Cut::Base));
    machine.handle_stop_wanted();
    machine.handle_captured(position(Tick(1)), capture(Tick(1), Cut::Base, 100));
    machine.handle_released(Tick(1));
    while let Some(command) = machine.poll_command() {
        match command {
            CheckpointCommand::PutPart { .. } => machine.handle_part_put(),
            CheckpointCommand::MoveHead(_) => machine.handle_head_moved(),
            CheckpointCommand::CaptureConfirmed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        step(&mut machine, Tick(2)),
        Some(Cut::Base),
        "that was not the last tick"
    );
}

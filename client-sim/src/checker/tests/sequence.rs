//! Faults in the order of things: inputs, events, snapshots, answers.

use super::*;

#[test]
fn missing_event_is_found() {
    let mut story = Story::begin();
    story.seqs[ANN] += 2;
    story.tell(ANN, Event::Respawn);
    assert_found(&story.end(), "event 3 was due, 5 came", 2, 0);
}

#[test]
fn last_event_that_only_a_snapshot_spoke_of_is_found() {
    let mut story = Story::begin();
    story.seqs[BEN] += 1;
    story.show(BEN, 0, 100, &[]);
    assert_found(&story.end(), "event 2 was due, 3 came", 1, 0);
}

#[test]
fn gap_that_the_client_machine_saw_counts_once() {
    let mut story = Story::begin();
    story.checker.on_event_gap(ANN, 3, 5);
    story.seqs[ANN] += 2;
    story.tell(ANN, Event::Respawn);
    assert_found(&story.end(), "event 3 was due, 5 came", 2, 0);
}

#[test]
fn event_told_again_as_new_is_found() {
    let mut story = Story::begin();
    story.retell(BEN, 1, Event::Respawn);
    assert_found(&story.end(), "event 1 was told again", 0, 1);
}

#[test]
fn event_with_other_content_is_found() {
    let mut story = Story::begin();
    story.checker.on_event_repeated(BEN, 1, true);
    story.checker.on_event_repeated(BEN, 1, false);
    assert_found(&story.end(), "event 1 was told again", 0, 1);
}

#[test]
fn order_carried_out_twice_is_found() {
    let mut story = Story::begin();
    story.asks_gold(ANN, 1, BEN, 5);
    story.gift(5);
    story.gift(5);
    assert_found(&story.end(), "1 orders to give gold, 2 answers", 0, 1);
}

#[test]
fn order_never_answered_is_found() {
    let mut story = Story::begin();
    story.checker.on_asked(BEN, 1, &Intent::PickUp { item: ROPE.uid });
    story.show(BEN, 1, 100, &[]);
    assert_found(&story.end(), "1 orders to pick up, 0 answers", 1, 0);
}

#[test]
fn confirmed_input_that_a_resume_forgot_is_found() {
    let mut story = Story::begin();
    story.show(BEN, 7, 100, &[]);
    story.attach(
        BEN,
        1,
        5,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    assert_found(&story.end(), "input 7 was confirmed, now only 5", 2, 0);
}

#[test]
fn order_that_waited_behind_lost_inputs_is_answered_under_its_new_number() {
    let mut story = Story::begin();
    story.show(BEN, 7, 100, &[]);
    story.asks_gold(BEN, 8, ANN, 500);
    let own = OwnState {
        gold: 100,
        ..OwnState::default()
    };
    story.attach(BEN, 1, 5, &own);
    let reason = RejectReason::NotEnoughGold;
    story.tell(BEN, Event::Rejected { seq: 6, reason });
    assert_found(&story.end(), "input 7 was confirmed, now only 5", 2, 0);
}

#[test]
fn event_that_a_resume_forgot_is_found() {
    let mut story = Story::begin();
    story.gold(BEN, 7, GoldCause::Loot);
    story.attach(
        BEN,
        1,
        0,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    // The forgotten event, the purse that differs from it, and the seven gold.
    assert_found(&story.end(), "event 2 was told, now only 1", 1 + 1 + 7, 0);
}

#[test]
fn missed_events_that_a_resume_never_sent_are_found() {
    let mut story = Story::begin();
    story.attach(
        BEN,
        3,
        0,
        &OwnState {
            gold: 100,
            ..OwnState::default()
        },
    );
    assert_found(&story.end(), "event 2 was due, 4 came", 2, 0);
}

#[test]
fn world_that_goes_back_is_found() {
    let mut story = Story::begin();
    story.show(ANN, 0, 100, &[BREAD]);
    story.tick = story.tick - 1;
    story.show(ANN, 0, 100, &[BREAD]);
    assert_found(&story.end(), "the world went back", 1, 0);
}

#[test]
fn chat_line_said_twice_is_found() {
    let mut story = Story::begin();
    for _ in 0..2 {
        story.tell(
            BEN,
            Event::Chat {
                from: session(ANN),
                text: "fair winds #4".to_owned(),
            },
        );
    }
    let verdict = story.end();
    assert_eq!(verdict.chats, 2);
    assert_found(&verdict, "line 4", 0, 1);
}

#[test]
fn violations_beyond_those_kept_in_words_are_counted() {
    let mut story = Story::begin();
    for seq in 0..1_000 {
        story.checker.on_event_repeated(BEN, seq, false);
    }
    let verdict = story.end();
    assert_eq!((verdict.violations_total, verdict.duplicated), (1_000, 1_000));
    assert!(verdict.violations.len() < 100);
}

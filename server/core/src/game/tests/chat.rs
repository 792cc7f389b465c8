//! Chat of many: what one tick carries, who comes first, and who hears it.

use std::collections::BTreeMap;

use everhold_protocol::Tick;

use super::*;
use crate::ingress::{Birth, Join};
use crate::limits::{OUTBOX_COMMON_EVENTS_MAX, OUTBOX_EVENTS_MAX};

const LISTENERS: u64 = 300;
const TELLS_MAX: usize = 600;
const LINES_MAX: usize = 8;

/// The yard with 300 players at its spawn point, and the chat of the default world.
fn hall() -> (Zone, Vec<SessionId>) {
    let mut zone = zone(&[
        ("lines_per_tick_max = 2", "lines_per_tick_max = 8"),
        ("tells_per_tick_max = 100", "tells_per_tick_max = 600"),
    ]);
    let joins: Vec<_> = (1..=LISTENERS).map(newcomer).collect();
    zone.step(&joins);
    let ids = (1..=LISTENERS).map(|account| session(&zone, account)).collect();
    (zone, ids)
}

fn newcomer(account: u64) -> Input {
    let mut ticket = [0; 16];
    ticket[..8].copy_from_slice(&account.to_le_bytes());
    Input::Join(Join {
        account: Account(account),
        ticket,
        ticket_forget_tick: Tick(9_999),
        secret: [0; 32],
        token: AttachToken(account),
        birth: Birth::Always,
    })
}

/// Has each of them acknowledge all that it heard.
fn acknowledge(zone: &mut Zone, listeners: &[SessionId]) {
    let acks: Vec<_> = listeners
        .iter()
        .map(|&session| Input::EventAck {
            session,
            event_seq: u64::MAX,
        })
        .collect();
    zone.step(&acks);
}

/// Lets each of them say its next line, and counts who was heard how often.
fn say(zone: &mut Zone, speakers: &[SessionId]) -> BTreeMap<SessionId, usize> {
    let lines: Vec<_> = speakers
        .iter()
        .map(|&id| {
            let seq = own(zone, id).unwrap().last_input_seq + 1;
            intent(id, seq, Intent::Say("hail".into()))
        })
        .collect();
    let mut heard = BTreeMap::new();
    for (_, event) in told(&zone.step(&lines)) {
        if let Event::Chat { from, .. } = event {
            *heard.entry(from).or_default() += 1;
        }
    }
    heard
}

#[test]
fn many_who_speak_at_once_share_one_budget() {
    let (mut zone, ids) = hall();
    let heard = say(&mut zone, &ids[..170]);
    assert_eq!(heard.len(), LINES_MAX);
    assert_eq!(heard.values().sum::<usize>(), TELLS_MAX);
    assert!(
        heard.values().all(|&listeners| listeners == TELLS_MAX / LINES_MAX),
        "{heard:?}"
    );
}

#[test]
fn one_whose_connection_ends_in_the_same_tick_is_heard() {
    let (mut zone, ids) = hall();
    let seq = own(&mut zone, ids[0]).unwrap().last_input_seq + 1;
    let detach = Input::Detach {
        session: ids[0],
        token: AttachToken(1),
    };
    let outputs = zone.step(&[intent(ids[0], seq, Intent::Say("bye".into())), detach]);
    let heard = told(&outputs).into_iter();
    let heard = heard.filter(|(_, event)| matches!(event, Event::Chat { from, .. } if *from == ids[0]));
    assert_eq!(heard.count(), LISTENERS as usize - 1);
}

#[test]
fn few_who_speak_are_heard_by_everybody() {
    let (mut zone, ids) = hall();
    let heard = say(&mut zone, &ids[..2]);
    assert_eq!(heard.into_values().collect::<Vec<_>>(), [300, 300]);
}

#[test]
fn flood_of_170_costs_no_more_than_the_budget_in_any_tick() {
    let (mut zone, ids) = hall();
    let mut lines = 0;
    for _ in 0..60 {
        let heard = say(&mut zone, &ids[..170]);
        lines += heard.len();
        assert!(heard.values().sum::<usize>() <= TELLS_MAX);
    }
    assert!(lines > 60 * LINES_MAX / 2, "{lines} lines in 60 ticks");
}

#[test]
fn who_was_silent_for_longer_comes_first_however_many_flood() {
    let (mut zone, ids) = hall();
    for turn in 0..100 {
        let mut speakers = ids[..60].to_vec();
        // Each of these speaks once, behind all who try again in every tick.
        let quiet = ids[100 + turn];
        speakers.push(quiet);
        let heard = say(&mut zone, &speakers);
        if turn > 8 {
            assert!(heard.contains_key(&quiet), "tick {turn}: {heard:?}");
        }
    }
}

#[test]
fn turns_go_round_among_equals() {
    let (mut zone, ids) = hall();
    let mut spoke: BTreeMap<SessionId, usize> = BTreeMap::new();
    for _ in 0..60 {
        for speaker in say(&mut zone, &ids[..60]).into_keys() {
            *spoke.entry(speaker).or_default() += 1;
        }
    }
    assert_eq!(spoke.len(), 60);
    let (least, most) = (spoke.values().min().unwrap(), spoke.values().max().unwrap());
    assert!(most - least <= 1, "{least} to {most} lines each");
}

#[test]
fn in_a_crowd_the_nearest_hear_a_line() {
    let mut zone = zone(&[("tells_per_tick_max = 100", "tells_per_tick_max = 3")]);
    zone.step(&(1..=6).map(newcomer).collect::<Vec<_>>());
    let ids: Vec<_> = (1..=6).map(|account| session(&zone, account)).collect();
    for (place, &id) in ids.iter().enumerate() {
        let player = zone.world().resource::<EntityIndex>().entity(id).unwrap();
        zone.world().get_mut::<Body>(player).unwrap().x = 1_000 + 100 * place as i32;
    }
    let outputs = zone.step(&[intent(ids[5], 1, Intent::Say("hail".into()))]);
    let hearers: Vec<_> = told(&outputs).into_iter().map(|(id, _)| id).collect();
    assert_eq!(hearers, ids[3..]);
}

#[test]
fn who_acknowledges_nothing_hears_no_more_chat_and_costs_no_more_checkpoints() {
    let (mut zone, ids) = hall();
    let heard = |zone: &mut Zone, deaf: SessionId, speaker: SessionId| {
        let seq = own(zone, speaker).unwrap().last_input_seq + 1;
        let outputs = zone.step(&[intent(speaker, seq, Intent::Say("hail".into()))]);
        told(&outputs)
            .iter()
            .any(|(id, event)| *id == deaf && matches!(event, Event::Chat { .. }))
    };
    let deaf = ids[LISTENERS as usize - 1];
    let mut lines = 0;
    for turn in 0..2 * OUTBOX_EVENTS_MAX {
        if turn % 100 == 99 {
            acknowledge(&mut zone, &ids[..ids.len() - 1]);
        }
        lines += usize::from(heard(&mut zone, deaf, ids[turn % 200]));
    }
    // It was told a few things about itself besides.
    assert!(
        (OUTBOX_COMMON_EVENTS_MAX - 8..=OUTBOX_COMMON_EVENTS_MAX).contains(&lines),
        "{lines} lines"
    );

    acknowledge(&mut zone, &[deaf]);
    assert!(heard(&mut zone, deaf, ids[200]));
}

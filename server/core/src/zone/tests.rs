//! A zone under test: what each input and each system does, seen through the zone's own door.

mod capture;
mod chat;
mod combat;
mod failure;
mod gifts;
mod ground;
mod monsters;
mod registry;
mod secrets;
mod sessions;

use std::sync::Arc;

use everhold_protocol::event::RejectReason;
use everhold_protocol::{Account, EntityId, EntityView, Event, Heading, Intent, RefusalCode, SessionId};

use super::*;
use crate::ingress::AttachToken;
use crate::rules::RuleBook;

/// A small world: one spawn point, no monsters, no items. Replacements change its text.
fn config(replacements: &[(&str, &str)]) -> ZoneConfig {
    let mut text = include_str!("tests/yard.toml").to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let rules = Arc::new(RuleBook::from_toml(&text).unwrap());
    ZoneConfig {
        name: "yard".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        rules,
    }
}

/// The yard, one tick after an owner took it.
fn zone(replacements: &[(&str, &str)]) -> Zone {
    let config = config(replacements);
    let start = epoch_start(&config, 1);
    let mut zone = Zone::new(config);
    zone.step(&[start]);
    zone
}

/// The yard with players 1 to `players`, all at its spawn point.
fn crowd(replacements: &[(&str, &str)], players: u64) -> Zone {
    let mut zone = zone(replacements);
    let joins: Vec<_> = (1..=players).map(join).collect();
    zone.step(&joins);
    zone
}

fn epoch_start(config: &ZoneConfig, epoch: u32) -> Input {
    Input::EpochStart {
        epoch,
        nonce: 1,
        rules_id: config.rules_id(),
    }
}

fn join(account: u64) -> Input {
    join_with(account, account as u8, account)
}

fn join_with(account: u64, ticket: u8, token: u64) -> Input {
    Input::Join {
        account: Account(account),
        ticket: [ticket; 16],
        ticket_forget_tick: 1_000,
        secret: [ticket; 32],
        token: AttachToken(token),
    }
}

fn detach(session: SessionId, token: u64) -> Input {
    Input::Detach {
        session,
        token: AttachToken(token),
    }
}

fn resume(session: SessionId, secret: u8, next: u8, event_seq: u64, token: u64) -> Input {
    Input::Resume {
        session,
        secret: [secret; 32],
        next_secret: [next; 32],
        event_seq,
        token: AttachToken(token),
    }
}

fn refusals(outputs: &Outputs) -> Vec<(u64, RefusalCode)> {
    let found = outputs.replies.iter().filter_map(|(token, reply)| match reply {
        Reply::Refused(code) => Some((token.0, *code)),
        _ => None,
    });
    found.collect()
}

fn intent(session: SessionId, seq: u64, intent: Intent) -> Input {
    Input::Intent { session, seq, intent }
}

fn go(dx: i8, dy: i8) -> Intent {
    Intent::Move(Heading::new(dx, dy).unwrap())
}

fn session(zone: &Zone, account: u64) -> SessionId {
    zone.session_of(Account(account)).unwrap()
}

fn idle(zone: &mut Zone, ticks: u64) -> Vec<(SessionId, Event)> {
    (0..ticks).flat_map(|_| told(&zone.step(&[]))).collect()
}

/// Who was told what.
fn told(outputs: &Outputs) -> Vec<(SessionId, Event)> {
    outputs
        .events
        .iter()
        .map(|(session, event)| (*session, event.event.clone()))
        .collect()
}

fn rejected(session: SessionId, seq: u64, reason: RejectReason) -> (SessionId, Event) {
    (session, Event::Rejected { seq, reason })
}

fn seen(zone: &mut Zone, id: EntityId) -> Option<EntityView> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.entities.into_iter().find(|entity| entity.id == id)
}

fn own(zone: &mut Zone, session: SessionId) -> Option<SceneSession> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.sessions.into_iter().find(|row| row.session == session)
}

fn attached(outputs: &Outputs) -> Vec<(u64, SessionId)> {
    let found = outputs.replies.iter().filter_map(|(token, reply)| match reply {
        Reply::Attached { session, .. } => Some((token.0, *session)),
        _ => None,
    });
    found.collect()
}

//! A small world for tests of zones: a yard without monsters and items, and what tests ask of it. It judges nothing.

use std::sync::Arc;

use everhold_protocol::event::RejectReason;
use everhold_protocol::{Account, EntityId, EntityView, Epoch, Event, Heading, Intent, RefusalCode, SessionId, Tick};

use super::RuleBook;
use crate::ingress::{AttachToken, Birth, Input, Join, Resume};
use crate::zone::{Outputs, Reply, Scene, SceneSession, Zone, ZoneConfig};

/// A small world: one spawn point, no monsters, no items. Replacements change its text.
pub(crate) fn config(replacements: &[(&str, &str)]) -> ZoneConfig {
    let mut text = include_str!("yard.toml").to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let rules = Arc::new(RuleBook::from_toml(&text).unwrap());
    ZoneConfig {
        name: "yard".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: rules,
    }
}

/// The yard, one tick after an owner took it.
pub(crate) fn zone(replacements: &[(&str, &str)]) -> Zone {
    let config = config(replacements);
    let start = epoch_start(&config, Epoch(1));
    let mut zone = Zone::new(config);
    zone.step(&[start]);
    zone
}

/// The yard with players 1 to `players`, all at its spawn point.
pub(crate) fn crowd(replacements: &[(&str, &str)], players: u64) -> Zone {
    let mut zone = zone(replacements);
    let joins: Vec<_> = (1..=players).map(join).collect();
    zone.step(&joins);
    zone
}

pub(crate) fn epoch_start(config: &ZoneConfig, epoch: Epoch) -> Input {
    Input::EpochStart {
        epoch,
        nonce: 1,
        rules_id: config.rules_id(),
    }
}

pub(crate) fn join(account: u64) -> Input {
    join_with(account, account as u8, account)
}

pub(crate) fn join_with(account: u64, ticket: u8, token: u64) -> Input {
    Input::Join(Join {
        account: Account(account),
        ticket: [ticket; 16],
        ticket_forget_tick: Tick(1_000),
        secret: [ticket; 32],
        token: AttachToken(token),
        birth: Birth::Always,
    })
}

pub(crate) fn detach(session: SessionId, token: u64) -> Input {
    Input::Detach {
        session,
        token: AttachToken(token),
    }
}

pub(crate) fn resume(session: SessionId, secret: u8, next: u8, event_seq: u64, token: u64) -> Input {
    Input::Resume(Resume {
        session,
        secret: [secret; 32],
        next_secret: [next; 32],
        event_seq,
        token: AttachToken(token),
    })
}

pub(crate) fn refusals(outputs: &Outputs) -> Vec<(u64, RefusalCode)> {
    let found = outputs.replies.iter().filter_map(|(token, reply)| match reply {
        Reply::Refused(code) => Some((token.0, *code)),
        _ => None,
    });
    found.collect()
}

pub(crate) fn intent(session: SessionId, seq: u64, intent: Intent) -> Input {
    Input::Intent { session, seq, intent }
}

pub(crate) fn go(dx: i8, dy: i8) -> Intent {
    Intent::Move(Heading::new(dx, dy).unwrap())
}

pub(crate) fn session(zone: &Zone, account: u64) -> SessionId {
    zone.session_of(Account(account)).unwrap()
}

pub(crate) fn idle(zone: &mut Zone, ticks: u64) -> Vec<(SessionId, Event)> {
    (0..ticks).flat_map(|_| told(&zone.step(&[]))).collect()
}

/// Returns the events that a step told, each with its session.
pub(crate) fn told(outputs: &Outputs) -> Vec<(SessionId, Event)> {
    outputs
        .events
        .iter()
        .map(|(session, event)| (*session, event.event.clone()))
        .collect()
}

pub(crate) fn rejected(session: SessionId, seq: u64, reason: RejectReason) -> (SessionId, Event) {
    (session, Event::Rejected { seq, reason })
}

pub(crate) fn seen(zone: &mut Zone, id: EntityId) -> Option<EntityView> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.entities.into_iter().find(|entity| entity.id == id)
}

pub(crate) fn own(zone: &mut Zone, session: SessionId) -> Option<SceneSession> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.sessions.into_iter().find(|row| row.session == session)
}

pub(crate) fn attached(outputs: &Outputs) -> Vec<(u64, SessionId)> {
    let found = outputs.replies.iter().filter_map(|(token, reply)| match reply {
        Reply::Attached(welcome) => Some((token.0, welcome.session)),
        _ => None,
    });
    found.collect()
}

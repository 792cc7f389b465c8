//! A zone under test: what each input and each system does, seen through the zone's own door.

mod capture;

use std::sync::Arc;

use everhold_protocol::{Account, EntityId, Heading, Intent, Item, SeqEvent, SessionId};

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

fn zone(replacements: &[(&str, &str)]) -> Zone {
    let config = config(replacements);
    let rules_id = config.rules_id();
    let mut zone = Zone::new(config);
    zone.step(&[Input::EpochStart {
        epoch: 1,
        nonce: 1,
        rules_id,
    }]);
    zone
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

fn intent(session: SessionId, seq: u32, intent: Intent) -> Input {
    Input::Intent { session, seq, intent }
}

fn go(dx: i8, dy: i8) -> Intent {
    Intent::Move(Heading::new(dx, dy).unwrap())
}

fn session(zone: &Zone, account: u64) -> SessionId {
    zone.session_of(Account(account)).unwrap()
}

fn seen(zone: &mut Zone, id: EntityId) -> Option<everhold_protocol::EntityView> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.entities.into_iter().find(|entity| entity.id == id)
}

fn own(zone: &mut Zone, session: SessionId) -> SceneSession {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene.sessions.into_iter().find(|row| row.session == session).unwrap()
}

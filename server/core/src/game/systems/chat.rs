//! Chat: who may speak in a tick, and who hears it, when many want to at once.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{EntityId, Event};

use crate::game::intents::{ChatLine, Contests};
use crate::game::rules::Point;
use crate::game::rules::chance::{Purpose, roll};
use crate::game::settings::GameSettings;
use crate::game::state::{Body, Readiness};
use crate::zone::effects::{Effects, reject};
use crate::zone::index::EntityIndex;
use crate::zone::registry::Id;
use crate::zone::state::{Clock, Outbox, Session};

/// Somebody who may hear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ear {
    id: EntityId,
    entity: Entity,
    at: Point,
}

/// Tells the tick's lines. Lines times listeners has a budget, of which each line has an equal share: in a crowd those
/// hear it who are nearest to the speaker, which always is one of them. The away hear nothing, nor do those whose
/// client does not acknowledge what it hears: a line of chat is not worth a place in their outbox.
pub(crate) fn talk(world: &mut World, sessions: &mut QueryState<(Entity, &Id, &Session, &Body, &Outbox)>) {
    #[cfg(feature = "testing")]
    crate::game::chat_fault::trigger_later(world);
    let said = std::mem::take(&mut world.resource_mut::<Contests>().lines);
    if said.is_empty() {
        return;
    }
    let lines = choose(world, said);
    let chat = world.resource::<GameSettings>().rules.chat();
    let (reach_cm, mut left) = (chat.reach_cm, chat.tells_per_tick_max as usize);
    let ears: Vec<Ear> = sessions
        .iter(world)
        .filter(|(.., session, _, outbox)| session.presence.is_attached() && outbox.has_room_for_common())
        .map(|(entity, id, _, body, _)| Ear {
            id: id.0,
            entity,
            at: body.point(),
        })
        .collect();
    for (told, line) in lines.iter().enumerate() {
        let share = left / (lines.len() - told);
        // Whose connection ended in this tick is heard as well.
        let speaker = world.resource::<EntityIndex>().entity(line.speaker);
        let Some(from) = speaker.and_then(|speaker| world.get::<Body>(speaker)).map(Body::point) else {
            continue;
        };
        let near = nearest(&ears, (line.speaker, from), reach_cm, share);
        left -= near.len();
        emit_line(world, line, &near);
    }
}

/// The lines that this tick carries: one of each speaker whose cooldown is over. Of too many, those go first whose
/// speakers have been silent for longest; among equals chance decides. The others are refused.
fn choose(world: &mut World, said: Vec<ChatLine>) -> Vec<ChatLine> {
    let Clock { tick, seed, .. } = *world.resource::<Clock>();
    let settings = world.resource::<GameSettings>();
    let (cooldown, lines_max) = (
        settings.tick_rules.chat_cooldown,
        settings.rules.chat().lines_per_tick_max,
    );
    let ready_at = |world: &World, line: &ChatLine| {
        let speaker = world.resource::<EntityIndex>().entity(line.speaker)?;
        Some(world.get::<Readiness>(speaker)?.chat)
    };
    let mut speakers = BTreeSet::new();
    let (mut lines, mut refused): (Vec<_>, Vec<_>) = said
        .into_iter()
        .partition(|line| ready_at(world, line).is_some_and(|at| at <= tick) && speakers.insert(line.speaker));
    lines.sort_by_cached_key(|line| {
        let turn = roll(seed, tick, line.speaker, Purpose::Turn);
        (ready_at(world, line), turn, line.speaker)
    });
    refused.extend(lines.split_off(lines.len().min(usize::from(lines_max))));
    refused.sort_unstable_by_key(|line| (line.speaker, line.seq));
    for ChatLine { speaker, seq, .. } in refused {
        if let Some(speaker) = world.resource::<EntityIndex>().entity(speaker) {
            reject(world, speaker, seq, RejectReason::Cooldown);
        }
    }
    for line in &lines {
        let speaker = world.resource::<EntityIndex>().entity(line.speaker);
        if let Some(mut readiness) = speaker.and_then(|speaker| world.get_mut::<Readiness>(speaker)) {
            readiness.chat = tick + cooldown;
        }
    }
    lines
}

/// Up to `share` of those in reach of the speaker, the nearest ones; in no particular order.
fn nearest(ears: &[Ear], (speaker, from): (EntityId, Point), reach_cm: i32, share: usize) -> Vec<Ear> {
    let mut near: Vec<Ear> = ears
        .iter()
        .filter(|ear| from.reaches(ear.at, reach_cm))
        .copied()
        .collect();
    if near.len() > share && share > 0 {
        let distance = |ear: &Ear| (from.distance2(ear.at), ear.id != speaker, ear.id);
        near.select_nth_unstable_by_key(share - 1, distance);
    }
    near.truncate(share);
    near
}

fn emit_line(world: &mut World, line: &ChatLine, near: &[Ear]) {
    let tick = world.resource::<Clock>().tick;
    let mut heard = Vec::with_capacity(near.len());
    for ear in near {
        if let Some(mut outbox) = world.get_mut::<Outbox>(ear.entity) {
            let event = Event::Chat {
                from: line.speaker,
                text: line.text.clone(),
            };
            heard.push((ear.id, outbox.push(tick, event)));
        }
    }
    world.resource_mut::<Effects>().events.append(&mut heard);
}

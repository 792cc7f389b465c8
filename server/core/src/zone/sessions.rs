//! Sessions: who joins, comes back, and goes. Every function applies one input. What a character is and does, the game
//! says.

use bevy_ecs::prelude::*;
use everhold_protocol::{Account, Epoch, RefusalCode, SessionId};

use super::effects::{Answer, Effects, note_residence};
use super::game::{GameZone, Terms};
use super::index::EntityIndex;
use super::lodging;
use super::output::{Reply, Residence};
use super::registry::Id;
use super::shared::Shared;
use super::state::{
    Clock, FIRST_GENERATION, Ids, InputSeq, Outbox, Presence, Quarantined, Residency, Resting, Secrets, Session,
    Tickets,
};
use crate::ingress::{AttachToken, Birth, Join, Resume};
use crate::limits::{TICKET_MEMORY_S_MAX, USED_TICKETS_MAX, ZONE_SESSIONS_MAX};

/// Begins a new ownership: no connection speaks for a session until it resumes, and ids move on. If it is one of other
/// rules, the state is fitted to them.
pub(crate) fn start_epoch(world: &mut World, game: &dyn GameZone, epoch: Epoch, rules_id: [u8; 32]) {
    let mut clock = world.resource_mut::<Clock>();
    assert!(
        epoch > clock.epoch,
        "epoch {epoch} does not follow epoch {}",
        clock.epoch
    );
    clock.epoch = epoch;
    let ran_others = std::mem::replace(&mut clock.rules_id, rules_id) != rules_id;
    let tick = clock.tick;
    let zone_number = world.resource::<Terms>().zone_number;
    *world.resource_mut::<Ids>() = Ids::of_epoch(zone_number, epoch);
    let mut sessions = world.query::<(Entity, &mut Session)>();
    let mut players = Vec::new();
    for (player, mut session) in sessions.iter_mut(world) {
        if session.presence.is_attached() {
            session.presence = Presence::Away(tick);
        }
        players.push(player);
    }
    players.into_iter().for_each(|player| game.halt(world, player));
    if ran_others {
        remember_tickets(world);
        game.refit(world);
    }
}

/// Remembers each used ticket for as long as any may be good: at another tick rate a moment has another tick.
fn remember_tickets(world: &mut World) {
    let tick = world.resource::<Clock>().tick;
    let until = tick + TICKET_MEMORY_S_MAX * u64::from(world.resource::<Terms>().tick_hz);
    for forget in world.resource_mut::<Tickets>().used.values_mut() {
        *forget = until.max(*forget);
    }
}

/// A login by ticket. The ticket is used up only if the login succeeds.
pub(crate) fn join(world: &mut World, game: &dyn GameZone, login: Join) {
    let tick = world.resource::<Clock>().tick;
    match admit(world, game, &login) {
        Ok(entity) => {
            world
                .resource_mut::<Tickets>()
                .used
                .insert(login.ticket, login.ticket_forget_tick);
            note_residence(world, Residence::TicketSpent(login.ticket, login.ticket_forget_tick));
            let mut secrets = world
                .get_mut::<Secrets>(entity)
                .expect("an admitted entity is a session");
            *secrets = Secrets::issued(login.secret, tick);
            attach(world, game, entity, (login.token, 0));
        }
        Err(code) => answer(world, login.token, Answer::Now(Reply::Refused(code))),
    }
}

/// The account's session, or a new one.
fn admit(world: &mut World, game: &dyn GameZone, login: &Join) -> Result<Entity, RefusalCode> {
    let tickets = &world.resource::<Tickets>().used;
    if tickets.contains_key(&login.ticket) {
        return Err(RefusalCode::TicketUsed);
    }
    // An unexpired ticket is never forgotten to make room: it could be used again.
    if tickets.len() >= USED_TICKETS_MAX {
        return Err(RefusalCode::Full);
    }
    let entity_index = world.resource::<EntityIndex>();
    if let Some(entity) = entity_index
        .session(login.account)
        .and_then(|session| entity_index.entity(session))
    {
        return Ok(entity);
    }
    if entity_index.sessions() >= ZONE_SESSIONS_MAX {
        return Err(RefusalCode::Full);
    }
    let generation = match login.birth {
        Birth::Always => FIRST_GENERATION,
        Birth::Allowed { asked, generation } if lodging::is_fresh(world, login.account, asked) => generation,
        // Not final, and nothing is spent: the client asks again, and so its record is looked up again.
        Birth::Allowed { .. } | Birth::Never => return Err(RefusalCode::Internal),
    };
    Ok(create(world, game, login, generation.max(FIRST_GENERATION) + 1))
}

/// A new session, whose entity the game makes a character.
fn create(world: &mut World, game: &dyn GameZone, login: &Join, generation: u64) -> Entity {
    let id = world.resource_mut::<Ids>().allocate();
    let tick = world.resource::<Clock>().tick;
    let session = (
        Id(id),
        Session {
            account: login.account,
            presence: Presence::Answered(login.token.0),
        },
        Residency { generation },
        Secrets::issued(login.secret, tick),
        InputSeq { last: 0 },
        Outbox {
            event_seq: 0,
            events: Shared::default(),
        },
    );
    let player = world.spawn(session).id();
    game.spawn_player(world, player);
    player
}

/// A session comes back with its secret.
pub(crate) fn resume(world: &mut World, game: &dyn GameZone, back: Resume) {
    let Some(entity) = renew(world, &back) else {
        let refused = Reply::Refused(RefusalCode::SessionUnknown);
        return answer(world, back.token, Answer::Now(refused));
    };
    acknowledge(world, back.session, back.event_seq);
    attach(world, game, entity, (back.token, back.event_seq));
}

/// The session that is resumed, whose secret is the next one from now on. None if there is no such session, its secret
/// is not good, or it rests for so long that only a ticket wakes it.
fn renew(world: &mut World, back: &Resume) -> Option<Entity> {
    let entity = world.resource::<EntityIndex>().entity(back.session)?;
    let tick = world.resource::<Clock>().tick;
    let window = world.resource::<Terms>().resume_window;
    let rests_since = world.get::<Resting>(entity).map(|resting| resting.since);
    if rests_since.is_some_and(|since| since + window <= tick) {
        return None;
    }
    let mut secrets = world.get_mut::<Secrets>(entity)?;
    secrets.renew((back.secret, back.next_secret), tick).then_some(entity)
}

/// Lets `token` speak for the session; the connection that spoke for it is told that it is superseded. The character
/// stands still until it is told otherwise, because the new connection does not know how it was heading.
fn attach(world: &mut World, game: &dyn GameZone, entity: Entity, (token, event_seq): (AttachToken, u64)) {
    let Some(&Id(id)) = world.get::<Id>(entity) else { return };
    lodging::wake(world, entity);
    #[cfg(feature = "testing")]
    super::growth::note_attach(world, entity);
    game.halt(world, entity);
    let Some(mut session) = world.get_mut::<Session>(entity) else {
        return;
    };
    let account = session.account;
    let before = std::mem::replace(&mut session.presence, Presence::Answered(token.0));
    if let Some(before) = before.token().filter(|before| *before != token.0) {
        answer(world, AttachToken(before), Answer::Now(Reply::Superseded(id)));
    }
    note_residence(world, Residence::Taken(account));
    answer(world, token, Answer::Attach { session: id, event_seq });
}

fn answer(world: &mut World, token: AttachToken, answer: Answer) {
    world.resource_mut::<Effects>().answers.push((token, answer));
}

/// The connection that `token` attached is gone. Returns whose it was, unless a later one speaks for the session.
pub(crate) fn detach(world: &mut World, game: &dyn GameZone, session: SessionId, token: AttachToken) -> Option<Entity> {
    let tick = world.resource::<Clock>().tick;
    let entity = world.resource::<EntityIndex>().entity(session)?;
    let mut state = world.get_mut::<Session>(entity)?;
    if state.presence.token() != Some(token.0) {
        return None;
    }
    state.presence = Presence::Away(tick);
    game.halt(world, entity);
    Some(entity)
}

/// The player ends the session: none of its secrets is good any more. The character stays for as long as after a lost
/// connection, or a log-out would be a way out of every fight.
pub(crate) fn log_out(world: &mut World, game: &dyn GameZone, session: SessionId, token: AttachToken) {
    let Some(entity) = detach(world, game, session, token) else {
        return;
    };
    if let Some(mut secrets) = world.get_mut::<Secrets>(entity) {
        *secrets = Secrets::void();
    }
    answer(world, token, Answer::Now(Reply::LoggedOut(session)));
}

/// The account's session is ended from outside: none of its secrets is good any more, and the connection that speaks
/// for it is told why. The character stays for as long as after a lost connection, and one that rests rests on.
pub(crate) fn dismiss(world: &mut World, game: &dyn GameZone, account: Account, code: RefusalCode) {
    let tick = world.resource::<Clock>().tick;
    let entity_index = world.resource::<EntityIndex>();
    let Some(id) = entity_index.session(account) else {
        return;
    };
    let Some(entity) = entity_index.entity(id) else { return };
    if let Some(mut secrets) = world.get_mut::<Secrets>(entity) {
        *secrets = Secrets::void();
    }
    let Some(mut session) = world.get_mut::<Session>(entity) else {
        return;
    };
    let Some(token) = session.presence.token() else { return };
    session.presence = Presence::Away(tick);
    game.halt(world, entity);
    answer(world, AttachToken(token), Answer::Now(Reply::Dismissed(id, code)));
}

/// Notes that an input of the session was applied: its client has the answer to its attach, and no secret but that
/// answer's is good any more.
pub(crate) fn note_heard(world: &mut World, entity: Entity) {
    let Some(&Session {
        presence: Presence::Answered(token),
        ..
    }) = world.get::<Session>(entity)
    else {
        return;
    };
    let tick = world.resource::<Clock>().tick;
    let heard = world
        .get_mut::<Secrets>(entity)
        .is_some_and(|mut secrets| secrets.hear(tick));
    if heard && let Some(mut session) = world.get_mut::<Session>(entity) {
        session.presence = Presence::Attached(token);
    }
}

/// The client says that it has all events up to `event_seq`, and so that it is attached.
pub(crate) fn hear_ack(world: &mut World, session: SessionId, event_seq: u64) {
    acknowledge(world, session, event_seq);
    if let Some(entity) = world.resource::<EntityIndex>().entity(session) {
        note_heard(world, entity);
    }
}

/// The client has all events up to `event_seq`: the outbox forgets them.
fn acknowledge(world: &mut World, session: SessionId, event_seq: u64) {
    let Some(entity) = world.resource::<EntityIndex>().entity(session) else {
        return;
    };
    let Some(mut outbox) = world.get_mut::<Outbox>(entity) else {
        return;
    };
    let known = outbox.acknowledged(event_seq);
    if known > 0 {
        outbox.events.drain(..known);
    }
}

/// This input is refused when its turn comes. One whose turn has passed needs no entry.
pub(crate) fn quarantine(world: &mut World, session: SessionId, seq: u64) {
    let Some(entity) = world.resource::<EntityIndex>().entity(session) else {
        return;
    };
    if world
        .get::<InputSeq>(entity)
        .is_some_and(|input_seq| seq > input_seq.last)
    {
        world.resource_mut::<Quarantined>().inputs.insert((session, seq));
    }
}

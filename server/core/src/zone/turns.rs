//! Turns: which intent of a session is its next one. What the intent does is the game's.

use bevy_ecs::prelude::*;
use everhold_protocol::SessionId;
use everhold_protocol::event::RejectReason;

use super::effects::reject;
use super::game::{GameZone, PlayerTurn};
use super::index::EntityIndex;
use super::probe::InputRun;
use super::sessions::note_heard;
use super::state::{InputSeq, Presence, Quarantined, Session};
use crate::ingress::Input;

/// The judgement on an intent's place in its session's sequence, for a game that applies a run of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next: the game notes its number as the last, and applies it.
    Next,
    /// It may be the first that comes over a connection, which says more: the engine applies it, and the run ends
    /// before it.
    First,
    /// No connection speaks for the session, or the intent is a duplicate or behind a gap: nothing changes.
    Out,
}

impl Turn {
    /// Judges the intent with this number.
    #[must_use]
    #[inline]
    pub fn of(session: &Session, input_seq: &InputSeq, seq: u64) -> Self {
        match session.presence {
            Presence::Answered(_) => Self::First,
            Presence::Attached(_) if input_seq.last.checked_add(1) == Some(seq) => Self::Next,
            Presence::Attached(_) | Presence::Away(_) => Self::Out,
        }
    }
}

/// Lets the game apply as many inputs at once as it can, and returns how many that are: none, if the first is no
/// intent. One that is quarantined is told so, see [`apply`]: while any is, each goes its own way.
pub(crate) fn apply_run(world: &mut World, game: &mut dyn GameZone, run: InputRun<'_>) -> usize {
    let begins_with_intent = matches!(run.inputs().first(), Some(Input::Intent { .. }));
    if begins_with_intent && world.resource::<Quarantined>().inputs.is_empty() {
        game.apply_run(world, run)
    } else {
        0
    }
}

/// Applies an intent if it is the session's next and somebody speaks for the session; otherwise nothing changes.
pub(crate) fn apply(world: &mut World, game: &dyn GameZone, input: &Input) {
    let Input::Intent {
        session,
        seq,
        ref intent,
    } = *input
    else {
        return;
    };
    let Some(player) = take_turn(world, session, seq) else {
        return;
    };
    if world.resource::<Quarantined>().inputs.contains(&(session, seq)) {
        world.resource_mut::<Quarantined>().inputs.remove(&(session, seq));
        return reject(world, player, seq, RejectReason::Quarantined);
    }
    let turn = PlayerTurn {
        player,
        session,
        seq,
        intent,
    };
    game.apply(world, turn);
}

/// Refuses, if its turn has come, what stands in an intent's place and is none: the sequence goes on behind it.
pub(crate) fn refuse_invalid(world: &mut World, session: SessionId, seq: u64) {
    if let Some(player) = take_turn(world, session, seq) {
        world.resource_mut::<Quarantined>().inputs.remove(&(session, seq));
        reject(world, player, seq, RejectReason::Invalid);
    }
}

/// Uses up a number, if it is the session's next and somebody speaks for the session.
fn take_turn(world: &mut World, session: SessionId, seq: u64) -> Option<Entity> {
    let player = world.resource::<EntityIndex>().entity(session)?;
    let is_attached = world.get::<Session>(player)?.presence.is_attached();
    let mut input_seq = world.get_mut::<InputSeq>(player)?;
    if !is_attached || input_seq.last.checked_add(1) != Some(seq) {
        return None;
    }
    input_seq.last = seq;
    note_heard(world, player);
    Some(player)
}

#[cfg(test)]
mod tests {
    use everhold_protocol::{Account, Tick};

    use super::*;

    #[test]
    fn intent_is_the_next_only_behind_the_last_one_and_over_a_connection_that_was_heard() {
        use Turn::{First, Next, Out};
        let (attached, answered, away) = (Presence::Attached(1), Presence::Answered(1), Presence::Away(Tick(9)));
        for (presence, last, seq, expected) in [
            (attached, 4, 5, Next),
            (attached, 4, 4, Out),
            (attached, 4, 6, Out),
            (attached, u64::MAX, 0, Out),
            (answered, 4, 5, First),
            (answered, 4, 9, First),
            (away, 4, 5, Out),
        ] {
            let session = Session {
                account: Account(1),
                presence,
            };
            let turn = Turn::of(&session, &InputSeq { last }, seq);
            assert_eq!(turn, expected, "{presence:?}, {seq} after {last}");
        }
    }
}

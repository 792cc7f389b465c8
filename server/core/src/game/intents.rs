//! Intents: what a player asks for, applied one by one in the order of the record. What several may want at once
//! (blows, items on the ground) is only noted here; systems resolve it when all have asked.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{EntityId, Heading, Intent, SessionId};

use super::settings::GameSettings;
use super::state::{Body, Course, Downed};
use super::value;
use crate::ingress::Input;
use crate::zone::effects::reject;
use crate::zone::game::PlayerTurn;
use crate::zone::index::EntityIndex;
use crate::zone::probe::InputRun;
use crate::zone::state::{InputSeq, Resting, Session};
use crate::zone::turns::Turn;

/// A strike that a player asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) striker: SessionId,
    pub(crate) target: EntityId,
}

/// A claim to an item on the ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PickUp {
    pub(crate) item: EntityId,
    pub(crate) claimant: SessionId,
    pub(crate) seq: u64,
}

/// A line of chat that a player wants told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatLine {
    pub(crate) speaker: SessionId,
    pub(crate) seq: u64,
    pub(crate) text: String,
}

/// The tick's intents that systems resolve together: strikes, pick-ups, and lines of chat. Output: its systems take it
/// in the same tick.
#[derive(Resource, Default)]
pub(crate) struct Contests {
    pub(crate) strikes: Vec<Strike>,
    pub(crate) pick_ups: Vec<PickUp>,
    pub(crate) lines: Vec<ChatLine>,
}

/// The query by which an intent to move finds its player and changes its course.
pub(crate) type MoveQuery = SystemState<(
    Res<'static, EntityIndex>,
    Query<'static, 'static, (&'static Session, &'static mut InputSeq, &'static mut Course)>,
)>;

/// Applies intents to move for as long as nothing else comes, and says how many it took: almost everything that players
/// say is that, and finding the columns anew for each would cost more than the rest.
pub(crate) fn steer_many(world: &mut World, moves: &mut MoveQuery, run: InputRun<'_>) -> usize {
    let inputs = run.inputs();
    let is_move = |input: &Input| {
        matches!(
            input,
            Input::Intent {
                intent: Intent::Move(_),
                ..
            }
        )
    };
    if !inputs.first().is_some_and(is_move) {
        return 0;
    }
    let (entity_index, mut players) = moves.get_mut(world).expect("a zone has its index");
    for (index, input) in inputs.iter().enumerate() {
        let Input::Intent {
            session,
            seq,
            intent: Intent::Move(heading),
        } = *input
        else {
            return index;
        };
        run.enter(index);
        let player = entity_index
            .entity(session)
            .and_then(|entity| players.get_mut(entity).ok());
        let Some((state, mut input_seq, mut course)) = player else {
            continue;
        };
        match Turn::of(state, &input_seq, seq) {
            Turn::First => return index,
            Turn::Out => {}
            Turn::Next => {
                input_seq.last = seq;
                // The dead keep the course they are told; they follow it when they live again.
                course.set_if_neq(Course { heading });
            }
        }
    }
    inputs.len()
}

/// Applies an intent whose turn it is.
pub(crate) fn apply(world: &mut World, turn: PlayerTurn<'_>) {
    let PlayerTurn {
        player,
        session,
        seq,
        intent,
    } = turn;
    match intent {
        Intent::Move(heading) => steer(world, player, *heading),
        Intent::Strike { target } => {
            world.resource_mut::<Contests>().strikes.push(Strike {
                striker: session,
                target: *target,
            });
        }
        Intent::PickUp { item } => {
            world.resource_mut::<Contests>().pick_ups.push(PickUp {
                item: *item,
                claimant: session,
                seq,
            });
        }
        Intent::GiveGold { to, amount } => {
            let done = give_gold(world, turn, *to, *amount);
            settle(world, player, seq, done);
        }
        Intent::GiveItem { to, item } => {
            let done = give_item(world, turn, *to, *item);
            settle(world, player, seq, done);
        }
        Intent::Say(text) => {
            #[cfg(feature = "testing")]
            super::chat_fault::trigger(text);
            world.resource_mut::<Contests>().lines.push(ChatLine {
                speaker: session,
                seq,
                text: text.clone(),
            });
        }
    }
}

fn settle(world: &mut World, player: Entity, seq: u64, done: Result<(), RejectReason>) {
    if let Err(reason) = done {
        reject(world, player, seq, reason);
    }
}

/// Sets a walker's course.
pub(crate) fn steer(world: &mut World, player: Entity, heading: Heading) {
    if let Some(mut course) = world.get_mut::<Course>(player) {
        course.set_if_neq(Course { heading });
    }
}

/// The receiver of a gift: another player, alive, present, within reach.
fn receiver(world: &World, giver: Entity, to: EntityId) -> Result<Entity, RejectReason> {
    if world.get::<Downed>(giver).is_some() {
        return Err(RejectReason::Dead);
    }
    let entity = world
        .resource::<EntityIndex>()
        .entity(to)
        .ok_or(RejectReason::NoTarget)?;
    let there = world.entity(entity);
    if entity == giver || !there.contains::<Session>() || there.contains::<Resting>() || there.contains::<Downed>() {
        return Err(RejectReason::NoTarget);
    }
    let (from, to) = (world.get::<Body>(giver), world.get::<Body>(entity));
    let reach_cm = world.resource::<GameSettings>().rules.player().reach_cm;
    match (from, to) {
        (Some(from), Some(to)) if from.point().reaches(to.point(), reach_cm) => Ok(entity),
        _ => Err(RejectReason::TooFar),
    }
}

fn give_gold(world: &mut World, turn: PlayerTurn<'_>, to: EntityId, amount: u64) -> Result<(), RejectReason> {
    let receiver = receiver(world, turn.player, to)?;
    value::give_gold(world, (turn.player, receiver), amount, Some((turn.session, turn.seq)))
}

fn give_item(world: &mut World, turn: PlayerTurn<'_>, to: EntityId, uid: EntityId) -> Result<(), RejectReason> {
    let receiver = receiver(world, turn.player, to)?;
    value::give_item(world, (turn.player, receiver), uid, Some((turn.session, turn.seq)))
}

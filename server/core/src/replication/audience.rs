//! The audience of a tick: which session is told what. Viewers that have just attached (also over a connection that
//! replaces a live one), or were moved far in one tick, know nothing of their surroundings, and are shown everything.
//! The others are told the news: in each tick, or, to spare the process packets, in turns; but a player who acted sees
//! the effect in the same tick.

use everhold_protocol::{SessionId, Tick};

use super::place;
use crate::ingress::AttachToken;
use crate::interest::Viewpoint;
use crate::limits::NEWCOMER_REPEAT_TICKS;
use crate::zone::SceneSession;

/// The records that a viewer is told of in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Records that are due.
    News,
    /// All entities nearby.
    Everything,
}

/// The viewers of the last tick.
#[derive(Debug)]
pub(super) struct Audience {
    /// In order of session.
    known: Vec<KnownSession>,
    scratch: Vec<KnownSession>,
    /// Distance in one tick, cm, beyond which a viewer knows nothing of its new surroundings.
    leap_cm: u32,
}

#[derive(Clone, Copy, Debug)]
struct KnownSession {
    session: SessionId,
    attach: AttachToken,
    at: Viewpoint,
    last_input_seq: u64,
    new_at: Tick,
}

impl Audience {
    pub(super) fn new(leap_cm: u32) -> Self {
        Self {
            known: Vec::new(),
            scratch: Vec::new(),
            leap_cm,
        }
    }

    /// Takes a tick's viewers, in order of session, and appends what each is told, if anything. Every viewer has a turn
    /// in `round` ticks.
    pub(super) fn advance<'a>(
        &mut self,
        sessions: impl Iterator<Item = &'a SceneSession>,
        tick: Tick,
        round: u64,
        shares: &mut Vec<Option<Share>>,
    ) {
        self.scratch.clear();
        let mut before = self.known.iter().peekable();
        for session in sessions {
            while before.next_if(|known| known.session < session.session).is_some() {}
            let known = before.next_if(|known| known.session == session.session);
            let now = KnownSession::now(session, known, self.leap_cm, tick);
            let has_turn = tick.0.wrapping_add(session.session.0).is_multiple_of(round);
            let has_acted = known.is_none_or(|known| known.last_input_seq != now.last_input_seq);
            shares.push(if tick == now.new_at || tick == now.new_at + NEWCOMER_REPEAT_TICKS {
                Some(Share::Everything)
            } else if has_turn || has_acted {
                Some(Share::News)
            } else {
                None
            });
            self.scratch.push(now);
        }
        std::mem::swap(&mut self.known, &mut self.scratch);
    }
}

impl KnownSession {
    fn now(session: &SceneSession, before: Option<&Self>, leap_cm: u32, tick: Tick) -> Self {
        let at = place(session);
        let stays = before.filter(|known| {
            let (dx, dy) = (known.at.x.abs_diff(at.x), known.at.y.abs_diff(at.y));
            known.attach == session.attach && dx.max(dy) <= leap_cm
        });
        Self {
            session: session.session,
            attach: session.attach,
            at,
            last_input_seq: session.last_input_seq,
            new_at: stays.map_or(tick, |known| known.new_at),
        }
    }
}

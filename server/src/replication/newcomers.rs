//! Which viewers know nothing of what is around them: those that have just attached, or were moved far in one tick.

use everhold_protocol::{SessionId, Tick};

use super::place;
use crate::interest::Viewpoint;
use crate::limits::NEWCOMER_REPEAT_TICKS;
use crate::zone::SceneSession;

/// The viewers of the last tick.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// In order of session.
    known: Vec<Known>,
    scratch: Vec<Known>,
    /// Whoever moves further within a tick stands among strangers.
    leap_cm: u32,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    session: SessionId,
    at: Viewpoint,
    new_at: Tick,
}

impl Newcomers {
    pub(super) fn new(leap_cm: u32) -> Self {
        Self {
            known: Vec::new(),
            scratch: Vec::new(),
            leap_cm,
        }
    }

    /// Takes a tick's viewers, in order of session, and appends for each whether it is to be shown everything.
    pub(super) fn advance<'a>(
        &mut self,
        sessions: impl Iterator<Item = &'a SceneSession>,
        tick: Tick,
        is_new: &mut Vec<bool>,
    ) {
        self.scratch.clear();
        let mut before = self.known.iter().peekable();
        for session in sessions {
            let at = place(session);
            while before.next_if(|known| known.session < session.session).is_some() {}
            let known = before.next_if(|known| known.session == session.session);
            let stays = known.filter(|known| {
                let (dx, dy) = (known.at.x.abs_diff(at.x), known.at.y.abs_diff(at.y));
                dx.max(dy) <= self.leap_cm
            });
            let new_at = stays.map_or(tick, |known| known.new_at);
            is_new.push(tick == new_at || tick == new_at + NEWCOMER_REPEAT_TICKS);
            self.scratch.push(Known {
                session: session.session,
                at,
                new_at,
            });
        }
        std::mem::swap(&mut self.known, &mut self.scratch);
    }
}

//! The secrets by which a session is resumed. Each is good once; only the answer that brings the next one can be lost.
//!
//! ```text
//! shown: the last, or one of the unheard      the same again                         an input under the attach
//!   before = shown, unheard = none              unheard += last                        before = none, unheard = none
//!   last = next                                 last = next
//! ```
//!
//! Until an input shows that the client has its answer, any of the secrets that answers carried may be the one it has,
//! so each is good. The first that is shown, or whose attach is heard, ends all others: a spent secret does not lock
//! out a client that has a newer one. Until then the one before stays good, however long the client is away: it may
//! have lost its network together with the answer.

use everhold_protocol::Tick;

use super::shared::Shared;
use super::state::Secrets;
use crate::ingress::SecretHash;
use crate::limits::UNHEARD_SECRETS_MAX;

impl Secrets {
    /// Of a session that was logged in to at `tick`: none but this is good.
    pub(crate) fn issued(secret: SecretHash, tick: Tick) -> Self {
        Self {
            last: Some(secret),
            answered: tick,
            ..Self::void()
        }
    }

    /// Of a session that was logged out of: none is good.
    pub(crate) fn void() -> Self {
        Self {
            last: None,
            answered: Tick(0),
            before: None,
            unheard: Shared::default(),
        }
    }

    /// Whether `shown` attaches at `tick`; if so, the answer carries `next`.
    pub(crate) fn renew(&mut self, (shown, next): (SecretHash, SecretHash), tick: Tick) -> bool {
        if self.last == Some(shown) || self.unheard.contains(&shown) {
            self.before = Some(shown);
            self.unheard = Shared::default();
        } else {
            // One more answer must not push out an earlier one, which the client may have.
            if self.before != Some(shown) || self.unheard.len() >= UNHEARD_SECRETS_MAX {
                return false;
            }
            self.unheard.extend(self.last);
        }
        (self.last, self.answered) = (Some(next), tick);
        true
    }

    /// An input that was applied at `tick` came over the connection that was answered last. `false`: it may have come
    /// over the one before, since it is of the tick in which the later one attached.
    pub(crate) fn hear(&mut self, tick: Tick) -> bool {
        if tick <= self.answered {
            return false;
        }
        (self.before, self.unheard) = (None, Shared::default());
        true
    }
}

//! The admission of connection attempts: one decision in one function, without a socket.
//!
//! Strangers and players have places of their own. A stranger, whose `Hello` is not verified yet, has one for the login
//! deadline at most, and at the limit it takes that of another ([`super::half_open`]). A ticket or a resume secret of
//! this world, and nothing else, gives a player's place, so no number of strangers can take one away.

use everhold_core::limits::{CONNECTION_BYTES_MAX, CONNECTIONS_MAX, HALF_OPEN_MAX, HALF_OPEN_UNVALIDATED_MAX};
use everhold_protocol::RefusalCode;

/// Bounds on connections, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections with a verified `Hello`.
    pub connections_max: usize,
    /// Connections without one, besides these.
    pub half_open_max: usize,
    /// Half-open connections above which a stranger must show that its address is its own.
    pub half_open_unvalidated_max: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            half_open_max: HALF_OPEN_MAX,
            half_open_unvalidated_max: HALF_OPEN_UNVALIDATED_MAX,
        }
    }
}

/// The occupancy of a transport at the moment of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occupancy {
    /// Connections with a verified `Hello`.
    pub(super) proven: usize,
    /// Connections without one.
    pub(super) half_open: usize,
    /// Whether the peer has shown that it receives what is sent to its address.
    pub(super) validated: bool,
    /// The refusal of every newcomer, once the transport takes no more.
    pub(super) stopping: Option<RefusalCode>,
}

/// The decision on a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptDecision {
    /// Accept, and log in.
    Serve,
    /// Accept, in the place of a half-open connection.
    Replace,
    /// Accept only to say why not, in a message that the client can read.
    TurnAway(RefusalCode),
    /// Ask for a proof of the address first. It costs a stranger a round trip and this side no memory.
    Retry,
    /// Refuse without a word. It costs this side some microseconds and no memory.
    Refuse,
}

impl AdmissionLimits {
    /// Returns what all connections together can make this side keep, bytes, if each peer fills everything it may.
    #[must_use]
    pub const fn bytes_max(&self) -> u64 {
        (self.connections_max as u64 + self.half_open_max as u64) * CONNECTION_BYTES_MAX as u64
    }

    /// Decides on an attempt. Turning away costs a handshake, so it is done only while few are half-open.
    pub(super) fn admit(&self, occupancy: Occupancy) -> AttemptDecision {
        let is_at_limit = occupancy.half_open >= self.half_open_max;
        let is_crowded = is_at_limit || occupancy.half_open >= self.half_open_unvalidated_max;
        let no = match occupancy.stopping {
            Some(code) => Some(code),
            None if occupancy.proven >= self.connections_max => Some(RefusalCode::Full),
            None => None,
        };
        match no {
            Some(_) if is_crowded => AttemptDecision::Refuse,
            Some(code) => AttemptDecision::TurnAway(code),
            None if is_crowded && !occupancy.validated => AttemptDecision::Retry,
            None if is_at_limit => AttemptDecision::Replace,
            None => AttemptDecision::Serve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        connections_max: 10,
        half_open_max: 4,
        half_open_unvalidated_max: 2,
    };

    const QUIET: Occupancy = Occupancy {
        proven: 3,
        half_open: 0,
        validated: false,
        stopping: None,
    };

    #[test]
    fn stranger_is_served_while_it_is_quiet() {
        assert_eq!(LIMITS.admit(QUIET), AttemptDecision::Serve);
    }

    #[test]
    fn stranger_must_prove_its_address_in_a_crowd() {
        assert_eq!(
            LIMITS.admit(Occupancy { half_open: 2, ..QUIET }),
            AttemptDecision::Retry
        );
        assert_eq!(
            LIMITS.admit(Occupancy {
                half_open: 2,
                validated: true,
                ..QUIET
            }),
            AttemptDecision::Serve
        );
    }

    #[test]
    fn newest_takes_the_place_of_another_at_the_half_open_limit() {
        let crowd = Occupancy { half_open: 4, ..QUIET };
        assert_eq!(LIMITS.admit(crowd), AttemptDecision::Retry, "its address may be forged");
        assert_eq!(
            LIMITS.admit(Occupancy {
                validated: true,
                ..crowd
            }),
            AttemptDecision::Replace
        );
    }

    #[test]
    fn strangers_take_no_players_place() {
        let last_place = Occupancy {
            proven: 9,
            half_open: 4,
            validated: true,
            ..QUIET
        };
        assert_eq!(LIMITS.admit(last_place), AttemptDecision::Replace);
    }

    #[test]
    fn full_server_says_so_while_that_is_cheap() {
        let full = Occupancy { proven: 10, ..QUIET };
        assert_eq!(LIMITS.admit(full), AttemptDecision::TurnAway(RefusalCode::Full));
        assert_eq!(
            LIMITS.admit(Occupancy {
                half_open: 2,
                validated: true,
                ..full
            }),
            AttemptDecision::Refuse
        );
    }

    #[test]
    fn stopping_server_says_that_it_stops_though_it_is_full() {
        let stopping = Occupancy {
            proven: 10,
            stopping: Some(RefusalCode::Stopping),
            ..QUIET
        };
        assert_eq!(LIMITS.admit(stopping), AttemptDecision::TurnAway(RefusalCode::Stopping));
    }
}

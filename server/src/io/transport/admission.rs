//! What to do with a connection attempt: one decision in one function, without a socket.

use crate::limits::{CONNECTION_BYTES_MAX, CONNECTIONS_MAX, HALF_OPEN_MAX, HALF_OPEN_UNVALIDATED_MAX};
use everhold_protocol::RefusalCode;

/// How many connections there may be, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections that are served.
    pub connections_max: usize,
    /// Connections without a verified `Hello`.
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

/// How things stand when an attempt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Connections now, half-open ones included.
    pub(super) connections: usize,
    /// Half-open ones now.
    pub(super) half_open: usize,
    /// The peer has shown that it receives what is sent to its address.
    pub(super) validated: bool,
    /// Set when the transport no longer takes connections.
    pub(super) stopping: Option<RefusalCode>,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Accept, and log in.
    Serve,
    /// Accept only to say why not, in a message that the client can read.
    TurnAway(RefusalCode),
    /// Ask for a proof of the address first. It costs a stranger a round trip and this side no memory.
    Retry,
    /// Refuse without a word. It costs this side some microseconds and no memory.
    Refuse,
}

impl AdmissionLimits {
    /// What all connections together can make this side keep, bytes, if each peer fills everything it may.
    #[must_use]
    pub const fn bytes_max(&self) -> u64 {
        self.connections_max as u64 * CONNECTION_BYTES_MAX as u64
    }

    /// Decides. Turning away costs a handshake, so it is done only while few are half-open.
    pub(super) fn admit(&self, standing: Standing) -> Admission {
        let crowded = standing.half_open >= self.half_open_unvalidated_max;
        let no = match standing.stopping {
            Some(code) => Some(code),
            None if standing.connections >= self.connections_max => Some(RefusalCode::Full),
            None => None,
        };
        match no {
            _ if standing.half_open >= self.half_open_max => Admission::Refuse,
            Some(_) if crowded => Admission::Refuse,
            Some(code) => Admission::TurnAway(code),
            None if crowded && !standing.validated => Admission::Retry,
            None => Admission::Serve,
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

    const QUIET: Standing = Standing {
        connections: 3,
        half_open: 0,
        validated: false,
        stopping: None,
    };

    #[test]
    fn stranger_is_served_while_it_is_quiet() {
        assert_eq!(LIMITS.admit(QUIET), Admission::Serve);
    }

    #[test]
    fn stranger_must_prove_its_address_in_a_crowd() {
        assert_eq!(LIMITS.admit(Standing { half_open: 2, ..QUIET }), Admission::Retry);
        assert_eq!(
            LIMITS.admit(Standing {
                half_open: 2,
                validated: true,
                ..QUIET
            }),
            Admission::Serve
        );
    }

    #[test]
    fn nobody_is_let_in_above_the_half_open_limit() {
        assert_eq!(
            LIMITS.admit(Standing {
                half_open: 4,
                validated: true,
                ..QUIET
            }),
            Admission::Refuse
        );
    }

    #[test]
    fn full_server_says_so_while_that_is_cheap() {
        let full = Standing {
            connections: 10,
            ..QUIET
        };
        assert_eq!(LIMITS.admit(full), Admission::TurnAway(RefusalCode::Full));
        assert_eq!(
            LIMITS.admit(Standing {
                half_open: 2,
                validated: true,
                ..full
            }),
            Admission::Refuse
        );
    }

    #[test]
    fn stopping_server_says_that_it_stops_though_it_is_full() {
        let stopping = Standing {
            connections: 10,
            stopping: Some(RefusalCode::Stopping),
            ..QUIET
        };
        assert_eq!(LIMITS.admit(stopping), Admission::TurnAway(RefusalCode::Stopping));
    }
}

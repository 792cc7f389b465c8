//! The guardian's answer to the end of its server: whether it logs it, the code with which it ends itself, and the
//! meaning of each answer to a release. It asks no authority and ends no process.

use super::Holdings;
use crate::ownership::authority::AuthorityError;

/// The status with which a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEnd {
    /// Its own code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
}

impl ServerEnd {
    /// Whether the log is to say that the server is dead. One that ends by itself before it has joined has said why,
    /// and so has one whose code is `usage_code`.
    #[must_use]
    pub fn is_news(&self, holdings: &Holdings, usage_code: u8) -> bool {
        match self.code {
            Some(0) => false,
            Some(code) => code != i32::from(usage_code) && !holdings.is_empty(),
            None => true,
        }
    }

    /// The code with which the guardian ends: the server's own, or what a shell makes of a signal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let code = self.code.or_else(|| self.signal.map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// The meaning of an authority's answer to a release for a dead server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// The zone is free.
    Released,
    /// Another process was granted the zone, or the world has none such.
    NothingToRelease,
    /// The outcome is unknown: the same again.
    Again,
}

impl From<&Result<(), AuthorityError>> for ReleaseAnswer {
    fn from(answer: &Result<(), AuthorityError>) -> Self {
        match answer {
            Ok(()) => Self::Released,
            Err(AuthorityError::Held(_) | AuthorityError::ZoneUnknown(_)) => Self::NothingToRelease,
            Err(AuthorityError::Unavailable(_)) => Self::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Epoch;

    use super::*;
    use crate::ownership::{LeaseView, Nonce};

    const USAGE: u8 = 2;

    fn exited(code: i32) -> ServerEnd {
        ServerEnd {
            code: Some(code),
            signal: None,
        }
    }

    fn killed(signal: i32) -> ServerEnd {
        ServerEnd {
            code: None,
            signal: Some(signal),
        }
    }

    #[test]
    fn death_is_said_unless_the_server_ended_well_or_has_said_why() {
        let (nothing, mut joined) = (Holdings::default(), Holdings::default());
        joined.note_announced(Nonce(7));
        let table = [
            (exited(0), &joined, false),
            (exited(1), &joined, true),
            (exited(1), &nothing, false),
            (exited(2), &joined, false),
            (exited(2), &nothing, false),
            (killed(9), &joined, true),
            (killed(9), &nothing, true),
        ];
        for (end, holdings, is_news) in table {
            assert_eq!(end.is_news(holdings, USAGE), is_news, "{end:?}, {holdings:?}");
        }
    }

    #[test]
    fn guardian_ends_with_the_code_that_a_shell_would_show() {
        let neither = ServerEnd {
            code: None,
            signal: None,
        };
        let table = [
            (exited(0), 0),
            (exited(7), 7),
            (killed(9), 137),
            (killed(6), 134),
            (exited(-1), 1),
            (neither, 1),
        ];
        for (end, code) in table {
            assert_eq!(end.exit_code(), code, "{end:?}");
        }
    }

    #[test]
    fn release_is_tried_again_only_while_its_outcome_is_unknown() {
        let view = LeaseView {
            zone: "meadow".parse().unwrap(),
            epoch: Epoch(4),
            nonce: Nonce(2),
            beat: 1,
            released: false,
            addr: ([127, 0, 0, 1], 1).into(),
            players: 0,
            ttl: std::time::Duration::ZERO,
            mark: None,
        };
        let zone = view.zone.clone();
        let table = [
            (Ok(()), ReleaseAnswer::Released),
            (
                Err(AuthorityError::Held(Box::new(view))),
                ReleaseAnswer::NothingToRelease,
            ),
            (Err(AuthorityError::ZoneUnknown(zone)), ReleaseAnswer::NothingToRelease),
            (
                Err(AuthorityError::Unavailable("away".to_owned())),
                ReleaseAnswer::Again,
            ),
        ];
        for (answer, meaning) in table {
            assert_eq!(ReleaseAnswer::from(&answer), meaning, "{answer:?}");
        }
    }
}

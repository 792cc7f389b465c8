//! Login tickets: signed, short-lived, good once.

use serde::{Deserialize, Serialize};

use crate::ids::{Account, ZoneName};

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// Random; the zone remembers used ones until they expire.
    pub id: [u8; 16],
    /// Who may log in.
    pub account: Account,
    /// Where a new character is born; an account that has a home goes there instead.
    pub zone: ZoneName,
    /// Seconds since the Unix epoch after which the ticket is refused.
    pub expires_unix_s: u64,
}

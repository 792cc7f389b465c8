//! The grant, which is the right to act for a zone, and the tenure, which is a grant together with its zone. It grants
//! nothing: that is the authority's.

use everhold_protocol::{Epoch, ZoneName};

/// The number of one process start, drawn at random. It tells two processes apart that were granted the same epoch by
/// an authority that forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// The right to act for a zone: every fenced write carries one. An epoch is only a number; this is what an authority
/// answered to a claim. It does not name its zone: a [`Tenure`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    epoch: Epoch,
    nonce: Nonce,
}

impl Grant {
    /// Makes a grant. Only an authority does, where it answers a claim, and the guardian, where it decodes a grant that
    /// its server passed on: a tidy test looks after that.
    #[must_use]
    pub const fn issue(epoch: Epoch, nonce: Nonce) -> Self {
        Self { epoch, nonce }
    }

    /// Returns the number of the ownership.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }

    /// Returns the owning process.
    #[must_use]
    pub const fn nonce(self) -> Nonce {
        self.nonce
    }
}

/// A zone, and the right to act for it: what a claim that is granted gives, and what every fenced write is made under.
/// A grant is good for the zone that it was claimed for and for no other; pairing it with that one is up to the code
/// that takes a tenure apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenure {
    /// The zone.
    pub zone: ZoneName,
    /// The right to act for it.
    pub grant: Grant,
}

impl Tenure {
    /// Returns the number of the ownership.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.grant.epoch()
    }
}

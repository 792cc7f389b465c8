//! The epoch, the fencing number of an ownership, and the grant that carries it.

/// The number of one process start, drawn at random. It tells two processes apart that were granted the same epoch by
/// an authority that forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// The number of an ownership. It only rises. There is no `From<u32>`: only a grant makes one, and every fenced write
/// needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// Makes an epoch. Called where an authority grants one, and nowhere else.
    #[must_use]
    pub const fn granted(number: u32) -> Self {
        Self(number)
    }

    /// Returns the bare number, for the wire, the store, and logs.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The right to act for a zone: every fenced write carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The epoch.
    pub epoch: Epoch,
    /// The owning process.
    pub nonce: Nonce,
}

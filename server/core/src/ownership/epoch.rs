//! The fencing number of an ownership.

/// One process start, drawn at random. Two processes that were granted the same epoch by an authority that forgot are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// The number of an ownership. It only rises. There is no `From<u32>`: only a grant makes one, and every fenced write needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// Called where an authority grants an epoch, and nowhere else.
    #[must_use]
    pub const fn granted(number: u32) -> Self {
        Self(number)
    }

    /// The bare number, for the wire, the store, and logs.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The right to act for a zone: what every fenced write carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ownership's number.
    pub epoch: Epoch,
    /// Whose it is.
    pub nonce: Nonce,
}

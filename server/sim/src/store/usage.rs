//! The size of a store, for bounds on its growth. It only has the figures.

use std::collections::BTreeMap;

use everhold_protocol::ZoneName;

/// The size of a whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// The size of each data set, incomplete ones among them.
    pub zones: BTreeMap<ZoneName, ZoneUsage>,
    /// Accounts with a home.
    pub homes: usize,
}

/// The size of one data set. Bytes are those of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneUsage {
    /// Records of the journal.
    pub records: usize,
    /// Bytes of the journal.
    pub record_bytes: usize,
    /// Checkpoints from the previous base on.
    pub checkpoints: usize,
    /// Bytes of those checkpoints.
    pub checkpoint_bytes: usize,
    /// Parts of checkpoints that never became the head, or did not yet.
    pub leftover_parts: usize,
    /// Bytes of those parts.
    pub leftover_bytes: usize,
    /// Quarantined inputs.
    pub quarantine: usize,
    /// Parts of evidence that is not sealed, of an owner before the last one.
    pub unsealed_parts: usize,
}

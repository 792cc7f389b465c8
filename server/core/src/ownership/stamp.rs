//! The stamp of data: by it two histories of one zone are compared. It reads no data.

use everhold_protocol::{Epoch, Tick};

/// The end of a zone's data: the epoch that wrote it, and its last tick. Of two, the higher is the newer, and is the
/// one that a zone goes on from. A fence is no data: it says who may write, and not that there is anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataStamp {
    /// The epoch that wrote the last tick.
    pub epoch: Epoch,
    /// The last tick.
    pub tick: Tick,
}

//! The mark of a world into which a backup is being restored. It stands where the rules stand that the world is to run,
//! so no other record has to be made first, and no rules have it for their id: a shard that starts sees it before it
//! asks for any zone.

use crate::ownership::RulesId;

/// The number of a backup, drawn when it was begun.
pub type BackupId = [u8; 16];

/// The first bytes of the mark. The id of rules is a hash: none begins so.
const PREFIX: [u8; 16] = *b"everhold restore";

/// A restore that was begun, and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreMarker(pub BackupId);

impl RestoreMarker {
    /// Returns the mark as it stands in the place of rules.
    #[must_use]
    pub fn to_rules_id(self) -> RulesId {
        let mut id = RulesId::default();
        id[..PREFIX.len()].copy_from_slice(&PREFIX);
        id[PREFIX.len()..].copy_from_slice(&self.0);
        id
    }

    /// Reads the mark. `None`: these are rules.
    #[must_use]
    pub fn of_rules_id(id: &RulesId) -> Option<Self> {
        let (prefix, number) = id.split_first_chunk::<16>()?;
        let number = number.first_chunk()?;
        (*prefix == PREFIX).then_some(Self(*number))
    }
}

impl RestoreMarker {
    /// Checks that what the world is to run is no mark.
    ///
    /// # Errors
    /// It is one.
    pub fn refuse(wanted: Option<RulesId>) -> Result<(), RestoreUnfinished> {
        let marker = wanted.as_ref().and_then(Self::of_rules_id);
        marker.map_or(Ok(()), |marker| Err(RestoreUnfinished(marker)))
    }
}

/// A restore into this world was begun, and has not ended: nothing of the world may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a restore of backup {0} into this world was begun and has not ended: run `everhold restore FILE` once more, with \
     the file of that backup"
)]
pub struct RestoreUnfinished(pub RestoreMarker);

impl std::fmt::Display for RestoreMarker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

//! A commit of a zone to the archive: one transaction, at one position of the zone's history. It is checked here, and
//! carried out by an implementation.

use std::collections::BTreeSet;

use everhold_protocol::{Account, Epoch, ZoneName};

use super::ArchiveError;
use super::row::{AuditRow, CharacterRow, LedgerRow, WallMs, name_key, refuse};
use crate::durability::store::Position;
use crate::limits::{ARCHIVE_COMMIT_BYTES_MAX, ARCHIVE_COMMIT_ROWS_MAX, ARCHIVE_PART_BYTES_MAX};
use crate::ownership::{Nonce, Tenure};
use crate::zone::archive_schema::ArchiveSchema;

/// A commit's identity, unique in its zone. A commit that was sent is either repeated as it was, or given up, and then
/// its mark is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitMark {
    /// The end of the history that it covers. Its epoch is the one that writes.
    pub position: Position,
    /// The commit's number, counted up within its epoch.
    pub number: u64,
}

/// A zone's blob whose parts are written, and that is to become the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveBlob {
    /// The number of its parts, at least 1.
    pub parts: u32,
    /// Its length, bytes.
    pub bytes: u64,
}

impl ArchiveBlob {
    /// Returns what a body of this length is in parts of [`ARCHIVE_PART_BYTES_MAX`]. `None`: no archive holds as many.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        let parts = bytes.div_ceil(ARCHIVE_PART_BYTES_MAX as u64).max(1);
        Some(Self {
            parts: u32::try_from(parts).ok()?,
            bytes,
        })
    }
}

/// A commit.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveCommit {
    /// Its identity.
    pub mark: CommitMark,
    /// The zone's last commit, as its owner knows it. `None`: the zone never had one.
    pub parent: Option<CommitMark>,
    /// The last position that the parent's history and this one have in common: the parent's own, unless this epoch
    /// went on from less than the parent covers. [`Position::GENESIS`], if there is no parent.
    pub kept: Position,
    /// The time.
    pub wall: WallMs,
    /// The zone's blob, whose parts were written before with [`put_blob_part`](super::Archive::put_blob_part) under
    /// this mark. `None`: the one before stays the newest.
    pub blob: Option<ArchiveBlob>,
    /// The characters that changed.
    pub characters: Vec<CharacterRow>,
    /// Changes of value.
    pub ledger: Vec<LedgerRow>,
    /// Events of its ticks.
    pub audit: Vec<AuditRow>,
}

impl ArchiveCommit {
    /// Checks that the commit can be carried out as it is, under this tenure. Every archive calls it before it looks at
    /// its own data.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`], with what is wrong.
    pub fn check(&self, tenure: &Tenure, schema: &ArchiveSchema) -> Result<(), ArchiveError> {
        let epoch = self.mark.position.epoch;
        if epoch != tenure.epoch() {
            return refuse(format!(
                "a commit of epoch {epoch} under the grant of {}",
                tenure.epoch()
            ));
        }
        if self.parent.is_some_and(|parent| !follows(&self.mark, &parent)) {
            return refuse(format!(
                "commit {} of epoch {epoch} is not after its parent",
                self.mark.number
            ));
        }
        let parent = self.parent.map_or(Position::GENESIS, |parent| parent.position);
        let goes_back = self.kept.stamp() < parent.stamp() && parent.epoch < epoch;
        if self.kept != parent && !goes_back {
            return refuse(format!(
                "commit {} of epoch {epoch} keeps what its parent has not",
                self.mark.number
            ));
        }
        self.check_size()?;
        let mut accounts = BTreeSet::new();
        let mut names = BTreeSet::new();
        for character in &self.characters {
            character.check(schema)?;
            if !accounts.insert(character.account) {
                return refuse(format!("account {} occurs twice in a commit", character.account.0));
            }
            if let Some(name) = &character.name
                && !names.insert(name_key(name))
            {
                return refuse(format!("the name {name:?} occurs twice in a commit"));
            }
        }
        self.ledger.iter().try_for_each(|row| row.check(schema))?;
        self.audit.iter().try_for_each(AuditRow::check)?;
        let stamps = self.ledger.iter().map(|row| Some(row.stamp));
        let stamps = stamps.chain(self.audit.iter().map(|row| row.stamp));
        for stamp in stamps {
            if stamp.is_none_or(|stamp| stamp.epoch > epoch || stamp.tick > self.mark.position.tick) {
                return refuse("a row is of no tick that the commit covers".to_owned());
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), ArchiveError> {
        let rows: usize = self.characters.iter().map(CharacterRow::rows).sum();
        let rows = rows + self.ledger.len() + self.audit.len();
        if rows > ARCHIVE_COMMIT_ROWS_MAX {
            return refuse(format!(
                "a commit of {rows} rows, at most {ARCHIVE_COMMIT_ROWS_MAX} may be"
            ));
        }
        let bytes: usize = self.characters.iter().map(CharacterRow::bytes).sum();
        let texts: usize = self.audit.iter().map(|row| row.event.len() + row.detail.len()).sum();
        let bytes = bytes + texts + self.ledger.len() * size_of::<LedgerRow>();
        if bytes > ARCHIVE_COMMIT_BYTES_MAX {
            return refuse(format!(
                "a commit of {bytes} bytes, at most {ARCHIVE_COMMIT_BYTES_MAX} may be"
            ));
        }
        Ok(())
    }
}

/// Whether a commit may stand after its parent: epochs rise, and in an epoch numbers do, and ticks do not fall.
fn follows(mark: &CommitMark, parent: &CommitMark) -> bool {
    let (now, before) = (mark.position, parent.position);
    now.epoch > before.epoch || (now.epoch == before.epoch && mark.number > parent.number && now.tick >= before.tick)
}

/// The answer to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitAnswer {
    /// It is done.
    Done(CommitReport),
    /// It was done before, and is the zone's last commit: as good as `Done`.
    Duplicate,
    /// The zone's last commit is this, and not the parent: nothing was done. If it is one that the caller sent and gave
    /// up, that one was done; the caller goes on after it. If it is older than what the caller knows to be done, the
    /// archive went back to a backup: the caller sends everything that it has, as the commit after this one.
    Moved {
        /// The last commit, if there is one.
        last: Option<CommitMark>,
    },
}

/// All of a commit that was not written as it was asked for, because something newer stands. A lost answer loses it; a
/// look at the accounts tells the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// Accounts whose row has a higher generation, or the same one in another place: theirs stays as it is. The zone
    /// no longer has the character.
    pub superseded: Vec<Account>,
    /// Accounts whose new name another account has: they keep their old one, if they have any, and all else is written.
    pub names_taken: Vec<Account>,
    /// Rows of ledger and audit that are marked as undone: ticks of the parent's history after `kept`.
    pub undone: u64,
}

/// A blob that the archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedBlob {
    /// The commit that made it, with the position of which it is.
    pub mark: CommitMark,
    /// Its parts and its length.
    pub blob: ArchiveBlob,
}

/// All that the archive has of a zone but for parts and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedZone {
    /// The zone.
    pub zone: ZoneName,
    /// The fence: the highest epoch seen, and the process that it was granted to.
    pub fence: (Epoch, Nonce),
    /// The last commit, if there is one.
    pub last: Option<CommitMark>,
    /// The blobs, the newest first: two, once there were two.
    pub blobs: Vec<ArchivedBlob>,
}

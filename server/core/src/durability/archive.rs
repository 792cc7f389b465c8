//! The archive: the durable database behind the state store, with blobs to restore zones from, and rows that people can
//! query. The trait is the contract, a conformance suite asks it of every implementation
//! (`everhold_store::conformance`), and no implementation is here.

pub mod row;
pub mod commit;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_protocol::{Account, Epoch, ZoneName};

pub use commit::{ArchiveBlob, ArchiveCommit, ArchivedBlob, ArchivedZone, CommitAnswer, CommitMark, CommitReport};
pub use row::{
    ArchivedAccount, ArchivedCharacter, ArchivedPayload, AuditRow, Belonging, CharacterPlace, CharacterRow,
    ColumnValue, LedgerKey, LedgerRow, WallMs,
};

use super::bans::Ban;
use crate::ownership::{DataStamp, Grant, Nonce, Tenure};

/// The number of an archive, drawn when its tables were made. Two archives that were made differ in it; a backup of one
/// has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveIdentity(pub [u8; 16]);

/// The reason why an archive did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ArchiveError {
    /// A higher epoch, or another nonce of this one, has fenced the zone: the caller is no longer the owner, and stops
    /// at once.
    #[error("fenced by epoch {epoch}")]
    Fenced {
        /// The epoch of the fence.
        epoch: Epoch,
    },
    /// The request cannot be carried out by any archive. Repeating it is of no use.
    #[error("refused: {0}")]
    Refused(String),
    /// The data that was read cannot be what was written.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// No answer, or not one that can be trusted. The outcome is *unknown*: ask again, or write the same again.
    #[error("the archive does not answer: {0}")]
    Unavailable(String),
}

/// The answer to the write of an account outside a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAnswer {
    /// It is written, or was before.
    Stored,
    /// The account has this generation, which is higher, or the same with something else: nothing was done.
    Newer {
        /// The generation that stands.
        generation: u64,
    },
    /// Another account has the name: nothing was done.
    NameTaken {
        /// That account.
        by: Account,
    },
}

/// The answer to a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionAnswer {
    /// The character is deleted, or was before in this generation.
    Deleted,
    /// The account has this generation, which is higher, or the same with a character: nothing was done.
    Newer {
        /// The generation that stands.
        generation: u64,
    },
    /// The account never had a character: nothing was done.
    Absent,
}

/// Returns the checksum that an archive keeps beside a payload or a part of a blob: BLAKE3.
#[must_use]
pub fn checksum(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Checks that the reader holds the fence; one without a grant may always read. `fence` is `None` for a zone that the
/// archive does not know.
///
/// # Errors
/// Another holds it, or the archive has forgotten that it was raised.
pub fn check_reader(fence: Option<(Epoch, Nonce)>, reader: Option<Grant>) -> Result<(), ArchiveError> {
    let Some(reader) = reader else { return Ok(()) };
    match fence {
        Some(fence) if fence == (reader.epoch(), reader.nonce()) => Ok(()),
        Some((epoch, _)) if epoch >= reader.epoch() => Err(ArchiveError::Fenced { epoch }),
        _ => Err(ArchiveError::Unavailable(
            "the zone's fence went back while it was read".to_owned(),
        )),
    }
}

/// Keeps what outlives the state store: for each zone a fence, a chain of commits, and the two newest blobs; for each
/// account a character; and beside them the rows of ledger and audit.
///
/// ```text
///   owner:    fence ─► zone ─► put_blob_part … ─► commit ─► commit ─► put_blob_part … ─► commit
///                               (under the mark    parent:   parent: the commit before
///                                of the commit)    zone's last
///   restore:  zones, or fence ─► zone ─► read_blob_part …      accounts(home) page by page
///   log-in:   account ─► put_account (a first character)
/// ```
///
/// # Who may call, and when
///
/// Only what is *released* is given to an archive: it is a sink like any other. The process that holds a [`Tenure`]
/// writes its zone under it. It calls [`Archive::fence`] before the first write of its epoch and before it reads what
/// it goes on from; every write compares the grant with the zone's fence in its own transaction. The fence is the
/// highest `(epoch, nonce)` that the archive has seen: a write of a higher epoch raises it, one of a lower epoch, or of
/// another nonce of the same epoch, is refused. A page that is asked for under a grant is given only while that grant
/// is the fence; without a grant anyone may read. Accounts have no fence: their generation decides, and any shard may
/// read and write one.
///
/// Commits of a zone are a chain: each names the last one, so none is lost and none is done twice. One is under way at
/// a time. An epoch's first commit names the last one of the epoch before, as [`Archive::zone`] answers *after* the
/// fence, and brings the rows of ticks after it that were replayed. If its epoch did not go on from all that the last
/// commit covers ([`ArchiveCommit::kept`] is before it), the rows of ledger and audit after that position, and those of
/// epochs after its own, are marked as undone, and its first commits bring *all* its characters: those that changed in
/// the undone ticks are told apart by nothing else. Rows up to that position stand again, if epochs after its own had
/// them undone: a store that was put back has brought their history back. A character whose generation is higher stays
/// as it is, and [`superseded`](CommitReport::superseded) says so: it has moved on, and the zone drops its own.
///
/// Two rows of one account are ordered by generation. Of the same generation the one stands that the zone of its place
/// writes. So a source that writes late never undoes what the destination wrote, and the payload of a character on its
/// way stands until the destination writes the character without one.
///
/// # What an answer means
///
/// - `Ok`: it is done, and outlives the death of the archive's own process. Every later call of any process sees it.
/// - [`ArchiveError::Fenced`]: nothing was done. [`ArchiveError::Refused`]: nothing was done, and never will be.
/// - [`ArchiveError::Corrupt`]: what is there cannot be read, or is not what was written; nothing was done.
/// - [`ArchiveError::Unavailable`]: *unknown*. A time-out, an answer over a connection that was lost, another archive
///   than the one that was opened: the call may have been done, or may still be done later, until the fence is raised.
///   It is never a no, and "there is none" is only what an `Ok` says. Every write may be repeated as it was, and a
///   repeat of one that was done succeeds without a second effect. A commit that shall not be repeated is *resolved*
///   instead: [`Archive::zone`] tells the zone's last commit. If that is the parent, the next one may be sent with
///   the same parent and a mark of its own. Should the one that was given up still arrive first, the answer is
///   [`CommitAnswer::Moved`], with its mark.
///
/// Zones are independent: what becomes of one is no obstacle to another. So are accounts, but for their names.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Returns the archive's number. A connection to another one is `Unavailable`: taken for this one, an empty
    /// database would say of every account that there is none.
    fn identity(&self) -> ArchiveIdentity;

    /// Raises the zone's fence to the grant, so that everyone below is shut out.
    async fn fence(&self, tenure: &Tenure) -> Result<(), ArchiveError>;

    /// Reads what there is of a zone but for parts and rows. `reader` is the grant of the fence, or `None`. An answer
    /// of `None`: the zone was never fenced here.
    async fn zone(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<ArchivedZone>, ArchiveError>;

    /// Writes one part of the blob of the commit that will have this mark: [`ARCHIVE_PART_BYTES_MAX`] bytes, but for
    /// the last one. Parts of commits that were given up are deleted by the next commit with a blob.
    ///
    /// [`ARCHIVE_PART_BYTES_MAX`]: crate::limits::ARCHIVE_PART_BYTES_MAX
    async fn put_blob_part(
        &self,
        tenure: &Tenure,
        mark: CommitMark,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), ArchiveError>;

    /// Does a commit, whole or not at all. A blob whose parts are not all there is `Corrupt`. Of the blobs two stay:
    /// this one and the one before.
    async fn commit(&self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError>;

    /// Reads a part of a blob. `None`: it is not there (any more). `Corrupt`: it is not what was written; the blob
    /// before, and the parts of this one, can be read all the same. `reader` as with [`Archive::zone`].
    async fn read_blob_part(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        mark: CommitMark,
        index: u32,
    ) -> Result<Option<Bytes>, ArchiveError>;

    /// Reads an account. `None`: the archive says that there never was a character.
    async fn account(&self, account: Account) -> Result<Option<ArchivedAccount>, ArchiveError>;

    /// Writes a character outside a zone: a first one, a new name, an operator's correction. It is written if its
    /// generation is higher than the one that stands, and its name is free.
    async fn put_account(&self, row: &CharacterRow, wall: WallMs) -> Result<AccountAnswer, ArchiveError>;

    /// Deletes the account's character, with its name, belongings, and payload, if `generation` is higher than the one
    /// that stands, and writes the audit row in the same transaction. What stays is that there was one, and the ledger.
    async fn delete_account(
        &self,
        account: Account,
        generation: u64,
        audit: &AuditRow,
    ) -> Result<DeletionAnswer, ArchiveError>;

    /// Reads the newest revision of an account's ban.
    async fn ban(&self, account: Account) -> Result<Option<Ban>, ArchiveError>;

    /// Writes a revision of an account's ban, which is an audit row, if it is higher than the one that stands, or is
    /// that one. Otherwise returns the one that stands.
    async fn put_ban(&self, ban: &Ban, wall: WallMs) -> Result<Option<Ban>, ArchiveError>;

    /// Reads a page of the newest revision of each ban, in a fixed order of accounts, after this one, as
    /// [`Archive::accounts`] does.
    async fn bans(&self, after: Option<Account>, rows: u32) -> Result<Vec<Ban>, ArchiveError>;

    /// Reads a page of zones, in order of name, after this one.
    async fn zones(&self, after: Option<&ZoneName>, rows: u32) -> Result<Vec<ArchivedZone>, ArchiveError>;

    /// Reads a page of accounts, in a fixed order, after this one: those in a zone, or all of them, deleted ones
    /// too. A page that is empty is the end; one that is too slow is asked for with fewer rows. At most
    /// [`ARCHIVE_PAGE_ROWS_MAX`](crate::limits::ARCHIVE_PAGE_ROWS_MAX) rows are given.
    async fn accounts(
        &self,
        home: Option<&ZoneName>,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError>;

    /// Reads a page as [`Archive::accounts`] does, of those in a zone whose row is of this tick or a later one, or of
    /// none: what changed since a commit, without all that rests.
    async fn accounts_since(
        &self,
        home: &ZoneName,
        since: DataStamp,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError>;

    /// Reads an account's belongings, in order of number. Those of a kind that this build does not declare are not
    /// among them.
    async fn belongings(&self, account: Account) -> Result<Vec<Belonging>, ArchiveError>;

    /// Reads a page of a zone's ledger, in order of tick, epoch, and place, after the row with this key. Rows that were
    /// taken back are not among them, and none of a kind of value that this build does not declare. A page that is
    /// empty is the end. At most [`LEDGER_PAGE_ROWS_MAX`](crate::limits::LEDGER_PAGE_ROWS_MAX) rows are given.
    async fn ledger(
        &self,
        zone: &ZoneName,
        after: Option<LedgerKey>,
        rows: u32,
    ) -> Result<Vec<LedgerRow>, ArchiveError>;
}

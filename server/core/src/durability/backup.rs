//! A backup: a world in one file, each zone as of one tick, with every character in exactly one place. It opens no
//! file and asks no store; what is read of a running world, and what a restore writes, drivers carry out.
//!
//! ```text
//!   of each zone:   the archive's rows, all of them ─────────────────────────────────────┐
//!                   the store's data ─replay─► the zone at tick T ─► the characters in it ─┤
//!                   the rows that changed meanwhile ──judged by T──────────────────────────┴► those at rest, ledger
//!                                   └── one shows a later tick: the zone is read again, at a later T
//! ```
//!
//! # Why it is consistent
//!
//! Nothing is stopped and nothing is locked, so a zone and its rows are read at different moments. A zone is a
//! function of its journal: its state at T is exact, whenever it is read. A character that rests leaves its zone
//! only when the archive has its row ([`zone`](crate::zone) `lodging`), and each row names the tick of which it is.
//! So for a character that the copy at T does not have, a row read after the copy was made says one of two things.
//! Its tick is T or before: then it rested at T, as this row has it, for to leave the zone once more it would have
//! needed a newer row. Or its tick is later: then the copy is too old to say what the character was at T, and the
//! zone is read again. A character that the copy has is as the copy has it, whatever the rows say. So value that
//! moved between two players of a zone is counted where it was at T, and no row of a later tick brings it a second
//! time ([`ZoneCopy::judge`]).
//!
//! A million rows take minutes to read, in which many of them change. So all are read before the copy is made, and
//! after it only those whose tick shows that they may have changed since the reading was begun. A row that is not
//! among those is the same as it was, and counts as if it had been read after the copy. What is read between the
//! tick T and the end is small, however many characters rest, and so is what has to be read again.
//!
//! Value moves within a zone, and a character wakes in the zone that it rested in the name of. So zones need not be
//! copied at one moment, and each is settled by itself: a large world does not have to stand still for it. An account
//! that is in the copies of two zones (it was deleted, and began anew elsewhere, between the two) has its higher
//! generation as the truth; the zone that has the lower one is read again, until it has it no more.
//!
//! # What is in it, and what is not
//!
//! World files, each zone's state with its sessions and timers, the characters at rest with their names and
//! belongings, deleted accounts by number and generation, and the ledger up to each zone's tick. Moves of value that
//! the archive did not have yet come from the zone's own history. Not in it: keys (a backup that is stolen signs no
//! tickets), evidence of divergent zones, rows of the ledger that were taken back, audit rows, and journals, which
//! the copy has made superfluous.
//!
//! # The file
//!
//! See [`mod@file`]. A zone that was read again stands in it twice: the last one counts.

pub mod file;
mod frame;
mod cut;
mod index;
mod marker;
#[cfg(test)]
mod tests;

pub use cut::{RowVerdict, ZoneCopy, is_same_row};
pub use file::{BackupError, BackupReader, BackupWriter};
pub use frame::{BackupCharacter, BackupFrame, BackupHeader, BackupWorld, BackupZone};
pub use index::{BackupIndex, ZoneLine};
pub use marker::{BackupId, RestoreMarker, RestoreUnfinished};

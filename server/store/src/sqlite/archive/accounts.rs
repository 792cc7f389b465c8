//! Writes of accounts outside a zone, in groups: a commit waits for the disk, and a thousand players who are born at
//! once must not make a thousand commits of it. What waits when the thread gets to it is written in one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everhold_core::durability::archive::{AccountAnswer, ArchiveError, CharacterRow, WallMs};
use tokio::sync::oneshot;

use super::commit::put_account;
use super::{ArchiveFile, SqliteArchive};

/// Bound on the rows of one commit: it holds the file for some milliseconds at most, and one commit for this many is as
/// good as none.
const GROUP_MAX: usize = 256;

type Outcome = Result<AccountAnswer, ArchiveError>;

/// A write that waits for its group. There are as many as callers who wait.
#[derive(Debug)]
struct AccountWrite {
    row: CharacterRow,
    wall: WallMs,
    answer: oneshot::Sender<Outcome>,
}

/// The writes that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountWrites(Arc<Mutex<Vec<AccountWrite>>>);

impl AccountWrites {
    /// Writes a row in the next group.
    pub(super) async fn put(&self, archive: &SqliteArchive, row: CharacterRow, wall: WallMs) -> Outcome {
        let (answer, answered) = oneshot::channel();
        self.lock().push(AccountWrite { row, wall, answer });
        let waiting = self.clone();
        // Every caller sends for the group; the first that is heard takes all, and the others find nothing left to do.
        archive.on_file(move |file| waiting.write_group(file)).await?;
        let given_up = || ArchiveError::Unavailable("the write was given up".to_owned());
        answered.await.unwrap_or_else(|_| Err(given_up()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AccountWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_group(&self, file: &mut ArchiveFile) -> Result<(), ArchiveError> {
        let group: Vec<AccountWrite> = {
            let mut waiting = self.lock();
            let count = waiting.len().min(GROUP_MAX);
            waiting.drain(..count).collect()
        };
        if group.is_empty() {
            return Ok(());
        }
        let together = write_all(file, &group);
        let mut outcomes = Vec::with_capacity(group.len());
        for (place, write) in group.iter().enumerate() {
            let outcome = match &together {
                Ok(answers) => Ok(answers[place]),
                // One of them cannot be written: it alone fails.
                Err(_) => write_all(file, std::slice::from_ref(write)).map(|mut answers| answers.remove(0)),
            };
            outcomes.push(outcome);
        }
        for (write, outcome) in group.into_iter().zip(outcomes) {
            // A caller that waits no longer asks again, and finds its write done.
            let _ = write.answer.send(outcome);
        }
        Ok(())
    }
}

/// Writes all rows in one transaction, or none.
fn write_all(archive: &mut ArchiveFile, group: &[AccountWrite]) -> Result<Vec<AccountAnswer>, ArchiveError> {
    let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
    archive.write(|file| {
        let put = |write: &AccountWrite| put_account(file, (&schema, &statements), &write.row, write.wall);
        group.iter().map(put).collect()
    })
}

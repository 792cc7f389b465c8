//! The answer to a write of an account outside a zone, from the row that stands. It reads nothing itself.

use everhold_core::durability::archive::{AccountAnswer, ArchivedAccount, CharacterRow, DeletionAnswer};

/// Returns the answer to a write that is not to be done: it was done before, or something newer stands. `None`: it is
/// to be done, if its name is free.
pub(crate) fn before_write(stands: Option<&ArchivedAccount>, row: &CharacterRow) -> Option<AccountAnswer> {
    let (generation, is_done) = match stands? {
        ArchivedAccount::Character(character) => (character.generation, character.is_as(row)),
        ArchivedAccount::Deleted { generation, .. } => (*generation, false),
    };
    if is_done {
        return Some(AccountAnswer::Stored);
    }
    (generation >= row.generation).then_some(AccountAnswer::Newer { generation })
}

/// Returns the answer to a deletion in `generation` that has deleted nothing.
pub(crate) fn undeleted(stands: Option<&ArchivedAccount>, generation: u64) -> DeletionAnswer {
    match stands {
        None => DeletionAnswer::Absent,
        Some(ArchivedAccount::Deleted { generation: stands, .. }) if *stands == generation => DeletionAnswer::Deleted,
        Some(ArchivedAccount::Deleted { generation, .. }) => DeletionAnswer::Newer {
            generation: *generation,
        },
        Some(ArchivedAccount::Character(character)) => DeletionAnswer::Newer {
            generation: character.generation,
        },
    }
}

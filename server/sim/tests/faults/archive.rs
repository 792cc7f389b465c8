//! The archive when it goes back to a backup, or to its first moment: what was written since is gone, the fence with
//! it, and an owner that goes on after it is told what is there.

use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveCommit, ArchiveError, CommitAnswer, CommitMark, CommitReport, WallMs,
};
use everhold_core::durability::store::Position;
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick};
use everhold_sim::archive::MemoryArchive;
use everhold_store::conformance::{suite_character, suite_schema, tenure};

use crate::zone;

/// A commit of one character, with a blob of one part that is not written yet.
fn commit(owner: &Tenure, parent: Option<CommitMark>, number: u64) -> ArchiveCommit {
    let position = Position {
        epoch: owner.epoch(),
        tick: Tick(number),
        ..Position::GENESIS
    };
    ArchiveCommit {
        mark: CommitMark { position, number },
        parent,
        kept: parent.map_or(Position::GENESIS, |parent| parent.position),
        wall: WallMs(1),
        blob: ArchiveBlob::of_bytes(5),
        characters: vec![suite_character(number, 1, &owner.zone)],
        ledger: Vec::new(),
        audit: Vec::new(),
    }
}

fn put(archive: &mut MemoryArchive, owner: &Tenure, commit: &ArchiveCommit) {
    archive.put_blob_part(owner, commit.mark, 0, "state".into()).unwrap();
    let answer = archive.commit(owner, commit).unwrap();
    assert_eq!(answer, CommitAnswer::Done(CommitReport::default()));
}

#[test]
fn backup_has_what_was_there_then_and_the_owner_is_told_so() {
    let owner = tenure(&zone("meadow"), 1, 1);
    let mut archive = MemoryArchive::new(suite_schema());
    let first = commit(&owner, None, 1);
    put(&mut archive, &owner, &first);
    let backup = archive.dump();
    let second = commit(&owner, Some(first.mark), 2);
    put(&mut archive, &owner, &second);
    archive.restore_to(&backup);
    assert_eq!(archive.accounts(None, None, 9).len(), 1);
    let third = commit(&owner, Some(second.mark), 3);
    archive.put_blob_part(&owner, third.mark, 0, "state".into()).unwrap();
    let moved = CommitAnswer::Moved { last: Some(first.mark) };
    assert_eq!(archive.commit(&owner, &third).unwrap(), moved);
    put(&mut archive, &owner, &commit(&owner, Some(first.mark), 4));
    let usage = archive.usage(&owner.zone);
    assert_eq!((usage.blobs, usage.stray_parts), (2, 0), "{usage:?}");
}

#[test]
fn fence_is_forgotten_with_all_else_and_shows_nothing_until_it_is_raised_again() {
    let owner = tenure(&zone("meadow"), 2, 1);
    let mut archive = MemoryArchive::new(suite_schema());
    let first = commit(&owner, None, 1);
    archive.put_blob_part(&owner, first.mark, 0, "state".into()).unwrap();
    archive.forget_everything();
    let damaged = archive.commit(&owner, &first);
    assert!(matches!(damaged, Err(ArchiveError::Corrupt(_))), "{damaged:?}");
    let unfenced = archive.zone(&owner.zone, Some(owner.grant));
    assert!(matches!(unfenced, Err(ArchiveError::Unavailable(_))), "{unfenced:?}");
    archive.fence(&owner).unwrap();
    let there = archive.zone(&owner.zone, Some(owner.grant)).unwrap().unwrap();
    assert_eq!((there.fence.0, there.last), (Epoch(2), None));
}

//! The part of the suite of [`Archive`] that concerns the blobs of zones: parts, the two newest, damage.

use bytes::{Bytes, BytesMut};
use everhold_core::durability::archive::{Archive, ArchiveBlob, ArchiveCommit, ArchiveError, ArchivedBlob, CommitMark};
use everhold_core::limits::ARCHIVE_PART_BYTES_MAX;
use everhold_core::ownership::Tenure;

use super::archive_database::ArchiveDatabase;
use super::archive_rows::{after, done, mark};
use super::history::{body, tenure, zone};

pub(super) async fn run(a: &impl Archive, b: &impl Archive, database: &impl ArchiveDatabase) {
    large_blob_comes_back_in_parts(a, b).await;
    blob_without_all_its_parts_is_no_blob(a).await;
    two_newest_blobs_stay(a, database).await;
    damaged_part_is_found_and_the_blob_before_is_whole(a, b, database).await;
}

/// Writes the parts of a blob, and returns what its commit says of it.
async fn put(archive: &impl Archive, tenure: &Tenure, mark: CommitMark, body: &Bytes) -> Option<ArchiveBlob> {
    let blob = ArchiveBlob::of_bytes(body.len() as u64).expect("a test's blob is small");
    for index in 0..blob.parts {
        let start = index as usize * ARCHIVE_PART_BYTES_MAX;
        let part = body.slice(start..body.len().min(start + ARCHIVE_PART_BYTES_MAX));
        archive.put_blob_part(tenure, mark, index, part).await.expect("written");
    }
    Some(blob)
}

/// Commits a blob.
async fn put_blob(archive: &impl Archive, tenure: &Tenure, mut commit: ArchiveCommit, body: &Bytes) -> CommitMark {
    commit.blob = put(archive, tenure, commit.mark, body).await;
    done(archive, tenure, &commit).await;
    commit.mark
}

async fn read(archive: &impl Archive, tenure: &Tenure, blob: &ArchivedBlob) -> Bytes {
    let mut body = BytesMut::new();
    for index in 0..blob.blob.parts {
        let part = archive
            .read_blob_part(&tenure.zone, Some(tenure.grant), blob.mark, index)
            .await;
        body.extend(part.expect("answered").expect("there"));
    }
    assert_eq!(body.len() as u64, blob.blob.bytes);
    body.freeze()
}

async fn large_blob_comes_back_in_parts(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-blob"), 1, 1);
    let large = body(5 * ARCHIVE_PART_BYTES_MAX + 17, 3);
    let commit = after(None, mark(1, 5, 1));
    let first = put_blob(a, &held, commit.clone(), &large).await;
    // A commit that carries rows alone leaves the blob the newest.
    done(a, &held, &after(Some(first), mark(1, 6, 2))).await;
    let there = b
        .zone(&held.zone, Some(held.grant))
        .await
        .expect("answered")
        .expect("there");
    let [blob] = &there.blobs[..] else { panic!("{there:?}") };
    assert_eq!((blob.mark, there.last), (first, Some(mark(1, 6, 2))));
    assert_eq!(read(b, &held, blob).await, large);
    assert_eq!(b.read_blob_part(&held.zone, None, first, 6).await, Ok(None));
    let empty = put_blob(a, &held, after(there.last, mark(1, 7, 3)), &Bytes::new()).await;
    let there = b.zone(&held.zone, None).await.expect("answered").expect("there");
    assert_eq!(there.blobs[0].mark, empty);
    assert_eq!(
        read(b, &held, &there.blobs[0]).await,
        Bytes::new(),
        "an empty one is one"
    );
}

async fn blob_without_all_its_parts_is_no_blob(archive: &impl Archive) {
    let held = tenure(&zone("arc-parts"), 1, 1);
    let mut commit = after(None, mark(1, 5, 1));
    let body = body(ARCHIVE_PART_BYTES_MAX + 1, 1);
    commit.blob = ArchiveBlob::of_bytes(body.len() as u64);
    let first = body.slice(..ARCHIVE_PART_BYTES_MAX);
    archive
        .put_blob_part(&held, commit.mark, 0, first)
        .await
        .expect("written");
    let incomplete = archive.commit(&held, &commit).await;
    assert!(matches!(incomplete, Err(ArchiveError::Corrupt(_))), "{incomplete:?}");
    let there = archive.zone(&held.zone, None).await.expect("answered").expect("there");
    assert_eq!((there.last, there.blobs), (None, Vec::new()), "nothing was done");
    let last = body.slice(ARCHIVE_PART_BYTES_MAX..);
    archive
        .put_blob_part(&held, commit.mark, 1, last)
        .await
        .expect("written");
    done(archive, &held, &commit).await;
}

async fn two_newest_blobs_stay(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-two"), 1, 1);
    let (mut parent, mut marks) = (None, Vec::new());
    for number in 1..=4 {
        if number == 3 {
            // Given up before its commit: its parts are strays.
            put(archive, &held, mark(1, 6, 30), &body(10, 9)).await;
        }
        let mark = mark(1, number, 10 * number);
        parent = Some(put_blob(archive, &held, after(parent, mark), &body(100, 1)).await);
        marks.push(mark);
    }
    // In a higher epoch, which numbers its commits anew.
    let heir = tenure(&held.zone, 2, 2);
    marks.push(put_blob(archive, &heir, after(parent, mark(2, 9, 1)), &body(100, 2)).await);
    let there = archive.zone(&held.zone, None).await.expect("answered").expect("there");
    let found: Vec<CommitMark> = there.blobs.iter().map(|blob| blob.mark).collect();
    assert_eq!(found, [marks[4], marks[3]], "the newest first");
    assert_eq!(database.blob_parts(&held.zone), 2, "no stray is left");
}

async fn damaged_part_is_found_and_the_blob_before_is_whole(
    a: &impl Archive,
    b: &impl Archive,
    database: &impl ArchiveDatabase,
) {
    let held = tenure(&zone("arc-damage"), 1, 1);
    let (old, new) = (body(300, 1), body(ARCHIVE_PART_BYTES_MAX + 300, 2));
    let first = put_blob(a, &held, after(None, mark(1, 5, 1)), &old).await;
    let second = put_blob(a, &held, after(Some(first), mark(1, 6, 2)), &new).await;
    database.damage_part(&held.zone, 2, 1);
    let damaged = b.read_blob_part(&held.zone, None, second, 1).await;
    assert!(matches!(damaged, Err(ArchiveError::Corrupt(_))), "{damaged:?}");
    let whole = b.read_blob_part(&held.zone, None, second, 0).await.expect("answered");
    assert_eq!(
        whole,
        Some(new.slice(..ARCHIVE_PART_BYTES_MAX)),
        "the other parts are what they were"
    );
    let there = b.zone(&held.zone, None).await.expect("answered").expect("there");
    assert_eq!(read(b, &held, &there.blobs[1]).await, old, "and so is the blob before");
}

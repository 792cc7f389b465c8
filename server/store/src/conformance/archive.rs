//! The suite of [`Archive`]: fences and the chain of commits. Accounts, blobs, and declarations are in the modules
//! beside.

use bytes::Bytes;
use everhold_core::durability::archive::{
    Archive, ArchiveCommit, ArchiveError, CommitAnswer, CommitMark, CommitReport,
};
use everhold_core::durability::store::Position;
use everhold_core::ownership::Nonce;
use everhold_protocol::{Account, EntityId, Epoch, Tick, ZoneName};

use super::archive_database::{ArchiveDatabase, KeptAuditRow, KeptLedgerRow, SqlDatabase};
use super::archive_rows::{after, audit, done, ledger, mark, suite_character, suite_schema};
use super::bans::archived_bans_conform;
use super::history::{tenure, zone};
use super::{archive_accounts, archive_blobs, archive_schema};

/// Runs the whole suite on a database that must be empty at first, and is asked in SQL as well.
///
/// # Panics
/// If the archive does not conform.
pub async fn sql_archive_conformance(database: &impl SqlDatabase) {
    archive_conformance(database).await;
    let archive = SqlDatabase::open(database, suite_schema())
        .await
        .expect("one more connection");
    archive_schema::run(&archive, database).await;
}

/// Runs the suite on a database that must be empty at first: all but what concerns tables of SQL.
///
/// # Panics
/// If the archive does not conform.
pub async fn archive_conformance(database: &impl ArchiveDatabase) {
    let a = database.open(suite_schema()).await.expect("an empty database");
    let b = database.open(suite_schema()).await.expect("a second connection");
    assert_eq!(a.identity(), b.identity(), "they are one archive");
    unknown_zone_is_none_and_takes_a_fence(&a, &b).await;
    lower_epoch_and_other_nonce_are_fenced(&a, &b).await;
    commit_that_is_repeated_has_one_effect(&a, &b, database).await;
    commit_after_another_parent_changes_nothing(&a, &b, database).await;
    commit_that_was_given_up_and_came_first_is_told_by_its_mark(&a, &b).await;
    ledger_row_of_one_key_stands_once(&a, database).await;
    ledger_is_read_page_by_page_without_what_was_undone(&a, &b).await;
    ticks_that_an_epoch_does_not_go_on_from_are_undone(&a, database).await;
    ticks_of_a_history_that_came_back_stand_again(&a, database).await;
    commit_without_sense_is_refused_and_leaves_the_chain(&a).await;
    zones_are_read_page_by_page(&a).await;
    archive_accounts::run(&a, &b, database).await;
    archive_blobs::run(&a, &b, database).await;
    archived_bans_conform(&a, &b, database).await;
}

fn assert_fenced<T: std::fmt::Debug>(result: Result<T, ArchiveError>, by: u32) {
    assert!(
        matches!(result, Err(ArchiveError::Fenced { epoch }) if epoch == Epoch(by)),
        "not fenced by {by}: {result:?}"
    );
}

async fn unknown_zone_is_none_and_takes_a_fence(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-new"), 3, u64::MAX);
    assert_eq!(a.zone(&held.zone, None).await.expect("answered"), None);
    let forgotten = a.zone(&held.zone, Some(held.grant)).await;
    assert!(matches!(forgotten, Err(ArchiveError::Unavailable(_))), "{forgotten:?}");
    for _ in 0..2 {
        a.fence(&held).await.expect("a new zone, and a harmless repeat");
    }
    let there = b
        .zone(&held.zone, Some(held.grant))
        .await
        .expect("answered")
        .expect("there");
    assert_eq!(there.fence, (Epoch(3), Nonce(u64::MAX)));
    assert_eq!((there.last, there.blobs), (None, Vec::new()), "a fence is no data");
}

async fn lower_epoch_and_other_nonce_are_fenced(a: &impl Archive, b: &impl Archive) {
    let old = tenure(&zone("arc-fence"), 1, 1 << 53);
    let other = tenure(&old.zone, 1, (1 << 53) + 1);
    let new = tenure(&old.zone, 2, 5);
    a.fence(&old).await.expect("a new zone");
    assert_fenced(b.fence(&other).await, 1);
    let first = after(None, mark(1, 4, 1));
    assert_fenced(b.commit(&other, &first).await, 1);
    done(a, &old, &first).await;
    let next = after(Some(first.mark), mark(2, 5, 1));
    done(b, &new, &next).await;
    assert_fenced(a.fence(&old).await, 2);
    assert_fenced(a.commit(&old, &after(Some(first.mark), mark(1, 5, 2))).await, 2);
    assert_fenced(a.put_blob_part(&old, mark(1, 5, 2), 0, Bytes::new()).await, 2);
    assert_fenced(a.zone(&old.zone, Some(old.grant)).await, 2);
    assert_fenced(a.read_blob_part(&old.zone, Some(old.grant), first.mark, 0).await, 2);
    let there = a.zone(&old.zone, None).await.expect("answered").expect("there");
    assert_eq!(
        (there.fence, there.last),
        ((Epoch(2), Nonce(5)), Some(next.mark)),
        "the write raised it"
    );
}

/// A commit with a row for every table.
fn full_commit(home: &ZoneName, accounts: [u64; 2]) -> ArchiveCommit {
    let mut commit = after(None, mark(1, 10, 1));
    commit.characters = accounts.map(|account| suite_character(account, 1, home)).to_vec();
    commit.characters[0].name = Some(format!("Ann of {home}"));
    commit.ledger = vec![ledger(1, 9, 0), ledger(1, 9, 1)];
    commit.audit = vec![audit(1, 10, "joined", accounts[0])];
    commit
}

async fn commit_that_is_repeated_has_one_effect(a: &impl Archive, b: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-repeat"), 1, 1);
    let commit = full_commit(&held.zone, [100, 101]);
    done(a, &held, &commit).await;
    for link in [0, 1] {
        let again = if link == 0 {
            a.commit(&held, &commit).await
        } else {
            b.commit(&held, &commit).await
        };
        assert_eq!(again.expect("answered"), CommitAnswer::Duplicate);
    }
    assert_eq!(database.residents(&held.zone), [100, 101]);
    let rows = (
        database.ledger(&held.zone).len(),
        database.audit(Some(&held.zone)).len(),
    );
    assert_eq!(rows, (2, 1));
    let last = b.zone(&held.zone, None).await.expect("answered").expect("there").last;
    assert_eq!(last, Some(commit.mark));
}

async fn commit_after_another_parent_changes_nothing(
    a: &impl Archive,
    b: &impl Archive,
    database: &impl ArchiveDatabase,
) {
    let held = tenure(&zone("arc-moved"), 1, 1);
    let first = after(None, mark(1, 5, 1));
    done(a, &held, &first).await;
    let mut stray = full_commit(&held.zone, [110, 111]);
    let moved = CommitAnswer::Moved { last: Some(first.mark) };
    for parent in [None, Some(mark(1, 5, 2)), Some(mark(1, 6, 1))] {
        stray.mark.number = 9;
        (stray.parent, stray.kept) = (parent, after(parent, stray.mark).kept);
        assert_eq!(b.commit(&held, &stray).await.expect("answered"), moved, "{parent:?}");
    }
    assert_eq!(database.residents(&held.zone), [], "nothing was done");
    (stray.parent, stray.kept) = (Some(first.mark), first.mark.position);
    done(b, &held, &stray).await;
    let stale = a.commit(&held, &after(None, first.mark)).await.expect("answered");
    assert_eq!(
        stale,
        CommitAnswer::Moved { last: Some(stray.mark) },
        "the first is done and no longer the last"
    );
    let newest = after(None, mark(2, 1, 1));
    let none = a
        .commit(
            &tenure(&zone("arc-never"), 2, 1),
            &after(Some(first.mark), mark(2, 6, 1)),
        )
        .await;
    assert_eq!(
        none.expect("answered"),
        CommitAnswer::Moved { last: None },
        "a backup has forgotten the zone"
    );
    done(a, &tenure(&zone("arc-never"), 2, 1), &newest).await;
}

async fn commit_that_was_given_up_and_came_first_is_told_by_its_mark(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-late"), 1, 1);
    let given_up = after(None, mark(1, 5, 1));
    let instead = after(None, mark(1, 6, 2));
    let (first, second) = tokio::join!(a.commit(&held, &given_up), b.commit(&held, &instead));
    let done = CommitAnswer::Done(CommitReport::default());
    let moved = |last: CommitMark| CommitAnswer::Moved { last: Some(last) };
    match (first.expect("answered"), second.expect("answered")) {
        (first, second) if first == done => assert_eq!(second, moved(given_up.mark)),
        (first, second) => assert_eq!((first, second), (moved(instead.mark), done)),
    }
}

async fn ledger_row_of_one_key_stands_once(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-ledger"), 1, 1);
    let mut first = after(None, mark(1, 5, 1));
    first.ledger = vec![ledger(1, 5, 0)];
    first.audit = vec![audit(1, 5, "joined", 1)];
    done(archive, &held, &first).await;
    let mut second = after(Some(first.mark), mark(1, 6, 2));
    (second.ledger, second.audit) = (first.ledger.clone(), first.audit.clone());
    second.ledger.push(ledger(1, 6, 0));
    done(archive, &held, &second).await;
    let row = |tick| KeptLedgerRow {
        stamp: (1, tick),
        seq: 0,
        command: Some((EntityId::new(1, 7).0, 3)),
        value: "wealth".to_owned(),
        amount: 5,
        parties: (Some(1), None),
        undone_by: None,
    };
    assert_eq!(database.ledger(&held.zone), [row(5), row(6)]);
    assert_eq!(database.audit(Some(&held.zone)).len(), 1);
}

async fn ledger_is_read_page_by_page_without_what_was_undone(a: &impl Archive, b: &impl Archive) {
    let zone = zone("arc-ledger-pages");
    assert_eq!(
        a.ledger(&zone, None, 9).await.expect("answered"),
        [],
        "an unknown zone has none"
    );
    let mut first = after(None, mark(1, 9, 1));
    let rows = [ledger(1, 5, 0), ledger(1, 5, 1), ledger(1, 9, 0)];
    first.ledger = rows.to_vec();
    done(a, &tenure(&zone, 1, 1), &first).await;
    assert_eq!(b.ledger(&zone, None, 2).await.expect("answered"), rows[..2]);
    let after_two = b.ledger(&zone, Some(rows[1].key()), 2).await;
    assert_eq!(after_two.expect("answered"), rows[2..]);
    let end = b.ledger(&zone, Some(rows[2].key()), 2).await;
    assert_eq!(end.expect("answered"), []);
    // The next epoch goes on from tick 5: the row of tick 9 was taken back, and another one is in its place.
    let kept = mark(1, 5, 0).position;
    let mut second = after(Some(first.mark), mark(2, 9, 1));
    (second.kept, second.ledger) = (kept, vec![ledger(2, 9, 0)]);
    let answer = b.commit(&tenure(&zone, 2, 2), &second).await.expect("answered");
    assert!(
        matches!(answer, CommitAnswer::Done(CommitReport { undone: 1, .. })),
        "{answer:?}"
    );
    let whole = a.ledger(&zone, None, 9).await.expect("answered");
    assert_eq!(whole, [ledger(1, 5, 0), ledger(1, 5, 1), ledger(2, 9, 0)]);
}

async fn ticks_that_an_epoch_does_not_go_on_from_are_undone(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let zone = zone("arc-undone");
    let mut first = after(None, mark(1, 9, 1));
    first.ledger = (5..10).map(|tick| ledger(1, tick, 0)).collect();
    first.audit = vec![audit(1, 7, "joined", 1), audit(1, 8, "left", 1)];
    done(archive, &tenure(&zone, 1, 1), &first).await;
    // Epoch 2 went on from tick 7, and its ticks up to 9 were replayed by epoch 3, which commits first.
    let mut second = after(Some(first.mark), mark(3, 12, 1));
    second.kept.tick = Tick(7);
    second.ledger = vec![ledger(2, 8, 0), ledger(3, 11, 0)];
    second.audit = vec![audit(2, 8, "joined", 2)];
    let answer = archive.commit(&tenure(&zone, 3, 3), &second).await.expect("answered");
    let undone = CommitReport {
        undone: 3,
        ..CommitReport::default()
    };
    assert_eq!(answer, CommitAnswer::Done(undone));
    let ledger: Vec<_> = database
        .ledger(&zone)
        .iter()
        .map(|row| (row.stamp, row.undone_by))
        .collect();
    let (stand, undone) = (
        [5, 6, 7].map(|tick| ((1, tick), None)),
        [8, 9].map(|tick| ((1, tick), Some(3))),
    );
    assert_eq!(ledger[..5], [&stand[..], &undone].concat());
    assert_eq!(ledger[5..], [((2, 8), None), ((3, 11), None)]);
    let audit = |row: &KeptAuditRow| (row.stamp, row.undone_by);
    let audit: Vec<_> = database.audit(Some(&zone)).iter().map(audit).collect();
    assert_eq!(
        audit,
        [(Some((1, 7)), None), (Some((1, 8)), Some(3)), (Some((2, 8)), None)]
    );
}

/// A store that lost a zone, so that it began again, is put back to before that.
async fn ticks_of_a_history_that_came_back_stand_again(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let zone = zone("arc-again");
    let mut first = after(None, mark(1, 9, 1));
    first.ledger = (5..10).map(|tick| ledger(1, tick, 0)).collect();
    first.audit = vec![audit(1, 7, "joined", 1), audit(1, 9, "left", 1)];
    done(archive, &tenure(&zone, 1, 1), &first).await;
    let undone = |undone| {
        CommitAnswer::Done(CommitReport {
            undone,
            ..CommitReport::default()
        })
    };
    // Epoch 2 went on from tick 6, epoch 3 began again, and epoch 4 goes on from tick 8 of epoch 2.
    let mut second = after(Some(first.mark), mark(2, 8, 1));
    second.kept.tick = Tick(6);
    second.ledger = vec![ledger(2, 7, 0)];
    let answer = archive.commit(&tenure(&zone, 2, 2), &second).await;
    assert_eq!(answer.expect("answered"), undone(5));
    let mut third = after(Some(second.mark), mark(3, 7, 1));
    third.kept = Position::GENESIS;
    third.ledger = vec![ledger(3, 1, 0)];
    let answer = archive.commit(&tenure(&zone, 3, 3), &third).await;
    assert_eq!(answer.expect("answered"), undone(3));
    let mut fourth = after(Some(third.mark), mark(4, 9, 1));
    fourth.kept = second.mark.position;
    let answer = archive.commit(&tenure(&zone, 4, 4), &fourth).await;
    assert_eq!(answer.expect("answered"), undone(1), "of ticks before");
    let ledger = database.ledger(&zone);
    let ledger: Vec<_> = ledger.iter().map(|row| (row.stamp, row.undone_by)).collect();
    let (stand, taken_back) = (
        [5, 6].map(|tick| ((1, tick), None)),
        [7, 8, 9].map(|tick| ((1, tick), Some(2))),
    );
    assert_eq!(ledger[..5], [&stand[..], &taken_back].concat());
    assert_eq!(ledger[5..], [((2, 7), None), ((3, 1), Some(4))]);
    let audit = database.audit(Some(&zone));
    let audit: Vec<_> = audit.iter().map(|row| (row.stamp, row.undone_by)).collect();
    assert_eq!(audit, [(Some((1, 7)), Some(2)), (Some((1, 9)), Some(2))]);
}

async fn commit_without_sense_is_refused_and_leaves_the_chain(archive: &impl Archive) {
    let held = tenure(&zone("arc-refused"), 1, 1);
    let mut commit = full_commit(&held.zone, [120, 121]);
    commit.ledger[0].value = 99;
    let refused = archive.commit(&held, &commit).await;
    assert!(matches!(refused, Err(ArchiveError::Refused(_))), "{refused:?}");
    assert_eq!(archive.account(Account(120)).await.expect("answered"), None);
    commit.ledger[0].value = 1;
    done(archive, &held, &commit).await;
}

async fn zones_are_read_page_by_page(archive: &impl Archive) {
    // Names that databases sort otherwise if they are not told: the order is that of bytes.
    let mut names: Vec<ZoneName> = ["page-b", "page-a", "page-a2", "page-z"].map(zone).to_vec();
    for name in &names {
        archive.fence(&tenure(name, 1, 1)).await.expect("a new zone");
    }
    names.sort();
    let (mut found, mut after): (Vec<ZoneName>, _) = (Vec::new(), None);
    loop {
        let page = archive.zones(after.as_ref(), 2).await.expect("answered");
        assert!(page.len() <= 2, "{page:?}");
        let Some(last) = page.last() else { break };
        after = Some(last.zone.clone());
        found.extend(page.into_iter().map(|zone| zone.zone));
    }
    assert!(found.is_sorted(), "{found:?}");
    found.retain(|name| name.as_str().starts_with("page-"));
    assert_eq!(found, names);
}

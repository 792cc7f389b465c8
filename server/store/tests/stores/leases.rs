//! Leases in the file that all shards of a host share.

use std::time::Duration;

use everhold_core::ownership::{Authority, AuthorityError, DataStamp, Nonce, OwnerMark, Renewal, RulesTag};
use everhold_protocol::{Epoch, Tick};
use everhold_store::conformance::{reinstate, renew, tenure};
use everhold_store::sqlite::SqliteAuthority;

use crate::{directory, terms, zone};

#[tokio::test]
async fn lease_that_makes_no_sense_costs_its_own_zone_alone_until_it_is_put_back() {
    let directory = directory();
    let (holder, spare) = (
        SqliteAuthority::open(directory.path()).unwrap(),
        SqliteAuthority::open(directory.path()).unwrap(),
    );
    let held = tenure(&zone(), 3, 1);
    reinstate(&holder, &held, terms(), 5).await.unwrap();
    holder.declare_zone(&"whole".parse().unwrap()).await.unwrap();
    let file = rusqlite::Connection::open(directory.path().join("world.db")).unwrap();
    let nameless = "INSERT INTO lease (zone, epoch, nonce, beat, released, addr, players) VALUES ('no name!', 0, 0, 0, \
                    1, '0.0.0.0:0', 0)";
    file.execute_batch(nameless).unwrap();
    for damage in ["addr = 'nowhere'", "epoch = -1", "players = -7"] {
        let damage = format!("UPDATE lease SET {damage} WHERE zone = 'meadow'");
        file.execute_batch(&damage).unwrap();
        let leases = spare.leases().await.unwrap();
        assert_eq!((leases.views.len(), leases.damaged), (1, [zone()].into()), "{damage}");
        let renewed = renew(&holder, &held, 5).await;
        assert!(matches!(renewed, Err(AuthorityError::ZoneUnknown(_))), "{renewed:?}");
        reinstate(&holder, &held, terms(), 5).await.unwrap();
        renew(&holder, &held, 5).await.unwrap();
        file.execute_batch(&damage).unwrap();
        spare.declare_zone(&zone()).await.unwrap();
        assert!(
            spare.leases().await.unwrap().views.iter().all(|view| view.released),
            "{damage}"
        );
        reinstate(&holder, &held, terms(), 5).await.unwrap();
    }
}

/// A commit of `world.db` is on the disk before it is answered, which takes long; that of many zones takes no longer.
#[tokio::test]
async fn renewals_of_many_zones_are_one_commit() {
    let directory = directory();
    let holder = SqliteAuthority::open(directory.path()).unwrap();
    let renewal = |number| Renewal {
        tenure: tenure(&format!("zone-{number}").parse().unwrap(), 3, 1),
        players: 1,
        mark: None,
    };
    let renewals: Vec<Renewal> = (0..500).map(renewal).collect();
    assert!(holder.reinstate(&renewals, terms()).await.iter().all(Result::is_ok));
    let reader = rusqlite::Connection::open(directory.path().join("world.db")).unwrap();
    // The first of the log's frames that end a commit is counted by how far the log grew: a page a zone's row lies on,
    // not one for each zone.
    let frames = || -> i64 {
        let pragma = "PRAGMA wal_checkpoint(PASSIVE)";
        reader.query_row(pragma, [], |row| row.get(1)).unwrap()
    };
    let before = frames();
    assert!(holder.renew(&renewals).await.iter().all(Result::is_ok));
    let grown = frames() - before;
    assert!(
        grown < 100,
        "500 rows lie on few pages, each of which is written once: {grown}"
    );
}

/// The file of an earlier build has no ttl and no mark in its leases, and that build goes on reading and writing it.
#[tokio::test]
async fn lease_of_an_earlier_build_has_no_ttl_and_no_mark_and_is_one_all_the_same() {
    let directory = directory();
    drop(SqliteAuthority::open(directory.path()).unwrap());
    let file = rusqlite::Connection::open(directory.path().join("world.db")).unwrap();
    file.execute_batch(
        "ALTER TABLE lease DROP COLUMN ttl_ms;
         ALTER TABLE lease DROP COLUMN mark;
         INSERT INTO lease (zone, epoch, nonce, beat, released, addr, players)
         VALUES ('meadow', 3, 1, 7, 0, '127.0.0.1:1', 5)",
    )
    .unwrap();
    let (old, new) = (file, SqliteAuthority::open(directory.path()).unwrap());
    let seen = new.leases().await.unwrap().views;
    assert_eq!(
        (seen[0].epoch, seen[0].players, seen[0].ttl, seen[0].mark),
        (Epoch(3), 5, Duration::ZERO, None)
    );
    let longer = new.claim(&seen[0], Nonce(2), terms(), Epoch::NONE).await.unwrap();
    let hosted = Renewal {
        tenure: longer,
        players: 5,
        mark: Some(OwnerMark {
            data: DataStamp {
                epoch: Epoch(4),
                tick: Tick(9),
            },
            rules: RulesTag::new(&[1; 32]),
        }),
    };
    assert!(new.renew(std::slice::from_ref(&hosted)).await[0].is_ok());
    old.execute_batch("UPDATE lease SET epoch = 5, nonce = 3, beat = beat + 1 WHERE zone = 'meadow'")
        .unwrap();
    let seen = new.leases().await.unwrap().views;
    assert_eq!(
        (seen[0].epoch, seen[0].ttl),
        (Epoch(5), terms().ttl),
        "waited for longer than it need be"
    );
    assert_eq!(seen[0].mark, hosted.mark, "of the owner that said so");
    old.execute_batch("UPDATE lease SET mark = 'no mark'").unwrap();
    let seen = new.leases().await.unwrap();
    assert_eq!(
        (seen.views[0].mark, seen.damaged.len()),
        (None, 0),
        "it is a lease all the same"
    );
}

#[tokio::test]
async fn release_is_heard_after_the_directory_was_deleted() {
    let parent = directory();
    let directory = parent.path().join("world");
    let holder = SqliteAuthority::open(&directory).unwrap();
    let spare = SqliteAuthority::open(&directory).unwrap();
    let held = tenure(&zone(), 3, 1);
    std::fs::remove_dir_all(&directory).unwrap();
    reinstate(&holder, &held, terms(), 5).await.unwrap();
    assert_eq!(spare.leases().await.unwrap().views.len(), 1);
    // The watch is there, whether somebody waits already or not.
    holder.release(&held).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(20), spare.wait_for_release()).await;
    assert!(heard.is_ok() && spare.leases().await.unwrap().views[0].released);
}

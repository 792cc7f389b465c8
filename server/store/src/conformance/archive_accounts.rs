//! The part of the suite of [`Archive`] that concerns accounts: generations, names, deletion, payloads, belongings,
//! pages.

use bytes::Bytes;
use everhold_core::durability::archive::{
    AccountAnswer, Archive, ArchivedAccount, ArchivedCharacter, ArchivedPayload, AuditRow, Belonging, CharacterPlace,
    ColumnValue, CommitAnswer, CommitReport, DeletionAnswer, WallMs,
};
use everhold_core::ownership::DataStamp;
use everhold_protocol::{Account, Epoch, Tick, ZoneName};

use super::archive_database::{ArchiveDatabase, KeptAuditRow};
use super::archive_rows::{after, at_rest, done, mark, suite_character};
use super::history::{tenure, zone};

/// The time of every write here.
const WALL: WallMs = WallMs(77);

pub(super) async fn run(a: &impl Archive, b: &impl Archive, database: &impl ArchiveDatabase) {
    account_that_never_was_is_none(a).await;
    values_come_back_as_they_were_written(a, b).await;
    older_generation_never_overwrites_a_newer_one(a, b).await;
    zone_and_destination_write_in_order_of_generation(a, b).await;
    names_are_unique_whatever_their_case(a, b).await;
    taken_name_does_not_hold_up_a_commit(a, database).await;
    deleted_character_stays_deleted(a, b, database).await;
    belongings_are_replaced(a, database).await;
    accounts_are_read_page_by_page(a, b).await;
    accounts_that_changed_are_read_without_the_others(a, b).await;
    damaged_payload_is_told_apart_from_none(a, database).await;
}

async fn character(archive: &impl Archive, account: u64) -> ArchivedCharacter {
    match archive.account(Account(account)).await.expect("answered") {
        Some(ArchivedAccount::Character(character)) => *character,
        other => panic!("account {account} has no character: {other:?}"),
    }
}

async fn account_that_never_was_is_none(archive: &impl Archive) {
    assert_eq!(archive.account(Account(200)).await.expect("answered"), None);
    assert_eq!(archive.belongings(Account(200)).await.expect("answered"), []);
}

async fn values_come_back_as_they_were_written(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-values"), 2, 1);
    let extremes = [
        (u64::MAX, i64::MIN, f64::MIN),
        (1 << 63, i64::MAX, f64::MIN_POSITIVE),
        (201, 0, -0.0),
    ];
    let mut commit = after(None, mark(2, 40, 1));
    for (account, number, real) in extremes {
        let mut row = suite_character(account, 3, &held.zone);
        row.payload = Some(Bytes::from(vec![0, 255, account.to_le_bytes()[0]]));
        row.name = Some(format!("Ä'{account}\"\\"));
        let text = ColumnValue::Text("a'b\"c\\d\te\n\u{1F409}".to_owned());
        row.columns = vec![
            ColumnValue::Integer(number),
            ColumnValue::Real(real),
            text,
            ColumnValue::Bool(false),
        ];
        commit.characters.push(row);
    }
    done(a, &held, &commit).await;
    for row in &commit.characters {
        let found = character(b, row.account.0).await;
        let expected = ArchivedCharacter {
            account: row.account,
            generation: 3,
            place: row.place.clone(),
            name: row.name.clone(),
            payload: ArchivedPayload::Whole(row.payload.clone().expect("it has one")),
            last_payload: None,
            columns: row.columns.clone(),
            stamp: Some(DataStamp {
                epoch: Epoch(2),
                tick: Tick(40),
            }),
            wall: commit.wall,
        };
        assert_eq!(found, expected);
    }
}

async fn older_generation_never_overwrites_a_newer_one(a: &impl Archive, b: &impl Archive) {
    let newer = |generation| AccountAnswer::Newer { generation };
    let rest = |generation, payload: &[u8]| at_rest(210, generation, payload);
    assert_eq!(
        a.put_account(&rest(5, b"five"), WALL).await.expect("answered"),
        AccountAnswer::Stored
    );
    assert_eq!(
        b.put_account(&rest(5, b"five"), WALL).await.expect("a repeat"),
        AccountAnswer::Stored
    );
    assert_eq!(
        b.put_account(&rest(5, b"else"), WALL).await.expect("answered"),
        newer(5)
    );
    assert_eq!(
        b.put_account(&rest(4, b"four"), WALL).await.expect("answered"),
        newer(5)
    );
    assert_eq!(
        a.put_account(&rest(6, b"six"), WALL).await.expect("answered"),
        AccountAnswer::Stored
    );
    let found = character(b, 210).await;
    let payload = ArchivedPayload::Whole(Bytes::from_static(b"six"));
    assert_eq!((found.generation, found.payload, found.stamp), (6, payload, None));
}

async fn zone_and_destination_write_in_order_of_generation(a: &impl Archive, b: &impl Archive) {
    let (source, target) = (tenure(&zone("arc-source"), 1, 1), tenure(&zone("arc-target"), 1, 1));
    let at = |generation, home: &ZoneName| suite_character(220, generation, home);
    let mut left = after(None, mark(1, 5, 1));
    left.characters = vec![at(1, &source.zone)];
    done(a, &source, &left).await;
    // On its way: the source writes the place and the payload, the destination that it has arrived.
    let mut moving = at(2, &target.zone);
    moving.payload = Some(Bytes::from_static(b"baggage"));
    let mut sent = after(Some(left.mark), mark(1, 6, 2));
    sent.characters = vec![moving];
    done(a, &source, &sent).await;
    assert_eq!(
        character(b, 220).await.payload,
        ArchivedPayload::Whole(Bytes::from_static(b"baggage"))
    );
    let mut arrived = after(None, mark(1, 70, 1));
    arrived.characters = vec![at(2, &target.zone)];
    done(b, &target, &arrived).await;
    // The source once more, late, and what it had before.
    let superseded = CommitReport {
        superseded: vec![Account(220)],
        ..CommitReport::default()
    };
    for (number, row) in [(3, sent.characters[0].clone()), (4, at(1, &source.zone))] {
        let parent = a.zone(&source.zone, None).await.expect("answered").expect("there").last;
        let mut late = after(parent, mark(1, 7, number));
        late.characters = vec![row];
        let answer = a.commit(&source, &late).await.expect("answered");
        assert_eq!(answer, CommitAnswer::Done(superseded.clone()));
    }
    let found = character(a, 220).await;
    assert_eq!((found.generation, found.payload), (2, ArchivedPayload::Absent));
    assert_eq!(found.place, CharacterPlace::Zone(target.zone.clone()));
    assert_eq!(found.stamp.map(|stamp| stamp.tick), Some(Tick(70)));
    // The same generation again, by the zone that has it.
    let mut changed = after(Some(arrived.mark), mark(1, 71, 2));
    changed.characters = vec![at(2, &target.zone)];
    changed.characters[0].columns[0] = ColumnValue::Integer(-9);
    done(b, &target, &changed).await;
    assert_eq!(character(a, 220).await.columns[0], ColumnValue::Integer(-9));
}

async fn names_are_unique_whatever_their_case(a: &impl Archive, b: &impl Archive) {
    let named = |account, generation, name: &str| {
        let mut row = at_rest(account, generation, b"x");
        row.name = Some(name.to_owned());
        row
    };
    let put = async |account, generation, name: &str| {
        let row = named(account, generation, name);
        a.put_account(&row, WALL).await.expect("answered")
    };
    assert_eq!(put(230, 1, "Örn").await, AccountAnswer::Stored);
    let taken = b.put_account(&named(231, 1, "ÖRN"), WALL).await.expect("answered");
    assert_eq!(taken, AccountAnswer::NameTaken { by: Account(230) });
    assert_eq!(
        b.account(Account(231)).await.expect("answered"),
        None,
        "nothing was done"
    );
    assert_eq!(
        put(230, 2, "örn").await,
        AccountAnswer::Stored,
        "its own, in another case"
    );
    assert_eq!(put(230, 3, "Ina").await, AccountAnswer::Stored);
    assert_eq!(put(231, 1, "ÖRN").await, AccountAnswer::Stored, "it is free again");
    assert_eq!(character(b, 230).await.name.as_deref(), Some("Ina"));
    let (first, second) = (named(232, 1, "Both"), named(233, 1, "both"));
    let (first, second) = tokio::join!(a.put_account(&first, WALL), b.put_account(&second, WALL));
    let both = [first.expect("answered"), second.expect("answered")];
    let stored = both.iter().filter(|answer| **answer == AccountAnswer::Stored);
    assert_eq!(stored.count(), 1, "{both:?}");
}

async fn taken_name_does_not_hold_up_a_commit(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-names"), 1, 1);
    let mut first = after(None, mark(1, 5, 1));
    first.characters = [240, 241]
        .map(|account| suite_character(account, 1, &held.zone))
        .to_vec();
    first.characters[0].name = Some("Una".to_owned());
    first.characters[1].name = Some("Duo".to_owned());
    done(archive, &held, &first).await;
    let mut second = after(Some(first.mark), mark(1, 6, 2));
    second.characters = [240, 241, 242]
        .map(|account| suite_character(account, 1, &held.zone))
        .to_vec();
    second.characters[1].name = Some("UNA".to_owned());
    second.characters[1].columns[0] = ColumnValue::Integer(12);
    second.characters[2].name = Some("Tre".to_owned());
    let answer = archive.commit(&held, &second).await.expect("answered");
    let names_taken = vec![Account(241)];
    assert_eq!(
        answer,
        CommitAnswer::Done(CommitReport {
            names_taken,
            ..CommitReport::default()
        })
    );
    let names = [240, 241, 242].map(|account| database.name(account));
    assert_eq!(names, ["Una", "Duo", "Tre"].map(|name| Some(name.to_owned())));
    assert_eq!(
        character(archive, 241).await.columns[0],
        ColumnValue::Integer(12),
        "all else is written"
    );
}

async fn accounts_that_changed_are_read_without_the_others(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-since"), 1, 1);
    let mut first = after(None, mark(1, 5, 1));
    first.characters = [360, 361, 362]
        .map(|account| suite_character(account, 1, &held.zone))
        .to_vec();
    done(a, &held, &first).await;
    let mut second = after(Some(first.mark), mark(1, 8, 2));
    second.characters = vec![suite_character(361, 2, &held.zone)];
    done(a, &held, &second).await;
    // Outside a zone: of no tick.
    let reserved = suite_character(363, 1, &held.zone);
    a.put_account(&reserved, WALL).await.expect("answered");
    let since = async |epoch, tick, after, rows| {
        let stamp = DataStamp {
            epoch: Epoch(epoch),
            tick: Tick(tick),
        };
        let page = b
            .accounts_since(&held.zone, stamp, after, rows)
            .await
            .expect("answered");
        page.iter().map(|row| row.account().0).collect::<Vec<_>>()
    };
    assert_eq!(
        since(1, 5, None, 9).await,
        [360, 361, 362, 363],
        "that tick is among them"
    );
    assert_eq!(since(1, 6, None, 9).await, [361, 363]);
    assert_eq!(since(0, 9, None, 9).await, [360, 361, 362, 363], "of a later epoch");
    assert_eq!(since(2, 0, None, 9).await, [363]);
    assert_eq!(since(1, 6, None, 1).await, [361]);
    assert_eq!(since(1, 6, Some(Account(361)), 9).await, [363]);
    assert_eq!(since(1, 6, Some(Account(363)), 9).await, [0_u64; 0]);
}

fn deletion() -> AuditRow {
    AuditRow {
        stamp: None,
        seq: 0,
        wall: WALL,
        event: "deleted".to_owned(),
        account: Some(Account(250)),
        detail: "asked for by its player".to_owned(),
    }
}

async fn deleted_character_stays_deleted(a: &impl Archive, b: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-deleted"), 1, 1);
    let row = || suite_character(250, 4, &held.zone);
    let delete =
        async |link: &_, generation| Archive::delete_account(link, Account(250), generation, &deletion()).await;
    assert_eq!(delete(a, 5).await.expect("answered"), DeletionAnswer::Absent);
    let mut first = after(None, mark(1, 5, 1));
    first.characters = vec![row()];
    first.characters[0].name = Some("Gone".to_owned());
    first.characters[0].belongings = Some(vec![Belonging {
        id: 1,
        kind: 0,
        count: 1,
    }]);
    done(a, &held, &first).await;
    let newer = DeletionAnswer::Newer { generation: 4 };
    assert_eq!(delete(a, 4).await.expect("answered"), newer);
    for _ in 0..2 {
        assert_eq!(delete(a, 5).await.expect("done, and a repeat"), DeletionAnswer::Deleted);
    }
    let deleted = ArchivedAccount::Deleted {
        account: Account(250),
        generation: 5,
    };
    assert_eq!(b.account(Account(250)).await.expect("answered"), Some(deleted.clone()));
    let audit = database.audit(None);
    let is_its = |row: &&KeptAuditRow| row.account == Some(250) && row.event == "deleted";
    assert_eq!(audit.iter().filter(is_its).count(), 1, "a repeat has no second effect");
    assert_eq!(database.rows_beside(250), 0);
    // A late write of the zone, and a first character of a lower generation.
    let mut late = after(Some(first.mark), mark(1, 6, 2));
    late.characters = vec![row()];
    let superseded = vec![Account(250)];
    let report = CommitReport {
        superseded,
        ..CommitReport::default()
    };
    assert_eq!(
        b.commit(&held, &late).await.expect("answered"),
        CommitAnswer::Done(report)
    );
    let put = b.put_account(&at_rest(250, 1, b"new"), WALL).await.expect("answered");
    assert_eq!(put, AccountAnswer::Newer { generation: 5 });
    assert_eq!(a.account(Account(250)).await.expect("answered"), Some(deleted));
    let put = b.put_account(&at_rest(250, 6, b"new"), WALL).await.expect("answered");
    assert_eq!(put, AccountAnswer::Stored);
    assert_eq!(character(a, 250).await.name, None);
}

async fn belongings_are_replaced(archive: &impl Archive, database: &impl ArchiveDatabase) {
    let held = tenure(&zone("arc-belongings"), 1, 1);
    let belonging = |id, kind, count| Belonging { id, kind, count };
    let [many, fewer] = [
        vec![
            belonging(1, 0, 3),
            belonging(2, 1, 1),
            belonging(u64::MAX - 1, 0, i64::MAX),
        ],
        vec![belonging(1, 1, 3), belonging(7, 0, 2)],
    ];
    let steps = [
        (Some(many.clone()), many),
        (Some(fewer.clone()), fewer.clone()),
        (None, fewer),
        (Some(vec![]), vec![]),
    ];
    let mut parent = None;
    for (number, (given, expected)) in (1..).zip(steps) {
        let mut commit = after(parent, mark(1, 5, number));
        commit.characters = [260, 261]
            .map(|account| suite_character(account, 1, &held.zone))
            .to_vec();
        commit.characters[0].belongings = given;
        commit.characters[1].belongings = Some(vec![belonging(1, 0, 1)]);
        done(archive, &held, &commit).await;
        parent = Some(commit.mark);
        let mut found = archive.belongings(Account(260)).await.expect("answered");
        found.sort_by_key(|belonging| belonging.id);
        assert_eq!(found, expected, "step {number}");
        assert_eq!(database.rows_beside(261), 1, "another's are its own");
    }
}

async fn accounts_are_read_page_by_page(a: &impl Archive, b: &impl Archive) {
    let held = tenure(&zone("arc-pages"), 1, 1);
    let mut commit = after(None, mark(1, 5, 1));
    commit.characters = (300..307)
        .map(|account| suite_character(account, 1, &held.zone))
        .collect();
    commit.characters.push(suite_character(u64::MAX - 5, 1, &held.zone));
    done(a, &held, &commit).await;
    let gone = b.put_account(&at_rest(303, 2, b"rests"), WALL).await.expect("answered");
    assert_eq!(gone, AccountAnswer::Stored);
    let read = async |home: Option<&ZoneName>| {
        let (mut found, mut after): (Vec<u64>, _) = (Vec::new(), None);
        loop {
            let page = b.accounts(home, after, 3).await.expect("answered");
            assert!(page.len() <= 3, "{page:?}");
            let Some(last) = page.last() else { return found };
            after = Some(last.account());
            found.extend(page.iter().map(|account| account.account().0));
        }
    };
    let mut at_home = read(Some(&held.zone)).await;
    at_home.sort_unstable();
    assert_eq!(
        at_home,
        [300, 301, 302, 304, 305, 306, u64::MAX - 5],
        "those that live there"
    );
    let all = read(None).await;
    let mut unique = all.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), all.len(), "each once");
    assert!(
        (300..307).all(|account| all.contains(&account)) && all.contains(&250),
        "{all:?}"
    );
    let beyond = b.accounts(None, Some(Account(i64::MAX.cast_unsigned())), 3).await;
    assert_eq!(beyond.expect("answered"), [], "nothing follows the last number");
}

async fn damaged_payload_is_told_apart_from_none(archive: &impl Archive, database: &impl ArchiveDatabase) {
    for account in [400, 401] {
        let put = archive
            .put_account(&at_rest(account, 1, b"all that it has"), WALL)
            .await;
        assert_eq!(put.expect("answered"), AccountAnswer::Stored);
    }
    database.damage_payload(400);
    database.lose_payload(401);
    for account in [400, 401] {
        assert_eq!(character(archive, account).await.payload, ArchivedPayload::Damaged);
    }
    // One that is damaged does not hold up the others.
    let page = archive.accounts(None, Some(Account(399)), 2).await.expect("answered");
    assert_eq!(page.len(), 2);
    let mended = archive.put_account(&at_rest(400, 2, b"from a backup"), WALL).await;
    assert_eq!(mended.expect("answered"), AccountAnswer::Stored);
    let payload = ArchivedPayload::Whole(Bytes::from_static(b"from a backup"));
    assert_eq!(character(archive, 400).await.payload, payload);
}

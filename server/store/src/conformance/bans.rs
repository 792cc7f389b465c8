//! The suite of [`BanStore`], and the part of the suite of [`Archive`] that concerns bans.

use everhold_core::durability::archive::{Archive, WallMs};
use everhold_core::durability::bans::{Ban, BanNews, BanStore, StoredBan, WHOLE};
use everhold_core::limits::{BAN_NEWS_MAX, BAN_TEXT_BYTES_MAX};
use everhold_protocol::Account;

use super::archive_database::ArchiveDatabase;

/// Runs the whole suite. `open` gives one more connection to the same data, which must be empty at first.
///
/// # Panics
/// If the store does not conform.
pub async fn ban_store_conformance<S: BanStore>(open: impl Fn() -> S) {
    let (a, b) = (open(), open());
    marker_changes_by_compare_and_set(&a, &b).await;
    higher_revision_stands(&a, &b).await;
    news_are_told_in_order_and_from_a_number_on(&a, &b).await;
    more_news_than_are_kept_lose_the_oldest(&a).await;
}

fn ban(account: u64, revision: u64) -> Ban {
    Ban {
        account: Account(account),
        revision,
        until_ms: revision.is_multiple_of(2).then_some(u64::MAX >> 1),
        is_lifted: revision.is_multiple_of(3),
        by: "anne = \"the first\"".to_owned(),
        reason: format!("{revision} × 'spam' % \\ :, "),
    }
}

async fn marker_changes_by_compare_and_set(a: &impl BanStore, b: &impl BanStore) {
    let nothing = a.ban(Account(u64::MAX)).await.expect("readable");
    assert_eq!(
        nothing,
        StoredBan {
            ban: None,
            is_whole: false
        }
    );
    assert_eq!(a.ban_news(5).await.expect("readable"), BanNews::default());
    let mark = async |store: &dyn BanStore, expected, marker| store.mark_bans(expected, marker).await.expect("written");
    assert!(mark(a, "", "token").await);
    assert!(mark(a, "", "token").await, "a repeat is a success");
    assert!(!mark(b, "", "another").await);
    assert!(!mark(b, "another", WHOLE).await);
    assert_eq!(b.ban_news(0).await.expect("readable").marker, "token");
    assert!(mark(a, "token", WHOLE).await);
    assert!(b.ban(Account(1)).await.expect("readable").is_whole);
}

async fn higher_revision_stands(a: &impl BanStore, b: &impl BanStore) {
    for account in [1, 1 << 63, u64::MAX] {
        let read = async || a.ban(Account(account)).await.expect("readable").ban;
        assert_eq!(a.put_ban(&ban(account, 1)).await.expect("written"), None);
        assert_eq!(b.put_ban(&ban(account, 1)).await.expect("repeated"), None);
        assert_eq!(read().await, Some(ban(account, 1)));
        assert_eq!(b.put_ban(&ban(account, 12)).await.expect("written"), None);
        // Compared as numbers, not as texts.
        assert_eq!(
            a.put_ban(&ban(account, 9)).await.expect("answered"),
            Some(ban(account, 12))
        );
        let other = Ban {
            by: "bob".to_owned(),
            ..ban(account, 12)
        };
        assert_eq!(a.put_ban(&other).await.expect("answered"), Some(ban(account, 12)));
        assert_eq!(read().await, Some(ban(account, 12)));
    }
    let long = Ban {
        reason: "\u{1F600}".repeat(BAN_TEXT_BYTES_MAX / 4),
        ..ban(2, 1)
    };
    assert_eq!(a.put_ban(&long).await.expect("written"), None);
    assert_eq!(b.ban(Account(2)).await.expect("readable").ban, Some(long));
}

async fn news_are_told_in_order_and_from_a_number_on(a: &impl BanStore, b: &impl BanStore) {
    let before = a.ban_news(0).await.expect("readable").last;
    let fresh = b.ban_news(before).await.expect("readable");
    assert_eq!((fresh.last, fresh.accounts), (before, Vec::new()));
    for account in [31, 30, u64::MAX] {
        a.put_ban(&ban(account, 20)).await.expect("written");
    }
    let accounts = [31, 30, u64::MAX].map(Account);
    let news = b.ban_news(before).await.expect("readable");
    assert_eq!(news.accounts, accounts);
    assert!(news.last > before);
    assert_eq!(b.ban_news(news.last).await.expect("readable").accounts, []);
    // A number from a store that had more, before it was lost.
    let all = b.ban_news(news.last + 1_000).await.expect("readable").accounts;
    assert!(all.ends_with(&accounts), "{all:?}");
}

async fn more_news_than_are_kept_lose_the_oldest(a: &impl BanStore) {
    // The longest numbers: a store may tell of more, if they are short.
    let last = u64::MAX - 1;
    let first = last - 3 * BAN_NEWS_MAX as u64;
    for account in first..=last {
        a.put_ban(&ban(account, 1)).await.expect("written");
    }
    let told = a.ban_news(0).await.expect("readable").accounts;
    assert!(told.len() >= BAN_NEWS_MAX, "{}", told.len());
    let newest: Vec<Account> = (last + 1 - told.len() as u64..=last).map(Account).collect();
    assert_eq!(told, newest);
}

pub(super) async fn archived_bans_conform(a: &impl Archive, b: &impl Archive, database: &impl ArchiveDatabase) {
    let rows = || database.audit(None).len();
    let before = rows();
    let accounts = [700, 701, 1 << 40, u64::MAX >> 1];
    for account in accounts {
        assert_eq!(a.ban(Account(account)).await.expect("answered"), None);
        for revision in [1, 2] {
            let wall = WallMs(100 - i64::try_from(revision).expect("it is small"));
            assert_eq!(a.put_ban(&ban(account, revision), wall).await.expect("written"), None);
            assert_eq!(b.put_ban(&ban(account, revision), wall).await.expect("repeated"), None);
        }
        let stands = b.put_ban(&ban(account, 1), WallMs(200)).await.expect("answered");
        assert_eq!(stands, Some(ban(account, 2)));
        assert_eq!(b.ban(Account(account)).await.expect("answered"), Some(ban(account, 2)));
    }
    let mut paged = Vec::new();
    loop {
        let page = b.bans(paged.last().copied(), 3).await.expect("answered");
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|read| *read == ban(read.account.0, 2)), "{page:?}");
        paged.extend(page.into_iter().map(|ban| ban.account));
    }
    paged.sort_unstable();
    assert_eq!(paged, accounts.map(Account));
    let kept = database.audit(None);
    // An archive without tables keeps bans where no row shows them.
    assert!(
        [before, before + 8].contains(&kept.len()),
        "a repeat is no row: {kept:?}"
    );
}

//! Bans in `world.db`: the newest revision of each account's, and the order in which they changed.

use async_trait::async_trait;
use everhold_core::durability::bans::{Ban, BanNews, BanStore, StoredBan, WHOLE};
use everhold_core::durability::store::StoreError;
use everhold_core::limits::BAN_NEWS_MAX;
use everhold_protocol::Account;
use rusqlite::{OptionalExtension, Transaction};

use super::SqliteStore;
use super::file::Rollback;

#[async_trait]
impl BanStore for SqliteStore {
    async fn ban(&self, account: Account) -> Result<StoredBan, StoreError> {
        let read = move |file: &Transaction<'_>| {
            let marker: String = file
                .prepare_cached("SELECT marker FROM ban_book")?
                .query_row([], |row| row.get(0))?;
            Ok::<_, Rollback<StoreError>>((text(file, account)?, marker))
        };
        let (text, marker) = self.world.run(move |world| world.read(read)).await??;
        Ok(StoredBan {
            ban: text.map(|text| parsed(account, &text)).transpose()?,
            is_whole: marker == WHOLE,
        })
    }

    async fn put_ban(&self, ban: &Ban) -> Result<Option<Ban>, StoreError> {
        let ban = ban.clone();
        self.world
            .run(move |world| {
                world.write(|file| {
                    let stands = text(file, ban.account)?.map(|text| parsed(ban.account, &text));
                    match stands {
                        Some(Ok(stands)) if stands != ban && stands.revision >= ban.revision => {
                            return Ok(Ok(Some(stands)));
                        }
                        Some(Err(error)) => return Ok(Err(error)),
                        _ => {}
                    }
                    put(file, &ban)?;
                    Ok(Ok(None))
                })
            })
            .await?
            .and_then(|outcome| outcome)
    }

    async fn ban_news(&self, after: u64) -> Result<BanNews, StoreError> {
        self.world
            .run(move |world| world.read(|file| Ok(news(file, after)?)))
            .await?
    }

    async fn mark_bans(&self, expected: &str, marker: &str) -> Result<bool, StoreError> {
        let (expected, marker) = (expected.to_owned(), marker.to_owned());
        let mark = move |file: &Transaction<'_>| {
            let marked = file
                .prepare_cached("UPDATE ban_book SET marker = ?2 WHERE marker IN (?1, ?2)")?
                .execute((expected, marker))?;
            Ok::<_, Rollback<StoreError>>(marked > 0)
        };
        self.world.run(move |world| world.write(mark)).await?
    }
}

fn text(file: &Transaction<'_>, account: Account) -> rusqlite::Result<Option<String>> {
    file.prepare_cached("SELECT text FROM ban WHERE account = ?1")?
        .query_row([account.0.cast_signed()], |row| row.get(0))
        .optional()
}

fn parsed(account: Account, text: &str) -> Result<Ban, StoreError> {
    let ban = Ban::from_text(account, text);
    ban.map_err(|error| StoreError::Corrupt(format!("the ban of account {}: {error}", account.0)))
}

fn put(file: &Transaction<'_>, ban: &Ban) -> rusqlite::Result<()> {
    file.prepare_cached("UPDATE ban_book SET last = last + 1")?
        .execute([])?;
    file.prepare_cached(
        "INSERT INTO ban (account, news, text) VALUES (?1, (SELECT last FROM ban_book), ?2)
         ON CONFLICT (account) DO UPDATE SET news = excluded.news, text = excluded.text",
    )?
    .execute((ban.account.0.cast_signed(), ban.to_text()))?;
    Ok(())
}

fn news(file: &Transaction<'_>, after: u64) -> rusqlite::Result<BanNews> {
    let (marker, last) = file
        .prepare_cached("SELECT marker, last FROM ban_book")?
        .query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let last = last.cast_unsigned();
    let after = if after > last { 0 } else { after };
    let mut statement = file.prepare_cached("SELECT account FROM ban WHERE news > ?1 ORDER BY news DESC LIMIT ?2")?;
    let limit = i64::try_from(BAN_NEWS_MAX).unwrap_or(i64::MAX);
    let accounts = statement.query_map((after.cast_signed(), limit), |row| row.get::<_, i64>(0))?;
    let mut accounts: Vec<Account> = accounts
        .map(|account| account.map(|account| Account(account.cast_unsigned())))
        .collect::<rusqlite::Result<_>>()?;
    accounts.reverse();
    Ok(BanNews { marker, last, accounts })
}

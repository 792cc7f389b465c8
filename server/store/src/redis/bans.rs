//! Bans: one hash for the whole world, so that they are lost together or not at all. A field for each account, and
//! three more: the marker, the number of the newest news, and the last of them.

use std::sync::LazyLock;

use async_trait::async_trait;
use everhold_core::durability::bans::{Ban, BanNews, BanStore, StoredBan, WHOLE};
use everhold_core::durability::store::StoreError;
use everhold_core::limits::BAN_NEWS_MAX;
use everhold_protocol::Account;
use fred::types::Value;
use fred::types::scripts::Script;

use super::{RedisError, RedisStore};

static BAN: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/ban.lua")));
static PUT_BAN: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/put_ban.lua")));
static BAN_NEWS: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/ban_news.lua")));
static MARK_BANS: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/mark_bans.lua")));

/// The key's name in the namespace.
pub(super) const BANS: &str = "bans";

/// Bytes of one entry of the news: two numbers, of an account and of the news, a colon, and a space.
const NEWS_ENTRY_BYTES: usize = 32;

#[async_trait]
impl BanStore for RedisStore {
    async fn ban(&self, account: Account) -> Result<StoredBan, StoreError> {
        let answer = self
            .checkpoint
            .run(&BAN, vec![key(self)], vec![account.0.to_string().into()])
            .await?;
        let (Some(text), Some(marker)) = (word(&answer, 0), word(&answer, 1)) else {
            return Err(RedisError::Answer(format!("{answer:?}")).into());
        };
        let ban = (!text.is_empty()).then(|| read(account, &text));
        Ok(StoredBan {
            ban: ban.transpose()?,
            is_whole: marker == WHOLE,
        })
    }

    async fn put_ban(&self, ban: &Ban) -> Result<Option<Ban>, StoreError> {
        let words = vec![
            ban.account.0.to_string().into(),
            ban.revision.to_string().into(),
            ban.to_text().into(),
            (BAN_NEWS_MAX * NEWS_ENTRY_BYTES).to_string().into(),
        ];
        let answer = self.decide(&PUT_BAN, vec![key(self)], words).await?;
        match (word(&answer, 0).as_deref(), word(&answer, 1)) {
            (Some("OK"), _) => Ok(None),
            (Some("IS"), Some(stands)) => read(ban.account, &stands).map(Some),
            _ => Err(RedisError::Answer(format!("{answer:?}")).into()),
        }
    }

    async fn ban_news(&self, after: u64) -> Result<BanNews, StoreError> {
        let answer = self
            .checkpoint
            .run(&BAN_NEWS, vec![key(self)], vec![after.to_string().into()])
            .await?;
        let wrong = || RedisError::Answer(format!("{answer:?}"));
        let number = |at| word(&answer, at).and_then(|word| word.parse::<u64>().ok());
        let accounts = (2..answer.len()).map(|at| number(at).map(Account));
        Ok(BanNews {
            marker: word(&answer, 0).ok_or_else(wrong)?,
            last: number(1).ok_or_else(wrong)?,
            accounts: accounts.collect::<Option<_>>().ok_or_else(wrong)?,
        })
    }

    async fn mark_bans(&self, expected: &str, marker: &str) -> Result<bool, StoreError> {
        let words = vec![expected.into(), marker.into()];
        let answer = self.decide(&MARK_BANS, vec![key(self)], words).await?;
        Ok(word(&answer, 0).as_deref() == Some("OK"))
    }
}

fn key(store: &RedisStore) -> String {
    store.keys.world(BANS)
}

fn word(answer: &[Value], at: usize) -> Option<String> {
    answer.get(at).and_then(Value::as_string)
}

fn read(account: Account, text: &str) -> Result<Ban, StoreError> {
    let ban = Ban::from_text(account, text);
    ban.map_err(|error| StoreError::Corrupt(format!("the ban of account {}: {error}", account.0)))
}

//! Homes: one key an account, "generation zone", changed by compare-and-set. A thousand log-ins at once are a thousand
//! small scripts in one pipeline.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::store::StoreError;
use everhold_protocol::Account;
use fred::types::Value;
use fred::types::scripts::Script;

use super::link::RedisNode;
use super::{RedisError, RedisStore};

static SET_HOME: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/set_home.lua")));

/// Keys of one page when all are removed.
const PAGE_KEYS: i64 = 1_000;

#[async_trait]
impl HomeStore for RedisStore {
    async fn home(&self, account: Account) -> Result<Option<Home>, StoreError> {
        let key = vec![key(self, account).into()];
        let value = self.checkpoint.command("GET", key).await?;
        value.into_string().map(|text| read(account, &text)).transpose()
    }

    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        let words = vec![expected.map_or_else(String::new, write).into(), write(home).into()];
        let answer = self.decide(&SET_HOME, vec![key(self, account)], words).await?;
        let word = answer.first().and_then(Value::as_str);
        match (word.as_deref(), answer.get(1).and_then(Value::as_string)) {
            (Some("OK"), _) => Ok(None),
            (Some("IS"), Some(now)) if now.is_empty() => Err(StoreError::Corrupt(format!(
                "the home of account {} is gone",
                account.0
            ))),
            (Some("IS"), Some(now)) => read(account, &now).map(Some),
            _ => Err(RedisError::Answer(format!("{answer:?}")).into()),
        }
    }

    fn doubts(&self) -> Option<u64> {
        Some(self.checkpoint.servers_hash())
    }
}

/// Removes all homes of the namespace, node by node, page by page.
pub(super) async fn remove_all(store: &RedisStore) -> Result<(), RedisError> {
    for node in store.checkpoint.primaries().await? {
        remove_at(store, &node).await?;
    }
    Ok(())
}

async fn remove_at(store: &RedisStore, node: &Arc<RedisNode>) -> Result<(), RedisError> {
    let pattern = store.keys.world("home:*");
    let mut cursor = "0".to_owned();
    loop {
        let words = vec![
            cursor.as_str().into(),
            "MATCH".into(),
            pattern.as_str().into(),
            "COUNT".into(),
            PAGE_KEYS.into(),
        ];
        let page = store.checkpoint.command_at(node, "SCAN", words).await?;
        let mut page = page.into_array();
        let keys = page.pop().map(Value::into_array).unwrap_or_default();
        for key in keys {
            store.checkpoint.command("UNLINK", vec![key]).await?;
        }
        cursor = page.pop().and_then(Value::into_string).unwrap_or_default();
        if cursor == "0" || cursor.is_empty() {
            return Ok(());
        }
    }
}

fn key(store: &RedisStore, account: Account) -> String {
    store.keys.world(&format!("home:{}", account.0))
}

fn write(home: &Home) -> String {
    format!("{} {}", home.generation, home.zone)
}

fn read(account: Account, text: &str) -> Result<Home, StoreError> {
    let home = || {
        let (generation, zone) = text.split_once(' ')?;
        Some(Home {
            zone: zone.parse().ok()?,
            generation: generation.parse().ok()?,
        })
    };
    home().ok_or_else(|| StoreError::Corrupt(format!("the home of account {} cannot be read", account.0)))
}

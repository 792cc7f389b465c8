//! Records of accounts: one key an account. A home is "generation zone", changed by compare-and-set. Of a character at
//! rest follow the run and replication ids of the server that took it, a line break, and the payload behind its
//! checksum: a record from before the server was replaced may be older than what was lost. A thousand log-ins at once
//! are a thousand small scripts in one pipeline.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::cluster::homes::{sealed_payload, unsealed_payload};
use everhold_core::cluster::{AccountRecord, Home, HomeStore};
use everhold_core::durability::store::StoreError;
use everhold_protocol::Account;
use fred::types::Value;
use fred::types::scripts::Script;

use super::link::RedisNode;
use super::{RedisError, RedisStore};

static SET_HOME: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/set_home.lua")));

static RECORD: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/record.lua")));
static KEEP_REST: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/keep_rest.lua")));

/// Keys of one page when all are removed.
const PAGE_KEYS: i64 = 1_000;

#[async_trait]
impl HomeStore for RedisStore {
    async fn record(&self, account: Account) -> Result<Option<AccountRecord>, StoreError> {
        let answer = self
            .checkpoint
            .run(&RECORD, vec![key(self, account)], Vec::new())
            .await?;
        match answer.as_slice() {
            [record, run] => {
                let (record, run) = (
                    record.as_bytes().unwrap_or_default(),
                    run.as_bytes().unwrap_or_default(),
                );
                (!record.is_empty())
                    .then(|| read_record(account, record, run))
                    .transpose()
            }
            _ => Err(RedisError::Answer(format!("{answer:?}")).into()),
        }
    }

    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        let words = vec![expected.map_or_else(String::new, write).into(), write(home).into()];
        let answer = self.decide(&SET_HOME, vec![key(self, account)], words).await?;
        home_in_the_way(account, &answer)
    }

    async fn keep_rest(
        &self,
        account: Account,
        home: &Home,
        payload: &Bytes,
        lasting: Duration,
    ) -> Result<Option<Home>, StoreError> {
        let words = vec![
            home.generation.to_string().into(),
            home.zone.as_str().into(),
            Value::Bytes(sealed_payload(payload).into()),
            lasting.as_millis().max(1).to_string().into(),
        ];
        let answer = self.decide(&KEEP_REST, vec![key(self, account)], words).await?;
        home_in_the_way(account, &answer)
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

/// Reads the answer to a write: `None`, or the home that is there instead.
fn home_in_the_way(account: Account, answer: &[Value]) -> Result<Option<Home>, StoreError> {
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

fn read_record(account: Account, record: &[u8], run: &[u8]) -> Result<AccountRecord, StoreError> {
    let end = record.iter().position(|byte| *byte == b'\n');
    let (title, sealed) = end.map_or((record, None), |end| (&record[..end], Some(&record[end + 1..])));
    let title = String::from_utf8_lossy(title);
    let mut words = title.splitn(3, ' ');
    let home = [words.next(), words.next()].map(Option::unwrap_or_default).join(" ");
    let payload = sealed.and_then(unsealed_payload);
    Ok(AccountRecord {
        home: read(account, &home)?,
        is_certain: payload.is_some() && words.next().map(str::as_bytes) == Some(run),
        payload,
    })
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

//! The rules of a world: the id of the wanted ones, and a hash of world files, each "code layout tick_hz", a line feed,
//! and the text.

use std::sync::LazyLock;

use async_trait::async_trait;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{RecordHash, StoreError};
use everhold_core::ownership::{RulesId, RulesStamp};
use fred::types::Value;
use fred::types::scripts::Script;

use super::checkpoint::{hex, unhex};
use super::{RedisError, RedisStore};

static WANT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/want.lua")));

/// The keys of a world's rules.
pub(super) const WANTED: &str = "wanted_rules";
pub(super) const FILES: &str = "rules_files";

#[async_trait]
impl RulesStore for RedisStore {
    async fn wanted(&self) -> Result<Option<RulesId>, StoreError> {
        let value = self.checkpoint.command("GET", vec![self.key(WANTED)]).await?;
        value.into_string().map(|text| read_id(&text)).transpose()
    }

    async fn want(&self, expected: Option<RulesId>, next: RulesId) -> Result<Option<RulesId>, StoreError> {
        let words = vec![
            expected.map_or_else(String::new, write_id).into(),
            write_id(next).into(),
        ];
        let keys = vec![self.keys.world(WANTED)];
        let answer = self.checkpoint.run(&WANT, keys, words).await?;
        match answer.first().and_then(Value::as_string) {
            Some(now) if now.is_empty() => Ok(None),
            Some(now) => read_id(&now).map(Some),
            None => Err(RedisError::Answer(format!("{answer:?}")).into()),
        }
    }

    async fn keep_file(&self, file: &WorldFile) -> Result<(), StoreError> {
        let words = vec![self.key(FILES), write_id(file.rules.id).into(), write_file(file).into()];
        self.checkpoint.command("HSETNX", words).await?;
        Ok(())
    }

    async fn kept_file(&self, id: RulesId) -> Result<Option<WorldFile>, StoreError> {
        let words = vec![self.key(FILES), write_id(id).into()];
        let value = self.checkpoint.command("HGET", words).await?;
        let file = value.into_string().map(|text| {
            let corrupt =
                || StoreError::Corrupt(format!("the world file of the rules {} cannot be read", write_id(id)));
            read_file(id, &text).ok_or_else(corrupt)
        });
        file.transpose()
    }

    async fn kept_files(&self) -> Result<Vec<RulesId>, StoreError> {
        let fields = self.checkpoint.command("HKEYS", vec![self.key(FILES)]).await?;
        let ids = fields.into_array().into_iter();
        let ids = ids.map(|field| read_id(&field.into_string().unwrap_or_default()));
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn drop_file(&self, id: RulesId) -> Result<(), StoreError> {
        let words = vec![self.key(FILES), write_id(id).into()];
        self.checkpoint.command("HDEL", words).await?;
        Ok(())
    }
}

impl RedisStore {
    fn key(&self, name: &str) -> Value {
        self.keys.world(name).into()
    }
}

fn write_id(id: RulesId) -> String {
    hex(RecordHash(id))
}

fn read_id(text: &str) -> Result<RulesId, StoreError> {
    let id = unhex(text).map(|hash| hash.0);
    id.ok_or_else(|| StoreError::Corrupt("an id of rules cannot be read".to_owned()))
}

fn write_file(file: &WorldFile) -> String {
    let RulesStamp { code, layout, .. } = file.rules;
    format!("{code} {layout} {}\n{}", file.tick_hz, file.text)
}

fn read_file(id: RulesId, stored: &str) -> Option<WorldFile> {
    let (numbers, text) = stored.split_once('\n')?;
    let mut numbers = numbers.split(' ');
    let mut number = || numbers.next();
    Some(WorldFile {
        rules: RulesStamp {
            id,
            code: number()?.parse().ok()?,
            layout: number()?.parse().ok()?,
        },
        tick_hz: number()?.parse().ok()?,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_later_build_adds_to_a_world_file_are_passed_over() {
        let file = WorldFile {
            rules: RulesStamp {
                id: [8; 32],
                code: 2,
                layout: 4,
            },
            tick_hz: 20,
            text: "first line\nsecond line\n".to_owned(),
        };
        let stored = write_file(&file);
        assert_eq!(read_file([8; 32], &stored), Some(file.clone()));
        let later = stored.replacen("2 4 20\n", "2 4 20 and more\n", 1);
        assert_ne!(later, stored);
        assert_eq!(read_file([8; 32], &later), Some(file));
        assert_eq!(read_file([8; 32], &stored.replacen("2 4 20\n", "2 4\n", 1)), None);
    }
}

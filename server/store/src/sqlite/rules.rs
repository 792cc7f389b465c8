//! The rules of a world, in tables of `world.db` that are made when they are first needed: a file without them is read
//! by every build of its version.

use async_trait::async_trait;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::StoreError;
use everhold_core::ownership::{RulesId, RulesStamp};
use rusqlite::{OptionalExtension, Transaction};

use super::SqliteStore;
use super::row::hash;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS wanted_rules (id INTEGER PRIMARY KEY CHECK (id = 0), rules BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS rules_file (
        rules BLOB PRIMARY KEY, code INTEGER NOT NULL, layout INTEGER NOT NULL, tick_hz INTEGER NOT NULL,
        text TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

#[async_trait]
impl RulesStore for SqliteStore {
    async fn wanted(&self) -> Result<Option<RulesId>, StoreError> {
        self.on_world(|world| world.read(|file| Ok(wanted(file)?))).await
    }

    async fn want(&self, expected: Option<RulesId>, next: RulesId) -> Result<Option<RulesId>, StoreError> {
        self.on_world(move |world| {
            world.write(|file| {
                file.execute_batch(TABLES)?;
                let now = wanted(file)?;
                if now != expected {
                    return Ok(now);
                }
                file.prepare_cached("INSERT OR REPLACE INTO wanted_rules (id, rules) VALUES (0, ?1)")?
                    .execute([next])?;
                Ok(Some(next))
            })
        })
        .await
    }

    async fn keep_file(&self, file: &WorldFile) -> Result<(), StoreError> {
        let WorldFile { rules, tick_hz, text } = file.clone();
        self.on_world(move |world| {
            world.write(|file| {
                file.execute_batch(TABLES)?;
                file.prepare_cached(
                    "INSERT OR IGNORE INTO rules_file (rules, code, layout, tick_hz, text) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((rules.id, rules.code, rules.layout, tick_hz, &text))?;
                Ok(())
            })
        })
        .await
    }

    async fn kept_file(&self, id: RulesId) -> Result<Option<WorldFile>, StoreError> {
        self.on_world(move |world| world.read(|file| Ok(kept_file(file, id)?)))
            .await
    }

    async fn kept_files(&self) -> Result<Vec<RulesId>, StoreError> {
        self.on_world(|world| {
            world.read(|file| {
                if !has_tables(file)? {
                    return Ok(Vec::new());
                }
                let mut statement = file.prepare_cached("SELECT rules FROM rules_file ORDER BY rules")?;
                let ids = statement.query_map([], |row| Ok(hash(row, 0)?.0))?;
                Ok(ids.collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn drop_file(&self, id: RulesId) -> Result<(), StoreError> {
        self.on_world(move |world| {
            world.write(|file| {
                file.execute_batch(TABLES)?;
                file.prepare_cached("DELETE FROM rules_file WHERE rules = ?1")?
                    .execute([id])?;
                Ok(())
            })
        })
        .await
    }
}

fn has_tables(file: &Transaction<'_>) -> rusqlite::Result<bool> {
    file.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'rules_file'")?
        .exists([])
}

fn wanted(file: &Transaction<'_>) -> rusqlite::Result<Option<RulesId>> {
    if !has_tables(file)? {
        return Ok(None);
    }
    file.prepare_cached("SELECT rules FROM wanted_rules")?
        .query_row([], |row| Ok(hash(row, 0)?.0))
        .optional()
}

fn kept_file(file: &Transaction<'_>, id: RulesId) -> rusqlite::Result<Option<WorldFile>> {
    if !has_tables(file)? {
        return Ok(None);
    }
    file.prepare_cached("SELECT code, layout, tick_hz, text FROM rules_file WHERE rules = ?1")?
        .query_row([id], |row| {
            Ok(WorldFile {
                rules: RulesStamp {
                    id,
                    code: row.get(0)?,
                    layout: row.get(1)?,
                },
                tick_hz: row.get(2)?,
                text: row.get(3)?,
            })
        })
        .optional()
}

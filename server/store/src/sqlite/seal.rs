//! The seal in a zone's file, in a table of its own: it is made with the first seal, so that a file without one is read
//! by every build of its version. Whether the seal counts, the data beside it says.

use everhold_core::durability::store::{Position, Seal};
use everhold_core::ownership::RulesStamp;
use everhold_protocol::{Epoch, Tick};
use rusqlite::{OptionalExtension, Transaction};

use super::row::{StepResult, hash};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS seal (
        id INTEGER PRIMARY KEY CHECK (id = 0), epoch INTEGER NOT NULL, tick INTEGER NOT NULL, hash BLOB NOT NULL,
        rules BLOB NOT NULL, code INTEGER NOT NULL, layout INTEGER NOT NULL
    ) STRICT;
";

pub(super) fn write(file: &Transaction<'_>, seal: Seal) -> StepResult<()> {
    file.execute_batch(TABLE)?;
    let Seal { position, rules } = seal;
    file.prepare_cached(
        "INSERT OR REPLACE INTO seal (id, epoch, tick, hash, rules, code, layout) VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        position.epoch.0,
        position.tick.0.cast_signed(),
        position.hash.0,
        rules.id,
        rules.code,
        rules.layout,
    ))?;
    Ok(())
}

pub(super) fn read(file: &Transaction<'_>) -> StepResult<Option<Seal>> {
    let has_table = file
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'seal'")?
        .exists([])?;
    if !has_table {
        return Ok(None);
    }
    let mut statement = file.prepare_cached("SELECT epoch, tick, hash, rules, code, layout FROM seal")?;
    let seal = statement.query_row([], |row| {
        Ok(Seal {
            position: Position {
                epoch: Epoch(row.get(0)?),
                tick: Tick(row.get::<_, i64>(1)?.cast_unsigned()),
                hash: hash(row, 2)?,
            },
            rules: RulesStamp {
                id: hash(row, 3)?.0,
                code: row.get(4)?,
                layout: row.get(5)?,
            },
        })
    });
    Ok(seal.optional()?)
}

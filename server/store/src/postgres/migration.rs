//! The tables of an archive on PostgreSQL: made, brought up to date, and given the game's columns, in one transaction
//! that other processes wait for. Tables of a newer version are left as they are.

use everhold_core::durability::archive::ArchiveIdentity;
use everhold_core::zone::archive_schema::ArchiveSchema;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Transaction};

use super::PostgresError;
use super::failure::text;
use crate::archive::{Declaration, Dialect, POSTGRES_SCHEMA, SCHEMA_VERSION, fixed, undeclared};

/// The steps from each version to the next, from nothing on.
const STEPS: [&str; SCHEMA_VERSION as usize] = [POSTGRES_SCHEMA];

/// The number of the advisory lock that a process holds while it changes tables: drawn once, and used for nothing else.
const LOCK: i64 = 0x6576_6572_686f_6c64;

fn command(error: Error) -> PostgresError {
    PostgresError::Command(text(&error))
}

/// Brings the tables up to date, and returns the archive's number.
pub(super) async fn prepare(client: &mut Client, schema: &ArchiveSchema) -> Result<ArchiveIdentity, PostgresError> {
    let transaction = client.transaction().await.map_err(command)?;
    let lock = transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]);
    lock.await.map_err(command)?;
    migrate(&transaction).await?;
    transaction.batch_execute(fixed::INDEXES).await.map_err(command)?;
    declare(&transaction, schema).await?;
    let row = transaction.query_one(fixed::IDENTITY, &[]).await.map_err(command)?;
    let identity: Vec<u8> = row.try_get(0).map_err(command)?;
    transaction.commit().await.map_err(command)?;
    let length = |_| PostgresError::Command("the archive's number has not 16 bytes".to_owned());
    identity.try_into().map(ArchiveIdentity).map_err(length)
}

async fn migrate(transaction: &Transaction<'_>) -> Result<(), PostgresError> {
    let row = transaction
        .query_one("SELECT to_regclass('everhold_archive') IS NOT NULL", &[])
        .await
        .map_err(command)?;
    let found: i32 = if row.try_get(0).map_err(command)? {
        let row = transaction
            .query_one("SELECT schema_version FROM everhold_archive", &[])
            .await
            .map_err(command)?;
        row.try_get(0).map_err(command)?
    } else {
        0
    };
    let known = SCHEMA_VERSION;
    let steps = usize::try_from(found).ok().and_then(|found| STEPS.get(found..));
    let Some(steps) = steps else {
        return Err(PostgresError::SchemaUnknown { found, known });
    };
    if steps.is_empty() {
        return Ok(());
    }
    for step in steps {
        transaction.batch_execute(step).await.map_err(command)?;
    }
    let version = "INSERT INTO everhold_archive (schema_version) VALUES ($1) \
                   ON CONFLICT (only_row) DO UPDATE SET schema_version = excluded.schema_version";
    transaction.execute(version, &[&known]).await.map_err(command)?;
    Ok(())
}

async fn declare(transaction: &Transaction<'_>, schema: &ArchiveSchema) -> Result<(), PostgresError> {
    let rows = transaction.query(fixed::DECLARATIONS, &[]).await.map_err(command)?;
    let known = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)));
    let known = known.collect::<Result<Vec<_>, Error>>().map_err(command)?;
    let missing = undeclared(schema, &known)?;
    for row in &missing {
        if let Some(column) = row.column {
            let (name, definition) = (&row.name, Dialect::Postgres.column(column));
            let add = format!("ALTER TABLE characters ADD COLUMN \"{name}\" {definition}");
            transaction.batch_execute(&add).await.map_err(command)?;
        }
    }
    let subjects: Vec<&str> = missing.iter().map(|row| row.subject).collect();
    let text = |text: fn(&Declaration) -> &str| missing.iter().map(text).collect::<Vec<&str>>();
    let (names, kinds, abouts) = (text(|row| &row.name), text(|row| &row.kind), text(|row| &row.about));
    let declare = "INSERT INTO declarations (subject, name, kind, about) \
                   SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) \
                   ON CONFLICT (subject, name) DO UPDATE SET about = excluded.about";
    let values: [&(dyn ToSql + Sync); 4] = [&subjects, &names, &kinds, &abouts];
    transaction.execute(declare, &values).await.map_err(command)?;
    Ok(())
}

//! Writing an account outside a zone on PostgreSQL: its row is locked, looked at, and written in one transaction.

use deadpool_postgres::{Client, Transaction};
use everhold_core::durability::archive::row::name_key;
use everhold_core::durability::archive::{AccountAnswer, ArchiveError, AuditRow, CharacterRow, DeletionAnswer, WallMs};
use everhold_protocol::Account;

use super::failure::Step;
use super::{DeclaredTerms, batch, read};
use crate::archive::{before_write, fixed, undeleted};

pub(super) async fn put(
    client: &mut Client,
    terms: &DeclaredTerms,
    row: &CharacterRow,
    wall: WallMs,
) -> Step<AccountAnswer> {
    let transaction = client.transaction().await?;
    let stands = read::account_locked(&transaction, terms, row.account).await?;
    if let Some(answer) = before_write(stands.as_ref(), row) {
        return Ok(answer);
    }
    let rows = std::slice::from_ref(row);
    let written = batch::characters(&transaction, terms, None, rows, wall).await?;
    if written.is_empty() {
        // A row that was not there to be locked was written by another meanwhile.
        let why = format!("account {} changed meanwhile", row.account.0);
        return Err(ArchiveError::Unavailable(why).into());
    }
    if !batch::names(&transaction, &[row]).await?.is_empty() {
        let key = row.name.as_deref().map(name_key);
        let sql = "SELECT account FROM names WHERE name_key = $1";
        let by: i64 = transaction.query_one(sql, &[&key]).await?.try_get(0)?;
        // Not committed: nothing was done.
        return Ok(AccountAnswer::NameTaken {
            by: Account(by.cast_unsigned()),
        });
    }
    batch::payloads(&transaction, &[row]).await?;
    batch::belongings(&transaction, &terms.schema, &[row]).await?;
    transaction.commit().await?;
    Ok(AccountAnswer::Stored)
}

pub(super) async fn delete(
    transaction: &Transaction<'_>,
    terms: &DeclaredTerms,
    (account, generation): (Account, i64),
    audit: &AuditRow,
) -> Step<DeletionAnswer> {
    let number = account.0.cast_signed();
    let statement = transaction.prepare_cached(&terms.statements.delete).await?;
    let deleted = transaction
        .execute(&statement, &[&number, &generation, &audit.wall.0])
        .await?;
    if deleted == 0 {
        let stands = read::account_locked(transaction, terms, account).await?;
        return Ok(undeleted(stands.as_ref(), generation.cast_unsigned()));
    }
    for statement in fixed::FORGET {
        transaction.execute(statement, &[&number]).await?;
    }
    let about = audit.account.map(|account| account.0.cast_signed());
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&audit.wall.0, &audit.event, &about, &audit.detail];
    transaction.execute(fixed::AUDIT, &values).await?;
    Ok(DeletionAnswer::Deleted)
}

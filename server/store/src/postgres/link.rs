//! Connections to PostgreSQL: a small pool on a thread of its own, and a deadline for each call. It knows no table but
//! the one with the archive's number.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction,
};
use everhold_core::durability::archive::{ArchiveError, ArchiveIdentity};
use everhold_core::zone::archive_schema::ArchiveSchema;
use tokio::time::Instant;
use tokio_postgres::{CancelToken, IsolationLevel, NoTls};

use super::failure::{Step, text};
use super::target::PostgresTarget;
use super::{PostgresError, migration};
use crate::archive::fixed;
use crate::thread::{TaskGone, Thread};

/// Connections of a process. Each zone has one commit under way, which takes a fraction of a second every half minute.
const CONNECTIONS_MAX: usize = 4;

/// Longest wait for a commit or a part. The largest has 16 MiB, which a link of 4 Mbit/s carries in as long.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(40);

/// Longest wait for a page. The largest has 16 MiB; who gets none in time asks for fewer rows.
pub(super) const READ_MAX: Duration = Duration::from_secs(10);

/// Longest wait until a server that is there has heard that a call is given up.
const CANCEL_MAX: Duration = Duration::from_secs(2);

/// Settings of each connection, in the server: a statement ends before its caller has given it up, one that waits for a
/// row sooner, and a session whose process stands still inside a transaction lets go of its rows. A statement that is
/// still on its way counts as standing still, so that takes longer than a caller waits.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
                        SET idle_in_transaction_session_timeout = '45s'; \
                        SET default_transaction_isolation = 'read committed'";

impl From<TaskGone> for ArchiveError {
    fn from(error: TaskGone) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A step under way.
pub(super) type Working<'a, T> = Pin<Box<dyn Future<Output = Step<T>> + Send + 'a>>;

/// The connections of one archive.
#[derive(Debug)]
pub(super) struct ArchiveLink {
    // Dropped first: its connections live on the thread.
    pool: Pool,
    thread: Thread,
    identity: ArchiveIdentity,
}

impl ArchiveLink {
    /// Connects, and brings the tables up to date.
    pub(super) async fn open(target: &PostgresTarget, schema: &ArchiveSchema) -> Result<Self, PostgresError> {
        let gone = |error: &dyn std::fmt::Display| PostgresError::Thread(error.to_string());
        let thread = Thread::start("postgres-archive").map_err(|error| gone(&error))?;
        let (config, schema) = (target.config.clone(), schema.clone());
        let preparing = async move {
            let (mut client, connection) = config
                .connect(NoTls)
                .await
                .map_err(|error| PostgresError::Connect(text(&error)))?;
            // It ends with the client; what went wrong with it, the client's calls say.
            tokio::spawn(connection);
            let outcome = tokio::time::timeout(WRITE_MAX, async {
                let set = client.batch_execute(SETTINGS).await;
                set.map_err(|error| PostgresError::Command(text(&error)))?;
                migration::prepare(&mut client, &schema).await
            });
            let silent = |_| PostgresError::Command(format!("no answer within {WRITE_MAX:?}"));
            outcome.await.map_err(silent)?
        };
        let identity = thread.run(preparing).await.map_err(|error| gone(&error))??;
        let pool = pool(target, identity).map_err(|error| gone(&error))?;
        Ok(Self { pool, thread, identity })
    }

    pub(super) const fn identity(&self) -> ArchiveIdentity {
        self.identity
    }

    /// Runs `work` on a connection, on the thread. If the caller stops waiting, it goes on until its deadline.
    pub(super) async fn ask<T, F>(&self, max: Duration, work: F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Client) -> Working<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        self.thread.run(within(pool, max, work)).await?
    }

    /// Runs `work` in a transaction, and commits unless it fails.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c Transaction<'c>) -> Working<'c, T> + Send + 'static,
    {
        self.transact(WRITE_MAX, Access::Write, work).await
    }

    /// Runs `work` on one consistent state of the database.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c Transaction<'c>) -> Working<'c, T> + Send + 'static,
    {
        self.transact(READ_MAX, Access::Read, work).await
    }

    async fn transact<T, F>(&self, max: Duration, access: Access, work: F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c Transaction<'c>) -> Working<'c, T> + Send + 'static,
    {
        self.ask(max, move |client| {
            Box::pin(async move {
                let mut transaction = client.build_transaction();
                if let Access::Read = access {
                    transaction = transaction
                        .isolation_level(IsolationLevel::RepeatableRead)
                        .read_only(true);
                }
                let transaction = transaction.start().await?;
                let done = work(&transaction).await?;
                transaction.commit().await?;
                Ok(done)
            })
        })
        .await
    }
}

/// The kind of a transaction.
#[derive(Clone, Copy, Debug)]
enum Access {
    /// It writes, at the isolation level of the database.
    Write,
    /// It reads one consistent state.
    Read,
}

async fn within<T, F>(pool: Pool, max: Duration, work: F) -> Result<T, ArchiveError>
where
    F: for<'c> FnOnce(&'c mut Client) -> Working<'c, T>,
{
    let deadline = Instant::now() + max;
    let silence = || ArchiveError::Unavailable(format!("no answer within {max:?}"));
    let got = tokio::time::timeout_at(deadline, pool.get()).await;
    let mut client = got
        .map_err(|_| silence())?
        .map_err(|error| ArchiveError::Unavailable(text(&error)))?;
    let token = client.cancel_token();
    if let Ok(outcome) = tokio::time::timeout_at(deadline, work(&mut client)).await {
        return Ok(outcome?);
    }
    // What it was doing is unknown: nobody else gets this connection.
    drop(Object::take(client));
    cancel(token).await;
    Err(silence())
}

/// Asks the server to end a statement. Whether it heard, the statement's own time-out makes up for.
async fn cancel(token: CancelToken) {
    match tokio::time::timeout(CANCEL_MAX, token.cancel_query(NoTls)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = text(&error), "a statement of the archive was not cancelled"),
        Err(_) => tracing::debug!("a statement of the archive was not cancelled: no answer"),
    }
}

/// Makes the pool. Each connection proves that it leads to the same archive before it is used.
fn pool(target: &PostgresTarget, identity: ArchiveIdentity) -> Result<Pool, deadpool_postgres::BuildError> {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(target.config.clone(), NoTls, recycling);
    let prove = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            client.batch_execute(SETTINGS).await.map_err(HookError::Backend)?;
            let row = client
                .query_one(fixed::IDENTITY, &[])
                .await
                .map_err(HookError::Backend)?;
            let found: &[u8] = row.try_get(0).map_err(HookError::Backend)?;
            if found == identity.0 {
                return Ok(());
            }
            Err(HookError::message("it is another archive than the one that was opened"))
        })
    });
    Pool::builder(manager)
        .max_size(CONNECTIONS_MAX)
        .runtime(Runtime::Tokio1)
        .post_create(prove)
        .build()
}

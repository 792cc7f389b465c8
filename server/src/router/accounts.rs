//! Asks store and archive what routing wants to know of an account. What is asked, and what follows from an answer,
//! routing decides.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::cluster::HomeStore;
use everhold_core::cluster::entrance::{BanAnswer, BanPlace};
use everhold_core::cluster::routing::{AccountQuery, AccountReply};
use everhold_core::durability::archive::{AccountAnswer, Archive, ArchiveError, CharacterRow, WallMs};
use everhold_core::durability::bans::BanStore;
use everhold_os::clock;
use everhold_protocol::Account;

use crate::deadline::answer;
use crate::host::ArchiveService;

/// A store that takes longer for a record does not answer.
pub(super) const STORE_ANSWER_MAX: Duration = Duration::from_secs(2);

/// An archive that takes longer for a row does not answer: many may log in at once, and one database serves them all.
pub(super) const ARCHIVE_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The places where accounts are kept.
#[derive(Clone)]
pub struct AccountPlaces {
    /// The records in the state store.
    pub homes: Arc<dyn HomeStore>,
    /// The bans in the state store.
    pub bans: Arc<dyn BanStore>,
    /// The archive, if there is one.
    pub archive: Option<ArchiveService>,
}

impl AccountPlaces {
    /// The places of these services.
    #[must_use]
    pub fn new(homes: &Arc<dyn HomeStore>, bans: Arc<dyn BanStore>, archive: Option<&ArchiveService>) -> Self {
        Self {
            homes: Arc::clone(homes),
            bans,
            archive: archive.cloned(),
        }
    }

    /// Asks for a ban, after `after`, and waits for the answer for `within`, or as long as for any other.
    pub(super) async fn ask_for_ban(
        self,
        account: Account,
        place: BanPlace,
        (after, within): (Duration, Option<Duration>),
    ) -> BanAnswer {
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        match place {
            BanPlace::Store => match answer(within.unwrap_or(STORE_ANSWER_MAX), self.bans.ban(account)).await {
                Ok(stored) => BanAnswer::Stored(stored),
                Err(error) => BanAnswer::of_store_error(&error),
            },
            BanPlace::Archive => {
                let service = self
                    .archive
                    .expect("the entrance asks an archive only where there is one");
                let asked = async { service.door.archive().await?.ban(account).await };
                match answer(within.unwrap_or(ARCHIVE_ANSWER_MAX), asked).await {
                    Ok(ban) => BanAnswer::Archived(ban),
                    Err(error) => BanAnswer::of_archive_error(&error),
                }
            }
        }
    }

    /// Asks, after `after`.
    pub(super) async fn ask(self, account: Account, query: AccountQuery, after: Duration) -> AccountReply {
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        match query {
            AccountQuery::Record => match answer(STORE_ANSWER_MAX, self.homes.record(account)).await {
                Ok(record) => AccountReply::Record(record),
                Err(error) => AccountReply::of_store_error(&error),
            },
            AccountQuery::SetHome(home) => {
                match answer(STORE_ANSWER_MAX, self.homes.set_home(account, None, &home)).await {
                    Ok(before) => AccountReply::HomeIs(before),
                    Err(error) => AccountReply::of_store_error(&error),
                }
            }
            query @ (AccountQuery::Archived | AccountQuery::Reserve { .. }) => {
                let service = self.archive.expect("routing asks an archive only where there is one");
                let asked = ask_archive(&service, account, query);
                let reply = answer(ARCHIVE_ANSWER_MAX, asked).await;
                reply.unwrap_or_else(|error| AccountReply::of_archive_error(&error))
            }
        }
    }
}

async fn ask_archive(
    service: &ArchiveService,
    account: Account,
    query: AccountQuery,
) -> Result<AccountReply, ArchiveError> {
    let archive: &dyn Archive = service.door.archive().await?;
    let AccountQuery::Reserve { zone, generation } = query else {
        let archived = archive.account(account).await?;
        return Ok(AccountReply::Archived(archived.map(Box::new)));
    };
    let schema = service.game.archive_schema();
    let schema = schema.map_err(|error| ArchiveError::Refused(error.to_string()))?;
    let row = CharacterRow::reserved(account, generation, zone, &schema);
    Ok(match archive.put_account(&row, WallMs(clock::unix_ms())).await? {
        AccountAnswer::Stored => AccountReply::Reserved,
        AccountAnswer::Newer { .. } => AccountReply::Taken,
        AccountAnswer::NameTaken { .. } => {
            return Err(ArchiveError::Refused("a row without a name has a taken one".to_owned()));
        }
    })
}

//! `everhold account`: what an operator does to one account. It writes archive, then store, and talks to no shard: the
//! shards hear of it from the store. Every command may be repeated, after a failure too.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use everhold_core::cluster::HomeStore;
use everhold_core::durability::archive::{Archive, ArchivedAccount, WallMs};
use everhold_core::durability::bans::{Ban, BanStore};
use everhold_os::clock;
use everhold_protocol::Account;
use serde_json::json;

use super::UsageError;
use super::store::StoreArguments;
use crate::deadline::answer;
use crate::stores;

/// A place that does not answer within this time is not there: nothing is known of what was done.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Times that a revision is written anew because another operator was quicker.
const RIVALS_MAX: u32 = 8;

/// Arguments of `everhold account`.
#[derive(Args)]
pub struct AccountArguments {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// End the account's session, and refuse its log-ins and resumes.
    Ban {
        #[command(flatten)]
        of: OfAccount,
        #[command(flatten)]
        act: Act,
        /// The ban's length: a number with s, m, h, or d. Without it the ban has no end.
        #[arg(long = "for", value_name = "TIME", value_parser = length)]
        lasting: Option<Duration>,
    },
    /// Lift the account's ban.
    Unban {
        #[command(flatten)]
        of: OfAccount,
        #[command(flatten)]
        act: Act,
    },
    /// Print what store and archive have of the account, as JSON.
    Show {
        #[command(flatten)]
        of: OfAccount,
    },
}

/// The account, and the world that it is of.
#[derive(Args)]
struct OfAccount {
    /// The account's number.
    account: u64,
    #[command(flatten)]
    store: StoreArguments,
}

/// The operator of an act, and the reason.
#[derive(Args)]
struct Act {
    /// The name of the operator, for the audit row.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// The reason, for the audit row. No player is told it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// The places in which an account is kept.
struct Kept {
    homes: Arc<dyn HomeStore>,
    bans: Arc<dyn BanStore>,
    archive: Option<Arc<dyn Archive>>,
}

/// Runs the command.
pub fn run(arguments: &AccountArguments) -> anyhow::Result<()> {
    let of = match &arguments.command {
        AccountCommand::Ban { of, .. } | AccountCommand::Unban { of, .. } | AccountCommand::Show { of } => of,
    };
    let account = Account(of.account);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let kept = open(&of.store).await?;
        match &arguments.command {
            AccountCommand::Ban { act, lasting, .. } => {
                let until_ms = lasting.map(|lasting| unix_ms().saturating_add(millis(lasting)));
                let ban = kept.write(account, act, until_ms, false).await?;
                super::print(describe(&ban))
            }
            AccountCommand::Unban { act, .. } => {
                let ban = kept.write(account, act, None, true).await?;
                super::print(describe(&ban))
            }
            AccountCommand::Show { .. } => super::print(serde_json::to_string_pretty(&kept.show(account).await?)?),
        }
    })
}

async fn open(arguments: &StoreArguments) -> anyhow::Result<Kept> {
    let places = arguments.resolve()?;
    stores::ensure_exists(&places)?;
    let storage = stores::open_storage(&places.store, None).await?;
    let archive = match arguments.resolve_archive()? {
        None => None,
        Some(config) => {
            let opened = answer(ANSWER_MAX, stores::open_archive_to_read(&config.place)).await;
            Some(opened.context("open the archive, without which a ban would be forgotten with the store")?)
        }
    };
    Ok(Kept {
        homes: storage.homes,
        bans: storage.bans,
        archive,
    })
}

impl Kept {
    /// Writes the next revision of the account's ban: into the archive first, so that a store which forgets is filled
    /// with it.
    async fn write(&self, account: Account, act: &Act, until_ms: Option<u64>, is_lifted: bool) -> anyhow::Result<Ban> {
        for _ in 0..RIVALS_MAX {
            let stands = self.newest(account).await?;
            if is_lifted && stands.as_ref().is_none_or(|stands| stands.is_lifted) {
                let ban = stands.with_context(|| format!("account {} was never banned", account.0))?;
                // It may have reached the archive only.
                anyhow::ensure!(answer(ANSWER_MAX, self.bans.put_ban(&ban)).await?.is_none(), RIVAL);
                return Ok(ban);
            }
            let ban = Ban {
                account,
                revision: stands.map_or(0, |stands| stands.revision) + 1,
                until_ms,
                is_lifted,
                by: act.by.clone(),
                reason: act.reason.clone(),
            };
            ban.check().map_err(|error| UsageError(error.to_string()))?;
            if let Some(archive) = &self.archive {
                let wall = WallMs(clock::unix_ms());
                let put = answer(ANSWER_MAX, archive.put_ban(&ban, wall)).await;
                if put.context("write the archive; run the command again")?.is_some() {
                    continue;
                }
            }
            let put = answer(ANSWER_MAX, self.bans.put_ban(&ban)).await;
            if put.context("write the store; run the command again")?.is_none() {
                return Ok(ban);
            }
        }
        anyhow::bail!(RIVAL)
    }

    /// The newest revision that either place has.
    async fn newest(&self, account: Account) -> anyhow::Result<Option<Ban>> {
        let stored = answer(ANSWER_MAX, self.bans.ban(account))
            .await
            .context("read the store")?
            .ban;
        let archived = match &self.archive {
            None => None,
            Some(archive) => answer(ANSWER_MAX, archive.ban(account))
                .await
                .context("read the archive")?,
        };
        Ok([stored, archived].into_iter().flatten().max_by_key(|ban| ban.revision))
    }

    async fn show(&self, account: Account) -> anyhow::Result<serde_json::Value> {
        let record = answer(ANSWER_MAX, self.homes.record(account))
            .await
            .context("read the store")?;
        let archived = match &self.archive {
            None => None,
            Some(archive) => answer(ANSWER_MAX, archive.account(account))
                .await
                .context("read the archive")?,
        };
        let archived = archived.map(|archived| match archived {
            ArchivedAccount::Character(character) => json!({
                "generation": character.generation,
                "zone": character.place.zone().map(ToString::to_string),
                "name": character.name,
            }),
            ArchivedAccount::Deleted { generation, .. } => json!({ "generation": generation, "is_deleted": true }),
        });
        let ban = self.newest(account).await?.map(|ban| {
            json!({
                "holds": ban.holds_at(unix_ms()),
                "revision": ban.revision,
                "until_ms": ban.until_ms,
                "is_lifted": ban.is_lifted,
                "by": ban.by,
                "reason": ban.reason,
            })
        });
        Ok(json!({
            "account": account.0,
            "home": record.as_ref().map(|record| record.home.zone.to_string()),
            "generation": record.as_ref().map(|record| record.home.generation),
            "rests_in_store": record.is_some_and(|record| record.payload.is_some()),
            "archive": archived,
            "ban": ban,
        }))
    }
}

const RIVAL: &str = "other operators change this ban all the time; run the command again";

fn describe(ban: &Ban) -> String {
    let account = ban.account.0;
    match ban.until_ms {
        _ if ban.is_lifted => format!("account {account} is not banned (revision {})", ban.revision),
        None => format!("account {account} is banned without an end (revision {})", ban.revision),
        Some(until) => format!(
            "account {account} is banned until {until} ms after the Unix epoch (revision {})",
            ban.revision
        ),
    }
}

fn unix_ms() -> u64 {
    u64::try_from(clock::unix_ms()).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a length of time: a number with a unit.
fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: write a number with s, m, h, or d, as in 90m");
    let (number, unit_s) = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)]
        .into_iter()
        .find_map(|(unit, s)| Some((text.strip_suffix(unit)?, s)))
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit_s).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_a_ban_has_a_unit() {
        let seconds = ["1s", "90m", "2h", "30d"].map(|text| length(text).map(|length| length.as_secs()));
        assert_eq!(seconds, [Ok(1), Ok(5_400), Ok(7_200), Ok(2_592_000)]);
        for wrong in [
            "",
            "5",
            "m",
            "-1d",
            "0s",
            "1w",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}

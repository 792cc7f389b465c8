//! Writes the homes of a zone's characters anew after the store has lost them, or may have. Without it a player who
//! logs in later would be born again wherever the ticket says.

use std::sync::Arc;

use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_protocol::{Account, ZoneName};
use tokio::task::JoinSet;

use super::asking::retry;
use crate::deadline::answer;

/// Homes on their way at once: enough to fill the link to a store, few enough to leave others a turn.
const HOMES_IN_FLIGHT_MAX: usize = 64;

/// Sets each account's home to `zone` unless it has one.
pub(super) async fn restore(store: Arc<dyn HomeStore>, zone: ZoneName, accounts: Vec<Account>) {
    let (all, mut failed) = (accounts.len(), 0);
    let mut writes = JoinSet::new();
    for account in accounts {
        if writes.len() >= HOMES_IN_FLIGHT_MAX {
            failed += count_failure(writes.join_next().await);
        }
        let (store, zone) = (Arc::clone(&store), zone.clone());
        writes.spawn(async move {
            let home = Home::first(zone.clone());
            let set = retry(&zone, || answer(ANSWER_MAX, store.set_home(account, None, &home))).await;
            set.is_ok()
        });
    }
    while let Some(write) = writes.join_next().await {
        failed += count_failure(Some(write));
    }
    if failed == 0 {
        tracing::info!(%zone, homes = all, "the homes of this zone's characters are stored again");
    } else {
        tracing::error!(%zone, homes = all, failed, "homes of this zone's characters could not be stored again");
    }
}

fn count_failure(write: Option<Result<bool, tokio::task::JoinError>>) -> usize {
    usize::from(!matches!(write, None | Some(Ok(true))))
}

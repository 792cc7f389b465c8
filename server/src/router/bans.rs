//! The task that looks for news of bans, and fills a store that forgot them. When, and what follows, the watch decides.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::cluster::BanWatch;
use everhold_core::durability::archive::ArchiveError;
use everhold_core::durability::bans::WHOLE;
use everhold_core::durability::store::StoreError;
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, BAN_NEWS_MS};
use everhold_os::clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::accounts::{ARCHIVE_ANSWER_MAX, AccountPlaces, STORE_ANSWER_MAX};
use super::handle::RouterEvent;
use crate::deadline::answer;

/// The moment by which bans end, milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    u64::try_from(clock::unix_ms()).unwrap_or_default()
}

/// Looks for as long as there is a router. A store that does not answer is asked again with the next look.
pub(super) async fn watch(places: AccountPlaces, router: mpsc::WeakUnboundedSender<RouterEvent>) {
    let mut watch = BanWatch::new(places.archive.is_some());
    // One at a time: news are heard meanwhile.
    let mut filling = JoinSet::new();
    let mut looks = tokio::time::interval(Duration::from_millis(BAN_NEWS_MS));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(router) = router.upgrade() else { return };
        match look(&mut watch, &places).await {
            Ok(Some((marker, doubts))) if filling.is_empty() => {
                let places = places.clone();
                filling.spawn(async move { (doubts, fill(&places, &marker).await) });
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the store tells no news of bans"),
        }
        match filling.try_join_next() {
            Some(Ok((doubts, Ok(())))) => watch.note_filled(doubts),
            Some(Ok((_, Err(error)))) => {
                tracing::warn!(error = %format!("{error:#}"), "the store lacks bans of the archive still");
            }
            Some(Err(error)) => tracing::error!(%error, "filling the store with bans panicked"),
            None => {}
        }
        let banned = watch.banned(clock::boottime(), unix_ms());
        if !banned.is_empty() && router.send(RouterEvent::Banned(banned)).is_err() {
            return;
        }
    }
}

/// Looks once. Returns the marker and the doubts of a store that is to be filled.
async fn look(watch: &mut BanWatch, places: &AccountPlaces) -> Result<Option<(String, Option<u64>)>, StoreError> {
    let doubts = places.homes.doubts();
    let news = answer(STORE_ANSWER_MAX, places.bans.ban_news(watch.after())).await?;
    let step = watch.handle_news(clock::boottime(), doubts, &news);
    for account in step.read {
        match answer(STORE_ANSWER_MAX, places.bans.ban(account)).await {
            Ok(stored) => {
                if let Some(ban) = stored.ban {
                    watch.handle_ban(clock::boottime(), ban);
                }
            }
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(account = account.0, %error, "a ban cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    watch.note_read(news.last);
    Ok(step.fill.map(|marker| (marker, doubts)))
}

/// Writes every ban of the archive into the store, unless another shard is at it.
async fn fill(places: &AccountPlaces, marker: &str) -> anyhow::Result<()> {
    let Some(service) = &places.archive else { return Ok(()) };
    let mut token = [0; 8];
    getrandom::fill(&mut token).expect("the operating system has randomness");
    let token = format!("{:016x}", u64::from_le_bytes(token));
    // Without the archive nothing can be filled, and nobody else is to wait for it.
    let archive = answer(ARCHIVE_ANSWER_MAX, service.door.archive()).await?;
    if !answer(STORE_ANSWER_MAX, places.bans.mark_bans(marker, &token)).await? {
        return Ok(());
    }
    let (mut after, mut filled) = (None, 0_u64);
    loop {
        let page = archive.bans(after, ARCHIVE_PAGE_ROWS_MAX);
        let page = answer::<_, ArchiveError>(ARCHIVE_ANSWER_MAX, page).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account);
        // A page at once: a million one after the other would take ten minutes.
        let mut writes = JoinSet::new();
        for ban in page {
            let bans = Arc::clone(&places.bans);
            writes.spawn(async move { answer(STORE_ANSWER_MAX, bans.put_ban(&ban)).await });
        }
        while let Some(written) = writes.join_next().await {
            written??;
            filled += 1;
        }
    }
    if answer(STORE_ANSWER_MAX, places.bans.mark_bans(&token, WHOLE)).await? && filled > 0 {
        tracing::info!(filled, "the store has the bans of the archive again");
    }
    Ok(())
}

//! The watch of a shard: it hears of bans of players that are connected already, and of a store that has forgotten
//! bans. It asks neither store nor archive.
//!
//! ```text
//!   BanNews ─► accounts: Read each ─► banned for BAN_WATCH_S: routing ends their connections
//!      │
//!      └─► the marker is not `whole`, or the store is in doubt ─► Fill: mark with a token of one's own
//!            ─► every ban of the archive, page by page ─► mark `whole`, if the token is still there
//! ```
//!
//! Of several shards that find the store empty one fills it: the marker is set by compare-and-set. A store that forgets
//! again meanwhile has lost the token, too, and is not called whole by it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_protocol::Account;

use crate::durability::bans::{Ban, BanNews, WHOLE};
use crate::limits::{BAN_FILL_S_MAX, BAN_WATCH_S};

/// The work that is due after a look for news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStep {
    /// Accounts whose bans are to be read, each for [`BanWatch::handle_ban`].
    pub read: Vec<Account>,
    /// The marker that is there, if the store is to be filled from the archive.
    pub fill: Option<String>,
}

/// The watch of one shard.
#[derive(Debug)]
pub struct BanWatch {
    has_archive: bool,
    after: u64,
    /// The store's doubts when it was last known to be whole; `None` before the first look.
    doubts: Option<Option<u64>>,
    /// Bans heard of, and when.
    heard: BTreeMap<Account, (Ban, Duration)>,
    /// The marker of somebody who fills the store, and when it was first seen.
    filler: Option<(String, Duration)>,
}

impl BanWatch {
    /// A watch that has heard nothing.
    #[must_use]
    pub const fn new(has_archive: bool) -> Self {
        Self {
            has_archive,
            after: 0,
            doubts: None,
            heard: BTreeMap::new(),
            filler: None,
        }
    }

    /// Returns the number to ask for news from.
    #[must_use]
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// Takes the news, asked for at `now`, and the store's [`doubts`](crate::cluster::HomeStore::doubts). The number
    /// rises with [`BanWatch::note_read`] only.
    pub fn handle_news(&mut self, now: Duration, doubts: Option<u64>, news: &BanNews) -> WatchStep {
        WatchStep {
            read: news.accounts.clone(),
            fill: self.is_fill_due(now, doubts, &news.marker).then(|| news.marker.clone()),
        }
    }

    fn is_fill_due(&mut self, now: Duration, doubts: Option<u64>, marker: &str) -> bool {
        if !self.has_archive {
            return false;
        }
        if marker.is_empty() {
            self.filler = None;
            return true;
        }
        if marker == WHOLE {
            self.filler = None;
            return *self.doubts.get_or_insert(doubts) != doubts;
        }
        match &self.filler {
            Some((seen, since)) if seen == marker => now.saturating_sub(*since) >= Duration::from_secs(BAN_FILL_S_MAX),
            _ => {
                self.filler = Some((marker.to_owned(), now));
                false
            }
        }
    }

    /// Notes that everything up to these news was read.
    pub const fn note_read(&mut self, last: u64) {
        self.after = last;
    }

    /// Notes that this shard has filled the store, whose doubts were these before, or that another is at it.
    pub const fn note_filled(&mut self, doubts: Option<u64>) {
        self.doubts = Some(doubts);
    }

    /// Takes the ban of an account that there was news of, read at `now`.
    pub fn handle_ban(&mut self, now: Duration, ban: Ban) {
        self.heard.insert(ban.account, (ban, now));
    }

    /// Returns the accounts whose connections are to be ended, at `now` and at `unix_ms`, milliseconds since the Unix
    /// epoch.
    pub fn banned(&mut self, now: Duration, unix_ms: u64) -> BTreeSet<Account> {
        self.heard
            .retain(|_, (_, heard)| now.saturating_sub(*heard) < Duration::from_secs(BAN_WATCH_S));
        let held = self.heard.values().filter(|(ban, _)| ban.holds_at(unix_ms));
        held.map(|(ban, _)| ban.account).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn marked(marker: &str) -> BanNews {
        BanNews {
            marker: marker.to_owned(),
            ..BanNews::default()
        }
    }

    fn ban(revision: u64, is_lifted: bool) -> Ban {
        Ban {
            account: Account(7),
            revision,
            until_ms: None,
            is_lifted,
            by: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn banned_account_is_looked_for_during_a_minute_unless_the_ban_is_lifted() {
        let mut watch = BanWatch::new(true);
        watch.handle_ban(at(10), ban(1, false));
        assert_eq!(watch.banned(at(11), 0), BTreeSet::from([Account(7)]));
        watch.handle_ban(at(12), ban(2, true));
        assert!(watch.banned(at(12), 0).is_empty());
        watch.handle_ban(at(13), ban(3, false));
        assert_eq!(watch.banned(at(12 + BAN_WATCH_S), 0).len(), 1);
        assert!(watch.banned(at(13 + BAN_WATCH_S), 0).is_empty());
    }

    #[test]
    fn store_without_a_marker_is_filled_and_one_that_is_being_filled_is_left_alone() {
        let mut watch = BanWatch::new(true);
        assert_eq!(watch.handle_news(at(0), None, &marked("")).fill, Some(String::new()));
        assert_eq!(watch.handle_news(at(1), None, &marked("another")).fill, None);
        assert_eq!(
            watch.handle_news(at(BAN_FILL_S_MAX), None, &marked("another")).fill,
            None
        );
        let stale = watch.handle_news(at(1 + BAN_FILL_S_MAX), None, &marked("another"));
        assert_eq!(stale.fill.as_deref(), Some("another"));
        assert_eq!(
            watch.handle_news(at(2 + BAN_FILL_S_MAX), None, &marked("a third")).fill,
            None
        );
        assert_eq!(BanWatch::new(false).handle_news(at(0), None, &marked("")).fill, None);
    }

    #[test]
    fn store_in_doubt_is_filled_anew_once() {
        let mut watch = BanWatch::new(true);
        assert_eq!(watch.handle_news(at(0), Some(1), &marked(WHOLE)).fill, None);
        let doubted = watch.handle_news(at(1), Some(2), &marked(WHOLE));
        assert_eq!(doubted.fill.as_deref(), Some(WHOLE));
        watch.note_filled(Some(2));
        assert_eq!(watch.handle_news(at(2), Some(2), &marked(WHOLE)).fill, None);
    }

    #[test]
    fn news_are_asked_for_again_until_they_were_read() {
        let mut watch = BanWatch::new(false);
        let news = BanNews {
            last: 5,
            accounts: vec![Account(7)],
            ..BanNews::default()
        };
        assert_eq!(watch.handle_news(at(0), None, &news).read, [Account(7)]);
        assert_eq!(watch.after(), 0);
        watch.note_read(5);
        assert_eq!(watch.after(), 5);
    }
}

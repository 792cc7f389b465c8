//! Bans of accounts: what is kept of one, and the trait of a store that keeps it. Whether a ban holds is asked at a
//! log-in and at a resume, by the wall clock of the shard that is asked: no zone reads one.
//!
//! ```text
//!   everhold account ban ─► archive: an audit row ─► store: the account's ban, and news of it
//!                                                          │ each shard asks for news once a second
//!                                                          ▼
//!                               its connections of the account: refused, or a Dismiss for their zone
//! ```
//!
//! A ban is never deleted: lifting it is a later revision of it. Of two revisions the higher stands, wherever they
//! meet, so a store that forgot is filled again from the archive without undoing what was written meanwhile.

use async_trait::async_trait;
use everhold_protocol::Account;

use super::store::StoreError;
use crate::limits::BAN_TEXT_BYTES_MAX;

/// The events of audit rows that are revisions of a ban: `detail` is [`Ban::to_text`].
pub const BAN_EVENTS: [&str; 2] = ["banned", "unbanned"];

/// A revision of an account's ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The account.
    pub account: Account,
    /// Counts the account's bans and their liftings, from 1 on.
    pub revision: u64,
    /// The end, milliseconds since the Unix epoch. `None`: it has none.
    pub until_ms: Option<u64>,
    /// Whether it was lifted.
    pub is_lifted: bool,
    /// The name of the operator.
    pub by: String,
    /// The reason, for other operators. No client is told it.
    pub reason: String,
}

/// The reason why a text is no ban, or a ban cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// It is not what [`Ban::to_text`] makes.
    #[error("{0:?} is no ban")]
    Malformed(String),
    /// A name or a reason is too long.
    #[error("a name or a reason of {0} bytes, at most {BAN_TEXT_BYTES_MAX} may be")]
    TooLong(usize),
    /// A name or a reason has a control character: it could pass for another field.
    #[error("a control character in a name or a reason")]
    ControlCharacter,
}

impl Ban {
    /// Whether it holds at this moment, milliseconds since the Unix epoch.
    #[must_use]
    pub fn holds_at(&self, unix_ms: u64) -> bool {
        !self.is_lifted && self.until_ms.is_none_or(|until| unix_ms < until)
    }

    /// Returns the event of its audit row.
    #[must_use]
    pub const fn event(&self) -> &'static str {
        BAN_EVENTS[self.is_lifted as usize]
    }

    /// Checks that it can be written.
    ///
    /// # Errors
    /// A text is too long, or has a control character.
    pub fn check(&self) -> Result<(), BanError> {
        for text in [&self.by, &self.reason] {
            if text.len() > BAN_TEXT_BYTES_MAX {
                return Err(BanError::TooLong(text.len()));
            }
            if text.chars().any(char::is_control) {
                return Err(BanError::ControlCharacter);
            }
        }
        Ok(())
    }

    /// Writes it as it is kept: fields with their names, a tab between two. Fields that a later build adds are passed
    /// over.
    #[must_use]
    pub fn to_text(&self) -> String {
        let until = self
            .until_ms
            .map_or_else(|| "never".to_owned(), |until| until.to_string());
        let (revision, event) = (self.revision, self.event());
        let (by, reason) = (&self.by, &self.reason);
        format!("revision={revision}\tis={event}\tuntil_ms={until}\tby={by}\treason={reason}")
    }

    /// Reads what [`Ban::to_text`] wrote.
    ///
    /// # Errors
    /// A field is missing, or is not what it should be.
    pub fn from_text(account: Account, text: &str) -> Result<Self, BanError> {
        let field = |name: &str| {
            let mut fields = text.split('\t').filter_map(|field| field.split_once('='));
            fields.find(|(of, _)| *of == name).map(|(_, value)| value)
        };
        let read = || {
            Some(Self {
                account,
                revision: field("revision")?.parse().ok()?,
                until_ms: match field("until_ms")? {
                    "never" => None,
                    until => Some(until.parse().ok()?),
                },
                is_lifted: BAN_EVENTS.iter().position(|event| Some(*event) == field("is"))? == 1,
                by: field("by")?.to_owned(),
                reason: field("reason")?.to_owned(),
            })
        };
        read().ok_or_else(|| BanError::Malformed(text.to_owned()))
    }
}

/// The answer of a store to the question for a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBan {
    /// The newest revision that the store has.
    pub ban: Option<Ban>,
    /// Whether the store has every ban that the archive has. If not, the archive is to be asked.
    pub is_whole: bool,
}

/// News of bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanNews {
    /// The store's marker: empty, [`WHOLE`], or the token of the shard that fills it.
    pub marker: String,
    /// The number of the newest news, to be asked from the next time.
    pub last: u64,
    /// The accounts whose bans changed, in order, the newest last, as far back as the store tells.
    pub accounts: Vec<Account>,
}

/// The marker of a store that has every ban of the archive.
pub const WHOLE: &str = "whole";

/// Keeps the bans of accounts in the state store, where each log-in looks.
///
/// Any process may call it at any time; no fence stands before a ban. `Ok` means done, in one order with all changes of
/// this account's ban. [`StoreError::Unavailable`] is *unknown*: every write may be repeated as it was.
/// [`StoreError::Corrupt`]: what is there cannot be read, and nothing was done.
///
/// All bans of a world, their news, and the marker are lost together or not at all, but for the last writes before a
/// fail-over: whenever [`doubts`](crate::cluster::HomeStore::doubts) change, the store is filled anew.
#[async_trait]
pub trait BanStore: Send + Sync {
    /// Reads an account's ban.
    async fn ban(&self, account: Account) -> Result<StoredBan, StoreError>;

    /// Writes a revision, with news of it, if it is higher than the one that stands, or is that one. Otherwise returns
    /// the one that stands.
    async fn put_ban(&self, ban: &Ban) -> Result<Option<Ban>, StoreError>;

    /// Returns the news after this number. A number from before the store forgot brings all of them.
    async fn ban_news(&self, after: u64) -> Result<BanNews, StoreError>;

    /// Sets the marker, if it is `expected`. Returns whether it is `marker` now.
    async fn mark_bans(&self, expected: &str, marker: &str) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban() -> Ban {
        Ban {
            account: Account(7),
            revision: 3,
            until_ms: Some(1_000),
            is_lifted: false,
            by: "anne".to_owned(),
            reason: "until_ms=never is a reason, too".to_owned(),
        }
    }

    #[test]
    fn ban_is_read_as_it_was_written() {
        let endless = Ban {
            until_ms: None,
            ..ban()
        };
        let lifted = Ban {
            is_lifted: true,
            ..ban()
        };
        for ban in [ban(), endless, lifted] {
            assert_eq!(Ban::from_text(Account(7), &ban.to_text()), Ok(ban));
        }
        let later = ban().to_text() + "\tmore=yes";
        assert_eq!(Ban::from_text(Account(7), &later), Ok(ban()), "a later build's field");
    }

    #[test]
    fn text_without_a_field_is_no_ban() {
        let text = ban().to_text();
        for name in ["revision", "is", "until_ms", "by", "reason"] {
            let without = text.replace(&format!("{name}="), "other=");
            assert!(Ban::from_text(Account(7), &without).is_err(), "{without}");
        }
    }

    #[test]
    fn ban_holds_until_its_end_and_not_when_it_is_lifted() {
        assert!(ban().holds_at(999) && !ban().holds_at(1_000));
        assert!(
            Ban {
                until_ms: None,
                ..ban()
            }
            .holds_at(u64::MAX)
        );
        assert!(
            !Ban {
                is_lifted: true,
                ..ban()
            }
            .holds_at(0)
        );
    }

    #[test]
    fn text_that_could_pass_for_another_field_is_refused() {
        let forged = Ban {
            by: "anne\tis=unbanned".to_owned(),
            ..ban()
        };
        assert_eq!(forged.check(), Err(BanError::ControlCharacter));
        let long = Ban {
            reason: "x".repeat(BAN_TEXT_BYTES_MAX + 1),
            ..ban()
        };
        assert_eq!(long.check(), Err(BanError::TooLong(BAN_TEXT_BYTES_MAX + 1)));
        assert_eq!(ban().check(), Ok(()));
    }
}

//! Accounts that are being looked up: what store and archive are asked for, how often, and what their answers mean. It
//! asks neither itself.
//!
//! ```text
//! Place: which zone?                     the store's record ─none─► the archive's row ─none─► the ticket's zone
//! Bring: what is there to bring to it?   the store's record: a character, and certainly the newest ──────────► it
//!                                          │ none, uncertain, or no character
//!                                          ▼
//!                                        the archive's row ──a character, or the last one that rested──► it
//!                                          │ none
//!                                          ▼
//!                                        Reserve: archive, then store ──► a new one may be born
//! ```
//!
//! A ticket says where a *new* character is born. Nothing is written for it before its zone, which does not have it,
//! has room: then the account is reserved for the zone, in archive and store, each of them by compare-and-set, so that
//! two shards which see a new account at the same time agree. That there is no character, only the archive can say: one
//! that is away means waiting, and in the end a refusal. A world without an archive has all characters in its zones,
//! and their homes in the store.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everhold_protocol::{Account, ZoneName};

use super::command::{AccountQuery, AccountReply, RoutingCommand};
use crate::cluster::{AccountRecord, Home};
use crate::durability::archive::{ArchivedAccount, ArchivedCharacter, ArchivedPayload};
use crate::ingress::AttachToken;
use crate::ownership::DataStamp;
use crate::zone::state::FIRST_GENERATION;

/// Tries to reach store or archive, after the first, before a login is refused ...
const LOOK_UP_RETRIES_MAX: u32 = 8;
/// ... and the wait before each.
const LOOK_UP_RETRY: Duration = Duration::from_millis(250);

/// The look-ups that have no answer yet, at most one for each connection.
#[derive(Debug)]
pub(super) struct LookUps {
    has_archive: bool,
    running: BTreeMap<AttachToken, LookUp>,
}

#[derive(Debug)]
struct LookUp {
    account: Account,
    /// The zone: the ticket's, or the one that the character is brought to.
    zone: ZoneName,
    aim: Aim,
    /// The store's record, once it is known.
    record: Option<AccountRecord>,
    /// The generation to reserve the account at.
    reserve: u64,
    query: AccountQuery,
    /// Times that the same was asked again.
    retries: u32,
}

/// The aim of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The zone of the account.
    Place,
    /// The character, for a zone that did not have it at this tick.
    Bring {
        asked: DataStamp,
        /// Whether the account is to be reserved for the zone, if it has none: a ticket brings one into being, and a
        /// secret does not.
        reserves: bool,
    },
}

/// The character that a zone is to be brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundCharacter {
    /// It rests; of this generation, and these bytes.
    Rests(u64, Bytes),
    /// There is none: one may be born, of a generation above this.
    Unborn(u64),
}

/// The result of a step of a look-up.
#[derive(Debug)]
pub(super) enum LookUpStep {
    /// The account's character lives, or may be born, in this zone.
    Known(ZoneName),
    /// This is to be brought to the zone, which did not have it at this tick.
    Bring(DataStamp, FoundCharacter),
    /// Store or archive are to be asked this.
    Ask(RoutingCommand),
    /// The account cannot be looked up, for this reason.
    Failed(String),
}

impl LookUps {
    pub(super) const fn new(has_archive: bool) -> Self {
        Self {
            has_archive,
            running: BTreeMap::new(),
        }
    }

    /// Begins to look for the zone of an account whose ticket says where a new character is born.
    pub(super) fn begin_place(&mut self, conn: AttachToken, account: Account, born: ZoneName) -> RoutingCommand {
        self.begin(conn, account, born, Aim::Place)
    }

    /// Begins to look for the character of an account, which its zone did not have at this tick. If there is none, it
    /// `reserves` the account for the zone.
    pub(super) fn begin_bring(
        &mut self,
        conn: AttachToken,
        account: Account,
        zone: ZoneName,
        (asked, reserves): (DataStamp, bool),
    ) -> RoutingCommand {
        self.begin(conn, account, zone, Aim::Bring { asked, reserves })
    }

    fn begin(&mut self, conn: AttachToken, account: Account, zone: ZoneName, aim: Aim) -> RoutingCommand {
        let look_up = LookUp {
            account,
            zone,
            aim,
            record: None,
            reserve: FIRST_GENERATION,
            query: AccountQuery::Record,
            retries: 0,
        };
        let command = look_up.command(conn, Duration::ZERO);
        self.running.insert(conn, look_up);
        command
    }

    /// Forgets the look-up of a connection that is gone. What it reserved stays so.
    pub(super) fn forget(&mut self, conn: AttachToken) {
        self.running.remove(&conn);
    }

    /// Judges an answer. `None` if there is no such look-up.
    pub(super) fn handle_reply(&mut self, conn: AttachToken, reply: AccountReply) -> Option<LookUpStep> {
        let has_archive = self.has_archive;
        let look_up = self.running.get_mut(&conn)?;
        let step = look_up.judge(reply, has_archive);
        let step = match step {
            LookUpVerdict::Ask(query) => {
                look_up.retries = 0;
                look_up.query = query;
                return Some(LookUpStep::Ask(look_up.command(conn, Duration::ZERO)));
            }
            LookUpVerdict::Again(_) if look_up.retries < LOOK_UP_RETRIES_MAX => {
                look_up.retries += 1;
                return Some(LookUpStep::Ask(look_up.command(conn, LOOK_UP_RETRY)));
            }
            LookUpVerdict::Again(why) | LookUpVerdict::Failed(why) => LookUpStep::Failed(why),
            LookUpVerdict::Known(zone) => LookUpStep::Known(zone),
            LookUpVerdict::Bring(asked, arrival) => LookUpStep::Bring(asked, arrival),
        };
        self.running.remove(&conn);
        Some(step)
    }
}

/// The judgement on an answer.
enum LookUpVerdict {
    Known(ZoneName),
    Bring(DataStamp, FoundCharacter),
    Ask(AccountQuery),
    /// Nothing is known: the same is to be asked again. The reason, for the log.
    Again(String),
    Failed(String),
}

impl LookUp {
    fn command(&self, conn: AttachToken, after: Duration) -> RoutingCommand {
        RoutingCommand::AskAccount {
            conn,
            account: self.account,
            query: self.query.clone(),
            after,
        }
    }

    fn judge(&mut self, reply: AccountReply, has_archive: bool) -> LookUpVerdict {
        match reply {
            AccountReply::Unknown(why) => LookUpVerdict::Again(why),
            AccountReply::Unreadable(why) => LookUpVerdict::Failed(why),
            AccountReply::Record(record) => self.judge_record(record, has_archive),
            AccountReply::Archived(archived) => self.judge_archived(archived.map(|account| *account)),
            // Somebody else was first: what is there now, is what counts.
            AccountReply::Taken => LookUpVerdict::Ask(AccountQuery::Archived),
            AccountReply::Reserved => LookUpVerdict::Ask(AccountQuery::SetHome(Home::first(self.zone.clone()))),
            AccountReply::HomeIs(before) => self.judge_home(before),
        }
    }

    fn judge_record(&mut self, record: Option<AccountRecord>, has_archive: bool) -> LookUpVerdict {
        let known_zone = record.as_ref().map(|record| record.home.zone.clone());
        let Aim::Bring { asked, .. } = self.aim else {
            return match known_zone {
                Some(zone) => LookUpVerdict::Known(zone),
                None if has_archive => LookUpVerdict::Ask(AccountQuery::Archived),
                None => LookUpVerdict::Known(self.zone.clone()),
            };
        };
        if let Some(zone) = known_zone.filter(|zone| *zone != self.zone) {
            return LookUpVerdict::Known(zone);
        }
        if let Some(record) = &record
            && record.is_certain
            && let Some(payload) = &record.payload
        {
            return LookUpVerdict::Bring(asked, FoundCharacter::Rests(record.home.generation, payload.clone()));
        }
        if has_archive {
            self.record = record;
            return LookUpVerdict::Ask(AccountQuery::Archived);
        }
        let kept = self.bring_kept(record);
        kept.unwrap_or_else(|| self.reserve_home(FIRST_GENERATION))
    }

    /// Judges what the archive says. What the store has counts where it is not older.
    fn judge_archived(&mut self, archived: Option<ArchivedAccount>) -> LookUpVerdict {
        let Aim::Bring { asked, .. } = self.aim else {
            return LookUpVerdict::Known(match archived {
                Some(ArchivedAccount::Character(character)) => character.place.zone().unwrap_or(&self.zone).clone(),
                Some(ArchivedAccount::Deleted { .. }) | None => self.zone.clone(),
            });
        };
        let record = self.record.take();
        let character = match archived {
            Some(ArchivedAccount::Character(character)) => *character,
            Some(ArchivedAccount::Deleted { generation, .. }) => return self.reserve(generation + 1),
            None => {
                return self
                    .bring_kept(record)
                    .unwrap_or_else(|| self.reserve(FIRST_GENERATION));
            }
        };
        if let Some(zone) = character.place.zone().filter(|zone| **zone != self.zone) {
            return LookUpVerdict::Known(zone.clone());
        }
        let kept = record.map_or((0, None), |record| (record.home.generation, record.payload));
        let generation = kept.0.max(character.generation);
        let is_damaged = character.payload == ArchivedPayload::Damaged;
        match newest_payload(character, kept) {
            Some(payload) => LookUpVerdict::Bring(asked, FoundCharacter::Rests(generation, payload)),
            None if is_damaged => {
                LookUpVerdict::Failed(format!("the character of account {} is damaged", self.account.0))
            }
            // Its zone had it, and does not have it any more: its birth is undone, with the history that it was in.
            None => LookUpVerdict::Bring(asked, FoundCharacter::Unborn(generation)),
        }
    }

    /// Brings the character that the store has, certain or not, where the archive has none: it went back, perhaps.
    fn bring_kept(&self, record: Option<AccountRecord>) -> Option<LookUpVerdict> {
        let Aim::Bring { asked, .. } = self.aim else {
            return None;
        };
        let AccountRecord { home, payload, .. } = record?;
        Some(LookUpVerdict::Bring(
            asked,
            FoundCharacter::Rests(home.generation, payload?),
        ))
    }

    /// Reserves the account in the archive, which has no character of it.
    fn reserve(&mut self, generation: u64) -> LookUpVerdict {
        self.reserve = generation;
        self.unless_it_only_asks(AccountQuery::Reserve {
            zone: self.zone.clone(),
            generation,
        })
    }

    /// Reserves the account in the store, in a world without an archive.
    fn reserve_home(&mut self, generation: u64) -> LookUpVerdict {
        self.reserve = generation;
        self.unless_it_only_asks(AccountQuery::SetHome(Home::first(self.zone.clone())))
    }

    fn unless_it_only_asks(&self, query: AccountQuery) -> LookUpVerdict {
        match self.aim {
            Aim::Bring { asked, reserves: false } => LookUpVerdict::Bring(asked, FoundCharacter::Unborn(self.reserve)),
            Aim::Bring { .. } | Aim::Place => LookUpVerdict::Ask(query),
        }
    }

    /// Judges the home that there was before one was set.
    fn judge_home(&self, before: Option<Home>) -> LookUpVerdict {
        match (self.aim, before) {
            (_, Some(home)) if home.zone != self.zone => LookUpVerdict::Known(home.zone),
            (Aim::Place, _) => LookUpVerdict::Known(self.zone.clone()),
            (Aim::Bring { asked, .. }, before) => {
                let generation = before.map_or(self.reserve, |home| home.generation.max(self.reserve));
                LookUpVerdict::Bring(asked, FoundCharacter::Unborn(generation))
            }
        }
    }
}

/// Returns the newest bytes of a character: of the archive's row, of the store's record, or of its last rest.
fn newest_payload(archived: ArchivedCharacter, kept: (u64, Option<Bytes>)) -> Option<Bytes> {
    let (kept_generation, kept) = kept;
    let own = match archived.payload {
        ArchivedPayload::Whole(payload) => Some(payload),
        ArchivedPayload::Absent | ArchivedPayload::Damaged => None,
    };
    let (newer, older) = if kept_generation > archived.generation {
        (kept, own)
    } else {
        (own, kept)
    };
    newer.or(older).or(archived.last_payload)
}

//! The entrance: every connection that has said a good hello is asked for a ban of its account before routing hears of
//! it, whatever credential it showed. It asks no store, and reads no clock.
//!
//! ```text
//!   handle_login ─► Ask the store ─whole, no ban that holds──────────────────────────────► Admit
//!                     │    │ a ban that holds ─► Refuse: Banned                              ▲
//!                     │    └ not whole ─► Ask the archive, if there is one ─no such ban──────┘
//!                     └ no answer ─► a secret, after 100 ms: Admit; a ticket: Wait is told once
//!                                    the same is asked again, until the client goes; a ban then: Banned
//! ```
//!
//! A place that does not answer is no reason to let a ticket in, nor to turn it away. A session goes on: the place of
//! bans may be gone alone, while a zone is whole, and a ban that is found later ends it then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use everhold_protocol::{Account, RefusalCode};

use super::routing::BANNED_DETAIL;
use crate::durability::archive::ArchiveError;
use crate::durability::bans::{Ban, StoredBan};
use crate::durability::store::StoreError;
use crate::ingress::refusal::Refusal;
use crate::ingress::{AttachToken, Login};

/// The first and the longest wait before the same is asked again.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// The time for which a session waits at the entrance, at most: a store that works answers in a few milliseconds, and
/// one that is gone, with its host perhaps, is not to hold a fail-over up.
const SESSION_WAITS_MAX: Duration = Duration::from_millis(100);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntranceCommand {
    /// Asks for the account's ban. Answer with [`Entrance::handle_answer`].
    Ask {
        /// The connection that waits for it.
        conn: AttachToken,
        /// The account.
        account: Account,
        /// The place to ask.
        place: BanPlace,
        /// Time to let pass before it is asked.
        after: Duration,
        /// Time within which the answer is waited for, if it is not the place's own.
        within: Option<Duration>,
    },
    /// Tells the client that it waits.
    Wait(AttachToken),
    /// Hands the connection on to routing.
    Admit {
        /// The connection.
        conn: AttachToken,
        /// The credential that it showed.
        login: Login,
        /// Whether its player has ended the session meanwhile.
        logs_out: bool,
    },
    /// Closes the connection.
    Refuse(AttachToken, Refusal),
    /// The account is banned, of a connection that was handed on already: tell routing.
    Banned(Account),
}

/// A place that has bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanPlace {
    /// The state store.
    Store,
    /// The archive.
    Archive,
}

/// The answer to the question for a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanAnswer {
    /// The store's.
    Stored(StoredBan),
    /// The archive's.
    Archived(Option<Ban>),
    /// None, for this reason: it is to be asked again.
    Unknown(String),
    /// The ban that is there cannot be read, for this reason.
    Unreadable(String),
}

impl BanAnswer {
    /// Makes the answer of a store that gave none.
    #[must_use]
    pub fn of_store_error(error: &StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => Self::Unreadable(error.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }

    /// Makes the answer of an archive that gave none.
    #[must_use]
    pub fn of_archive_error(error: &ArchiveError) -> Self {
        match error {
            ArchiveError::Corrupt(_) => Self::Unreadable(error.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

/// The connections at the entrance: at most one question for each.
#[derive(Debug)]
pub struct Entrance {
    has_archive: bool,
    entering: BTreeMap<AttachToken, Entering>,
    commands: VecDeque<EntranceCommand>,
}

#[derive(Debug)]
struct Entering {
    login: Login,
    account: Account,
    place: BanPlace,
    /// The last wait; zero before the first.
    waited: Duration,
    logs_out: bool,
    /// Whether routing has the connection: a session whose ban is not known yet.
    is_admitted: bool,
}

impl Entrance {
    /// An entrance without anybody.
    #[must_use]
    pub const fn new(has_archive: bool) -> Self {
        Self {
            has_archive,
            entering: BTreeMap::new(),
            commands: VecDeque::new(),
        }
    }

    /// Takes in a connection that has said a good hello.
    pub fn handle_login(&mut self, conn: AttachToken, login: Login) {
        let account = match &login {
            Login::Ticket(claims) => claims.account,
            Login::Resume(claim) => claim.account,
        };
        let entering = Entering {
            login,
            account,
            place: BanPlace::Store,
            waited: Duration::ZERO,
            logs_out: false,
            is_admitted: false,
        };
        self.commands.push_back(entering.ask(conn));
        self.entering.insert(conn, entering);
    }

    /// Notes that the player of a connection ends its session. Returns whether the connection is still here.
    pub fn handle_logout(&mut self, conn: AttachToken) -> bool {
        let entering = self.entering.get_mut(&conn).filter(|entering| !entering.is_admitted);
        entering.map(|entering| entering.logs_out = true).is_some()
    }

    /// Notes that a connection is over.
    pub fn handle_gone(&mut self, conn: AttachToken) {
        self.entering.remove(&conn);
    }

    /// Takes the answer to an [`EntranceCommand::Ask`], which came at `unix_ms`, milliseconds since the Unix epoch.
    pub fn handle_answer(&mut self, unix_ms: u64, conn: AttachToken, answer: BanAnswer) {
        let Some(entering) = self.entering.get_mut(&conn) else {
            return;
        };
        let ban = match answer {
            BanAnswer::Stored(stored) if stored.is_whole || !self.has_archive => stored.ban,
            // What the archive has is at least as new: a ban, or its lifting.
            BanAnswer::Stored(_) => {
                (entering.place, entering.waited) = (BanPlace::Archive, Duration::ZERO);
                return self.commands.push_back(entering.ask(conn));
            }
            BanAnswer::Archived(ban) => ban,
            BanAnswer::Unknown(_) => {
                if entering.waited.is_zero() && !entering.is_admitted {
                    self.commands.push_back(entering.greet_unchecked(conn));
                }
                entering.waited = (2 * entering.waited).clamp(ASK_AGAIN.0, ASK_AGAIN.1);
                return self.commands.push_back(entering.ask(conn));
            }
            BanAnswer::Unreadable(_) if entering.is_admitted => None,
            BanAnswer::Unreadable(_) => {
                let detail = "the account cannot be looked up; try again";
                return self.refuse(conn, RefusalCode::Internal, detail);
            }
        };
        let is_banned = ban.is_some_and(|ban| ban.holds_at(unix_ms));
        let Some(entering) = self.entering.remove(&conn) else {
            return;
        };
        let (account, is_admitted) = (entering.account, entering.is_admitted);
        let Entering { login, logs_out, .. } = entering;
        self.commands.push_back(match (is_admitted, is_banned) {
            (true, false) => return,
            (true, true) => EntranceCommand::Banned(account),
            (false, true) => EntranceCommand::Refuse(conn, Refusal::new(RefusalCode::Banned, BANNED_DETAIL)),
            (false, false) => EntranceCommand::Admit { conn, login, logs_out },
        });
    }

    /// The next thing to do. Call it after every `handle_*` until there is none.
    pub fn poll_command(&mut self) -> Option<EntranceCommand> {
        self.commands.pop_front()
    }

    fn refuse(&mut self, conn: AttachToken, code: RefusalCode, detail: &str) {
        self.entering.remove(&conn);
        let refusal = Refusal::new(code, detail);
        self.commands.push_back(EntranceCommand::Refuse(conn, refusal));
    }
}

impl Entering {
    /// Lets a session in, whose ban is not known, and tells a newcomer to wait.
    fn greet_unchecked(&mut self, conn: AttachToken) -> EntranceCommand {
        if matches!(self.login, Login::Ticket(_)) {
            return EntranceCommand::Wait(conn);
        }
        self.is_admitted = true;
        EntranceCommand::Admit {
            conn,
            login: self.login.clone(),
            logs_out: self.logs_out,
        }
    }

    const fn ask(&self, conn: AttachToken) -> EntranceCommand {
        let is_held_up = matches!(self.login, Login::Resume(_)) && !self.is_admitted;
        EntranceCommand::Ask {
            conn,
            account: self.account,
            place: self.place,
            after: self.waited,
            within: if is_held_up { Some(SESSION_WAITS_MAX) } else { None },
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::limits::SECRET_BYTES;
    use everhold_protocol::ticket::TicketClaims;
    use everhold_protocol::{Epoch, SessionId};

    use super::*;
    use crate::ingress::ResumeClaim;

    const CONN: AttachToken = AttachToken(1);
    const NOW: u64 = 5_000;

    fn login() -> Login {
        Login::Ticket(TicketClaims {
            id: [1; 16],
            account: Account(7),
            zone: "meadow".parse().expect("a name"),
            expires_unix_s: 60,
        })
    }

    fn ban(until_ms: Option<u64>, is_lifted: bool) -> Ban {
        Ban {
            account: Account(7),
            revision: 1,
            until_ms,
            is_lifted,
            by: "anne".to_owned(),
            reason: String::new(),
        }
    }

    fn stored(ban: Option<Ban>, is_whole: bool) -> BanAnswer {
        BanAnswer::Stored(StoredBan { ban, is_whole })
    }

    fn unknown() -> BanAnswer {
        BanAnswer::Unknown("a time-out".to_owned())
    }

    /// The commands for a connection that has these answers, in a word or two each.
    fn words(has_archive: bool, answers: Vec<BanAnswer>) -> Vec<String> {
        words_for(login(), has_archive, answers)
    }

    fn words_for(login: Login, has_archive: bool, answers: Vec<BanAnswer>) -> Vec<String> {
        let mut entrance = Entrance::new(has_archive);
        entrance.handle_login(CONN, login);
        for answer in answers {
            entrance.handle_answer(NOW, CONN, answer);
        }
        let word = |command| match command {
            EntranceCommand::Ask { place, after, .. } => format!("{place:?} {}", after.as_millis()),
            EntranceCommand::Wait(_) => "wait".to_owned(),
            EntranceCommand::Admit { .. } => "admit".to_owned(),
            EntranceCommand::Refuse(_, refusal) => format!("{:?}", refusal.code),
            EntranceCommand::Banned(account) => format!("end {}", account.0),
        };
        std::iter::from_fn(|| entrance.poll_command()).map(word).collect()
    }

    #[test]
    fn account_is_let_in_unless_a_ban_of_it_holds() {
        let held = [None, Some(NOW + 1)].map(|until| Some(ban(until, false)));
        for ban in held {
            assert_eq!(words(true, vec![stored(ban, true)]), ["Store 0", "Banned"]);
        }
        let free = [None, Some(ban(None, true)), Some(ban(Some(NOW), false))];
        for ban in free {
            assert_eq!(words(true, vec![stored(ban, true)]), ["Store 0", "admit"]);
        }
    }

    #[test]
    fn archive_is_asked_if_the_store_may_have_forgotten() {
        let asked = |archived| words(true, vec![stored(None, false), BanAnswer::Archived(archived)]);
        assert_eq!(asked(Some(ban(None, false))), ["Store 0", "Archive 0", "Banned"]);
        assert_eq!(asked(None), ["Store 0", "Archive 0", "admit"]);
        assert_eq!(
            words(false, vec![stored(None, false)]),
            ["Store 0", "admit"],
            "there is no archive"
        );
    }

    #[test]
    fn silence_lets_no_ticket_in_and_turns_none_away() {
        let silent = words(true, vec![unknown(), unknown(), stored(None, false), unknown()]);
        let expected = [
            "Store 0",
            "wait",
            "Store 250",
            "Store 500",
            "Archive 0",
            "wait",
            "Archive 250",
        ];
        assert_eq!(silent, expected);
        let long = words(true, vec![unknown(); 9]);
        assert_eq!(long.last().map(String::as_str), Some("Store 2000"));
    }

    #[test]
    fn session_goes_on_during_silence_and_a_ban_that_is_found_later_ends_it() {
        let resume = || {
            Login::Resume(ResumeClaim {
                account: Account(7),
                zone: "meadow".parse().expect("a name"),
                session: SessionId::default(),
                secret: [1; SECRET_BYTES],
                epoch: Epoch(1),
                event_seq: 0,
            })
        };
        let banned = words_for(resume(), true, vec![stored(Some(ban(None, false)), true)]);
        assert_eq!(banned, ["Store 0", "Banned"], "an answer is waited for");
        let late = vec![unknown(), unknown(), stored(Some(ban(None, false)), true)];
        let late = words_for(resume(), true, late);
        assert_eq!(late, ["Store 0", "admit", "Store 250", "Store 500", "end 7"]);
        let free = words_for(resume(), true, vec![unknown(), stored(None, true)]);
        assert_eq!(free, ["Store 0", "admit", "Store 250"]);
    }

    #[test]
    fn connection_that_is_gone_is_not_handed_on_and_a_log_out_is() {
        let mut entrance = Entrance::new(false);
        entrance.handle_login(CONN, login());
        assert!(entrance.handle_logout(CONN));
        entrance.handle_answer(NOW, CONN, stored(None, true));
        let last = std::iter::from_fn(|| entrance.poll_command()).last();
        assert!(matches!(last, Some(EntranceCommand::Admit { logs_out: true, .. })));
        assert!(!entrance.handle_logout(CONN), "routing has it");
        entrance.handle_login(AttachToken(2), login());
        entrance.handle_gone(AttachToken(2));
        entrance.handle_answer(NOW, AttachToken(2), stored(None, true));
        assert_eq!(
            std::iter::from_fn(|| entrance.poll_command()).count(),
            1,
            "the question"
        );
    }
}

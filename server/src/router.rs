//! The router brings each connection to the zone it wants: into a zone of this process, to another shard, or into the car park until
//! somebody serves the zone. It decides nothing about ownership; it reads the directory.

mod accounts;
mod lobby;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everhold_core::cluster::{Directory, Placement, RouteRequest};
use everhold_core::durability::store::{Home, StateStore, StoreError};
use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_core::ingress::login::Login;
use everhold_core::ingress::{AttachToken, Input, ResumeKeys};
use everhold_core::limits::{LOGIN_ROUND_MS, PLACEMENTS_PER_TURN, TICKET_MEMORY_SLACK_S};
use everhold_core::ownership::authority::ShardView;
use everhold_core::ownership::{Grant, LeaseView};
use everhold_net::transport::{Conn, ConnEvent};
use everhold_os::clock;
use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{Account, RefusalCode, ServerMessage, ZoneName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::host::{PendingAttach, ZoneHandle};
use accounts::{Accounts, tickets_over_before_unix_s};
use lobby::Lobby;
use waiting::{Claim, Waiting, WaitingRoom};

/// Tries to reach the store for a home before a login is refused, and the wait between two.
const HOME_TRIES_MAX: u32 = 8;
const HOME_RETRY: Duration = Duration::from_millis(250);

/// What the router hears besides connections.
pub enum RouterEvent {
    /// The authority's view, a few times a second.
    Views {
        /// Those that could be read.
        leases: Vec<LeaseView>,
        /// If they could be.
        shards: Option<Vec<ShardView>>,
    },
    /// A zone runs here.
    ZoneUp(ZoneHandle),
    /// It no longer does.
    ZoneEnded(ZoneName, Grant),
    /// Let no newcomer in any more: the process is stopping.
    Close,
}

/// What a router goes by.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Ticks per second.
    pub tick_hz: u16,
    /// Players of a zone above which newcomers wait.
    pub players_max: u32,
    /// Makes the secrets that players come back with.
    pub resume_keys: ResumeKeys,
}

/// See the module.
pub struct Router {
    directory: Arc<Mutex<Directory>>,
    store: Arc<dyn StateStore>,
    config: RouterConfig,
    zones: HashMap<ZoneName, ZoneHandle>,
    lobbies: HashMap<ZoneName, Lobby>,
    waiting: WaitingRoom,
    accounts: Accounts,
    /// Connections that were handed to a zone.
    placed: HashMap<AttachToken, ZoneName>,
    /// Those of them whose players have ended their session: the zone closes them.
    leaving: HashSet<AttachToken>,
    homes: JoinSet<(AttachToken, Result<ZoneName, StoreError>)>,
    closed: bool,
}

impl Router {
    /// A router that knows no zone yet.
    pub fn new(config: RouterConfig, directory: Arc<Mutex<Directory>>, store: Arc<dyn StateStore>) -> Self {
        Self {
            directory,
            store,
            config,
            zones: HashMap::new(),
            lobbies: HashMap::new(),
            waiting: WaitingRoom::default(),
            accounts: Accounts::default(),
            placed: HashMap::new(),
            leaving: HashSet::new(),
            homes: JoinSet::new(),
            closed: false,
        }
    }

    /// Runs until both senders are gone.
    pub async fn run(mut self, mut conns: mpsc::Receiver<ConnEvent>, mut events: mpsc::UnboundedReceiver<RouterEvent>) {
        let mut rounds = tokio::time::interval(Duration::from_millis(LOGIN_ROUND_MS));
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = conns.recv() => match event {
                    Some(event) => self.handle_conn(event),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => self.handle_event(event),
                    None => return,
                },
                Some(home) = self.homes.join_next() => match home {
                    Ok((token, home)) => self.handle_home(token, home),
                    Err(error) => tracing::error!(%error, "a home look-up panicked"),
                },
                _ = rounds.tick() => {
                    self.admit_queued();
                    self.expire_newcomers();
                }
                // Gives way to others once in each turn.
                () = tokio::task::yield_now(), if self.waiting.is_due() => self.place_due(),
            }
        }
    }

    fn handle_conn(&mut self, event: ConnEvent) {
        #[cfg(feature = "testing")]
        crate::failpoint::fail(crate::failpoint::Part::Router);
        match event {
            ConnEvent::Hello { conn, .. } if self.closed => conn.close(RefusalCode::Stopping, "the server is stopping"),
            ConnEvent::Hello {
                conn,
                login: Login::Ticket(claims),
            } => self.seek_home(conn, claims),
            ConnEvent::Hello {
                conn,
                login:
                    Login::Resume {
                        account,
                        zone,
                        session,
                        secret,
                        epoch,
                        event_seq,
                    },
            } => {
                let request = RouteRequest::Resume {
                    epoch,
                    since: clock::boottime(),
                };
                let claim = Claim::Resume {
                    account,
                    session,
                    secret,
                    event_seq,
                };
                self.seek_session(conn, zone, request, claim);
            }
            ConnEvent::Logout { conn } => self.log_out(&conn),
            ConnEvent::Closed { token, .. } => {
                self.leaving.remove(&token);
                self.accounts.leave(token);
                self.give_up(token);
                self.leave(token);
            }
        }
    }

    fn handle_event(&mut self, event: RouterEvent) {
        match event {
            RouterEvent::Views { leases, shards } => {
                self.directory()
                    .handle_views(clock::boottime(), &leases, shards.as_deref());
            }
            RouterEvent::ZoneUp(handle) => {
                self.zones.insert(handle.zone.clone(), handle);
            }
            RouterEvent::ZoneEnded(zone, grant) => {
                if self.zones.get(&zone).is_some_and(|handle| handle.grant == grant) {
                    self.zones.remove(&zone);
                    self.placed.retain(|_, placed| *placed != zone);
                    self.close_lobby(&zone);
                }
            }
            RouterEvent::Close => {
                self.closed = true;
                self.close_queues();
                for waiting in self.waiting.drain() {
                    waiting
                        .conn
                        .close(RefusalCode::Stopping, "the server is stopping; another will answer");
                }
            }
        }
        self.waiting.note_change();
    }

    /// Looks again at some of those who wait: with thousands of them, nobody else is to wait for all of it.
    fn place_due(&mut self) {
        let now = clock::boottime();
        let directory = self.directory.lock().expect("no holder of the directory panics");
        let zones = &self.zones;
        let is_served = |zone: &ZoneName| zones.contains_key(zone) || directory.is_served(now, zone);
        let due = self.waiting.take_due(PLACEMENTS_PER_TURN, is_served);
        drop(directory);
        for token in due {
            self.place(token);
        }
    }

    /// A secret says where a session was last; the zone compares it.
    fn seek_session(&mut self, conn: Conn, zone: ZoneName, request: RouteRequest, claim: Claim) {
        if let Claim::Resume { account, secret, .. } = &claim
            && !self.accounts.come_back(*account, &conn, *secret)
        {
            let detail = "as many connections of this account as may wait here do so already; try again later";
            conn.close(RefusalCode::Full, detail);
            return;
        }
        let token = conn.token();
        self.waiting.insert(Waiting::new(conn, zone, request, claim));
        self.place(token);
    }

    /// A ticket says where a *new* character is born; one that lives somewhere is sent there.
    fn seek_home(&mut self, conn: Conn, claims: TicketClaims) {
        let token = conn.token();
        let (account, zone) = (claims.account, claims.zone.clone());
        let placement = self
            .directory()
            .place(clock::boottime(), &zone, None, RouteRequest::New);
        if placement == Placement::ZoneUnknown {
            conn.close(RefusalCode::ZoneUnknown, "this world has no such zone");
            return;
        }
        let Some(conn) = self.succeed(conn, &claims) else {
            return;
        };
        self.accounts.log_in(account, &conn);
        let store = Arc::clone(&self.store);
        self.homes.spawn({
            let zone = zone.clone();
            async move { (token, settle_home(store.as_ref(), account, zone).await) }
        });
        let claim = Claim::Homing(claims);
        self.waiting.insert(Waiting::new(conn, zone, RouteRequest::New, claim));
    }

    fn handle_home(&mut self, token: AttachToken, home: Result<ZoneName, StoreError>) {
        match home {
            Ok(zone) => {
                // It may have gone away meanwhile.
                if self.waiting.settle(token, zone) {
                    self.place(token);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a login is refused because its home cannot be read");
                self.refuse(token, RefusalCode::Internal, "the store does not answer; try again");
            }
        }
    }

    /// Brings a waiting connection where it belongs, if that is known now.
    fn place(&mut self, token: AttachToken) {
        let Some(waiting) = self.waiting.get(token) else {
            return;
        };
        if waiting.queues() || matches!(waiting.claim, Claim::Homing(_)) {
            return;
        }
        let here = self.zones.get(&waiting.zone).and_then(ZoneHandle::hosted);
        let placement = self
            .directory()
            .place(clock::boottime(), &waiting.zone, here, waiting.request);
        match placement {
            Placement::Wait => self.tell_to_wait(token),
            Placement::Here => self.request_entry(token),
            Placement::There { .. } if waiting.is_expired(tickets_over_before_unix_s()) => {
                // It kept its place here for as long as it could; who serves the zone now would say the same.
                let detail = "another shard serves the zone now, and the ticket has expired meanwhile: log in again";
                self.refuse(token, RefusalCode::TicketExpired, detail);
            }
            Placement::There { addr, epoch } => {
                if let Some(Waiting { conn, zone, .. }) = self.waiting.remove(token) {
                    conn.send_away(&ServerMessage::Redirect { addr, zone, epoch });
                }
            }
            Placement::SessionUnknown => {
                let detail = "this world is older than the session, and has none such: log in again";
                self.refuse(token, RefusalCode::SessionUnknown, detail);
            }
            Placement::ZoneUnknown => self.refuse(token, RefusalCode::ZoneUnknown, "this world has no such zone"),
        }
    }

    fn tell_to_wait(&mut self, token: AttachToken) {
        if let Some(waiting) = self.waiting.get_mut(token)
            && !std::mem::replace(&mut waiting.told_to_wait, true)
        {
            waiting.conn.send_control(&ServerMessage::Wait);
        }
    }

    fn refuse(&mut self, token: AttachToken, code: RefusalCode, detail: &str) {
        if let Some(waiting) = self.waiting.remove(token) {
            waiting.conn.close(code, detail);
        }
    }

    fn attach(&mut self, token: AttachToken) {
        let waiting = self.waiting.remove(token).expect("`place` has just seen it");
        if waiting.conn.ended() {
            // It gave way to another, and would spend what that one has shown, too.
            return;
        }
        let handle = self
            .zones
            .get(&waiting.zone)
            .expect("`place` has just seen that it runs here");
        let account = waiting.claim.account();
        let secret = self.config.resume_keys.make(account, random_bytes());
        let secret_hash = *blake3::hash(&secret).as_bytes();
        let input = match waiting.claim {
            Claim::Homing(claims) | Claim::Join(claims) => Input::Join {
                account,
                ticket: claims.id,
                ticket_forget_tick: handle.tick() + self.ticket_memory_ticks(&claims),
                secret: secret_hash,
                token,
            },
            Claim::Resume {
                session,
                secret: shown,
                event_seq,
                ..
            } => Input::Resume {
                session,
                secret: *blake3::hash(&shown).as_bytes(),
                next_secret: secret_hash,
                event_seq,
                token,
            },
        };
        let pending = PendingAttach::new(waiting.conn.clone(), secret, waiting.logs_out);
        if !handle.attach(pending, input) {
            let detail = "the zone takes no more inputs; try again";
            waiting.conn.close(RefusalCode::Full, detail);
        } else if waiting.logs_out {
            self.leaving.insert(token);
        } else {
            self.enter(token, waiting.zone);
        }
    }

    fn ticket_memory_ticks(&self, claims: &TicketClaims) -> u64 {
        let left_s = claims.expires_unix_s.saturating_sub(clock::unix_s());
        (left_s + TICKET_MEMORY_SLACK_S) * u64::from(self.config.tick_hz)
    }

    fn directory(&self) -> std::sync::MutexGuard<'_, Directory> {
        self.directory.lock().expect("no holder of the directory panics")
    }
}

/// The account's home; `born` becomes it if there is none.
async fn settle_home(store: &dyn StateStore, account: Account, born: ZoneName) -> Result<ZoneName, StoreError> {
    let mut tries = 0;
    loop {
        let first = Home {
            zone: born.clone(),
            generation: 1,
        };
        match store.set_home(account, None, &first).await {
            Ok(None) => return Ok(born),
            Ok(Some(home)) => return Ok(home.zone),
            Err(StoreError::Unavailable(_)) if tries < HOME_TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(HOME_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn random_bytes() -> [u8; SECRET_RANDOM_BYTES] {
    let mut bytes = [0; SECRET_RANDOM_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

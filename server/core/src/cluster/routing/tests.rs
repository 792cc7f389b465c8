//! A shard's routing under test: connections, zones, and an authority that a test moves by hand, on a clock that only
//! the test moves. What routing wants done is one line of text each.

use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::{Account, Epoch, SessionId, Tick};

use super::*;
use crate::cluster::directory::Hosted;
use crate::durability::store::StoreError;
use crate::ingress::{Birth, Login};
use crate::load::{Caller, Residents, Rung};
use crate::ownership::{Grant, KeyFingerprints, Nonce};
use crate::zone::Residence;

mod banned;
mod ends;
mod homes;
mod queue;
mod waiting;

const TTL: Duration = Duration::from_secs(4);
const ME: Nonce = Nonce(1);
const OTHER: Nonce = Nonce(2);
/// The Unix time at which the tests begin, seconds.
const UNIX_S: u64 = 1_800_000_000;
const TICKET_GOOD_S: u64 = 60;
const HZ: u16 = 20;

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

fn meadow() -> ZoneName {
    zone("meadow")
}

fn token(conn: u64) -> AttachToken {
    AttachToken(conn)
}

fn tenure(name: &str, epoch: u32) -> Tenure {
    Tenure {
        zone: zone(name),
        grant: Grant::issue(Epoch(epoch), ME),
    }
}

struct FakeZone {
    status: ZoneStatus,
    residents: Residents,
}

#[derive(Default)]
struct FakeLocal {
    zones: BTreeMap<ZoneName, FakeZone>,
    /// Those that are not [`ConnStatus::Unattached`].
    conns: BTreeMap<AttachToken, ConnStatus>,
}

impl LocalState for FakeLocal {
    fn zone(&self, zone: &ZoneName) -> Option<ZoneStatus> {
        self.zones.get(zone).map(|zone| zone.status)
    }

    fn caller(&self, zone: &ZoneName, account: Account, ticket: &[u8; 16]) -> Caller {
        let zone = &self.zones[zone];
        zone.residents.judge(account, ticket, zone.status.tick)
    }

    fn has(&self, zone: &ZoneName, account: Account) -> bool {
        self.zones[zone].residents.has(account)
    }

    fn conn(&self, conn: AttachToken) -> ConnStatus {
        self.conns.get(&conn).copied().unwrap_or(ConnStatus::Unattached)
    }
}

/// One shard of a world with a meadow, a forest, and a harbor.
struct Shard {
    routing: Routing,
    local: FakeLocal,
    now: Duration,
    beat: u64,
    /// Whether a store that knows no account answers at once, unseen.
    store_answers: bool,
}

/// The moment on a shard's clocks; it leaves `$shard.routing` to be borrowed.
macro_rules! at {
    ($shard:expr) => {
        Moment {
            now: $shard.now,
            unix_s: UNIX_S + $shard.now.as_secs(),
            local: &$shard.local,
        }
    };
}
use at;

impl Shard {
    fn new(players_max: u32) -> Self {
        Self::of(RoutingConfig {
            tick_hz: HZ,
            players_max,
            has_archive: false,
        })
    }

    fn of(config: RoutingConfig) -> Self {
        let zones = ["meadow", "forest", "harbor"].map(zone);
        let directory = Directory::new(ME, TTL, zones.into_iter());
        Self {
            routing: Routing::new(config, directory),
            local: FakeLocal::default(),
            now: Duration::ZERO,
            beat: 0,
            store_answers: true,
        }
    }

    /// Answers what the store is asked, as one that knows no account.
    fn answer(&mut self, conn: AttachToken, query: &AccountQuery) {
        let reply = match query {
            AccountQuery::Record => AccountReply::Record(None),
            AccountQuery::SetHome(_) => AccountReply::HomeIs(None),
            AccountQuery::Archived | AccountQuery::Reserve { .. } => panic!("this world has no archive"),
        };
        self.routing.handle_account(at!(self), conn, reply);
    }

    /// A shard that runs the meadow under epoch 1.
    fn with_meadow(players_max: u32) -> Self {
        let mut shard = Self::new(players_max);
        assert!(shard.zone_up("meadow", 1).is_empty());
        shard
    }

    /// Polls all commands, as text. Connections that they end are ended from then on.
    fn commands(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(command) = self.routing.poll_command() {
            if let RoutingCommand::Refuse { conn, .. } | RoutingCommand::Redirect { conn, .. } = &command {
                self.local.conns.insert(*conn, ConnStatus::Ended);
            }
            if let RoutingCommand::AskAccount { conn, query, .. } = &command
                && self.store_answers
            {
                self.answer(*conn, query);
                continue;
            }
            if let RoutingCommand::ForgetZone(zone) = &command {
                self.local.zones.remove(zone);
            }
            said.push(line(&command));
        }
        said
    }

    /// Takes all turns that are due.
    fn turns(&mut self) -> Vec<String> {
        while self.routing.is_due() {
            self.routing.handle_turn(at!(self));
        }
        self.commands()
    }

    fn pulse(&mut self) -> Vec<String> {
        self.routing.handle_pulse(at!(self));
        self.commands()
    }

    fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn zone_up(&mut self, name: &str, epoch: u32) -> Vec<String> {
        let hosted = Hosted {
            epoch: Epoch(epoch),
            since: self.now,
            may_speak: true,
        };
        let status = ZoneStatus {
            hosted: Some(hosted),
            rung: Rung::Normal,
            tick: Tick(1_000),
        };
        let residents = Residents::default();
        self.local.zones.insert(zone(name), FakeZone { status, residents });
        self.routing.handle_zone_up(tenure(name, epoch));
        self.turns()
    }

    fn zone_ended(&mut self, name: &str, epoch: u32) -> Vec<String> {
        self.routing.handle_zone_ended(&tenure(name, epoch));
        self.turns()
    }

    fn meadow(&mut self) -> &mut FakeZone {
        self.local.zones.get_mut(&meadow()).unwrap()
    }

    /// The authority shows that the other shard serves this zone under this epoch, and renews.
    fn served_elsewhere(&mut self, name: &str, epoch: u32) -> Vec<String> {
        for _ in 0..2 {
            self.beat += 1;
            let lease = LeaseView {
                zone: zone(name),
                epoch: Epoch(epoch),
                nonce: OTHER,
                beat: self.beat,
                released: false,
                addr: addr(4_002),
                players: 0,
                ttl: Duration::ZERO,
                mark: None,
            };
            self.routing.handle_views(at!(self), &[lease], None);
        }
        self.turns()
    }

    /// A connection shows a ticket for the meadow; the account has no other home.
    fn log_in(&mut self, conn: u64, account: u64) -> Vec<String> {
        self.log_in_with(conn, claims(account, conn))
    }

    fn log_in_with(&mut self, conn: u64, mut claims: TicketClaims) -> Vec<String> {
        claims.expires_unix_s += self.now.as_secs();
        self.routing.handle_login(at!(self), token(conn), Login::Ticket(claims));
        self.commands()
    }

    /// A connection shows the secret of a session of account 1 in the meadow, under epoch 1.
    fn resume(&mut self, conn: u64, secret: u8) -> Vec<String> {
        self.resume_above(conn, secret, 1)
    }

    fn resume_above(&mut self, conn: u64, secret: u8, epoch: u32) -> Vec<String> {
        let login = Login::Resume(ResumeClaim {
            account: Account(1),
            zone: meadow(),
            session: SessionId::new(1, 2),
            secret: [secret; 32],
            epoch: Epoch(epoch),
            event_seq: 9,
        });
        self.routing.handle_login(at!(self), token(conn), login);
        self.commands()
    }

    fn gone(&mut self, conn: u64) -> Vec<String> {
        self.routing.handle_gone(token(conn));
        self.commands()
    }

    fn logout(&mut self, conn: u64) -> Vec<String> {
        self.routing.handle_logout(token(conn));
        self.commands()
    }
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn ticket_id(ticket: u64) -> [u8; 16] {
    u128::from(ticket).to_le_bytes()
}

/// A ticket for the meadow that is good for [`TICKET_GOOD_S`].
fn claims(account: u64, ticket: u64) -> TicketClaims {
    TicketClaims {
        id: ticket_id(ticket),
        account: Account(account),
        zone: meadow(),
        expires_unix_s: UNIX_S + TICKET_GOOD_S,
    }
}

fn line(command: &RoutingCommand) -> String {
    match command {
        RoutingCommand::AskAccount { conn, query, after, .. } => {
            let what = match query {
                AccountQuery::Record => "record".to_owned(),
                AccountQuery::Archived => "archive".to_owned(),
                AccountQuery::Reserve { zone, generation } => format!("reserve {zone} {generation}"),
                AccountQuery::SetHome(home) => format!("home {} {}", home.zone, home.generation),
            };
            format!("{} {what} {}", conn.0, after.as_millis())
        }
        RoutingCommand::Attach(attach) => {
            let what = match attach.request {
                AttachRequest::Join { .. } => "join",
                AttachRequest::Resume { .. } => "resume",
            };
            let leaves = if attach.logs_out { " leave" } else { "" };
            let lodges = if attach.lodge.is_some() { "lodge " } else { "" };
            format!("{} {lodges}{what} {}{leaves}", attach.conn.0, attach.zone)
        }
        RoutingCommand::Detach { conn, zone } => format!("{} detach {zone}", conn.0),
        RoutingCommand::Logout { conn, zone } => format!("{} logout {zone}", conn.0),
        RoutingCommand::Reply { conn, message } | RoutingCommand::Redirect { conn, message } => match message {
            ServerMessage::Wait => format!("{} wait", conn.0),
            ServerMessage::Queued { position } => format!("{} queued {position}", conn.0),
            ServerMessage::Redirect { addr, zone, epoch } => {
                format!("{} redirect {zone} {} {epoch}", conn.0, addr.port())
            }
            other => panic!("routing does not say {other:?}"),
        },
        RoutingCommand::Refuse { conn, refusal } => format!("{} refused {:?}", conn.0, refusal.code),
        RoutingCommand::Dismiss { account, zone, code } => format!("dismiss {} {zone} {code:?}", account.0),
        RoutingCommand::ForgetZone(zone) => format!("forget {zone}"),
        RoutingCommand::Meter { zone, meter } => format!("meter {zone} {meter:?}"),
        RoutingCommand::NamePeers(peers) => format!("peers {peers:?}"),
        RoutingCommand::ReportLookUp(why) => format!("report {why}"),
    }
}

/// The lines that are no figures of a queue.
fn heard(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("meter")).collect()
}

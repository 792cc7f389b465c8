//! Log-ins and log-outs by chance, over a zone, an archive, and a cache of characters at rest that forgets, goes back,
//! and is late: each player comes back with all that the moves of value add up to, and none is born twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everhold_core::cluster::routing::{
    AccountQuery, AccountReply, ConnStatus, LocalState, Moment, RoutingCommand, ZoneStatus,
};
use everhold_core::cluster::{AccountRecord, Directory, Home, Hosted, Routing, RoutingConfig};
use everhold_core::durability::archive::{ArchivedAccount, ArchivedCharacter, ArchivedPayload, CharacterPlace, WallMs};
use everhold_core::durability::archivist::{CutCharacter, CutFacts};
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Input, Login};
use everhold_core::load::{Caller, Residents, Rung};
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_core::zone::{Cut, Outputs, Reply, Zone, ZoneConfig};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{Account, EntityId, Epoch, Intent, Tick, ZoneName};

const ACCOUNTS: u64 = 6;
const STEPS: u32 = 3_000;
const UNIX_S: u64 = 1_800_000_000;

/// The zone and the connections, as their process knows them.
struct Local {
    residents: Residents,
    tick: Tick,
    conns: BTreeMap<AttachToken, ConnStatus>,
}

impl LocalState for Local {
    fn zone(&self, _: &ZoneName) -> Option<ZoneStatus> {
        Some(ZoneStatus {
            hosted: Some(Hosted {
                epoch: Epoch(1),
                since: Duration::ZERO,
                may_speak: true,
            }),
            rung: Rung::Normal,
            tick: self.tick,
        })
    }

    fn caller(&self, _: &ZoneName, account: Account, ticket: &[u8; 16]) -> Caller {
        self.residents.judge(account, ticket, self.tick)
    }

    fn has(&self, _: &ZoneName, account: Account) -> bool {
        self.residents.has(account)
    }

    fn conn(&self, conn: AttachToken) -> ConnStatus {
        self.conns.get(&conn).copied().unwrap_or(ConnStatus::Ended)
    }
}

/// The moment on the clocks of a process whose zone is at this tick.
fn moment(local: &Local) -> Moment<'_> {
    Moment {
        now: Duration::from_millis(local.tick.0 * 50),
        unix_s: UNIX_S + local.tick.0 / 20,
        local,
    }
}

/// A record of the cache: home, payload, and the number of the cache's losses when it was written.
type Kept = (Home, Option<Bytes>, u64);

/// A row of the archive: generation, payload, and the last payload before.
type Row = (u64, Option<Bytes>, Option<Bytes>);

struct World {
    rng: SplitMix64,
    name: ZoneName,
    rules: Arc<RuleBook>,
    zone: Zone,
    local: Local,
    routing: Routing,
    inbox: Vec<Input>,
    /// Residences that are not acknowledged yet.
    unacknowledged: VecDeque<Outputs>,
    questions: VecDeque<(AttachToken, Account, AccountQuery)>,
    cuts: VecDeque<Vec<CutCharacter>>,
    evictions: Vec<Input>,
    cache: BTreeMap<Account, Kept>,
    older_cache: BTreeMap<Account, Kept>,
    losses: u64,
    archive: BTreeMap<Account, Row>,
    /// The accounts of connections that wait.
    asking: BTreeMap<AttachToken, Account>,
    /// The players in the zone: session, connection, and the last intent of each.
    playing: BTreeMap<Account, (EntityId, AttachToken, u64)>,
    /// The coins of each account by all moves so far.
    coins: BTreeMap<Account, i128>,
    born: BTreeSet<Account>,
    next: u64,
    came_back: u32,
    evicted: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let text = include_str!("../src/game/yard.toml");
        let rules = Arc::new(RuleBook::from_toml(text).expect("a world"));
        let name: ZoneName = "yard".parse().expect("a name");
        let config = ZoneConfig {
            name: name.clone(),
            seed,
            tick_hz: 20,
            game: rules.clone(),
        };
        let rules_id = config.rules_id();
        let mut zone = Zone::new(config);
        zone.step(&[Input::EpochStart {
            epoch: Epoch(1),
            nonce: 1,
            rules_id,
        }]);
        let directory = Directory::new(Nonce(1), Duration::from_secs(4), [name.clone()].into_iter());
        let config = RoutingConfig {
            tick_hz: 20,
            players_max: 100,
            has_archive: true,
        };
        let mut routing = Routing::new(config, directory);
        routing.handle_zone_up(Tenure {
            zone: name.clone(),
            grant: Grant::issue(Epoch(1), Nonce(1)),
        });
        Self {
            rng: SplitMix64::new(seed),
            local: Local {
                residents: Residents::of(&mut zone),
                tick: zone.tick(),
                conns: BTreeMap::new(),
            },
            name,
            rules,
            zone,
            routing,
            inbox: Vec::new(),
            unacknowledged: VecDeque::new(),
            questions: VecDeque::new(),
            cuts: VecDeque::new(),
            evictions: Vec::new(),
            cache: BTreeMap::new(),
            older_cache: BTreeMap::new(),
            losses: 0,
            archive: BTreeMap::new(),
            asking: BTreeMap::new(),
            playing: BTreeMap::new(),
            coins: BTreeMap::new(),
            born: BTreeSet::new(),
            next: 0,
            came_back: 0,
            evicted: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.draw() % bound
    }

    fn log_in(&mut self, account: Account) {
        self.next += 1;
        let conn = AttachToken(self.next);
        self.local.conns.insert(conn, ConnStatus::Unattached);
        self.asking.insert(conn, account);
        let claims = TicketClaims {
            id: u128::from(self.next).to_le_bytes(),
            account,
            zone: self.name.clone(),
            expires_unix_s: UNIX_S + self.zone.tick().0 / 20 + 60,
        };
        let moment = moment(&self.local);
        self.routing.handle_login(moment, conn, Login::Ticket(claims));
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.routing.poll_command() {
            match command {
                RoutingCommand::AskAccount {
                    conn, account, query, ..
                } => self.questions.push_back((conn, account, query)),
                RoutingCommand::Attach(attach) => {
                    self.inbox.extend(attach.lodge.clone().map(Input::Lodge));
                    self.inbox.push(attach.input([attach.conn.0 as u8; 32]));
                }
                RoutingCommand::Refuse { conn, .. } => self.end(conn),
                _ => {}
            }
        }
    }

    fn end(&mut self, conn: AttachToken) {
        self.local.conns.remove(&conn);
        self.asking.remove(&conn);
        self.routing.handle_gone(conn);
    }

    /// Answers the oldest question, if there is one; now and then with nothing.
    fn answer(&mut self, is_away: bool) {
        let Some((conn, account, query)) = self.questions.pop_front() else {
            return;
        };
        let reply = if is_away {
            AccountReply::Unknown("away".to_owned())
        } else {
            self.reply(account, query)
        };
        self.routing.handle_account(moment(&self.local), conn, reply);
        self.carry_out();
    }

    fn reply(&mut self, account: Account, query: AccountQuery) -> AccountReply {
        match query {
            AccountQuery::Record => {
                AccountReply::Record(self.cache.get(&account).map(|(home, payload, losses)| AccountRecord {
                    home: home.clone(),
                    payload: payload.clone(),
                    is_certain: payload.is_some() && *losses == self.losses,
                }))
            }
            AccountQuery::Archived => AccountReply::Archived(self.archived(account).map(Box::new)),
            AccountQuery::Reserve { generation, .. } => match self.archive.get(&account) {
                Some(row) if row.0 > generation || row.1.is_some() => AccountReply::Taken,
                _ => {
                    self.archive.insert(account, (generation, None, None));
                    AccountReply::Reserved
                }
            },
            AccountQuery::SetHome(home) => {
                let before = self.cache.get(&account).map(|(home, ..)| home.clone());
                let losses = self.losses;
                self.cache.entry(account).or_insert((home.clone(), None, losses));
                AccountReply::HomeIs(before.filter(|before| *before != home))
            }
        }
    }

    fn archived(&self, account: Account) -> Option<ArchivedAccount> {
        let (generation, payload, last) = self.archive.get(&account)?.clone();
        Some(ArchivedAccount::Character(Box::new(ArchivedCharacter {
            account,
            generation,
            place: CharacterPlace::Zone(self.name.clone()),
            name: None,
            payload: payload.map_or(ArchivedPayload::Absent, ArchivedPayload::Whole),
            last_payload: last,
            columns: Vec::new(),
            stamp: None,
            wall: WallMs(0),
        })))
    }

    /// One tick of the zone.
    fn step(&mut self) {
        let inputs = std::mem::take(&mut self.inbox);
        let outputs = self.zone.step(&inputs);
        self.local.tick = self.zone.tick();
        for told in &outputs.moves {
            let amount = i128::from(told.amount);
            if told.thing.is_some() {
                continue;
            }
            if let (None, Some(to)) = (told.from, told.to) {
                assert!(self.born.insert(to), "account {} was born twice", to.0);
            }
            if let Some(from) = told.from {
                *self.coins.entry(from).or_default() -= amount;
            }
            if let Some(to) = told.to {
                *self.coins.entry(to).or_default() += amount;
            }
        }
        for (conn, reply) in &outputs.replies {
            self.hear(*conn, reply);
        }
        self.unacknowledged.push_back(outputs);
        let lag = self.below(4) as usize;
        while self.unacknowledged.len() > lag {
            let outputs = self.unacknowledged.pop_front().expect("it is not empty");
            self.local.residents.handle_tick(outputs.tick, &outputs.residences);
        }
    }

    fn hear(&mut self, conn: AttachToken, reply: &Reply) {
        match reply {
            Reply::Attached(welcome) => {
                let Some(account) = self.asking.remove(&conn) else {
                    return;
                };
                let coins = self.coins.get(&account).copied().unwrap_or_default();
                assert_eq!(
                    i128::from(welcome.own.gold),
                    coins,
                    "account {} at {}",
                    account.0,
                    self.zone.tick()
                );
                self.local.conns.insert(conn, ConnStatus::Attached);
                self.playing
                    .insert(account, (welcome.session, conn, welcome.last_input_seq));
                self.came_back += 1;
            }
            Reply::Refused(_) => self.end(conn),
            Reply::LoggedOut(_) | Reply::Dismissed(..) | Reply::Superseded(_) => {
                self.playing.retain(|_, (_, playing, _)| *playing != conn);
                self.end(conn);
            }
        }
    }

    /// A player leaves, by its own will or by its network's.
    fn leave(&mut self, account: Account) {
        if let Some((session, token, _)) = self.playing.remove(&account) {
            let is_polite = self.below(2) == 0;
            self.inbox.push(if is_polite {
                Input::Logout { session, token }
            } else {
                Input::Detach { session, token }
            });
            self.end(token);
        }
    }

    /// A player gives a coin to another one.
    fn give(&mut self, from: Account, to: Account) {
        let Some(to) = self.zone.session_of(to) else { return };
        if let Some((session, _, seq)) = self.playing.get_mut(&from) {
            *seq += 1;
            self.inbox.push(Input::Intent {
                session: *session,
                seq: *seq,
                intent: Intent::GiveGold { to, amount: 1 },
            });
        }
    }

    fn cut(&mut self) {
        let frozen = self.zone.freeze(Cut::Base);
        self.zone.capture_confirmed();
        let facts = CutFacts::of(&frozen, &*self.rules, WallMs(0));
        self.cuts.push_back(facts.characters);
    }

    /// Commits the oldest cut, keeps those that rest in the cache, and asks the zone to forget them.
    fn commit(&mut self) {
        for character in self.cuts.pop_front().unwrap_or_default() {
            let account = character.account;
            let before = self.archive.remove(&account).unwrap_or_default();
            assert!(before.0 <= character.generation, "no history was undone");
            let last = before.1.or(before.2);
            let payload = character.payload.clone();
            self.archive
                .insert(account, (character.generation, payload.clone(), last));
            let Some(payload) = payload else { continue };
            let home = Home {
                zone: self.name.clone(),
                generation: character.generation,
            };
            self.cache.insert(account, (home, Some(payload), self.losses));
            self.evictions.push(Input::Evict {
                account,
                generation: character.generation,
            });
        }
    }

    fn chance(&mut self) {
        let account = Account(1 + self.below(ACCOUNTS));
        let other = Account(1 + self.below(ACCOUNTS));
        match self.below(16) {
            0 | 1 => self.log_in(account),
            2..=4 => self.leave(account),
            5 => self.give(account, other),
            6 => self.cut(),
            7 => self.commit(),
            8 => {
                // Late, in another order, or twice.
                let at = self.below(1 + self.evictions.len() as u64) as usize;
                let eviction = self.evictions.get(at).cloned();
                self.inbox.extend(eviction);
                if at < self.evictions.len() && self.below(3) > 0 {
                    self.evictions.remove(at);
                }
            }
            9 => _ = self.cache.remove(&account),
            10 if self.below(8) == 0 => {
                self.losses += 1;
                self.cache = self.older_cache.clone();
            }
            11 => self.older_cache = self.cache.clone(),
            12 | 13 => {
                for _ in 0..self.below(12) {
                    let is_away = self.below(8) == 0;
                    self.answer(is_away);
                }
            }
            _ => {
                for _ in 0..self.below(30) {
                    self.step();
                }
            }
        }
        self.step();
        self.evicted = self
            .evicted
            .max(u32::try_from(self.born.len() - self.zone.accounts().len()).unwrap_or(0));
    }

    /// Everybody who was ever born comes back.
    fn gather(&mut self) {
        for account in self.born.clone() {
            self.leave(account);
        }
        for _ in 0..60 {
            self.step();
        }
        self.cut();
        while !self.cuts.is_empty() {
            self.commit();
        }
        self.inbox.append(&mut self.evictions);
        self.step();
        assert_eq!(self.zone.accounts(), [], "everybody rests outside");
        for account in self.born.clone() {
            while !self.playing.contains_key(&account) {
                self.log_in(account);
                for _ in 0..20 {
                    self.answer(false);
                    self.step();
                }
            }
        }
    }
}

#[test]
fn players_come_back_with_all_they_had_whatever_the_cache_forgets() {
    let (mut came_back, mut evicted) = (0, 0);
    for seed in 1..=20 {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.chance();
        }
        world.gather();
        assert_eq!(world.playing.len(), world.born.len(), "seed {seed}");
        came_back += world.came_back;
        evicted = evicted.max(world.evicted);
    }
    assert!(came_back > 500, "{came_back} came back");
    assert!(evicted >= 3, "{evicted} were away at once");
}

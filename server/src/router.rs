//! The router carries out what [`Routing`] decides: it hears of connections and zones, and speaks to clients, zones,
//! and the store. It decides nothing itself.

mod accounts;
mod bans;
mod commands;
mod handle;
mod local;

use std::net::SocketAddr;
use std::time::Duration;

use everhold_core::cluster::entrance::BanAnswer;
use everhold_core::cluster::routing::AccountReply;
use everhold_core::cluster::{Directory, Entrance, Routing, RoutingConfig};
use everhold_core::ingress::{AttachToken, ResumeKeys};
use everhold_core::limits::LOGIN_ROUND_MS;
use everhold_net::transport::ConnEvent;
use everhold_os::vital;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::handle::RouterEvent;
use self::local::Local;

pub use self::accounts::AccountPlaces;
pub use self::handle::RouterHandle;

/// Drives a shard's [`Routing`].
pub struct Router {
    /// The entrance, which connections pass before routing hears of them.
    entrance: Entrance,
    routing: Routing,
    local: Local,
    places: AccountPlaces,
    /// Makes the secrets that players come back with.
    resume_keys: ResumeKeys,
    look_ups: JoinSet<(AttachToken, AccountReply)>,
    ban_look_ups: JoinSet<(AttachToken, BanAnswer)>,
    peers: watch::Sender<Vec<SocketAddr>>,
}

impl Router {
    /// Starts the task of a router that knows no zone yet, on the current runtime. `conns` is what connections say; the
    /// task ends with them, or with the last handle.
    pub fn start(
        config: RoutingConfig,
        resume_keys: ResumeKeys,
        directory: Directory,
        places: AccountPlaces,
        conns: mpsc::Receiver<ConnEvent>,
    ) -> RouterHandle {
        let (sender, events) = mpsc::unbounded_channel();
        let (peers, shown) = watch::channel(Vec::new());
        let router = Self {
            routing: Routing::new(config, directory),
            local: Local::default(),
            entrance: Entrance::new(config.has_archive),
            places: places.clone(),
            resume_keys,
            look_ups: JoinSet::new(),
            ban_look_ups: JoinSet::new(),
            peers,
        };
        vital::spawn("router", router.run(conns, events));
        vital::spawn("watch for bans", bans::watch(places, sender.downgrade()));
        RouterHandle::new(sender, shown)
    }

    async fn run(mut self, mut conns: mpsc::Receiver<ConnEvent>, mut events: mpsc::UnboundedReceiver<RouterEvent>) {
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
                Some(reply) = self.look_ups.join_next() => match reply {
                    Ok((conn, reply)) => self.routing.handle_account(self.local.now(), conn, reply),
                    Err(error) => tracing::error!(%error, "the look-up of an account panicked"),
                },
                Some(answer) = self.ban_look_ups.join_next() => match answer {
                    Ok((conn, answer)) => self.entrance.handle_answer(bans::unix_ms(), conn, answer),
                    Err(error) => tracing::error!(%error, "the look-up of a ban panicked"),
                },
                _ = rounds.tick() => self.routing.handle_pulse(self.local.now()),
                // Gives way to others once in each turn.
                () = tokio::task::yield_now(), if self.routing.is_due() => self.routing.handle_turn(self.local.now()),
            }
            while let Some(command) = self.entrance.poll_command() {
                self.carry_out_at_entrance(command);
            }
            while let Some(command) = self.routing.poll_command() {
                self.carry_out(command);
            }
        }
    }

    fn handle_conn(&mut self, event: ConnEvent) {
        #[cfg(feature = "testing")]
        crate::failpoint::fail(crate::failpoint::Part::Router);
        match event {
            ConnEvent::Hello { conn, login } => {
                let token = conn.token();
                self.local.conns.insert(token, conn);
                self.entrance.handle_login(token, login);
            }
            ConnEvent::Logout { conn } => {
                if !self.entrance.handle_logout(conn.token()) {
                    self.routing.handle_logout(conn.token());
                }
            }
            ConnEvent::Closed { token, .. } => {
                self.entrance.handle_gone(token);
                self.routing.handle_gone(token);
                self.local.conns.remove(&token);
            }
        }
    }

    fn handle_event(&mut self, event: RouterEvent) {
        match event {
            RouterEvent::Views { leases, shards } => {
                self.routing.handle_views(self.local.now(), &leases, shards.as_deref());
            }
            RouterEvent::ZoneUp(zone) => {
                self.routing.handle_zone_up(zone.tenure.clone());
                self.local.zones.insert(zone.tenure.zone.clone(), zone);
            }
            RouterEvent::ZoneEnded(tenure) => self.routing.handle_zone_ended(&tenure),
            RouterEvent::Banned(accounts) => self.routing.handle_banned(&accounts),
            RouterEvent::Close => self.routing.handle_close(),
        }
    }
}

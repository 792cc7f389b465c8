//! A shard: one process that hosts zones. This ties the parts together and decides nothing itself.

mod entering;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use everhold_core::cluster::{Directory, HomeStore, RoutingConfig};
use everhold_core::durability::adoption::{AdoptError, History};
use everhold_core::durability::store::ZoneStore;
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::game::RuleBook;
use everhold_core::limits::CONN_EVENTS_MAX;
use everhold_core::ownership::holder::command::Views;
use everhold_core::ownership::{AdoptionFailure, EndReason, Remains, Tenure};
use everhold_core::replication::ViewConfig;
use everhold_core::report::ShardEvent;
use everhold_core::zone::ZoneConfig;
use everhold_net::keys::Keys;
use everhold_net::transport::Transport;
use everhold_os::clock;
use everhold_os::vital;
use everhold_protocol::{RefusalCode, Tick, ZoneName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::entering::{enter_world, random_nonce, take_address};
use crate::config::Config;
use crate::guardian::GuardianLink;
use crate::host::{self, Ended, HostConfig, HostServices, LeaseGuard, ZoneHandle};
use crate::keeper::{Granted, Keeper, KeeperConfig, KeeperEvent, KeeperEvents, KeeperHandle};
use crate::process::{self, ProcessGauge};
use crate::reporter::Reporter;
use crate::router::{Router, RouterHandle};
use crate::stores::Stores;

/// A zone that does not stop within this time (because the store is gone) is left to its lease.
const ZONE_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running shard.
pub struct Shard {
    addr: SocketAddr,
    transport: Transport,
    parts: Arc<Parts>,
    router: RouterHandle,
    watch: tokio::task::JoinHandle<()>,
}

/// The parts of a shard that every adoption needs.
struct Parts {
    config: Config,
    rules: Arc<RuleBook>,
    store: Arc<dyn ZoneStore>,
    homes: Arc<dyn HomeStore>,
    reporter: Reporter,
    process: Arc<ProcessGauge>,
    zones: Mutex<HashMap<ZoneName, ZoneHandle>>,
    /// Zones whose lease ran out here, as they stood then.
    memories: Mutex<HashMap<ZoneName, SuspendedZone>>,
    keeper: KeeperHandle,
    router: RouterHandle,
    /// Not bounded: each stands for a zone that was hosted, and no host waits for the shard.
    ended: mpsc::UnboundedSender<Ended>,
}

impl Shard {
    /// Binds, declares the world's zones, and begins to contend for them. Call it inside the runtime that is to carry
    /// sockets and durable tasks.
    pub async fn start(
        config: Config,
        rules: Arc<RuleBook>,
        keys: &Keys,
        Stores {
            zones: store,
            homes,
            coordination,
        }: Stores,
        reporter: Reporter,
        mut guardian: GuardianLink,
    ) -> anyhow::Result<Self> {
        let nonce = random_nonce()?;
        let (conn_events, conns) = mpsc::channel(CONN_EVENTS_MAX);
        let (transport, addr) = take_address(&config, keys, &mut guardian, conn_events).await?;
        let listens = transport.local_addr();
        let fingerprints = keys.fingerprints();
        enter_world(&coordination, &config, (nonce, addr, &fingerprints)).await?;
        // A shard that may not join has told nobody anything.
        let transport = transport.serve()?;
        let (ended, ends) = mpsc::unbounded_channel();
        let directory = Directory::new(nonce, config.lease.ttl, rules.zones().cloned());
        let (process, watch) = process::start(transport.counters(), reporter.clone());
        let (routing, resume_keys) = (routing_config(&config), keys.resume_keys());
        let router = Router::start(routing, resume_keys, directory, Arc::clone(&homes), conns);
        let keeper_config = KeeperConfig::new(&config, (nonce, addr, fingerprints), &rules, guardian);
        let views = router.clone();
        let (keeper, keeper_events) = Keeper::start((coordination, Arc::clone(&store)), keeper_config, move |seen| {
            let Views { leases, shards } = seen;
            views.views(leases, shards);
        })
        .context("start the lease keeper")?;
        let parts = Arc::new(Parts {
            config,
            rules,
            store,
            homes,
            reporter,
            process,
            zones: Mutex::default(),
            memories: Mutex::default(),
            keeper,
            router: router.clone(),
            ended,
        });
        vital::spawn("follower of leases", Arc::clone(&parts).follow(keeper_events, ends));
        tracing::info!(%listens, %addr, nonce = nonce.0, "serving");
        parts.reporter.tell(ShardEvent::Serving {
            addr,
            listens,
            nonce: nonce.0,
            pid: std::process::id(),
        });
        Ok(Self {
            addr,
            transport,
            parts,
            router,
            watch,
        })
    }

    /// Returns the address to which players are sent.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops in good order: no newcomers, then each zone's last tick and its checkpoint, then the leases, then the
    /// connections.
    pub async fn stop(self) {
        self.transport.stop_accepting(RefusalCode::Stopping);
        self.parts.keeper.close().await;
        self.router.close();
        let mut stops = JoinSet::new();
        for zone in self.parts.zones().values().cloned() {
            stops.spawn(async move { (tokio::time::timeout(ZONE_STOP_TIMEOUT, zone.stop()).await.is_ok(), zone) });
        }
        while let Some(stop) = stops.join_next().await {
            match stop {
                Ok((true, zone)) => {
                    self.parts
                        .keeper
                        .ended(zone.tenure, EndReason::Stopped, Remains::Nothing);
                }
                Ok((false, zone)) => {
                    tracing::error!(zone = %zone.tenure.zone, "the zone did not stop; its lease will run out")
                }
                Err(error) => tracing::error!(%error, "a zone's stop panicked"),
            }
        }
        self.parts.keeper.stop().await;
        self.watch.abort();
        self.transport.close(RefusalCode::Stopping).await;
        self.parts.reporter.tell(ShardEvent::Stopped);
        self.parts.reporter.flush();
    }
}

impl Parts {
    /// Adopts what is granted, and clears up after what ends.
    async fn follow(self: Arc<Self>, mut keeper_events: KeeperEvents, mut ends: mpsc::UnboundedReceiver<Ended>) {
        loop {
            tokio::select! {
                Some(event) = keeper_events.next() => match event {
                    KeeperEvent::Granted(granted) => drop(tokio::spawn(Arc::clone(&self).adopt(granted))),
                    KeeperEvent::Taken(zone) => drop(self.memories().remove(&zone)),
                },
                Some(ended) = ends.recv() => self.forget(ended),
                else => return,
            }
        }
    }

    async fn adopt(self: Arc<Self>, granted: Granted) {
        let tenure = granted.tenure.clone();
        let adopting = Arc::clone(&self);
        let adoption = tokio::spawn(async move { adopting.try_adopt(granted).await });
        if let Err(error) = adoption.await.unwrap_or_else(|panic| Err(panic.into())) {
            let (zone, epoch) = (&tenure.zone, tenure.epoch());
            tracing::error!(%zone, %epoch, error = format!("{error:#}"), "the zone was not adopted");
            self.keeper.adoption_failed(tenure, failure(&error));
        }
    }

    async fn try_adopt(&self, granted: Granted) -> anyhow::Result<()> {
        let Granted { tenure, guard, at } = granted;
        let zone_config = ZoneConfig {
            name: tenure.zone.clone(),
            seed: self.config.seed,
            tick_hz: self.config.tick_hz,
            game: self.rules.clone(),
        };
        let (store, memory) = (Arc::clone(&self.store), self.memories().remove(&tenure.zone));
        let reseed_grace = self.config.lease.reseed_grace();
        let (start, history) = host::adopt(store, &tenure, zone_config, reseed_grace, memory).await?;
        self.report_adoption(&tenure, at, start.journal.last().tick, history);
        let handle = host::start(self.host_config(tenure.clone()), start, self.host_services(guard))
            .context("start the tick thread")?;
        self.zones().insert(tenure.zone, handle.clone());
        self.keeper.hosted(&handle);
        self.router.zone_up(handle);
        Ok(())
    }

    fn report_adoption(&self, tenure: &Tenure, at: Duration, last_tick: Tick, history: History) {
        let (is_lost, from_memory, replayed_ticks, checked_digests, digest_equal) = match history {
            History::Memory => (false, true, 0, 0, true),
            History::Stored {
                is_lost,
                replayed_ticks,
                checked_digests,
                digest_equal,
            } => (is_lost, false, replayed_ticks, checked_digests, digest_equal),
        };
        let (zone, epoch) = (tenure.zone.clone(), tenure.epoch());
        if is_lost {
            let zone = zone.clone();
            self.reporter.tell(ShardEvent::Lost { zone, epoch });
        }
        self.reporter.tell(ShardEvent::Adopted {
            zone,
            epoch,
            last_tick,
            granted_at_ms: millis(at),
            adopt_ms: millis(clock::boottime().saturating_sub(at)),
            from_memory,
            replayed_ticks,
            checked_digests,
            digest_equal,
        });
    }

    fn host_config(&self, tenure: Tenure) -> HostConfig {
        HostConfig {
            tenure,
            tick_hz: self.config.tick_hz,
            ladder: self.config.ladder,
            durability: self.config.durability,
            checkpoint_ticks: (self.config.delta_ticks, self.config.base_ticks),
            view: ViewConfig {
                radius_cm: self.config.view_radius_cm,
                ..ViewConfig::default()
            },
            rules_id: self.rules.rules_id(self.config.tick_hz),
        }
    }

    fn host_services(&self, guard: Arc<LeaseGuard>) -> HostServices {
        let router = self.router.clone();
        HostServices {
            store: Arc::clone(&self.store),
            homes: Arc::clone(&self.homes),
            guard,
            peers: Arc::new(move || router.peers()),
            process: Arc::clone(&self.process),
            reporter: self.reporter.clone(),
            ended: self.ended.clone(),
        }
    }

    fn forget(&self, ended: Ended) {
        let Ended { tenure, reason, memory } = ended;
        self.zones().retain(|_, handle| handle.tenure != tenure);
        self.router.zone_ended(tenure.clone());
        let remains = match memory {
            Some(memory) => {
                self.memories().insert(tenure.zone.clone(), memory);
                Remains::Memory
            }
            None => Remains::Nothing,
        };
        self.keeper.ended(tenure, reason, remains);
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, SuspendedZone>> {
        self.memories.lock().expect("no holder of the memories panics")
    }

    fn zones(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, ZoneHandle>> {
        self.zones.lock().expect("no holder of the zones panics")
    }
}

/// Names what an adoption failed by.
fn failure(error: &anyhow::Error) -> AdoptionFailure {
    match error.downcast_ref::<AdoptError>() {
        Some(error) => error.failure(),
        None if error.is::<tokio::task::JoinError>() => AdoptionFailure::Panicked,
        None => AdoptionFailure::NotStarted,
    }
}

const fn routing_config(config: &Config) -> RoutingConfig {
    RoutingConfig {
        tick_hz: config.tick_hz,
        players_max: config.players_max,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

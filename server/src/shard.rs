//! A shard: one process that hosts zones. This ties the parts together and decides nothing itself.

mod entering;
mod hosting;
mod settling;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use everhold_core::cluster::{Directory, RoutingConfig};
use everhold_core::game::RuleBook;
use everhold_core::limits::{CONN_EVENTS_MAX, PROCESS_HOMES_IN_FLIGHT_MAX, RESTORES_MAX};
use everhold_core::ownership::holder::command::Views;
use everhold_core::report::ShardEvent;
use everhold_core::zone::Game;
use everhold_net::keys::Keys;
use everhold_net::transport::Transport;
use everhold_os::vital;
use everhold_protocol::RefusalCode;
use tokio::sync::{Semaphore, mpsc};

use self::entering::{enter_world, random_nonce, take_address};
use self::hosting::Hosting;
use self::settling::settle_rules;
pub use self::settling::{drop_other_files, kept_rules, world_file, zones_at_rest};
use crate::config::{ArchiveConfig, Config};
use crate::guardian::GuardianLink;
use crate::host::ArchiveService;
use crate::keeper::{Keeper, KeeperConfig};
use crate::process::{self};
use crate::reporter::Reporter;
use crate::router::{AccountPlaces, Router, RouterHandle};
use crate::stores::{ArchiveDoor, Stores};

/// A running shard.
pub struct Shard {
    addr: SocketAddr,
    transport: Transport,
    hosting: Arc<Hosting>,
    router: RouterHandle,
    watch: tokio::task::JoinHandle<()>,
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
            bans,
            rules: rules_store,
            coordination,
        }: Stores,
        reporter: Reporter,
        mut guardian: GuardianLink,
    ) -> anyhow::Result<Self> {
        let nonce = random_nonce()?;
        let archive = archive_service(&config, &rules).await?;
        let (conn_events, conns) = mpsc::channel(CONN_EVENTS_MAX);
        let (transport, addr) = take_address(&config, keys, &mut guardian, conn_events).await?;
        let listens = transport.local_addr();
        let fingerprints = keys.fingerprints();
        let file = world_file(&rules, config.tick_hz);
        settle_rules((rules_store.as_ref(), store.as_ref()), &coordination, &file).await?;
        enter_world(&coordination, &config, (nonce, addr, &fingerprints)).await?;
        // A shard that may not join has told nobody anything.
        let transport = transport.serve()?;
        let (ended, ends) = mpsc::unbounded_channel();
        let directory = Directory::new(nonce, config.lease.ttl, rules.zones().cloned());
        let (process, watch) = process::start(transport.counters(), reporter.clone());
        let (routing, resume_keys) = (routing_config(&config), keys.resume_keys());
        let places = AccountPlaces::new(&homes, bans, archive.as_ref());
        let router = Router::start(routing, resume_keys, directory, places, conns);
        let keeper_config = KeeperConfig::new(&config, (nonce, addr, fingerprints), &rules, guardian);
        let views = router.clone();
        let keeper_services = (coordination, Arc::clone(&store), Arc::clone(&rules_store));
        let (keeper, keeper_events) = Keeper::start(keeper_services, keeper_config, move |seen| {
            let Views { leases, shards } = seen;
            views.views(leases, shards);
        })
        .context("start the lease keeper")?;
        let hosting = Arc::new(Hosting {
            files: Mutex::new(HashMap::from([(file.rules.id, Arc::new(file))])),
            config,
            rules,
            store,
            rules_store,
            homes,
            archive,
            home_turns: Arc::new(Semaphore::new(PROCESS_HOMES_IN_FLIGHT_MAX)),
            reporter,
            process,
            zones: Mutex::default(),
            are_stopping: AtomicBool::new(false),
            memories: Mutex::default(),
            keeper,
            router: router.clone(),
            ended,
        });
        vital::spawn("follower of leases", Arc::clone(&hosting).follow(keeper_events, ends));
        tracing::info!(%listens, %addr, nonce = nonce.0, "serving");
        hosting.reporter.tell(ShardEvent::Serving {
            addr,
            listens,
            nonce: nonce.0,
            pid: std::process::id(),
        });
        Ok(Self {
            addr,
            transport,
            hosting,
            router,
            watch,
        })
    }

    /// Returns the address to which players are sent.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops in good order: no newcomers, then the last tick of each zone, suspended ones among them, and its
    /// checkpoint, then the leases, then the connections.
    pub async fn stop(self) {
        self.transport.stop_accepting(RefusalCode::Stopping);
        self.hosting.keeper.close().await;
        self.router.close();
        self.hosting.stop_zones();
        self.hosting.keeper.stop().await;
        self.watch.abort();
        self.transport.close(RefusalCode::Stopping).await;
        self.hosting.reporter.tell(ShardEvent::Stopped);
        self.hosting.reporter.flush();
    }
}

/// The archive that the configuration names. One that does not answer is opened later.
async fn archive_service(config: &Config, rules: &Arc<RuleBook>) -> anyhow::Result<Option<ArchiveService>> {
    let Some(ArchiveConfig { place, interval_ms }) = config.archive.clone() else {
        return Ok(None);
    };
    let game: Arc<dyn Game> = Arc::<RuleBook>::clone(rules);
    Ok(Some(ArchiveService {
        door: Arc::new(ArchiveDoor::new(place, Arc::clone(&game)).await?),
        game,
        interval_ticks: (interval_ms * u64::from(config.tick_hz)).div_ceil(1_000),
        turns: Arc::new(Semaphore::new(RESTORES_MAX)),
    }))
}

const fn routing_config(config: &Config) -> RoutingConfig {
    RoutingConfig {
        tick_hz: config.tick_hz,
        players_max: config.players_max,
        has_archive: config.archive.is_some(),
    }
}

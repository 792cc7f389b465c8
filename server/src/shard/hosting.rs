//! The zones of a shard: it adopts those that the keeper was granted, and clears up after those that end. What is
//! granted, adopted, or given up is decided by the machines in core.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everhold_core::cluster::HomeStore;
use everhold_core::durability::PipelineConfig;
use everhold_core::durability::adoption::{Adoption, History, Start};
use everhold_core::durability::store::ZoneStore;
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::game::RuleBook;
use everhold_core::ownership::{AdoptionFailure, EndReason, Remains, Tenure};
use everhold_core::replication::ViewConfig;
use everhold_core::report::{AdoptionReport, ShardEvent};
use everhold_core::zone::ZoneConfig;
use everhold_os::clock;
use everhold_protocol::{Tick, ZoneName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::host::{self, Ended, HostConfig, HostServices, LeaseGuard, NotAdopted, ZoneHandle};
use crate::keeper::{Granted, KeeperEvent, KeeperEvents, KeeperHandle};
use crate::process::ProcessGauge;
use crate::reporter::Reporter;
use crate::router::RouterHandle;

/// The hosted zones of a shard, and what each adoption needs.
pub(super) struct Hosting {
    pub(super) config: Config,
    pub(super) rules: Arc<RuleBook>,
    pub(super) store: Arc<dyn ZoneStore>,
    pub(super) homes: Arc<dyn HomeStore>,
    pub(super) reporter: Reporter,
    pub(super) process: Arc<ProcessGauge>,
    pub(super) zones: Mutex<HashMap<ZoneName, ZoneHandle>>,
    /// Whether the zones were stopped, and none is hosted any more. Changed and read with the zones locked.
    pub(super) are_stopping: AtomicBool,
    /// Zones whose lease ran out here, as they stood then.
    pub(super) memories: Mutex<HashMap<ZoneName, SuspendedZone>>,
    pub(super) keeper: KeeperHandle,
    pub(super) router: RouterHandle,
    /// Not bounded: each stands for a zone that was hosted, and no host waits for the shard.
    pub(super) ended: mpsc::UnboundedSender<Ended>,
}

impl Hosting {
    /// Adopts what is granted, and clears up after what ends.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut keeper_events: KeeperEvents,
        mut ends: mpsc::UnboundedReceiver<Ended>,
    ) {
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

    /// Stops every zone in good order: its last tick and its checkpoint.
    pub(super) async fn stop_zones(&self) {
        let mut stops = JoinSet::new();
        let hosted: Vec<ZoneHandle> = {
            let zones = self.zones();
            self.are_stopping.store(true, Ordering::Relaxed);
            zones.values().cloned().collect()
        };
        for zone in hosted {
            stops.spawn(async move {
                (
                    tokio::time::timeout(PipelineConfig::STOP_MAX, zone.stop())
                        .await
                        .is_ok(),
                    zone,
                )
            });
        }
        while let Some(stop) = stops.join_next().await {
            match stop {
                Ok((true, zone)) => {
                    self.keeper.ended(zone.tenure, EndReason::Stopped, Remains::Nothing);
                }
                Ok((false, zone)) => {
                    tracing::error!(zone = %zone.tenure.zone, "the zone did not stop; its lease will run out")
                }
                Err(error) => tracing::error!(%error, "a zone's stop panicked"),
            }
        }
    }

    async fn adopt(self: Arc<Self>, granted: Granted) {
        let tenure = granted.tenure.clone();
        let adopting = Arc::clone(&self);
        let adoption = tokio::spawn(async move { adopting.try_adopt(granted).await });
        let Err(not_adopted) = adoption.await.unwrap_or_else(|panic| Err(panicked(panic))) else {
            return;
        };
        let NotAdopted { failure, error, memory } = not_adopted;
        let (zone, epoch) = (&tenure.zone, tenure.epoch());
        let reason = format!("{error:#}");
        tracing::error!(%zone, %epoch, error = reason, "the zone was not adopted");
        if failure == AdoptionFailure::Unfit {
            let zone = zone.clone();
            self.reporter.tell(ShardEvent::Unfit { zone, epoch, reason });
        }
        let remains = self.remember(&tenure, memory.map(|memory| *memory));
        self.keeper.adoption_failed(tenure, failure, remains);
    }

    async fn try_adopt(&self, granted: Granted) -> Result<(), NotAdopted> {
        let Granted {
            tenure,
            guard,
            at,
            steps,
        } = granted;
        let zone_config = ZoneConfig {
            name: tenure.zone.clone(),
            seed: self.config.seed,
            tick_hz: self.config.tick_hz,
            game: self.rules.clone(),
        };
        let (store, memory) = (Arc::clone(&self.store), self.memories().remove(&tenure.zone));
        let grace = self.config.lease.reseed_grace();
        let adoption = Adoption::new(Instant::now(), tenure.grant, grace, memory, steps);
        let (start, history) = host::adopt(store, (&tenure, &guard), zone_config, adoption).await?;
        self.report_adoption(&tenure, at, start.journal.last().tick, history);
        let handle = self.host(&tenure, start, guard)?;
        self.keeper.hosted(&handle);
        self.router.zone_up(handle);
        Ok(())
    }

    /// Hosts an adopted zone, unless the zones are being stopped: then nothing would stop this one.
    fn host(&self, tenure: &Tenure, start: Start, guard: Arc<LeaseGuard>) -> Result<ZoneHandle, NotAdopted> {
        let mut zones = self.zones();
        if self.are_stopping.load(Ordering::Relaxed) {
            return Err(NotAdopted {
                failure: AdoptionFailure::Stopping,
                error: anyhow::anyhow!("the process is stopping"),
                memory: None,
            });
        }
        let handle = host::start(self.host_config(tenure.clone()), start, self.host_services(guard))?;
        zones.insert(tenure.zone.clone(), handle.clone());
        Ok(handle)
    }

    fn report_adoption(&self, tenure: &Tenure, at: Duration, last_tick: Tick, history: History) {
        let mut report = AdoptionReport {
            zone: tenure.zone.clone(),
            epoch: tenure.epoch(),
            last_tick,
            granted_at_ms: millis(at),
            adopt_ms: millis(clock::boottime().saturating_sub(at)),
            from_memory: history == History::Memory,
            replayed_ticks: 0,
            checked_digests: 0,
            digest_equal: true,
            rewound_ticks: 0,
            checkpoints_given_up: 0,
            evidence: None,
        };
        if let History::Stored {
            is_lost,
            replayed_ticks,
            checked_digests,
            digest_equal,
            rewound_ticks,
            checkpoints_given_up,
            evidence,
        } = history
        {
            if is_lost {
                let (zone, epoch) = (tenure.zone.clone(), tenure.epoch());
                self.reporter.tell(ShardEvent::Lost { zone, epoch });
            }
            report = AdoptionReport {
                replayed_ticks,
                checked_digests,
                digest_equal,
                rewound_ticks,
                checkpoints_given_up,
                evidence,
                ..report
            };
        }
        self.reporter.tell(ShardEvent::Adopted(report));
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
        let remains = self.remember(&tenure, memory);
        self.keeper.ended(tenure, reason, remains);
    }

    /// Keeps a suspended zone, if there is one, until it is granted anew or taken.
    fn remember(&self, tenure: &Tenure, memory: Option<SuspendedZone>) -> Remains {
        match memory {
            Some(memory) => {
                let acknowledged = memory.acknowledged();
                self.memories().insert(tenure.zone.clone(), memory);
                Remains::Memory { acknowledged }
            }
            None => Remains::Nothing,
        }
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, SuspendedZone>> {
        self.memories.lock().expect("no holder of the memories panics")
    }

    fn zones(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, ZoneHandle>> {
        self.zones.lock().expect("no holder of the zones panics")
    }
}

fn panicked(panic: tokio::task::JoinError) -> NotAdopted {
    NotAdopted {
        failure: AdoptionFailure::Panicked,
        error: panic.into(),
        memory: None,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

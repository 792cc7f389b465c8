//! The zones of a shard: it adopts those that the keeper was granted, and clears up after those that end. What is
//! granted, adopted, or given up is decided by the machines in core.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everhold_core::cluster::HomeStore;
use everhold_core::durability::adoption::{Adoption, AdoptionNotice, History, Start};
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::ZoneStore;
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::game::RuleBook;
use everhold_core::ownership::holder::command::UnfitZone;
use everhold_core::ownership::{AdoptionFailure, Remains, RulesId, Tenure, Vacancy, VacancyNews};
use everhold_core::replication::ViewConfig;
use everhold_core::report::{AdoptionReport, HistorySource, ShardEvent};
use everhold_core::zone::{Game, Zone, ZoneConfig};
use everhold_os::{clock, vital};
use everhold_protocol::{Tick, ZoneName};
use tokio::sync::{Semaphore, mpsc};

use crate::config::Config;
use crate::host::{self, Adopted, ArchiveService, Ended, HostConfig, HostServices, LeaseGuard, NotAdopted, ZoneHandle};
use crate::keeper::{Granted, KeeperEvent, KeeperEvents, KeeperHandle};
use crate::process::ProcessGauge;
use crate::reporter::Reporter;
use crate::router::RouterHandle;

/// The hosted zones of a shard, and what each adoption needs.
pub(super) struct Hosting {
    pub(super) config: Config,
    pub(super) rules: Arc<RuleBook>,
    pub(super) store: Arc<dyn ZoneStore>,
    pub(super) rules_store: Arc<dyn RulesStore>,
    /// The world files of the zones that it hosts: its own, and those that the store had kept of zones which were not
    /// sealed.
    pub(super) files: Mutex<HashMap<RulesId, Arc<WorldFile>>>,
    pub(super) homes: Arc<dyn HomeStore>,
    pub(super) archive: Option<ArchiveService>,
    pub(super) home_turns: Arc<Semaphore>,
    pub(super) reporter: Reporter,
    pub(super) process: Arc<ProcessGauge>,
    pub(super) zones: Mutex<HashMap<ZoneName, ZoneHandle>>,
    /// Whether the zones were stopped, and none is hosted any more but from memory. Changed and read with the zones
    /// locked.
    pub(super) are_stopping: AtomicBool,
    /// Zones whose lease ran out here, as they stood then. Each stays until it is hosted, or another shard's data is
    /// newer: no adoption, and no panic of one, takes it away.
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
                    KeeperEvent::Granted(granted) => {
                        vital::spawn("watch of an adoption", Arc::clone(&self).adopt(granted));
                    }
                    KeeperEvent::Unfit(unfit) => self.report_unfit(&unfit),
                    KeeperEvent::Vacancy(news) => self.report_vacancy(news),
                    KeeperEvent::Taken(zone) => drop(self.memories().remove(&zone)),
                },
                Some(ended) = ends.recv() => self.forget(ended),
                else => return,
            }
        }
    }

    /// Has every zone stop in good order: its last tick and its checkpoint. Each ends when both are stored, and so does
    /// a suspended one that is hosted from now on. The keeper knows when none is left, or too much time has passed.
    pub(super) fn stop_zones(&self) {
        let zones = self.zones();
        self.are_stopping.store(true, Ordering::Relaxed);
        zones.values().for_each(ZoneHandle::stop);
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
            reseed_grace,
            promised,
        } = granted;
        let zone_config = self.zone_config(&tenure.zone);
        let stores = (
            Arc::clone(&self.store),
            Arc::clone(&self.rules_store),
            self.archive.clone(),
        );
        let memory = self.memories().get(&tenure.zone).map(SuspendedZone::last);
        let adoption = Adoption::new(Instant::now(), tenure.grant, reseed_grace, memory, steps);
        let mut adoption = adoption.promised(promised).under(zone_config.rules());
        if let Some(archive) = &self.archive {
            adoption = adoption.with_archive(archive.interval_ticks);
        }
        let drop_memory = || drop(self.memories().remove(&tenure.zone));
        let hears = (drop_memory, |notice| self.note(&tenure, notice));
        let build = |file: &WorldFile| -> Option<Arc<dyn Game>> {
            let book = RuleBook::from_toml(&file.text).ok()?;
            self.files().insert(file.rules.id, Arc::new(file.clone()));
            Some(Arc::new(book))
        };
        let adopted = host::adopt(stores, (&tenure, &guard), (zone_config, build), adoption, hears).await?;
        let last_tick = match &adopted {
            Adopted::Stored(start, _) => start.journal.last().tick,
            Adopted::Memory(_) => memory.expect("what goes on from memory was there").tick,
        };
        self.report_adoption(&tenure, at, last_tick, adopted.history());
        let handle = self.host(&tenure, adopted, guard)?;
        self.keeper.hosted(&handle);
        self.router.zone_up(handle);
        Ok(())
    }

    /// Logs what an adoption says, and reports it if it is an alarm.
    fn note(&self, tenure: &Tenure, notice: AdoptionNotice) {
        if let AdoptionNotice::ArchiveUnanswered(reason) = &notice {
            self.reporter.tell(ShardEvent::ArchiveAwaited {
                zone: tenure.zone.clone(),
                epoch: tenure.epoch(),
                reason: reason.clone(),
            });
        }
        host::log_adoption(tenure, notice);
    }

    /// Reports a zone that was not claimed.
    fn report_unfit(&self, unfit: &UnfitZone) {
        let (zone, epoch, reason) = (unfit.zone.clone(), unfit.mark.data.epoch, unfit.to_string());
        tracing::error!(%zone, %epoch, reason, "the zone is left to shards that can run it");
        self.reporter.tell(ShardEvent::Unfit { zone, epoch, reason });
    }

    /// Reports that a zone has no owner, or has one again.
    fn report_vacancy(&self, news: VacancyNews) {
        self.reporter.tell(match news {
            VacancyNews::Raised(Vacancy { zone, epoch, lasted }) => {
                let ms = lasted.as_millis();
                tracing::error!(%zone, %epoch, ms, "the zone has no owner: no shard hosts it");
                ShardEvent::Unowned {
                    zone,
                    epoch,
                    lasted_ms: millis(lasted),
                }
            }
            VacancyNews::Over(Vacancy { zone, epoch, lasted }) => {
                let ms = lasted.as_millis();
                tracing::info!(%zone, %epoch, ms, "the zone has an owner again");
                ShardEvent::OwnedAgain {
                    zone,
                    epoch,
                    lasted_ms: millis(lasted),
                }
            }
        });
    }

    /// Hosts an adopted zone. While the zones are being stopped, it is one from memory alone, and is stopped at once.
    /// So is one that runs other rules than this shard's: its stop seals it, and then it can be taken over.
    fn host(&self, tenure: &Tenure, adopted: Adopted, guard: Arc<LeaseGuard>) -> Result<ZoneHandle, NotAdopted> {
        let mut zones = self.zones();
        let are_stopping = self.are_stopping.load(Ordering::Relaxed);
        if are_stopping && !adopted.history().is_sealed_by_stop() {
            return Err(NotAdopted {
                failure: AdoptionFailure::Stopping,
                error: anyhow::anyhow!("the process is stopping"),
                memory: None,
            });
        }
        let start = match adopted {
            Adopted::Stored(start, _) => *start,
            Adopted::Memory(from) => {
                let memory = self.memories().remove(&tenure.zone);
                Start::from_memory(memory.expect("it stays until it is hosted"), from, tenure.grant)
            }
        };
        let config = self.host_config(tenure.clone(), &start.zone);
        let runs_others = config.rules.id != self.zone_config(&tenure.zone).rules_id();
        let services = self.host_services(guard, config.rules.id);
        let handle = host::start(config, start, services)?;
        if are_stopping || runs_others {
            handle.stop();
        }
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
            from_memory: matches!(history, History::Memory(_)),
            source: source(last_tick, history),
            replayed_ticks: 0,
            checked_digests: 0,
            digest_equal: true,
            rewound_ticks: match history {
                History::Memory(from) => from.lost_ticks(),
                History::Stored { rewound_ticks, .. } => rewound_ticks,
                History::Archived(restored) => restored.rewound_ticks,
            },
            loss_ticks_max: match history {
                History::Archived(restored) => Some(restored.rewound_ticks.max(restored.interval_ticks)),
                History::Memory(_) | History::Stored { .. } => None,
            },
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

    fn zone_config(&self, zone: &ZoneName) -> ZoneConfig {
        ZoneConfig {
            name: zone.clone(),
            seed: self.config.seed,
            tick_hz: self.config.tick_hz,
            game: self.rules.clone(),
        }
    }

    fn host_config(&self, tenure: Tenure, zone: &Zone) -> HostConfig {
        HostConfig {
            tenure,
            tick_hz: zone.tick_hz(),
            ladder: self.config.ladder,
            durability: self.config.durability,
            checkpoint_ticks: (self.config.delta_ticks, self.config.base_ticks),
            view: ViewConfig {
                radius_cm: self.config.view_radius_cm,
                ..ViewConfig::default()
            },
            rules: zone.rules(),
            evidence_max: self.config.lease.ttl,
        }
    }

    fn host_services(&self, guard: Arc<LeaseGuard>, rules: RulesId) -> HostServices {
        let file = self.files().get(&rules).map(Arc::clone);
        let file = file.expect("the file of a zone's rules is there before they are built");
        let router = self.router.clone();
        HostServices {
            store: Arc::clone(&self.store),
            world_file: (Arc::clone(&self.rules_store), file),
            homes: Arc::clone(&self.homes),
            archive: self.archive.clone(),
            home_turns: Arc::clone(&self.home_turns),
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

    /// Keeps a suspended zone, if there is one, until it is hosted anew or taken. Returns what is left of it here.
    fn remember(&self, tenure: &Tenure, memory: Option<SuspendedZone>) -> Remains {
        let mut memories = self.memories();
        if let Some(memory) = memory {
            memories.insert(tenure.zone.clone(), memory);
        }
        let acknowledged = memories.get(&tenure.zone).map(SuspendedZone::acknowledged);
        acknowledged.map_or(Remains::Nothing, |acknowledged| Remains::Memory { acknowledged })
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<RulesId, Arc<WorldFile>>> {
        self.files.lock().expect("no holder of the files panics")
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, SuspendedZone>> {
        self.memories.lock().expect("no holder of the memories panics")
    }

    fn zones(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneName, ZoneHandle>> {
        // A panic while a host starts leaves the map whole: its zone is added last.
        self.zones.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn panicked(panic: tokio::task::JoinError) -> NotAdopted {
    NotAdopted {
        failure: AdoptionFailure::Panicked,
        error: panic.into(),
        memory: None,
    }
}

/// Returns where an adopted history was found that ends with this tick.
const fn source(last_tick: Tick, history: History) -> HistorySource {
    match history {
        History::Memory(_) => HistorySource::Memory,
        History::Archived(_) => HistorySource::Archive,
        History::Stored { .. } if last_tick.0 == 0 => HistorySource::Nothing,
        History::Stored { .. } => HistorySource::Store,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

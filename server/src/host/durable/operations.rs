//! The operations of one zone's durable task: at most one append, one write of a checkpoint, one creation of the data
//! set, and one cut that is made bytes. When each is begun, and what follows from its answer, is the pipeline's to say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::PipelineConfig;
use everhold_core::durability::archive::WallMs;
use everhold_core::durability::archivist::{ArchivedRest, ArchivistCommand, CutFacts};
use everhold_core::durability::pipeline::ArchiveAnswer;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Origin, Position, Seal, StoreError, StoredRecord, ZoneStore,
};
use everhold_core::limits::REST_RECORD_S;
use everhold_core::ownership::Tenure;
use everhold_core::zone::{Capture, Frozen};
use everhold_os::clock;
use everhold_protocol::Account;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::super::{ArchiveService, HostServices};
use super::archive;
use crate::deadline::answer;
use crate::stores::keep_forgotten;

/// Time for which the store keeps a character at rest, at least.
const REST_LASTING: Duration = Duration::from_secs(REST_RECORD_S);

type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The outcome of an operation.
pub(super) enum OperationOutcome {
    /// The append, and how long its answer took.
    Appended(Result<AppendAnswer, StoreError>, Duration),
    /// The write of a part, of a head, or of a seal, or the deletion of parts.
    Written(Result<(), StoreError>),
    /// The creation of the data set.
    Created(Result<(), StoreError>),
    /// The cut as bytes, and the facts of its characters, if they are wanted.
    Captured(Result<(Capture, CutFacts), JoinError>),
    /// The answer of the archive.
    Archived(ArchiveAnswer),
    /// The setting of an account's home.
    HomeSet(Account, Result<(), StoreError>),
    /// The keeping of a character at rest: the generation of a newer record, if one is there.
    RestKept(Account, Result<Option<u64>, StoreError>),
}

/// The operations under way, at most one of each kind, and some homes.
pub(super) struct Operations {
    store: Arc<dyn ZoneStore>,
    world_file: (Arc<dyn RulesStore>, Arc<WorldFile>),
    /// Shared with what is under way, so that no append copies the name.
    tenure: Arc<Tenure>,
    append: Option<StoreFuture<AppendAnswer>>,
    append_sent: Instant,
    write: Option<StoreFuture<()>>,
    create: Option<StoreFuture<()>>,
    encoding: Option<JoinHandle<(Capture, CutFacts)>>,
    archive: Option<ArchiveService>,
    archiving: Option<Pin<Box<dyn Future<Output = ArchiveAnswer> + Send>>>,
    home_store: Arc<dyn HomeStore>,
    home_turns: Arc<Semaphore>,
    homes: JoinSet<(Account, Result<(), StoreError>)>,
    rests: JoinSet<(Account, Result<Option<u64>, StoreError>)>,
}

impl Operations {
    /// Nothing is under way; everything will be done under `tenure`.
    pub(super) fn new(services: &HostServices, tenure: Tenure) -> Self {
        Self {
            store: Arc::clone(&services.store),
            world_file: services.world_file.clone(),
            tenure: Arc::new(tenure),
            append: None,
            append_sent: Instant::now(),
            write: None,
            create: None,
            encoding: None,
            archive: services.archive.clone(),
            archiving: None,
            home_store: Arc::clone(&services.homes),
            home_turns: Arc::clone(&services.home_turns),
            homes: JoinSet::new(),
            rests: JoinSet::new(),
        }
    }

    pub(super) fn append(&mut self, records: Vec<StoredRecord>) {
        let (store, tenure) = self.whose();
        self.append_sent = Instant::now();
        self.append = Some(Box::pin(async move {
            answer(PipelineConfig::ANSWER_MAX, store.append(&tenure, &records)).await
        }));
    }

    pub(super) fn put_part(&mut self, position: Position, index: u32, bytes: Bytes) {
        let (store, tenure) = self.whose();
        self.write = Some(Box::pin(async move {
            answer(
                PipelineConfig::ANSWER_MAX,
                store.put_part(&tenure, position, index, bytes),
            )
            .await
        }));
    }

    pub(super) fn drop_parts(&mut self, position: Position, parts: u32) {
        let (store, tenure) = self.whose();
        self.write = Some(Box::pin(async move {
            answer(PipelineConfig::ANSWER_MAX, store.drop_parts(&tenure, position, parts)).await
        }));
    }

    pub(super) fn move_head(&mut self, head: CheckpointHead) {
        #[cfg(feature = "testing")]
        crate::failpoint::reach(crate::failpoint::Failpoint::HeadUnmoved, &self.tenure.zone);
        let (store, tenure) = self.whose();
        let world_file = (head.kind == CheckpointKind::Base).then(|| self.world_file.clone());
        self.write = Some(Box::pin(async move {
            keep_world_file(world_file, &tenure).await;
            let moved = answer(PipelineConfig::ANSWER_MAX, store.move_head(&tenure, head)).await;
            #[cfg(feature = "testing")]
            if moved.is_ok() {
                crate::failpoint::reach(crate::failpoint::Failpoint::HeadMoved, &tenure.zone);
            }
            moved
        }));
    }

    pub(super) fn seal(&mut self, seal: Seal) {
        let (store, tenure) = self.whose();
        self.write = Some(Box::pin(async move {
            answer(PipelineConfig::ANSWER_MAX, store.seal(&tenure, seal)).await
        }));
    }

    pub(super) fn create(&mut self) {
        let (store, tenure) = self.whose();
        let world_file = Some(self.world_file.clone());
        self.create = Some(Box::pin(async move {
            keep_world_file(world_file, &tenure).await;
            answer(PipelineConfig::ANSWER_MAX, store.create(&tenure, Origin::Memory)).await
        }));
    }

    /// Makes bytes of a cut on a thread of the runtime's blocking pool: milliseconds of work in a large zone, for which
    /// neither ticks nor appends wait.
    pub(super) fn encode(&mut self, frozen: Frozen) {
        let archive = self.archive.clone().filter(|_| frozen.base);
        self.encoding = Some(tokio::task::spawn_blocking(move || {
            #[cfg(feature = "testing")]
            crate::failpoint::fail_once(crate::failpoint::Part::Capture);
            let facts = archive.map(|service| CutFacts::of(&frozen, &*service.game, WallMs(clock::unix_ms())));
            (frozen.encode(), facts.unwrap_or_default())
        }));
    }

    /// Asks the archive.
    pub(super) fn archive(&mut self, command: ArchivistCommand) {
        let service = self.archive.clone().expect("only a zone with an archive asks it");
        self.archiving = Some(Box::pin(archive::ask(service, Arc::clone(&self.tenure), command)));
    }

    /// Sets an account's home to the zone unless it has one, when it is its turn among those of all zones.
    pub(super) fn set_home(&mut self, account: Account) {
        let (store, turns) = (Arc::clone(&self.home_store), Arc::clone(&self.home_turns));
        let home = Home::first(self.tenure.zone.clone());
        self.homes.spawn(async move {
            let _turn = turns.acquire().await;
            let set = answer(PipelineConfig::ANSWER_MAX, store.set_home(account, None, &home)).await;
            (account, set.map(drop))
        });
    }

    /// Keeps the record of a character at rest, when it is its turn among the homes of all zones.
    pub(super) fn keep_rest(&mut self, rest: ArchivedRest) {
        let (store, turns) = (Arc::clone(&self.home_store), Arc::clone(&self.home_turns));
        let home = Home {
            zone: self.tenure.zone.clone(),
            generation: rest.generation,
        };
        self.rests.spawn(async move {
            let _turn = turns.acquire().await;
            let kept = store.keep_rest(rest.account, &home, &rest.payload, REST_LASTING);
            let newer = answer(PipelineConfig::ANSWER_MAX, kept).await;
            (rest.account, newer.map(|home| home.map(|home| home.generation)))
        });
    }

    /// Resolves when an operation is answered; never, if none is under way. Nothing is lost if it is not awaited to the
    /// end.
    pub(super) async fn answered(&mut self) -> OperationOutcome {
        let sent = self.append_sent;
        tokio::select! {
            answer = finish(&mut self.append) => OperationOutcome::Appended(answer, sent.elapsed()),
            answer = finish(&mut self.write) => OperationOutcome::Written(answer),
            answer = finish(&mut self.create) => OperationOutcome::Created(answer),
            capture = finish(&mut self.encoding) => OperationOutcome::Captured(capture),
            answer = finish(&mut self.archiving) => OperationOutcome::Archived(answer),
            Some(set) = self.homes.join_next() => {
                let (account, answer) = set.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                OperationOutcome::HomeSet(account, answer)
            }
            Some(kept) = self.rests.join_next() => {
                let (account, answer) = kept.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                OperationOutcome::RestKept(account, answer)
            }
        }
    }

    fn whose(&self) -> (Arc<dyn ZoneStore>, Arc<Tenure>) {
        (Arc::clone(&self.store), Arc::clone(&self.tenure))
    }
}

/// Keeps the world file of a zone's rules, if the store has forgotten it, before what needs it is written. A zone waits
/// for it no longer than for any answer, and goes on without it: what a later change of rules lacks then is said by it.
async fn keep_world_file(world_file: Option<(Arc<dyn RulesStore>, Arc<WorldFile>)>, tenure: &Tenure) {
    let Some((rules, file)) = world_file else { return };
    if let Err(error) = answer(PipelineConfig::ANSWER_MAX, keep_forgotten(rules.as_ref(), &file)).await {
        tracing::warn!(zone = %tenure.zone, %error, "it is not known whether the store has the zone's world file");
    }
}

/// Resolves when the operation does, and leaves its place empty; never, if there is none.
async fn finish<F: Future + Unpin>(place: &mut Option<F>) -> F::Output {
    let Some(operation) = place else {
        return std::future::pending().await;
    };
    let output = operation.await;
    *place = None;
    output
}

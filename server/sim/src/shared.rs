//! Store and authority in memory as the traits have them: any number of connections to the same data, behind a lock.
//! For the conformance suites, and for code that asks a trait. Nothing is decided here, and nothing waits but
//! [`Authority::wait_for_release`].

mod archive;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::cluster::{AccountRecord, Home, HomeStore};
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, Origin, PartKey, Position, Rewind, Seal, StoreError, StoredRecord, ZoneOutline,
    ZoneStore, ZoneSummary,
};
use everhold_core::ownership::{
    Authority, AuthorityError, Grant, KeyFingerprints, LeaseTerms, LeaseView, Leases, Membership, Nonce, Renewal,
    ShardView, Tenure,
};
use everhold_protocol::{Account, Epoch, SessionId, Tick, ZoneName};

pub use self::archive::SharedArchive;
use crate::authority::MemoryAuthority;
use crate::store::MemoryStore;

/// A connection to a store in memory. A clone is one more connection to the same data.
#[derive(Clone, Debug, Default)]
pub struct SharedStore(Arc<Mutex<MemoryStore>>);

impl SharedStore {
    /// Returns the store itself, to let it fail, or to measure it.
    pub fn lock(&self) -> MutexGuard<'_, MemoryStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ZoneStore for SharedStore {
    async fn fence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.lock().fence(tenure)
    }

    async fn create(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        self.lock().create(tenure, origin)
    }

    async fn outline(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        self.lock().outline(zone, reader)
    }

    async fn read_parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.lock().read_parts(zone, reader, parts)
    }

    async fn read_records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.lock().read_records(zone, reader, from, ticks)
    }

    async fn rewind(&self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError> {
        self.lock().rewind(tenure, to)
    }

    async fn append(&self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        self.lock().append(tenure, records)
    }

    async fn put_part(&self, tenure: &Tenure, position: Position, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        self.lock().put_part(tenure, position, index, bytes)
    }

    async fn drop_parts(&self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError> {
        self.lock().drop_parts(tenure, position, parts)
    }

    async fn move_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        self.lock().move_head(tenure, head)
    }

    async fn seal(&self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError> {
        self.lock().seal(tenure, seal)
    }

    async fn quarantine(&self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError> {
        self.lock().quarantine(tenure, tick, session, seq)
    }

    async fn put_evidence(&self, tenure: &Tenure, index: u32, bytes: Bytes) -> Result<EvidenceAnswer, StoreError> {
        self.lock().put_evidence(tenure, index, bytes)
    }

    async fn seal_evidence(&self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        self.lock().seal_evidence(tenure, mark)
    }

    async fn drop_evidence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.lock().drop_evidence(tenure)
    }

    async fn evidence(&self, zone: &ZoneName) -> Result<Option<StoredEvidence>, StoreError> {
        Ok(self.lock().evidence(zone))
    }

    async fn read_evidence(&self, zone: &ZoneName, index: u32) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().read_evidence(zone, index))
    }

    async fn settle_evidence(
        &self,
        zone: &ZoneName,
        mark: EvidenceMark,
        fate: EvidenceFate,
    ) -> Result<bool, StoreError> {
        Ok(self.lock().settle_evidence(zone, mark, fate))
    }

    async fn discard_evidence(&self, zone: &ZoneName) -> Result<(), StoreError> {
        self.lock().discard_evidence(zone);
        Ok(())
    }

    async fn summary(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError> {
        Ok(self.lock().summary(zone))
    }
}

#[async_trait]
impl HomeStore for SharedStore {
    async fn record(&self, account: Account) -> Result<Option<AccountRecord>, StoreError> {
        Ok(self.lock().record(account))
    }

    async fn keep_rest(
        &self,
        account: Account,
        home: &Home,
        payload: &Bytes,
        _lasting: Duration,
    ) -> Result<Option<Home>, StoreError> {
        self.lock().keep_rest(account, home, payload)
    }

    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError> {
        self.lock().set_home(account, expected, home)
    }

    fn doubts(&self) -> Option<u64> {
        Some(self.lock().home_losses())
    }
}

/// A connection to an authority in memory. A clone is one more connection to the same leases.
#[derive(Debug, Default)]
pub struct SharedAuthority {
    authority: Arc<Mutex<MemoryAuthority>>,
    releases: Arc<Mutex<Releases>>,
    /// The number of releases when this connection last heard of one.
    heard: AtomicU64,
}

/// The releases so far, and the connections that wait for the next.
#[derive(Debug, Default)]
struct Releases {
    count: u64,
    waiting: Vec<Waker>,
}

impl Clone for SharedAuthority {
    fn clone(&self) -> Self {
        Self {
            authority: Arc::clone(&self.authority),
            releases: Arc::clone(&self.releases),
            heard: AtomicU64::new(self.heard.load(Ordering::Relaxed)),
        }
    }
}

impl SharedAuthority {
    /// Returns the authority itself, to let it fail, or to measure it.
    pub fn lock(&self) -> MutexGuard<'_, MemoryAuthority> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn releases(&self) -> MutexGuard<'_, Releases> {
        self.releases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Authority for SharedAuthority {
    fn may_forget(&self) -> bool {
        true
    }

    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError> {
        self.lock().declare_zone(zone)
    }

    async fn leases(&self) -> Result<Leases, AuthorityError> {
        Ok(self.lock().leases())
    }

    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        terms: LeaseTerms,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError> {
        self.lock().claim(watched, nonce, terms, epoch_floor)
    }

    fn node_of(&self, _zone: &ZoneName) -> u64 {
        0
    }

    async fn renew(&self, renewals: &[Renewal]) -> Vec<Result<(), AuthorityError>> {
        let mut authority = self.lock();
        renewals.iter().map(|renewal| authority.renew(renewal)).collect()
    }

    async fn reinstate(&self, renewals: &[Renewal], terms: LeaseTerms) -> Vec<Result<(), AuthorityError>> {
        let mut authority = self.lock();
        renewals
            .iter()
            .map(|renewal| authority.reinstate(renewal, terms))
            .collect()
    }

    async fn release(&self, tenure: &Tenure) -> Result<(), AuthorityError> {
        self.lock().release(tenure)?;
        let mut releases = self.releases();
        releases.count += 1;
        releases.waiting.drain(..).for_each(Waker::wake);
        Ok(())
    }

    async fn wait_for_release(&self) {
        std::future::poll_fn(|context| {
            let mut releases = self.releases();
            if self.heard.swap(releases.count, Ordering::Relaxed) != releases.count {
                return Poll::Ready(());
            }
            if !releases.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                releases.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Membership for SharedAuthority {
    async fn announce(
        &self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError> {
        self.lock().announce(nonce, addr, keys, ttl)
    }

    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError> {
        self.lock().withdraw(nonce)
    }

    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError> {
        Ok(self.lock().shards())
    }
}

//! The conformance suites against store, archive, and authority in memory: what is simulated behaves as what is real.
//! What they do when they fail is in `faults.rs`.

use everhold_core::durability::archive::ArchivedAccount;
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, ZoneName};
use everhold_sim::archive::MemoryArchive;
use everhold_sim::shared::{SharedArchive, SharedAuthority, SharedStore};
use everhold_store::conformance::{
    ArchiveDatabase, KeptAuditRow, KeptLedgerRow, archive_conformance, authority_conformance, home_store_conformance,
    membership_conformance, suite_schema, zone_store_conformance,
};

#[tokio::test]
async fn memory_store_conforms() {
    let store = SharedStore::default();
    let lose = |store: &SharedStore, zone: &ZoneName| store.lock().forget_zone(zone);
    zone_store_conformance(|| store.clone(), lose).await;
}

#[tokio::test]
async fn memory_store_that_loses_all_zones_with_one_conforms() {
    let store = SharedStore::default();
    let lose = |store: &SharedStore, _: &ZoneName| store.lock().forget_everything();
    zone_store_conformance(|| store.clone(), lose).await;
}

#[tokio::test]
async fn memory_homes_conform() {
    let store = SharedStore::default();
    home_store_conformance(|| store.clone()).await;
}

#[tokio::test]
async fn memory_authority_conforms() {
    let authority = SharedAuthority::default();
    authority_conformance(|| authority.clone()).await;
}

#[tokio::test]
async fn memory_membership_conforms() {
    let authority = SharedAuthority::default();
    membership_conformance(|| authority.clone()).await;
}

/// An archive in memory, in place of a database. A kind of value has the name that the suite's game gives it.
struct MemoryDatabase(SharedArchive);

impl MemoryDatabase {
    fn with<T>(&self, look: impl FnOnce(&mut MemoryArchive) -> T) -> T {
        look(&mut self.0.lock())
    }
}

impl ArchiveDatabase for MemoryDatabase {
    type Link = SharedArchive;

    async fn open(&self, schema: ArchiveSchema) -> Result<SharedArchive, String> {
        assert_eq!(schema, suite_schema(), "it has no tables that others could be added to");
        Ok(self.0.clone())
    }

    fn ledger(&self, zone: &ZoneName) -> Vec<KeptLedgerRow> {
        self.with(|archive| {
            let kept = archive.ledger(zone).map(|kept| KeptLedgerRow {
                stamp: (kept.row.stamp.epoch.0, kept.row.stamp.tick.0),
                seq: kept.row.seq,
                command: kept.row.command.map(|(session, seq)| (session.0, seq)),
                value: suite_schema().values()[kept.row.value as usize].name.clone(),
                amount: kept.row.amount,
                parties: (kept.row.from.map(number), kept.row.to.map(number)),
                undone_by: kept.undone_by.map(|epoch| epoch.0),
            });
            kept.collect()
        })
    }

    fn audit(&self, zone: Option<&ZoneName>) -> Vec<KeptAuditRow> {
        self.with(|archive| {
            let rows = archive.audit(zone).into_iter();
            let kept = rows.map(|(row, undone_by)| KeptAuditRow {
                stamp: row.stamp.map(|stamp| (stamp.epoch.0, stamp.tick.0)),
                event: row.event.clone(),
                account: row.account.map(|account| account.0),
                undone_by: undone_by.map(|epoch| epoch.0),
            });
            kept.collect()
        })
    }

    fn residents(&self, zone: &ZoneName) -> Vec<u64> {
        let page = self.with(|archive| archive.accounts(Some(zone), None, u32::MAX));
        page.iter().map(|account| account.account().0).collect()
    }

    fn name(&self, account: u64) -> Option<String> {
        match self.with(|archive| archive.account(Account(account))) {
            Some(ArchivedAccount::Character(character)) => character.name,
            _ => None,
        }
    }

    fn rows_beside(&self, account: u64) -> u64 {
        self.with(|archive| archive.rows_beside(Account(account)) as u64)
    }

    fn blob_parts(&self, zone: &ZoneName) -> u64 {
        self.with(|archive| archive.usage(zone).parts as u64)
    }

    fn damage_part(&self, zone: &ZoneName, number: u64, part: u32) {
        self.with(|archive| archive.damage_part(zone, number, part));
    }

    fn damage_payload(&self, account: u64) {
        self.with(|archive| archive.damage_payload(Account(account), false));
    }

    fn lose_payload(&self, account: u64) {
        self.with(|archive| archive.damage_payload(Account(account), true));
    }
}

const fn number(account: Account) -> u64 {
    account.0
}

#[tokio::test]
async fn memory_archive_conforms() {
    archive_conformance(&MemoryDatabase(SharedArchive::new(suite_schema()))).await;
}

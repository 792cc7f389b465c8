//! The conformance suites against store and authority in memory: what is simulated behaves as what is real. What they
//! do when they fail is in `faults.rs`.

use everhold_protocol::ZoneName;
use everhold_sim::shared::{SharedAuthority, SharedStore};
use everhold_store::conformance::{
    authority_conformance, home_store_conformance, membership_conformance, zone_store_conformance,
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

//! Not one server but several: a Cluster, and a Sentinel group whose primary changes.

use std::cell::RefCell;

use everhold::testing::redis::RedisServer;
use everhold::testing::{authority_conformance, store_conformance};
use everhold_protocol::ZoneName;

use crate::{authority, store};

#[tokio::test]
async fn store_on_a_cluster_conforms() {
    let redis = RedisServer::start_cluster();
    let url = redis.url().replace("redis://", "redis-cluster://");
    let links = RefCell::new(vec![store(&url).await, store(&url).await]);
    let lose = |_: &_, zone: &ZoneName| {
        for key in ["meta", "journal", "chain", "parts", "quarantine"] {
            let _count = redis.command(&["DEL", &format!("test:{{{zone}}}:{key}")]);
        }
    };
    store_conformance(|| links.borrow_mut().pop().unwrap(), lose).await;
}

#[tokio::test]
async fn authority_on_a_cluster_conforms() {
    let redis = RedisServer::start_cluster();
    let url = redis.url().replace("redis://", "redis-cluster://");
    let links = RefCell::new(Vec::new());
    for _ in 0..8 {
        let link = authority(&url).await;
        links.borrow_mut().push(link);
    }
    authority_conformance(|| links.borrow_mut().pop().unwrap()).await;
}

//! Not one server but several: a Cluster, and a Sentinel group whose primary changes.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use everhold::durability::store::{AppendAnswer, StateStore};
use everhold::ownership::Authority;
use everhold::testing::redis::RedisServer;
use everhold::testing::{History, authority_conformance, grant, store_conformance};
use everhold_protocol::ZoneName;

use crate::{PATIENCE, authority, claimed, store, until_answered, zone};

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

/// A Sentinel that watches one primary, and promotes its replica half a second after it fell silent.
struct Sentinel {
    child: Child,
    addr: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Sentinel {
    fn start(primary: &RedisServer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let addr = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor world 127.0.0.1 {} 1\nsentinel down-after-milliseconds world 500\n\
             sentinel failover-timeout world 3000\n",
            addr.port(),
            primary.addr().port(),
        );
        std::fs::write(&file, text).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "redis-server"])
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < deadline, "no Sentinel at {addr}");
            std::thread::sleep(crate::AGAIN);
        }
        Self {
            child,
            addr,
            _directory: directory,
        }
    }

    fn url(&self) -> String {
        format!("redis-sentinel://{}?sentinelServiceName=world", self.addr)
    }

    /// What it says of the primary's replicas.
    fn replicas(&self) -> String {
        let port = self.addr.port().to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "SENTINEL", "REPLICAS", "world"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test]
async fn links_follow_a_sentinel_to_the_replica_that_it_promotes() {
    let mut primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.addr().port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    replica.wait_until("the replica follows", |replica| {
        replica
            .command(&["INFO", "replication"])
            .contains("master_link_status:up")
    });
    let sentinel = Sentinel::start(&primary);
    let (store, authority) = (store(&sentinel.url()).await, authority(&sentinel.url()).await);
    let lease = claimed(&authority).await;
    let held = grant(1, 100);
    store.fence(&zone(), held).await.unwrap();
    let mut history = History::new(1);
    store.append(&zone(), held, &history.records_to(3)).await.unwrap();
    let followed = |primary: &RedisServer| {
        let words = primary.command(&["INFO", "replication"]);
        let offset = |key: &str| {
            words
                .split([',', '\r', '\n'])
                .find_map(|word| word.strip_prefix(key).map(str::to_owned))
        };
        offset("offset=").is_some() && offset("offset=") == offset("master_repl_offset:")
    };
    primary.wait_until("the replica has everything", followed);
    primary.wait_until("the Sentinel knows the replica", |_| {
        sentinel.replicas().contains(&replica.addr().port().to_string())
    });

    primary.kill();
    let next = history.records_to(4);
    let answer = until_answered(async || store.append(&zone(), held, &next).await)
        .await
        .unwrap();
    assert!(
        matches!(answer, AppendAnswer::Ok | AppendAnswer::Duplicate),
        "{answer:?}"
    );
    until_answered(async || authority.renew(&zone(), lease, 1).await)
        .await
        .unwrap();
    assert_eq!(
        replica.command(&["HGET", "test:{meadow}:meta", "last"]),
        "4",
        "it is the primary now"
    );
}

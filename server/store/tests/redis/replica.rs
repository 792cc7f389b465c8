//! Durability level `replica`: what a store says is done, its replicas have.

use std::num::NonZeroU32;

use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Origin, Position, StoreError, ZoneStore,
};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Account, EntityId, Epoch, Tick, ZoneName};
use everhold_store::conformance::{SuiteHistory, home_store_conformance, tenure, zone_store_conformance};
use everhold_store::redis::{RedisError, RedisStore};
use everhold_testing::redis::{Persistence, RedisCluster, RedisServer};
use rustix::process::Signal;

use crate::{AGAIN, PATIENCE, Unknown, store, target, until_answered, zone};

/// Settings of a primary that takes no write without a replica, and whose offset moves by writes alone.
const GUARDED: [&str; 8] = [
    "--min-replicas-to-write",
    "1",
    "--min-replicas-max-lag",
    "10",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "3600",
];

fn count(replicas: u32) -> NonZeroU32 {
    NonZeroU32::new(replicas).unwrap()
}

/// A server that follows another one.
fn follower(primary: &RedisServer) -> RedisServer {
    let (host, port) = (primary.addr().ip().to_string(), primary.addr().port().to_string());
    let replica = RedisServer::start_with(&[&GUARDED[..], &["--replicaof", &host, &port]].concat());
    until_it_follows(primary, &replica);
    replica
}

fn until_it_follows(primary: &RedisServer, replica: &RedisServer) {
    let port = format!("port={},state=online", replica.addr().port());
    let follows = |primary: &RedisServer| primary.command(&["INFO", "replication"]).contains(&port);
    primary.wait_until("the replica follows", follows);
}

/// A primary that takes no write without a replica, and a replica.
fn pair() -> (RedisServer, RedisServer) {
    let primary = RedisServer::start_with(&GUARDED);
    let replica = follower(&primary);
    (primary, replica)
}

async fn confirmed(redis: &RedisServer) -> RedisStore {
    RedisStore::open_confirmed(&target(&redis.url()), count(1))
        .await
        .unwrap()
}

/// The zone, fenced, with two records.
async fn held(store: &RedisStore) -> (Tenure, SuiteHistory) {
    let (held, mut history) = (tenure(&zone(), 1, 1), SuiteHistory::new(1));
    until_answered(async || store.fence(&held).await).await.unwrap();
    let records = history.records_to(Tick(2));
    assert_eq!(store.append(&held, &records).await, Ok(AppendAnswer::Ok));
    (held, history)
}

fn last_tick(redis: &RedisServer) -> String {
    redis.command(&["HGET", "test:{meadow}:meta", "last"])
}

/// Cuts a replica off from its primary: from then on it hears of no write.
fn cut_off(replica: &RedisServer) {
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
}

#[tokio::test]
async fn store_whose_replica_confirms_conforms() {
    let (primary, _replica) = pair();
    let links = [confirmed(&primary).await, confirmed(&primary).await];
    let next = std::cell::RefCell::new(Vec::from(links));
    let lose = |_: &RedisStore, zone: &ZoneName| {
        for key in ["meta", "journal", "chain", "parts", "quarantine"] {
            let _count = primary.command(&["DEL", &format!("test:{{{zone}}}:{key}")]);
        }
    };
    zone_store_conformance(|| next.borrow_mut().pop().unwrap(), lose).await;
    let links = [confirmed(&primary).await, confirmed(&primary).await];
    let next = std::cell::RefCell::new(Vec::from(links));
    home_store_conformance(|| next.borrow_mut().pop().unwrap()).await;
}

#[tokio::test]
async fn append_counts_when_the_replica_has_it_and_not_before() {
    let (primary, replica) = pair();
    let store = confirmed(&primary).await;
    let (held, mut history) = held(&store).await;
    assert_eq!(last_tick(&replica), "2", "what is acknowledged is there");
    replica.signal(Signal::STOP);
    let records = history.records_to(Tick(3));
    for _ in 0..2 {
        let answer = store.append(&held, &records).await;
        let Err(StoreError::Unavailable(why)) = &answer else {
            panic!("{answer:?}")
        };
        assert!(why.contains("0 replicas of Redis confirm"), "{why}");
        assert_eq!(last_tick(&primary), "3", "the primary alone has it");
    }
    // Whatever needs no confirmation goes on.
    assert_eq!(store.read_zone(&zone()).await.unwrap().records.len(), 3);
    replica.signal(Signal::CONT);
    let answer = until_answered(async || store.append(&held, &records).await).await;
    assert_eq!(answer, Ok(AppendAnswer::Duplicate));
    assert_eq!(last_tick(&replica), "3");
}

#[tokio::test]
async fn repeat_over_another_connection_waits_for_the_replica_too() {
    let (primary, replica) = pair();
    let store = confirmed(&primary).await;
    let (held, mut history) = held(&store).await;
    replica.signal(Signal::STOP);
    let records = history.records_to(Tick(3));
    assert!(
        store
            .append(&held, &records)
            .await
            .is_err_and(|error| error.is_unknown())
    );
    assert_ne!(
        primary.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
        "0"
    );
    let unconfirmed = async {
        loop {
            match store.append(&held, &records).await {
                Err(StoreError::Unavailable(why)) if why.contains("replicas of Redis confirm") => return,
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(AGAIN).await,
                answer => panic!("{answer:?}"),
            }
        }
    };
    let unconfirmed = tokio::time::timeout(PATIENCE, unconfirmed).await;
    unconfirmed.expect("the new connection is up and asks the replica");
    replica.signal(Signal::CONT);
    let answer = until_answered(async || store.append(&held, &records).await).await;
    assert_eq!(answer, Ok(AppendAnswer::Duplicate));
}

/// Calls each write that must not be lost.
async fn decide(store: &RedisStore, held: &Tenure, head: CheckpointHead) -> [Result<(), StoreError>; 5] {
    let home = Home::first(zone());
    [
        store.fence(held).await,
        store.create(held, Origin::Memory).await,
        store.move_head(held, head).await,
        store.quarantine(held, Tick(2), EntityId(1), 1).await,
        store.set_home(Account(1), None, &home).await.map(drop),
    ]
}

async fn base(store: &RedisStore, held: &Tenure, history: &SuiteHistory) -> CheckpointHead {
    let position: Position = history.last();
    store.put_part(held, position, 0, "a part".into()).await.unwrap();
    CheckpointHead {
        position,
        kind: CheckpointKind::Base,
        parts: 1,
        bytes: 6,
    }
}

#[tokio::test]
async fn fence_head_quarantine_and_home_count_when_the_replica_has_them() {
    let (primary, replica) = pair();
    let store = confirmed(&primary).await;
    let (held, history) = held(&store).await;
    replica.signal(Signal::STOP);
    let head = base(&store, &held, &history).await;
    for outcome in decide(&store, &held, head).await {
        let Err(StoreError::Unavailable(why)) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(why.contains("replicas of Redis confirm"), "{why}");
    }
    // Who is shut out hears it at once.
    let late = tenure(&zone(), 1, 2);
    assert_eq!(store.fence(&late).await, Err(StoreError::Fenced { epoch: Epoch(1) }));
    replica.signal(Signal::CONT);
    until_answered(async || decide(&store, &held, head).await.into_iter().collect::<Result<(), _>>())
        .await
        .unwrap();
    let key = |name: &str| format!("test:{{meadow}}:{name}");
    assert_eq!(replica.command(&["LLEN", &key("chain")]), "1");
    assert_eq!(replica.command(&["HLEN", &key("quarantine")]), "1");
    assert_eq!(replica.command(&["GET", "test:home:1"]), "1 meadow");
}

/// Replicas confirm a place in the stream of all that the primary wrote. A repeat that wrote nothing would have no
/// place of its own there, and what is confirmed then depends on the server's release.
#[tokio::test]
async fn repeat_of_what_must_not_be_lost_is_a_write() {
    let (primary, _replica) = pair();
    let store = confirmed(&primary).await;
    let (held, mut history) = held(&store).await;
    let head = base(&store, &held, &history).await;
    let records = history.records_to(Tick(3));
    let offset = || -> u64 {
        let said = primary.command(&["INFO", "replication"]);
        let offset = said.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        offset.unwrap().trim().parse().unwrap()
    };
    let home = Home::first(zone());
    let mut last = 0;
    for round in ["first", "repeat"] {
        let mut wrote = |what: &str, outcome: Result<(), StoreError>| {
            outcome.unwrap();
            let before = std::mem::replace(&mut last, offset());
            assert!(last > before, "{round}: {what} wrote nothing");
        };
        wrote("append", store.append(&held, &records).await.map(drop));
        wrote("fence", store.fence(&held).await);
        wrote("create", store.create(&held, Origin::Memory).await);
        wrote("move_head", store.move_head(&held, head).await);
        wrote("quarantine", store.quarantine(&held, Tick(3), EntityId(1), 1).await);
        wrote("set_home", store.set_home(Account(1), None, &home).await.map(drop));
    }
}

/// A primary dies whose replica was cut off a moment before. Returns the last tick that the store acknowledged, and the
/// last that the promoted replica has.
async fn acknowledged_and_found(open: impl AsyncFn(&RedisServer) -> RedisStore) -> (Tick, Tick) {
    let (mut primary, replica) = pair();
    let store = open(&primary).await;
    let (held, mut history) = held(&store).await;
    // What is asked about here is the acknowledgement alone.
    assert_eq!(primary.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    let mut acknowledged = Tick(2);
    for tick in (3..20).map(Tick) {
        if tick == Tick(10) {
            cut_off(&replica);
        }
        let records = history.records_to(tick);
        match store.append(&held, &records).await {
            Ok(AppendAnswer::Ok | AppendAnswer::Duplicate) => acknowledged = tick,
            Err(error) if error.is_unknown() => break,
            answer => panic!("{answer:?}"),
        }
    }
    primary.kill();
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    let last = last_tick(&replica);
    // One that was cut off before it had heard of anything has nothing.
    let found = if last.is_empty() { 0 } else { last.parse().unwrap() };
    (acknowledged, Tick(found))
}

#[tokio::test]
async fn promoted_replica_has_everything_that_was_acknowledged() {
    let (acknowledged, found) = acknowledged_and_found(confirmed).await;
    assert_eq!(acknowledged, Tick(9), "it was cut off then");
    assert!(found >= acknowledged, "{found} of {acknowledged}");
}

#[tokio::test]
async fn at_store_a_promoted_replica_that_was_cut_off_lacks_what_was_acknowledged() {
    let (acknowledged, found) = acknowledged_and_found(async |redis| store(&redis.url()).await).await;
    assert_eq!(acknowledged, Tick(19), "nobody asked the replica");
    assert!(found < acknowledged, "{found} of {acknowledged}");
}

#[tokio::test]
async fn redis_that_writes_without_its_replicas_is_refused_with_the_command_that_mends_it() {
    let primary = RedisServer::start(Persistence::None);
    let open = async || RedisStore::open_confirmed(&target(&primary.url()), count(2)).await;
    let lag = ["CONFIG", "SET", "min-replicas-max-lag", "0"];
    assert_eq!(primary.command(&lag), "OK");
    for key in ["min-replicas-to-write", "min-replicas-max-lag"] {
        let error = open().await.unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, RedisError::Unguarded { key: wrong, .. } if wrong == key),
            "{message}"
        );
        let mend = message
            .split('`')
            .find_map(|part| part.strip_prefix("redis-cli "))
            .unwrap();
        let words: Vec<&str> = mend.split(' ').collect();
        assert_eq!(primary.command(&words), "OK", "{mend}");
    }
    let _one = follower(&primary);
    let error = open().await.unwrap_err();
    assert!(
        matches!(error, RedisError::Unconfirmed { confirmed: 1, .. }),
        "one is too few: {error}"
    );
    let _other = follower(&primary);
    open().await.unwrap();
}

#[tokio::test]
async fn zones_of_a_node_whose_replica_stops_wait_and_no_others() {
    let redis = RedisCluster::start();
    let primaries = redis.primaries();
    for primary in &primaries {
        let words = ["CONFIG", "SET", "min-replicas-to-write", "1"];
        assert_eq!(redis.node(*primary).command(&words), "OK");
    }
    let store = RedisStore::open_confirmed(&target(&redis.url()), count(1))
        .await
        .unwrap();
    // One zone on each of two nodes.
    let names = (0..).map(|number| format!("zone-{number}").parse::<ZoneName>().unwrap());
    let node = |name: &ZoneName| redis.primary_of(&format!("test:{{{name}}}:meta"));
    let one: ZoneName = "zone-0".parse().unwrap();
    let other = names.into_iter().find(|name| node(name) != node(&one)).unwrap();
    let mut zones = [one, other].map(|name| (tenure(&name, 1, 1), SuiteHistory::new(1)));
    for (held, history) in &mut zones {
        store.fence(held).await.unwrap();
        assert_eq!(
            store.append(held, &history.records_to(Tick(1))).await,
            Ok(AppendAnswer::Ok)
        );
    }
    let replica = redis.replica_of(node(&zones[0].0.zone));
    redis.node(replica).signal(Signal::STOP);
    let (waiting, records) = (zones[0].1.records_to(Tick(2)), zones[1].1.records_to(Tick(2)));
    let held = async {
        let answer = store.append(&zones[0].0, &waiting).await;
        assert!(answer.as_ref().is_err_and(Unknown::is_unknown), "{answer:?}");
    };
    let goes_on = async { assert_eq!(store.append(&zones[1].0, &records).await, Ok(AppendAnswer::Ok)) };
    tokio::join!(held, goes_on);
    redis.node(replica).signal(Signal::CONT);
    let answer = until_answered(async || store.append(&zones[0].0, &waiting).await).await;
    assert_eq!(answer, Ok(AppendAnswer::Duplicate));
}

/// Many zones share a connection: what waits for a replica goes with one round.
#[tokio::test]
async fn appends_of_many_zones_at_once_are_each_acknowledged() {
    let (primary, replica) = pair();
    let store = confirmed(&primary).await;
    let zones: Vec<ZoneName> = (0..300)
        .map(|number| format!("zone-{number}").parse().unwrap())
        .collect();
    let mut appends = tokio::task::JoinSet::new();
    for name in &zones {
        let (store, held) = (store.clone(), tenure(name, 1, 1));
        appends.spawn(async move {
            while store.fence(&held).await.is_err_and(|error| error.is_unknown()) {
                tokio::time::sleep(AGAIN).await;
            }
            let records = SuiteHistory::new(1).records_to(Tick(1));
            loop {
                match store.append(&held, &records).await {
                    Err(error) if error.is_unknown() => tokio::time::sleep(AGAIN).await,
                    answer => return answer,
                }
            }
        });
    }
    let all = tokio::time::timeout(PATIENCE, appends.join_all()).await;
    for answer in all.expect("each is answered") {
        assert!(
            matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
            "{answer:?}"
        );
    }
    for name in zones {
        let last = replica.command(&["HGET", &format!("test:{{{name}}}:meta"), "last"]);
        assert_eq!(last, "1", "{name}");
    }
}

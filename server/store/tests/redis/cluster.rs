//! A Cluster of three primaries with a replica each: zones lie on different nodes, slots move, nodes hang and are
//! replaced.

use std::cell::RefCell;

use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::store::{AppendAnswer, ZoneStore};
use everhold_core::ownership::{Authority, KeyFingerprints, Membership, Tenure};
use everhold_protocol::{Account, Epoch, Tick, ZoneName};
use everhold_store::conformance::{
    SuiteHistory, authority_conformance, home_store_conformance, membership_conformance, renew, tenure,
    zone_store_conformance,
};
use everhold_store::redis::{RedisAuthority, RedisError, RedisStore, RedisTarget};
use everhold_testing::redis::RedisCluster;
use rustix::process::Signal;

use crate::refusal::recommended_user;
use crate::{ANSWER_MAX, NONCE, PATIENCE, authority, claimed, store, target, terms, until_answered, zone};

async fn home_of(store: &RedisStore, account: Account) -> Option<Home> {
    store.record(account).await.unwrap().map(|record| record.home)
}

#[tokio::test]
async fn store_on_a_cluster_conforms() {
    let redis = RedisCluster::start();
    let links = RefCell::new(Vec::new());
    for _ in 0..4 {
        let link = store(&redis.url()).await;
        links.borrow_mut().push(link);
    }
    let lose = |_: &_, zone: &ZoneName| {
        for key in ["meta", "journal", "chain", "parts", "quarantine"] {
            let _count = redis.command(&["DEL", &format!("test:{{{zone}}}:{key}")]);
        }
    };
    zone_store_conformance(|| links.borrow_mut().pop().unwrap(), lose).await;
    home_store_conformance(|| links.borrow_mut().pop().unwrap()).await;
    for primary in redis.primaries() {
        assert_ne!(redis.node(primary).command(&["DBSIZE"]), "0", "zones lie on all nodes");
    }
}

#[tokio::test]
async fn authority_on_a_cluster_conforms() {
    let redis = RedisCluster::start();
    let links = RefCell::new(Vec::new());
    for _ in 0..10 {
        let link = authority(&redis.url()).await;
        links.borrow_mut().push(link);
    }
    authority_conformance(|| links.borrow_mut().pop().unwrap()).await;
    membership_conformance(|| links.borrow_mut().pop().unwrap()).await;
}

fn meta(zone: &ZoneName) -> String {
    format!("test:{{{zone}}}:meta")
}

/// A zone whose keys lie on another node than meadow's.
fn elsewhere(redis: &RedisCluster) -> ZoneName {
    let meadow = redis.primary_of(&meta(&zone()));
    let mut names = (0..).map(|number| format!("zone-{number}").parse::<ZoneName>().unwrap());
    names
        .find(|name| redis.primary_of(&meta(name)) != meadow)
        .expect("slots lie on three nodes")
}

/// Appends one more record, for as long as that takes, and expects it to be stored once.
async fn append_next(store: &RedisStore, held: &Tenure, history: &mut SuiteHistory, tick: Tick) {
    let records = history.records_to(tick);
    let answer = until_answered(async || store.append(held, &records).await).await;
    assert!(
        matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
        "{tick}: {answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slot_that_moves_costs_no_record_and_every_link_finds_its_new_node() {
    let redis = RedisCluster::start();
    let (writer, reader) = (store(&redis.url()).await, store(&redis.url()).await);
    let (held, mut history) = (tenure(&zone(), 1, 1), SuiteHistory::new(1));
    writer.fence(&held).await.unwrap();
    append_next(&writer, &held, &mut history, Tick(3)).await;
    let moving = redis.begin_move(&meta(&zone()));
    assert_eq!(moving.carry_some(1), 1, "some of its keys here, some there");
    let (mut again, moved) = (SuiteHistory::new(1), async {
        // The append says again what it has to say for as long as the keys are in two places.
        while !moving.was_refused() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tokio::task::block_in_place(|| moving.finish())
    });
    let _same = again.records_to(Tick(3));
    tokio::join!(append_next(&writer, &held, &mut again, Tick(4)), moved);
    append_next(&writer, &held, &mut again, Tick(5)).await;
    let data = reader.read_zone(&zone()).await.unwrap();
    let ticks: Vec<Tick> = data.records.iter().map(|record| record.tick).collect();
    assert_eq!(
        ticks,
        [1, 2, 3, 4, 5].map(Tick),
        "a link that knows the old node alone is sent on"
    );
}

#[tokio::test]
async fn keys_of_a_slot_on_its_way_are_asked_for_where_they_are() {
    let redis = RedisCluster::start();
    let store = store(&redis.url()).await;
    let home = |generation| Home {
        zone: zone(),
        generation,
    };
    store.set_home(Account(7), None, &home(1)).await.unwrap();
    let moving = redis.begin_move("test:home:7");
    assert_eq!(home_of(&store, Account(7)).await, Some(home(1)), "not moved yet");
    moving.carry();
    assert_eq!(home_of(&store, Account(7)).await, Some(home(1)), "moved");
    let refused = store.set_home(Account(7), Some(&home(1)), &home(2)).await.unwrap();
    assert_eq!(refused, None, "and written there, by a script that is unknown there");
    let target = moving.finish();
    assert_eq!(home_of(&store, Account(7)).await, Some(home(2)));
    assert_eq!(redis.node(target).command(&["GET", "test:home:7"]), "2 meadow");
}

#[tokio::test]
async fn primary_that_hangs_is_replaced_and_holds_up_its_own_zones_alone() {
    let redis = RedisCluster::start();
    let store = store(&redis.url()).await;
    let (held, other) = (tenure(&zone(), 1, 1), tenure(&elsewhere(&redis), 1, 1));
    let (mut here, mut there) = (SuiteHistory::new(1), SuiteHistory::new(2));
    for tenure in [&held, &other] {
        store.fence(tenure).await.unwrap();
    }
    append_next(&store, &held, &mut here, Tick(1)).await;
    append_next(&store, &other, &mut there, Tick(1)).await;
    let hanging = redis.primary_of(&meta(&zone()));
    redis.node(hanging).signal(Signal::STOP);
    let records = here.records_to(Tick(2));
    let replaced = until_answered(async || store.append(&held, &records).await);
    let served = async {
        for tick in (2..=20).map(Tick) {
            let answer = store.append(&other, &there.records_to(tick)).await;
            assert_eq!(answer.unwrap(), AppendAnswer::Ok, "nothing is unknown here");
        }
    };
    let (answer, ()) = tokio::join!(replaced, served);
    assert!(
        matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
        "{answer:?}"
    );
    redis.node(hanging).signal(Signal::CONT);
}

/// One zone of each primary, meadow's first.
fn zone_of_each_primary(redis: &RedisCluster) -> Vec<ZoneName> {
    let mut names: Vec<ZoneName> = vec![zone()];
    let of = |name: &ZoneName| redis.primary_of(&meta(name));
    for number in 0.. {
        if names.len() == redis.primaries().len() {
            break;
        }
        let name: ZoneName = format!("zone-{number}").parse().unwrap();
        if names.iter().all(|known| of(known) != of(&name)) {
            names.push(name);
        }
    }
    names
}

/// The primary of `key` is gone for good. The leases of the other nodes are read, claimed, and renewed.
async fn assert_leases_elsewhere_go_on(key: &str) {
    let mut redis = RedisCluster::start();
    let (holder, spare) = (authority(&redis.url()).await, authority(&redis.url()).await);
    let zones = zone_of_each_primary(&redis);
    for zone in &zones {
        holder.declare_zone(zone).await.unwrap();
    }
    assert_eq!(spare.leases().await.unwrap().views.len(), zones.len());
    let gone = redis.primary_of(key);
    let (unread, there): (Vec<&ZoneName>, Vec<&ZoneName>) =
        zones.iter().partition(|zone| redis.primary_of(&meta(zone)) == gone);
    redis.suspend_slot_of(key);
    // A machine that is busy may be too slow for one look.
    let look = async || loop {
        if let Ok(leases) = spare.leases().await
            && leases.unread.iter().eq(unread.iter().copied())
        {
            return leases.views;
        }
    };
    for round in 1..=3 {
        let views = tokio::time::timeout(PATIENCE, look())
            .await
            .expect("the others are read");
        assert!(views.iter().map(|view| &view.zone).eq(sorted(&there)), "{views:?}");
        for view in views {
            let claim = async || spare.claim(&view, NONCE, terms(), Epoch::NONE).await;
            let claimed = until_answered(claim).await.expect("nobody else wants it");
            assert_eq!(claimed.epoch(), Epoch(round));
            until_answered(async || renew(&spare, &claimed, 1).await)
                .await
                .expect("it is held");
        }
    }
}

fn sorted<'a>(zones: &[&'a ZoneName]) -> Vec<&'a ZoneName> {
    let mut zones = zones.to_vec();
    zones.sort();
    zones
}

#[tokio::test]
async fn leases_of_other_nodes_go_on_while_one_is_gone() {
    assert_leases_elsewhere_go_on(&meta(&zone())).await;
}

#[tokio::test]
async fn leases_of_other_nodes_go_on_while_the_one_with_the_list_of_zones_is_gone() {
    assert_leases_elsewhere_go_on("test:zones").await;
}

#[tokio::test]
async fn primary_that_dies_is_replaced_for_leases_too() {
    let mut redis = RedisCluster::start();
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let lease = claimed(&authority).await;
    let (held, mut history) = (tenure(&zone(), 1, 100), SuiteHistory::new(1));
    store.fence(&held).await.unwrap();
    append_next(&store, &held, &mut history, Tick(3)).await;
    redis.kill(redis.primary_of(&meta(&zone())));
    append_next(&store, &held, &mut history, Tick(4)).await;
    let renewed = until_answered(async || renew(&authority, &lease, 1).await).await;
    renewed.unwrap();
}

#[tokio::test]
async fn listener_at_a_node_that_dies_listens_at_another() {
    let mut redis = RedisCluster::start();
    let (owner, spare) = (authority(&redis.url()).await, authority(&redis.url()).await);
    let held = claimed(&owner).await;
    let nodes = 0..6;
    let count = |redis: &RedisCluster, index: usize| {
        let answer = redis.node(index).command(&["PUBSUB", "NUMSUB", "test:released"]);
        answer.lines().last().unwrap().parse::<usize>().unwrap()
    };
    let listeners = |redis: &RedisCluster, dead: Option<usize>| {
        let living = nodes.clone().filter(|index| Some(*index) != dead);
        living.map(|index| count(redis, index)).collect::<Vec<_>>()
    };
    redis
        .node(0)
        .wait_until("both listen", |_| listeners(&redis, None).iter().sum::<usize>() == 2);
    let at = nodes.clone().find(|index| count(&redis, *index) > 0).unwrap();
    redis.kill(at);
    let living = nodes.clone().find(|index| *index != at).unwrap();
    redis.node(living).wait_until("both listen again", |_| {
        listeners(&redis, Some(at)).iter().sum::<usize>() == 2
    });
    // Whatever was missed meanwhile is told as if it had been heard.
    while tokio::time::timeout(crate::QUIET, spare.wait_for_release())
        .await
        .is_ok()
    {}
    let released = until_answered(async || owner.release(&held).await).await;
    released.unwrap();
    let heard = tokio::time::timeout(PATIENCE, spare.wait_for_release()).await;
    heard.expect("a release is told at every node");
}

#[tokio::test]
async fn each_primary_of_a_cluster_must_keep_its_keys() {
    let redis = RedisCluster::start();
    let last = *redis.primaries().last().unwrap();
    let set = |policy| {
        let words = ["CONFIG", "SET", "maxmemory-policy", policy];
        assert_eq!(redis.node(last).command(&words), "OK");
    };
    set("allkeys-lru");
    let Err(error) = RedisStore::open(&target(&redis.url())).await else {
        panic!("it opened")
    };
    let port = redis.node(last).addr().port();
    assert!(
        matches!(&error, RedisError::Evicts { port: at, .. } if *at == port),
        "{error}"
    );
    set("noeviction");
    RedisStore::open(&target(&redis.url())).await.unwrap();
}

#[tokio::test]
async fn world_on_a_cluster_is_removed_from_every_node() {
    let redis = RedisCluster::start();
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let zones = [zone(), elsewhere(&redis)];
    for zone in &zones {
        authority.declare_zone(zone).await.unwrap();
        store.fence(&tenure(zone, 1, 1)).await.unwrap();
    }
    let (addr, keys) = (([127, 0, 0, 1], 1).into(), KeyFingerprints::default());
    authority.announce(NONCE, addr, &keys, PATIENCE).await.unwrap();
    for account in 1..=60 {
        let home = Home {
            zone: zone(),
            generation: 1,
        };
        store.set_home(Account(account), None, &home).await.unwrap();
    }
    store.remove_world(&zones).await.unwrap();
    for primary in redis.primaries() {
        assert_eq!(redis.node(primary).command(&["DBSIZE"]), "0");
    }
}

#[tokio::test]
async fn recommended_user_is_enough_for_a_shard_on_a_cluster() {
    let redis = RedisCluster::start();
    let words = recommended_user();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for node in 0..6 {
        assert_eq!(redis.node(node).command(&words), "OK");
    }
    let url = redis
        .url()
        .replace("redis-cluster://", "redis-cluster://shard:PASSWORD@");
    let target = RedisTarget::new(&url, "everhold").unwrap();
    let store = RedisStore::open(&target).await.unwrap();
    let held = claimed(&RedisAuthority::open(&target, ANSWER_MAX).await.unwrap()).await;
    store.fence(&held).await.unwrap();
    let home = Home {
        zone: zone(),
        generation: 1,
    };
    store.set_home(Account(7), None, &home).await.unwrap();
    let moving = redis.begin_move("everhold:home:7");
    moving.carry();
    assert_eq!(
        home_of(&store, Account(7)).await,
        Some(home),
        "it may ask a node for a slot on its way"
    );
}

#[tokio::test]
async fn cluster_is_found_at_any_node_that_is_named() {
    let mut redis = RedisCluster::start();
    redis.kill(0);
    redis.wait_until_served();
    let store = store(&redis.url()).await;
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
}

//! Leases by the thousand, on a Redis that is some way off, and leases that make no sense.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use everhold_core::ownership::{
    Authority, AuthorityError, DataStamp, Grant, Membership, Nonce, OwnerMark, Renewal, RulesTag, Tenure,
};
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_store::conformance::{reinstate, renew};
use everhold_testing::redis::{Persistence, RedisCluster, RedisServer};

use crate::{NONCE, authority, claimed, terms, zone};

/// Zones of a large world.
const ZONES: usize = 4_000;

/// Each way through the [`Delay`]: a round trip takes twice as long.
const ONE_WAY: Duration = Duration::from_millis(1);

/// A way to a server on which every byte takes [`ONE_WAY`], in both directions.
struct Delay {
    addr: SocketAddr,
}

impl Delay {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(server) else { return };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                carry(near.try_clone().unwrap(), far.try_clone().unwrap());
                carry(far, near);
            }
        });
        Self { addr }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

/// Carries bytes from one socket to the other, each after its time, in order, and however many are on the way.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (sender, arriving) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let arrives = Instant::now() + ONE_WAY;
            if sender.send((arrives, bytes[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (arrives, bytes) in arriving {
            std::thread::sleep(arrives.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}

fn world() -> Vec<Renewal> {
    let renewal = |number| Renewal {
        tenure: Tenure {
            zone: format!("zone-{number}").parse().unwrap(),
            grant: Grant::issue(Epoch(1), NONCE),
        },
        players: 1,
        mark: Some(OwnerMark {
            data: DataStamp {
                epoch: Epoch(1),
                tick: Tick(1_000_000),
            },
            rules: RulesTag::new(&[7; 32]),
        }),
    };
    (0..ZONES).map(renewal).collect()
}

/// Tries until all of it is done within the time that one call has: others use the machine, too. A call for each zone,
/// one after the other, would need many times as long, and is never done. Returns how long the try took.
async fn done_in_one_call(mut is_done: impl AsyncFnMut() -> bool) -> Duration {
    for _ in 0..100 {
        let began = Instant::now();
        if is_done().await {
            return began.elapsed();
        }
    }
    panic!("never done in one call");
}

#[tokio::test]
async fn four_thousand_zones_two_ms_away_are_read_in_one_call_and_renewed_in_one() {
    let redis = RedisServer::start(Persistence::None);
    let far = authority(&Delay::to(redis.addr()).url()).await;
    let near = authority(&redis.url()).await;
    let renewals = world();
    // The time that a call has may be over before all of it is done; what is done stays.
    let put_back = async || near.reinstate(&renewals, terms()).await;
    while !put_back().await.iter().all(Result::is_ok) {}
    // The first look learns which zones there are.
    let look = done_in_one_call(async || {
        let leases = far.leases().await.unwrap_or_default();
        (leases.views.len(), leases.unread.len()) == (ZONES, 0)
    });
    eprintln!("a look at {ZONES} leases takes {:?}", look.await);
    let renewal = done_in_one_call(async || far.renew(&renewals).await.iter().all(Result::is_ok));
    eprintln!("the renewal of {ZONES} leases takes {:?}", renewal.await);
}

async fn assert_damage_costs_one_zone(url: &str, command: impl Fn(&[&str])) {
    let (holder, spare) = (authority(url).await, authority(url).await);
    let held = claimed(&holder).await;
    let whole: ZoneName = "whole".parse().unwrap();
    holder.declare_zone(&whole).await.unwrap();
    let key = format!("test:{{{}}}:lease", zone());
    let damages: [&[&str]; 3] = [
        &["HSET", &key, "epoch", "many"],
        &["HDEL", &key, "beat"],
        &["SET", &key, "no hash"],
    ];
    command(&["SADD", "test:zones", "no name of a zone!"]);
    for damage in damages {
        command(damage);
        let leases = spare.leases().await.unwrap();
        assert_eq!(leases.damaged, [zone()].into(), "{damage:?}");
        assert_eq!(leases.views.iter().map(|view| &view.zone).collect::<Vec<_>>(), [&whole]);
        let renewed = renew(&holder, &held, 1).await;
        assert!(matches!(renewed, Err(AuthorityError::ZoneUnknown(_))), "{renewed:?}");
        reinstate(&holder, &held, terms(), 1).await.unwrap();
        renew(&holder, &held, 1).await.unwrap();
        assert_eq!(spare.leases().await.unwrap().views.len(), 2, "{damage:?}");
        command(damage);
        spare.declare_zone(&zone()).await.unwrap();
        let views = spare.leases().await.unwrap().views;
        let anew = views.iter().find(|view| view.zone == zone()).unwrap();
        assert_eq!((anew.epoch, anew.released), (Epoch::NONE, true), "{damage:?}");
        reinstate(&holder, &held, terms(), 1).await.unwrap();
    }
    command(&["HSET", "test:shards", "5", "no entry"]);
    assert!(spare.shards().await.unwrap().is_empty());
    spare.withdraw(Nonce(5)).await.unwrap();
}

#[tokio::test]
async fn lease_that_makes_no_sense_costs_its_own_zone_alone_until_it_is_put_back() {
    let redis = RedisServer::start(Persistence::None);
    assert_damage_costs_one_zone(&redis.url(), |words| drop(redis.command(words))).await;
}

#[tokio::test]
async fn lease_that_makes_no_sense_costs_its_own_zone_alone_on_a_cluster() {
    let redis = RedisCluster::start();
    assert_damage_costs_one_zone(&redis.url(), |words| drop(redis.command(words))).await;
}

#[tokio::test]
async fn leases_of_all_nodes_are_renewed_at_once_also_by_a_link_that_knows_an_old_shape() {
    let redis = RedisCluster::start();
    let holder = authority(&redis.url()).await;
    let renewals: Vec<Renewal> = world().into_iter().take(300).collect();
    let nodes: std::collections::BTreeSet<u64> = renewals
        .iter()
        .map(|renewal| holder.node_of(&renewal.tenure.zone))
        .collect();
    assert_eq!(nodes.len(), 3, "zones lie on all nodes");
    assert!(holder.reinstate(&renewals, terms()).await.iter().all(Result::is_ok));
    let moving = redis.begin_move(&format!("test:{{{}}}:lease", renewals[7].tenure.zone));
    moving.carry();
    moving.finish();
    let renewed = holder.renew(&renewals).await;
    assert!(renewed.iter().all(Result::is_ok), "{renewed:?}");
    assert_eq!(holder.leases().await.unwrap().views.len(), renewals.len());
}

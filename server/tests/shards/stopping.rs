//! Shards that are asked to stop: by every signal, in every state, and twice.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use everhold_local_cluster::{LocalCluster, Who, is_running};
use everhold_protocol::Epoch;
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// Well above the time in which a signal that comes again is the same wish (1 s).
const A_WISH_LATER: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_terminal_closes_leaves_a_whole_checkpoint() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let spare = world.shard(&[]);
    for who in [Who::Server, Who::Guardian] {
        world.cluster.signal_to(owner, who, Signal::HUP).expect("a signal");
    }
    world.until_stopped(owner);
    world.until_adopted(&meadow(), spare, Epoch::FIRST);
    let mut adoptions = world.cluster.adoptions.iter();
    let adoption = adoptions.find(|a| a.process == spare && a.report.zone == meadow());
    assert_eq!(adoption.expect("it was waited for").report.replayed_ticks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_does_not_end_does_not_hold_up_a_stop() {
    let mut world = World::with_endless_leases().sabotaged();
    let arguments = world.arguments(&["--stick", "meadow"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let index = world.cluster.launch(&all_zones(), &arguments).expect("a shard");
    let others = all_zones().len() - 1;
    let stuck = |cluster: &LocalCluster| cluster.all[index].addr.port() != 0 && cluster.adoptions.len() >= others;
    world
        .cluster
        .wait_until("all but one is adopted", PATIENCE, stuck)
        .expect("a shard that serves");
    world
        .cluster
        .signal_to(index, Who::Guardian, Signal::TERM)
        .expect("a signal");
    world.until_stopped(index);
    assert!(world.cluster.adoptions.iter().all(|a| a.report.zone != meadow()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_twice_ends_at_once_although_its_store_hangs() {
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let owner = world.shard_with(&all_zones(), &["--no-guardian"]);
    world.redis().signal(Signal::STOP);
    // On a busy machine two signals may reach it close together, and be one wish: it is asked until it ends.
    let status = loop {
        world.cluster.signal(owner, Signal::TERM).expect("a living shard");
        if let Ok(status) = world.cluster.wait_until_dead(owner, A_WISH_LATER) {
            break status;
        }
    };
    world.redis().signal(Signal::CONT);
    assert_eq!(status, "exit status: 143");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_does_not_hold_up_a_stop_for_ever() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    world.redis().signal(Signal::STOP);
    world
        .cluster
        .signal_to(owner, Who::Guardian, Signal::TERM)
        .expect("a signal");
    // It ends in one way or the other; what it could not store the next owner does.
    world.cluster.wait_until_dead(owner, PATIENCE).expect("it ends");
    world.redis().signal(Signal::CONT);
}

pub(crate) fn free_addr() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("a bound socket")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_started_again_takes_the_place_of_an_orphan() {
    let mut world = World::with_endless_leases();
    let addr = free_addr().to_string();
    let orphan = world.shard_with(&all_zones(), &["--listen", &addr]);
    world.cluster.kill_guardian(orphan).expect("a kill");
    // It is to end by itself, which is no fault.
    world.cluster.all[orphan].killed = Some(Instant::now());
    let heir = world.shard_with(&all_zones(), &["--listen", &addr]);
    assert_eq!(world.cluster.all[heir].addr.to_string(), addr);
    let pid = world.cluster.all[orphan].pid;
    assert!(!is_running(pid), "orphan {pid} is left behind");
    assert!(world.until_adopted(&meadow(), heir, Epoch::FIRST).0 > Epoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_stops_as_it_was_asked_to_is_no_fault_to_those_who_wait() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    world.cluster.signal(owner, Signal::TERM).expect("a signal");
    let gone = |cluster: &LocalCluster| cluster.all[owner].killed.is_some();
    world
        .cluster
        .wait_until("its end is seen", PATIENCE, gone)
        .expect("no complaint that it ended");
}

//! The inside of a link. The rest is tried from outside, on whole stores.

use everhold_testing::redis::{Persistence, RedisServer};
use fred::interfaces::ClientLike;

use super::*;
use crate::redis::RedisTarget;

const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Far above [`node::DEAD_AFTER`].
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn link_whose_client_has_given_up_is_built_anew() {
    let redis = RedisServer::start(Persistence::None);
    let config = RedisTarget::new(&redis.url(), "test").unwrap().config;
    let thread = Arc::new(Thread::start("test").unwrap());
    let link = RedisLink::open(thread, "test", config, ANSWER_MAX).await.unwrap();
    let Servers::One(node) = &link.shared.servers else {
        panic!("one server")
    };
    let client = || node.client();
    let dead = client();
    // A client that was told to quit never connects again by itself.
    dead.quit().await.unwrap();
    let ask = async || link.command("EXISTS", vec!["key".into()]).await;
    assert!(ask().await.is_err(), "nobody is there");
    let until_answered = async {
        while ask().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, until_answered).await;
    answered.expect("somebody looks after it");
    assert_ne!(client().id(), dead.id());
}

/// A socket whose queue of newcomers is full: who dials it hears nothing, as of a host that is gone.
fn vanished_host() -> (Vec<std::net::TcpStream>, rustix::fd::OwnedFd, std::net::SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let door = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&door, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&door, 0).unwrap();
    let addr: std::net::SocketAddr = getsockname(&door).unwrap().try_into().unwrap();
    let wait = Duration::from_millis(300);
    let dial = || std::net::TcpStream::connect_timeout(&addr, wait).ok();
    (std::iter::from_fn(dial).collect(), door, addr)
}

#[tokio::test]
async fn client_that_quits_while_it_dials_a_host_that_is_gone_dials_no_more() {
    let (_queue, _door, addr) = vanished_host();
    let config = RedisTarget::new(&format!("redis://{addr}"), "test").unwrap().config;
    let node = RedisNode::start("test", config, ANSWER_MAX).unwrap();
    node.ready(ANSWER_MAX).await;
    assert!(!node.is_over());
    node.quit();
    let until_over = async {
        while !node.is_over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_over).await.expect("it ends");
}

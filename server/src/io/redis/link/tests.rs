//! What only the inside of a link shows. The rest is tried from outside, on whole stores.

use fred::interfaces::ClientLike;

use super::*;
use crate::io::redis::RedisTarget;
use crate::testing::redis::{Persistence, RedisServer};

const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Far above [`node::DEAD_AFTER`].
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn link_whose_client_has_given_up_is_built_anew() {
    let redis = RedisServer::start(Persistence::None);
    let config = RedisTarget::new(&redis.url(), "test").unwrap().config;
    let thread = Arc::new(Thread::start("test").unwrap());
    let link = Link::open(thread, "test", config, ANSWER_MAX).await.unwrap();
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

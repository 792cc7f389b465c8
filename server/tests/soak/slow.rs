//! A store at the end of a slow link: what takes long and makes progress is not given up.

use std::time::Duration;

use client_sim::Control;
use everhold_protocol::Epoch;
use everhold_testing::proxy::{Faults, Proxy, Way};
use everhold_testing::redis::{Persistence, RedisServer};

use crate::play::do_all_play;
use crate::scene::{Scene, meadow};

/// A zone without any earlier owner waits for so long. Later its owner's guardian releases it.
const TTL: Duration = Duration::from_secs(3);

/// Several times as long as an answer of Redis may take, s.
const READ_S: u64 = 3;

/// No checkpoint covers the journal: an adopter reads and replays all of it.
const NO_CHECKPOINTS: &str = "[durability]\ndelta_ms = 600000\nbase_ms = 600000\n";

const PLAYERS: usize = 40;

/// Returns the size of what an adopter of the meadow reads.
fn stored_bytes(redis: &RedisServer) -> u64 {
    let script = "local sum = 0 for _, key in ipairs(KEYS) do for _, value in ipairs(redis.call('HVALS', key)) do \
        sum = sum + #value end end return sum";
    let keys = ["everhold:{meadow}:journal", "everhold:{meadow}:parts"];
    let sum = redis.command(&["EVAL", script, "2", keys[0], keys[1]]);
    sum.parse().expect("a number")
}

#[test]
fn spare_with_a_slow_link_to_its_store_adopts_a_long_journal() {
    let redis = RedisServer::start(Persistence::None);
    let link = Proxy::tcp(redis.addr(), 1);
    let mut scene = Scene::new(TTL, NO_CHECKPOINTS);
    scene.use_redis(redis.url());
    let owner = scene.shard(&[meadow()], &[]);
    scene.use_redis(format!("redis://{}", link.addr()));
    let heir = scene.shard(&[], &["--no-guardian"]);
    let mut has_died = false;
    let orders = scene.traders(PLAYERS);
    let report = client_sim::run(orders, &mut |progress| {
        if !has_died && do_all_play(progress) && progress.running_for_s > 2.0 {
            let bytes_per_s = u32::try_from(stored_bytes(&redis) / READ_S).expect("a small world");
            link.set(Faults {
                back: Way {
                    bytes_per_s: Some(bytes_per_s),
                    ..Way::default()
                },
                ..Faults::default()
            });
            scene.cluster.kill(owner).expect("a kill");
            has_died = true;
        }
        scene.cluster.listen();
        let is_over =
            has_died && do_all_play(progress) && progress.zones[0].epochs.iter().all(|epoch| *epoch > Epoch(1));
        if !is_over {
            return Control::Continue;
        }
        link.heal();
        Control::Stop
    });
    let report = report.expect("a run");
    assert!(report.is_clean(), "{report:#?}");
    let (epoch, by) = scene.until_adopted_above(Epoch(1));
    assert_eq!((epoch, by), (Epoch(2), heir), "the first adoption is the one");
    let adoption = scene
        .cluster
        .adoptions
        .iter()
        .find(|one| one.report.epoch == epoch && one.process == heir);
    let took_ms = adoption.expect("it was waited for").report.adopt_ms;
    assert!(took_ms >= READ_S as f64 * 900.0, "nothing was slow: {took_ms} ms");
    scene.assert_nothing_lost();
}

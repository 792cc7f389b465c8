//! Inputs at which a rule fails, more of them than there are shards.

use std::time::Duration;

use everhold_protocol::client::Notice;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{Event, Intent, SeqEvent};
use everhold_testing::player::Player;

use crate::scene::{Scene, meadow, until_confirmed};

/// The line of chat at which the rule fails.
const POISON: &str = "abracadabra";

/// A shard at which a zone has failed lets others go first for so long.
const TTL: Duration = Duration::from_secs(2);

async fn until_quarantined(player: &mut Player, wanted: u64) {
    let rejected = player.until("the input is rejected", |notice| match notice {
        Notice::Event(SeqEvent {
            event: Event::Rejected { seq, reason },
            ..
        }) if *seq == wanted => Some(*reason),
        _ => None,
    });
    assert_eq!(rejected.await, RejectReason::Quarantined);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_poisoned_inputs_than_shards_cost_pauses_and_no_zone() {
    let mut scene = Scene::new(TTL, "");
    scene.cluster.binary = env!("CARGO_BIN_EXE_everhold-sabotaged").into();
    let plant = format!("panic-on-chat={POISON}");
    let sabotaged = ["--no-guardian", "--plant", &plant];
    for zones in [&[meadow()][..], &[], &[]] {
        scene.shard(zones, &sabotaged);
    }
    let shards = scene.cluster.all.len() as u64;
    let (mut culprit, mut epoch) = scene.player(7).await;
    let (mut bystander, _) = scene.player(8).await;
    for poisoned in 0..=shards {
        // Its first input is confirmed already.
        let seq = 2 + poisoned;
        culprit.push(Intent::Say(POISON.to_owned()));
        until_quarantined(&mut culprit, seq).await;
        epoch = scene.until_adopted_above(epoch).0;
        bystander.push(Intent::Say(format!("line {seq}")));
        until_confirmed(&mut bystander, seq).await;
    }
    scene.assert_nothing_lost();
    assert!(
        scene.cluster.all.iter().all(|shard| shard.killed.is_none()),
        "no process dies"
    );
}

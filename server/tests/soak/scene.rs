//! Shards with a store of their own, and players, for a test of one fault. Several of them may run at the same time.

use std::time::Duration;

use client_sim::{Behavior, SwarmConfig};
use everhold_local_cluster::LocalCluster;
use everhold_net::keys::Keys;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Heading, Intent, ZoneName};
use everhold_testing::player::{OldConnections, Player};
use tempfile::TempDir;

/// A wait is bounded by this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Shards, and what they share.
pub(crate) struct Scene {
    pub(crate) cluster: LocalCluster,
    keys: Keys,
    config: String,
    /// Arguments that every shard is started with.
    arguments: Vec<String>,
    // Removed when the processes are gone.
    _directory: TempDir,
}

pub(crate) fn meadow() -> ZoneName {
    "meadow".parse().expect("a zone name")
}

impl Scene {
    /// Shards whose leases last so long, with these lines in their configuration.
    pub(crate) fn new(ttl: Duration, lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cluster = LocalCluster::new(env!("CARGO_BIN_EXE_everhold").into(), directory.path());
        let keys = Keys::load_or_create(&cluster.keys()).expect("development keys");
        let config = directory.path().join("shard.toml");
        let text = format!("[lease]\nttl_ms = {}\n{lines}", ttl.as_millis());
        std::fs::write(&config, text).expect("a writable directory");
        Self {
            cluster,
            keys,
            config: config.to_string_lossy().into_owned(),
            arguments: Vec::new(),
            _directory: directory,
        }
    }

    /// Has all shards that are started from now on use the Redis at `url`.
    pub(crate) fn use_redis(&mut self, url: String) {
        self.arguments = vec!["--store".to_owned(), url];
    }

    /// Starts a shard, and waits until it serves and owns `zones`.
    pub(crate) fn shard(&mut self, zones: &[ZoneName], more: &[&str]) -> usize {
        let mut arguments = vec!["--config", &self.config];
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments.extend(more);
        self.cluster.start(zones, &arguments).expect("a shard that serves")
    }

    /// A player of the meadow that is in, one input of which is confirmed. Returns its epoch, too.
    pub(crate) async fn player(&self, account: u64) -> (Player, Epoch) {
        let living = self.cluster.all.iter().filter(|process| process.killed.is_none());
        let addrs = living.map(|process| process.addr).collect();
        let mut player = Player::login(&self.keys, addrs, account, &meadow(), OldConnections::Close);
        let epoch = player.until_attached_above(Epoch::NONE).await;
        player.push(Intent::Move(Heading::new(100, 0).expect("a heading")));
        until_confirmed(&mut player, 1).await;
        (player, epoch)
    }

    /// Orders for traders in the meadow.
    pub(crate) fn traders(&self, players: usize) -> SwarmConfig {
        SwarmConfig {
            connect: self.cluster.all.iter().map(|process| process.addr).collect(),
            players,
            seconds: 2.0 * PATIENCE.as_secs_f64(),
            zones: vec![meadow()],
            behavior: Behavior::Trade,
            keys: self.cluster.keys(),
            join_deadline_s: PATIENCE.as_secs_f64(),
            settle_deadline_s: PATIENCE.as_secs_f64(),
            ..SwarmConfig::default()
        }
    }

    /// Waits until the meadow is adopted under an epoch above `epoch`. Returns the new one, and by which process.
    pub(crate) fn until_adopted_above(&mut self, epoch: Epoch) -> (Epoch, usize) {
        let found = |cluster: &LocalCluster| {
            let mut adoptions = cluster.adoptions.iter();
            let newer = adoptions.find(|one| one.report.zone == meadow() && one.report.epoch > epoch);
            newer.map(|one| (one.report.epoch, one.process))
        };
        self.cluster
            .wait_until("the meadow is adopted", PATIENCE, |cluster| found(cluster).is_some())
            .expect("an adoption");
        found(&self.cluster).expect("it was waited for")
    }

    /// Asserts that no zone was lost or taken over with a loss.
    pub(crate) fn assert_nothing_lost(&self) {
        assert!(self.cluster.lost.is_empty(), "{:?}", self.cluster.lost);
        for adoption in &self.cluster.adoptions {
            let report = &adoption.report;
            assert!(report.digest_equal && report.rewound_ticks == 0, "{report:?}");
        }
    }
}

/// Waits until the player's inputs up to `wanted` are confirmed.
pub(crate) async fn until_confirmed(player: &mut Player, wanted: u64) {
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq } if *seq >= wanted).then_some(());
    player.until("an input is confirmed", confirmed).await;
}

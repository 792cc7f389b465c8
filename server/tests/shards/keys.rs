//! The keys of a world: shards that do not share them, and their replacement under play.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use client_sim::{Control, SwarmConfig, SwarmProgress, SwarmReport};
use everhold_core::ownership::{Membership, Nonce};
use everhold_local_cluster::{LocalCluster, Who};
use everhold_net::keys::{self, Keys, Recipient};
use everhold_protocol::client::Notice;
use everhold_protocol::{Credential, Epoch, RefusalCode};
use everhold_store::sqlite::SqliteAuthority;
use everhold_testing::player::{OldConnections, Player, ticket};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow, shard_that_ends};

/// Players of each swarm.
const PLAYERS: usize = 15;

/// Copies the keys of the world, and puts other ones in the place of those named.
fn keys_with_other(world: &World, files: &[&str]) -> PathBuf {
    let keys = world.cluster.keys();
    let (copy, other) = (keys.with_file_name("copy"), keys.with_file_name("other"));
    for dir in [&copy, &other] {
        drop(fs::remove_dir_all(dir));
    }
    keys::export(&keys, Recipient::Shard, &copy).expect("copied");
    keys::make(&other).expect("other keys");
    for file in files {
        fs::copy(other.join(file), copy.join(file)).expect("copied");
    }
    copy
}

/// A shard of this world with these keys, under the default configuration.
fn shard_command(world: &World, keys: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everhold"));
    command
        .args(["shard", "--no-guardian", "--state"])
        .arg(world.cluster.world())
        .arg("--keys")
        .arg(keys)
        .stdin(Stdio::null());
    command
}

#[test]
fn shard_with_other_keys_does_not_start_and_names_the_file() {
    let mut world = World::new();
    let shard = world.shard(&all_zones());
    let addr = world.cluster.all[shard].addr.to_string();
    for files in [&["ticket.pub"][..], &["tls-cert.pem", "tls-key.pem"], &["quic.key"]] {
        let keys = keys_with_other(&world, files);
        let (code, said) = shard_that_ends(
            &world.cluster.world(),
            &keys,
            &["--listen", "127.0.0.1:0", "--no-guardian"],
        );
        assert_eq!(code, Some(1), "{said}");
        for word in [files[0], &addr, &keys.display().to_string()] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    world.cluster.stop().expect("the living shard was not touched");
}

#[test]
fn shard_with_longer_leases_is_not_taken_for_dead() {
    let mut world = World::with_long_leases();
    let shard = world.shard(&all_zones());
    // It has the default leases, and the living one announces itself less often.
    let (code, said) = shard_that_ends(
        &world.cluster.world(),
        &keys_with_other(&world, &["quic.key"]),
        &["--listen", "127.0.0.1:0", "--no-guardian"],
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&world.cluster.all[shard].addr.to_string()), "{said}");
    assert_eq!(nonces_in_the_directory(&world).len(), 1, "it is not withdrawn");
    world.cluster.stop().expect("the living shard was not touched");
}

/// One that was stopped while the others joined, or that checked nothing, is told of by those who serve.
#[test]
fn living_shard_with_other_keys_is_an_alarm_at_those_who_serve() {
    let mut world = World::new();
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    world.cluster.log_to(log.reopen().expect("an open file").into());
    world.shard(&all_zones());
    let home = world.cluster.keys().with_file_name("other");
    keys::make(&home).expect("other keys");
    let other = Keys::load_or_create(&home).expect("keys");
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the authority");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let addr = ([192, 0, 2, 1], 4_001).into();
    let said = || fs::read_to_string(log.path()).expect("a log");
    let lines = |text: &str| text.matches("has other keys").count();
    let stranger = |_: &LocalCluster| {
        let (nonce, keys) = (Nonce(7), other.fingerprints());
        let announced = runtime.block_on(authority.announce(nonce, addr, &keys, PATIENCE));
        announced.expect("it is announced");
        lines(&said()) > 0
    };
    world
        .cluster
        .wait_until("the alarm", PATIENCE, stranger)
        .expect("it is told of");
    for _ in 0..20 {
        assert!(stranger(&world.cluster), "it is still there");
    }
    world.cluster.stop().expect("it serves all the same");
    let said = said();
    assert!(
        said.contains("ERROR") && said.contains("192.0.2.1:4001") && said.contains("ticket.pub"),
        "{said}"
    );
    assert_eq!(lines(&said), 1, "{said}");
}

/// Returns the nonces in the directory of shards.
fn nonces_in_the_directory(world: &World) -> Vec<Nonce> {
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the authority");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let shards = runtime.block_on(authority.shards()).expect("the directory");
    shards.into_iter().map(|shard| shard.nonce).collect()
}

/// A player who returns to the address of a shard that may not join is told nothing by it: a refusal would be final.
#[tokio::test(flavor = "multi_thread")]
async fn shard_with_other_keys_answers_nobody() {
    let mut world = World::with_default_leases();
    world.shard(&all_zones());
    let keys = keys_with_other(&world, &["ticket.pub"]);
    let addr = crate::stopping::free_addr();
    let mut shard = shard_command(&world, &keys)
        .args(["--listen", &addr.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let credential = Credential::Ticket(ticket(&world.keys, 1, &meadow()));
    let mut player = Player::start(&world.keys, vec![addr], credential, 1, OldConnections::Close);
    let ended = tokio::task::spawn_blocking(move || shard.wait().expect("a child"));
    let refused = |notice: &Notice| matches!(notice, Notice::Refused { .. }).then_some(());
    tokio::select! {
        status = ended => assert_eq!(status.expect("no panic").code(), Some(1)),
        () = player.until("a refusal", refused) => panic!("it was refused by a shard that is none"),
    }
}

#[test]
fn shard_with_other_keys_starts_in_a_world_whose_shards_are_dead() {
    let mut world = World::unguarded();
    for shard in [world.shard(&all_zones()), world.shard(&[])] {
        // Without a guardian nobody withdraws it from the directory.
        world.cluster.kill(shard).expect("a kill");
    }
    assert_eq!(nonces_in_the_directory(&world).len(), 2);
    let other = keys_with_other(&world, &["ticket.pub", "tls-cert.pem", "tls-key.pem", "quic.key"]);
    keys::export(&other, Recipient::Shard, &world.cluster.keys()).expect("copied");
    fs::remove_file(world.cluster.keys().join("ticket.key")).expect("it belongs to the old ones");
    world.shard(&all_zones());
    assert_eq!(nonces_in_the_directory(&world).len(), 1, "it withdraws the dead");
}

/// A swarm that plays until it is told to end.
struct Swarm {
    stop: Arc<AtomicBool>,
    progress: Arc<Mutex<Option<SwarmProgress>>>,
    run: JoinHandle<Result<SwarmReport, client_sim::SwarmError>>,
}

impl Swarm {
    fn join(world: &World, home: &Path, first_account: u64) -> Self {
        let living = world.cluster.all.iter().filter(|p| p.killed.is_none());
        let config = SwarmConfig {
            connect: living.map(|p| p.addr).collect(),
            players: PLAYERS,
            seconds: 600.0,
            keys: home.to_owned(),
            first_account,
            ..SwarmConfig::default()
        };
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (stopped, shown) = (Arc::clone(&stop), Arc::clone(&progress));
        let run = std::thread::spawn(move || {
            client_sim::run(config, &mut |progress| {
                *shown.lock().expect("no panic") = Some(progress.clone());
                if stopped.load(Ordering::Relaxed) {
                    Control::Stop
                } else {
                    Control::Continue
                }
            })
        });
        Self { stop, progress, run }
    }

    /// Waits until all play in zones of the newest epochs.
    fn until_all_play(&self, cluster: &mut LocalCluster) {
        let newest = |cluster: &LocalCluster, zone: &everhold_protocol::ZoneName| {
            let epochs = cluster
                .adoptions
                .iter()
                .filter(|a| a.report.zone == *zone)
                .map(|a| a.report.epoch);
            epochs.max().expect("every zone is owned")
        };
        let plays = |cluster: &LocalCluster| {
            assert!(!self.run.is_finished(), "the swarm has ended");
            let progress = self.progress.lock().expect("no panic");
            progress.as_ref().is_some_and(|progress| {
                let is_new = progress
                    .zones
                    .iter()
                    .all(|zone| zone.epochs == [newest(cluster, &zone.zone)]);
                (progress.attached, progress.silent) == (PLAYERS, 0) && is_new
            })
        };
        if let Err(error) = cluster.wait_until("all players play", PATIENCE, plays) {
            panic!("{error}: {:?}", self.progress.lock().expect("no panic"));
        }
    }

    /// Ends the play, and looks whether all that the players were told was true.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let report = self.run.join().expect("no panic").expect("a report");
        assert!(report.is_clean(), "{report:?}");
    }
}

/// `everhold keys rotate`.
fn rotate(home: &Path, stage: &str) {
    let command = Command::new(env!("CARGO_BIN_EXE_everhold"))
        .args(["keys", "rotate", stage, "--keys"])
        .arg(home)
        .output();
    let output = command.expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
}

/// Copies the keys to the shards' host, and restarts one shard after the other; those who play carry on after each.
fn restart_one_by_one(world: &mut World, shards: &mut [usize; 2], home: &Path, swarm: &Swarm) {
    keys::export(home, Recipient::Shard, &world.cluster.keys()).expect("copied");
    for shard in shards {
        world
            .cluster
            .signal_to(*shard, Who::Guardian, Signal::TERM)
            .expect("it lives");
        world.cluster.wait_until_dead(*shard, PATIENCE).expect("it stops");
        let settled = LocalCluster::is_settled;
        world
            .cluster
            .wait_until("the other has the zones", PATIENCE, settled)
            .expect("it does");
        // At the address that its players know.
        let addr = world.cluster.all[*shard].addr.to_string();
        *shard = world.shard_with(&[], &["--listen", &addr]);
        swarm.until_all_play(&mut world.cluster);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_under_play_by_restarting_one_shard_after_the_other() {
    let mut world = World::with_default_leases();
    // All keys are at home; the shards have no login secret.
    let home = world.cluster.keys().with_file_name("home");
    fs::rename(world.cluster.keys(), &home).expect("moved");
    keys::export(&home, Recipient::Shard, &world.cluster.keys()).expect("copied");
    let mut shards = [world.shard(&all_zones()), world.shard(&[])];
    let before = Keys::load_or_create(&home).expect("keys");
    let mut player = world.player(1, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    let early = Swarm::join(&world, &home, 1_000);
    early.until_all_play(&mut world.cluster);

    rotate(&home, "add");
    restart_one_by_one(&mut world, &mut shards, &home, &early);
    early.end();

    // Who has the clients of this stage trusts both certificates.
    world.keys = Keys::load_or_create(&home).expect("keys");
    let mut player = world.player(2, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    let late = Swarm::join(&world, &home, 2_000);
    late.until_all_play(&mut world.cluster);
    rotate(&home, "switch");
    restart_one_by_one(&mut world, &mut shards, &home, &late);
    let newcomers = Swarm::join(&world, &home, 3_000);
    newcomers.until_all_play(&mut world.cluster);
    newcomers.end();

    rotate(&home, "drop");
    restart_one_by_one(&mut world, &mut shards, &home, &late);
    late.end();
    world.keys = Keys::load_or_create(&home).expect("keys");
    let mut player = world.player(3, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    assert_old_keys_are_refused(&world, &before).await;
}

async fn assert_old_keys_are_refused(world: &World, before: &Keys) {
    let addrs: Vec<_> = world
        .cluster
        .all
        .iter()
        .filter(|p| p.killed.is_none())
        .map(|p| p.addr)
        .collect();
    let credential = Credential::Ticket(ticket(before, 4, &meadow()));
    let mut player = Player::start(&world.keys, addrs, credential, 4, OldConnections::Close);
    let refused = |notice: &Notice| match notice {
        Notice::Refused { code, .. } => Some(*code),
        _ => None,
    };
    assert_eq!(player.until("a refusal", refused).await, RefusalCode::TicketInvalid);
    assert_eq!(
        before.fingerprints().differs_from(&world.keys.fingerprints()),
        Some(everhold_core::ownership::KeyKind::Login)
    );
}

//! Worlds whose rules change: another number, one zone more, another tick rate; after a stop, after a kill, and while
//! they are served.

use std::process::{Command, Stdio};

use everhold_local_cluster::{LocalCluster, ReportedAdoption, Who};
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, OwnState, SessionId, ZoneName};
use everhold_testing::player::{OldConnections, Player};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones};

/// Hit points of a new character, and what they are changed to.
const HP: (&str, &str) = ("hp = 100", "hp = 90");

/// A player of each zone, with its session.
struct Players(Vec<(ZoneName, Player, SessionId, Epoch)>);

impl Players {
    async fn enter(world: &World) -> Self {
        let mut players = Vec::new();
        for (account, zone) in (1..).zip(all_zones()) {
            let mut player = world.player(account, &zone, OldConnections::Close);
            let (session, epoch) = attached(&mut player, Epoch::NONE).await;
            players.push((zone, player, session, epoch));
        }
        Self(players)
    }

    /// Logs each in anew, at the shards that live now: its character is the one that it had.
    async fn come_back(&mut self, world: &World) {
        for (account, (zone, player, session, epoch)) in (1..).zip(&mut self.0) {
            *player = world.player(account, zone, OldConnections::Close);
            let (now, next) = attached(player, *epoch).await;
            assert_eq!(now, *session, "the character of {zone}");
            *epoch = next;
        }
    }

    /// Waits until each was redirected to an owner of a higher epoch.
    async fn follow(&mut self) {
        for (zone, player, session, epoch) in &mut self.0 {
            let (now, next) = attached(player, *epoch).await;
            assert_eq!(now, *session, "the character of {zone}");
            *epoch = next;
        }
    }

    /// Waits until each was told of these shards, which it is to ask when its own is gone.
    async fn hear_of(&mut self, world: &World, shards: &[usize]) {
        for (_, player, ..) in &mut self.0 {
            for shard in shards {
                player.until_told_of(world.cluster.all[*shard].addr).await;
            }
        }
    }

    fn own(&self) -> Vec<OwnState> {
        self.0.iter().map(|(_, player, ..)| player.own()).collect()
    }
}

/// Waits until the player is attached above an epoch, and returns its session and that epoch.
async fn attached(player: &mut Player, above: Epoch) -> (SessionId, Epoch) {
    let is_attached = |notice: &Notice| match notice {
        Notice::Attached { session, epoch, .. } if *epoch > above => Some((*session, *epoch)),
        _ => None,
    };
    player.until("attached", is_attached).await
}

fn stop(world: &mut World, shard: usize) {
    world
        .cluster
        .signal_to(shard, Who::Guardian, Signal::TERM)
        .expect("a signal");
    world.until_stopped(shard);
}

/// Runs a command on the world. Returns its exit code, and what it printed and said.
fn everhold(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_everhold"))
        .args(arguments)
        .arg("--state")
        .arg(world.cluster.world())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = if output.status.success() {
        output.stdout
    } else {
        [output.stdout, output.stderr].concat()
    };
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The command on a world file of this name.
fn rules(world: &World, command: &str, file: &str) -> (Option<i32>, String) {
    let path = world.world_file(file);
    everhold(world, &["rules", command, "--world", &path.to_string_lossy()])
}

/// Deletes the world files that the store has kept.
fn forget_world_files(world: &World) {
    let file = rusqlite::Connection::open(world.cluster.world().join("world.db")).expect("the file is there");
    file.execute("DELETE FROM rules_file", []).expect("a delete");
}

/// The number of zones that `inspect` shows as sealed.
fn sealed(world: &World) -> usize {
    let (code, rows) = everhold(world, &["inspect", "--json"]);
    assert_eq!(code, Some(0), "{rows}");
    let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
    let rows = rows.as_array().expect("rows");
    rows.iter().filter(|row| row["sealed_rules"].is_string()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_world_is_taken_over_by_another_number_with_all_its_players() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let mut players = Players::enter(&world).await;
    let before = players.own();
    assert_eq!(sealed(&world), 0);
    stop(&mut world, owner);
    assert_eq!(sealed(&world), all_zones().len());
    let numbers = world.numbers("numbers.toml", HP.0, HP.1);
    let heir = world.shard_configured(&all_zones(), &numbers);
    players.come_back(&world).await;
    for (before, after) in before.iter().zip(players.own()) {
        assert_eq!((before.hp, after.hp), (100, 90));
        assert_eq!((before.gold, &before.items), (after.gold, &after.items));
    }
    assert_eq!(sealed(&world), 0);
    // What the heir wrote is read by the next of its kind, also after a kill.
    world.cluster.kill(heir).expect("a kill");
    world.shard_configured(&all_zones(), &numbers);
    players.come_back(&world).await;
    assert!(
        world
            .cluster
            .adoptions
            .iter()
            .all(|adoption| adoption.report.digest_equal)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_world_goes_on_with_one_zone_more() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let mut players = Players::enter(&world).await;
    stop(&mut world, owner);
    let haven = "\n[[zone]]\nname = \"haven\"\nnumber = 77\nwidth_cm = 5_000\nheight_cm = 5_000\nspawns = [[2_500, \
                 2_500]]\nitems_at_start = 0\nitems_max = 0\n\n[[zone]]";
    let numbers = world.numbers("haven.toml", "[[zone]]", haven);
    let zones: Vec<ZoneName> = all_zones()
        .into_iter()
        .chain(["haven".parse().expect("a name")])
        .collect();
    world.shard_configured(&zones, &numbers);
    players.come_back(&world).await;
    let mut settler = world.player(50, &zones[3], OldConnections::Close);
    attached(&mut settler, Epoch::NONE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_world_goes_on_at_another_tick_rate() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let mut players = Players::enter(&world).await;
    stop(&mut world, owner);
    world.shard_configured(&all_zones(), "[tick]\nhz = 30\n");
    players.come_back(&world).await;
    let mut newcomer = world.player(50, &all_zones()[0], OldConnections::Close);
    attached(&mut newcomer, Epoch::NONE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn world_that_was_killed_is_replayed_under_its_own_file_and_goes_on_under_another_that_was_applied() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let mut players = Players::enter(&world).await;
    let before = players.own();
    world.cluster.kill(owner).expect("a kill");
    let numbers = world.numbers("numbers.toml", HP.0, HP.1);
    let (code, words) = rules(&world, "plan", "numbers.toml");
    assert!(
        code == Some(0) && words.contains("replays it under the file that it ran"),
        "{code:?}: {words}"
    );
    let (code, words) = rules(&world, "apply", "numbers.toml");
    assert_eq!(code, Some(0), "{words}");
    world.shard_configured(&all_zones(), &numbers);
    // Each is begun, made up for, and taken over.
    let are_taken_over = |cluster: &LocalCluster| cluster.adoptions.len() == 3 * all_zones().len();
    let taken_over = world
        .cluster
        .wait_until("each zone is taken over", PATIENCE, are_taken_over);
    taken_over.expect("three adoptions of each");
    players.come_back(&world).await;
    for (before, after) in before.iter().zip(players.own()) {
        assert_eq!((before.hp, after.hp), (100, 90));
        assert_eq!((before.gold, &before.items), (after.gold, &after.items));
    }
    let is_equal = |adoption: &ReportedAdoption| adoption.report.digest_equal && adoption.report.rewound_ticks == 0;
    assert!(world.cluster.adoptions.iter().all(is_equal));
}

#[tokio::test(flavor = "multi_thread")]
async fn world_that_was_killed_is_left_alone_by_another_file_until_its_own_has_stopped_it() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let mut players = Players::enter(&world).await;
    world.cluster.kill(owner).expect("a kill");
    let numbers = world.numbers("numbers.toml", HP.0, HP.1);
    forget_world_files(&world);
    let (code, words) = rules(&world, "apply", "numbers.toml");
    assert!(
        code == Some(1) && words.contains("start a shard of the file that it ran"),
        "{code:?}: {words}"
    );
    let other = world.shard_configured(&[], &numbers);
    let are_left = |cluster: &LocalCluster| cluster.unfit.len() == all_zones().len();
    let left = world
        .cluster
        .wait_until("the other file leaves each zone alone", PATIENCE, are_left);
    left.expect("a report for each zone");
    let again = world.shard(&all_zones());
    players.come_back(&world).await;
    let (code, words) = rules(&world, "apply", "numbers.toml");
    assert_eq!(code, Some(0), "{words}");
    stop(&mut world, again);
    for zone in all_zones() {
        world.until_adopted(&zone, other, Epoch::FIRST);
    }
    players.come_back(&world).await;
    assert!(players.own().iter().all(|own| own.hp == 90));
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_brings_another_file_to_a_world_that_is_served_and_no_way_back() {
    let mut world = World::with_endless_leases();
    let first = world.shard(&all_zones());
    let second = world.shard(&[]);
    let mut players = Players::enter(&world).await;
    let numbers = world.numbers("numbers.toml", HP.0, HP.1);
    let (code, words) = rules(&world, "plan", "numbers.toml");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("player.hp: 100 -> 90") && words.contains("is taken over when its shard has stopped"));
    let (code, words) = rules(&world, "apply", "numbers.toml");
    assert_eq!(code, Some(0), "{words}");
    stop(&mut world, first);
    for zone in all_zones() {
        world.until_adopted(&zone, second, Epoch::FIRST);
    }
    let heirs = [
        world.shard_configured(&[], &numbers),
        world.shard_configured(&[], &numbers),
    ];
    players.follow().await;
    assert!(
        players.own().iter().all(|own| own.hp == 100),
        "the second shard has the old file"
    );
    players.hear_of(&world, &heirs).await;
    stop(&mut world, second);
    players.follow().await;
    assert!(players.own().iter().all(|own| own.hp == 90));
    // A shard of the old file gets none of them, whoever stops.
    let stale = world.shard(&[]);
    stop(&mut world, heirs[0]);
    let taken = |cluster: &LocalCluster| {
        let by = |zone: &ZoneName| cluster.adoptions.iter().rfind(|adoption| adoption.report.zone == *zone);
        all_zones()
            .iter()
            .all(|zone| by(zone).is_some_and(|adoption| adoption.process == heirs[1]))
    };
    let taken = world
        .cluster
        .wait_until("the other heir has all zones", PATIENCE, taken);
    taken.expect("an adoption of each");
    stop(&mut world, heirs[1]);
    let are_left = |cluster: &LocalCluster| {
        let by_stale = cluster.unfit.iter().filter(|(process, ..)| *process == stale);
        by_stale.count() >= all_zones().len()
    };
    let left = world
        .cluster
        .wait_until("the old file leaves each zone alone", PATIENCE, are_left);
    left.expect("a report for each zone");
    assert!(world.cluster.adoptions.iter().all(|adoption| adoption.process != stale));
    let (_, words) = rules(&world, "plan", "numbers.toml");
    assert_eq!(
        words.matches("runs these rules already").count(),
        all_zones().len(),
        "{words}"
    );
}

//! Another number, one zone more, and one field of state more come to a world that is served, by a roll over its two
//! shards: everybody plays on, with everything that they have. `ROLLING_PLAYERS` says how many.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase, SwarmProgress, SwarmReport};
use everhold_local_cluster::{LocalCluster, Who};
use everhold_protocol::{Epoch, ZoneName};
use everhold_testing::player::OldConnections;
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones};

/// The one field, and the two, of a component that only the tests' binary has.
const ONE_FIELD: [&str; 2] = ["--state-fields", "1"];
const TWO_FIELDS: [&str; 2] = ["--state-fields", "2"];

fn players() -> usize {
    let asked = std::env::var("ROLLING_PLAYERS").unwrap_or_default();
    if asked.is_empty() {
        60
    } else {
        asked.parse().expect("a number")
    }
}

fn orders(world: &World) -> SwarmConfig {
    SwarmConfig {
        connect: world.cluster.all.iter().map(|shard| shard.addr).collect(),
        players: players(),
        seconds: 300.0,
        zones: all_zones(),
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        settle_deadline_s: 60.0,
        ..SwarmConfig::default()
    }
}

/// The owner of each zone, and its epoch, as the shards told last.
fn owners(cluster: &mut LocalCluster) -> BTreeMap<ZoneName, (usize, Epoch)> {
    cluster.listen();
    let adoptions = cluster.adoptions.iter();
    let owners = adoptions.map(|one| (one.report.zone.clone(), (one.process, one.report.epoch)));
    owners.collect()
}

/// Whether everybody plays under the owners that the zones have now, which are of these shards.
fn all_play_at(world: &mut World, shards: &[usize], progress: &SwarmProgress) -> bool {
    if progress.phase != SwarmPhase::Running || progress.attached < players() || progress.silent > 0 {
        return false;
    }
    let owners = owners(&mut world.cluster);
    progress.zones.iter().all(|zone| match owners.get(&zone.zone) {
        Some((owner, epoch)) => shards.contains(owner) && zone.epochs == [*epoch],
        None => false,
    })
}

fn stop(world: &mut World, shard: usize) {
    world
        .cluster
        .signal_to(shard, Who::Guardian, Signal::TERM)
        .expect("a signal");
    world.until_stopped(shard);
}

/// Has a world file, or a build, taken over by the command of the tests' binary.
fn apply(world: &World, words: &[&str]) {
    let output = Command::new(&world.cluster.binary)
        .args(["rules", "apply", "--state"])
        .arg(world.cluster.world())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

/// Time between two steps, in which players are told of the shards that came: their own looks at the directory forty
/// times in a lease, and tells them now and then.
const STEP: Duration = Duration::from_secs(12);

/// Plays at `old`, the second of which is a spare, while `begin` starts two new shards, and the old ones are stopped
/// one after the other. Returns the new ones and what became of the players.
fn roll(
    world: &mut World,
    old: [usize; 2],
    mut begin: impl FnMut(&mut World) -> [usize; 2],
) -> ([usize; 2], SwarmReport) {
    let (mut new, mut step, mut at) = ([0, 0], 0, Instant::now());
    let report = client_sim::run(orders(world), &mut |progress| {
        if at.elapsed() < STEP {
            return Control::Continue;
        }
        match step {
            0 if all_play_at(world, &old, progress) => {
                new = begin(world);
                stop(world, old[0]);
                (step, at) = (1, Instant::now());
            }
            1 if all_play_at(world, &[old[1], new[0], new[1]], progress) => {
                stop(world, old[1]);
                (step, at) = (2, Instant::now());
            }
            2 if all_play_at(world, &new, progress) => return Control::Stop,
            _ => {}
        }
        Control::Continue
    });
    let report = report.expect("a run");
    assert_eq!(step, 2, "the roll came to its end: {report:#?}");
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.unheard, 0, "gold and things are audited: {report:#?}");
    assert!(world.cluster.lost.is_empty());
    let is_equal = |adoption: &everhold_local_cluster::ReportedAdoption| {
        adoption.report.digest_equal && adoption.report.rewound_ticks == 0
    };
    assert!(world.cluster.adoptions.iter().all(is_equal));
    (new, report)
}

#[test]
fn another_number_rolls_over_two_shards_under_players() {
    let mut world = World::with_default_leases().alone();
    let old = [world.shard(&all_zones()), world.shard(&[])];
    roll(&mut world, old, |world| {
        let numbers = world.numbers("numbers.toml", "hp = 100", "hp = 90");
        let file = world.world_file("numbers.toml");
        apply(world, &["--world", file.to_str().expect("text")]);
        [
            world.shard_configured(&[], &numbers),
            world.shard_configured(&[], &numbers),
        ]
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_zone_more_rolls_over_two_shards_under_players() {
    let haven: ZoneName = "haven".parse().expect("a name");
    let mut world = World::with_default_leases().alone();
    let old = [world.shard(&all_zones()), world.shard(&[])];
    tokio::task::block_in_place(|| {
        roll(&mut world, old, |world| {
            let zone = "\n[[zone]]\nname = \"haven\"\nnumber = 77\nwidth_cm = 5_000\nheight_cm = 5_000\nspawns = \
                        [[2_500, 2_500]]\nitems_at_start = 0\nitems_max = 0\n\n[[zone]]";
            let lines = world.numbers("haven.toml", "[[zone]]", zone);
            let file = world.world_file("haven.toml");
            apply(world, &["--world", file.to_str().expect("text")]);
            [world.shard_configured(&[], &lines), world.shard_configured(&[], &lines)]
        })
    });
    let mut settler = world.player(5_000, &haven, OldConnections::Close);
    settler.until_attached_above(Epoch::NONE).await;
}

/// Two builds side by side: one writes a component with one field, the other one writes it with two. What the later one
/// wrote, the earlier one leaves alone.
#[test]
fn one_field_of_state_more_rolls_over_two_shards_under_players_and_there_is_no_way_back() {
    let mut world = World::with_default_leases().alone().sabotaged();
    let old = [
        world.shard_with(&all_zones(), &ONE_FIELD),
        world.shard_with(&[], &ONE_FIELD),
    ];
    let (new, _) = roll(&mut world, old, |world| {
        apply(world, &TWO_FIELDS);
        [world.shard_with(&[], &TWO_FIELDS), world.shard_with(&[], &TWO_FIELDS)]
    });
    let before = owners(&mut world.cluster);
    let stale = world.shard_with(&[], &ONE_FIELD);
    for shard in new {
        world.cluster.kill(shard).expect("a kill");
    }
    let of_stale = |cluster: &LocalCluster| cluster.unfit.iter().filter(|(process, ..)| *process == stale).count();
    world
        .cluster
        .wait_until("the earlier build leaves each zone alone", PATIENCE, |cluster| {
            of_stale(cluster) >= all_zones().len()
        })
        .expect("a report for each zone");
    assert!(world.cluster.adoptions.iter().all(|adoption| adoption.process != stale));
    // Nothing was claimed or written: the next of the later build has the epoch after the last.
    let again = world.shard_with(&all_zones(), &TWO_FIELDS);
    for (zone, (owner, epoch)) in owners(&mut world.cluster) {
        let (_, last) = before[&zone];
        assert_eq!((owner, Some(epoch)), (again, last.next()), "{zone}");
    }
}

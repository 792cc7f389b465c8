//! Zones without an owner: an alarm of every shard that watches them, until one hosts them.

use everhold_local_cluster::LocalCluster;
use everhold_protocol::ZoneName;

use crate::world::{PATIENCE, World, all_zones, meadow};

#[tokio::test(flavor = "multi_thread")]
async fn zones_that_no_shard_has_room_for_are_an_alarm_until_one_comes() {
    let mut world = World::unguarded();
    let full = world.shard_configured(&[meadow()], "zones_max = 1\n");
    let others: Vec<ZoneName> = all_zones().into_iter().filter(|zone| *zone != meadow()).collect();
    let said = |cluster: &LocalCluster, is_raised: bool| {
        let mut zones: Vec<ZoneName> = Vec::new();
        let of_full = cluster.vacancies.iter().filter(|(process, ..)| *process == full);
        zones.extend(
            of_full
                .filter(|(.., raised)| *raised == is_raised)
                .map(|(_, zone, _)| zone.clone()),
        );
        zones.sort();
        zones
    };
    world
        .cluster
        .wait_until("the alarms are raised", PATIENCE, |cluster| {
            said(cluster, true).len() >= others.len()
        })
        .expect("an alarm for each zone");
    assert_eq!(said(&world.cluster, true), others);
    assert!(said(&world.cluster, false).is_empty());
    world.shard(&others);
    world
        .cluster
        .wait_until("the alarms are over", PATIENCE, |cluster| {
            said(cluster, false).len() >= others.len()
        })
        .expect("an end of each alarm");
    assert_eq!(said(&world.cluster, false), others);
    assert_eq!(said(&world.cluster, true), others, "each is raised once");
}

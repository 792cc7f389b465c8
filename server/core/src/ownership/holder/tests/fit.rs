//! Zones that ran other rules, and the rules that an owner leaves in its leases.

use everhold_protocol::Tick;

use super::*;
use crate::ownership::VacancyNews;
use crate::ownership::holder::command::UnfitZone;
use crate::ownership::owner_mark::OwnerMark;

const MARK_EPOCH: Epoch = Epoch(3);

fn mark(number: u8) -> OwnerMark {
    OwnerMark {
        data: DataStamp {
            epoch: MARK_EPOCH,
            tick: Tick(100),
        },
        rules: rules(number),
    }
}

/// A holder that watches the meadow, which its last owner ran under these rules, and whose data the store has of this
/// epoch.
fn contending(number: u8, epoch: u32) -> Rig {
    let mut rig = Rig::new();
    let lease = LeaseView {
        released: true,
        mark: Some(mark(number)),
        ..view("meadow", MARK_EPOCH.0, OTHER)
    };
    rig.authority.leases = [(name("meadow"), lease)].into();
    // Nothing is known of the others.
    rig.authority.unread = [name("forest"), name("hills")].into();
    rig.authority.fence = StoreFence::Epoch {
        fence: MARK_EPOCH,
        data: Some(mark(number).data),
    };
    rig.authority.data = StoreData::Newest(DataStamp {
        epoch: Epoch(epoch),
        tick: Tick(100),
    });
    rig
}

pub(super) fn reports(rig: &Rig) -> Vec<UnfitZone> {
    let reports = rig.done.iter().filter_map(|command| match command {
        HolderCommand::ReportUnfit(unfit) => Some(unfit.clone()),
        _ => None,
    });
    reports.collect()
}

const fn is_data(request: &Request) -> bool {
    matches!(request, Request::Foreign(..))
}

#[test]
fn zone_that_no_shard_claims_is_an_alarm_after_three_ttls_until_a_shard_hosts_it() {
    let mut rig = contending(2, 3);
    let news = |rig: &Rig| -> Vec<bool> {
        let news = rig.done.iter().filter_map(|command| match command {
            HolderCommand::ReportVacancy(VacancyNews::Raised(vacancy)) => Some((true, vacancy.zone.clone())),
            HolderCommand::ReportVacancy(VacancyNews::Over(vacancy)) => Some((false, vacancy.zone.clone())),
            _ => None,
        });
        news.map(|(is_raised, zone)| {
            assert_eq!(zone, name("meadow"), "nothing is known of the others");
            is_raised
        })
        .collect()
    };
    rig.run(3 * TTL - TURN);
    assert!(news(&rig).is_empty());
    rig.run(3 * TTL);
    assert_eq!(news(&rig), [true]);
    let lease = rig.authority.leases.get_mut(&name("meadow")).unwrap();
    (lease.beat, lease.released) = (9, false);
    rig.turn();
    assert_eq!(news(&rig), [true, false]);
}

#[test]
fn zone_that_ran_other_rules_is_reported_once_and_costs_no_epoch() {
    let mut rig = contending(2, 3);
    rig.run(14 * TTL);
    let unfit = UnfitZone {
        layout: None,
        zone: name("meadow"),
        mark: mark(2),
        ours: rules(1),
    };
    assert_eq!(reports(&rig), [unfit]);
    assert_eq!(rig.asked(is_claim).len(), 0);
    assert_eq!(
        rig.asked(is_data).len(),
        4,
        "at first, and after one ttl, two, and four"
    );
    // Another owner, of yet other rules, has come and gone.
    let lease = rig.authority.leases.get_mut(&name("meadow")).unwrap();
    (lease.beat, lease.mark) = (9, Some(mark(3)));
    rig.run(2 * TTL);
    assert_eq!(reports(&rig).len(), 2);
}

#[test]
fn zone_is_claimed_at_once_when_its_rules_become_these() {
    let mut rig = contending(2, 3);
    rig.run(4 * TTL);
    assert!(rig.granted().is_empty());
    let lease = rig.authority.leases.get_mut(&name("meadow")).unwrap();
    (lease.epoch, lease.mark) = (Epoch(4), Some(mark(1)));
    rig.run(2 * TURN);
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 5));
}

/// The store lost the zone, went back, or has what an owner wrote that left no mark: no adopter knows before it reads.
#[test]
fn zone_whose_data_is_not_that_of_the_mark_is_claimed_as_ever() {
    let newest = |epoch| {
        StoreData::Newest(DataStamp {
            epoch: Epoch(epoch),
            ..ACKNOWLEDGED
        })
    };
    let incomplete = StoreData::Incomplete { epoch: Epoch(3) };
    for data in [newest(2), newest(4), StoreData::Nothing, incomplete] {
        let mut rig = contending(2, 3);
        rig.authority.data = data.clone();
        rig.run(2 * TURN);
        assert_eq!(rig.granted().len(), 1, "{data:?}");
        assert!(reports(&rig).is_empty());
        assert_eq!(rig.asked(is_data).len(), 1, "and the fence is asked for");
    }
}

#[test]
fn zone_whose_mark_may_be_wrong_is_claimed_when_no_shard_did_for_long() {
    let mut rig = contending(2, 3);
    rig.run(15 * TTL + 2 * TURN);
    assert_eq!(rig.granted().len(), 1);
}

#[test]
fn store_that_does_not_answer_for_a_marked_zone_is_asked_again() {
    let mut rig = contending(2, 3);
    rig.authority.data = StoreData::Unknown("away".to_owned());
    rig.run(TTL / 2);
    let asked = rig.asked(is_data).len();
    assert!(asked > 1, "{asked}");
    assert!(rig.granted().is_empty() && reports(&rig).is_empty());
    rig.authority.data = StoreData::Nothing;
    rig.run(TTL / 2);
    assert_eq!(rig.granted().len(), 1);
}

#[test]
fn lease_has_the_mark_of_an_owner_that_hosts_at_once_and_of_no_other() {
    let mut rig = Rig::new();
    rig.turn();
    rig.run(3 * RENEW_EVERY);
    let said = |rig: &Rig| -> Vec<Option<OwnerMark>> {
        let renewals = rig.asked.iter().filter_map(|asked| match &asked.request {
            Request::Renew(renewals) => Some(renewals[0].mark),
            _ => None,
        });
        renewals.collect()
    };
    assert!(
        said(&rig).len() >= 6 && said(&rig).iter().all(Option::is_none),
        "it adopts"
    );
    rig.host_all();
    rig.asked.clear();
    rig.turn();
    let mark = |tick| OwnerMark {
        data: DataStamp {
            epoch: Epoch(2),
            tick: Tick(tick),
        },
        rules: rules(1),
    };
    assert_eq!(said(&rig), [Some(mark(0)); ZONES.len()]);
    for hosted in rig.hosted.values_mut() {
        hosted.progress.acknowledged = Tick(20);
    }
    rig.asked.clear();
    rig.run(RENEW_EVERY);
    assert!(said(&rig).contains(&Some(mark(20))), "{:?}", said(&rig));
    rig.authority.leases.clear();
    rig.run(RENEW_EVERY);
    let put_back = rig.asked(|request| matches!(request, Request::Reinstate(back) if back[0].mark == Some(mark(20))));
    assert_eq!(put_back.len(), ZONES.len());
}

#[test]
fn adoption_waits_for_a_shard_with_memory_as_long_as_the_longer_lease_needs() {
    for (ttl, grace) in [(0, 2 * TTL), (TTL / 4, 2 * TTL), (5 * TTL, 10 * TTL)] {
        let mut rig = contending(1, 3);
        rig.authority.leases.get_mut(&name("meadow")).unwrap().ttl = ms(ttl);
        rig.turn();
        assert_eq!(rig.granted()[0].reseed_grace, ms(grace));
    }
}

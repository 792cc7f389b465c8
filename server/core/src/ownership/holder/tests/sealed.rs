//! Zones that are sealed under other rules, and zones that were never begun, in a world that has its rules on record.

use everhold_protocol::Tick;

use super::*;
use crate::ownership::holder::command::{SealedZone, UnsealedZone};
use crate::ownership::owner_mark::OwnerMark;

impl FakeAuthority {
    /// A zone that ran other rules.
    pub(super) fn foreign(&self, zone: ZoneName) -> HolderAnswer {
        let (data, wanted) = (self.data.clone(), self.wanted);
        match (self.later_layout, self.kept, self.sealed) {
            (Some(layout), ..) => HolderAnswer::LaterLayout(zone, layout),
            (None, Some(kept), _) => HolderAnswer::Unsealed(UnsealedZone {
                zone,
                data,
                kept,
                wanted,
            }),
            (None, None, Some(rules)) => HolderAnswer::Sealed(SealedZone {
                zone,
                data,
                rules,
                wanted,
            }),
            (None, None, None) => HolderAnswer::Data(zone, data),
        }
    }
}

/// A holder of rules 1 that watches the meadow, which was stopped under rules 2, and sealed or not.
fn beside_a_stopped_zone(sealed: Option<RulesStamp>, wanted: u8) -> Rig {
    let mut rig = Rig::new();
    let data = DataStamp {
        epoch: Epoch(3),
        tick: Tick(100),
    };
    let lease = LeaseView {
        released: true,
        mark: Some(OwnerMark { data, rules: rules(2) }),
        ..view("meadow", 3, OTHER)
    };
    rig.authority.leases = [(name("meadow"), lease)].into();
    rig.authority.unread = [name("forest"), name("hills")].into();
    rig.authority.fence = StoreFence::Epoch {
        fence: Epoch(3),
        data: Some(data),
    };
    rig.authority.data = StoreData::Newest(data);
    (rig.authority.sealed, rig.authority.wanted) = (sealed, Some([wanted; 32]));
    rig
}

#[test]
fn sealed_zone_of_other_rules_is_claimed_at_once_by_the_wanted_ones_and_by_no_others() {
    let later = RulesStamp {
        code: 2,
        ..rules_stamp(2)
    };
    let table = [
        (Some(rules_stamp(2)), 1, true),
        (Some(rules_stamp(2)), 2, false),
        (Some(rules_stamp(2)), 3, false),
        (Some(later), 1, false),
        (None, 1, false),
    ];
    for (sealed, wanted, is_claimed) in table {
        let mut rig = beside_a_stopped_zone(sealed, wanted);
        rig.run(TTL);
        assert_eq!(rig.granted().len(), usize::from(is_claimed), "{sealed:?}, {wanted}");
    }
}

#[test]
fn zone_that_is_not_sealed_is_claimed_at_once_by_the_wanted_rules_if_they_can_replay_it() {
    let other_build = RulesStamp {
        code: 2,
        ..rules_stamp(2)
    };
    let table = [
        (rules_stamp(2), 1, true),
        (rules_stamp(2), 2, false),
        (other_build, 1, false),
    ];
    for (kept, wanted, is_claimed) in table {
        let mut rig = beside_a_stopped_zone(None, wanted);
        rig.authority.kept = Some(kept);
        rig.run(TTL);
        assert_eq!(rig.granted().len(), usize::from(is_claimed), "{kept:?}, {wanted}");
    }
}

#[test]
fn zone_of_a_later_layout_is_never_claimed_and_reported_once_with_the_build_that_it_needs() {
    let mut rig = beside_a_stopped_zone(None, 1);
    rig.authority.later_layout = Some(STATE_LAYOUT + 1);
    rig.run(60 * TTL);
    assert!(rig.granted().is_empty());
    let reported: Vec<String> = fit::reports(&rig).iter().map(ToString::to_string).collect();
    assert_eq!(reported.len(), 1);
    assert!(reported[0].contains("start the build that wrote it"), "{}", reported[0]);
}

#[test]
fn sealed_zone_is_claimed_when_its_rules_become_the_wanted_ones() {
    let mut rig = beside_a_stopped_zone(Some(rules_stamp(2)), 2);
    rig.run(2 * TTL);
    assert!(rig.granted().is_empty());
    rig.authority.wanted = Some([1; 32]);
    rig.run(2 * TTL);
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 4));
}

#[test]
fn new_zone_is_left_to_the_wanted_rules_for_as_long_as_others_are_wanted() {
    let mut rig = Rig::new();
    (rig.authority.is_unbegun, rig.authority.wanted) = (true, Some([2; 32]));
    rig.run(40 * TTL);
    assert!(rig.granted().is_empty());
    let asked = rig.asked(|request| matches!(request, Request::Fence(_))).len();
    assert!((3 * 6..=3 * 9).contains(&asked), "{asked} times: ever less often");
    rig.authority.wanted = Some([1; 32]);
    rig.run(9 * TTL);
    assert_eq!(rig.granted().len(), ZONES.len());
}

#[test]
fn new_zone_is_begun_where_no_rules_are_on_record() {
    let mut rig = Rig::new();
    rig.authority.is_unbegun = true;
    rig.run(TTL);
    assert_eq!(rig.granted().len(), ZONES.len());
}

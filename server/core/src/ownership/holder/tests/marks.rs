//! The marks of owners in their leases: what is put back with them, and stores that have less than they say.

use everhold_protocol::{Epoch, Tick};

use super::*;
use crate::ownership::OwnerMark;

/// A store that has less than the lease of [`Rig::behind_its_lease`] says.
const BEHIND: StoreFence = StoreFence::Epoch {
    fence: Epoch(4),
    data: Some(stamp(4, 89)),
};

impl Rig {
    /// A released lease of the meadow, of whose data the store has lost the last tick.
    fn behind_its_lease() -> Self {
        let mut rig = Self::new();
        let mark = OwnerMark {
            data: stamp(4, 90),
            rules: rules(1),
        };
        let lease = LeaseView {
            released: true,
            mark: Some(mark),
            ..view("meadow", 4, OTHER)
        };
        rig.authority.leases = BTreeMap::from([(name("meadow"), lease)]);
        rig.authority.unread = [name("forest"), name("hills")].into();
        rig.authority.fence = BEHIND;
        rig
    }
}

#[test]
fn lease_is_put_back_with_the_mark_of_the_epoch_that_wrote_the_data() {
    // The data is of epoch 2; what was granted since failed to host the zone.
    let mark = |epoch| OwnerMark {
        data: stamp(epoch, 100),
        rules: rules(1),
    };
    for (acknowledged, mark) in [(2, Some(mark(2))), (1, Some(mark(1))), (0, None)] {
        let mut rig = Rig::hosting();
        rig.authority.leases.remove(&name("meadow"));
        let acknowledged = DataStamp {
            epoch: Epoch(acknowledged),
            ..ACKNOWLEDGED
        };
        let remains = Remains::Memory { acknowledged };
        rig.holder
            .handle_ended(rig.now, tenure("meadow", 2), &EndReason::Suspended, remains);
        rig.hosted.remove(&name("meadow"));
        let asked = rig.turn();
        let marks = asked.iter().filter_map(|request| match request {
            Request::Reinstate(renewals) => Some(renewals[0].mark),
            _ => None,
        });
        assert_eq!(marks.collect::<Vec<_>>(), [mark]);
    }
}

#[test]
fn released_lease_above_the_data_of_the_store_is_watched_for_a_ttl_if_its_owner_hosted_the_zone() {
    let mark = |epoch, tick| OwnerMark {
        data: stamp(epoch, tick),
        rules: rules(1),
    };
    let data = |fence, epoch, tick| StoreFence::Epoch {
        fence: Epoch(fence),
        data: Some(stamp(epoch, tick)),
    };
    // The mark of the last owner, what the store has, and whether another shard may have in memory what it lost.
    let table = [
        (Some(mark(4, 0)), data(3, 3, 90), true),
        (Some(mark(4, 0)), data(4, 3, 90), true),
        (Some(mark(4, 90)), data(4, 4, 89), true),
        (Some(mark(4, 90)), data(4, 4, 90), false),
        (Some(mark(4, 90)), data(4, 4, 99), false),
        (Some(mark(4, 90)), StoreFence::Lost, false),
        // The last owner never hosted it.
        (Some(mark(3, 90)), data(4, 3, 90), false),
        (None, data(4, 3, 90), false),
    ];
    for (mark, fence, is_watched) in table {
        let mut rig = Rig::new();
        rig.authority.leases = BTreeMap::from([(
            name("meadow"),
            LeaseView {
                released: true,
                mark,
                ..view("meadow", 4, OTHER)
            },
        )]);
        rig.authority.fence = fence.clone();
        let from = rig.now;
        rig.run(TTL + 2 * TURN);
        let granted = rig.granted();
        assert_eq!(granted[0].tenure, tenure("meadow", 5), "{mark:?} {fence:?}");
        let waited = granted[0].at - from >= ms(TTL - TURN);
        assert_eq!(waited, is_watched, "{mark:?} {fence:?}");
    }
}

/// The last owner could not claim either while the store was away: it has a ttl from now on.
#[test]
fn store_that_comes_back_with_less_than_the_lease_says_is_watched_for_a_ttl_from_then_on() {
    let mut rig = Rig::new();
    let mark = OwnerMark {
        data: stamp(4, 90),
        rules: rules(1),
    };
    let lease = LeaseView {
        mark: Some(mark),
        ..view("meadow", 4, OTHER)
    };
    rig.authority.leases = BTreeMap::from([(name("meadow"), lease)]);
    rig.authority.unread = [name("forest"), name("hills")].into();
    rig.authority.fence = StoreFence::Epoch {
        fence: Epoch(4),
        data: Some(stamp(4, 89)),
    };
    rig.run(2 * TTL - TURN);
    assert!(rig.granted().is_empty());
    rig.run(4 * TURN);
    let granted = rig.granted();
    assert_eq!(
        (granted[0].tenure.clone(), granted[0].promised),
        (tenure("meadow", 5), Tick(90))
    );
}

/// The last owner hears no more of the store than this process does.
#[test]
fn store_that_has_less_than_the_lease_says_and_falls_silent_is_watched_for_a_ttl_in_which_it_answers() {
    let mut rig = Rig::behind_its_lease();
    rig.run(TTL / 2);
    rig.authority.fence = StoreFence::Unknown("no answer in time".to_owned());
    rig.run(2 * TTL);
    rig.authority.fence = BEHIND;
    rig.run(TTL - RETRY_EVERY);
    assert!(rig.granted().is_empty());
    rig.run(2 * RETRY_EVERY);
    assert_eq!(rig.granted()[0].tenure, tenure("meadow", 5));
}

#[test]
fn last_owner_is_waited_for_with_an_end_if_the_store_falls_silent_again_and_again() {
    let mut rig = Rig::behind_its_lease();
    for _ in 0..9 {
        rig.run(TTL / 2);
        rig.authority.fence = StoreFence::Unknown("no answer in time".to_owned());
        rig.run(TTL / 2);
        rig.authority.fence = BEHIND;
    }
    let granted = rig.granted();
    assert_eq!(granted[0].tenure, tenure("meadow", 5));
}

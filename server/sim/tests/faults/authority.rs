//! An authority that restarts empty, goes back to an epoch of before, or has no room.

use std::net::SocketAddr;
use std::time::Duration;

use everhold_core::ownership::{AuthorityError, KeyFingerprints, LeaseTerms, LeaseView, Nonce, Renewal, Tenure};
use everhold_protocol::Epoch;
use everhold_sim::authority::{AuthorityUsage, MemoryAuthority};

use crate::zone;

const A: Nonce = Nonce(1);
const B: Nonce = Nonce(2);

fn terms() -> LeaseTerms {
    LeaseTerms {
        addr: addr(),
        ttl: Duration::from_secs(4),
    }
}

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn claimed() -> (MemoryAuthority, Tenure) {
    let mut authority = MemoryAuthority::default();
    authority.declare_zone(&zone("meadow")).unwrap();
    let grant = authority.claim(&lease(&authority), A, terms(), Epoch::NONE).unwrap();
    (authority, grant)
}

fn renewal(tenure: &Tenure, players: u32) -> Renewal {
    Renewal {
        tenure: tenure.clone(),
        players,
        mark: None,
    }
}

fn lease(authority: &MemoryAuthority) -> LeaseView {
    authority.leases().views.remove(0)
}

#[test]
fn authority_that_restarts_empty_knows_no_zone_until_its_holder_puts_it_back() {
    let (mut authority, held) = claimed();
    authority.forget_everything();
    let renewed = authority.renew(&renewal(&held, 3));
    assert!(matches!(renewed, Err(AuthorityError::ZoneUnknown(_))), "{renewed:?}");
    let released = authority.release(&held);
    assert!(matches!(released, Err(AuthorityError::ZoneUnknown(_))), "{released:?}");
    authority.reinstate(&renewal(&held, 3), terms()).unwrap();
    let shown = lease(&authority);
    assert_eq!((shown.epoch, shown.nonce, shown.released), (Epoch::FIRST, A, false));
}

/// The promotion of a stale replica does that.
#[test]
fn authority_that_forgot_an_epoch_grants_it_twice_but_for_the_floor() {
    let (mut authority, old) = claimed();
    let dump = authority.dump();
    let watched = lease(&authority);
    let heir = authority.claim(&watched, B, terms(), Epoch::NONE).unwrap();
    authority.restore_to(&dump);
    let shown = authority.renew(&renewal(&heir, 0));
    assert!(
        matches!(&shown, Err(AuthorityError::Held(lease)) if lease.epoch == old.epoch()),
        "one that forgot shows a lower epoch: {shown:?}"
    );
    let twin = authority.claim(&watched, A, terms(), Epoch::NONE).unwrap();
    assert_eq!(twin.epoch(), heir.epoch());
    assert_ne!(twin, heir);
    authority.restore_to(&dump);
    let next = authority.claim(&watched, A, terms(), heir.epoch()).unwrap();
    assert!(next.epoch() > heir.epoch());
}

#[test]
fn forgotten_lease_of_one_zone_leaves_the_others() {
    let (mut authority, _) = claimed();
    let dump = authority.dump();
    authority.declare_zone(&zone("forest")).unwrap();
    authority.forget_zone(&zone("meadow"));
    assert_eq!(lease(&authority).zone, zone("forest"));
    authority.restore_zone_to(&dump, &zone("meadow"));
    authority.restore_zone_to(&dump, &zone("forest"));
    assert_eq!(authority.dump(), dump);
}

#[test]
fn full_authority_is_read_and_writes_nothing() {
    let (mut authority, held) = claimed();
    let (before, watched) = (authority.dump(), lease(&authority));
    authority.set_full(true);
    let outcomes = [
        authority.declare_zone(&zone("forest")),
        authority.renew(&renewal(&held, 1)),
        authority.reinstate(&renewal(&held, 1), terms()),
        authority.release(&held),
        authority.claim(&watched, B, terms(), Epoch::NONE).map(drop),
        authority.announce(A, addr(), &KeyFingerprints::default(), Duration::ZERO),
        authority.withdraw(A),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(AuthorityError::Unavailable(_))), "{outcome:?}");
    }
    assert_eq!(authority.dump(), before);
    authority.set_full(false);
    authority.renew(&renewal(&held, 1)).unwrap();
}

#[test]
fn entries_of_shards_that_never_withdraw_are_counted() {
    let (mut authority, _) = claimed();
    for nonce in [A, B, A] {
        let keys = KeyFingerprints::default();
        authority.announce(nonce, addr(), &keys, Duration::ZERO).unwrap();
    }
    assert_eq!(authority.usage(), AuthorityUsage { leases: 1, shards: 2 });
    authority.withdraw(A).unwrap();
    assert_eq!(authority.usage().shards, 1);
}

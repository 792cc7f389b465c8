//! The suite of [`Authority`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use everhold_core::ownership::{
    Authority, AuthorityError, DataStamp, Grant, LeaseTerms, LeaseView, Nonce, OwnerMark, Renewal, RulesTag, Tenure,
};
use everhold_protocol::{Epoch, Tick, ZoneName};

/// A release that was made before is heard within this time, or was heard already.
const QUIET: Duration = Duration::from_millis(200);
/// Far above the milliseconds that it takes.
const HEARD_MAX: Duration = Duration::from_secs(20);

const A: Nonce = Nonce(u64::MAX);
const B: Nonce = Nonce(2);

/// Runs the whole suite. `open` gives one more connection to the same authority, which must be empty at first.
///
/// # Panics
/// If the authority does not conform.
pub async fn authority_conformance<A: Authority>(open: impl Fn() -> A) {
    let (a, b) = (open(), open());
    declared_zone_is_released_and_was_never_held(&a, &b).await;
    unknown_zone_is_granted_to_nobody(&a).await;
    claim_shows_the_holder_to_everybody(&a, &b).await;
    of_two_contenders_exactly_one_wins(&a, &b).await;
    of_many_contenders_exactly_one_wins(&open).await;
    renewal_wins_against_a_claim_of_what_was_before(&a, &b).await;
    holder_learns_that_it_was_succeeded(&a, &b).await;
    released_lease_is_renewed_no_more(&a, &b).await;
    repeated_claim_gives_the_same_grant(&a, &b).await;
    epoch_rises_above_the_floor(&a).await;
    suspended_holder_claims_its_own_lease(&a).await;
    forgotten_lease_is_put_back(&a, &b).await;
    lease_is_not_put_back_over_a_successor(&a, &b).await;
    each_of_many_renewals_has_its_own_outcome(&a, &b).await;
    many_leases_are_renewed_and_read_at_once(&a, &b).await;
    lease_has_the_mark_of_the_owner_that_hosted_last(&a, &b).await;
    release_is_heard_by_whoever_waits(&a, &b).await;
}

/// Renews one lease.
pub async fn renew(authority: &impl Authority, tenure: &Tenure, players: u32) -> Result<(), AuthorityError> {
    one(authority.renew(&[renewal(tenure, players)]).await)
}

/// Puts one lease back.
pub async fn reinstate(
    authority: &impl Authority,
    tenure: &Tenure,
    terms: LeaseTerms,
    players: u32,
) -> Result<(), AuthorityError> {
    one(authority.reinstate(&[renewal(tenure, players)], terms).await)
}

fn renewal(tenure: &Tenure, players: u32) -> Renewal {
    Renewal {
        tenure: tenure.clone(),
        players,
        mark: None,
    }
}

fn one(mut outcomes: Vec<Result<(), AuthorityError>>) -> Result<(), AuthorityError> {
    assert_eq!(outcomes.len(), 1, "each renewal has an outcome");
    outcomes.remove(0)
}

/// Returns the terms of a holder that serves at a port.
const fn terms(port: u16) -> LeaseTerms {
    LeaseTerms {
        addr: addr(port),
        ttl: Duration::from_secs(20),
    }
}

const fn addr(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

async fn declared(authority: &impl Authority, name: &str) -> LeaseView {
    let zone: ZoneName = name.parse().expect("a test's zone name is well-formed");
    authority.declare_zone(&zone).await.expect("declared");
    lease(authority, &zone).await
}

async fn lease(authority: &impl Authority, zone: &ZoneName) -> LeaseView {
    let leases = authority.leases().await.expect("readable");
    assert!(leases.unread.is_empty());
    let leases = leases.views;
    assert!(leases.is_sorted_by(|a, b| a.zone < b.zone), "in order of name");
    leases
        .into_iter()
        .find(|lease| lease.zone == *zone)
        .expect("the zone was declared")
}

async fn claimed(authority: &impl Authority, name: &str, nonce: Nonce) -> Tenure {
    let watched = declared(authority, name).await;
    authority
        .claim(&watched, nonce, terms(1), Epoch::NONE)
        .await
        .expect("a free zone")
}

fn assert_held<T: std::fmt::Debug>(result: Result<T, AuthorityError>, by: Nonce) {
    assert!(
        matches!(&result, Err(AuthorityError::Held(lease)) if lease.nonce == by),
        "not held by {by:?}: {result:?}"
    );
}

async fn declared_zone_is_released_and_was_never_held(a: &impl Authority, b: &impl Authority) {
    let first = declared(a, "declared").await;
    assert_eq!((first.epoch, first.released), (Epoch::NONE, true));
    assert_eq!(
        declared(b, "declared").await,
        first,
        "declaring it again changes nothing"
    );
}

async fn unknown_zone_is_granted_to_nobody(authority: &impl Authority) {
    let mut watched = declared(authority, "known").await;
    watched.zone = "unknown".parse().expect("well-formed");
    let claim = authority.claim(&watched, A, terms(1), Epoch::NONE).await;
    assert!(matches!(claim, Err(AuthorityError::ZoneUnknown(_))), "{claim:?}");
    let unknown = Tenure {
        zone: watched.zone,
        ..claimed(authority, "known", A).await
    };
    assert!(matches!(
        renew(authority, &unknown, 0).await,
        Err(AuthorityError::ZoneUnknown(_))
    ));
    assert!(matches!(
        authority.release(&unknown).await,
        Err(AuthorityError::ZoneUnknown(_))
    ));
}

async fn claim_shows_the_holder_to_everybody(a: &impl Authority, b: &impl Authority) {
    let watched = declared(a, "shown").await;
    let held = a
        .claim(&watched, A, terms(4_000), Epoch::NONE)
        .await
        .expect("a free zone");
    let granted = Grant::issue(Epoch::FIRST, A);
    assert_eq!((&held.zone, held.grant), (&watched.zone, granted));
    renew(a, &held, 321).await.expect("it is the holder");
    let shown = lease(b, &watched.zone).await;
    assert_eq!((shown.epoch, shown.nonce, shown.released), (Epoch::FIRST, A, false));
    assert!(shown.beat > watched.beat);
    assert_eq!((shown.addr, shown.players, shown.ttl), (addr(4_000), 321, terms(1).ttl));
    let slow = LeaseTerms {
        ttl: 3 * terms(1).ttl,
        ..terms(1)
    };
    b.claim(&shown, B, slow, Epoch::NONE).await.expect("watched unchanged");
    assert_eq!(lease(a, &watched.zone).await.ttl, slow.ttl, "the ttl is the lease's");
}

async fn of_two_contenders_exactly_one_wins(a: &impl Authority, b: &impl Authority) {
    let watched = declared(a, "two").await;
    let (mine, theirs) = tokio::join!(
        a.claim(&watched, A, terms(1), Epoch::NONE),
        b.claim(&watched, B, terms(2), Epoch::NONE)
    );
    assert_ne!(mine.is_ok(), theirs.is_ok(), "{mine:?} {theirs:?}");
    let winner = if mine.is_ok() { A } else { B };
    assert_held(mine.and(theirs), winner);
}

async fn of_many_contenders_exactly_one_wins<A: Authority>(open: &impl Fn() -> A) {
    let contenders: Vec<A> = (0..6).map(|_| open()).collect();
    for round in 0..20 {
        let watched = declared(&contenders[0], &format!("many-{round}")).await;
        let claims: Vec<_> = (1_u64..)
            .zip(&contenders)
            .map(|(n, contender)| contender.claim(&watched, Nonce(n), terms(1), Epoch::NONE))
            .collect();
        // All claims are started before the first is awaited, so they contend at the authority.
        let outcomes = join_all(claims).await;
        let winners: Vec<&Tenure> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let holder = lease(&contenders[0], &watched.zone).await.nonce;
        assert_eq!(holder, winners[0].grant.nonce());
    }
}

/// Polls all futures concurrently, and gives their outputs in order.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if futures.iter().any(|(_, output)| output.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(futures.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

async fn renewal_wins_against_a_claim_of_what_was_before(a: &impl Authority, b: &impl Authority) {
    let held = claimed(a, "beat", A).await;
    let watched = lease(b, &held.zone).await;
    renew(a, &held, 5).await.expect("it is the holder");
    assert_held(b.claim(&watched, B, terms(2), Epoch::NONE).await, A);
    renew(a, &held, 5).await.expect("it still is");
}

async fn holder_learns_that_it_was_succeeded(a: &impl Authority, b: &impl Authority) {
    let old = claimed(a, "succeeded", A).await;
    let new = b
        .claim(&lease(b, &old.zone).await, B, terms(2), Epoch::NONE)
        .await
        .expect("watched unchanged");
    assert!(new.epoch() > old.epoch());
    assert_held(renew(a, &old, 0).await, B);
    assert_held(a.release(&old).await, B);
    renew(b, &new, 0).await.expect("the successor holds it");
}

async fn released_lease_is_renewed_no_more(a: &impl Authority, b: &impl Authority) {
    let held = claimed(a, "released", A).await;
    renew(a, &held, 77).await.expect("it is the holder");
    a.release(&held).await.expect("it is the holder");
    a.release(&held).await.expect("a repeat is harmless");
    assert_held(renew(a, &held, 0).await, A);
    let seen = lease(b, &held.zone).await;
    assert_eq!((seen.released, seen.players), (true, 77), "a spare knows who waits");
    b.claim(&seen, B, terms(2), Epoch::NONE).await.expect("released");
    assert_held(a.release(&held).await, B);
}

async fn repeated_claim_gives_the_same_grant(a: &impl Authority, b: &impl Authority) {
    let watched = declared(a, "unknown-outcome").await;
    let first = a.claim(&watched, A, terms(1), Epoch(4)).await.expect("a free zone");
    assert_eq!(
        a.claim(&watched, A, terms(1), Epoch(4))
            .await
            .expect("the answer got lost"),
        first
    );
    assert_held(b.claim(&watched, B, terms(2), Epoch(4)).await, A);
}

async fn epoch_rises_above_the_floor(authority: &impl Authority) {
    let watched = declared(authority, "floor").await;
    let grant = authority
        .claim(&watched, A, terms(1), Epoch(41))
        .await
        .expect("a free zone");
    assert_eq!(grant.epoch(), Epoch(42), "a store knew of epoch 41");
    let next = authority
        .claim(&lease(authority, &watched.zone).await, B, terms(2), Epoch(3))
        .await
        .expect("watched");
    assert_eq!(next.epoch(), Epoch(43));
}

async fn suspended_holder_claims_its_own_lease(authority: &impl Authority) {
    let old = claimed(authority, "own", A).await;
    let own = lease(authority, &old.zone).await;
    let new = authority
        .claim(&own, A, terms(1), old.epoch())
        .await
        .expect("nobody was granted it since");
    assert!(new.epoch() > old.epoch());
    assert_held(renew(authority, &old, 0).await, A);
}

/// A lower epoch is what an authority shows that forgot: here it never knew the higher one.
async fn forgotten_lease_is_put_back(a: &impl Authority, b: &impl Authority) {
    let watched = declared(a, "forgotten").await;
    let held = Tenure {
        zone: watched.zone.clone(),
        grant: Grant::issue(Epoch(7), A),
    };
    for _ in 0..2 {
        let put_back = reinstate(a, &held, terms(4_000), 12).await;
        put_back.expect("nothing stands above it, and a repeat is harmless");
    }
    let shown = lease(b, &watched.zone).await;
    assert_eq!((shown.epoch, shown.nonce, shown.released), (Epoch(7), A, false));
    assert_eq!((shown.addr, shown.players, shown.ttl), (addr(4_000), 12, terms(1).ttl));
    renew(a, &held, 13).await.expect("it is the holder again");
    assert_held(b.claim(&watched, B, terms(2), Epoch::NONE).await, A);
}

async fn lease_is_not_put_back_over_a_successor(a: &impl Authority, b: &impl Authority) {
    let old = claimed(a, "succeeded", A).await;
    let watched = lease(b, &old.zone).await;
    let new = b.claim(&watched, B, terms(2), Epoch::NONE).await.expect("as watched");
    assert_held(reinstate(a, &old, terms(1), 0).await, B);
    let twin = Tenure {
        grant: Grant::issue(new.epoch(), A),
        ..new.clone()
    };
    assert_held(reinstate(a, &twin, terms(1), 0).await, B);
    b.release(&new).await.expect("it is the holder");
    assert_held(reinstate(b, &new, terms(2), 0).await, B);
}

/// A renewal that is refused, or of an unknown zone, undoes nothing of those before it or after.
async fn each_of_many_renewals_has_its_own_outcome(a: &impl Authority, b: &impl Authority) {
    let (first, last) = (claimed(a, "each-1", A).await, claimed(a, "each-2", A).await);
    let lost = claimed(a, "each-lost", A).await;
    let watched = lease(b, &lost.zone).await;
    b.claim(&watched, B, terms(2), Epoch::NONE).await.expect("as watched");
    let unknown = Tenure {
        zone: "each-unknown".parse().expect("well-formed"),
        ..first.clone()
    };
    let before = [lease(b, &first.zone).await, lease(b, &last.zone).await];
    let renewals = [&first, &lost, &unknown, &last].map(|tenure| renewal(tenure, 9));
    let outcomes = a.renew(&renewals).await;
    let [Ok(()), refused, Err(AuthorityError::ZoneUnknown(zone)), Ok(())] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(matches!(refused, Err(AuthorityError::Held(now)) if now.nonce == B));
    assert_eq!(*zone, unknown.zone);
    for before in before {
        let after = lease(b, &before.zone).await;
        assert!(after.beat > before.beat && after.players == 9, "{after:?}");
    }
    let outcomes = a.reinstate(&renewals, terms(1)).await;
    let [Ok(()), Err(AuthorityError::Held(_)), Ok(()), Ok(())] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(lease(b, &unknown.zone).await.nonce, A, "it is put back");
}

async fn many_leases_are_renewed_and_read_at_once(a: &impl Authority, b: &impl Authority) {
    let mut renewals = Vec::new();
    for number in 0..600_u32 {
        let tenure = Tenure {
            zone: format!("crowd-{number}").parse().expect("well-formed"),
            grant: Grant::issue(Epoch(3), A),
        };
        renewals.push(renewal(&tenure, number));
    }
    let put_back = a.reinstate(&renewals, terms(1)).await;
    assert!(put_back.iter().all(Result::is_ok) && put_back.len() == renewals.len());
    let renewed = a.renew(&renewals).await;
    assert!(renewed.iter().all(Result::is_ok) && renewed.len() == renewals.len());
    // The first look finds zones of which it knew nothing.
    for _ in 0..2 {
        let leases = b.leases().await.expect("readable");
        assert!(leases.unread.is_empty() && leases.damaged.is_empty());
        assert!(leases.views.is_sorted_by(|a, b| a.zone < b.zone), "in order of name");
        for Renewal { tenure, players, .. } in &renewals {
            let seen = leases
                .views
                .iter()
                .find(|view| view.zone == tenure.zone)
                .expect("it is held");
            assert_eq!((seen.epoch, seen.nonce, seen.players), (Epoch(3), A, *players));
        }
    }
}

/// A claim leaves the mark of the owner before, and so does a renewal by a holder that does not host the zone.
async fn lease_has_the_mark_of_the_owner_that_hosted_last(a: &impl Authority, b: &impl Authority) {
    let (mine, theirs) = (RulesTag::new(&[1; 32]), RulesTag::new(&[2; 32]));
    let mark = |tenure: &Tenure, rules, tick| {
        let (epoch, tick) = (tenure.epoch(), Tick(tick));
        let data = DataStamp { epoch, tick };
        Some(OwnerMark { data, rules })
    };
    let hosted = |tenure: &Tenure, rules, tick| Renewal {
        mark: mark(tenure, rules, tick),
        ..renewal(tenure, 5)
    };
    let first = claimed(a, "marked", A).await;
    renew(a, &first, 5).await.expect("it is the holder");
    assert_eq!(lease(b, &first.zone).await.mark, None, "it hosts nothing yet");
    for tick in [7, 8] {
        one(a.renew(&[hosted(&first, mine, tick)]).await).expect("it is the holder");
    }
    renew(a, &first, 5).await.expect("it is the holder");
    a.release(&first).await.expect("it is the holder");
    let watched = lease(b, &first.zone).await;
    assert_eq!(watched.mark, mark(&first, mine, 8));
    let second = b.claim(&watched, B, terms(2), Epoch::NONE).await.expect("released");
    renew(b, &second, 0).await.expect("it is the holder");
    let seen = lease(a, &first.zone).await;
    assert_eq!((seen.epoch, seen.mark), (second.epoch(), mark(&first, mine, 8)));
    let refused = a.renew(&[hosted(&first, theirs, 9)]).await;
    assert_held(one(refused), B);
    assert_eq!(lease(a, &first.zone).await, seen, "a refusal says nothing");
    one(b.renew(&[hosted(&second, theirs, 9)]).await).expect("it is the holder");
    assert_eq!(lease(a, &first.zone).await.mark, mark(&second, theirs, 9));
    let forgotten = Tenure {
        zone: "marked-forgotten".parse().expect("well-formed"),
        ..second
    };
    let outcomes = b.reinstate(&[hosted(&forgotten, theirs, 10)], terms(2)).await;
    one(outcomes).expect("nothing stands above it");
    reinstate(b, &forgotten, terms(2), 0).await.expect("it is the holder");
    assert_eq!(lease(a, &forgotten.zone).await.mark, mark(&forgotten, theirs, 10));
}

async fn release_is_heard_by_whoever_waits(a: &impl Authority, b: &impl Authority) {
    let held = claimed(a, "heard", A).await;
    // What was released before has been heard before.
    while tokio::time::timeout(QUIET, b.wait_for_release()).await.is_ok() {}
    let (released, heard) = tokio::join!(a.release(&held), tokio::time::timeout(HEARD_MAX, b.wait_for_release()));
    released.expect("it is the holder");
    heard.expect("a release is heard");
}

//! The suite of [`Membership`].

use std::net::SocketAddr;
use std::time::Duration;

use everhold_core::ownership::{Fingerprint, KeyFingerprints, Membership, Nonce, ShardView};

/// The ttl that shards announce.
const TTL: Duration = Duration::from_secs(20);

const A: Nonce = Nonce(u64::MAX);
const B: Nonce = Nonce(2);

/// Runs the whole suite. `open` gives one more connection to the same directory, which must be empty at first.
///
/// # Panics
/// If the directory does not conform.
pub async fn membership_conformance<M: Membership>(open: impl Fn() -> M) {
    let (a, b) = (open(), open());
    assert!(a.shards().await.expect("readable").is_empty());
    shards_are_announced_and_withdrawn(&a, &b).await;
    keys_of_a_shard_are_shown_beside_it_and_go_with_it(&a, &b).await;
    shards_are_shown_in_order_of_nonce(&a, &b).await;
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn shards_are_announced_and_withdrawn(a: &impl Membership, b: &impl Membership) {
    let keys = KeyFingerprints::default();
    a.announce(A, addr(1), &keys, TTL).await.expect("announced");
    b.announce(B, addr(2), &keys, TTL).await.expect("announced");
    let before = b.shards().await.expect("readable");
    a.announce(A, addr(3), &keys, TTL).await.expect("announced again");
    let after = b.shards().await.expect("readable");
    let (then, now) = (of(&before, A).expect("announced"), of(&after, A).expect("announced"));
    assert!(now.beat > then.beat);
    assert_eq!((then.addr, now.addr), (addr(1), addr(3)));
    assert_eq!(now.ttl, TTL);
    a.announce(A, addr(3), &keys, 2 * TTL)
        .await
        .expect("announced by another build");
    assert_eq!(
        of(&b.shards().await.expect("readable"), A).expect("announced").ttl,
        2 * TTL
    );
    assert_eq!(of(&before, B), of(&after, B));
    a.withdraw(B).await.expect("withdrawn");
    a.withdraw(B).await.expect("a repeat is harmless");
    assert_eq!(of(&a.shards().await.expect("readable"), B), None);
}

fn of(shards: &[ShardView], nonce: Nonce) -> Option<ShardView> {
    shards.iter().find(|shard| shard.nonce == nonce).cloned()
}

async fn keys_of_a_shard_are_shown_beside_it_and_go_with_it(a: &impl Membership, b: &impl Membership) {
    let prints = |keys: &[u64]| keys.iter().copied().map(Fingerprint).collect::<Vec<_>>();
    let old = KeyFingerprints::new(prints(&[1]), prints(&[2]), prints(&[3]));
    let both = KeyFingerprints::new(prints(&[1, 11]), prints(&[2, u64::MAX]), prints(&[3, 0]));
    a.announce(A, addr(1), &old, TTL).await.expect("announced");
    b.announce(B, addr(2), &both, TTL).await.expect("announced");
    let shown = b.shards().await.expect("readable");
    assert_eq!(of(&shown, A).expect("announced").keys, old);
    assert_eq!(of(&shown, B).expect("announced").keys, both);
    a.announce(A, addr(1), &both, TTL)
        .await
        .expect("announced with other keys");
    assert_eq!(
        of(&b.shards().await.expect("readable"), A).expect("announced").keys,
        both
    );
    b.withdraw(A).await.expect("withdrawn");
    a.announce(A, addr(1), &KeyFingerprints::default(), TTL)
        .await
        .expect("announced");
    let keys = of(&b.shards().await.expect("readable"), A).expect("announced").keys;
    assert_eq!(keys, KeyFingerprints::default(), "nothing of the old entry is left");
    a.withdraw(A).await.expect("withdrawn");
    a.withdraw(B).await.expect("withdrawn");
}

async fn shards_are_shown_in_order_of_nonce(a: &impl Membership, b: &impl Membership) {
    let nonces = [30, 1 << 63, 4, u64::MAX, 200].map(Nonce);
    for nonce in nonces {
        let keys = KeyFingerprints::default();
        a.announce(nonce, addr(1), &keys, TTL).await.expect("announced");
    }
    let shown = b.shards().await.expect("readable");
    assert_eq!(
        shown.iter().map(|shard| shard.nonce.0).collect::<Vec<_>>(),
        [4, 30, 200, 1 << 63, u64::MAX]
    );
    for nonce in nonces {
        a.withdraw(nonce).await.expect("withdrawn");
    }
    assert!(b.shards().await.expect("readable").is_empty());
}

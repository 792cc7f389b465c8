//! The suite of [`HomeStore`].

use everhold_core::cluster::{Home, HomeStore};
use everhold_protocol::Account;

use super::history::zone;

/// Runs the whole suite. `open` gives one more connection to the same data, which must be empty at first.
///
/// # Panics
/// If the store does not conform.
pub async fn home_store_conformance<S: HomeStore>(open: impl Fn() -> S) {
    let (a, b) = (open(), open());
    homes_change_by_compare_and_set(&a, &b).await;
    of_two_shards_that_give_a_first_home_one_finds_out(&a, &b).await;
    homes_of_accounts_are_independent(&a, &b).await;
}

async fn homes_change_by_compare_and_set(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(u64::MAX);
    let here = Home {
        zone: zone("here"),
        generation: 1,
    };
    let there = Home {
        zone: zone("there"),
        generation: 2,
    };
    assert_eq!(a.home(account).await.expect("readable"), None);
    assert_eq!(a.set_home(account, None, &here).await.expect("written"), None);
    assert_eq!(a.set_home(account, None, &here).await.expect("a repeat"), None);
    assert_eq!(
        b.set_home(account, None, &there).await.expect("answered"),
        Some(here.clone()),
        "somebody was first"
    );
    assert_eq!(b.set_home(account, Some(&here), &there).await.expect("written"), None);
    assert_eq!(
        a.set_home(account, Some(&here), &here.clone()).await.expect("answered"),
        Some(there.clone())
    );
    assert_eq!(a.home(account).await.expect("readable"), Some(there));
}

async fn of_two_shards_that_give_a_first_home_one_finds_out(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(1);
    let home = |name| Home {
        zone: zone(name),
        generation: 1,
    };
    let (here, there) = (home("here"), home("there"));
    let (first, second) = tokio::join!(a.set_home(account, None, &here), b.set_home(account, None, &there));
    let winner = match (first.expect("answered"), second.expect("answered")) {
        (None, Some(winner)) | (Some(winner), None) => winner,
        both => panic!("both or none were first: {both:?}"),
    };
    assert_eq!(a.home(account).await.expect("readable"), Some(winner));
}

async fn homes_of_accounts_are_independent(a: &impl HomeStore, b: &impl HomeStore) {
    let homes = [7, 8].map(|n| Home {
        zone: zone("here"),
        generation: n,
    });
    for home in &homes {
        let account = Account(home.generation);
        assert_eq!(a.set_home(account, None, home).await.expect("written"), None);
    }
    for home in &homes {
        let account = Account(home.generation);
        assert_eq!(b.home(account).await.expect("readable").as_ref(), Some(home));
    }
    assert_eq!(b.home(Account(9)).await.expect("readable"), None);
}

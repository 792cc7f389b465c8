//! The suite of [`HomeStore`].

use std::time::Duration;

use bytes::Bytes;
use everhold_core::cluster::{AccountRecord, Home, HomeStore};
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
    character_at_rest_is_kept_with_its_home(&a, &b).await;
    older_character_never_overwrites_a_newer_record(&a, &b).await;
}

/// Runs the suite of a store in which characters at rest expire.
///
/// # Panics
/// If the store does not conform.
pub async fn expiring_home_store_conformance<S: HomeStore>(open: impl Fn() -> S) {
    let (a, b) = (open(), open());
    character_that_expired_is_no_record_at_all(&a, &b).await;
}

async fn home(store: &impl HomeStore, account: Account) -> Option<Home> {
    let record = store.record(account).await.expect("readable");
    record.map(|record| record.home)
}

const HOUR: Duration = Duration::from_secs(3_600);

fn rests_at(generation: u64) -> Home {
    Home {
        zone: zone("here"),
        generation,
    }
}

async fn character_at_rest_is_kept_with_its_home(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(20);
    let first = Home::first(zone("here"));
    assert_eq!(a.set_home(account, None, &first).await.expect("written"), None);
    // Any bytes, zeroes and line breaks among them.
    let payload = Bytes::from((0..=255).cycle().take(5_000).collect::<Vec<u8>>());
    for _ in 0..2 {
        let kept = a.keep_rest(account, &rests_at(3), &payload, HOUR).await;
        assert_eq!(kept.expect("written, and repeated"), None);
    }
    let expected = AccountRecord {
        home: rests_at(3),
        payload: Some(payload),
        is_certain: true,
    };
    assert_eq!(b.record(account).await.expect("readable"), Some(expected.clone()));
    assert_eq!(
        b.set_home(account, None, &first).await.expect("answered"),
        Some(rests_at(3)),
        "it has a home"
    );
    assert_eq!(a.set_home(account, None, &rests_at(3)).await.expect("a repeat"), None);
    assert_eq!(b.record(account).await.expect("readable"), Some(expected));
}

async fn older_character_never_overwrites_a_newer_record(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(21);
    let payload = |text: &'static str| Bytes::from_static(text.as_bytes());
    let keep = async |store: &dyn HomeStore, generation, text| {
        let home = rests_at(generation);
        store
            .keep_rest(account, &home, &payload(text), HOUR)
            .await
            .expect("answered")
    };
    assert_eq!(keep(a, 10, "ten").await, None);
    assert_eq!(keep(b, 9, "nine").await, Some(rests_at(10)));
    let record = async |store: &dyn HomeStore| store.record(account).await.expect("readable").expect("there");
    assert_eq!(record(a).await.payload, Some(payload("ten")));
    assert_eq!(keep(b, 12, "twelve").await, None);
    assert_eq!(record(a).await.payload, Some(payload("twelve")));
    let moved = Home {
        zone: zone("there"),
        generation: 13,
    };
    assert_eq!(
        a.set_home(account, Some(&rests_at(12)), &moved).await.expect("written"),
        None
    );
    let expected = AccountRecord {
        home: moved,
        payload: None,
        is_certain: false,
    };
    assert_eq!(record(b).await, expected, "a zone has it now");
}

async fn character_that_expired_is_no_record_at_all(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(22);
    let payload = Bytes::from_static(b"soon gone");
    let kept = a
        .keep_rest(account, &rests_at(5), &payload, Duration::from_millis(1))
        .await;
    assert_eq!(kept.expect("written"), None);
    let mut tries = 0;
    while b.record(account).await.expect("readable").is_some() {
        tries += 1;
        assert!(tries < 1_000, "it does not expire");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let first = Home::first(zone("there"));
    assert_eq!(b.set_home(account, None, &first).await.expect("written"), None);
    assert_eq!(home(a, account).await, Some(first));
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
    assert_eq!(home(a, account).await, None);
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
    assert_eq!(home(a, account).await, Some(there));
}

async fn of_two_shards_that_give_a_first_home_one_finds_out(a: &impl HomeStore, b: &impl HomeStore) {
    let account = Account(1);
    let (here, there) = (Home::first(zone("here")), Home::first(zone("there")));
    let (first, second) = tokio::join!(a.set_home(account, None, &here), b.set_home(account, None, &there));
    let winner = match (first.expect("answered"), second.expect("answered")) {
        (None, Some(winner)) | (Some(winner), None) => winner,
        both => panic!("both or none were first: {both:?}"),
    };
    assert_eq!(home(a, account).await, Some(winner));
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
    for expected in homes {
        let account = Account(expected.generation);
        assert_eq!(home(b, account).await, Some(expected));
    }
    assert_eq!(home(b, Account(9)).await, None);
}

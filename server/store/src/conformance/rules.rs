//! The suite of [`RulesStore`].

use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::ownership::{RulesId, RulesStamp};

/// Runs the whole suite. `open` gives one more connection to the same data, which must be empty at first.
///
/// # Panics
/// If the store does not conform.
pub async fn rules_store_conformance<S: RulesStore>(open: impl Fn() -> S) {
    let (a, b) = (open(), open());
    world_has_no_rules_at_first(&a).await;
    of_two_that_want_rules_first_one_finds_out(&a, &b).await;
    wanted_rules_change_by_compare_and_set(&a, &b).await;
    file_is_kept_as_it_was_first(&a, &b).await;
    dropped_file_is_gone_and_no_other(&a, &b).await;
}

const fn id(flavor: u8) -> RulesId {
    let mut id = [0xa5; 32];
    (id[0], id[31]) = (flavor, 0);
    id
}

fn file(flavor: u8) -> WorldFile {
    WorldFile {
        rules: RulesStamp {
            id: id(flavor),
            code: u32::MAX,
            layout: u16::MAX,
        },
        tick_hz: 128,
        text: format!("# a world, {flavor}\n\n[zone]\nname = \"Æther\"\r\n"),
    }
}

async fn world_has_no_rules_at_first(store: &impl RulesStore) {
    assert_eq!(store.wanted().await.expect("readable"), None);
    assert!(store.kept_files().await.expect("readable").is_empty());
    assert_eq!(store.kept_file(id(1)).await.expect("readable"), None);
    store.drop_file(id(1)).await.expect("there is nothing to delete");
}

async fn of_two_that_want_rules_first_one_finds_out(a: &impl RulesStore, b: &impl RulesStore) {
    let (first, second) = tokio::join!(a.want(None, id(1)), b.want(None, id(2)));
    let (first, second) = (first.expect("answered"), second.expect("answered"));
    assert_eq!(first, second, "both are told which are wanted");
    let wanted = a.wanted().await.expect("readable");
    assert!(wanted == first && [Some(id(1)), Some(id(2))].contains(&wanted));
}

async fn wanted_rules_change_by_compare_and_set(a: &impl RulesStore, b: &impl RulesStore) {
    let wanted = a.wanted().await.expect("readable");
    assert_eq!(a.want(wanted, id(3)).await.expect("written"), Some(id(3)));
    assert_eq!(a.want(wanted, id(3)).await.expect("a repeat"), Some(id(3)));
    assert_eq!(
        b.want(wanted, id(4)).await.expect("answered"),
        Some(id(3)),
        "they changed"
    );
    assert_eq!(b.want(None, id(4)).await.expect("answered"), Some(id(3)));
    assert_eq!(b.wanted().await.expect("readable"), Some(id(3)));
}

async fn file_is_kept_as_it_was_first(a: &impl RulesStore, b: &impl RulesStore) {
    a.keep_file(&file(1)).await.expect("written");
    a.keep_file(&file(1)).await.expect("a repeat");
    assert_eq!(b.kept_file(id(1)).await.expect("readable"), Some(file(1)));
    let other = WorldFile {
        text: "another comment".to_owned(),
        ..file(1)
    };
    b.keep_file(&other).await.expect("the same rules");
    assert_eq!(a.kept_file(id(1)).await.expect("readable"), Some(file(1)));
}

async fn dropped_file_is_gone_and_no_other(a: &impl RulesStore, b: &impl RulesStore) {
    b.keep_file(&file(0)).await.expect("written");
    b.keep_file(&file(2)).await.expect("written");
    assert_eq!(a.kept_files().await.expect("readable"), [id(0), id(1), id(2)]);
    a.drop_file(id(1)).await.expect("deleted");
    assert_eq!(b.kept_files().await.expect("readable"), [id(0), id(2)]);
    assert_eq!(b.kept_file(id(1)).await.expect("readable"), None);
    assert_eq!(b.kept_file(id(2)).await.expect("readable"), Some(file(2)));
    assert!(b.wanted().await.expect("readable").is_some(), "a file is no wish");
}

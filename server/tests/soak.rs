//! Real processes under faults that are drawn from a seed: kills, pauses, stops, networks, and stores. Then all is
//! healed, and nothing that players were told may be lost. The short form runs with all tests; the long one is `make
//! soak`. Beside it are tests of one fault each that need as long as it does.

#[path = "soak/form.rs"]
mod form;
#[path = "soak/diary.rs"]
mod diary;
#[path = "soak/figures.rs"]
mod figures;
#[path = "soak/plan.rs"]
mod plan;
#[path = "soak/store.rs"]
mod store;
#[path = "soak/shards.rs"]
mod shards;
#[path = "soak/play.rs"]
mod play;
#[path = "soak/nemesis.rs"]
mod nemesis;
#[path = "soak/scene.rs"]
mod scene;
#[path = "soak/full.rs"]
mod full;
#[path = "soak/slow.rs"]
mod slow;
#[path = "soak/poison.rs"]
mod poison;

use form::StoreKind;

#[test]
fn nothing_that_players_were_told_is_lost_on_redis() {
    nemesis::soak(StoreKind::Redis);
}

#[test]
fn nothing_that_players_were_told_is_lost_on_embedded_files() {
    nemesis::soak(StoreKind::Files);
}

//! Any world whose numbers are within their bounds can be run: a zone of it steps without panic, and in bounded memory.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Birth, Input, Join};
use everhold_core::limits::CHAT_TELLS_PER_TICK_MAX;
use everhold_core::zone::{Cut, Scene, Zone, ZoneConfig};
use everhold_protocol::{Account, Epoch, Tick};
use proptest::prelude::*;

/// Players that are in the zone.
const PLAYERS: u64 = 50;

/// Ticks that a zone is stepped.
const TICKS: usize = 30;

/// Memory that the process may have after a zone has run, bytes: mostly the scene of a zone with as many things as it
/// may have.
const RSS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A number within its bounds, often one of them.
fn number(bounds: RangeInclusive<u64>) -> impl Strategy<Value = u64> {
    let (low, high) = (*bounds.start(), *bounds.end());
    prop_oneof![Just(low), Just(high), bounds]
}

fn times() -> impl Strategy<Value = [u64; 10]> {
    std::array::from_fn::<_, 10, _>(|_| number(1..=3_600_000))
}

fn lengths() -> impl Strategy<Value = [u64; 5]> {
    std::array::from_fn::<_, 5, _>(|_| number(1..=1_000_000))
}

/// Everything that is the same in all zones.
fn rules() -> impl Strategy<Value = String> {
    let points = [
        number(1..=65_535),
        number(1..=65_535),
        number(1..=65_535),
        number(0..=65_535),
    ];
    let speeds = [number(1..=1_000), number(1..=1_000)];
    let gold = [number(0..=1_000_000), number(0..=1_000_000)];
    let chat = (
        number(1..=2_000_000),
        number(1..=256),
        number(256..=CHAT_TELLS_PER_TICK_MAX.into()),
    );
    (times(), lengths(), points, speeds, gold, chat).prop_map(|(times, lengths, points, speeds, gold, chat)| {
        let [
            linger,
            window,
            respawn,
            cooldown,
            silence,
            bite,
            think,
            wander,
            birth,
            spawn,
        ] = times;
        let [reach, range, sight, leash, bite_range] = lengths;
        let [hp, damage, monster_hp, bite_damage] = points;
        format!(
            "[player]\nhp = {hp}\nspeed_cm_s = {}\nstart_gold = {}\nstart_items = [\"a\"]\nreach_cm = {reach}\n\
             linger_ms = {linger}\nresume_window_ms = {window}\nrespawn_ms = {respawn}\n\
             [strike]\nrange_cm = {range}\ndamage = {damage}\ncooldown_ms = {cooldown}\n\
             [chat]\ncooldown_ms = {silence}\nreach_cm = {}\nlines_per_tick_max = {}\ntells_per_tick_max = {}\n\
             [monster]\nhp = {monster_hp}\nspeed_cm_s = {}\nsight_cm = {sight}\nleash_cm = {leash}\n\
             bite_range_cm = {bite_range}\nbite_damage = {bite_damage}\nbite_cooldown_ms = {bite}\nthink_ms = {think}\n\
             wander_ms = {wander}\nloot_gold_min = 0\nloot_gold_max = {}\nrespawn_ms = {birth}\n\
             [item]\nkinds = [\"a\", \"b\"]\nspawn_ms = {spawn}\n",
            speeds[0], gold[0], chat.0, chat.1, chat.2, speeds[1], gold[1]
        )
    })
}

/// A zone's obstacles are anywhere; players and monsters come into being at its western edge, which none can cover.
fn zone() -> impl Strategy<Value = String> {
    let sides = (number(100..=1_000_000), number(100..=1_000_000));
    let counts = (number(0..=65_535), number(0..=15_537), number(0..=60));
    (sides, counts, number(0..=4_095), any::<u64>()).prop_map(|((width, height), (camps, items, walls), zone, seed)| {
        let mut random = seed | 1;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            random % below
        };
        let camps: Vec<_> = (0..camps).map(|_| [0, draw(height + 1)]).collect();
        let walls = (0..walls).map(|_| {
            let (west, south) = (draw(width), draw(height));
            [
                west,
                south,
                west + 1 + draw(width - west),
                south + 1 + draw(height - south),
            ]
        });
        let walls: Vec<_> = walls.collect();
        let mut text = format!("[[zone]]\nname = \"z\"\nnumber = {zone}\nwidth_cm = {width}\nheight_cm = {height}\n");
        let _infallible = write!(
            text,
            "spawns = [[0, {height}]]\ncamps = {camps:?}\nitems_at_start = {items}\nitems_max = {items}\n\
             obstacles = {walls:?}\n"
        );
        text
    })
}

fn join(number: u64) -> Input {
    Input::Join(Join {
        account: Account(number),
        ticket: u128::from(number).to_le_bytes(),
        ticket_forget_tick: Tick(1),
        secret: [0; 32],
        token: AttachToken(number),
        birth: Birth::Always,
    })
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the kernel's table");
    let pages = statm.split_ascii_whitespace().nth(1).expect("a second column");
    pages.parse::<u64>().expect("a number") * rustix::param::page_size() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn world_within_its_bounds_runs(rules in rules(), zone in zone()) {
        let book = RuleBook::from_toml(&format!("{rules}{zone}"))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let config = ZoneConfig {
            name: "z".parse().expect("a name"),
            seed: 1,
            tick_hz: 20,
            game: Arc::new(book),
        };
        let rules_id = config.rules_id();
        let mut zone = Zone::new(config);
        let mut scene = Scene::default();
        let mut inputs = vec![Input::EpochStart { epoch: Epoch(1), nonce: 1, rules_id }];
        inputs.extend((1..=PLAYERS).map(join));
        for _ in 0..TICKS {
            zone.step(&inputs);
            zone.scene(&mut scene);
            inputs.clear();
        }
        zone.capture(Cut::Base);
        prop_assert!(rss_bytes() < RSS_BYTES_MAX, "{} bytes", rss_bytes());
    }
}

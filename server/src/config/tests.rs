//! The configuration: its values, and its refusals.

use super::*;

#[test]
fn the_default_file_resolves() {
    let config = RawConfig::default().resolve().unwrap();
    assert_eq!(config.tick_hz, 20);
    assert_eq!(config.delta_ticks, 40, "2,000 ms at 20 Hz");
    assert!(config.zones.is_empty(), "a shard without --zone is a spare");
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_named() {
    let error = RawConfig::default().with_text("[lease]\nttl = 3").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown configuration key `lease.ttl`; did you mean `lease.ttl_ms`?"
    );
}

#[test]
fn an_unknown_section_is_refused() {
    assert!(matches!(
        RawConfig::default().with_text("[leese]\nttl_ms = 3000").unwrap_err(),
        ConfigError::UnknownKey { key, nearest: Some(nearest) } if key == "leese.ttl_ms" && nearest == "lease.ttl_ms"
    ));
}

#[test]
fn a_key_outside_any_section_is_refused() {
    assert!(matches!(
        RawConfig::default().with_text("ttl_ms = 3000"),
        Err(ConfigError::UnknownKey { .. })
    ));
}

#[test]
fn later_layers_win() {
    let env = [
        ("EVERHOLD_LEASE_TTL_MS".into(), "1000".into()),
        ("HOME".into(), "/".into()),
    ];
    let mut raw = RawConfig::default()
        .with_text("[lease]\nttl_ms = 2000\n[tick]\nhz = 30")
        .unwrap();
    raw = raw.with_env(env.into_iter()).unwrap();
    raw.set_text("shard", "zones", "meadow,forest").unwrap();
    let config = raw.resolve().unwrap();
    assert_eq!(
        (config.lease.ttl, config.tick_hz, config.zones.len()),
        (Duration::from_secs(1), 30, 2)
    );
}

#[test]
fn service_links_of_kubernetes_are_passed_over() {
    let links = [
        ("EVERHOLD_SERVICE_HOST", "10.0.0.1"),
        ("EVERHOLD_SERVICE_PORT", "4001"),
        ("EVERHOLD_SERVICE_PORT_PLAYERS", "4001"),
        ("EVERHOLD_PORT", "udp://10.0.0.1:4001"),
        ("EVERHOLD_PORT_4001_UDP", "udp://10.0.0.1:4001"),
        ("EVERHOLD_PORT_4001_UDP_PROTO", "udp"),
        ("EVERHOLD_PORT_4001_UDP_PORT", "4001"),
        ("EVERHOLD_PORT_4001_UDP_ADDR", "10.0.0.1"),
        ("EVERHOLD_REDIS_SERVICE_HOST", "10.0.0.2"),
        ("EVERHOLD_REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("EVERHOLD_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
        ("EVERHOLD_TICK_HZ", "30"),
    ];
    let env = links.map(|(name, text)| (name.into(), text.into()));
    let config = RawConfig::default().with_env(env.into_iter()).unwrap().resolve();
    assert_eq!(config.unwrap().tick_hz, 30);
}

#[test]
fn other_variables_with_our_prefix_are_refused_and_the_nearest_key_named() {
    for (name, text, nearest) in [
        ("EVERHOLD_PORT", "4001", None),
        ("EVERHOLD_LEASE_TTL", "1000", Some("lease.ttl_ms")),
    ] {
        let error = RawConfig::default().with_env([(name.into(), text.into())].into_iter());
        let Err(ConfigError::UnknownKey { nearest: named, .. }) = error else {
            panic!("{name}={text} is no key: {error:?}")
        };
        assert_eq!(named.as_deref(), nearest, "{name}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_by_name_in_our_variables_and_unseen_in_others() {
    use std::os::unix::ffi::OsStringExt;
    let noise = || OsString::from_vec(vec![b'x', 0xff]);
    let with = |name: OsString| RawConfig::default().with_env([(name, noise())].into_iter());
    assert!(with("X".into()).is_ok() && with(noise()).is_ok());
    let error = with("EVERHOLD_TICK_HZ".into()).unwrap_err();
    assert_eq!(error.to_string(), "the variable EVERHOLD_TICK_HZ is no UTF-8 text");
}

#[test]
fn a_value_out_of_range_is_refused_by_name() {
    let error = RawConfig::default()
        .with_text("[tick]\nhz = 0")
        .unwrap()
        .resolve()
        .unwrap_err();
    assert_eq!(error.to_string(), "`tick.hz` must be 1 to 128 ticks per second, not 0");
}

#[test]
fn a_lease_that_leaves_no_time_for_ticks_is_refused() {
    let raw = RawConfig::default()
        .with_text("[tick]\nhz = 1\n[lease]\nttl_ms = 2000")
        .unwrap();
    let error = raw.resolve().unwrap_err();
    assert!(
        error.to_string().starts_with("`lease.ttl_ms` must be long enough"),
        "{error}"
    );
}

#[test]
fn level_replica_needs_a_redis_and_a_number_of_replicas() {
    let resolve = |text: &str| RawConfig::default().with_text(text).unwrap().resolve();
    let embedded = resolve("[durability]\nlevel = \"replica\"").unwrap_err();
    assert!(matches!(embedded, ConfigError::NoReplicas), "{embedded}");
    let redis = "[store]\nurl = \"redis://127.0.0.1\"\n[durability]\n";
    let replicas = |keys: &str| resolve(&format!("{redis}{keys}")).map(|config| config.confirming_replicas);
    assert_eq!(replicas("level = \"replica\"").unwrap().map(NonZeroU32::get), Some(1));
    assert_eq!(
        replicas("level = \"replica\"\nreplicas = 2")
            .unwrap()
            .map(NonZeroU32::get),
        Some(2)
    );
    assert_eq!(replicas("replicas = 2").unwrap(), None, "level `store` waits for none");
    for number in [0, 17] {
        let error = replicas(&format!("replicas = {number}")).unwrap_err();
        assert!(
            matches!(
                error,
                ConfigError::Range {
                    key: "durability.replicas",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn text_sets_a_switch_or_is_refused_by_name() {
    let set = |text: &str| RawConfig::default().with_env([("EVERHOLD_SHARD_GUARDIAN".into(), text.into())].into_iter());
    assert!(!set("false").unwrap().resolve().unwrap().guardian);
    assert_eq!(
        set("off").unwrap_err().to_string(),
        "`shard.guardian` must be true or false, not \"off\""
    );
}

#[test]
fn text_for_a_number_is_refused_by_name() {
    let error = RawConfig::default()
        .with_env([("EVERHOLD_TICK_HZ".into(), "fast".into())].into_iter())
        .unwrap_err();
    assert_eq!(error.to_string(), "`tick.hz` must be a whole number, not \"fast\"");
}

#[test]
fn a_lease_holds_several_ticks_of_the_slowest_zone() {
    let lease = |text: &str| RawConfig::default().with_text(text).unwrap().resolve();
    assert!(lease("[lease]\nttl_ms = 1000\n[tick]\nhz = 20").is_ok());
    assert!(
        lease("[lease]\nttl_ms = 1000\n[tick]\nhz = 4").is_err(),
        "slowed down, two ticks take as long as a stall"
    );
}

#[test]
fn a_zone_holds_as_many_players_as_it_has_sessions_at_most() {
    let players = |max: u32| {
        let text = format!("[load]\nplayers_max = {max}");
        RawConfig::default().with_text(&text).unwrap().resolve()
    };
    let most = u32::try_from(ZONE_SESSIONS_MAX).unwrap();
    assert_eq!(players(most).unwrap().players_max, most);
    assert!(players(most + 1).is_err() && players(0).is_err());
}

fn places(text: &str) -> Result<Places, ConfigError> {
    RawConfig::default().with_text(text).unwrap().resolve_places()
}

#[test]
fn authority_is_where_the_store_is_unless_it_is_named() {
    for text in ["", "[store]\nurl = 'redis://a'\npassword_file = 'p'\nnamespace = 'n'"] {
        let places = places(text).unwrap();
        assert!(!places.are_apart(), "{text}");
    }
    let (store, authority) = ("[store]\nurl = 'redis://a'\n", "[authority]\nurl = ");
    let both = places(&format!(
        "{store}namespace = 'n'\n{authority}'redis://b'\npassword_file = 'p'"
    ))
    .unwrap();
    let redis = |url: &str, password_file: Option<&str>, section| StoreConfig::Redis {
        url: url.to_owned(),
        password_file: password_file.map(PathBuf::from),
        namespace: "n".to_owned(),
        section,
    };
    assert!(both.store == redis("redis://a", None, "store"));
    assert!(
        both.authority == redis("redis://b", Some("p"), "authority"),
        "a namespace is a world's"
    );
    let files = places(&format!("{store}{authority}'file:/var/w'")).unwrap();
    assert!(files.are_apart() && files.authority == StoreConfig::Embedded("/var/w".into()));
    let embedded = places(&format!("{authority}'redis://b'")).unwrap();
    assert!(embedded.store == StoreConfig::Embedded(".everhold/world".into()) && embedded.are_apart());
}

#[test]
fn authority_that_names_no_place_is_refused_by_name() {
    for (text, key) in [
        ("url = 'file:'", "authority.url"),
        ("password_file = 'p'", "authority.password_file"),
        ("url = 'file:w'\npassword_file = 'p'", "authority.password_file"),
    ] {
        let error = places(&format!("[authority]\n{text}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}` must be")), "{error}");
    }
}

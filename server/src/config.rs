//! Configuration in two stages: layers of raw keys (file, environment, flags), then one checked [`Config`]. It reads no
//! file and no environment itself: the caller hands both in.

mod service_links;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use everhold_core::durability::gate::Durability;
use everhold_core::ingress::address::AddressLimits;
use everhold_core::interest::Reach;
use everhold_core::limits::{
    ADDRESS_ATTEMPTS_BURST, ADDRESS_ATTEMPTS_PER_S, CONFIRMING_REPLICAS_MAX, NET_THREADS_MAX, STRETCH_PERMILLE_MAX,
    ZONE_SESSIONS_MAX,
};
use everhold_core::ownership::lease::LeaseConfig;
use everhold_protocol::ZoneName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

mod archive;
mod host;
mod places;

pub use archive::{ArchiveConfig, ArchivePlace};
pub use host::{Host, HostPort};
pub use places::{Places, StoreConfig, check_level};

use archive::ArchiveSection;
use places::{AuthoritySection, StoreSection};

/// The defaults, which are also the documentation of every key.
const DEFAULTS: &str = include_str!("../../assets/config/shard.toml");

/// Environment variables that set a key begin with this: `EVERHOLD_LEASE_TTL_MS` sets `lease.ttl_ms`.
pub const ENV_PREFIX: &str = "EVERHOLD_";

/// The farthest that a player may see, m: what the interest grid can do.
const VIEW_RADIUS_M_MAX: u64 = (*Reach::RADIUS_CM.end() / 100) as u64;

/// The checked configuration of a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The host on which it listens; always with a port.
    pub listen: HostPort,
    /// The host to which players are sent, if not there.
    pub advertise: Option<HostPort>,
    /// The places where the world is kept.
    pub places: Places,
    /// The database behind the store, if there is one.
    pub archive: Option<ArchiveConfig>,
    /// Directory of the world's keys.
    pub keys: PathBuf,
    /// Zones this shard prefers; empty for a spare.
    pub zones: Vec<ZoneName>,
    /// Zones it may hold at once.
    pub zones_max: usize,
    /// Connections it accepts at once.
    pub connections_max: usize,
    /// Threads that carry them.
    pub net_threads: usize,
    /// Whether a guardian stands by the server.
    pub guardian: bool,
    /// The world's file, if not the embedded one.
    pub rules: Option<PathBuf>,
    /// Seed of a world that does not exist yet.
    pub seed: u64,
    /// Ticks per second.
    pub tick_hz: u16,
    /// A lease's times.
    pub lease: LeaseConfig,
    /// The level of durability that output waits for.
    pub durability: Durability,
    /// Replicas of the store that must confirm a write before it counts; `None` unless the level is `replica`.
    pub confirming_replicas: Option<NonZeroU32>,
    /// Ticks between deltas.
    pub delta_ticks: u64,
    /// Ticks between bases, at most.
    pub base_ticks: u64,
    /// The distance at which a player sees, cm.
    pub view_radius_cm: i32,
    /// Whether overloaded zones climb the ladder.
    pub ladder: bool,
    /// Players of a zone above which newcomers wait.
    pub players_max: u32,
    /// The time within which a new connection must log in.
    pub login_deadline: Duration,
    /// The limits of one network address.
    pub address: AddressLimits,
}

/// The world that zones run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// The world's file, if not the embedded one.
    pub rules: Option<PathBuf>,
    /// Seed of a world that does not exist yet.
    pub seed: u64,
    /// Ticks per second.
    pub tick_hz: u16,
}

/// The reason why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A key that means nothing.
    #[error(
        "unknown configuration key `{key}`{}",
        .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
    )]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// The most similar known one.
        nearest: Option<String>,
    },
    /// Players cannot be sent to every address of a host.
    #[error(
        "`shard.listen` is every address of this host ({0}), and players cannot be sent there: set `shard.advertise` \
             (--advertise, EVERHOLD_SHARD_ADVERTISE) to the address or name by which they reach this shard"
    )]
    Unreachable(HostPort),
    /// The embedded store cannot do what level `replica` promises.
    #[error(
        "`durability.level` is `replica`, and the embedded store has no replicas: set `store.url` (--store, \
         EVERHOLD_STORE_URL) to a Redis that has, or take level `store`"
    )]
    NoReplicas,
    /// A value outside its range.
    #[error("`{key}` must be {must}, not {is}")]
    Range {
        /// The key.
        key: &'static str,
        /// The values that it may have.
        must: &'static str,
        /// The value that it has.
        is: String,
    },
}

/// Raw keys by section; later layers win.
#[derive(Clone, Debug)]
pub struct RawConfig(Table);

impl Default for RawConfig {
    fn default() -> Self {
        Self(
            DEFAULTS
                .parse()
                .expect("the embedded defaults are TOML; a test parses them"),
        )
    }
}

impl RawConfig {
    /// Lays the keys of a TOML text over this.
    pub fn with_text(self, text: &str) -> Result<Self, ConfigError> {
        let layer: Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::Syntax(e.to_string()))?;
        let mut merged = self;
        for (section, keys) in layer {
            let Value::Table(keys) = keys else {
                return Err(merged.unknown(section));
            };
            for (key, value) in keys {
                merged.set(&section, &key, value)?;
            }
        }
        Ok(merged)
    }

    /// Lays environment variables over this: those that begin with [`ENV_PREFIX`], all of which must name a key. What
    /// Kubernetes sets for a Service whose name begins as ours (`EVERHOLD_SERVICE_HOST`, `EVERHOLD_PORT` and the like)
    /// is passed over.
    pub fn with_env(self, vars: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut merged = self;
        for (name, text) in vars {
            // Other programs' variables may hold any bytes.
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Ok(text) = text.into_string() else {
                return Err(ConfigError::Syntax(format!("the variable {name} is no UTF-8 text")));
            };
            if service_links::is_one(rest, &text) {
                continue;
            }
            let path = rest.to_ascii_lowercase();
            let Some((section, key)) = path.split_once('_') else {
                return Err(merged.unknown(path));
            };
            merged.set_text(section, key, &text)?;
        }
        Ok(merged)
    }

    /// Sets one key from text, which is taken as the type that the key's default has.
    pub fn set_text(&mut self, section: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        let value =
            match self.0.get(section).and_then(|s| s.get(key)) {
                Some(Value::Integer(_)) => text.parse().map(Value::Integer).map_err(|_| {
                    ConfigError::Syntax(format!("`{section}.{key}` must be a whole number, not {text:?}"))
                })?,
                Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).map_err(|_| {
                    ConfigError::Syntax(format!("`{section}.{key}` must be true or false, not {text:?}"))
                })?,
                Some(Value::Array(_)) => Value::Array(
                    text.split(',')
                        .filter(|t| !t.is_empty())
                        .map(|t| Value::String(t.to_owned()))
                        .collect(),
                ),
                _ => Value::String(text.to_owned()),
            };
        self.set(section, key, value)
    }

    fn set(&mut self, section: &str, key: &str, value: Value) -> Result<(), ConfigError> {
        let Some(slot) = self.0.get_mut(section).and_then(|s| s.get_mut(key)) else {
            return Err(self.unknown(format!("{section}.{key}")));
        };
        *slot = value;
        Ok(())
    }

    fn unknown(&self, key: String) -> ConfigError {
        let known = self.0.iter().flat_map(|(section, keys)| {
            let keys = keys.as_table().into_iter().flat_map(Table::keys);
            keys.map(move |key| format!("{section}.{key}"))
        });
        let nearest = known
            .map(|candidate| (strsim::damerau_levenshtein(&candidate, &key), candidate))
            .min()
            .filter(|(distance, _)| *distance <= key.len() / 2)
            .map(|(_, candidate)| candidate);
        ConfigError::UnknownKey { key, nearest }
    }

    /// A key's text, if it has one.
    #[must_use]
    pub fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(section)?.get(key)?.as_str()
    }

    /// Checks what says where a world is kept, and nothing else: for commands that are no shard.
    pub fn resolve_places(&self) -> Result<Places, ConfigError> {
        let state = self.text("shard", "state");
        let state = state.ok_or_else(|| ConfigError::Syntax("`shard.state` must be a directory".to_owned()))?;
        places::resolve(self.section("store")?, self.section("authority")?, state.into())
    }

    /// Checks what says where the archive of a store is, and nothing else: for commands that are no shard.
    pub fn resolve_archive(&self, store: &StoreConfig) -> Result<Option<ArchiveConfig>, ConfigError> {
        archive::resolve(self.section("archive")?, store)
    }

    /// Checks what says which world its zones run, and nothing else: for commands that are no shard.
    pub fn resolve_world(&self) -> Result<WorldConfig, ConfigError> {
        let (world, tick): (WorldSection, TickSection) = (self.section("world")?, self.section("tick")?);
        Ok(WorldConfig {
            rules: Some(world.rules).filter(|path| !path.as_os_str().is_empty()),
            seed: world.seed,
            tick_hz: tick_hz(tick.hz)?,
        })
    }

    pub(crate) fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let section = self.0.get(name).cloned();
        let section = section.unwrap_or_else(|| Value::Table(Table::new()));
        section
            .try_into()
            .map_err(|e: toml::de::Error| ConfigError::Syntax(e.to_string()))
    }

    /// Checks every value.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let raw: Sections = self
            .0
            .try_into()
            .map_err(|e: toml::de::Error| ConfigError::Syntax(e.to_string()))?;
        let tick_hz = tick_hz(raw.tick.hz)?;
        let hz = u64::from(tick_hz);
        let delta_ms = in_range(
            "durability.delta_ms",
            raw.durability.delta_ms,
            50..=600_000,
            "50 to 600,000 ms",
        )?;
        let base_ms = in_range(
            "durability.base_ms",
            raw.durability.base_ms,
            delta_ms..=86_400_000,
            "at least durability.delta_ms",
        )?;
        let radius_m = in_range("view.radius_m", raw.view.radius_m, 1..=VIEW_RADIUS_M_MAX, "1 to 300 m")?;
        let lease = lease(raw.lease.ttl_ms, tick_hz)?;
        let ticks = |ms: u64| (ms * hz).div_ceil(1_000);
        let (listen, advertise) = host::addresses(&raw.shard.listen, &raw.shard.advertise)?;
        let places = places::resolve(raw.store, raw.authority, raw.shard.state)?;
        let replicas = confirming_replicas(raw.durability.replicas)?;
        check_level(raw.durability.level, &places.store)?;
        Ok(Config {
            listen,
            advertise,
            archive: archive::resolve(raw.archive, &places.store)?,
            places,
            keys: raw.shard.keys,
            zones: raw.shard.zones,
            zones_max: in_range("shard.zones_max", raw.shard.zones_max, 1..=1_024, "1 to 1,024")? as usize,
            connections_max: in_range(
                "shard.connections_max",
                raw.shard.connections_max,
                1..=100_000,
                "1 to 100,000",
            )? as usize,
            net_threads: net_threads(raw.shard.net_threads)?,
            guardian: raw.shard.guardian,
            rules: Some(raw.world.rules).filter(|path| !path.as_os_str().is_empty()),
            seed: raw.world.seed,
            tick_hz,
            lease,
            durability: raw.durability.level,
            confirming_replicas: (raw.durability.level == Durability::Replica).then_some(replicas),
            delta_ticks: ticks(delta_ms),
            base_ticks: ticks(base_ms),
            view_radius_cm: i32::try_from(radius_m * 100).expect("at most 32,700"),
            ladder: raw.load.ladder,
            players_max: players_max(raw.load.players_max)?,
            login_deadline: Duration::from_millis(in_range(
                "login.deadline_ms",
                raw.login.deadline_ms,
                100..=60_000,
                "100 to 60,000 ms",
            )?),
            address: address_limits(&raw.login)?,
        })
    }
}

fn confirming_replicas(replicas: u64) -> Result<NonZeroU32, ConfigError> {
    let range = 1..=u64::from(CONFIRMING_REPLICAS_MAX);
    let replicas = in_range("durability.replicas", replicas, range, "1 to 16")?;
    let replicas = u32::try_from(replicas).ok().and_then(NonZeroU32::new);
    Ok(replicas.expect("1 to 16"))
}

fn players_max(players: u64) -> Result<u32, ConfigError> {
    let players = in_range("load.players_max", players, 1..=ZONE_SESSIONS_MAX as u64, "1 to 50,000")?;
    Ok(u32::try_from(players).expect("at most 50,000"))
}

fn net_threads(threads: u64) -> Result<usize, ConfigError> {
    let threads = in_range("shard.net_threads", threads, 1..=NET_THREADS_MAX as u64, "1 to 64")?;
    Ok(threads as usize)
}

fn tick_hz(hz: u64) -> Result<u16, ConfigError> {
    let hz = in_range("tick.hz", hz, 1..=128, "1 to 128 ticks per second")?;
    Ok(u16::try_from(hz).expect("at most 128"))
}

fn lease(ttl_ms: u64, tick_hz: u16) -> Result<LeaseConfig, ConfigError> {
    let range = 1_000..=LeaseConfig::TTL_MS_MAX;
    let ttl_ms = in_range("lease.ttl_ms", ttl_ms, range, "1,000 to 600,000 ms")?;
    let lease = LeaseConfig::new(ttl_ms, tick_hz);
    // As long as an overloaded zone stretches it: a zone that does what it can must not look wedged.
    let period = Duration::from_secs(1) / u32::from(tick_hz) * STRETCH_PERMILLE_MAX / 1_000;
    if lease.margin + 2 * lease.renew_every > lease.ttl || lease.tick_stall < 2 * period {
        let must = "long enough for two renewals and several ticks";
        return Err(ConfigError::Range {
            key: "lease.ttl_ms",
            must,
            is: ttl_ms.to_string(),
        });
    }
    Ok(lease)
}

fn address_limits(raw: &LoginSection) -> Result<AddressLimits, ConfigError> {
    let per_s = in_range(
        "login.address_attempts_per_s",
        raw.address_attempts_per_s,
        1..=100_000,
        "1 to 100,000 a second",
    )?;
    let connections = in_range(
        "login.address_connections_max",
        raw.address_connections_max,
        1..=100_000,
        "1 to 100,000",
    )?;
    let per_s = u32::try_from(per_s).expect("at most 100,000");
    Ok(AddressLimits {
        attempts_per_s: per_s,
        // Ten seconds' worth, as by default.
        attempts_burst: per_s * (ADDRESS_ATTEMPTS_BURST / ADDRESS_ATTEMPTS_PER_S),
        connections_max: connections as usize,
        ..AddressLimits::default()
    })
}

fn in_range(
    key: &'static str,
    is: u64,
    range: std::ops::RangeInclusive<u64>,
    must: &'static str,
) -> Result<u64, ConfigError> {
    if range.contains(&is) {
        Ok(is)
    } else {
        Err(ConfigError::Range {
            key,
            must,
            is: is.to_string(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    shard: ShardSection,
    store: StoreSection,
    authority: AuthoritySection,
    archive: ArchiveSection,
    world: WorldSection,
    tick: TickSection,
    lease: LeaseSection,
    durability: DurabilitySection,
    view: ViewSection,
    load: LoadSection,
    login: LoginSection,
}

#[derive(Deserialize)]
struct ShardSection {
    listen: String,
    advertise: String,
    state: PathBuf,
    keys: PathBuf,
    zones: Vec<ZoneName>,
    zones_max: u64,
    connections_max: u64,
    net_threads: u64,
    guardian: bool,
}

#[derive(Deserialize)]
struct WorldSection {
    rules: PathBuf,
    seed: u64,
}

#[derive(Deserialize)]
struct TickSection {
    hz: u64,
}

#[derive(Deserialize)]
struct LeaseSection {
    ttl_ms: u64,
}

#[derive(Deserialize)]
struct DurabilitySection {
    level: Durability,
    replicas: u64,
    delta_ms: u64,
    base_ms: u64,
}

#[derive(Deserialize)]
struct ViewSection {
    radius_m: u64,
}

#[derive(Deserialize)]
struct LoadSection {
    ladder: bool,
    players_max: u64,
}

#[derive(Deserialize)]
struct LoginSection {
    deadline_ms: u64,
    address_attempts_per_s: u64,
    address_connections_max: u64,
}

#[cfg(test)]
mod tests;

//! The figures of shards and store. They are judged only by whether they stay as they were.

use std::fmt;
use std::path::Path;

use everhold_testing::redis::RedisServer;
use rusqlite::{Connection, OpenFlags};

use crate::form::ZONES;

const MIB: u64 = 1024 * 1024;

/// The content of a store, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreFigures {
    /// Memory of a Redis, or the size of all files, bytes.
    pub(crate) bytes: u64,
    /// Keys of a Redis, or files.
    pub(crate) keys: u64,
    /// Shards in the directory of shards, the dead among them.
    pub(crate) shards: u64,
    pub(crate) homes: u64,
    /// Inputs in quarantine.
    pub(crate) quarantined: u64,
    /// Parts of checkpoints that are no checkpoint's.
    pub(crate) stray_parts: u64,
    /// Zones with a whole base.
    pub(crate) whole_zones: u64,
}

impl StoreFigures {
    pub(crate) fn of_redis(redis: &RedisServer) -> Option<Self> {
        let ask = |words: &[&str]| redis.try_command(words);
        let count = |words: &[&str]| ask(words)?.parse::<u64>().ok();
        let memory = ask(&["INFO", "memory"])?;
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"))?;
        let mut figures = Self {
            bytes: used.trim().parse().ok()?,
            keys: count(&["DBSIZE"])?,
            shards: count(&["HLEN", "everhold:shards"])?,
            homes: lines(&ask(&["KEYS", "everhold:home:*"])?).count() as u64,
            ..Self::default()
        };
        for zone in ZONES {
            let key = |of: &str| format!("everhold:{{{zone}}}:{of}");
            figures.quarantined += count(&["HLEN", &key("quarantine")])?;
            // `epoch tick hash is_base parts bytes` each.
            let chain = ask(&["LRANGE", &key("chain"), "0", "-1"])?;
            let heads = lines(&chain).map(|head| head.split(' ').collect::<Vec<_>>());
            let (mut parts, mut bases) = (0, 0);
            for head in heads {
                bases += u64::from(*head.get(3)? == "1");
                parts += head.get(4)?.parse::<u64>().ok()?;
            }
            let is_hollow = count(&["HEXISTS", &key("meta"), "hollow"])? == 1;
            figures.whole_zones += u64::from(bases > 0 && !is_hollow);
            figures.stray_parts += count(&["HLEN", &key("parts")])?.saturating_sub(parts);
        }
        Some(figures)
    }

    pub(crate) fn of_files(world: &Path) -> rusqlite::Result<Self> {
        let mut figures = Self::default();
        for file in std::fs::read_dir(world).into_iter().flatten().flatten() {
            let name = file.file_name();
            // The archive keeps every move of value: it is no part of the store, and grows.
            if name != "ballast" && !name.to_string_lossy().starts_with("archive.db") {
                figures.keys += 1;
                figures.bytes += file.metadata().map_or(0, |data| data.len());
            }
        }
        let world_file = open(&world.join("world.db"))?;
        figures.shards = number(&world_file, "SELECT count(*) FROM shard")?;
        figures.homes = number(&world_file, "SELECT count(*) FROM home")?;
        for zone in ZONES {
            let file = open(&world.join(format!("zone-{zone}.db")))?;
            figures.quarantined += number(&file, "SELECT count(*) FROM quarantine")?;
            let parts = "SELECT (SELECT count(*) FROM part) - (SELECT total(parts) FROM checkpoint)";
            figures.stray_parts += number(&file, &format!("SELECT cast(max(0, ({parts})) AS INTEGER)"))?;
            let bases = number(&file, "SELECT count(*) FROM checkpoint WHERE is_base")?;
            figures.whole_zones += u64::from(bases > 0);
        }
        Ok(figures)
    }
}

fn lines(printed: &str) -> impl Iterator<Item = &str> {
    printed.lines().filter(|line| !line.is_empty())
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn number(file: &Connection, query: &str) -> rusqlite::Result<u64> {
    file.query_row(query, (), |row| row.get::<_, i64>(0))
        .map(|count| count as u64)
}

/// A look at everything.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The second of play.
    pub(crate) second: u64,
    pub(crate) store: StoreFigures,
    /// Memory of each living shard, bytes.
    pub(crate) rss_bytes: Vec<u64>,
}

impl Sample {
    fn rss_max(&self) -> u64 {
        self.rss_bytes.iter().copied().max().unwrap_or_default()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rss: Vec<String> = self.rss_bytes.iter().map(|bytes| (bytes / MIB).to_string()).collect();
        let StoreFigures {
            bytes,
            keys,
            shards,
            homes,
            quarantined,
            stray_parts,
            ..
        } = self.store;
        write!(
            f,
            "{:5} s: shards' memory {} MiB; store {:.1} MiB, {keys} keys; {shards} shard entries, {homes} homes, \
             {quarantined} quarantined inputs, {stray_parts} stray parts",
            self.second,
            rss.join(" "),
            bytes as f64 / MIB as f64,
        )
    }
}

/// One figure of a sample.
type Figure<'a> = &'a dyn Fn(&Sample) -> u64;

/// Returns what has grown from the first third of a soak of so many seconds to its end, in words. Bounds are factors of
/// what there was, and what a single checkpoint or zone takes.
pub(crate) fn growth(samples: &[Sample], seconds: u64, end: &Sample) -> Vec<String> {
    let early: Vec<&Sample> = samples.iter().filter(|sample| sample.second <= seconds / 3).collect();
    let most = |of: Figure<'_>| early.iter().map(|sample| of(sample)).max().unwrap_or_default();
    let figures: [(&str, Figure<'_>, u64, u64); 5] = [
        ("memory of a shard, bytes", &Sample::rss_max, 2, 64 * MIB),
        ("bytes of the store", &|sample| sample.store.bytes, 2, 32 * MIB),
        ("keys of the store", &|sample| sample.store.keys, 2, 16),
        ("quarantined inputs", &|sample| sample.store.quarantined, 1, 0),
        ("stray parts", &|sample| sample.store.stray_parts, 1, 16),
    ];
    let grown = figures.iter().filter_map(|(what, of, factor, more)| {
        let (before, after) = (most(of), of(end));
        (after > before * factor + more).then(|| format!("{what} grew from {before} to {after}"))
    });
    grown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, mib: u64, stray_parts: u64) -> Sample {
        Sample {
            second,
            store: StoreFigures {
                bytes: mib * MIB,
                stray_parts,
                ..StoreFigures::default()
            },
            rss_bytes: vec![mib * MIB],
        }
    }

    #[test]
    fn what_grows_after_the_first_third_is_named() {
        let samples = [sample(20, 100, 3), sample(60, 900, 0)];
        assert_eq!(growth(&samples, 90, &sample(90, 200, 16)), [] as [String; 0]);
        let grown = growth(&samples, 90, &sample(90, 300, 20));
        let named = |what| grown.iter().any(|line: &String| line.starts_with(what));
        assert!(
            named("memory of a shard") && named("bytes of the store") && named("stray parts"),
            "{grown:?}"
        );
        assert_eq!(grown.len(), 3);
    }
}

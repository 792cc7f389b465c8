//! The state store and authority of a soak, and their faults. It decides none.

use std::path::{Path, PathBuf};

use everhold_testing::disk::SmallDisk;
use everhold_testing::proxy::Proxy;
use everhold_testing::redis::{Persistence, RedisServer};
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

use crate::figures::StoreFigures;
use crate::form::{SLOTS, StoreKind, ZONES};

/// Room for a world of a hundred players, many times over.
const DISK_BYTES: u64 = 256 * 1024 * 1024;

/// Below what any Redis uses: then it refuses every write that takes memory.
const NO_MEMORY: &str = "1mb";

/// A store and authority.
pub(crate) enum Store {
    Redis {
        server: RedisServer,
        /// The network between each slot and the server.
        links: Vec<Proxy>,
        /// Whether it is dead or stopped.
        is_away: bool,
    },
    Files {
        world: PathBuf,
        /// `None`: the disk cannot be full here.
        disk: Option<SmallDisk>,
        locks: Vec<Option<Connection>>,
    },
}

impl Store {
    pub(crate) fn start(kind: StoreKind, world: &Path, seed: u64) -> Self {
        match kind {
            StoreKind::Redis => {
                let server = RedisServer::start(Persistence::Aof);
                let link = |slot| Proxy::tcp(server.addr(), seed.wrapping_add(slot));
                let links = (0..SLOTS as u64).map(link).collect();
                Self::Redis {
                    server,
                    links,
                    is_away: false,
                }
            }
            StoreKind::Files => Self::Files {
                world: world.to_owned(),
                disk: SmallDisk::new("a soak on files", world, DISK_BYTES),
                locks: ZONES.map(|_| None).into(),
            },
        }
    }

    /// Returns the arguments of a slot's shards for it.
    pub(crate) fn arguments(&self, slot: usize) -> Vec<String> {
        match self {
            Self::Redis { links, .. } => vec!["--store".to_owned(), format!("redis://{}", links[slot].addr())],
            Self::Files { .. } => Vec::new(),
        }
    }

    /// Returns the arguments for a reader that no fault is in the way of.
    pub(crate) fn reader_arguments(&self) -> Vec<String> {
        match self {
            Self::Redis { server, .. } => vec!["--store".to_owned(), server.url()],
            Self::Files { world, .. } => vec!["--state".to_owned(), world.to_string_lossy().into_owned()],
        }
    }

    pub(crate) fn link(&self, slot: usize) -> &Proxy {
        match self {
            Self::Redis { links, .. } => &links[slot],
            Self::Files { .. } => panic!("files have no link"),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.set_away(true).kill();
    }

    pub(crate) fn start_again(&mut self) {
        self.set_away(false).start_again();
    }

    pub(crate) fn pause(&mut self) {
        self.set_away(true).signal(Signal::STOP);
    }

    pub(crate) fn go_on(&mut self) {
        self.set_away(false).signal(Signal::CONT);
    }

    /// Has a Redis that lives forget everything.
    pub(crate) fn flush(&mut self) {
        assert_eq!(self.set_away(false).command(&["FLUSHALL"]), "OK");
    }

    pub(crate) fn start_again_empty(&mut self) {
        self.set_away(false).start_again_empty();
    }

    /// Takes all room from it, or gives it back.
    pub(crate) fn set_full(&self, is_full: bool) {
        match self {
            Self::Redis { server, .. } => {
                let limit = if is_full { NO_MEMORY } else { "0" };
                assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", limit]), "OK");
            }
            Self::Files { disk: Some(disk), .. } if is_full => disk.fill(),
            Self::Files { disk: Some(disk), .. } => disk.free(),
            Self::Files { disk: None, .. } => {}
        }
    }

    /// Takes the write lock of a zone's file, or gives it back. `false`: another writer has it, or there is no file.
    pub(crate) fn set_locked(&mut self, zone: usize, is_locked: bool) -> bool {
        let Self::Files { world, locks, .. } = self else {
            panic!("a Redis has no files")
        };
        locks[zone] = None;
        let take = || {
            let path = world.join(format!("zone-{}.db", ZONES[zone]));
            let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            file.execute_batch("BEGIN IMMEDIATE")?;
            Ok::<_, rusqlite::Error>(file)
        };
        if is_locked {
            locks[zone] = take().ok();
        }
        locks[zone].is_some() == is_locked
    }

    /// Counts what is stored; `None`: it cannot be read now.
    pub(crate) fn figures(&self) -> Option<StoreFigures> {
        match self {
            // One that is stopped would not answer, nor refuse.
            Self::Redis { is_away: true, .. } => None,
            Self::Redis { server, .. } => StoreFigures::of_redis(server),
            Self::Files { world, .. } => StoreFigures::of_files(world).ok(),
        }
    }

    fn set_away(&mut self, away: bool) -> &mut RedisServer {
        match self {
            Self::Redis { server, is_away, .. } => {
                *is_away = away;
                server
            }
            Self::Files { .. } => panic!("files are no Redis"),
        }
    }
}

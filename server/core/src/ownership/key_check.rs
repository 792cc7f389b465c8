//! Whether the shards of a world share their keys: how a shard judges the others' fingerprints before it joins, and
//! while it serves. It reads no clock.
//!
//! A shard that was killed without a guardian leaves its entry in the directory behind; so an entry counts only if its
//! beat moves before our eyes. A living shard moves it every quarter of its own ttl, which may be longer than ours: the
//! entry says how long that is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::fingerprint::{KeyFingerprints, KeyKind};
use super::grant::Nonce;
use super::membership::ShardView;

/// Whether this shard may join the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// It may. The entries named are of shards that were watched for a ttl and are dead.
    Join {
        /// Nonces of the dead shards.
        dead: Vec<Nonce>,
    },
    /// There are shards with other keys, and whether they live is not known yet: look again soon.
    Watch,
    /// It may not: a living shard has other keys.
    Refuse {
        /// The address at which that shard serves.
        addr: SocketAddr,
        /// The first kind of key that differs.
        kind: KeyKind,
    },
}

/// Watches the shards of a world before this one joins it.
#[derive(Debug)]
pub struct KeyCheck {
    mine: KeyFingerprints,
    ttl: Duration,
    /// The beat of each shard, and the moment at which it was first seen.
    watched: BTreeMap<Nonce, (u64, Duration)>,
}

impl KeyCheck {
    /// Returns a check that has seen no shard yet. A shard whose beat stands still for a ttl is dead: `ttl`, or its own
    /// if that is longer.
    #[must_use]
    pub const fn new(mine: KeyFingerprints, ttl: Duration) -> Self {
        Self {
            mine,
            ttl,
            watched: BTreeMap::new(),
        }
    }

    /// Judges what the directory shows at `now`.
    pub fn judge(&mut self, now: Duration, shards: &[ShardView]) -> Joining {
        let mut dead = Vec::new();
        let mut is_all_known = true;
        for shard in shards {
            let differs = self.mine.differs_from(&shard.keys);
            let (beat, since) = *self.watched.entry(shard.nonce).or_insert((shard.beat, now));
            if beat != shard.beat {
                match differs {
                    Some(kind) => return Joining::Refuse { addr: shard.addr, kind },
                    None => continue,
                }
            }
            if now.saturating_sub(since) >= shard.longer_ttl(self.ttl) {
                dead.push(shard.nonce);
            } else if differs.is_some() {
                is_all_known = false;
            }
        }
        if is_all_known {
            Joining::Join { dead }
        } else {
            Joining::Watch
        }
    }

    /// Returns a shard with other keys that appeared since the last look, or lives: of two that come at once neither
    /// may stay.
    #[must_use]
    pub fn intruder(&self, shards: &[ShardView]) -> Option<(SocketAddr, KeyKind)> {
        shards.iter().find_map(|shard| {
            let kind = self.mine.differs_from(&shard.keys)?;
            let is_dead = self
                .watched
                .get(&shard.nonce)
                .is_some_and(|(beat, _)| *beat == shard.beat);
            (!is_dead).then_some((shard.addr, kind))
        })
    }
}

/// A shard of this world that lives and has other keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The address at which it serves.
    pub addr: SocketAddr,
    /// The first kind of key that differs.
    pub kind: KeyKind,
}

/// Watches for shards with other keys while this one serves: one that was suspended while this one joined, or one that
/// checked nothing.
#[derive(Debug)]
pub struct KeyWatch {
    mine: KeyFingerprints,
    /// The beat of each shard with other keys, and whether it was reported.
    watched: BTreeMap<Nonce, (u64, bool)>,
}

impl KeyWatch {
    /// Returns a watch that has seen no shard yet.
    #[must_use]
    pub const fn new(mine: KeyFingerprints) -> Self {
        Self {
            mine,
            watched: BTreeMap::new(),
        }
    }

    /// Takes what the directory shows now. Returns the shards whose beat has moved for the first time before our eyes:
    /// each is reported once.
    pub fn handle_shards(&mut self, shards: &[ShardView]) -> Vec<Stranger> {
        self.watched
            .retain(|nonce, _| shards.iter().any(|shard| shard.nonce == *nonce));
        let mut strangers = Vec::new();
        for shard in shards {
            let Some(kind) = self.mine.differs_from(&shard.keys) else {
                self.watched.remove(&shard.nonce);
                continue;
            };
            let (beat, is_told) = self.watched.entry(shard.nonce).or_insert((shard.beat, false));
            if *beat != shard.beat && !std::mem::replace(is_told, true) {
                strangers.push(Stranger { addr: shard.addr, kind });
            }
        }
        strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{Fingerprint, LeaseConfig};

    const TTL: Duration = Duration::from_secs(4);

    fn keys(login: &[u64], certificates: &[u64], quic: &[u64]) -> KeyFingerprints {
        let prints = |keys: &[u64]| keys.iter().copied().map(Fingerprint).collect();
        KeyFingerprints::new(prints(login), prints(certificates), prints(quic))
    }

    fn shard(nonce: u64, beat: u64, keys: &KeyFingerprints) -> ShardView {
        ShardView {
            nonce: Nonce(nonce),
            addr: SocketAddr::from(([192, 0, 2, 1], 4_001)),
            beat,
            keys: keys.clone(),
            ttl: TTL,
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn shard_joins_those_with_its_keys_at_once() {
        let mine = keys(&[1], &[1], &[1]);
        let mut check = KeyCheck::new(mine.clone(), TTL);
        assert_eq!(
            check.judge(at(0), &[shard(1, 5, &mine)]),
            Joining::Join { dead: vec![] }
        );
    }

    #[test]
    fn living_shard_with_other_keys_is_a_refusal() {
        let other = keys(&[1], &[1], &[9]);
        let mut check = KeyCheck::new(keys(&[1], &[1], &[1]), TTL);
        assert_eq!(check.judge(at(0), &[shard(1, 5, &other)]), Joining::Watch);
        let refuse = Joining::Refuse {
            addr: SocketAddr::from(([192, 0, 2, 1], 4_001)),
            kind: KeyKind::Quic,
        };
        assert_eq!(check.judge(at(1_000), &[shard(1, 6, &other)]), refuse);
    }

    #[test]
    fn entry_that_a_dead_shard_left_behind_holds_nobody_up_for_long() {
        let other = keys(&[9], &[9], &[9]);
        let mut check = KeyCheck::new(keys(&[1], &[1], &[1]), TTL);
        assert_eq!(check.judge(at(0), &[shard(1, 5, &other)]), Joining::Watch);
        assert_eq!(check.judge(at(3_999), &[shard(1, 5, &other)]), Joining::Watch);
        let dead = vec![Nonce(1)];
        assert_eq!(check.judge(at(4_000), &[shard(1, 5, &other)]), Joining::Join { dead });
        assert_eq!(check.intruder(&[shard(1, 5, &other)]), None);
    }

    #[test]
    fn shard_that_came_at_the_same_moment_with_other_keys_is_an_intruder() {
        let (mine, other) = (keys(&[1], &[1], &[1]), keys(&[9], &[1], &[1]));
        let mut check = KeyCheck::new(mine.clone(), TTL);
        assert_eq!(check.judge(at(0), &[]), Joining::Join { dead: vec![] });
        let intruder = check.intruder(&[shard(1, 1, &mine), shard(2, 1, &other)]);
        assert_eq!(intruder.map(|(_, kind)| kind), Some(KeyKind::Login));
    }

    #[test]
    fn shard_of_a_longer_ttl_is_watched_for_that_long_and_within_the_bound() {
        let (mine, other) = (keys(&[1], &[1], &[1]), keys(&[9], &[9], &[9]));
        let slow = |beat, ttl| ShardView {
            ttl,
            ..shard(1, beat, &other)
        };
        let mut check = KeyCheck::new(mine.clone(), TTL);
        let ttl = 5 * TTL;
        assert_eq!(check.judge(at(0), &[slow(5, ttl)]), Joining::Watch);
        assert_eq!(check.judge(at(4_999), &[slow(5, ttl)]), Joining::Watch);
        assert!(matches!(
            check.judge(at(5_000), &[slow(6, ttl)]),
            Joining::Refuse { .. }
        ));

        let mut check = KeyCheck::new(mine, TTL);
        assert_eq!(check.judge(at(0), &[slow(5, Duration::MAX)]), Joining::Watch);
        let bound = at(LeaseConfig::TTL_MS_MAX);
        let dead = vec![Nonce(1)];
        assert_eq!(check.judge(bound, &[slow(5, Duration::MAX)]), Joining::Join { dead });
    }

    #[test]
    fn entries_of_the_same_keys_that_were_watched_dead_are_named_and_the_living_are_not() {
        let (mine, other) = (keys(&[1], &[1], &[1]), keys(&[9], &[9], &[9]));
        let mut check = KeyCheck::new(mine.clone(), TTL);
        let shards = |beat| [shard(1, 5, &other), shard(2, 5, &mine), shard(3, beat, &mine)];
        assert_eq!(check.judge(at(0), &shards(1)), Joining::Watch);
        let dead = vec![Nonce(1), Nonce(2)];
        assert_eq!(check.judge(at(4_000), &shards(2)), Joining::Join { dead });
    }

    #[test]
    fn shard_with_other_keys_whose_beat_moves_is_told_of_once() {
        let (mine, other) = (keys(&[1], &[1], &[1]), keys(&[1], &[9], &[1]));
        let mut watch = KeyWatch::new(mine.clone());
        assert_eq!(watch.handle_shards(&[shard(1, 1, &other), shard(2, 1, &mine)]), []);
        let told = vec![Stranger {
            addr: SocketAddr::from(([192, 0, 2, 1], 4_001)),
            kind: KeyKind::Certificate,
        }];
        assert_eq!(watch.handle_shards(&[shard(1, 2, &other), shard(2, 2, &mine)]), told);
        assert_eq!(watch.handle_shards(&[shard(1, 3, &other)]), []);
        assert_eq!(watch.handle_shards(&[]), []);
        assert_eq!(
            watch.handle_shards(&[shard(1, 4, &other)]),
            [],
            "it left, and may be dead now"
        );
        assert_eq!(watch.handle_shards(&[shard(1, 5, &other)]), told);
    }
}

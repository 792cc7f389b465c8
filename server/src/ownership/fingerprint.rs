//! Fingerprints of a world's keys, as each shard announces them beside its address, and what a shard makes of the others' before it joins.
//! It derives none and reads no clock.
//!
//! Of each kind two keys may be good at a time, so that keys can be replaced while the world runs. Two shards are of one world if they have a
//! key of each kind in common: then tickets, certificates, and tokens that one of them makes can be good at the other. Fingerprints are part
//! of a shard's entry in the directory and go with it. A shard that was killed without a guardian leaves its entry behind; so an entry counts
//! only if its beat moves before our eyes, within one ttl.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::authority::ShardView;
use super::epoch::Nonce;

/// A hash of one key, from which the key cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A kind of keys that all shards of a world share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Public halves of the login service's keys.
    Login,
    /// Certificates.
    Certificate,
    /// Secrets behind tokens.
    Quic,
}

impl KeyKind {
    /// Every kind, in the order of [`KeyFingerprints`]' text.
    pub const ALL: [Self; 3] = [Self::Login, Self::Certificate, Self::Quic];
}

/// The keys that a shard takes as good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFingerprints([Vec<Fingerprint>; KeyKind::ALL.len()]);

impl KeyFingerprints {
    /// Of these keys.
    #[must_use]
    pub const fn new(login: Vec<Fingerprint>, certificates: Vec<Fingerprint>, quic: Vec<Fingerprint>) -> Self {
        Self([login, certificates, quic])
    }

    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: KeyKind) -> &[Fingerprint] {
        &self.0[kind as usize]
    }

    /// The first kind of which the two have nothing in common. A side that says nothing of a kind has no other.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> Option<KeyKind> {
        KeyKind::ALL.into_iter().find(|kind| {
            let (mine, theirs) = (self.of(*kind), other.of(*kind));
            !mine.is_empty() && !theirs.is_empty() && !mine.iter().any(|one| theirs.contains(one))
        })
    }
}

/// `0123456789abcdef,…;…;…`: kinds by semicolons, keys by commas.
impl fmt::Display for KeyFingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.0.each_ref();
        let kinds = kinds.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        f.write_str(&kinds.join(";"))
    }
}

/// Not the text of fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprints of keys")]
pub struct NoFingerprints;

impl FromStr for KeyFingerprints {
    type Err = NoFingerprints;

    /// An empty text is the word of a shard that says nothing of its keys.
    fn from_str(text: &str) -> Result<Self, NoFingerprints> {
        let mut fingerprints = Self::default();
        if text.is_empty() {
            return Ok(fingerprints);
        }
        let kinds: Vec<&str> = text.split(';').collect();
        if kinds.len() != KeyKind::ALL.len() {
            return Err(NoFingerprints);
        }
        for (keys, text) in fingerprints.0.iter_mut().zip(kinds) {
            for key in text.split(',').filter(|key| !key.is_empty()) {
                keys.push(Fingerprint(u64::from_str_radix(key, 16).map_err(|_| NoFingerprints)?));
            }
        }
        Ok(fingerprints)
    }
}

/// May this shard join the world?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Yes. The entries named are of shards with other keys that are dead.
    Join {
        /// Of whom.
        dead: Vec<Nonce>,
    },
    /// There are shards with other keys, and whether they live is not known yet: look again soon.
    Watch,
    /// No: a living shard has other keys.
    Refuse {
        /// Where it serves.
        addr: SocketAddr,
        /// Of which kind.
        kind: KeyKind,
    },
}

/// Watches the shards whose keys are not ours.
#[derive(Debug)]
pub struct KeyCheck {
    mine: KeyFingerprints,
    ttl: Duration,
    /// The beat of each, and when it was seen first.
    watched: BTreeMap<Nonce, (u64, Duration)>,
}

impl KeyCheck {
    /// Nobody was seen yet. A shard whose beat stands still for `ttl` is dead.
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
            let Some(kind) = self.mine.differs_from(&shard.keys) else {
                continue;
            };
            let (beat, since) = *self.watched.entry(shard.nonce).or_insert((shard.beat, now));
            if beat != shard.beat {
                return Joining::Refuse { addr: shard.addr, kind };
            }
            if now.saturating_sub(since) >= self.ttl {
                dead.push(shard.nonce);
            } else {
                is_all_known = false;
            }
        }
        if is_all_known {
            Joining::Join { dead }
        } else {
            Joining::Watch
        }
    }

    /// A shard with other keys that was not there when this one looked last, or lives: of two that come at once neither may stay.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn text_is_read_as_what_was_written() {
        for prints in [keys(&[1, u64::MAX], &[2], &[3, 4]), keys(&[], &[], &[7])] {
            assert_eq!(prints.to_string().parse(), Ok(prints));
        }
        assert_eq!("".parse(), Ok(KeyFingerprints::default()));
        for wrong in ["1", "1;2", "1;2;3;4", "x;2;3"] {
            assert_eq!(wrong.parse::<KeyFingerprints>(), Err(NoFingerprints), "{wrong}");
        }
    }

    #[test]
    fn shards_in_neighbouring_stages_of_a_rotation_are_of_one_world() {
        let (old, both, new) = (
            keys(&[1], &[1], &[1]),
            keys(&[1, 2], &[1, 2], &[1, 2]),
            keys(&[2], &[2], &[2]),
        );
        assert_eq!(old.differs_from(&both), None);
        assert_eq!(both.differs_from(&new), None);
        assert_eq!(old.differs_from(&new), Some(KeyKind::Login));
    }

    #[test]
    fn each_kind_is_told_apart_and_an_older_build_says_nothing() {
        let mine = keys(&[1], &[2], &[3]);
        assert_eq!(mine.differs_from(&keys(&[9], &[2], &[3])), Some(KeyKind::Login));
        assert_eq!(mine.differs_from(&keys(&[1], &[9], &[3])), Some(KeyKind::Certificate));
        assert_eq!(mine.differs_from(&keys(&[1], &[2], &[9])), Some(KeyKind::Quic));
        assert_eq!(mine.differs_from(&KeyFingerprints::default()), None);
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
}

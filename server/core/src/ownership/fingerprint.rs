//! Fingerprints of a world's keys, as each shard announces them beside its address. It derives none.
//!
//! Of each kind two keys may be valid at a time, so that keys can be replaced while the world runs. Two shards are of
//! one world if they have a key of each kind in common: then tickets, certificates, and tokens that one of them makes
//! can be valid at the other. Fingerprints are part of a shard's entry in the directory and go with it.

use std::fmt;
use std::str::FromStr;

/// A hash of one key, from which the key cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Certificates of the shards.
    Certificate,
    /// Secrets behind tokens.
    Quic,
}

impl KeyKind {
    /// Every kind, in the order of [`KeyFingerprints`]' text.
    pub const ALL: [Self; 3] = [Self::Login, Self::Certificate, Self::Quic];
}

/// Fingerprints of the keys that a shard accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyFingerprints([Vec<Fingerprint>; KeyKind::ALL.len()]);

impl KeyFingerprints {
    /// Returns the fingerprints of a shard, by kind.
    #[must_use]
    pub const fn new(login: Vec<Fingerprint>, certificates: Vec<Fingerprint>, quic: Vec<Fingerprint>) -> Self {
        Self([login, certificates, quic])
    }

    /// Returns the fingerprints of one kind.
    #[must_use]
    pub fn of(&self, kind: KeyKind) -> &[Fingerprint] {
        &self.0[kind as usize]
    }

    /// Returns the first kind of which the two have no key in common. A side that announces none of a kind differs in
    /// none.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> Option<KeyKind> {
        KeyKind::ALL.into_iter().find(|kind| {
            let (mine, theirs) = (self.of(*kind), other.of(*kind));
            !mine.is_empty() && !theirs.is_empty() && !mine.iter().any(|one| theirs.contains(one))
        })
    }
}

/// Writes `0123456789abcdef,…;…;…`: kinds by semicolons, keys by commas.
impl fmt::Display for KeyFingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.0.each_ref();
        let kinds = kinds.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        f.write_str(&kinds.join(";"))
    }
}

/// The text is not one of fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprints of keys")]
pub struct NoFingerprints;

impl FromStr for KeyFingerprints {
    type Err = NoFingerprints;

    /// Reads the text. An empty one is that of a shard that announces no keys. Further kinds are a later build's, and
    /// skipped.
    fn from_str(text: &str) -> Result<Self, NoFingerprints> {
        let mut fingerprints = Self::default();
        if text.is_empty() {
            return Ok(fingerprints);
        }
        let kinds: Vec<&str> = text.split(';').collect();
        if kinds.len() < KeyKind::ALL.len() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(login: &[u64], certificates: &[u64], quic: &[u64]) -> KeyFingerprints {
        let prints = |keys: &[u64]| keys.iter().copied().map(Fingerprint).collect();
        KeyFingerprints::new(prints(login), prints(certificates), prints(quic))
    }

    #[test]
    fn text_is_read_as_what_was_written() {
        for prints in [keys(&[1, u64::MAX], &[2], &[3, 4]), keys(&[], &[], &[7])] {
            assert_eq!(prints.to_string().parse(), Ok(prints));
        }
        assert_eq!("".parse(), Ok(KeyFingerprints::default()));
        for wrong in ["1", "1;2", "x;2;3"] {
            assert_eq!(wrong.parse::<KeyFingerprints>(), Err(NoFingerprints), "{wrong}");
        }
    }

    #[test]
    fn kinds_of_a_later_build_are_passed_over() {
        for later in ["1;2;3;4", "1;2;3;", "1;2;3;no number;5"] {
            assert_eq!(later.parse(), Ok(keys(&[1], &[2], &[3])), "{later}");
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
}

//! Entries of dead shards in the directory. A shard that died without a guardian does not withdraw itself, and every
//! shard would read its entry at every look for ever.
//!
//! An entry is removed when this process saw its beat stand still for two ttls without a gap: two of its own leases, or
//! of ours if they are longer ([`ShardView::longer_ttl`]). A time in which the directory could not be read, or took no
//! announcement of this shard, is a gap: others could not announce themselves either. A shard that was withdrawn and
//! lives enters itself again within a quarter of its ttl; nothing but where players may park hangs on it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ownership::grant::Nonce;
use crate::ownership::membership::ShardView;

/// Ttls for which a beat must stand still.
const TTLS: u32 = 2;

/// Watches the beats of all shards.
#[derive(Debug)]
pub(super) struct DeadShards {
    me: Nonce,
    ttl: Duration,
    /// A time between two looks that is longer than this is a gap.
    gap_max: Duration,
    seen_at: Duration,
    /// The beat of each other shard, and since when it is this.
    beats: BTreeMap<Nonce, (u64, Duration)>,
}

impl DeadShards {
    /// Returns a watch that has seen no shard yet.
    pub(super) const fn new(me: Nonce, ttl: Duration, gap_max: Duration) -> Self {
        Self {
            me,
            ttl,
            gap_max,
            seen_at: Duration::ZERO,
            beats: BTreeMap::new(),
        }
    }

    /// Takes what the directory shows at `now`. Returns the shard that is to be withdrawn: one at a time, so that a
    /// crowd of them holds up no renewal.
    pub(super) fn handle_shards(&mut self, now: Duration, shards: &[ShardView]) -> Option<Nonce> {
        let gap = now.saturating_sub(std::mem::replace(&mut self.seen_at, now));
        if gap > self.gap_max {
            self.beats.clear();
        }
        let mut beats = BTreeMap::new();
        let mut dead = None;
        for shard in shards.iter().filter(|shard| shard.nonce != self.me) {
            let known = self.beats.get(&shard.nonce).filter(|(beat, _)| *beat == shard.beat);
            let since = known.map_or(now, |(_, since)| *since);
            beats.insert(shard.nonce, (shard.beat, since));
            if now.saturating_sub(since) >= TTLS * shard.longer_ttl(self.ttl) {
                dead.get_or_insert(shard.nonce);
            }
        }
        self.beats = beats;
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::KeyFingerprints;

    const TTL: Duration = Duration::from_secs(4);
    const LOOK: Duration = Duration::from_millis(100);

    fn shard(nonce: u64, beat: u64, ttl: Duration) -> ShardView {
        ShardView {
            nonce: Nonce(nonce),
            addr: ([127, 0, 0, 1], 1).into(),
            beat,
            keys: KeyFingerprints::default(),
            ttl,
        }
    }

    /// Looks every 100 ms until `until`, with one gap of that length at 5 s. Returns when the shard was first found
    /// dead.
    fn found_at(shard_at: impl Fn(Duration) -> ShardView, gap: Duration, until: Duration) -> Option<Duration> {
        let mut watch = DeadShards::new(Nonce(1), TTL, Duration::from_secs(1));
        let mut now = Duration::ZERO;
        while now < until {
            if watch.handle_shards(now, &[shard_at(now)]).is_some() {
                return Some(now);
            }
            now += if now == Duration::from_secs(5) { gap } else { LOOK };
        }
        None
    }

    #[test]
    fn entry_is_dead_after_two_ttls_of_the_longer_kind_without_a_gap() {
        let (s, until) = (Duration::from_secs, Duration::from_secs(100));
        let still = |ttl| move |_| shard(2, 7, ttl);
        assert_eq!(found_at(still(TTL), LOOK, until), Some(s(8)));
        assert_eq!(
            found_at(still(Duration::ZERO), LOOK, until),
            Some(s(8)),
            "an entry of an earlier build"
        );
        assert_eq!(found_at(still(s(20)), LOOK, until), Some(s(40)));
        assert_eq!(
            found_at(still(TTL), s(2), until),
            Some(s(15)),
            "its beat counts anew after the gap"
        );
    }

    #[test]
    fn shard_that_lives_and_this_one_are_never_dead() {
        let beats = |now: Duration| shard(2, now.as_secs() / 5, Duration::from_secs(20));
        assert_eq!(found_at(beats, LOOK, Duration::from_secs(200)), None);
        assert_eq!(found_at(|_| shard(1, 7, TTL), LOOK, Duration::from_secs(200)), None);
    }
}

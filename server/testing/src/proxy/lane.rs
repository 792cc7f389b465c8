//! One direction of a network as a machine: it says when each piece arrives, holds no bytes, and is passed the time.

use std::time::{Duration, Instant};

use everhold_protocol::rng::SplitMix64;

use super::Way;

/// Packets that would wait for longer behind others, on a way with a rate, are lost.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// Pieces of a connection on a way with a rate, in a second: they dribble.
const PIECES_PER_S: u32 = 20;

/// Largest piece of a connection, bytes.
pub(super) const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The nature of what goes through a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cargo {
    /// Pieces of a connection: all arrive, in order.
    Bytes,
    /// Packets, each for itself.
    Packets,
}

/// One direction of a network, with its chance.
#[derive(Debug)]
pub(super) struct Lane {
    cargo: Cargo,
    chance: SplitMix64,
    /// The moment at which a way with a rate has let through what came before.
    free_at: Option<Instant>,
    /// The arrival of the last piece of a connection.
    last_at: Option<Instant>,
}

impl Lane {
    /// A lane whose chance is stream number `stream` of `seed`.
    pub(super) fn new(cargo: Cargo, seed: u64, stream: u64) -> Self {
        let mut first = SplitMix64::new(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self {
            cargo,
            // Neighbouring streams begin with related states; one step parts them.
            chance: SplitMix64::new(first.draw()),
            free_at: None,
            last_at: None,
        }
    }

    /// Takes `bytes` that came at `now`. Returns when they arrive; `None`: never.
    pub(super) fn admit(&mut self, now: Instant, bytes: usize, way: &Way) -> Option<Instant> {
        let is_lost = self.below(1_000) < u64::from(way.loss_per_mille) || way.is_stalled;
        if self.cargo == Cargo::Packets && is_lost {
            return None;
        }
        let mut at = now;
        if let Some(rate) = way.bytes_per_s {
            let begins = self.free_at.map_or(now, |free| free.max(now));
            if self.cargo == Cargo::Packets && begins - now > BACKLOG_MAX {
                return None;
            }
            at = begins + Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)));
            self.free_at = Some(at);
        }
        at += way.delay + self.up_to(way.jitter);
        if self.cargo == Cargo::Bytes {
            at = self.last_at.map_or(at, |last| last.max(at));
            self.last_at = Some(at);
        }
        Some(at)
    }

    /// Returns the largest piece that may be read of a connection.
    pub(super) fn piece_bytes(way: &Way) -> usize {
        let dribble = way.bytes_per_s.map(|rate| (rate / PIECES_PER_S).max(1) as usize);
        dribble.map_or(PIECE_BYTES_MAX, |bytes| bytes.min(PIECE_BYTES_MAX))
    }

    fn up_to(&mut self, span: Duration) -> Duration {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros + 1))
    }

    /// A number in `0..bound`; the bias does not matter to a fault.
    fn below(&mut self, bound: u64) -> u64 {
        self.chance.draw() % bound
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Cargo, Lane, Way};

    const MS: Duration = Duration::from_millis(1);

    fn arrivals(cargo: Cargo, seed: u64, way: &Way) -> Vec<Option<Duration>> {
        let (mut lane, origin) = (Lane::new(cargo, seed, 0), Instant::now());
        let sent = (0..1_000).map(|number| lane.admit(origin + number * MS, 100, way));
        sent.map(|at| at.map(|at| at - origin)).collect()
    }

    #[test]
    fn healthy_way_takes_no_time() {
        for cargo in [Cargo::Bytes, Cargo::Packets] {
            let expected: Vec<_> = (0..1_000).map(|number| Some(number * MS)).collect();
            assert_eq!(arrivals(cargo, 1, &Way::default()), expected);
        }
    }

    #[test]
    fn jitter_lets_packets_overtake_and_no_byte() {
        let way = Way {
            delay: 50 * MS,
            jitter: 30 * MS,
            ..Way::default()
        };
        for cargo in [Cargo::Bytes, Cargo::Packets] {
            let all: Vec<Duration> = arrivals(cargo, 7, &way).into_iter().flatten().collect();
            assert_eq!(all.len(), 1_000);
            for (number, at) in (0..).zip(&all) {
                let late = *at - number * MS;
                assert!(late >= 50 * MS && late <= 80 * MS, "{late:?}");
            }
            assert_eq!(all.is_sorted(), cargo == Cargo::Bytes);
        }
    }

    #[test]
    fn losses_are_those_of_the_seed_and_of_packets_alone() {
        let way = Way {
            loss_per_mille: 200,
            ..Way::default()
        };
        let lost = |cargo, seed| {
            let arrivals = arrivals(cargo, seed, &way);
            arrivals.iter().map(Option::is_none).collect::<Vec<_>>()
        };
        let count = lost(Cargo::Packets, 3).iter().filter(|lost| **lost).count();
        assert!((150..250).contains(&count), "{count} of 1,000");
        assert_eq!(lost(Cargo::Packets, 3), lost(Cargo::Packets, 3));
        assert_ne!(lost(Cargo::Packets, 3), lost(Cargo::Packets, 4));
        assert!(!lost(Cargo::Bytes, 3).contains(&true));
    }

    #[test]
    fn stalled_way_loses_packets_and_keeps_bytes() {
        let lost = |cargo| arrivals(cargo, 1, &Way::STALLED).iter().all(Option::is_none);
        assert!(lost(Cargo::Packets) && !lost(Cargo::Bytes));
    }

    #[test]
    fn way_with_a_rate_lets_through_so_much_and_packets_beyond_its_backlog_are_lost() {
        // 100 bytes a millisecond come, 20 get through.
        let way = Way {
            bytes_per_s: Some(20_000),
            ..Way::default()
        };
        let bytes = arrivals(Cargo::Bytes, 1, &way);
        assert_eq!(bytes[999], Some(Duration::from_secs(5)));
        let packets: Vec<_> = arrivals(Cargo::Packets, 1, &way).into_iter().flatten().collect();
        assert!(packets.len() < 500, "{}", packets.len());
        assert!(packets.iter().max() <= Some(&Duration::from_millis(2_010)));
    }

    #[test]
    fn slow_bytes_come_in_small_pieces() {
        let pieces = |bytes_per_s| {
            Lane::piece_bytes(&Way {
                bytes_per_s,
                ..Way::default()
            })
        };
        assert_eq!([pieces(None), pieces(Some(1)), pieces(Some(2_000))], [16_384, 1, 100]);
    }
}

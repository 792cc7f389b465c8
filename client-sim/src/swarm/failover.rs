//! Changes of owner as the players of a zone saw them, put together from each player's own crossing.

use std::collections::BTreeSet;

use everhold_protocol::Epoch;

use super::player::SwarmPlayer;
use super::tally::{Crossing, Tally};
use crate::meter::Durations;
use crate::report::{ZoneFailover, millis};

/// A player's zone, and the epochs it was shown, rising.
pub(super) type Seen<'a> = (usize, &'a [Epoch]);

/// Returns all changes of owner, by zone and epoch.
pub(super) fn failovers(players: &[SwarmPlayer], tally: &Tally) -> Vec<ZoneFailover> {
    let seen: Vec<Seen<'_>> = players.iter().map(|player| (player.zone(), player.epochs())).collect();
    let zones = tally.zones.iter().enumerate();
    zones
        .flat_map(|(zone, told)| of_zone(zone, told.name.as_str(), &seen, &tally.crossings))
        .collect()
}

fn of_zone(zone: usize, name: &str, seen: &[Seen<'_>], crossings: &[Crossing]) -> Vec<ZoneFailover> {
    let here = || {
        seen.iter()
            .filter(|(place, _)| *place == zone)
            .map(|(_, epochs)| *epochs)
    };
    let epochs: BTreeSet<Epoch> = here().flatten().copied().collect();
    let changes = epochs.iter().zip(epochs.iter().skip(1));
    changes
        .map(|(from, to)| {
            let before = || here().filter(|epochs| epochs.first().is_some_and(|first| first < to));
            let crossed: Vec<&Crossing> = crossings
                .iter()
                .filter(|crossing| crossing.zone == zone && crossing.to_epoch == *to)
                .collect();
            let gaps: Durations = crossed
                .iter()
                .map(|crossing| crossing.first_shown_at.saturating_sub(crossing.last_shown_at))
                .collect();
            ZoneFailover {
                zone: name.to_owned(),
                from_epoch: *from,
                to_epoch: *to,
                players: before().count(),
                resumed: before()
                    .filter(|epochs| epochs.last().is_some_and(|last| last >= to))
                    .count(),
                gap_ms: gaps.percentiles(),
                last_snapshot_at_ms: crossed.iter().map(|crossing| millis(crossing.last_shown_at)).collect(),
                silent_at_ms: crossed
                    .iter()
                    .filter_map(|crossing| crossing.silent_at.map(millis))
                    .collect(),
                attached_at_ms: crossed.iter().map(|crossing| millis(crossing.attached_at)).collect(),
                first_snapshot_at_ms: crossed.iter().map(|crossing| millis(crossing.first_shown_at)).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use everhold_protocol::Epoch;

    use super::{Crossing, Seen, ZoneFailover, of_zone};

    fn crossing(zone: usize, to_epoch: u32, gap_ms: u64) -> Crossing {
        let last_shown_at = Duration::from_millis(10_000);
        let first_shown_at = last_shown_at + Duration::from_millis(gap_ms);
        let silent_at = Some(last_shown_at + Duration::from_millis(250));
        Crossing {
            zone,
            from_epoch: Epoch(to_epoch - 1),
            to_epoch: Epoch(to_epoch),
            last_shown_at,
            silent_at,
            attached_at: first_shown_at,
            first_shown_at,
        }
    }

    /// Returns the failovers of zone 0, whose players were shown these epochs.
    fn failovers(shown: &[(usize, &[u32])], crossings: &[Crossing]) -> Vec<ZoneFailover> {
        let epochs = |numbers: &[u32]| numbers.iter().copied().map(Epoch).collect();
        let shown: Vec<(usize, Vec<Epoch>)> = shown.iter().map(|(zone, shown)| (*zone, epochs(shown))).collect();
        let seen: Vec<Seen<'_>> = shown.iter().map(|(zone, epochs)| (*zone, &epochs[..])).collect();
        of_zone(0, "meadow", &seen, crossings)
    }

    #[test]
    fn players_that_do_not_come_back_are_counted_and_not_resumed() {
        let seen: [(usize, &[u32]); 4] = [(0, &[1, 2]), (0, &[1, 2]), (0, &[1]), (1, &[1])];
        let found = failovers(&seen, &[crossing(0, 2, 900), crossing(0, 2, 1_100)]);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (one.from_epoch, one.to_epoch, one.players, one.resumed),
            (Epoch(1), Epoch(2), 3, 2)
        );
        assert!((one.gap_ms.max - 1_100.0).abs() < 2.0 && one.first_snapshot_at_ms.len() == 2);
        assert_eq!(one.silent_at_ms, [10_250.0, 10_250.0]);
    }

    #[test]
    fn player_that_skips_an_owner_has_resumed_from_both() {
        let seen: [(usize, &[u32]); 2] = [(0, &[1, 2, 3]), (0, &[1, 3])];
        let found = failovers(
            &seen,
            &[crossing(0, 2, 900), crossing(0, 3, 900), crossing(0, 3, 2_000)],
        );
        let counts: Vec<_> = found
            .iter()
            .map(|one| (one.to_epoch, one.players, one.resumed))
            .collect();
        assert_eq!(counts, [(Epoch(2), 2, 2), (Epoch(3), 2, 2)]);
    }

    #[test]
    fn owner_that_nobody_saw_is_no_failover() {
        // Granted epoch 2, and dead before it showed anybody anything.
        let seen: [(usize, &[u32]); 2] = [(0, &[1, 3]), (0, &[1, 3])];
        let found = failovers(&seen, &[crossing(0, 3, 900), crossing(0, 3, 950)]);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.from_epoch, one.to_epoch, one.resumed), (Epoch(1), Epoch(3), 2));
    }

    #[test]
    fn each_of_many_failovers_has_the_players_of_its_own_time() {
        // The second comes in late, the third is lost on the way to the last owner.
        let seen: [(usize, &[u32]); 3] = [(0, &[1, 2, 3, 4]), (0, &[2, 3, 4]), (0, &[1, 2, 3])];
        let crossings = [(2, 300), (2, 310), (3, 400), (3, 410), (3, 420), (4, 500), (4, 510)];
        let crossings = crossings.map(|(to_epoch, gap_ms)| crossing(0, to_epoch, gap_ms));
        let found = failovers(&seen, &crossings);
        let counts: Vec<_> = found.iter().map(|one| (one.players, one.resumed)).collect();
        assert_eq!(counts, [(2, 2), (3, 3), (3, 2)]);
        let longest: Vec<_> = found.iter().map(|one| one.gap_ms.max.round()).collect();
        assert_eq!(longest, [310.0, 420.0, 510.0]);
        let crossed: Vec<_> = found.iter().map(|one| one.first_snapshot_at_ms.len()).collect();
        assert_eq!(crossed, [2, 3, 2]);
    }

    #[test]
    fn player_lost_early_is_missing_from_every_later_failover() {
        let seen: [(usize, &[u32]); 2] = [(0, &[1, 2, 3, 4]), (0, &[1, 2])];
        let crossings = [2, 2, 3, 4].map(|to_epoch| crossing(0, to_epoch, 300));
        let found = failovers(&seen, &crossings);
        let counts: Vec<_> = found.iter().map(|one| (one.players, one.resumed)).collect();
        assert_eq!(counts, [(2, 2), (2, 1), (2, 1)]);
    }

    #[test]
    fn zone_that_keeps_its_owner_has_no_failover() {
        let seen: [(usize, &[u32]); 2] = [(0, &[4]), (1, &[1, 2])];
        assert_eq!(failovers(&seen, &[crossing(1, 2, 900)]), []);
    }
}

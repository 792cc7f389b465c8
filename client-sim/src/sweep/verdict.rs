//! Whether a server holds a number of players. It looks at figures and at nothing else.

use super::figures::SweepPoint;

/// The fewest ticks a second: of twenty, one in forty may be missing.
const TICK_HZ_MIN: f64 = 19.5;
/// Work of 99 in 100 ticks, ms: half of a tick's time, so that a burst does not make the next tick late.
pub(super) const TICK_MS_P99_MAX: f64 = 25.0;
/// Bound on the time from an intent to its effect for 99 in 100, ms: three ticks, beyond which a person feels it.
pub(super) const UPDATE_MS_P99_MAX: f64 = 150.0;

/// Returns the reasons why it does not hold; empty if it does.
pub(super) fn reasons(point: &SweepPoint) -> Vec<String> {
    let SweepPoint {
        server,
        update_latency_ms,
        lost_connections,
        errors,
        simulator,
        ..
    } = point;
    let mut reasons = Vec::new();
    // Not a number is no number that is good enough.
    let ticks_hold = server.tick_hz >= TICK_HZ_MIN;
    let work_holds = server.tick_ms.p99 < TICK_MS_P99_MAX;
    let latency_holds = update_latency_ms.p99 < UPDATE_MS_P99_MAX;
    if !ticks_hold {
        reasons.push(format!(
            "{:.2} ticks a second, of at least {TICK_HZ_MIN}",
            server.tick_hz
        ));
    }
    if !work_holds {
        reasons.push(format!(
            "tick work p99 {:.1} ms, below {TICK_MS_P99_MAX}",
            server.tick_ms.p99
        ));
    }
    if !latency_holds {
        reasons.push(format!(
            "update latency p99 {:.0} ms, below {UPDATE_MS_P99_MAX}",
            update_latency_ms.p99
        ));
    }
    if *lost_connections > 0 {
        reasons.push(format!("{lost_connections} connections were lost"));
    }
    if let Some(first) = errors.first() {
        reasons.push(format!("{} findings, the first: {first}", errors.len()));
    }
    let own = simulator.bottleneck.iter();
    reasons
        .extend(own.map(|why| format!("the simulator was the bottleneck, so this says nothing of the server: {why}")));
    reasons
}

#[cfg(test)]
mod tests {
    use super::{SweepPoint, reasons};
    use crate::meter::Percentiles;
    use crate::sweep::ServerFigures;

    fn p99(p99: f64) -> Percentiles {
        Percentiles {
            p50: 1.0,
            p99,
            max: 1_000.0,
        }
    }

    /// Just good enough, but for what a test changes.
    fn point(change: impl FnOnce(&mut SweepPoint)) -> Vec<String> {
        let mut point = SweepPoint {
            players: 100,
            update_latency_ms: p99(149.9),
            server: ServerFigures {
                tick_hz: 19.5,
                tick_ms: p99(24.9),
                ..ServerFigures::default()
            },
            ..SweepPoint::default()
        };
        change(&mut point);
        reasons(&point)
    }

    #[test]
    fn just_good_enough_holds() {
        assert_eq!(point(|_| {}), [] as [String; 0]);
    }

    #[test]
    fn each_limit_is_one_reason() {
        let bad = [
            (point(|p| p.server.tick_hz = 19.4), "19.40 ticks"),
            (point(|p| p.server.tick_hz = f64::NAN), "ticks a second"),
            (point(|p| p.server.tick_ms = p99(25.0)), "tick work"),
            (point(|p| p.update_latency_ms = p99(150.0)), "update latency"),
            (point(|p| p.lost_connections = 1), "1 connections were lost"),
            (
                point(|p| p.errors = vec!["player 7 ended".into(), "x".into()]),
                "player 7",
            ),
            (
                point(|p| p.simulator.bottleneck = vec!["late".into()]),
                "simulator was the bottleneck",
            ),
        ];
        for (reasons, word) in bad {
            assert!(reasons.len() == 1 && reasons[0].contains(word), "{reasons:?}");
        }
    }

    #[test]
    fn server_without_figures_does_not_hold() {
        assert!(!reasons(&SweepPoint::default()).is_empty());
    }
}

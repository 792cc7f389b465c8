//! The looks that an observer gets at the swarm. It changes nothing but the windows that start anew with each look.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use everhold_protocol::Epoch;

use super::config::{Control, SwarmPhase, SwarmProgress, ZoneProgress};
use super::player::{Life, SwarmPlayer};
use super::tally::Tally;
use crate::meter::Durations;
use crate::net::Traffic;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);

/// The moment of the last look, and the traffic by then.
pub(super) struct SwarmWatch {
    last_at: Instant,
    traffic: Traffic,
    running_since: Option<Instant>,
}

impl SwarmWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last_at: now,
            traffic: Traffic::default(),
            running_since: None,
        }
    }

    /// Counts the play from now on.
    pub(super) fn start_running(&mut self, now: Instant) {
        self.running_since = Some(now);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_at) >= PERIOD
    }

    /// Shows the observer how things are.
    pub(super) fn now(
        &mut self,
        phase: SwarmPhase,
        players: &[SwarmPlayer],
        tally: &mut Tally,
        traffic: Traffic,
        observer: &mut dyn FnMut(&SwarmProgress) -> Control,
    ) -> Control {
        let now = Instant::now();
        let window_s = now
            .saturating_duration_since(self.last_at)
            .as_secs_f64()
            .max(f64::MIN_POSITIVE);
        let spent = traffic.since(&self.traffic);
        (self.last_at, self.traffic) = (now, traffic);
        let attached = players.iter().filter(|player| *player.life() == Life::Playing).count();
        let per_player_s = |bytes: u64| bytes as f64 / attached.max(1) as f64 / window_s;
        let mut all = Durations::new();
        for zone in &tally.zones {
            all.merge(&zone.window);
        }
        observer(&SwarmProgress {
            phase,
            attached,
            players: tally.players,
            silent: players.iter().filter(|player| player.is_silent()).count(),
            running_for_s: self.running_since.map_or(0.0, |since| (now - since).as_secs_f64()),
            zones: zones(players, tally),
            update_latency_ms: all.percentiles(),
            bytes_down_per_player_s: per_player_s(spent.udp_bytes_in),
            bytes_up_per_player_s: per_player_s(spent.udp_bytes_out),
            failovers: tally.failovers(),
            errors: tally.errors.total(),
        })
    }
}

/// Each zone as its players see it; the latency windows start anew.
fn zones(players: &[SwarmPlayer], tally: &mut Tally) -> Vec<ZoneProgress> {
    let zones = tally.zones.iter_mut().enumerate().map(|(index, zone)| {
        let here = || {
            players
                .iter()
                .filter(|player| player.zone() == index && *player.life() == Life::Playing)
        };
        let epochs: BTreeSet<Epoch> = here().filter_map(|player| player.epochs().last().copied()).collect();
        let update_latency_ms = zone.window.percentiles();
        zone.window.clear();
        ZoneProgress {
            zone: zone.name.clone(),
            attached: here().count(),
            silent: here().filter(|player| player.is_silent()).count(),
            epochs: epochs.into_iter().collect(),
            update_latency_ms,
        }
    });
    zones.collect()
}

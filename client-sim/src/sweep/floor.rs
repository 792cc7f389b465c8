//! What a player-tick costs at least: plain UDP and AES-GCM for as many packets of the same sizes, measured by `udp-floor` on the CPUs and in
//! the minute of the run that it is compared with.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Point, SweepError};

/// Ticks in a second, as the server counts them.
const TICK_HZ: f64 = 20.0;

/// The floor of one number of players.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Floor {
    /// Computing time of a player-tick, microseconds: the median round.
    pub us_per_player_tick: f64,
    /// Datagrams to a player in a tick.
    pub out_per_tick: f64,
    /// Bytes of each.
    pub out_bytes: usize,
    /// Datagrams from a player in a tick.
    pub in_per_tick: f64,
    /// Bytes of each.
    pub in_bytes: usize,
    /// The server's computing time divided by this.
    #[serde(default)]
    pub ratio: f64,
}

/// Measures the floor for what the players of a point sent and got. The server must be gone: it would be in the way.
pub(super) fn measure(program: &Path, cpus: (usize, usize), point: &Point) -> Result<Floor, SweepError> {
    let fails = |problem: String| SweepError::Floor {
        program: program.to_owned(),
        problem,
    };
    let size = |bytes: f64, packets: f64| (bytes / packets.max(f64::MIN_POSITIVE)).round();
    let out_bytes = size(point.bytes_down_per_player_s, point.packets_down_per_player_s);
    let in_bytes = size(point.bytes_up_per_player_s, point.packets_up_per_player_s);
    let arguments = [
        ("--players", point.players as f64),
        ("--core", cpus.0 as f64),
        ("--players-core", cpus.1 as f64),
        ("--out-bytes", out_bytes),
        ("--in-bytes", in_bytes),
        ("--out-per-tick", point.packets_down_per_player_s / TICK_HZ),
        ("--in-per-tick", point.packets_up_per_player_s / TICK_HZ),
    ];
    let mut command = Command::new(program);
    for (name, value) in arguments {
        command.arg(name).arg(value.to_string());
    }
    let output = command.output().map_err(|error| fails(error.to_string()))?;
    if !output.status.success() {
        return Err(fails(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let told = told.lines().last().unwrap_or_default();
    let mut floor: Floor = serde_json::from_str(told).map_err(|error| fails(format!("{error} in {told:?}")))?;
    floor.ratio = point.server.cpu_us_per_player_tick / floor.us_per_player_tick.max(f64::MIN_POSITIVE);
    Ok(floor)
}

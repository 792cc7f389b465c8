//! The floor of a player-tick's cost: plain UDP and AES-GCM for as many packets of the same sizes, measured by
//! `udp-floor` on the CPUs and in the minute of the run that it is compared with.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::figures::{Floor, SweepPoint};
use super::{LOOK_EVERY, SweepConfig, SweepError};
use crate::net::UDP_HEADER_BYTES;

/// Whether the program can be run: better known before the first server starts than after the first number of players.
pub(super) fn check(program: &Path) -> Result<(), SweepError> {
    let mut command = Command::new(program);
    command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null());
    let outcome = match command.status() {
        Ok(status) if !status.success() => Err(io::Error::other(format!("it ended with {status}"))),
        outcome => outcome.map(|_| ()),
    };
    outcome.map_err(|source| SweepError::Floor {
        program: program.to_owned(),
        source,
    })
}

/// Measures the floor for what the players of a point sent and got, if that is ordered, they played, and the sweep is
/// not to stop. The server must be gone: it would be in the way.
pub(super) fn measure(config: &SweepConfig, point: &SweepPoint) -> Result<Option<Floor>, String> {
    let (Some(program), Some(server_cpu), Some(players_cpu)) = (&config.udp_floor, config.server_cpu, config.pin)
    else {
        return Ok(None);
    };
    let Some(arguments) = packets(point) else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.args(["--core", &server_cpu.to_string()]);
    command.args(["--players-core", &players_cpu.to_string()]);
    command.args(["--players", &point.players.to_string()]);
    for (name, value) in arguments {
        command.arg(name).arg(value.to_string());
    }
    let Some(output) = output(command, config).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let told = told.lines().last().unwrap_or_default();
    let mut floor: Floor = serde_json::from_str(told).map_err(|error| format!("{error} in {told:?}"))?;
    floor.ratio = point.server.cpu_us_per_player_tick / floor.us_per_player_tick.max(f64::MIN_POSITIVE);
    Ok(Some(floor))
}

/// Runs a program that says little. `None`: the sweep is to stop.
fn output(mut command: Command, config: &SweepConfig) -> io::Result<Option<Output>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A Ctrl-C is for the sweep, which then ends the program itself.
    let mut child = command.process_group(0).spawn()?;
    while child.try_wait()?.is_none() {
        if config.stops() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.wait_with_output().map(Some)
}

/// Returns the packets of a player-tick, as arguments: how many, and of how many bytes of payload. Ticks are counted as
/// the server counted them, also if they were fewer than they should be. `None`: there were none.
fn packets(point: &SweepPoint) -> Option<[(&'static str, f64); 4]> {
    let (down, up) = (point.packets_down_per_player_s, point.packets_up_per_player_s);
    let hz = point.server.tick_hz;
    let payload = |bytes: f64, packets: f64| (bytes / packets - UDP_HEADER_BYTES as f64).round();
    (down > 0.0 && up > 0.0 && hz > 0.0).then(|| {
        [
            ("--out-per-tick", down / hz),
            ("--out-bytes", payload(point.bytes_down_per_player_s, down)),
            ("--in-per-tick", up / hz),
            ("--in-bytes", payload(point.bytes_up_per_player_s, up)),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::packets;
    use crate::sweep::{ServerFigures, SweepPoint};

    #[test]
    fn packets_of_a_tick_are_payloads_of_the_ticks_there_were() {
        let mut point = SweepPoint {
            packets_down_per_player_s: 10.0,
            bytes_down_per_player_s: 1_580.0,
            packets_up_per_player_s: 5.0,
            bytes_up_per_player_s: 300.0,
            ..SweepPoint::default()
        };
        assert_eq!(packets(&point), None);
        point.server = ServerFigures {
            tick_hz: 16.0,
            ..ServerFigures::default()
        };
        let expected = [
            ("--out-per-tick", 0.625),
            ("--out-bytes", 150.0),
            ("--in-per-tick", 0.3125),
            ("--in-bytes", 52.0),
        ];
        assert_eq!(packets(&point), Some(expected));
        point.packets_up_per_player_s = 0.0;
        assert_eq!(packets(&point), None);
    }
}

//! A process as the kernel counts it: the time it has computed, and the memory it has. It reads tables of the kernel
//! and no more.

use std::fs;
use std::time::Duration;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessLook {
    /// Computed so far, by all its threads, in the program and in the kernel for it.
    pub(super) cpu: Duration,
    /// Memory that it has, bytes.
    pub(super) rss_bytes: u64,
}

/// Looks at a process; `None` if it is gone.
pub(super) fn look(pid: u32) -> Option<ProcessLook> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(ProcessLook {
        cpu: cpu(&stat, rustix::param::clock_ticks_per_second())?,
        rss_bytes: rss_bytes(&status)?,
    })
}

/// `pid (name) state …`, and the name may hold anything. User and kernel time are the 12th and 13th number after it.
fn cpu(stat: &str, ticks_per_s: u64) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_micros(ticks * 1_000_000 / ticks_per_s.max(1)))
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{cpu, look, rss_bytes};

    #[test]
    fn name_with_parentheses_is_no_obstacle() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 4 0 100 1 2 3";
        assert_eq!(cpu(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(cpu("77 (a) S 1", 100), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(rss_bytes("VmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2 * 1_024 * 1_024));
        assert_eq!(rss_bytes("Name: x\n"), None);
    }

    #[test]
    fn this_process_is_there_and_no_process_is_not() {
        let own = look(std::process::id()).unwrap();
        assert!(own.rss_bytes > 100_000);
        assert_eq!(look(u32::MAX), None);
    }
}

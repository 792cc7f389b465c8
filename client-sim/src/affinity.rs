//! CPU affinity: pins a thread to one CPU. A thread or process that it starts afterwards inherits the choice.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The kernel's list of CPUs that run, such as `0-1`.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Error of pinning a thread.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The machine has no such CPU, or this process may not use it.
    #[error("there is no CPU {cpu} to pin to; this machine runs CPUs {online}")]
    NoSuchCpu {
        /// The one asked for.
        cpu: usize,
        /// The CPUs that there are.
        online: String,
    },
    /// The kernel refused.
    #[error("cannot pin to CPU {cpu}")]
    Refused {
        /// The one asked for.
        cpu: usize,
        /// The system's answer.
        source: io::Error,
    },
}

/// Lets the calling thread run on CPU `cpu` and on no other, for the rest of its life.
pub fn pin_thread(cpu: usize) -> Result<(), PinError> {
    let mut only = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(no_such(cpu));
    }
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|error| match error {
        Errno::INVAL => no_such(cpu),
        error => PinError::Refused {
            cpu,
            source: error.into(),
        },
    })
}

fn no_such(cpu: usize) -> PinError {
    let online = fs::read_to_string(ONLINE).unwrap_or_else(|_| "of unknown numbers".to_owned());
    PinError::NoSuchCpu {
        cpu,
        online: online.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::{PinError, pin_thread};

    #[test]
    fn pinned_thread_may_run_on_one_cpu() {
        let allowed = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
        let after = std::thread::spawn(move || {
            pin_thread(cpu).unwrap();
            sched_getaffinity(None).unwrap()
        });
        let after = after.join().unwrap();
        assert!(after.count() == 1 && after.is_set(cpu));
    }

    #[test]
    fn cpu_that_is_not_there_is_refused_by_number() {
        for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, usize::MAX] {
            let error = pin_thread(cpu).unwrap_err();
            assert!(matches!(error, PinError::NoSuchCpu { .. }), "{error:?}");
            assert!(error.to_string().contains(&cpu.to_string()), "{error}");
        }
    }
}

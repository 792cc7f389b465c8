//! A directory for the processes of one run, which is removed when they have ended, however they ended.
//!
//! ```text
//!  this process ──┬── life: the write end of a pipe ──┬──► janitor: reads it to its end, then removes the directory
//!  its children ──┘         (inherited)               │
//!                                                     └── has its own process group: a kill of the others spares it
//! ```
//!
//! The kernel closes a process's end of the pipe whatever ends it, SIGKILL too.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};

/// First part of such a directory's name.
const PREFIX: &str = "everhold-";

/// The file that marks such a directory. A janitor removes no directory without it.
const MARK: &str = "removed-when-its-run-is-over";

/// Longest wait for the removal. All other processes have ended by then; removing some megabytes takes milliseconds.
const REMOVAL_MAX: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The subcommand of `everhold` that is a janitor.
pub const JANITOR: &str = "janitor";

/// A directory that a janitor removes. Every process that this one starts from now on keeps it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    life: Option<PipeWriter>,
    janitor: Child,
}

impl Scratch {
    /// Makes a directory, and starts `binary` as its janitor.
    pub fn new(binary: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        std::fs::write(dir.path().join(MARK), "")?;
        let (end, life) = io::pipe()?;
        let janitor = Command::new(binary)
            .arg(JANITOR)
            .arg(dir.path())
            .stdin(end)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        // The janitor has no copy of it; a process that is started later has.
        fcntl_setfd(&life, FdFlags::empty())?;
        Ok(Self {
            path: dir.keep(),
            life: Some(life),
            janitor,
        })
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    /// Waits for the removal, unless another process still lives: then it is for later.
    fn drop(&mut self) {
        self.life = None;
        let deadline = Instant::now() + REMOVAL_MAX;
        loop {
            match self.janitor.try_wait() {
                Ok(Some(status)) if status.success() => return,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                Ok(None) => {
                    tracing::warn!(path = %self.path.display(), "it is removed when its last process has ended");
                    return;
                }
                // The janitor was killed, and cannot do it.
                Ok(Some(_)) | Err(_) => {
                    if let Err(error) = remove(&self.path) {
                        tracing::error!(path = %self.path.display(), %error, "the directory is left behind");
                    }
                    return;
                }
            }
        }
    }
}

/// Runs the janitor: reads standard input to its end, then removes the directory.
pub fn clean_up_after(path: &Path) -> io::Result<()> {
    if !path.join(MARK).is_file() {
        return Err(io::Error::other("it is no directory of a run"));
    }
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    remove(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_that_is_none_of_a_run_is_not_removed() {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a directory");
        assert!(clean_up_after(dir.path()).is_err());
        assert!(dir.path().is_dir());
    }
}

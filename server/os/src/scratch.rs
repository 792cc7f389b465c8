//! A directory for the processes of one run, which is gone when they are, however they ended.
//!
//! ```text
//!  this process ──┬── life: the write end of a pipe ──┬──► janitor: reads to the end of the pipe, then removes the directory
//!  its children ──┘         (inherited)               │
//!                                                     └── a process group of its own: what kills the others passes it by
//! ```
//!
//! The kernel closes a process's end of the pipe whatever ends it, SIGKILL too.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};

/// What such a directory's name begins with.
const PREFIX: &str = "everhold-";

/// The file in it that says so. A janitor removes no directory without it.
const MARK: &str = "removed-when-its-run-is-over";

/// All processes have ended when this one waits; removing some megabytes takes milliseconds.
const REMOVAL_MAX: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The subcommand of `everhold` that is a janitor.
pub const JANITOR: &str = "janitor";

/// Such a directory. Every process that this one starts from now on keeps it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    life: Option<PipeWriter>,
    janitor: Child,
}

impl Scratch {
    /// Makes one, and starts `binary` as its janitor.
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
        // The janitor has no copy of it; whoever is started later has.
        fcntl_setfd(&life, FdFlags::empty())?;
        Ok(Self {
            path: dir.keep(),
            life: Some(life),
            janitor,
        })
    }

    /// Where it is.
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

/// The janitor: reads standard input to its end, then removes the directory.
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

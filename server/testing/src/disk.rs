//! A small disk for tests, which can be filled to its last byte and emptied again: a file system in memory. It needs
//! root; [`SmallDisk::new`] gives `None` without, so that the test is skipped.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::netns::note;

/// The beginning of the names under which the kernel lists these disks; then the process id of the test.
const NAME_PREFIX: &str = "everhold-test-disk-";

/// The file that fills a disk.
const BALLAST: &str = "ballast";

/// A small disk. Its content is gone with this value; end the processes that use it before.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Makes a disk of so many bytes at `path`, which is made, or `None` where this machine does not allow it: then the
    /// test, whose name is `test`, does without.
    #[must_use]
    pub fn new(test: &str, path: &Path, bytes: u64) -> Option<Self> {
        match Self::mount(path, bytes) {
            Ok(disk) => {
                note(&format!("{test}: runs on a disk of its own"));
                Some(disk)
            }
            Err(error) => {
                note(&format!(
                    "{test}: SKIPPED, there is no disk that can be full: {error:#}"
                ));
                None
            }
        }
    }

    fn mount(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        remove_stale();
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let name = format!("{NAME_PREFIX}{}", std::process::id());
        let size = format!("size={bytes}");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, &name])
            .arg(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Fills what is free on the disk.
    ///
    /// # Panics
    /// If it cannot be written to for another reason than being full.
    pub fn fill(&self) {
        let mut ballast = File::create(self.path.join(BALLAST)).expect("a name fits a full disk, too");
        // The last page as well: the size of a write halves until nothing fits.
        let mut block = vec![1; 1 << 20];
        while !block.is_empty() {
            match ballast.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => block.truncate(block.len() / 2),
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Panics
    /// If what fills it cannot be removed.
    pub fn free(&self) {
        match fs::remove_file(self.path.join(BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("the disk cannot be emptied: {error}"),
            _ => {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(&self.path)) {
            tracing::warn!(%error, "a disk was left behind");
        }
    }
}

/// Removes disks of tests that did not live to do it.
fn remove_stale() {
    for line in fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let pid = words.next().and_then(|name| name.strip_prefix(NAME_PREFIX));
        if let (Some(pid), Some(path)) = (pid, words.next())
            && !Path::new("/proc").join(pid).exists()
        {
            // Two tests may find the same one.
            let _removed_already = run(Command::new("umount").arg("--lazy").arg(path));
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} cannot be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_takes_no_byte_until_there_is_room_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let test = "full_disk_takes_no_byte_until_there_is_room_again";
        let Some(disk) = SmallDisk::new(test, &path, 1 << 20) else {
            return;
        };
        let file = path.join("file");
        disk.fill();
        let outcome = fs::write(&file, b"x");
        assert_eq!(outcome.expect_err("it is full").kind(), ErrorKind::StorageFull);
        disk.free();
        fs::write(&file, b"x").expect("there is room");
        drop(disk);
        assert!(!file.exists(), "its content is gone");
    }
}

//! A file that is written to when a zone is released, and watched by whoever would adopt it: the kernel says so within a millisecond.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

/// Room for the events of one read; each takes less than 64 bytes, and all of them mean the same.
const EVENTS_BYTES: usize = 1_024;

/// The file, and the watch on it.
#[derive(Debug)]
pub(super) struct Bell {
    path: PathBuf,
    file: File,
    watch: OwnedFd,
    /// Made at the first wait, for it belongs to the runtime that waits.
    waiting: OnceLock<AsyncFd<OwnedFd>>,
}

impl Bell {
    /// Opens, or makes, the bell of a directory. Releases are heard from now on.
    pub(super) fn open(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join("bell");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY)?;
        Ok(Self {
            path,
            file,
            watch,
            waiting: OnceLock::new(),
        })
    }

    /// Tells all that watch.
    pub(super) fn ring(&self) {
        // The byte is of no account: the file is emptied so that it does not grow, and either is a change.
        let rung = (&self.file).write_all(b".").and_then(|()| self.file.set_len(0));
        if let Err(error) = rung {
            tracing::warn!(path = %self.path.display(), %error, "a release is not told; spares will find it at their next look");
        }
    }

    /// Resolves when it has rung since the last time.
    pub(super) async fn wait(&self) {
        let Some(watch) = self.waiting() else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = watch.readable().await else {
                return std::future::pending().await;
            };
            let mut events = [MaybeUninit::uninit(); EVENTS_BYTES];
            let mut rang = false;
            while inotify::Reader::new(watch.get_ref(), &mut events).next().is_ok() {
                rang = true;
            }
            ready.clear_ready();
            if rang {
                return;
            }
        }
    }

    /// `None`, and it is said once, where there is no runtime to wait on: spares find releases at their next look.
    fn waiting(&self) -> Option<&AsyncFd<OwnedFd>> {
        if self.waiting.get().is_none() {
            let watch = self.watch.try_clone().and_then(registered);
            match watch {
                Ok(watch) => _ = self.waiting.set(watch),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "releases are not heard");
                    return None;
                }
            }
        }
        self.waiting.get()
    }
}

#[expect(
    deprecated,
    reason = "its successor is `unsafe` for descriptors that somebody else may close; this one is owned"
)]
fn registered(watch: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(watch)
}

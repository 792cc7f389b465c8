//! A file that is written to when a zone is released, and watched by the shards that would adopt it: the kernel says so
//! within a millisecond.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// Bytes for the events of one read; each takes less than 64 bytes, and all of them mean the same.
const EVENTS_BYTES: usize = 1_024;

/// The bell of a directory, also after the directory was made anew.
#[derive(Debug)]
pub(super) struct Bell {
    path: PathBuf,
    hung: Mutex<Arc<Hung>>,
    /// Wakes tasks that wait at a bell that was replaced.
    replaced: Notify,
}

/// The file, and the watch on it.
#[derive(Debug)]
struct Hung {
    file: File,
    watch: OwnedFd,
    /// The watch, made at the first wait, for it belongs to the runtime that waits.
    waiting: OnceLock<AsyncFd<OwnedFd>>,
}

impl Bell {
    /// Opens, or makes, the bell of a directory, and watches it from now on.
    pub(super) fn open(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join("bell");
        let hung = Mutex::new(Arc::new(Hung::open(&path)?));
        Ok(Self {
            path,
            hung,
            replaced: Notify::new(),
        })
    }

    /// Opens, or makes, the bell of a directory that was made anew.
    pub(super) fn hang_anew(&self) {
        match Hung::open(&self.path) {
            Ok(hung) => {
                *self.hung.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hung);
                self.replaced.notify_waiters();
            }
            Err(error) => self.warn_of_silence(&error),
        }
    }

    /// Rings: wakes all processes that watch the bell.
    pub(super) fn ring(&self) {
        // The byte is of no account: the file is emptied so that it does not grow, and either is a change.
        let hung = self.hung();
        let rung = (&hung.file).write_all(b".").and_then(|()| hung.file.set_len(0));
        if let Err(error) = rung {
            self.warn_of_silence(&error);
        }
    }

    /// Resolves when it has rung since the last time, or was replaced.
    pub(super) async fn wait(&self) {
        // From here on no replacement is missed.
        let replaced = self.replaced.notified();
        let hung = self.hung();
        tokio::select! {
            () = hung.wait(&self.path) => {}
            () = replaced => {}
        }
    }

    fn hung(&self) -> Arc<Hung> {
        Arc::clone(&self.hung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn_of_silence(&self, error: &std::io::Error) {
        tracing::warn!(
            path = %self.path.display(), %error,
            "releases are not told; spares will find them at their next look"
        );
    }
}

impl Hung {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
        Ok(Self {
            file,
            watch,
            waiting: OnceLock::new(),
        })
    }

    async fn wait(&self, path: &Path) {
        let Some(watch) = self.waiting(path) else {
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

    /// Makes the watch. `None`, with one log line, where there is no runtime to wait on: spares find releases at their
    /// next look.
    fn waiting(&self, path: &Path) -> Option<&AsyncFd<OwnedFd>> {
        if self.waiting.get().is_none() {
            let watch = self.watch.try_clone().and_then(registered);
            match watch {
                Ok(watch) => _ = self.waiting.set(watch),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "releases are not heard");
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

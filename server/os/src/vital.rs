//! Threads and tasks that a server cannot do without. If one panics, the process ends: without it the server would look
//! alive, hold its port and its zones, and serve no player, while others could adopt them.
//!
//! The end of a thread that is *not* vital is handled by another: a tick thread and a durable task end their zone, a
//! zone's file is opened by a new worker, an adoption is given up, and a guardian that hears nothing any more ends its
//! server.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::output;

/// A guard held as long as the vital thread or task lives; it ends the process if that panics.
#[derive(Debug)]
pub struct Vital(&'static str);

impl Vital {
    /// Returns a guard for the thread or task of this name. Keep it in a variable of the thread's function.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                part = self.0,
                "a vital part failed: this process ends, so that others adopt its zones"
            );
            end_process();
        }
    }
}

/// Runs a task on the current runtime that this process cannot do without.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        let _vital = Vital::new(name);
        task.await;
    })
}

/// Ends this process at once, as a failure; the last output is written, if there is a reader.
pub fn end_process() -> ! {
    output::stderr().flush();
    std::process::abort();
}

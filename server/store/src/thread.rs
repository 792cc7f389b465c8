//! A thread with a runtime of its own, on which the tasks of links to a server run: neither a busy transport nor the
//! other links can starve a renewal.

use std::future::Future;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread of links to a server. It ends when this is dropped; what runs on it then is given up.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Handle,
    _ends: oneshot::Sender<()>,
}

/// Error of a task that was given up: the thread ends, or the task panicked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the task was given up: {0}")]
pub(crate) struct TaskGone(String);

impl Thread {
    /// Starts the thread.
    pub(crate) fn start(name: &str) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The sender says nothing: it is dropped.
            let _dropped = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _ends: ends })
    }

    /// Runs a task on the thread and waits for it. If the caller stops waiting, the task goes on: what it has sent is
    /// sent.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TaskGone> {
        self.handle
            .spawn(task)
            .await
            .map_err(|error| TaskGone(error.to_string()))
    }

    /// Starts a task on the thread.
    #[cfg(feature = "redis")]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

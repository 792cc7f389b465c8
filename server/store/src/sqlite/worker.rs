//! A thread that owns a file. Jobs come through a bounded channel and run one after the other, so no async thread waits
//! for a disk.

use everhold_os::vital::Vital;
use tokio::sync::{mpsc, oneshot};

/// Bound on the jobs that wait for one file. A zone has a handful under way (an append, a part, a read); homes come in
/// crowds, and wait their turn.
const JOBS_MAX: usize = 64;

type Job<D> = Box<dyn FnOnce(&mut D) + Send>;

/// A handle to the thread of one file. The thread ends when all handles are dropped.
#[derive(Debug)]
pub(super) struct Worker<D> {
    jobs: mpsc::Sender<Job<D>>,
}

impl<D> Clone for Worker<D> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
        }
    }
}

/// Error of a thread that is gone, because a job panicked. What became of a job that was under way is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread of the file has ended")]
pub(super) struct WorkerGone;

impl<D: Send + 'static> Worker<D> {
    /// Starts the thread. One that panics is gone, and is replaced at the next use.
    pub(super) fn spawn(name: &str, data: D) -> std::io::Result<Self> {
        Self::start(name, data, None)
    }

    /// Starts a thread whose end is the end of the process: its file could not be opened anew.
    pub(super) fn spawn_vital(name: &'static str, data: D) -> std::io::Result<Self> {
        Self::start(name, data, Some(Vital::new(name)))
    }

    fn start(name: &str, mut data: D, vital: Option<Vital>) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job<D>>(JOBS_MAX);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _vital = vital;
            while let Some(job) = queue.blocking_recv() {
                job(&mut data);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Whether the thread has ended. Only a job that panicked ends it.
    pub(super) fn is_gone(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Runs `job` on the thread. Dropping the future does not stop a job that was handed over.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut D) -> T + Send + 'static,
    ) -> Result<T, WorkerGone> {
        let (answer, answered) = oneshot::channel();
        let job: Job<D> = Box::new(move |data| {
            // Nobody may be waiting any more; the job is done all the same.
            let _ = answer.send(job(data));
        });
        self.jobs.send(job).await.map_err(|_| WorkerGone)?;
        answered.await.map_err(|_| WorkerGone)
    }
}

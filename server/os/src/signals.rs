//! The signals that ask a process to stop: SIGTERM, SIGINT, and SIGHUP, and on request the end of its standard input.
//! The first one asks for a stop in good order; another one, [`SIGNAL_AGAIN_MS`] or more later, for an end at once.

use std::future::Future;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use everhold_core::limits::{SIGNAL_AGAIN_MS, STOP_MS_MAX};
use rustix::process::Signal as Number;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::output;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A stop in good order.
    Stop(Number),
    /// An end at once.
    EndNow(Number),
}

/// Whether the end of standard input is a request to stop, too: the process that started this one holds the other end
/// of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardInput {
    /// Its end means nothing.
    Ignored,
    /// It is a pipe, and its end counts as a SIGTERM.
    UntilItsEnd,
}

/// The requests, one after the other.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    input: Option<pipe::Receiver>,
    first: Option<Instant>,
}

impl Signals {
    /// Starts listening. Call it inside a runtime, before there is anything to stop.
    pub fn listen(input: StandardInput) -> std::io::Result<Self> {
        let input = match input {
            StandardInput::Ignored => None,
            StandardInput::UntilItsEnd => Some(pipe::Receiver::from_owned_fd(
                std::io::stdin().as_fd().try_clone_to_owned()?,
            )?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            input,
            first: None,
        })
    }

    /// Returns the next request. Dropping the future loses nothing.
    pub async fn wish(&mut self) -> Wish {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => Number::TERM,
                _ = self.interrupt.recv() => Number::INT,
                _ = self.hang_up.recv() => Number::HUP,
                () = end_of(&mut self.input) => {
                    self.input = None;
                    Number::TERM
                }
            };
            match self.first {
                None => {
                    self.first = Some(Instant::now());
                    return Wish::Stop(signal);
                }
                Some(first) if first.elapsed() >= Duration::from_millis(SIGNAL_AGAIN_MS) => {
                    return Wish::EndNow(signal);
                }
                Some(_) => {}
            }
        }
    }
}

/// Resolves at the end of the pipe; never without one. Its bytes are ignored.
async fn end_of(input: &mut Option<pipe::Receiver>) {
    let Some(input) = input else {
        return std::future::pending().await;
    };
    let mut bytes = [0; 64];
    // An error is an end, too: nothing more will come.
    while input.readable().await.is_ok() {
        match input.try_read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// The request of this process's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Number>>);

impl Stop {
    /// Listens for signals on a thread of its own, so that they are heard whatever the other threads do. After the
    /// first one it makes sure that the process ends: at the second one, or if [`STOP_MS_MAX`] is not enough to stop in
    /// good order.
    pub fn listen(input: StandardInput) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::listen(input)?
        };
        let (asked, asks) = watch::channel(None);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(see_to_the_end(&mut signals, &asked)))?;
        Ok(Self(asks))
    }

    /// Returns the signal that asked for a stop, if one did.
    #[must_use]
    pub fn asked(&self) -> Option<Number> {
        *self.0.borrow()
    }

    /// Resolves when a stop is asked for.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut asks = self.0.clone();
        async move {
            // Its sender lives as long as the process.
            let _thread_is_gone = asks.wait_for(Option::is_some).await;
        }
    }
}

async fn see_to_the_end(signals: &mut Signals, asked: &watch::Sender<Option<Number>>) {
    let (Wish::Stop(signal) | Wish::EndNow(signal)) = signals.wish().await;
    asked.send_replace(Some(signal));
    let code = match tokio::time::timeout(Duration::from_millis(STOP_MS_MAX), signals.wish()).await {
        Ok(Wish::Stop(again) | Wish::EndNow(again)) => {
            tracing::error!("asked to stop a second time: this process ends at once");
            exit_code(again)
        }
        Err(_) => {
            tracing::error!(ms = STOP_MS_MAX, "the stop takes too long: this process ends as it is");
            1
        }
    };
    output::stderr().flush();
    std::process::exit(i32::from(code));
}

/// Returns the exit code that a shell gives a process that a signal ended.
#[must_use]
pub fn exit_code(signal: Number) -> u8 {
    // Signals are numbered from 1 to 64.
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

//! The server's end of the line to its guardian.

use std::io::{ErrorKind, stdin};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use everhold_core::ownership::Holdings;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::orphan::{Orphan, end};

/// At its end a server waits so long for its last word to be sent; a guardian that is stopped may hold it up.
const FINISH_MAX: Duration = Duration::from_millis(100);

/// The lease keeper's link to the guardian, if there is one. Saying something never waits: a task sends the newest
/// state of things, and a guardian that does not read is sent less of it, not later.
pub struct GuardianLink {
    holdings: watch::Sender<Holdings>,
    line: Option<StdUnixStream>,
    /// The address on which this process listens, if a successor may want to listen there.
    listen: Option<SocketAddr>,
    speaking: Option<JoinHandle<()>>,
}

impl GuardianLink {
    /// Makes a link for a server without a guardian.
    #[must_use]
    pub fn none() -> Self {
        Self {
            holdings: watch::Sender::default(),
            line: None,
            listen: None,
            speaking: None,
        }
    }

    /// Standard input is the line: a guardian started this process.
    ///
    /// # Errors
    /// If it is no socket.
    pub fn inherited() -> std::io::Result<Self> {
        let line = StdUnixStream::from(stdin().as_fd().try_clone_to_owned()?);
        // What is no socket has no peer.
        line.peer_addr()?;
        line.set_nonblocking(true)?;
        Ok(Self {
            holdings: watch::Sender::default(),
            line: Some(line),
            listen: None,
            speaking: None,
        })
    }

    /// Notes that this process is to listen there. No successor asks for a port that the system chooses.
    pub fn note_listen(&mut self, listen: SocketAddr) {
        self.listen = Some(listen).filter(|listen| listen.port() != 0);
    }

    /// Begins to speak: at once when something changes, and every `every` to show that this runtime's thread lives.
    /// Call it inside the runtime of that thread.
    pub fn start(&mut self, every: Duration) -> std::io::Result<()> {
        if let Some(line) = self.line.take() {
            let line = UnixStream::from_std(line)?;
            self.speaking = Some(tokio::spawn(speak(line, self.holdings.subscribe(), every, self.listen)));
        }
        Ok(())
    }

    /// Says the last word: the runtime is about to end.
    pub async fn finish(&mut self) {
        // Without a sender the task says what is unsaid, and ends.
        self.holdings = watch::Sender::default();
        if let Some(speaking) = self.speaking.take()
            && tokio::time::timeout(FINISH_MAX, speaking).await.is_err()
        {
            tracing::warn!("the guardian does not listen: it may release once more what is released already");
        }
    }

    /// Says what is held now.
    pub fn tell(&self, holdings: Holdings) {
        self.holdings.send_replace(holdings);
    }
}

/// Speaks until the keeper has stopped. If the guardian ends before, this server is an orphan.
async fn speak(line: UnixStream, mut holdings: watch::Receiver<Holdings>, every: Duration, listen: Option<SocketAddr>) {
    let spoken = async {
        loop {
            let word = holdings.borrow_and_update().clone();
            say(&line, &word).await?;
            // The sender is gone when the keeper has stopped: nothing is held any more.
            if let Ok(Err(_)) = tokio::time::timeout(every, holdings.changed()).await {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    let error = tokio::select! {
        spoken = spoken => match spoken {
            Ok(()) => return,
            Err(error) => error,
        },
        error = end(&line) => error,
    };
    let orphan = listen.map(Orphan::listen).transpose();
    tracing::error!(
        %error,
        "the guardian is gone: this server goes on unguarded, and if it dies its zones wait for their ttl"
    );
    match orphan {
        Ok(orphan) => drop(orphan.map(|orphan| tokio::spawn(orphan.make_way()))),
        Err(error) => tracing::warn!(%error, "a shard that is started at this address must wait for this one's end"),
    }
}

async fn say(line: &UnixStream, word: &Holdings) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(word).map_err(std::io::Error::other)?;
    text.push(b'\n');
    let mut rest = &text[..];
    while !rest.is_empty() {
        line.writable().await?;
        match line.try_write(rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

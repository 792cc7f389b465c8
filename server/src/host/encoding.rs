//! Makes bytes of a zone's cut on a thread of the runtime's blocking pool: milliseconds of work in a large zone, for which neither ticks nor
//! appends wait.

use everhold_core::durability::store::Position;
use everhold_core::ownership::EndReason;
use everhold_core::zone::{Capture, Frozen};
use tokio::task::JoinHandle;

/// The cut that is being encoded, if there is one: the checkpointer asks for one at a time.
#[derive(Default)]
pub(super) struct Encoding(Option<(Position, JoinHandle<Capture>)>);

impl Encoding {
    /// Begins with a cut that was taken at `position`.
    pub(super) fn start(&mut self, position: Position, frozen: Frozen) {
        self.0 = Some((position, tokio::task::spawn_blocking(|| frozen.encode())));
    }

    /// Resolves when the cut is bytes; never, if there is none. Nothing is lost if it is not awaited to the end.
    pub(super) async fn finished(&mut self) -> Result<(Position, Capture), EndReason> {
        let Some((position, encode)) = &mut self.0 else {
            return std::future::pending().await;
        };
        let (position, capture) = (*position, encode.await);
        self.0 = None;
        match capture {
            Ok(capture) => Ok((position, capture)),
            Err(error) => Err(EndReason::Panicked(
                position.tick,
                format!("a cut was not encoded: {error}"),
            )),
        }
    }
}

//! A player's intents until no failover takes them back, and when each should have been sent. It sends none.

use std::collections::VecDeque;
use std::time::Duration;

use everhold_protocol::Epoch;

/// An intent that is not confirmed yet.
#[derive(Clone, Copy, Debug)]
struct UnconfirmedIntent {
    seq: u64,
    /// The moment when it should have been sent: the frame's own time, however late the loop was.
    intended: Duration,
    /// The epoch that the player was shown last, before it.
    epoch: Epoch,
    /// Whether a snapshot has shown its effect.
    is_shown: bool,
}

/// Intents in order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(VecDeque<UnconfirmedIntent>);

impl Unconfirmed {
    /// Adds the next intent.
    pub(super) fn push(&mut self, seq: u64, intended: Duration, epoch: Epoch) {
        self.0.push_back(UnconfirmedIntent {
            seq,
            intended,
            epoch,
            is_shown: false,
        });
    }

    /// Follows a client machine that numbers what is left anew, after so many inputs were lost.
    pub(super) fn renumber(&mut self, lost_inputs: u64) {
        for intent in &mut self.0 {
            intent.seq = intent.seq.saturating_sub(lost_inputs);
        }
    }

    /// Notes that a snapshot shows all intents up to this one, and returns those that are shown for the first time:
    /// when each should have been sent, and after which epoch.
    pub(super) fn show(&mut self, applied_seq: u64) -> impl Iterator<Item = (Duration, Epoch)> + '_ {
        let shown = self.0.iter_mut().take_while(move |intent| intent.seq <= applied_seq);
        shown.filter_map(|intent| {
            let is_new = !std::mem::replace(&mut intent.is_shown, true);
            is_new.then_some((intent.intended, intent.epoch))
        })
    }

    /// Takes out all intents up to this one, which are shown and confirmed, and returns the last of them. `each` is
    /// told when each should have been sent.
    pub(super) fn cover(&mut self, covered_seq: u64, mut each: impl FnMut(Duration)) -> Option<u64> {
        let mut last = None;
        while let Some(intent) = self.0.pop_front_if(|intent| intent.seq <= covered_seq) {
            each(intent.intended);
            last = Some(intent.seq);
        }
        last
    }
}

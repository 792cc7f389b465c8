//! The filter for frames that say nothing new to their zone. Most frames of a player who keeps going are such: they
//! end here, with the connection that is at hand anyway, and not in a tick that would look the session up for nothing.
//! It does not order frames or drop repeats of intents: that is the inbox's.

use std::time::Duration;

use everhold_protocol::ReceivedFrame;

/// Time after which an acknowledgement is passed on again: the inbox takes a small advance only when it has stood for
/// [`EVENT_ACK_TICKS_MAX`](crate::limits::EVENT_ACK_TICKS_MAX).
const AGAIN: Duration = Duration::from_secs(1);

/// Tells frames with news from those without, for one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewsFilter {
    /// The acknowledgement that was passed on last, and when.
    ack: Option<(u64, Duration)>,
}

impl NewsFilter {
    /// Whether a frame says anything that its zone may not have heard; if so, it counts as passed on. `now` is a time
    /// since any fixed origin.
    pub fn is_news(&mut self, frame: &ReceivedFrame, now: Duration) -> bool {
        let is_told = |(ack, at): (u64, Duration)| ack == frame.event_ack && now.saturating_sub(at) < AGAIN;
        if frame.intents.is_empty() && self.ack.is_some_and(is_told) {
            return false;
        }
        self.ack = Some((frame.event_ack, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::{Epoch, Heading, InputFrame, Intent, IntentError, SeqIntent, Tick};

    use super::*;

    fn frame(event_ack: u64, intents: Vec<SeqIntent<Result<Intent, IntentError>>>) -> ReceivedFrame {
        InputFrame {
            epoch: Epoch(1),
            snapshot_tick: Tick(9),
            event_ack,
            intents,
        }
    }

    #[test]
    fn frames_that_say_nothing_new_are_passed_on_once_a_second() {
        let mut filter = NewsFilter::default();
        let passed: Vec<u64> = (0..50)
            .map(|n| n * 50)
            .filter(|&ms| filter.is_news(&frame(3, Vec::new()), Duration::from_millis(ms)))
            .collect();
        assert_eq!(passed, [0, 1_000, 2_000]);
    }

    #[test]
    fn intents_and_new_acknowledgements_are_passed_on_at_once() {
        let mut filter = NewsFilter::default();
        let intent = SeqIntent {
            seq: 1,
            intent: Ok(Intent::Move(Heading::STILL)),
        };
        let mut is_news = |event_ack, intents| filter.is_news(&frame(event_ack, intents), Duration::ZERO);
        assert!(is_news(3, Vec::new()));
        assert!(
            is_news(3, vec![intent.clone()]),
            "whether it was heard is for the inbox to say"
        );
        assert!(is_news(3, vec![intent]));
        assert!(is_news(4, Vec::new()));
        assert!(!is_news(4, Vec::new()));
        assert!(is_news(3, Vec::new()), "an old frame that was overtaken");
    }
}

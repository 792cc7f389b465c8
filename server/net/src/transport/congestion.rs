//! Congestion control for a steady trickle: Cubic, with a floor under its window.
//!
//! quinn's Cubic falls to two packets when a path loses everything for a while. From there a stream of twenty datagrams
//! a second over a round trip of 200 ms, which has four on their way, is starved to one per round trip, although it
//! would never fill the window of a connection that has just begun. So the window never falls below that: what any
//! sender may have in flight before it knows its path (RFC 9002, 7.2). It is safe because this side offers no more than
//! its ticks have to say: one datagram a tick and connection, at most 24 kB/s at 20 ticks, far below what a sender with
//! such a window may send; an overloaded path sees that trickle, and no burst above the first flight of a new
//! connection. Retransmissions of control messages are bounded by the stream's send window, paced, and back off by
//! QUIC's probe time-out as ever.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use everhold_core::limits::WINDOW_BYTES_MIN;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Makes the controllers.
#[derive(Debug, Default)]
pub(super) struct FlooredCubicConfig(Arc<CubicConfig>);

impl ControllerFactory for FlooredCubicConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(FlooredCubic(Arc::clone(&self.0).build(now, current_mtu)))
    }
}

struct FlooredCubic(Box<dyn Controller>);

impl Controller for FlooredCubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.0.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.0.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.0.on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window().max(WINDOW_BYTES_MIN)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.0.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self(self.0.clone_box()))
    }

    fn initial_window(&self) -> u64 {
        self.0.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn window_of_a_path_that_lost_everything_still_holds_a_stream_of_datagrams() {
        let began = Instant::now();
        let mut controller = Arc::new(FlooredCubicConfig::default()).build(began, 1_200);
        assert_eq!(controller.window(), controller.initial_window());
        for second in 1..=20 {
            let now = began + Duration::from_secs(second);
            controller.on_congestion_event(now, now, true, 1_200);
        }
        assert_eq!(controller.window(), WINDOW_BYTES_MIN);
        assert_eq!(controller.clone_box().window(), WINDOW_BYTES_MIN);
        assert!(controller.window() <= controller.initial_window());
    }
}

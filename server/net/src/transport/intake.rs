//! The judgement on a peer's words: its `Hello`, then control messages and datagrams at a bounded rate. It reads no
//! stream and no clock.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use everhold_core::ingress::rate::{RateGuard, RateVerdict, TokenBucket};
use everhold_core::ingress::{Login, NewsFilter, Refusal, ResumeKeys, login};
use everhold_core::limits::DATAGRAMS_MALFORMED_MAX;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, HELLO_BYTES_MAX};
use everhold_protocol::message::{FrameDecoder, FrameError};
use everhold_protocol::{ClientMessage, InputFrame, ReceivedFrame, RefusalCode};

use super::TransportConfig;
use super::counters::TransportCounters;

/// A message of the control stream.
#[derive(Debug)]
pub(super) enum ControlMessage {
    /// The first message, verified.
    Hello(Login),
    /// The player ends the session.
    Logout,
}

/// Limits and keys by which a peer is judged, and the moment.
#[derive(Clone, Copy)]
pub(super) struct PeerPolicy<'a> {
    pub(super) config: &'a TransportConfig,
    pub(super) ticket_keys: &'a [VerifyingKey],
    pub(super) resume_keys: &'a ResumeKeys,
    pub(super) counters: &'a TransportCounters,
    /// The moment, counted from the transport's start.
    pub(super) now: Duration,
    /// Reads seconds since the Unix epoch; called only for a `Hello`.
    pub(super) unix_s: fn() -> u64,
}

/// The state of one peer's input: its control stream, its rates, and what it has told its zone.
pub(super) struct Intake {
    decoder: FrameDecoder,
    /// Set by a verified `Hello`.
    rates: Option<Rates>,
    news: NewsFilter,
}

struct Rates {
    datagrams: RateGuard,
    messages: RateGuard,
    malformed: TokenBucket,
}

impl Rates {
    fn new(config: &TransportConfig, now: Duration) -> Self {
        let guard = |per_s: u32, burst: u32| RateGuard::new(per_s, burst, config.rate_excess_s, now);
        Self {
            datagrams: guard(config.datagrams_per_s, config.datagrams_per_s),
            messages: guard(config.control_messages_per_s, 2 * config.control_messages_per_s),
            malformed: TokenBucket::new(1, DATAGRAMS_MALFORMED_MAX, now),
        }
    }
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            decoder: FrameDecoder::new(HELLO_BYTES_MAX),
            rates: None,
            news: NewsFilter::default(),
        }
    }

    /// Takes bytes of the control stream; their messages come out of [`Intake::next`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// Returns the next message; `None` until more bytes come.
    pub(super) fn next(&mut self, policy: &PeerPolicy<'_>) -> Result<Option<ControlMessage>, Refusal> {
        if self.rates.is_none()
            && let Some(hello) = self.decoder.peek().map_err(refusal_of)?
        {
            login::check_version(hello)?;
        }
        while let Some(message) = self.decoder.next::<ClientMessage>().map_err(refusal_of)? {
            let Some(rates) = &mut self.rates else {
                let login = login::check_hello(message, policy.ticket_keys, policy.resume_keys, (policy.unix_s)())?;
                self.decoder.set_bytes_max(CONTROL_BYTES_MAX);
                self.rates = Some(Rates::new(policy.config, policy.now));
                return Ok(Some(ControlMessage::Hello(login)));
            };
            policy.counters.control_in.bump();
            if !within_rate(rates.messages.judge(policy.now), "control messages")? {
                policy.counters.control_over_rate.bump();
                continue;
            }
            return match message {
                ClientMessage::Hello { .. } => Err(Refusal::new(RefusalCode::Malformed, "Hello may come only once")),
                ClientMessage::Logout => Ok(Some(ControlMessage::Logout)),
            };
        }
        Ok(None)
    }

    /// Whether the peer has sent a verified `Hello`.
    pub(super) const fn is_logged_in(&self) -> bool {
        self.rates.is_some()
    }

    /// Judges the end of the control stream. After a whole `Hello` the peer is served on.
    pub(super) fn on_stream_end(&self) -> Result<(), Refusal> {
        if self.rates.is_none() {
            return Err(self.on_stream_reset());
        }
        if self.decoder.is_between_messages() {
            Ok(())
        } else {
            let detail = "the control stream ended within a message";
            Err(Refusal::new(RefusalCode::Malformed, detail))
        }
    }

    /// Returns the refusal of a peer that has reset its control stream. After `Hello` that is a way to leave, answered
    /// with `Bye`.
    pub(super) fn on_stream_reset(&self) -> Refusal {
        match self.rates {
            None => Refusal::new(RefusalCode::Malformed, "the control stream ended before Hello"),
            Some(_) => Refusal::new(RefusalCode::Bye, ""),
        }
    }

    /// Judges a datagram of a peer that is logged in; `None` if it is dropped, and counted, or says nothing new.
    pub(super) fn datagram(
        &mut self,
        bytes: &Bytes,
        policy: &PeerPolicy<'_>,
    ) -> Result<Option<ReceivedFrame>, Refusal> {
        let Some(rates) = &mut self.rates else {
            return Ok(None);
        };
        policy.counters.datagrams_in.bump();
        if !within_rate(rates.datagrams.judge(policy.now), "datagrams")? {
            policy.counters.datagrams_over_rate.bump();
            return Ok(None);
        }
        let error = match InputFrame::decode(bytes) {
            Ok(frame) => return Ok(self.news.is_news(&frame, policy.now).then_some(frame)),
            Err(error) => error,
        };
        policy.counters.datagrams_malformed.bump();
        if rates.malformed.take(policy.now) {
            Ok(None)
        } else {
            let detail = format!("too many datagrams that are not of this protocol, the last because {error}");
            Err(Refusal::new(RefusalCode::Malformed, detail))
        }
    }
}

/// Whether to take what was judged, or the refusal of a peer that exceeds its rate for too long.
fn within_rate(verdict: RateVerdict, what: &str) -> Result<bool, Refusal> {
    match verdict {
        RateVerdict::Take => Ok(true),
        RateVerdict::Drop => Ok(false),
        RateVerdict::Close => Err(Refusal::new(
            RefusalCode::RateExceeded,
            format!("too many {what} for too long"),
        )),
    }
}

fn refusal_of(error: FrameError) -> Refusal {
    let code = match error {
        FrameError::TooLarge { .. } => RefusalCode::TooLarge,
        FrameError::TrailingBytes { .. } | FrameError::Decode(_) | FrameError::Encode(_) => RefusalCode::Malformed,
    };
    Refusal::new(code, error.to_string())
}

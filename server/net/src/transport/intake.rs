//! What a peer says, judged: its `Hello`, then control messages and datagrams at a bounded rate. It reads no stream and no clock.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use everhold_core::ingress::rate::{RateGuard, TokenBucket, Verdict};
use everhold_core::ingress::{NewsFilter, Login, Refusal, ResumeKeys, login};
use everhold_core::limits::DATAGRAMS_MALFORMED_MAX;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, HELLO_BYTES_MAX};
use everhold_protocol::message::{FrameDecoder, FrameError};
use everhold_protocol::{ClientMessage, InputFrame, ReceivedFrame, RefusalCode};

use super::TransportConfig;
use super::counters::TransportCounters;

/// What the control stream brought.
#[derive(Debug)]
pub(super) enum Said {
    /// The first message, and a good one.
    Hello(Login),
    /// The player ends the session.
    Logout,
}

/// By what a peer is judged, and when.
#[derive(Clone, Copy)]
pub(super) struct PeerPolicy<'a> {
    pub(super) config: &'a TransportConfig,
    pub(super) ticket_keys: &'a [VerifyingKey],
    pub(super) resume_keys: &'a ResumeKeys,
    pub(super) counters: &'a TransportCounters,
    /// Since the transport's origin of time.
    pub(super) now: Duration,
    /// Seconds since the Unix epoch, asked for only at a `Hello`.
    pub(super) unix_s: fn() -> u64,
}

/// One peer's words so far.
pub(super) struct Intake {
    decoder: FrameDecoder,
    /// Set by a good `Hello`.
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

    /// Takes bytes off the control stream; what they say comes out of [`Intake::next`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next thing that was said; `None` until more bytes come.
    pub(super) fn next(&mut self, policy: &PeerPolicy<'_>) -> Result<Option<Said>, Refusal> {
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
                return Ok(Some(Said::Hello(login)));
            };
            policy.counters.control_in.bump();
            if !within_rate(rates.messages.judge(policy.now), "control messages")? {
                policy.counters.control_over_rate.bump();
                continue;
            }
            return match message {
                ClientMessage::Hello { .. } => Err(Refusal::new(RefusalCode::Malformed, "Hello may come only once")),
                ClientMessage::Logout => Ok(Some(Said::Logout)),
            };
        }
        Ok(None)
    }

    /// Whether a good `Hello` was said.
    pub(super) const fn is_logged_in(&self) -> bool {
        self.rates.is_some()
    }

    /// The peer has ended its control stream in good order: it has no more to say on it. After a whole `Hello` it is served on.
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

    /// Why a peer is sent away that has broken off its control stream. After `Hello` it is how one leaves who can do no better.
    pub(super) fn on_stream_reset(&self) -> Refusal {
        match self.rates {
            None => Refusal::new(RefusalCode::Malformed, "the control stream ended before Hello"),
            Some(_) => Refusal::new(RefusalCode::Bye, ""),
        }
    }

    /// Judges a datagram of a peer that has said a good `Hello`; `None` if it is dropped, and counted, or says nothing new.
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

/// Whether to take what was judged.
fn within_rate(verdict: Verdict, what: &str) -> Result<bool, Refusal> {
    match verdict {
        Verdict::Take => Ok(true),
        Verdict::Drop => Ok(false),
        Verdict::Close => Err(Refusal::new(
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

//! A cell outside the World that says which input is being applied, so that a panic or a stall can be blamed on it.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use everhold_protocol::{EntityId, SessionId};

use crate::ingress::Input;

/// The input that was being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its place among the tick's inputs.
    pub index: usize,
    /// The intent's session and sequence number, if it is an intent.
    pub intent: Option<(SessionId, u64)>,
}

/// Written by the tick thread, readable by any other and after a panic. Empty while no input is being applied: a
/// failure then belongs to a system, and is found by trying prefixes of the tick's inputs.
#[derive(Debug, Default)]
pub struct Probe {
    /// Index + 1; zero is none.
    place: AtomicU64,
    session: AtomicU64,
    /// Zero is no intent: sequence numbers count from 1.
    seq: AtomicU64,
}

impl Probe {
    /// The input that is being applied, or was when the zone failed.
    #[must_use]
    pub fn suspect(&self) -> Option<Suspect> {
        let index = self.place.load(Ordering::Acquire).checked_sub(1)?;
        let seq = self.seq.load(Ordering::Relaxed);
        let intent = (seq != 0).then(|| (EntityId(self.session.load(Ordering::Relaxed)), seq));
        Some(Suspect {
            index: index as usize,
            intent,
        })
    }

    pub(crate) fn enter(&self, index: usize, input: &Input) {
        let (session, seq) = match input {
            Input::Intent { session, seq, .. } => (session.0, *seq),
            _ => (0, 0),
        };
        self.session.store(session, Ordering::Relaxed);
        self.seq.store(seq, Ordering::Relaxed);
        self.place.store(index as u64 + 1, Ordering::Release);
    }

    pub(crate) fn leave(&self) {
        self.place.store(0, Ordering::Release);
    }
}

/// Inputs of a tick from one of them on, and the probe that is told of each before it is applied.
#[derive(Clone, Copy, Debug)]
pub struct InputRun<'a> {
    inputs: &'a [Input],
    /// Place of the first among the tick's inputs.
    first: usize,
    probe: &'a Probe,
}

impl<'a> InputRun<'a> {
    pub(crate) fn new(inputs: &'a [Input], first: usize, probe: &'a Probe) -> Self {
        let inputs = &inputs[first..];
        Self { inputs, first, probe }
    }

    /// The inputs.
    #[must_use]
    pub const fn inputs(&self) -> &'a [Input] {
        self.inputs
    }

    /// Says that the input at `index` of the run is being applied now.
    #[inline]
    pub fn enter(&self, index: usize) {
        self.probe.enter(self.first + index, &self.inputs[index]);
    }
}

/// Returns the text of a caught panic.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

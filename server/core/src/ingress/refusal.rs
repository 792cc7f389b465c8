//! A refusal: what a client is told when its connection is closed. It decides nothing.

use std::fmt;

use everhold_protocol::RefusalCode;

/// A refusal, with its reason twice: a code by which the client decides what to do, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code, on which clients act.
    pub code: RefusalCode,
    /// The sentence. It tells a client nothing that its own message or credential does not say.
    pub detail: String,
}

impl Refusal {
    /// Pairs a code with its sentence.
    #[must_use]
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Refusal {}

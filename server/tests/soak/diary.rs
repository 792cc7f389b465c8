//! The diary of a soak: what happened, line by line, with its second. It is told if the soak fails.

use std::time::Instant;

/// The lines of a soak so far.
pub(crate) struct Diary {
    begun: Instant,
    lines: Vec<String>,
}

impl Diary {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            lines: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.lines
            .push(format!("{:8.2} {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

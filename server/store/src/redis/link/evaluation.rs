//! A command as it is sent to many keys: a plain one, or a script, which a server may not know yet.

use fred::types::Value;
use fred::types::scripts::Script;

use crate::redis::RedisError;

/// A command, or a script.
#[derive(Clone)]
pub(super) enum Evaluation {
    /// The command of this name.
    Command(&'static str),
    /// This script, by its hash: the first of its words.
    Script(Script),
}

impl Evaluation {
    /// Returns the command's name.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Command(name) => name,
            Self::Script(_) => "EVALSHA",
        }
    }

    /// Returns the command and the words by which a server that does not know the script runs it, and knows it from
    /// then on.
    pub(super) fn with_text(&self, mut words: Vec<Value>) -> (&'static str, Vec<Value>) {
        match self {
            Self::Command(name) => (name, words),
            Self::Script(script) => {
                words[0] = script.lua().cloned().map_or(Value::Null, Value::from);
                ("EVAL", words)
            }
        }
    }

    /// Whether the server does not know the script, as one that restarted: it has done nothing.
    pub(super) fn is_unknown_script(outcome: &Result<Value, RedisError>) -> bool {
        matches!(outcome, Err(RedisError::Command(error)) if error.details().starts_with("NOSCRIPT"))
    }
}

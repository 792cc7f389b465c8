//! The refusal of a world file, as an error. It checks nothing: each check stands beside what it checks.

/// The reason why a text is no rule book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not TOML, or not of this shape.
    #[error("rules: {0}")]
    Shape(String),
    /// A number that the rules cannot work with.
    #[error("rules: {0}")]
    Number(String),
}

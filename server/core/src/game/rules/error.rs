//! Why a world file is refused. It checks nothing: each check stands beside what it checks.

/// Why a text is no rule book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not TOML, or not of this shape.
    #[error("rules: {0}")]
    Shape(String),
    /// A number that the rules cannot work with.
    #[error("rules: {0}")]
    Number(String),
}

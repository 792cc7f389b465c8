//! The stamp of the rules that a zone runs, for those who must know whether they can run it. It holds no rules.

/// The id of rules: the hash of everything that decides what a record does to a zone.
pub type RulesId = [u8; 32];

/// The rules of a zone: their id, and what of a build they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RulesStamp {
    /// The id, of which code, layout, and all numbers are a part.
    pub id: RulesId,
    /// The version of the rules' code. A later one has a higher number.
    pub code: u32,
    /// The layout of the state, as captures name it.
    pub layout: u16,
}

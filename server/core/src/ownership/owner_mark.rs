//! The mark of an owner in its zone's lease: the rules that the zone runs, so that a contender claims only what it can
//! run, and the end of what the store acknowledged, so that a store that lost some of it is not taken for whole. It is
//! a hint: what an adopter finds in the zone's data decides.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use everhold_protocol::{Epoch, Tick};

use super::stamp::DataStamp;

/// The rules under which a process runs zones: the first eight bytes of their `rules_id`, of which the layout of state
/// is a part. Where they differ, the rules do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RulesTag(u64);

impl RulesTag {
    /// Takes the tag of a `rules_id`.
    #[must_use]
    pub const fn new(rules_id: &[u8; 32]) -> Self {
        let (first, _) = rules_id.split_first_chunk::<8>().expect("it is longer");
        Self(u64::from_be_bytes(*first))
    }
}

impl fmt::Display for RulesTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The mark of an owner that has its zone in memory, as of its last renewal. Data of another epoch may be of other
/// rules: the store may have lost that owner's, or an owner may have written since that left no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerMark {
    /// The owner's epoch, and the last tick that the store acknowledged. A store whose data ends before that lost the
    /// rest.
    pub data: DataStamp,
    /// The owner's rules.
    pub rules: RulesTag,
}

impl fmt::Display for OwnerMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.data.epoch.0, self.data.tick.0, self.rules)
    }
}

/// The text is not that of a mark.
#[derive(Debug, thiserror::Error)]
#[error("not an epoch, a tick, and a tag of rules")]
pub struct OwnerMarkError;

impl From<ParseIntError> for OwnerMarkError {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for OwnerMark {
    type Err = OwnerMarkError;

    fn from_str(text: &str) -> Result<Self, OwnerMarkError> {
        let (epoch, rest) = text.split_once(':').ok_or(OwnerMarkError)?;
        let (tick, rest) = rest.split_once(':').ok_or(OwnerMarkError)?;
        // A later build may say more behind these.
        let rules = rest.split(':').next().unwrap_or_default();
        Ok(Self {
            data: DataStamp {
                epoch: Epoch(epoch.parse()?),
                tick: Tick(tick.parse()?),
            },
            rules: RulesTag(u64::from_str_radix(rules, 16)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_read_as_it_was_written() {
        let mut rules_id = [0; 32];
        (rules_id[1], rules_id[7], rules_id[8]) = (0xab, 1, 9);
        let mark = OwnerMark {
            data: DataStamp {
                epoch: Epoch(7),
                tick: Tick(100),
            },
            rules: RulesTag::new(&rules_id),
        };
        assert_eq!(mark.to_string(), "7:100:00ab000000000001");
        assert_eq!(mark.to_string().parse::<OwnerMark>().unwrap(), mark);
    }

    #[test]
    fn words_that_a_later_build_adds_to_a_mark_are_passed_over() {
        let mark: OwnerMark = "7:100:00ab000000000001".parse().unwrap();
        assert_eq!("7:100:00ab000000000001:5:more".parse::<OwnerMark>().unwrap(), mark);
    }

    #[test]
    fn text_that_makes_no_sense_is_no_mark() {
        for text in [
            "",
            "-",
            "7",
            "7:",
            "7:1",
            "7:ab",
            ":1:ab",
            "-1:1:ab",
            "7:-1:ab",
            "7:1:xyz",
            "7:1:100ab000000000001",
            "7:1::3",
        ] {
            assert!(text.parse::<OwnerMark>().is_err(), "{text}");
        }
    }
}

//! The rules of a zone, as its lease names them, so that a contender claims only what it can run. They are a hint: what
//! an adopter finds in the zone's data decides.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use everhold_protocol::Epoch;

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

/// The mark of an owner that hosts its zone, in the zone's lease: the rules of the data that it writes. Data of another
/// epoch may be of other rules: the store may have lost that owner's, or an owner may have written since that left no
/// mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RulesMark {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The owner's rules.
    pub rules: RulesTag,
}

impl fmt::Display for RulesMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch.0, self.rules)
    }
}

/// The text is not that of a mark.
#[derive(Debug, thiserror::Error)]
#[error("not an epoch and a tag of rules")]
pub struct RulesMarkError;

impl From<ParseIntError> for RulesMarkError {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for RulesMark {
    type Err = RulesMarkError;

    fn from_str(text: &str) -> Result<Self, RulesMarkError> {
        let (epoch, rules) = text.split_once(':').ok_or(RulesMarkError)?;
        Ok(Self {
            epoch: Epoch(epoch.parse()?),
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
        let mark = RulesMark {
            epoch: Epoch(7),
            rules: RulesTag::new(&rules_id),
        };
        assert_eq!(mark.to_string(), "7:00ab000000000001");
        assert_eq!(mark.to_string().parse::<RulesMark>().unwrap(), mark);
    }

    #[test]
    fn text_that_makes_no_sense_is_no_mark() {
        for text in [
            "",
            "-",
            "7",
            "7:",
            ":ab",
            "-1:ab",
            "7:xyz",
            "7:100ab000000000001",
            "7:1:2",
        ] {
            assert!(text.parse::<RulesMark>().is_err(), "{text}");
        }
    }
}

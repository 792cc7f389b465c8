//! The seal of a zone: a field of its meta hash, "epoch tick hash rules code layout". Whether it counts, the data
//! beside it says.

use std::sync::LazyLock;

use everhold_core::durability::store::{Position, RecordHash, Seal, StoreError};
use everhold_core::ownership::{RulesStamp, Tenure};
use everhold_protocol::{Epoch, Tick};
use fred::types::scripts::Script;

use super::checkpoint::{hex, line_start, unhex};
use super::script::{done, grant_words};
use super::{RedisStore, zone_script};

static SEAL: LazyLock<Script> = zone_script!("lua/seal.lua");

impl RedisStore {
    pub(super) async fn seal_zone(&self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError> {
        let keys = self.zone_keys(&tenure.zone, &["meta", "chain"]);
        let mut words = grant_words(tenure.grant);
        words.push(line_start(seal.position).into());
        words.push(seal.position.tick.to_string().into());
        words.push(write(seal).into());
        done(&self.checkpoint.run(&SEAL, keys, words).await?)
    }
}

fn write(Seal { position, rules }: Seal) -> String {
    let RulesStamp { id, code, layout } = rules;
    format!("{}{} {code} {layout}", line_start(position), hex(RecordHash(id)))
}

/// Reads the field. `None`: it makes no sense.
pub(super) fn read(text: &str) -> Option<Seal> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    Some(Seal {
        position: Position {
            epoch: Epoch(word()?.parse().ok()?),
            tick: Tick(word()?.parse().ok()?),
            hash: unhex(word()?)?,
        },
        rules: RulesStamp {
            id: unhex(word()?)?.0,
            code: word()?.parse().ok()?,
            layout: word()?.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_later_build_adds_to_a_seal_are_passed_over() {
        let seal = Seal {
            position: Position {
                epoch: Epoch(3),
                tick: Tick(9),
                hash: RecordHash([7; 32]),
            },
            rules: RulesStamp {
                id: [8; 32],
                code: 2,
                layout: 4,
            },
        };
        let text = write(seal);
        assert_eq!(read(&text), Some(seal));
        assert_eq!(read(&format!("{text} and more")), Some(seal));
        assert_eq!(read(&text[..text.len() - 2]), None, "a word is missing");
    }
}

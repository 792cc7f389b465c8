//! The common parts of a zone's scripts: the words that they begin with, the answers that each may give, and the keys
//! and pages of a zone's data. No script is here.

use std::sync::LazyLock;

use everhold_core::durability::store::StoreError;
use everhold_core::ownership::Grant;
use everhold_protocol::{Epoch, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

use super::{RedisError, RedisStore};

/// The script reads only, so it raises no fence.
static PAGE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/page.lua")));

impl RedisStore {
    /// Returns the keys of a zone with these names, in their order.
    pub(super) fn zone_keys(&self, zone: &ZoneName, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| self.keys.zone(zone, name)).collect()
    }

    /// Reads one page of a zone's hash: the values of these fields, as far as they are there, if `reader` holds the
    /// fence.
    pub(super) async fn page(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        name: &str,
        fields: Vec<Value>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut words = reader.map_or_else(|| vec!["".into(), "".into()], grant_words);
        let asked = fields.len();
        words.extend(fields);
        let mut answer = self
            .checkpoint
            .run(&PAGE, self.zone_keys(zone, &["meta", name]), words)
            .await?;
        done(&answer)?;
        let values = answer.pop().map(Value::into_array).unwrap_or_default();
        if values.len() != asked {
            return Err(RedisError::Answer(format!("{} of {asked} values", values.len())).into());
        }
        Ok(values)
    }
}

/// Returns the first two words of every script that writes. The nonce is text, for Lua's numbers are doubles.
pub(super) fn grant_words(grant: Grant) -> Vec<Value> {
    vec![grant.epoch().to_string().into(), grant.nonce().0.to_string().into()]
}

/// Returns the refusal that the answer's first word says, if it is one that every script may give.
pub(super) fn refusal(answer: &[Value]) -> Option<StoreError> {
    let word = answer.first()?.as_str()?;
    let detail = || answer.get(1).and_then(Value::as_string).unwrap_or_default();
    match &*word {
        "LOST" => Some(StoreError::Lost),
        "BACK" => Some(StoreError::Unavailable(
            "the zone's fence went back while it was read".to_owned(),
        )),
        "FENCED" => Some(StoreError::Fenced {
            epoch: Epoch(detail().parse().unwrap_or(u32::MAX)),
        }),
        "PARENT" => Some(StoreError::ParentMoved),
        "CORRUPT" => Some(StoreError::Corrupt(detail())),
        _ => None,
    }
}

/// Whether a script's answer says that something is done, or was done before. Every other one says that nothing is.
pub(super) fn says_done(answer: &Value) -> bool {
    let word = match answer {
        Value::Array(words) => words.first().and_then(Value::as_str),
        _ => None,
    };
    matches!(word.as_deref(), Some("OK" | "DUPLICATE"))
}

/// Checks the answer of a script that has nothing to tell: `OK`, or a refusal.
pub(super) fn done(answer: &[Value]) -> Result<(), StoreError> {
    match refusal(answer) {
        Some(refusal) => Err(refusal),
        None if answer.first().and_then(Value::as_str).as_deref() == Some("OK") => Ok(()),
        None => Err(RedisError::Answer(format!("{answer:?}")).into()),
    }
}

//! The common parts of a zone's scripts: the words that they begin with, the answers that each may give, and the keys
//! and pages of a zone's data. No script is here.

use everhold_core::durability::store::StoreError;
use everhold_core::ownership::Grant;
use everhold_protocol::{Epoch, ZoneName};
use fred::types::Value;

use super::{RedisError, RedisStore};

impl RedisStore {
    /// Returns the keys of a zone with these names, in their order.
    pub(super) fn zone_keys(&self, zone: &ZoneName, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| self.keys.zone(zone, name)).collect()
    }

    /// Reads one page of a zone's hash: the values of these fields, as far as they are there.
    pub(super) async fn fields(
        &self,
        zone: &ZoneName,
        name: &str,
        fields: Vec<Value>,
    ) -> Result<Vec<Value>, RedisError> {
        let mut words = vec![self.keys.zone(zone, name).into()];
        words.extend(fields);
        Ok(self.checkpoint.command("HMGET", words).await?.into_array())
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
        "FENCED" => Some(StoreError::Fenced {
            epoch: Epoch(detail().parse().unwrap_or(u32::MAX)),
        }),
        "PARENT" => Some(StoreError::ParentMoved),
        "CORRUPT" => Some(StoreError::Corrupt(detail())),
        _ => None,
    }
}

/// Checks the answer of a script that has nothing to tell: `OK`, or a refusal.
pub(super) fn done(answer: &[Value]) -> Result<(), StoreError> {
    match refusal(answer) {
        Some(refusal) => Err(refusal),
        None if answer.first().and_then(Value::as_str).as_deref() == Some("OK") => Ok(()),
        None => Err(RedisError::Answer(format!("{answer:?}")).into()),
    }
}

//! Reading a setting of a server. It judges none.

use std::sync::Arc;

use fred::types::Value;

use super::RedisError;
use super::link::{RedisLink, RedisNode};

/// Reads a server's setting. `None`: it does not let us.
pub(super) async fn setting(
    link: &RedisLink,
    node: &Arc<RedisNode>,
    key: &'static str,
) -> Result<Option<String>, RedisError> {
    match link.command_at(node, "CONFIG", vec!["GET".into(), key.into()]).await {
        Ok(answer) => Ok(read(answer)),
        // A user may lack the right, and a provider the command.
        Err(RedisError::Command(error)) if ["NOPERM", "ERR"].iter().any(|word| error.details().starts_with(word)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the value of the only pair, if there is exactly one.
fn read(pairs: Value) -> Option<String> {
    match pairs {
        Value::Map(map) => map.inner().into_values().next()?.into_string(),
        pairs => pairs.into_array().pop()?.into_string(),
    }
}

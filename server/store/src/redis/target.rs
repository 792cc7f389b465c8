//! The target of a store: its URL, read strictly. The client takes what it knows of a URL and passes over the rest, so
//! that `?db=2` would be a world in the wrong database, without a word.

use std::sync::Arc;

use fred::types::RespVersion;
use fred::types::config::Config;

use super::{KeyNames, RedisError};

/// Schemes, and what may be asked for in their query.
const SCHEMES: [(&str, &[&str]); 6] = [
    ("redis", &[]),
    ("rediss", &[]),
    ("redis-sentinel", SENTINEL_KEYS),
    ("rediss-sentinel", SENTINEL_KEYS),
    ("redis-cluster", CLUSTER_KEYS),
    ("rediss-cluster", CLUSTER_KEYS),
];
const SENTINEL_KEYS: &[&str] = &["sentinelServiceName", "sentinelUsername", "sentinelPassword", "node"];
const CLUSTER_KEYS: &[&str] = &["node"];

/// A Redis, and a world in it.
#[derive(Clone)]
pub struct RedisTarget {
    pub(super) config: Config,
    namespace: Arc<str>,
}

impl RedisTarget {
    /// Reads a URL. `namespace` begins every key: several worlds may share a Redis.
    pub fn new(url: &str, namespace: &str) -> Result<Self, RedisError> {
        check(url)?;
        let mut config = Config::from_url(url).map_err(|error| RedisError::Url(reason(error.details())))?;
        // Its first word on a connection is `HELLO`; that of the older protocol is `PING`, which a server that cannot
        // save refuses as if it were a write.
        config.version = RespVersion::RESP3;
        // A server that is not there at the start is an error that a person should see at once.
        config.fail_fast = true;
        Ok(Self {
            config,
            namespace: namespace.into(),
        })
    }

    /// Returns the same target with this password, which is the one of the URL's user, or of the default user. A URL
    /// that has one already is refused.
    pub fn with_password(mut self, password: String) -> Result<Self, RedisError> {
        if self.config.password.is_some() {
            return Err(RedisError::Url(
                "it holds a password, and so does the password file: only one of them may".to_owned(),
            ));
        }
        self.config.password = Some(password);
        Ok(self)
    }

    pub(super) fn keys(&self) -> KeyNames {
        KeyNames(Arc::clone(&self.namespace))
    }
}

/// Refuses what the client would misread or pass over. No message repeats a part of the URL that may be of a password.
fn check(url: &str) -> Result<(), RedisError> {
    let refuse = |why: String| Err(RedisError::Url(why));
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let Some((_, known)) = SCHEMES.iter().find(|(name, _)| *name == scheme) else {
        return refuse(
            "it must begin with redis://, rediss:// (TLS), redis-sentinel://, rediss-sentinel://, redis-cluster://, or \
             rediss-cluster://"
                .to_owned(),
        );
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let after = &rest[authority.len()..];
    if after.contains('@') || authority.matches('@').count() > 1 {
        return refuse(
            "a user or password with one of / ? # @ : % in it must be percent-encoded: / is %2F, ? is %3F, # is %23, \
             @ is %40, : is %3A, % is %25"
                .to_owned(),
        );
    }
    if after.contains('#') {
        return refuse("nothing may follow a #".to_owned());
    }
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let database = path.trim_start_matches('/');
    if !database.is_empty() && database.parse::<u8>().is_err() {
        return refuse("what follows the / after the address must be a database's number, 0 to 255".to_owned());
    }
    if scheme.ends_with("-cluster") && !matches!(database, "" | "0") {
        return refuse("a Cluster has no database but 0".to_owned());
    }
    for key in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = key.split('=').next().unwrap_or_default();
        if !known.contains(&key) {
            return refuse(unknown_key(scheme, key, known));
        }
    }
    Ok(())
}

fn unknown_key(scheme: &str, key: &str, known: &[&str]) -> String {
    if ["db", "database"].contains(&key.to_ascii_lowercase().as_str()) {
        return format!("it has no key `{key}`: a database is chosen by its path, as in {scheme}://HOST:PORT/2");
    }
    let nearest = known
        .iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&known.to_lowercase(), &key.to_lowercase()),
                known,
            )
        })
        .min();
    match nearest {
        Some((_, nearest)) => format!("a {scheme}:// URL has no key `{key}`; did you mean `{nearest}`?"),
        None => format!("a {scheme}:// URL has no keys, not `{key}` either"),
    }
}

/// Puts an error of the client into words.
fn reason(details: &str) -> String {
    // Of a port in a `node`.
    if details.starts_with("Invalid integer string") {
        "a port is no number from 1 to 65535".to_owned()
    } else {
        details.to_owned()
    }
}

//! The target of an archive on PostgreSQL: its URL, with what every connection of ours has set. It connects nowhere.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::PostgresError;
use crate::archive_place::is_postgres_url;

/// Longest wait for a connection to each address. A server that is there answers within a round trip.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Silence after which the system asks whether the other side of a connection is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Period of these questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// Unanswered questions after which a connection is over: half a minute after it was last heard.
const KEEPALIVE_TRIES: u32 = 4;

/// Longest time that sent bytes may stay unacknowledged: as long as the questions take.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresTarget {
    pub(super) config: Config,
}

impl PostgresTarget {
    /// Reads a URL: `postgres://USER@HOST:PORT/DATABASE`, with several hosts if they follow each other. A server that
    /// takes no writes is passed over.
    ///
    /// # Errors
    /// It is no such URL, or asks for TLS.
    pub fn new(url: &str) -> Result<Self, PostgresError> {
        let refuse = |why: &str| Err(PostgresError::Url(why.to_owned()));
        if !is_postgres_url(url) {
            return refuse("it must begin with postgres:// or postgresql://");
        }
        // The client's message names the parameter and no value.
        let mut config: Config = match url.parse() {
            Ok(config) => config,
            Err(error) => return refuse(&super::failure::text(&error)),
        };
        if config.get_ssl_mode() == SslMode::Require {
            return refuse("it asks for TLS (sslmode), which this build has not: use a tunnel or a private network");
        }
        if config.get_user().is_none() {
            return refuse("it must name a user, as in postgres://USER@HOST/DATABASE");
        }
        if config.get_application_name().is_none() {
            config.application_name("everhold");
        }
        config
            .ssl_mode(SslMode::Disable)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_MAX)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_EVERY)
            .keepalives_retries(KEEPALIVE_TRIES)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX);
        Ok(Self { config })
    }

    /// Returns the same target with this password. A URL that has one already is refused.
    ///
    /// # Errors
    /// The URL has a password.
    pub fn with_password(mut self, password: &str) -> Result<Self, PostgresError> {
        if self.config.get_password().is_some() {
            return Err(PostgresError::Url(
                "it holds a password, and so does the password file: only one of them may".to_owned(),
            ));
        }
        self.config.password(password);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match PostgresTarget::new(url) {
            Err(PostgresError::Url(why)) => why,
            other => panic!("{url} is not refused: {other:?}"),
        }
    }

    #[test]
    fn urls_of_databases_are_read() {
        for url in [
            "postgres://a@b/c",
            "postgresql://a:p%40w@h1:5432,h2:5433/c?application_name=x",
        ] {
            assert!(PostgresTarget::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn urls_that_would_be_misread_are_refused_and_not_repeated() {
        assert!(refusal("redis://a@b/c").contains("must begin with"));
        assert!(refusal("postgres://b/c").contains("must name a user"));
        assert!(refusal("postgres://a@b/c?sslmode=require").contains("TLS"));
        let why = refusal("postgres://a:geheim@b/c?statement_timeouts=3");
        assert!(!why.contains("geheim"), "{why}");
    }

    #[test]
    fn password_is_given_once() {
        let target = |url| PostgresTarget::new(url).expect("a target");
        assert!(target("postgres://a@b/c").with_password("p").is_ok());
        assert!(target("postgres://a:q@b/c").with_password("p").is_err());
    }
}

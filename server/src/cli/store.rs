//! Where a world is, as every command that needs one is told: flags, environment, a file, in this order.

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::config::{ConfigError, RawConfig};
use crate::io::redis::holds_password;

/// Where state store and authority are. What is left out comes from the environment, the file, or the defaults.
#[derive(Args)]
pub(super) struct StoreArguments {
    /// Directory of the embedded state store and authority.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where state store and authority are, if not in `--state`: redis://HOST:PORT and the like, without a password.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// A file that holds the password for `--store` and that nobody else can read.
    #[arg(long, value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// What the keys in Redis begin with.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// A TOML file with any of the configuration's keys.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl StoreArguments {
    /// The defaults, with what file and environment say laid over them.
    pub(super) fn layers(&self) -> Result<RawConfig, UsageError> {
        if let Some(url) = &self.store {
            refuse_password(url)?;
        }
        let mut raw = RawConfig::default();
        if let Some(path) = &self.config {
            let usage = |error: String| UsageError(format!("configuration file {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
            raw = raw.with_text(&text).map_err(|error| usage(error.to_string()))?;
        }
        raw.with_env(std::env::vars_os())
            .map_err(|error| UsageError(error.to_string()))
    }

    /// Lays the flags over those.
    pub(super) fn set(&self, raw: &mut RawConfig) -> Result<(), ConfigError> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let flags = [
            ("shard", "state", self.state.as_ref().map(path)),
            ("store", "url", self.store.clone()),
            ("store", "password_file", self.store_password_file.as_ref().map(path)),
            ("store", "namespace", self.namespace.clone()),
        ];
        for (section, key, text) in flags {
            if let Some(text) = text {
                raw.set_text(section, key, &text)?;
            }
        }
        Ok(())
    }
}

/// Refuses a URL from the command line that holds a password, or may.
pub(super) fn refuse_password(url: &str) -> Result<(), UsageError> {
    if holds_password(url) {
        return Err(UsageError(
            "--store: a password in a command line is in the process list for every user of this host; leave it out and name a file that \
             holds it with --store-password-file (store.password_file, mode 600), or put the whole URL into the environment variable \
             EVERHOLD_STORE_URL"
                .to_owned(),
        ));
    }
    Ok(())
}

//! The place of a world, as every command that needs one is told: flags, environment, a file, in this order.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use everhold_core::ownership::lease::LeaseConfig;
use serde::Deserialize;

use super::UsageError;
use crate::config::{ArchiveConfig, ConfigError, Places, RawConfig};
use crate::stores::{self, holds_password};

/// The place of a world. What is left out comes from the environment, the file, or the defaults.
#[derive(Args, Default)]
pub(super) struct StoreArguments {
    /// Directory of what is embedded: state store, authority, or both.
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// URL of the state store, if it is not in `--state`: redis://HOST:PORT and the like, without a password.
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
    /// A file that holds the password for `--store` and that only its owner can read.
    #[arg(long, value_name = "FILE")]
    pub(super) store_password_file: Option<PathBuf>,
    /// Place of the authority, if not with the state store: a URL of Redis, without a password, or file:DIRECTORY.
    #[arg(long, value_name = "URL")]
    pub(super) authority: Option<String>,
    /// A file that holds the password for `--authority` and that only its owner can read.
    #[arg(long, value_name = "FILE")]
    pub(super) authority_password_file: Option<PathBuf>,
    /// Prefix of the keys in Redis.
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// A TOML file with any of the configuration's keys.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl StoreArguments {
    /// The defaults, with what file and environment say laid over them.
    pub(super) fn layers(&self) -> Result<RawConfig, UsageError> {
        for (section, url) in [("store", &self.store), ("authority", &self.authority)] {
            if let Some(url) = url {
                refuse_password(section, url)?;
            }
        }
        let mut raw = RawConfig::default();
        if let Some(path) = &self.config {
            let usage = |error: String| UsageError(format!("configuration file {}: {error}", path.display()));
            let read = || {
                let mut file = File::open(path)?;
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok::<_, std::io::Error>((text, stores::others_mode(&file)?))
            };
            let (text, others) = read().map_err(|error| usage(error.to_string()))?;
            raw = raw.with_text(&text).map_err(|error| usage(error.to_string()))?;
            for section in ["store", "authority"] {
                let url = raw.text(section, "url").unwrap_or_default();
                if let Some(mode) = others.filter(|_| holds_password(url)) {
                    return Err(usage(format!(
                        "`{section}.url` holds a password, and others can read it (mode {mode:o}): run chmod 600 on \
                         the file, or name one that holds the password and that nobody else can read \
                         ({section}.password_file)"
                    )));
                }
            }
        }
        raw.with_env(std::env::vars_os())
            .map_err(|error| UsageError(error.to_string()))
    }

    /// Resolves where the world is kept: flags over environment over file. Their other keys are for shards.
    pub(super) fn resolve(&self) -> Result<Places, UsageError> {
        let mut raw = self.layers()?;
        let resolved = self.set(&mut raw).and_then(|()| raw.resolve_places());
        resolved.map_err(|error| UsageError(error.to_string()))
    }

    /// Resolves where the archive is kept, if there is one.
    pub(super) fn resolve_archive(&self) -> Result<Option<ArchiveConfig>, UsageError> {
        let mut raw = self.layers()?;
        let resolved = self
            .set(&mut raw)
            .and_then(|()| raw.resolve_archive(&raw.resolve_places()?.store));
        resolved.map_err(|error| UsageError(error.to_string()))
    }

    /// Resolves the ttl of leases that this process takes.
    pub(super) fn lease_ttl(&self) -> Result<Duration, UsageError> {
        let section: TtlSection = self
            .layers()?
            .section("lease")
            .map_err(|error| UsageError(error.to_string()))?;
        if (1_000..=LeaseConfig::TTL_MS_MAX).contains(&section.ttl_ms) {
            return Ok(Duration::from_millis(section.ttl_ms));
        }
        Err(UsageError(format!(
            "`lease.ttl_ms` must be 1,000 to 600,000 ms, not {}",
            section.ttl_ms
        )))
    }

    /// Lays the flags over those.
    pub(super) fn set(&self, raw: &mut RawConfig) -> Result<(), ConfigError> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let flags = [
            ("shard", "state", self.state.as_ref().map(path)),
            ("store", "url", self.store.clone()),
            ("store", "password_file", self.store_password_file.as_ref().map(path)),
            ("store", "namespace", self.namespace.clone()),
            ("authority", "url", self.authority.clone()),
            (
                "authority",
                "password_file",
                self.authority_password_file.as_ref().map(path),
            ),
        ];
        for (section, key, text) in flags {
            if let Some(text) = text {
                raw.set_text(section, key, &text)?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct TtlSection {
    ttl_ms: u64,
}

/// Refuses a URL from the command line that holds a password, or may.
fn refuse_password(section: &str, url: &str) -> Result<(), UsageError> {
    if holds_password(url) {
        return Err(UsageError(format!(
            "--{section}: a password in a command line is in the process list for every user of this host; leave it \
             out and name a file that holds it with --{section}-password-file ({section}.password_file, mode 600), or \
             put the whole URL into the environment variable EVERHOLD_{}_URL",
            section.to_uppercase()
        )));
    }
    Ok(())
}

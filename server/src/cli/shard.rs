//! `everhold shard`: configuration, a guardian, start, wait for a signal, stop in good order.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use everhold_core::durability::gate::Durability;
use everhold_core::game::RuleBook;
use everhold_net::keys::{self, Finding, Keys};
use everhold_os::clock;
use everhold_os::signals::{StandardInput, Stop};
use everhold_protocol::ZoneName;

use super::UsageError;
use super::store::StoreArguments;
use crate::config::{Config, ConfigError, RawConfig};
use crate::guardian::{self, GuardianLink};
use crate::reporter::Reporter;
use crate::shard::Shard;
use crate::stores::{self, Stores};

/// Arguments of `everhold shard`. What is left out comes from the environment, the file, or the defaults.
#[derive(Args)]
pub struct ShardArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// A zone to prefer; repeat it for several. Without any, a spare.
    #[arg(long = "zone", value_name = "NAME")]
    zones: Vec<ZoneName>,
    /// Address on which it listens for players (UDP); a name stands for its first address.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address to which players are sent, if not there: needed if it listens on `0.0.0.0` or `[::]`.
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// Directory of the world's keys.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Threads that carry connections.
    #[arg(long, value_name = "N")]
    net_threads: Option<usize>,
    /// The level of durability that output waits for: `async`, `store`, or `replica`.
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Durability>,
    /// The report on standard output.
    #[arg(long, value_enum, default_value_t = Events::None)]
    events: Events,
    /// One process without a guardian: if it dies, its zones wait for their lease to run out.
    #[arg(long)]
    no_guardian: bool,
    /// Stop in good order at the end of standard input, which must be a pipe: so that nothing outlives the process that
    /// started it.
    #[arg(long)]
    until_stdin_ends: bool,
    /// Set by a guardian for its child: standard input is the line to it.
    #[arg(long, hide = true)]
    guarded: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Events {
    /// No report.
    None,
    /// One JSON object a line.
    Json,
}

/// Runs a shard until SIGTERM, SIGINT, or SIGHUP: as a guardian of a child that does so, or itself.
pub fn run(arguments: ShardArguments) -> anyhow::Result<ExitCode> {
    let config = configure(&arguments)?;
    if config.guardian && !arguments.guarded {
        guardian::run(config.lease.ttl, arguments.input(), super::EXIT_USAGE, || {
            stores::open_coordination(&config)
        })
    } else {
        serve(&arguments, config).map(|()| ExitCode::SUCCESS)
    }
}

impl ShardArguments {
    /// Returns how this process takes the end of its standard input; for a guarded server it is the line to its
    /// guardian, which hears the rest.
    const fn input(&self) -> StandardInput {
        if self.until_stdin_ends && !self.guarded {
            StandardInput::UntilItsEnd
        } else {
            StandardInput::Ignored
        }
    }
}

fn serve(arguments: &ShardArguments, config: Config) -> anyhow::Result<()> {
    // Before anything that may wait for a store.
    let stop = Stop::listen(arguments.input()).context("listen for signals")?;
    let guardian = if arguments.guarded {
        GuardianLink::inherited().context("standard input is no line to a guardian")?
    } else {
        GuardianLink::none()
    };
    let rules = load_rules(&config)?;
    let keys = Keys::load_or_create(&config.keys)?;
    for finding in keys::check(&config.keys, clock::unix_s()) {
        match finding {
            Finding::Fault(error) => return Err(error.into()),
            Finding::Warning(text) => tracing::warn!("{text}"),
        }
    }
    let reporter = match arguments.events {
        Events::None => Reporter::silent(),
        Events::Json => Reporter::to(std::io::stdout()).context("start the report's thread")?,
    };
    // One thread for sockets, routing, and the durable tasks: on a small machine hand-overs between threads cost more
    // than they save.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let start = async {
        let stores = Stores::open(&config).await?;
        Shard::start(config, rules, &keys, stores, reporter, guardian).await
    };
    let served = runtime.block_on(async {
        let shard = tokio::select! {
            shard = start => shard?,
            () = stop.wait() => return Ok(()),
        };
        stop.wait().await;
        shard.stop().await;
        Ok(())
    });
    // An adoption that is still replaying has no purpose any more.
    runtime.shutdown_background();
    served
}

fn configure(arguments: &ShardArguments) -> anyhow::Result<Config> {
    let mut raw = arguments.store.layers()?;
    let flags = |raw: &mut RawConfig| -> Result<(), ConfigError> {
        let path = |p: &PathBuf| p.to_string_lossy().into_owned();
        let zones = arguments
            .zones
            .iter()
            .map(ZoneName::as_str)
            .collect::<Vec<_>>()
            .join(",");
        let flags = [
            ("shard", "zones", Some(zones).filter(|z| !z.is_empty())),
            ("shard", "listen", arguments.listen.clone()),
            ("shard", "advertise", arguments.advertise.clone()),
            ("shard", "keys", arguments.keys.as_ref().map(path)),
            ("shard", "net_threads", arguments.net_threads.map(|n| n.to_string())),
            ("shard", "guardian", arguments.no_guardian.then(|| "false".to_owned())),
            ("durability", "level", arguments.durability.map(|d| d.to_string())),
        ];
        for (section, key, text) in flags {
            if let Some(text) = text {
                raw.set_text(section, key, &text)?;
            }
        }
        Ok(())
    };
    let resolve = || {
        arguments.store.set(&mut raw)?;
        flags(&mut raw)?;
        raw.resolve()
    };
    Ok(resolve().map_err(|e: ConfigError| UsageError(e.to_string()))?)
}

fn load_rules(config: &Config) -> anyhow::Result<Arc<RuleBook>> {
    let rules = match &config.rules {
        None => RuleBook::default_world(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|e| UsageError(format!("world file {}: {e}", path.display())))?;
            RuleBook::from_toml(&text).map_err(|e| UsageError(format!("world file {}: {e}", path.display())))?
        }
    };
    for zone in &config.zones {
        if !rules.zones().any(|known| known == zone) {
            let known = rules.zones().map(ZoneName::as_str).collect::<Vec<_>>().join(", ");
            return Err(UsageError(format!("this world has no zone `{zone}`; it has {known}")).into());
        }
    }
    Ok(Arc::new(rules))
}

//! `everhold keys`: makes a directory of keys, shows and checks it, replaces keys in stages, and copies what each host
//! needs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use everhold_core::ownership::KeyKind;
use everhold_net::keys::{self, Finding, Recipient, RotationStage};
use everhold_os::clock;

use super::print;

/// Arguments of `everhold keys`.
#[derive(Args)]
pub struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
    /// Directory of the keys.
    #[arg(long, global = true, value_name = "DIR", default_value = ".everhold/keys")]
    keys: PathBuf,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make a directory of new keys. A shard does so itself where there are none.
    Make,
    /// Show what is there, with the fingerprints that shards announce, and no secret.
    Show,
    /// Look for what keeps a shard from starting, and for certificates that expire: exit code 1 if there is anything.
    Check,
    /// Replace keys while the world runs: `add`, copy and restart shards one by one; `switch`, the same; `drop`, the
    /// same.
    Rotate {
        /// The step of the rotation.
        stage: StageArgument,
        /// Only this kind; repeat it for several.
        #[arg(long, value_name = "KIND")]
        only: Vec<KindArgument>,
    },
    /// Copy what a recipient needs into a directory, which then goes to that host.
    Export {
        /// The recipient, which decides what is copied.
        #[arg(long = "for", value_name = "WHOM")]
        recipient: RecipientArgument,
        /// The directory.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum StageArgument {
    /// Make new keys that are good beside the old ones.
    Add,
    /// Use the new ones; the old ones are still good.
    Switch,
    /// Refuse the old ones.
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindArgument {
    /// The login service's key.
    Login,
    /// The certificate that clients trust.
    Certificate,
    /// The secret behind tokens.
    Quic,
}

#[derive(Clone, Copy, ValueEnum)]
enum RecipientArgument {
    /// A host with shards: everything but the login service's key.
    Shard,
    /// Those who run clients: the certificates.
    Client,
    /// The login service: its key.
    Login,
}

/// Runs one of the commands.
pub fn run(arguments: &KeysArguments) -> anyhow::Result<ExitCode> {
    let dir = &arguments.keys;
    match &arguments.command {
        KeysCommand::Make => {
            keys::make(dir)?;
            show(arguments)?;
        }
        KeysCommand::Show => show(arguments)?,
        KeysCommand::Check => return check(arguments),
        KeysCommand::Rotate { stage, only } => {
            for kind in kinds(only) {
                if !keys::rotate(dir, kind, stage_of(*stage))? {
                    print(format_args!("{}: this step was taken before", keys::file_of(kind)))?;
                }
            }
            show(arguments)?;
            print(next_step(*stage))?;
        }
        KeysCommand::Export { recipient, to } => {
            let recipient = match recipient {
                RecipientArgument::Shard => Recipient::Shard,
                RecipientArgument::Client => Recipient::Client,
                RecipientArgument::Login => Recipient::Login,
            };
            for name in keys::export(dir, recipient, to)? {
                print(to.join(name).display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &KeysArguments) -> anyhow::Result<()> {
    for line in keys::inventory(&arguments.keys)? {
        let fingerprint = line.fingerprint.unwrap_or_default();
        print(format_args!("{:<16}  {fingerprint:<16}  {}", line.file, line.what))?;
    }
    Ok(())
}

fn check(arguments: &KeysArguments) -> anyhow::Result<ExitCode> {
    let findings = keys::check(&arguments.keys, clock::unix_s());
    for finding in &findings {
        match finding {
            Finding::Fault(error) => print(format_args!("fault: {error}"))?,
            Finding::Warning(text) => print(format_args!("warning: {text}"))?,
        }
    }
    if findings.is_empty() {
        print(format_args!("{}: nothing is wrong", arguments.keys.display()))?;
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

fn kinds(only: &[KindArgument]) -> impl Iterator<Item = KeyKind> {
    KeyKind::ALL.into_iter().filter(move |kind| {
        let argument = match kind {
            KeyKind::Login => KindArgument::Login,
            KeyKind::Certificate => KindArgument::Certificate,
            KeyKind::Quic => KindArgument::Quic,
        };
        only.is_empty() || only.contains(&argument)
    })
}

const fn stage_of(stage: StageArgument) -> RotationStage {
    match stage {
        StageArgument::Add => RotationStage::Add,
        StageArgument::Switch => RotationStage::Switch,
        StageArgument::Drop => RotationStage::Drop,
    }
}

const fn next_step(stage: StageArgument) -> &'static str {
    match stage {
        StageArgument::Add => {
            "next: copy (`keys export`) to every host and to clients, restart the shards one by one, then `switch`"
        }
        StageArgument::Switch => {
            "next: copy to every host, restart the shards one by one, give the login service its new key, then `drop`"
        }
        StageArgument::Drop => {
            "next: copy to every host and to clients, restart the shards one by one; then the old keys are refused"
        }
    }
}

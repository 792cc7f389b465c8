//! `everhold replay`: a zone's history, from a store or a file, replayed by the zone's own code. It prints which
//! digests are equal, what a player was at a tick, and where two histories differ. It changes nothing.

mod output;

use std::fs::File;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use everhold_core::durability::audit::{ZoneHistory, audit, compare};
use everhold_core::durability::history::HistoryWorld;
use everhold_core::durability::replay::ReplayTick;
use everhold_core::zone::Zone;
use everhold_protocol::{Account, EntityId, SessionId, Tick, ZoneName};

use self::output::{DigestLine, PlayerLines, ReplayOutput, ReplayedLines};
use super::UsageError;
use super::history::{CodedError, LocalWorld, file_error, read_history, write_history};
use super::store::StoreArguments;
use crate::stores;

/// Exit code for histories that differ.
const EXIT_DIFFERS: u8 = 1;
/// Exit code for a replay that was not possible, or not to its end.
const EXIT_FAILED: u8 = 2;

/// Arguments of `everhold replay`.
#[derive(Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// A history file of `everhold export`. Without one, the store is read.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The zone; a file names its own.
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    zone: Option<ZoneName>,
    /// Restore the newest checkpoint at or below this tick; without it, the oldest one.
    #[arg(long, value_name = "TICK")]
    from: Option<u64>,
    /// Stop after this tick; without it, at the end.
    #[arg(long, value_name = "TICK")]
    to: Option<u64>,
    /// Print what this player is after the last tick: the number of an account, or `session:` and that of a session.
    /// Repeat it for several.
    #[arg(long = "player", value_name = "ACCOUNT")]
    players: Vec<PlayerArgument>,
    /// Print the digest after every tick.
    #[arg(long)]
    digests: bool,
    /// The world's file that the zone ran in, if neither the file nor the configuration has it.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Compare with this history file, record by record.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A player by account or session.
#[derive(Clone, Copy, Debug)]
enum PlayerArgument {
    Account(Account),
    Session(SessionId),
}

impl FromStr for PlayerArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().map_err(|_| "it is ACCOUNT or session:NUMBER");
        match text.strip_prefix("session:") {
            Some(session) => number(session).map(|session| Self::Session(EntityId(session))),
            None => number(text).map(|account| Self::Account(Account(account))),
        }
    }
}

/// Replays a history: exit code 0 if all is equal, 1 if something differs, 2 if it was not possible.
pub fn run(arguments: &ReplayArguments) -> anyhow::Result<ExitCode> {
    match replay(arguments) {
        Ok(output) => {
            super::print(output.written(arguments.json)?)?;
            Ok(ExitCode::from(match (output.differs(), output.failed()) {
                (true, _) => EXIT_DIFFERS,
                (false, true) => EXIT_FAILED,
                (false, false) => 0,
            }))
        }
        Err(error) if error.is::<UsageError>() => Err(error),
        Err(error) => {
            let error = CodedError::of(error);
            if arguments.json {
                super::print(output::error_json(&error)?)?;
            } else {
                let said = format!("everhold: {error} [{}]\n", error.code);
                everhold_os::output::stderr().write(said.as_bytes());
            }
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

fn replay(arguments: &ReplayArguments) -> anyhow::Result<ReplayOutput> {
    let (from, to) = (arguments.from.map(Tick), arguments.to.map(Tick));
    if from > to.or(from) {
        return Err(UsageError("--from is after --to".to_owned()).into());
    }
    let local = LocalWorld::load(&arguments.store, arguments.world.as_deref())?;
    let history = match &arguments.file {
        Some(path) => history_of(path)?,
        None => stored_history(arguments)?,
    };
    let header = history.header();
    if let Some(zone) = arguments.zone.as_ref().filter(|zone| **zone != header.zone) {
        let why = format!("the file is of zone `{}`, not of `{zone}`", header.zone);
        return Err(CodedError::new("other_zone", why).into());
    }
    let comparison = arguments.against.as_deref().map(|path| {
        let other = history_of(path)?;
        if other.header().zone != header.zone {
            let why = format!("{} is of zone `{}`", path.display(), other.header().zone);
            return Err(CodedError::new("other_zone", why).into());
        }
        let range = from.unwrap_or_default()..=to.unwrap_or(Tick::MAX);
        anyhow::Ok(compare(&history, &other, range))
    });
    let comparison = comparison.transpose()?;
    match replayed(arguments, &local, &history) {
        Ok((report, lines)) => Ok(ReplayOutput::new(header, Ok((report, lines)), comparison)),
        // What was found before is told as well.
        Err(error) if comparison.is_some() && !error.is::<UsageError>() => {
            let error = CodedError::of(error);
            Ok(ReplayOutput::new(header, Err(error), comparison))
        }
        Err(error) => Err(error),
    }
}

fn replayed(arguments: &ReplayArguments, local: &LocalWorld, history: &ZoneHistory) -> anyhow::Result<ReplayedLines> {
    let range = (arguments.from.map(Tick), arguments.to.map(Tick));
    let mut digests: Vec<DigestLine> = Vec::new();
    let mut each = |zone: &mut Zone, tick: ReplayTick| {
        if !arguments.digests {
            return;
        }
        if let (Some(before), Some((told, _))) = (digests.last_mut(), tick.before) {
            before.told = Some(told.into());
        }
        digests.push(DigestLine {
            tick: tick.tick,
            epoch: tick.epoch,
            inputs: tick.inputs,
            digest: zone.digest().into(),
            told: None,
        });
    };
    let config = local.zone_config(history.header())?;
    let audited = audit(history, range, config, &mut each);
    let (report, zone) = audited.map_err(CodedError::from)?;
    // Of a zone that failed at a tick no player is told.
    let players = arguments
        .players
        .iter()
        .filter_map(|player| zone.as_ref().map(|zone| player_lines(zone, *player)));
    let players = players.collect();
    Ok((report, (digests, players)))
}

fn player_lines(zone: &Zone, player: PlayerArgument) -> PlayerLines {
    let session = match player {
        PlayerArgument::Account(account) => zone.session_of(account),
        PlayerArgument::Session(session) => Some(session),
    };
    PlayerLines {
        player: match player {
            PlayerArgument::Account(account) => format!("account {}", account.0),
            PlayerArgument::Session(session) => format!("session {}", session.0),
        },
        tick: zone.tick(),
        session,
        state: session.and_then(|session| zone.describe(session)),
    }
}

fn history_of(path: &Path) -> anyhow::Result<ZoneHistory> {
    let named = |error: CodedError| CodedError::new(error.code, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| named(file_error(error)))?;
    read_history(file).map_err(|error| named(CodedError::of(error)).into())
}

/// Reads the store into a file without a name first, and that into memory.
fn stored_history(arguments: &ReplayArguments) -> anyhow::Result<ZoneHistory> {
    let zone = arguments.zone.as_ref().expect("required by the parser");
    let places = arguments.store.resolve()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let mut file = tempfile::tempfile().map_err(file_error)?;
    runtime.block_on(async {
        stores::ensure_exists(&places)?;
        let store = stores::open_storage(&places.store, None).await?.zones;
        write_history(store.as_ref(), zone, HistoryWorld::default(), &mut file).await
    })?;
    file.rewind().map_err(file_error)?;
    read_history(file)
}

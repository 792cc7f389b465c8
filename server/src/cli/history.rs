//! History files as `export` and `replay` use them: written from a store, read back, and the world that they ran in.
//! What goes into one, and whether it is whole, is decided in core.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::audit::{AuditError, ZoneHistory};
use everhold_core::durability::backup::RestoreUnfinished;
use everhold_core::durability::evidence::EvidenceMark;
use everhold_core::durability::export::{Export, ExportCommand, ExportError, ExportSummary};
use everhold_core::durability::history::{HistoryFrame, HistoryHeader, HistoryReader, HistoryWorld};
use everhold_core::durability::replay::ReplayError;
use everhold_core::durability::salvage::{Salvage, SalvageCommand, SalvageSummary};
use everhold_core::durability::store::ZoneStore;
use everhold_core::game::RuleBook;
use everhold_core::zone::ZoneConfig;
use everhold_protocol::ZoneName;

use super::UsageError;
use super::store::StoreArguments;
use crate::config::WorldConfig;
use crate::deadline::answer;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A failure with a code for programs: it never changes, and its text may.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct CodedError {
    pub(super) code: &'static str,
    message: String,
}

impl CodedError {
    pub(super) fn new(code: &'static str, message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        Self { code, message }
    }

    /// Names a failure that has no code of its own.
    pub(super) fn of(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(coded) => coded,
            Err(error) => Self::new("failed", format!("{error:#}")),
        }
    }
}

impl From<ExportError> for CodedError {
    fn from(error: ExportError) -> Self {
        let code = match error {
            ExportError::ZoneUnknown => "zone_unknown",
            ExportError::Moving => "zone_moving",
            ExportError::Store(_) => "store",
        };
        Self::new(code, error)
    }
}

impl From<RestoreUnfinished> for CodedError {
    fn from(error: RestoreUnfinished) -> Self {
        Self::new("restore_unfinished", error)
    }
}

impl From<AuditError> for CodedError {
    fn from(error: AuditError) -> Self {
        let code = match &error {
            AuditError::BeforeOldest { .. } | AuditError::AfterNewest { .. } => "ticks_missing",
            AuditError::Unread { .. } => "checkpoint_damaged",
            AuditError::Replay(error) => replay_code(error),
        };
        Self::new(code, chained(&error))
    }
}

/// Returns the code of a replay that failed, or that ended early.
pub(super) const fn replay_code(error: &ReplayError) -> &'static str {
    match error {
        _ if error.is_unfit() => "other_rules",
        ReplayError::Restore { .. } | ReplayError::OtherTick { .. } | ReplayError::ChainBroken { .. } => {
            "checkpoint_damaged"
        }
        ReplayError::JournalBroken { .. } => "ticks_missing",
        ReplayError::Record { .. } => "record_damaged",
        ReplayError::Poison { .. } => "poison",
        ReplayError::Rules { .. } | ReplayError::ZoneUnknown => "other_rules",
    }
}

/// Writes an error with its sources.
pub(super) fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Writes everything that the store has of a zone into an empty file.
pub(super) async fn write_history(
    store: &dyn ZoneStore,
    zone: &ZoneName,
    world: HistoryWorld,
    file: &mut File,
) -> anyhow::Result<ExportSummary> {
    let mut export = Export::new(zone.clone(), world);
    loop {
        let Some(command) = export.poll(Instant::now()) else {
            let at = export.poll_timeout().expect("every command was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        match command {
            ExportCommand::Outline => {
                let outline = answer(ANSWER_MAX, store.outline(zone, None)).await;
                export.handle_outline(Instant::now(), outline);
            }
            ExportCommand::Parts(parts) => {
                let parts = answer(ANSWER_MAX, store.read_parts(zone, None, &parts)).await;
                export.handle_parts(Instant::now(), parts);
            }
            ExportCommand::Records(from, ticks) => {
                let records = answer(ANSWER_MAX, store.read_records(zone, None, from, ticks)).await;
                export.handle_records(Instant::now(), records);
            }
            ExportCommand::Write(bytes) => file.write_all(&bytes).map_err(file_error)?,
            ExportCommand::Restart => {
                file.set_len(0).map_err(file_error)?;
                file.seek(SeekFrom::Start(0)).map_err(file_error)?;
            }
            ExportCommand::Finish(summary) => return Ok(summary),
            ExportCommand::Fail(error) => return Err(CodedError::from(error).into()),
        }
    }
}

/// Writes what can be read of a piece of evidence into an empty file.
pub(super) async fn salvage(
    store: &dyn ZoneStore,
    zone: &ZoneName,
    mark: EvidenceMark,
    file: &mut dyn Write,
) -> anyhow::Result<SalvageSummary> {
    let mut salvage = Salvage::new(mark);
    loop {
        let Some(command) = salvage.poll(Instant::now()) else {
            let at = salvage.poll_timeout().expect("every command was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        match command {
            SalvageCommand::Part(index) => {
                let part = answer(ANSWER_MAX, store.read_evidence(zone, index)).await;
                salvage.handle_part(Instant::now(), part);
            }
            SalvageCommand::Write(bytes) => file.write_all(&bytes).map_err(file_error)?,
            SalvageCommand::Finish(summary) => return Ok(summary),
            SalvageCommand::Fail(error) => return Err(CodedError::new("store", error).into()),
        }
    }
}

pub(super) fn file_error(error: std::io::Error) -> CodedError {
    CodedError::new("file", error)
}

/// Reads a history file to its end. It is in memory once, as its frames are.
pub(super) fn read_history(mut file: impl Read) -> anyhow::Result<ZoneHistory> {
    let damaged = |error| CodedError::new("file_damaged", chained(&error));
    let (mut reader, mut history) = (HistoryReader::default(), None::<ZoneHistory>);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = file.read(&mut piece).map_err(file_error)?;
        reader.push(&piece[..len]);
        while let Some(frame) = reader.poll().map_err(damaged)? {
            match (&mut history, frame) {
                (None, HistoryFrame::Header(header)) => history = Some(ZoneHistory::new(header)),
                (Some(history), frame) => history.take(frame),
                (None, _) => unreachable!("the reader has the header first"),
            }
        }
        if len == 0 {
            reader.finish().map_err(damaged)?;
            return Ok(history.expect("a file that ended well has a header"));
        }
    }
}

/// The rules that are at hand.
pub(super) struct LocalWorld {
    config: WorldConfig,
    /// The world's file that a flag names.
    named: Option<RuleBook>,
    named_text: Option<String>,
}

impl LocalWorld {
    /// Reads the world's file that `--world` names, or, without the flag, what the configuration says.
    pub(super) fn load(store: &StoreArguments, named: Option<&Path>) -> anyhow::Result<Self> {
        let layers = store.layers()?;
        let config = layers.resolve_world().map_err(|error| UsageError(error.to_string()))?;
        let path = named.or(config.rules.as_deref());
        let text = path.map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| UsageError(format!("world file {}: {error}", path.display())))
        });
        let named_text = text.transpose()?;
        let named = named_text
            .as_deref()
            .map(|text| RuleBook::from_toml(text).map_err(|error| UsageError(format!("the world's file: {error}"))));
        Ok(Self {
            config,
            named: named.transpose()?,
            named_text,
        })
    }

    /// Returns the rules at hand, and the ticks per second that they are run at.
    pub(super) fn into_book(self) -> (RuleBook, u16) {
        let book = self.named.unwrap_or_else(RuleBook::default_world);
        (book, self.config.tick_hz)
    }

    /// Returns these rules as a history file has them.
    pub(super) fn to_export(&self) -> HistoryWorld {
        let tick_hz = self.config.tick_hz;
        let book = self.named.clone().unwrap_or_else(RuleBook::default_world);
        HistoryWorld {
            rules_id: Some(book.rules_id(tick_hz)),
            seed: None,
            tick_hz: Some(tick_hz),
            text: self.named_text.clone(),
        }
    }

    /// Returns the configuration of the zone that a history is of: with the rules of the file, or with those at hand.
    pub(super) fn zone_config(&self, header: &HistoryHeader) -> anyhow::Result<ZoneConfig> {
        let world = &header.world;
        let tick_hz = world.tick_hz.unwrap_or(self.config.tick_hz);
        let embedded = world.text.as_deref().map(RuleBook::from_toml);
        let embedded = embedded.transpose();
        let embedded = embedded.map_err(|error| CodedError::new("file_damaged", format!("its world: {error}")))?;
        let books = [self.named.clone(), embedded, Some(RuleBook::default_world())];
        let mut books = books.into_iter().flatten();
        let fits = |book: &RuleBook| world.rules_id.is_none_or(|id| id == book.rules_id(tick_hz));
        let Some(book) = books.find(fits) else {
            return Err(CodedError::new(
                "other_rules",
                format!(
                    "the zone ran other rules than are at hand ({tick_hz} ticks per second): name the world's file \
                     that its shards had with --world, and their configuration with --config"
                ),
            )
            .into());
        };
        if !book.zones().any(|zone| *zone == header.zone) {
            let error = format!(
                "the world at hand has no zone `{}`: name its file with --world",
                header.zone
            );
            return Err(CodedError::new("other_rules", error).into());
        }
        Ok(ZoneConfig {
            name: header.zone.clone(),
            seed: world.seed.unwrap_or(self.config.seed),
            tick_hz,
            game: Arc::new(book),
        })
    }
}

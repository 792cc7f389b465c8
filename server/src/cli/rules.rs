//! `everhold rules`: what another world file would change in a world, and the operator's word that it is to be taken
//! over. It takes no lease, raises no fence, and touches no zone: shards do what is on record.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use everhold_core::durability::backup::RestoreMarker;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::game::RuleBook;
use everhold_core::game::rules::changes::{RulesChange, changes};
use everhold_core::ownership::outlook::Outlook;
use everhold_core::ownership::settlement::{RestState, ZoneAtRest};
use everhold_core::ownership::{RulesId, RulesTag};
use everhold_protocol::ZoneName;

use super::history::{CodedError, LocalWorld};
use super::store::StoreArguments;
use crate::shard::{drop_other_files, kept_rules, world_file, zones_at_rest};
use crate::stores;

/// A Redis that does not answer a person within this time is not there.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Arguments of `everhold rules`.
#[derive(Args)]
pub struct RulesArguments {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Subcommand)]
enum RulesCommand {
    /// Show what a world file changes, and what becomes of each zone. It changes nothing.
    Plan(FileArguments),
    /// Put a world file on record as the one that the world is to run: shards that have it take each zone over when its
    /// owner has stopped it in good order, and shards of other files take over none.
    Apply(ApplyArguments),
}

#[derive(Args)]
struct FileArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The world file, if the configuration names another.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
}

#[derive(Args)]
struct ApplyArguments {
    #[command(flatten)]
    file: FileArguments,
    /// Put it on record although some zones cannot be taken over as they are.
    #[arg(long)]
    force: bool,
}

/// A world and a file for it.
struct RulesPlan {
    file: WorldFile,
    book: RuleBook,
    rules: std::sync::Arc<dyn RulesStore>,
    wanted: Option<RulesId>,
    zones: Vec<(ZoneAtRest, Outlook)>,
}

/// Runs the command.
pub fn run(arguments: &RulesArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match &arguments.command {
            RulesCommand::Plan(file) => {
                let plan = RulesPlan::read(file).await?;
                plan.print().await
            }
            RulesCommand::Apply(apply) => {
                let plan = RulesPlan::read(&apply.file).await?;
                plan.apply(apply.force).await
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

impl RulesPlan {
    async fn read(arguments: &FileArguments) -> anyhow::Result<Self> {
        let places = arguments.store.resolve()?;
        let local = LocalWorld::load(&arguments.store, arguments.world.as_deref())?;
        let (book, tick_hz) = local.into_book();
        stores::ensure_exists(&places)?;
        let authority = stores::open_coordination_within(&places.authority, ANSWER_MAX)
            .await?
            .authority;
        let storage = stores::open_storage(&places.store, None).await?;
        let file = world_file(&book, tick_hz);
        let rest = zones_at_rest(authority.as_ref(), storage.zones.as_ref()).await?;
        let kept = kept_rules(storage.rules.as_ref()).await?;
        let has = |zone: &ZoneName| book.zone(zone).is_some();
        let outlook = |zone: ZoneAtRest| {
            let outlook = Outlook::of(&file.rules, zone.state, has(&zone.zone), &kept);
            (zone, outlook)
        };
        let mut zones: Vec<_> = rest.into_iter().map(outlook).collect();
        let is_new = |zone: &&ZoneName| zones.iter().all(|(known, _)| known.zone != **zone);
        let new: Vec<ZoneName> = book.zones().filter(is_new).cloned().collect();
        zones.extend(new.into_iter().map(|zone| {
            let state = RestState::Nothing;
            (ZoneAtRest { zone, state }, Outlook::New)
        }));
        zones.sort_by(|(a, _), (b, _)| a.zone.cmp(&b.zone));
        let wanted = storage.rules.wanted().await?;
        RestoreMarker::refuse(wanted).map_err(CodedError::from)?;
        Ok(Self {
            wanted,
            rules: storage.rules,
            zones,
            file,
            book,
        })
    }

    async fn print(&self) -> anyhow::Result<()> {
        let ours = short(self.file.rules.id);
        super::print(match self.wanted {
            None => format!("the world has no rules on record; this file's are {ours}"),
            Some(wanted) if wanted == self.file.rules.id => format!("the world is to run this file's rules: {ours}"),
            Some(wanted) => format!(
                "the world is to run the rules {}; this file's are {ours}",
                short(wanted)
            ),
        })?;
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != self.file.rules.id) {
            match self.rules.kept_file(wanted).await? {
                Some(before) => super::print(self.changes_from(&before)?)?,
                None => super::print("the store has not kept their file: what this one changes cannot be told")?,
            }
        }
        super::print(self.table())
    }

    fn changes_from(&self, before: &WorldFile) -> anyhow::Result<String> {
        let book = RuleBook::from_toml(&before.text)
            .map_err(|error| CodedError::new("file_damaged", format!("the world file that the store kept: {error}")))?;
        let mut lines = Vec::new();
        if before.tick_hz != self.file.tick_hz {
            lines.push(format!("ticks per second: {} -> {}", before.tick_hz, self.file.tick_hz));
        }
        if before.rules.code != self.file.rules.code {
            lines.push(format!(
                "code of the rules: {} -> {}",
                before.rules.code, self.file.rules.code
            ));
        }
        if before.rules.layout != self.file.rules.layout {
            lines.push(format!(
                "layout of the state: {} -> {}",
                before.rules.layout, self.file.rules.layout
            ));
        }
        let value = |value: Option<String>| value.unwrap_or_else(|| "(none)".to_owned());
        let line = |RulesChange { key, before, after }| format!("{key}: {} -> {}", value(before), value(after));
        lines.extend(changes(&book, &self.book).into_iter().map(line));
        Ok(lines.join("\n"))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_header(["zone", "state", "with this file it ..."]);
        for (zone, outlook) in &self.zones {
            table.add_row([zone.zone.to_string(), state_text(zone.state), outlook.to_string()]);
        }
        table
    }

    async fn apply(&self, force: bool) -> anyhow::Result<()> {
        let helpless: Vec<String> = self
            .zones
            .iter()
            .filter(|(_, outlook)| outlook.needs_help())
            .map(|(zone, outlook)| format!("{} {outlook}", zone.zone))
            .collect();
        if !helpless.is_empty() && !force {
            let why = helpless.join("; ");
            let error = format!("nothing is changed: {why}. `--force` puts the file on record all the same");
            return Err(CodedError::new("not_sealed", error).into());
        }
        let ours = self.file.rules.id;
        self.rules.keep_file(&self.file).await?;
        let now = self.rules.want(self.wanted, ours).await?;
        if now != Some(ours) {
            let error = "nothing is changed: somebody else changed the world's rules meanwhile; look again";
            return Err(CodedError::new("changed_meanwhile", error).into());
        }
        let zones: Vec<ZoneAtRest> = self.zones.iter().map(|(zone, _)| zone.clone()).collect();
        drop_other_files(self.rules.as_ref(), [self.wanted, now], &zones).await?;
        super::print(format_args!(
            "the world is to run the rules {} from now on",
            short(ours)
        ))?;
        super::print(self.table())
    }
}

fn state_text(state: RestState) -> String {
    let rules = |tag: Option<RulesTag>| tag.map_or_else(|| "unknown rules".to_owned(), |tag| format!("rules {tag}"));
    match state {
        RestState::Nothing => "never begun".to_owned(),
        RestState::Sealed(stamp) => format!("sealed, rules {}", short(stamp.id)),
        RestState::Owned(tag) => format!("has an owner, {}", rules(tag)),
        RestState::Unsealed(tag) => format!("not sealed, {}", rules(tag)),
    }
}

/// The first bytes of an id, as `inspect` shows them.
fn short(id: RulesId) -> String {
    RulesTag::new(&id).to_string()
}

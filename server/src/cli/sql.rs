//! `everhold sql`: the archive's tables with a sentence each, and queries to begin with. It opens no archive.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use everhold_core::game::RuleBook;
use everhold_core::zone::Game;
use everhold_store::archive::{Dialect, query};

use super::print;

/// Arguments of `everhold sql`.
#[derive(Args)]
pub struct SqlArguments {
    /// The database that the archive is kept in.
    #[arg(long, value_name = "DATABASE", default_value = "sqlite")]
    database: DatabaseArgument,
    /// The world's file, whose item kinds are declared; without it, the built-in world.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DatabaseArgument {
    /// The file archive.db.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
}

/// Prints tables and queries.
pub fn run(arguments: &SqlArguments) -> anyhow::Result<()> {
    let rules = match &arguments.world {
        None => RuleBook::default_world(),
        Some(path) => {
            let name = || format!("world file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(name)?;
            RuleBook::from_toml(&text).with_context(name)?
        }
    };
    let dialect = match arguments.database {
        DatabaseArgument::Sqlite => Dialect::Sqlite,
        DatabaseArgument::Postgres => Dialect::Postgres,
    };
    print(query::text(dialect, &rules.archive_schema()?).trim_end())
}

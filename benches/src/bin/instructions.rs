//! Counts the instructions of the hot paths under valgrind, whose counts do not drift as times do, and compares them
//! with the counts in `benches/baseline/instructions.json`.
//!
//! `check` fails if a path takes more than [`WORSE_PERCENT_MAX`] more. Counts hold for one compiler, and for the
//! processor that valgrind shows to the program, by which libraries choose their code: valgrind knows no AVX-512 and
//! hides the SHA and VAES instructions, so all x86-64 processors of the last ten years look alike. With another
//! compiler or processor than the baseline's the counts are shown and not judged. `accept` makes the present counts the
//! baseline; the commit says why.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};
use everhold_benches::hot::HOT_PATHS;
use serde::{Deserialize, Serialize};

/// Growth of a count up to which a path passes, percent: more than repetition and unrelated changes of inlining bring
/// about, less than a regression that could be defended.
const WORSE_PERCENT_MAX: u64 = 5;

#[derive(Parser)]
struct InstructionsArguments {
    #[command(subcommand)]
    command: InstructionsCommand,
}

#[derive(Subcommand)]
enum InstructionsCommand {
    /// Compare with the baseline.
    Check,
    /// Make what is counted now the baseline.
    Accept,
    /// Run one path, to be counted.
    Run {
        /// Its name.
        path: String,
    },
    /// Say what processor this program sees.
    Processor,
}

#[derive(Serialize, Deserialize)]
struct Baseline {
    rustc: String,
    /// The processor as valgrind shows it, by which libraries choose their code.
    processor: String,
    instructions: BTreeMap<String, u64>,
}

fn main() -> anyhow::Result<()> {
    match InstructionsArguments::parse().command {
        InstructionsCommand::Check => check(),
        InstructionsCommand::Accept => accept(),
        InstructionsCommand::Run { path } => run(&path),
        InstructionsCommand::Processor => Ok(writeln!(std::io::stdout(), "{}", processor())?),
    }
}

fn run(path: &str) -> anyhow::Result<()> {
    let found = HOT_PATHS.iter().find(|(name, _)| *name == path);
    let (_, hot_path) = found.with_context(|| format!("no hot path is called {path}"))?;
    hot_path();
    Ok(())
}

fn baseline_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline/instructions.json")
}

fn rustc() -> anyhow::Result<String> {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(compiler)
        .arg("--version")
        .output()
        .context("ask rustc for its version")?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let has = |feature: bool, name: &'static str| feature.then_some(name);
    let features = [
        has(is_x86_feature_detected!("avx2"), "avx2"),
        has(is_x86_feature_detected!("bmi2"), "bmi2"),
        has(is_x86_feature_detected!("ermsb"), "ermsb"),
    ];
    let features: Vec<_> = features.into_iter().flatten().collect();
    format!("x86_64 {}", features.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}

fn count_all() -> anyhow::Result<Baseline> {
    let mut instructions = BTreeMap::new();
    for (name, _) in HOT_PATHS {
        instructions.insert(name.to_owned(), count(name).with_context(|| format!("count {name}"))?);
    }
    Ok(Baseline {
        rustc: rustc()?,
        processor: shown_processor()?,
        instructions,
    })
}

fn shown_processor() -> anyhow::Result<String> {
    let said = valgrind(&["--tool=none"], &["processor"])?;
    Ok(String::from_utf8(said)?.trim().to_owned())
}

fn count(path: &str) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir()?;
    let counts = directory.path().join("counts");
    let tool = [
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=everhold_benches::hot::measured*",
        &format!("--callgrind-out-file={}", counts.display()),
    ];
    valgrind(&tool, &["run", path])?;
    let text = std::fs::read_to_string(counts)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("valgrind counted nothing")?.trim().parse()?;
    ensure!(total > 0, "the path was not found in the binary");
    Ok(total)
}

/// Runs this program under valgrind. Returns what it wrote to its standard output.
fn valgrind(tool: &[&str], order: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("valgrind")
        .args(tool)
        .arg(std::env::current_exe()?)
        .args(order)
        .output()
        .context("run valgrind: is it installed?")?;
    ensure!(
        output.status.success(),
        "valgrind: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn accept() -> anyhow::Result<()> {
    let counted = count_all()?;
    std::fs::write(baseline_file(), serde_json::to_string_pretty(&counted)? + "\n")?;
    Ok(())
}

fn check() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(baseline_file()).context("read the baseline")?;
    let baseline: Baseline = serde_json::from_str(&text)?;
    let counted = count_all()?;
    let mut worse = Vec::new();
    let mut out = std::io::stdout().lock();
    for (name, &now) in &counted.instructions {
        let Some(&before) = baseline.instructions.get(name) else {
            worse.push(format!("{name} has no baseline"));
            continue;
        };
        let permille = now as i64 * 1_000 / before.max(1) as i64 - 1_000;
        writeln!(
            out,
            "{name:20} {before:>12} -> {now:>12}  {}{}.{} %",
            if permille < 0 { '-' } else { '+' },
            permille.abs() / 10,
            permille.abs() % 10
        )?;
        if now * 100 > before * (100 + WORSE_PERCENT_MAX) {
            worse.push(format!(
                "{name} takes more than {WORSE_PERCENT_MAX} % more instructions"
            ));
        }
    }
    for name in baseline
        .instructions
        .keys()
        .filter(|name| !counted.instructions.contains_key(*name))
    {
        worse.push(format!("{name} is in the baseline and is not counted any more"));
    }
    if (&counted.rustc, &counted.processor) != (&baseline.rustc, &baseline.processor) {
        writeln!(
            out,
            "NOT JUDGED: the baseline is of {} on {}, this is {} on {}: accept a new one with \
             `make instructions-accept`",
            baseline.rustc, baseline.processor, counted.rustc, counted.processor
        )?;
        return Ok(());
    }
    if !worse.is_empty() {
        bail!(
            "{}\nIf that is meant, say why in the commit and run `make instructions-accept`",
            worse.join("\n")
        );
    }
    Ok(())
}

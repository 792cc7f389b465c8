//! VerifyFindings of `everhold verify`, and how they are written for people and for programs.

use std::fmt::Write;

use anyhow::Context;
use comfy_table::{Table, presets};
use everhold_protocol::{Account, ZoneName};
use serde::Serialize;

/// Something that is wrong.
#[derive(Debug, Serialize)]
struct VerifyFinding {
    /// For programs: it never changes, and the text may.
    code: &'static str,
    text: String,
}

/// All that was found of a zone, or of what belongs to no zone.
#[derive(Debug, Default, Serialize)]
pub(super) struct VerifyFindings {
    damage: Vec<VerifyFinding>,
    /// Parts that could not be looked at, and why that is no damage.
    notes: Vec<String>,
}

impl VerifyFindings {
    pub(super) fn damage(&mut self, code: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.damage.push(VerifyFinding { code, text });
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// All that was found of a zone.
#[derive(Debug, Serialize)]
pub(super) struct ZoneFindings {
    pub(super) zone: ZoneName,
    pub(super) checkpoints: usize,
    /// Those that were restored to the digest that they say.
    pub(super) restored: usize,
    pub(super) records: u64,
    /// Ticks that were replayed.
    pub(super) replayed: u64,
    /// Digests that a replay has compared.
    pub(super) digests: u64,
    pub(super) is_sealed: bool,
    pub(super) quarantined: usize,
    /// Blobs of the archive that were read whole and restored.
    pub(super) blobs: usize,
    /// Rows of the archive that were compared with a blob of the same tick.
    pub(super) rows: usize,
    /// The accounts of the newest checkpoint that was restored.
    #[serde(skip)]
    pub(super) accounts: Vec<Account>,
    #[serde(flatten)]
    pub(super) findings: VerifyFindings,
}

impl ZoneFindings {
    pub(super) fn new(zone: ZoneName) -> Self {
        Self {
            zone,
            checkpoints: 0,
            restored: 0,
            records: 0,
            replayed: 0,
            digests: 0,
            is_sealed: false,
            quarantined: 0,
            blobs: 0,
            rows: 0,
            accounts: Vec::new(),
            findings: VerifyFindings::default(),
        }
    }
}

/// The result of a look at a world.
#[derive(Debug, Serialize)]
pub(super) struct VerifyOutput {
    pub(super) world: VerifyFindings,
    pub(super) zones: Vec<ZoneFindings>,
}

impl VerifyOutput {
    /// Whether nothing is damaged.
    pub(super) fn is_sound(&self) -> bool {
        self.world.damage.is_empty() && self.zones.iter().all(|zone| zone.findings.damage.is_empty())
    }

    /// Writes it: a table and a line for each finding, or JSON.
    pub(super) fn written(&self, as_json: bool) -> anyhow::Result<String> {
        if as_json {
            return serde_json::to_string_pretty(self).context("write JSON");
        }
        let mut text = self.table().to_string();
        let zones = self.zones.iter().map(|zone| (zone.zone.as_str(), &zone.findings));
        for (whose, findings) in zones.chain([("the world", &self.world)]) {
            for VerifyFinding { code, text: what } in &findings.damage {
                write!(text, "\ndamaged: {whose}: {what} [{code}]").context("write a line")?;
            }
            for note in &findings.notes {
                write!(text, "\nnot looked at: {whose}: {note}").context("write a line")?;
            }
        }
        text.push_str(if self.is_sound() {
            "\nnothing is damaged"
        } else {
            "\nsomething is damaged"
        });
        Ok(text)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
            "zone",
            "checkpoints",
            "restored",
            "records",
            "replayed",
            "digests",
            "sealed",
            "quarantined",
            "blobs",
            "rows",
            "damage",
        ]);
        for zone in &self.zones {
            table.add_row([
                zone.zone.to_string(),
                zone.checkpoints.to_string(),
                zone.restored.to_string(),
                zone.records.to_string(),
                zone.replayed.to_string(),
                zone.digests.to_string(),
                if zone.is_sealed { "sealed" } else { "-" }.to_owned(),
                zone.quarantined.to_string(),
                zone.blobs.to_string(),
                zone.rows.to_string(),
                zone.findings.damage.len().to_string(),
            ]);
        }
        table
    }
}

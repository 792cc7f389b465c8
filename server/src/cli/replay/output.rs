//! The output of `everhold replay`, for people and for programs. It decides nothing but its own form.

use std::fmt::Write;

use anyhow::Context;
use everhold_core::durability::audit::{AuditReport, HistoryComparison, HistoryHoles};
use everhold_core::durability::evidence::EvidenceWhy;
use everhold_core::durability::history::HistoryHeader;
use everhold_core::zone::Digest;
use everhold_protocol::{Epoch, SessionId, Tick, ZoneName};
use serde::Serialize;

use super::super::history::{CodedError, chained, replay_code};

/// A digest as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct DigestText(String);

impl From<Digest> for DigestText {
    fn from(digest: Digest) -> Self {
        Self(format!("{:016x}", digest.0))
    }
}

/// The digest after one tick.
#[derive(Debug, Serialize)]
pub(super) struct DigestLine {
    pub(super) tick: Tick,
    pub(super) epoch: Epoch,
    pub(super) inputs: usize,
    pub(super) digest: DigestText,
    /// The digest that the next record says.
    pub(super) told: Option<DigestText>,
}

/// A player after the last tick.
#[derive(Debug, Serialize)]
pub(super) struct PlayerLines {
    pub(super) player: String,
    pub(super) tick: Tick,
    pub(super) session: Option<SessionId>,
    /// Its declared state: the name of each component, and its value. `None`: there is no such player.
    pub(super) state: Option<Vec<(&'static str, String)>>,
}

#[derive(Debug, Serialize)]
struct Evidence {
    why: EvidenceWhy,
    tick: Tick,
    epoch: Epoch,
}

#[derive(Debug, Serialize)]
struct Difference {
    tick: Tick,
    told: DigestText,
    found: DigestText,
}

#[derive(Debug, Serialize)]
struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    fn of(error: &CodedError) -> Self {
        let (code, message) = (error.code, error.to_string());
        Self { code, message }
    }
}

#[derive(Debug, Serialize)]
struct Against {
    compared_ticks: u64,
    first_tick: Option<Tick>,
    last_tick: Option<Tick>,
    /// The last tick of either history.
    ends: (Tick, Tick),
    differs_at: Option<Tick>,
    what: Vec<String>,
    /// The holes of the first and of the second history.
    holes: (Option<Holes>, Option<Holes>),
}

/// The ticks that one history has no record of, among those that were compared.
#[derive(Debug, Serialize)]
struct Holes {
    ticks: u64,
    /// The first and the last tick of the first hole.
    first_tick: Tick,
    last_tick: Tick,
}

impl Holes {
    fn of(holes: HistoryHoles) -> Option<Self> {
        let (first_tick, last_tick) = holes.first?;
        Some(Self {
            ticks: holes.ticks,
            first_tick,
            last_tick,
        })
    }
}

/// The report of a replay, and its lines on digests and players.
pub(super) type ReplayedLines = (AuditReport, (Vec<DigestLine>, Vec<PlayerLines>));

/// The outcome of a replay.
#[derive(Debug, Serialize)]
struct ReplayOutcome {
    /// The tick of the checkpoint that it was restored from. `None`: it began with the zone.
    restored_tick: Option<Tick>,
    last_tick: Tick,
    replayed_ticks: u64,
    checked_digests: u64,
    last_equal_tick: Option<Tick>,
    difference: Option<Difference>,
    damage: Option<Failure>,
    unread_checkpoints: Vec<Tick>,
    digests: Vec<DigestLine>,
    players: Vec<PlayerLines>,
}

/// Everything that a replay has to tell.
#[derive(Debug, Serialize)]
pub(super) struct ReplayOutput {
    zone: ZoneName,
    evidence: Option<Evidence>,
    /// `None`: nothing could be replayed, for the reason in `error`.
    #[serde(flatten)]
    outcome: Option<ReplayOutcome>,
    against: Option<Against>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

impl ReplayOutcome {
    fn new(report: AuditReport, (digests, players): (Vec<DigestLine>, Vec<PlayerLines>)) -> Self {
        Self {
            restored_tick: report.restored_from.map(|position| position.tick),
            last_tick: report.last,
            replayed_ticks: report.replayed_ticks,
            checked_digests: report.checked_digests,
            last_equal_tick: report.last_equal,
            difference: report.difference.map(|difference| Difference {
                tick: difference.tick,
                told: difference.told.into(),
                found: difference.found.into(),
            }),
            damage: report.damage.map(|error| Failure {
                code: replay_code(&error),
                message: chained(&error),
            }),
            unread_checkpoints: report.unread,
            digests,
            players,
        }
    }

    fn write_digests(&self, out: &mut String) -> std::fmt::Result {
        for line in &self.digests {
            let DigestLine {
                tick,
                epoch,
                inputs,
                digest,
                told,
            } = line;
            let verdict = match told {
                Some(told) if told == digest => "equal".to_owned(),
                Some(told) => format!("differs from {}", told.0),
                None => String::new(),
            };
            let line = format!("tick {tick}  epoch {epoch}  inputs {inputs}  {}  {verdict}", digest.0);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write(&self, zone: &ZoneName, out: &mut String) -> std::fmt::Result {
        let (ticks, last) = (self.replayed_ticks, self.last_tick);
        let start = self.restored_tick.map_or_else(
            || "from its beginning".to_owned(),
            |tick| format!("from the checkpoint of tick {tick}"),
        );
        writeln!(out, "zone {zone}: {ticks} ticks replayed {start}, to tick {last}")?;
        for tick in &self.unread_checkpoints {
            writeln!(
                out,
                "the checkpoint of tick {tick} cannot be read whole: an older one was taken"
            )?;
        }
        match &self.difference {
            None if self.checked_digests == 0 => writeln!(out, "digests: none was told of these ticks")?,
            None => writeln!(out, "digests: all {} are equal", self.checked_digests)?,
            Some(Difference { tick, told, found }) => {
                let equal = self.last_equal_tick.map_or_else(
                    || "none before it was compared".to_owned(),
                    |tick| format!("the last equal one is that of tick {tick}"),
                );
                writeln!(
                    out,
                    "digests: that of tick {tick} differs: the owner had {}, the replay has {}; {equal}",
                    told.0, found.0
                )?;
            }
        }
        if let Some(Failure { code, message }) = &self.damage {
            writeln!(out, "the history ends early: {message} [{code}]")?;
        }
        self.write_players(out)
    }

    fn write_players(&self, out: &mut String) -> std::fmt::Result {
        for PlayerLines {
            player,
            tick,
            session,
            state,
        } in &self.players
        {
            let (Some(session), Some(state)) = (session, state) else {
                writeln!(out, "{player} is not in the zone after tick {tick}")?;
                continue;
            };
            writeln!(out, "{player}, session {}, after tick {tick}:", session.0)?;
            for (_, value) in state {
                writeln!(out, "  {value}")?;
            }
        }
        Ok(())
    }
}

impl Against {
    fn new(comparison: HistoryComparison) -> Self {
        let (first_tick, last_tick) = comparison.compared.unzip();
        let (differs_at, what) = comparison.difference.map(|found| (found.tick, found.what)).unzip();
        let (ours, theirs) = comparison.holes;
        Self {
            compared_ticks: comparison.compared_ticks,
            first_tick,
            last_tick,
            ends: comparison.ends,
            differs_at,
            what: what.unwrap_or_default(),
            holes: (Holes::of(ours), Holes::of(theirs)),
        }
    }
}

impl ReplayOutput {
    /// Tells what a replay came to, or why there was none, and what a comparison did.
    pub(super) fn new(
        header: &HistoryHeader,
        outcome: Result<ReplayedLines, CodedError>,
        comparison: Option<HistoryComparison>,
    ) -> Self {
        let (outcome, error) = match outcome {
            Ok((report, lines)) => (Some(ReplayOutcome::new(report, lines)), None),
            Err(error) => (None, Some(Failure::of(&error))),
        };
        Self {
            zone: header.zone.clone(),
            evidence: header.evidence.map(|note| Evidence {
                why: note.why,
                tick: note.tick,
                epoch: note.epoch,
            }),
            outcome,
            against: comparison.map(Against::new),
            error,
        }
    }

    /// Whether a digest or a record differs.
    pub(super) fn differs(&self) -> bool {
        let other = self
            .against
            .as_ref()
            .is_some_and(|against| against.differs_at.is_some());
        let digest = self
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.difference.is_some());
        digest || other
    }

    /// Whether the history could not be replayed to its end, or not be compared in every tick.
    pub(super) fn failed(&self) -> bool {
        let is_apart =
            |against: &Against| against.compared_ticks == 0 || against.holes.0.is_some() || against.holes.1.is_some();
        let is_early = |outcome: &ReplayOutcome| outcome.damage.is_some();
        self.outcome.as_ref().is_none_or(is_early) || self.against.as_ref().is_some_and(is_apart)
    }

    pub(super) fn written(&self, as_json: bool) -> anyhow::Result<String> {
        if as_json {
            return serde_json::to_string_pretty(self).context("write JSON");
        }
        let mut text = String::new();
        self.write(&mut text).context("write text")?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if let Some(outcome) = &self.outcome {
            outcome.write_digests(out)?;
        }
        if let Some(Evidence { why, tick, epoch }) = &self.evidence {
            writeln!(out, "evidence: {why} at tick {tick}, found by epoch {epoch}")?;
        }
        let zone = &self.zone;
        match (&self.outcome, &self.error) {
            (Some(outcome), _) => outcome.write(zone, out)?,
            (None, Some(Failure { code, message })) => {
                writeln!(out, "zone {zone}: it cannot be replayed: {message} [{code}]")?;
            }
            (None, None) => {}
        }
        self.write_comparison(out)
    }

    fn write_comparison(&self, out: &mut String) -> std::fmt::Result {
        let Some(against) = &self.against else { return Ok(()) };
        let (ours, theirs) = against.ends;
        if let Some(tick) = against.differs_at {
            writeln!(out, "histories: they differ at tick {tick}:")?;
            for what in &against.what {
                writeln!(out, "  {what}")?;
            }
        } else if let (Some(first), Some(last)) = (against.first_tick, against.last_tick) {
            let equal = match &against.holes {
                (None, None) => "equal",
                _ => "equal where both have records,",
            };
            writeln!(
                out,
                "histories: {equal} from tick {first} to tick {last}; the first ends with tick {ours}, the second with \
                 tick {theirs}"
            )?;
        } else {
            writeln!(out, "histories: they have no tick in common")?;
        }
        for (side, holes) in [("first", &against.holes.0), ("second", &against.holes.1)] {
            if let Some(Holes {
                ticks,
                first_tick,
                last_tick,
            }) = holes
            {
                writeln!(
                    out,
                    "histories: {ticks} records of the {side} are missing and were not compared, the first of them \
                     from tick {first_tick} to tick {last_tick}"
                )?;
            }
        }
        Ok(())
    }
}

/// Writes a failure for programs.
pub(super) fn error_json(error: &CodedError) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Failed {
        error: Failure,
    }
    let failed = Failed {
        error: Failure::of(error),
    };
    serde_json::to_string_pretty(&failed).context("write JSON")
}

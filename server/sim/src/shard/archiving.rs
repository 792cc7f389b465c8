//! The questions of a simulated shard to the archive, each with a bound on its answer. What is asked, and what follows
//! from an answer, the archivist of each zone decides.

use std::time::Duration;

use everhold_core::durability::archive::{ArchiveCommit, ArchiveError, CommitAnswer, CommitReport};
use everhold_core::durability::archivist::{ArchivistCommand, ArchivistNotice};
use everhold_core::durability::pipeline::ArchiveAnswer;
use everhold_core::ownership::Tenure;

use super::SimShard;
use crate::env::Env;
use crate::event::ShardInput;
use crate::links::Party;
use crate::mutant::Mutant;
use crate::services::{CommitFate, Services};

/// An archive that takes longer for a fence, a look, or a part does not answer. A run is short: a driver waits longer.
const ARCHIVE_ANSWER_MAX: Duration = Duration::from_secs(1);
/// The same for a commit.
pub(crate) const COMMIT_ANSWER_MAX: Duration = Duration::from_secs(2);

/// A question that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Fence,
    Look,
    PutPart,
    Commit,
}

impl Question {
    const fn answer(self, error: ArchiveError) -> ArchiveAnswer {
        match self {
            Self::Fence => ArchiveAnswer::Fenced(Err(error)),
            Self::Look => ArchiveAnswer::Zone(Err(error)),
            Self::PutPart => ArchiveAnswer::PartPut(Err(error)),
            Self::Commit => ArchiveAnswer::Committed(Err(error)),
        }
    }
}

/// The questions of a shard to its archive that are not answered yet, by number.
#[derive(Debug, Default)]
pub(super) struct Questions(std::collections::BTreeMap<u64, (Tenure, Question)>);

impl SimShard {
    /// Asks the archive what a zone's archivist wants.
    pub(super) fn ask_archivist(&mut self, env: &mut Env, tenure: &Tenure, command: ArchivistCommand) {
        let whose = tenure.clone();
        match command {
            ArchivistCommand::Fence => self.ask_archive(env, (tenure, Question::Fence), move |services| {
                ArchiveAnswer::Fenced(services.fence_archive(&whose))
            }),
            ArchivistCommand::Look => self.ask_archive(env, (tenure, Question::Look), move |services| {
                ArchiveAnswer::Zone(services.archive.zone(&whose.zone, Some(whose.grant)))
            }),
            ArchivistCommand::PutPart { mark, index, bytes } => {
                self.ask_archive(env, (tenure, Question::PutPart), move |services| {
                    ArchiveAnswer::PartPut(services.put_blob_part(&whose, mark, index, bytes.clone()))
                });
            }
            ArchivistCommand::Commit(commit) => {
                let commit = self.note_commit(env, tenure, commit);
                self.ask_archive(env, (tenure, Question::Commit), move |services| {
                    ArchiveAnswer::Committed(services.commit(&whose, &commit))
                });
            }
        }
    }

    /// Counts what is interesting in a commit. A mutant makes it one of the newest tick.
    fn note_commit(&mut self, env: &mut Env, tenure: &Tenure, mut commit: ArchiveCommit) -> ArchiveCommit {
        let interval = self.world.archive_interval.unwrap_or(u64::MAX);
        let before = commit
            .parent
            .map_or(commit.mark.position.tick, |parent| parent.position.tick);
        if commit.mark.position.tick.0 > before.0.saturating_add(2 * interval) {
            env.took("ticks that waited for the archive");
        }
        let newest = self.hosted_mut(tenure).map(|hosted| hosted.pipeline.journal().last());
        if let Some(newest) = newest.filter(|_| env.services.mutant == Some(Mutant::ArchivedEarly)) {
            commit.mark.position = newest;
        }
        commit
    }

    /// Begins an operation at the archive, with a bound for its answer.
    fn ask_archive(
        &mut self,
        env: &mut Env,
        (tenure, question): (&Tenure, Question),
        operation: impl Fn(&mut Services) -> ArchiveAnswer + 'static,
    ) {
        let number = self.number();
        self.questions.0.insert(number, (tenure.clone(), question));
        self.request(env, (Party::Archive, Some(number)), move |services| {
            let fate = if question == Question::Commit {
                services.commit_fate
            } else {
                CommitFate::Answered
            };
            if fate == CommitFate::Lost {
                return ShardInput::Nothing;
            }
            let answer = operation(services);
            if fate == CommitFate::Unheard {
                return ShardInput::Nothing;
            }
            ShardInput::Archived(number, answer)
        });
        let within = if question == Question::Commit {
            COMMIT_ANSWER_MAX
        } else {
            ARCHIVE_ANSWER_MAX
        };
        self.schedule(env, within, ShardInput::Expired(number));
    }

    /// Hears that an operation was not answered in time, if it is one of the archive. Returns whether it is.
    pub(super) fn handle_archive_expired(&mut self, env: &mut Env, number: u64) -> bool {
        let Some((_, question)) = self.questions.0.get(&number) else {
            return false;
        };
        env.took("an archive's silence");
        let mutant = env.services.mutant;
        let answer = match question {
            Question::Commit if mutant == Some(Mutant::ArchiveSilenceIsYes) => {
                ArchiveAnswer::Committed(Ok(CommitAnswer::Done(CommitReport::default())))
            }
            question if mutant == Some(Mutant::ArchiveSilenceIsNo) => {
                let epoch = self.questions.0[&number].0.epoch();
                question.answer(ArchiveError::Fenced { epoch })
            }
            question => question.answer(ArchiveError::Unavailable("no answer in time".to_owned())),
        };
        self.handle_archived(env, number, answer);
        true
    }

    /// Hears an answer. One that comes too late, or for a zone that is not hosted any more, is of no account.
    pub(super) fn handle_archived(&mut self, env: &mut Env, number: u64, answer: ArchiveAnswer) {
        let Some((tenure, _)) = self.questions.0.remove(&number) else {
            return;
        };
        let now = env.instant();
        let Some(hosted) = self.hosted_mut(&tenure) else { return };
        if let ArchiveAnswer::Committed(Ok(answer)) = &answer {
            note_answer(env, answer);
        }
        hosted.pipeline.handle_archived(now, answer);
        self.drive_zone(env, &tenure);
    }

    /// Returns each hosted zone with the time for which it is hosted, and with how many ticks its archive is behind it.
    pub(crate) fn archive_lags(&self, now: Duration) -> impl Iterator<Item = (&Tenure, Duration, u64)> {
        self.local.zones.values().filter_map(move |zone| {
            let lag = zone.pipeline.archive_lag()?;
            Some((&zone.tenure, now.saturating_sub(zone.since), lag))
        })
    }
}

fn note_answer(env: &mut Env, answer: &CommitAnswer) {
    match answer {
        CommitAnswer::Done(report) if report.undone > 0 => env.took("moves of value that were taken back"),
        CommitAnswer::Done(_) => env.took("a commit to the archive"),
        CommitAnswer::Duplicate => env.took("a commit that was done before it was answered"),
        CommitAnswer::Moved { .. } => env.took("a commit that found another one"),
    }
}

/// Counts what is interesting in the news of an archivist.
pub(super) fn note_news(env: &mut Env, tenure: &Tenure, news: &ArchivistNotice) {
    env.tell(|| format!("archive of {} epoch {}: {news:?}", tenure.zone, tenure.epoch()));
    match news {
        ArchivistNotice::Confirmed(_) => env.took("an archive that answers again"),
        ArchivistNotice::Fenced => env.took("an owner whom the archive shut out"),
        ArchivistNotice::Failed(..)
        | ArchivistNotice::Reported(_)
        | ArchivistNotice::Moved(_)
        | ArchivistNotice::LagChanged(..)
        | ArchivistNotice::Merged(_) => {}
    }
}

//! Adoption, told by circumstances: what is asked for when store, memory, and replay behave so.

mod archived;
mod divergence;
mod memory;
mod takeover;

use std::sync::Arc;

use everhold_protocol::Epoch;

use super::*;
use crate::durability::keeping::KeepCommand;
use crate::durability::replay::{plan, replay};
use crate::durability::store::{Position, ZoneData};
use crate::durability::suspended::Surrender;
use crate::game::RuleBook;
use crate::ownership::{AdoptionFailure, DataStamp, Nonce, RulesTag};
use crate::zone::{RestoreError, Zone, ZoneConfig};

const GRACE: Duration = Duration::from_secs(8);

const SESSION: SessionId = everhold_protocol::EntityId(5);

/// An adoption under epoch 5, and its clock.
struct Adopter {
    adoption: Adoption,
    now: Instant,
    started: Option<(Start, History)>,
    failed: Option<AdoptError>,
    lease: LeaseState,
    kept: Vec<u8>,
}

impl Adopter {
    fn new(memory: Option<DataStamp>) -> Self {
        let now = Instant::now();
        let grant = Grant::issue(Epoch(5), Nonce(1));
        Self {
            adoption: Adoption::new(now, grant, GRACE, memory, AdoptionSteps::default()),
            now,
            started: None,
            failed: None,
            lease: LeaseState::Held {
                deadline: Duration::MAX,
            },
            kept: Vec::new(),
        }
    }

    /// An adoption that has read the zone and asked for its replay.
    fn replaying() -> Self {
        let mut adopter = Self::new(None);
        assert_eq!(adopter.asks(), ["fence and read"]);
        adopter.read(Ok(outline(0)));
        assert_eq!(adopter.asks(), ["replay, refusing []"]);
        adopter
    }

    /// All that is asked for now, in words.
    fn asks(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(command) = self.adoption.poll_command(self.now, self.lease) {
            words.push(match command {
                AdoptionCommand::Summarize => "summarize".to_owned(),
                AdoptionCommand::Fence => "fence".to_owned(),
                AdoptionCommand::FenceAndRead => "fence and read".to_owned(),
                AdoptionCommand::BeginAnew => "begin anew".to_owned(),
                AdoptionCommand::ReadWanted => "read wanted".to_owned(),
                AdoptionCommand::FenceArchive => "fence the archive".to_owned(),
                AdoptionCommand::ReadBlobPart(mark, index) => format!("read part {index} of blob {}", mark.number),
                AdoptionCommand::ReadKept(id) => format!("read the file of {}", RulesTag::new(&id)),
                AdoptionCommand::ReadParts(parts) => format!("read {} parts", parts.len()),
                AdoptionCommand::ReadRecords(from, ticks) => format!("read {ticks} records from {from}"),
                AdoptionCommand::Rewind(to) => format!("rewind to {}", to.last),
                AdoptionCommand::Replay(data) => {
                    let seqs: Vec<u64> = data.quarantine.iter().map(|(_, seq)| *seq).collect();
                    format!("replay, refusing {seqs:?}")
                }
                AdoptionCommand::Quarantine(tick, _, seq) => format!("quarantine input {seq} of tick {tick}"),
                AdoptionCommand::Keep(KeepCommand::Put(index, part), _) => {
                    self.kept.extend_from_slice(&part);
                    format!("put part {index} of the evidence")
                }
                AdoptionCommand::Keep(KeepCommand::Seal(mark), _) => format!("seal the evidence of tick {}", mark.tick),
                AdoptionCommand::Keep(KeepCommand::Drop, _) => "drop the evidence".to_owned(),
                AdoptionCommand::Log(notice) => format!("log {notice:?}"),
                AdoptionCommand::Start(start, history) => {
                    self.started = Some((*start, history));
                    "start".to_owned()
                }
                AdoptionCommand::DropMemory => "drop memory".to_owned(),
                AdoptionCommand::StartFromMemory(FromMemory::Newest) => "start from memory".to_owned(),
                AdoptionCommand::StartFromMemory(FromMemory::Older { lost_ticks }) => {
                    format!("start from memory, {lost_ticks} ticks are lost")
                }
                AdoptionCommand::StartFromMemory(FromMemory::OverDamage { lost_ticks }) => {
                    format!("start from memory without {lost_ticks} ticks")
                }
                AdoptionCommand::Fail(error) => {
                    let text = error.to_string();
                    self.failed = Some(error);
                    format!("fail: {text}")
                }
            });
        }
        words
    }

    fn asks_after(&mut self, wait: Duration) -> Vec<String> {
        self.now += wait;
        self.asks()
    }

    fn read(&mut self, answer: Result<ZoneOutline, StoreError>) {
        self.adoption.handle_read(self.now, answer);
    }

    fn summary(&mut self, answer: Result<Option<ZoneSummary>, StoreError>) {
        self.adoption.handle_summary(self.now, answer);
    }

    fn fence(&mut self, answer: Result<(), StoreError>) {
        self.adoption.handle_fenced(self.now, answer);
    }

    fn history(&self) -> History {
        self.started.as_ref().unwrap().1
    }
}

fn config() -> ZoneConfig {
    ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    }
}

fn replayed() -> Replayed {
    replay(plan(ZoneData::default()).unwrap(), config()).unwrap_or_else(|error| panic!("{error}"))
}

/// The end of a zone that was suspended under epoch 3.
const fn suspended() -> DataStamp {
    suspended_at(Tick(0))
}

/// The end of a suspended zone whose last tick is this.
const fn suspended_at(tick: Tick) -> DataStamp {
    DataStamp { epoch: Epoch(3), tick }
}

/// The summary of a zone that an owner has fenced, and whose newest data is this.
fn summary(newest: Option<DataStamp>) -> Result<Option<ZoneSummary>, StoreError> {
    Ok(Some(ZoneSummary {
        fence_epoch: Epoch(5),
        journal: None,
        head: None,
        base: None,
        newest,
        is_incomplete: false,
        seal: None,
    }))
}

const fn stamp(epoch: u32, tick: u64) -> Option<DataStamp> {
    let (epoch, tick) = (Epoch(epoch), Tick(tick));
    Some(DataStamp { epoch, tick })
}

/// The outline of a zone without checkpoints whose journal is said to have so many records.
fn outline(records: u64) -> ZoneOutline {
    ZoneOutline {
        fence: (Epoch(5), Nonce(1)),
        chain: Vec::new(),
        journal: (records > 0).then_some((Tick(1), Tick(records))),
        quarantine: Vec::new(),
        seal: None,
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("a time-out".to_owned())
}

fn poison(seq: u64) -> ReplayError {
    ReplayError::Poison {
        tick: Tick(9),
        suspect: Some((SESSION, seq)),
        reason: "a rule".to_owned(),
    }
}

#[test]
fn zone_of_the_store_is_fenced_and_read_and_replayed() {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replayed(Ok(replayed()));
    assert_eq!(adopter.asks(), ["start"]);
    let expected = History::Stored {
        is_lost: false,
        replayed_ticks: 0,
        checked_digests: 0,
        digest_equal: true,
        rewound_ticks: 0,
        checkpoints_given_up: 0,
        evidence: None,
    };
    assert_eq!(adopter.history(), expected);
    assert_eq!(adopter.started.unwrap().0.journal.epoch(), Epoch(5));
}

#[test]
fn zone_is_read_in_pages_and_each_has_its_own_tries() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    adopter.read(Ok(outline(100)));
    assert_eq!(adopter.asks(), ["read 64 records from 1"]);
    for ticks in [32, 16, 8, 4, 2, 1] {
        adopter.adoption.handle_records(adopter.now, Err(unavailable()));
        assert_eq!(adopter.asks(), [format!("read {ticks} records from 1")]);
    }
    for from in [1, 2] {
        for _ in 0..30 {
            adopter.adoption.handle_records(adopter.now, Err(unavailable()));
            adopter.asks();
            let asked = adopter.asks_after(RETRY);
            assert_eq!(asked, [format!("read 1 records from {from}")]);
        }
        adopter.adoption.handle_records(adopter.now, Ok(Vec::new()));
        let asked = adopter.asks();
        assert_eq!(asked, [format!("read 2 records from {}", from + 1)]);
        if from == 1 {
            adopter.adoption.handle_records(adopter.now, Err(unavailable()));
            assert_eq!(adopter.asks(), ["read 1 records from 2"]);
        }
    }
}

#[test]
fn adopter_that_is_overtaken_while_it_reads_gives_up() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    adopter.read(Ok(outline(10)));
    adopter.asks();
    let fenced = StoreError::Fenced { epoch: Epoch(6) };
    adopter.adoption.handle_records(adopter.now, Err(fenced));
    assert_eq!(adopter.asks(), ["fail: fenced by epoch 6"]);
}

#[test]
fn history_that_is_damaged_is_ended_in_the_store_before_the_zone_goes_on_with_a_base() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    adopter.read(Ok(outline(10)));
    // What is not there is looked for twice.
    for _ in 0..2 {
        assert_eq!(adopter.asks(), ["read 10 records from 1"]);
        adopter.adoption.handle_records(adopter.now, Ok(Vec::new()));
        assert_eq!(adopter.asks(), ["replay, refusing []"]);
        adopter.adoption.handle_replayed(Ok(replayed()));
    }
    let asked = adopter.asks();
    assert!(
        asked[0].starts_with("log Damaged") && asked[1..] == ["rewind to 0"],
        "{asked:?}"
    );
    adopter.adoption.handle_rewound(adopter.now, Err(unavailable()));
    adopter.asks();
    assert_eq!(adopter.asks_after(RETRY), ["rewind to 0"]);
    adopter.adoption.handle_rewound(adopter.now, Ok(()));
    assert_eq!(adopter.asks(), ["start"]);
    let (start, history) = adopter.started.unwrap();
    assert_eq!((start.rewound_ticks, start.chain), (10, Vec::new()));
    assert!(matches!(history, History::Stored { rewound_ticks: 10, .. }));
}

#[test]
fn what_the_store_lacks_of_what_it_acknowledged_is_counted_as_lost() {
    for promised in [0, 90] {
        let mut adopter = Adopter::new(None);
        adopter.adoption = adopter.adoption.promised(Tick(promised));
        adopter.asks();
        adopter.read(Ok(outline(0)));
        adopter.asks();
        adopter.adoption.handle_replayed(Ok(replayed()));
        let asked = adopter.asks();
        assert_eq!(
            asked.iter().filter(|asked| asked.starts_with("log GoneBack")).count(),
            usize::from(promised > 0)
        );
        let (start, history) = adopter.started.unwrap();
        assert_eq!(start.rewound_ticks, promised);
        assert!(matches!(history, History::Stored { rewound_ticks, .. } if rewound_ticks == promised));
    }
}

#[test]
fn store_that_does_not_answer_is_asked_again_for_three_seconds() {
    let mut adopter = Adopter::new(None);
    assert_eq!(adopter.asks(), ["fence and read"]);
    adopter.read(Err(unavailable()));
    assert_eq!(adopter.asks(), ["log Unanswered(\"a time-out\")"]);
    for _ in 0..29 {
        assert_eq!(adopter.adoption.poll_timeout(), Some(adopter.now + RETRY));
        assert_eq!(adopter.asks_after(RETRY - Duration::from_millis(1)), [""; 0]);
        assert_eq!(adopter.asks_after(Duration::from_millis(1)), ["fence and read"]);
        adopter.read(Err(unavailable()));
    }
    assert_eq!(adopter.asks_after(RETRY), ["fence and read"]);
    adopter.read(Err(unavailable()));
    assert_eq!(adopter.asks(), ["fail: the store does not answer: a time-out"]);
    assert_eq!(adopter.asks_after(GRACE), [""; 0]);
}

#[test]
fn lost_zone_that_comes_back_within_the_grace_is_adopted() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    for news in [&["log Lost"][..], &[], &[]] {
        adopter.read(Err(StoreError::Lost));
        assert_eq!(adopter.asks(), news, "it is said once");
        assert_eq!(adopter.asks_after(RETRY), ["fence and read"]);
    }
    adopter.read(Ok(outline(0)));
    adopter.asks();
    adopter.adoption.handle_replayed(Ok(replayed()));
    adopter.asks();
    assert!(matches!(adopter.history(), History::Stored { is_lost: false, .. }));
}

#[test]
fn lost_zone_is_begun_again_after_the_grace_and_not_before() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    adopter.now += GRACE - Duration::from_millis(1);
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["log Lost"]);
    assert_eq!(adopter.asks_after(RETRY), ["fence and read"]);
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["log BeginsAgain", "begin anew"]);
    adopter.read(Err(unavailable()));
    adopter.asks();
    assert_eq!(adopter.asks_after(RETRY), ["begin anew"]);
    adopter.read(Ok(outline(0)));
    adopter.asks();
    adopter.adoption.handle_replayed(Ok(replayed()));
    assert_eq!(adopter.asks(), ["start"]);
    assert!(matches!(adopter.history(), History::Stored { is_lost: true, .. }));
}

#[test]
fn zone_that_cannot_be_begun_again_is_given_up() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    adopter.now += GRACE;
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["log BeginsAgain", "begin anew"]);
    adopter.read(Err(StoreError::Lost));
    assert_eq!(adopter.asks(), ["fail: the zone's data set is gone"]);
}

#[test]
fn adopted_zone_is_handed_on_although_its_lease_is_over() {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replayed(Ok(replayed()));
    adopter.lease = LeaseState::Suspended;
    assert_eq!(adopter.asks(), ["start"], "its host suspends it with its memory");
}

#[test]
fn store_that_says_something_takes_steps_and_a_silent_one_none() {
    let mut adopter = Adopter::new(None);
    adopter.asks();
    let steps = adopter.adoption.steps();
    adopter.read(Err(unavailable()));
    assert_eq!(steps.count(), 0);
    for lost in 1..=3 {
        adopter.asks_after(RETRY);
        adopter.read(Err(StoreError::Lost));
        assert_eq!(steps.count(), lost, "the grace of a lost zone is no standstill");
    }
    adopter.asks_after(RETRY);
    adopter.read(Ok(outline(0)));
    assert_eq!(steps.count(), 4);
}

#[test]
fn input_at_which_the_replay_fails_is_written_down_before_the_next_replay() {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replayed(Err(poison(3)));
    let asked = adopter.asks();
    assert!(asked[0].starts_with("log Poison") && asked[1..] == ["quarantine input 3 of tick 9"]);
    adopter.adoption.handle_quarantined(adopter.now, Err(unavailable()));
    assert_eq!(adopter.asks(), ["log Unanswered(\"a time-out\")"]);
    assert_eq!(adopter.asks_after(RETRY), ["quarantine input 3 of tick 9"]);
    adopter.adoption.handle_quarantined(adopter.now, Ok(()));
    assert_eq!(adopter.asks(), ["replay, refusing [3]"]);
    adopter.adoption.handle_replayed(Ok(replayed()));
    assert_eq!(adopter.asks(), ["start"]);
}

#[test]
fn zone_whose_replay_fails_at_one_input_after_the_other_is_given_up() {
    let mut adopter = Adopter::replaying();
    for seq in 1..=u64::from(POISON_MAX) {
        adopter.adoption.handle_replayed(Err(poison(seq)));
        adopter.asks();
        adopter.adoption.handle_quarantined(adopter.now, Ok(()));
        if seq < u64::from(POISON_MAX) {
            assert!(adopter.asks()[0].starts_with("replay"));
        }
    }
    assert_eq!(
        adopter.asks(),
        ["fail: the replay fails at 8 inputs, one after the other"]
    );
}

#[test]
fn zone_that_fails_by_itself_is_given_up_and_nothing_is_quarantined() {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replayed(Err(ReplayError::Poison {
        tick: Tick(9),
        suspect: None,
        reason: "a rule".to_owned(),
    }));
    assert_eq!(adopter.asks(), ["fail: the zone fails at tick 9: a rule"]);
}

#[test]
fn adoption_that_failed_names_what_failed() {
    let restore = |error| AdoptError::Unreplayable(ReplayError::Restore { tick: Tick(3), error });
    let table = [
        (
            AdoptError::Store(StoreError::Corrupt("a hole".to_owned())),
            AdoptionFailure::StoreCorrupt,
        ),
        (AdoptError::Store(StoreError::Lost), AdoptionFailure::StoreLost),
        (
            AdoptError::Unreplayable(ReplayError::JournalBroken { tick: Tick(3) }),
            AdoptionFailure::Unreplayable,
        ),
        (
            AdoptError::Unreplayable(ReplayError::Rules { tick: Tick(3) }),
            AdoptionFailure::Unfit,
        ),
        (
            AdoptError::Unreplayable(ReplayError::ZoneUnknown),
            AdoptionFailure::Unfit,
        ),
        (restore(RestoreError::Rules), AdoptionFailure::Unfit),
        (restore(RestoreError::Layout { found: 1 }), AdoptionFailure::Unfit),
        (restore(RestoreError::Corrupt), AdoptionFailure::Unreplayable),
        (AdoptError::PoisonedTooOften, AdoptionFailure::PoisonedTooOften),
        (AdoptError::Store(unavailable()), AdoptionFailure::StoreAway),
        (
            AdoptError::Store(StoreError::Fenced { epoch: Epoch(6) }),
            AdoptionFailure::Overtaken,
        ),
        (AdoptError::Store(StoreError::ParentMoved), AdoptionFailure::StoreAway),
        (AdoptError::Unfinished("a panic".into()), AdoptionFailure::Panicked),
        (AdoptError::LeaseOver, AdoptionFailure::LeaseOver),
    ];
    for (error, failure) in table {
        assert_eq!(error.failure(), failure, "{error}");
    }
}

#[test]
fn replay_that_does_not_end_is_given_up_with_its_cause() {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replay_lost("a panic".into());
    assert_eq!(adopter.asks(), ["fail: the replay did not end"]);
    let cause = std::error::Error::source(adopter.failed.as_ref().unwrap()).unwrap();
    assert_eq!(cause.to_string(), "a panic");
}

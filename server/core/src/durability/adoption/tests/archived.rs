//! Adoption with an archive: when that is asked, who is believed, and what is waited for.

use super::*;
use crate::durability::archive::{ArchiveBlob, ArchiveError, ArchivedBlob, ArchivedZone, CommitMark};
use crate::durability::checkpoint::CheckpointConfig;
use crate::durability::pipeline::{Pipeline, PipelineCommand, PipelineConfig};
use crate::durability::recovery::Damage;
use crate::durability::store::RecordHash;
use crate::durability::{Durability, LagConfig};
use crate::zone::Cut;

/// Ticks between two commits.
const INTERVAL: u64 = 600;

/// The tick of the newest blob.
const BLOB_TICK: Tick = Tick(7);

/// An adoption with an archive, which has fenced and read the zone: this is what the store answered.
fn after(answer: Result<ZoneOutline, StoreError>) -> Adopter {
    let mut adopter = Adopter::new(None);
    adopter.adoption = adopter.adoption.with_archive(INTERVAL);
    assert_eq!(adopter.asks(), ["fence and read"]);
    adopter.read(answer);
    adopter
}

/// The same, of a store that has nothing.
fn bereft() -> Adopter {
    let mut adopter = after(Ok(outline(0)));
    let asks = [
        "log AsksArchive(\"the store has nothing of the zone\")",
        "fence the archive",
    ];
    assert_eq!(adopter.asks(), asks);
    adopter
}

/// The body of a zone after its seventh tick.
fn body() -> Bytes {
    let mut zone = Zone::new(config());
    for _ in 0..BLOB_TICK.0 {
        zone.step(&[]);
    }
    Bytes::from(zone.capture(Cut::Base).body)
}

/// An archive with these blobs, by their numbers; each is of one part.
fn archived(numbers: &[u64]) -> Result<Option<ArchivedZone>, ArchiveError> {
    let position = Position {
        epoch: Epoch(4),
        tick: BLOB_TICK,
        hash: RecordHash([4; 32]),
    };
    let blob = ArchiveBlob {
        parts: 1,
        bytes: body().len() as u64,
    };
    let blobs: Vec<ArchivedBlob> = numbers
        .iter()
        .map(|number| ArchivedBlob {
            mark: CommitMark {
                position,
                number: *number,
            },
            blob,
        })
        .collect();
    Ok(Some(ArchivedZone {
        zone: config().name,
        fence: (Epoch(5), Nonce(1)),
        last: blobs.first().map(|blob| blob.mark),
        blobs,
    }))
}

fn away() -> ArchiveError {
    ArchiveError::Unavailable("a time-out".to_owned())
}

impl Adopter {
    fn archived(&mut self, answer: Result<Option<ArchivedZone>, ArchiveError>) {
        self.adoption.handle_archived(self.now, answer);
    }

    /// Gives the part that is asked for, and replays what comes of it, for real.
    fn restore(&mut self, part: Bytes) {
        self.adoption.handle_blob_part(self.now, Ok(Some(part)));
        let Some(AdoptionCommand::Replay(data)) = self.adoption.poll_command(self.now, self.lease) else {
            panic!("a replay")
        };
        let outcome = plan(data).and_then(|plan| replay(plan, config()));
        self.adoption.handle_replayed(outcome);
    }

    /// Lets the grace pass: the store is asked once more.
    fn confirm(&mut self) {
        self.now += GRACE;
        assert_eq!(self.asks(), ["fence and read"]);
    }

    fn restored(&self) -> Restored {
        let History::Archived(restored) = self.history() else {
            panic!("{:?}", self.history())
        };
        restored
    }
}

#[test]
fn whole_data_in_the_store_is_enough_and_the_archive_is_not_asked() {
    let mut adopter = after(Ok(outline(9)));
    assert_eq!(adopter.asks(), ["read 9 records from 1"]);
    adopter.adoption.handle_records(adopter.now, Ok(Vec::new()));
    assert_eq!(adopter.asks(), ["replay, refusing []"]);
}

#[test]
fn zone_begins_once_the_archive_says_that_there_is_none() {
    for nothing in [Ok(None), archived(&[])] {
        let mut adopter = bereft();
        adopter.archived(nothing);
        assert_eq!(adopter.asks(), ["replay, refusing []"]);
        adopter.adoption.handle_replayed(Ok(replayed()));
        assert_eq!(adopter.asks(), ["start"]);
        assert!(matches!(adopter.history(), History::Stored { is_lost: false, .. }));
    }
}

#[test]
fn archive_that_does_not_answer_is_waited_for_and_no_zone_begins_meanwhile() {
    let mut adopter = bereft();
    adopter.archived(Err(away()));
    assert_eq!(adopter.asks(), ["log ArchiveUnanswered(\"a time-out\")"]);
    let began = adopter.now;
    let mut asked = 0;
    while adopter.failed.is_none() {
        for ask in adopter.asks_after(Duration::from_millis(500)) {
            if ask == "fence the archive" {
                asked += 1;
                adopter.archived(Err(away()));
            } else {
                assert!(ask.starts_with("fail: the archive does not answer"), "{ask}");
            }
        }
    }
    let half = Duration::from_millis(500);
    assert_eq!(
        (asked, adopter.now - began),
        (40, Duration::from_secs(20) + half),
        "found out at the next look"
    );
    let failure = adopter.failed.unwrap().failure();
    assert_eq!(
        failure,
        AdoptionFailure::ArchiveAway,
        "the lease runs out, and the zone is tried again"
    );
}

#[test]
fn zone_goes_on_from_the_archive_once_no_memory_has_come_back_within_the_grace() {
    for store in [Ok(outline(0)), Err(StoreError::Lost)] {
        let mut adopter = bereft();
        adopter.archived(archived(&[9]));
        assert_eq!(adopter.asks(), ["read part 0 of blob 9"]);
        adopter.restore(body());
        let until = adopter.now + GRACE;
        let mut asks = adopter.asks();
        while asks == ["fence and read"] {
            assert!(adopter.now <= until);
            adopter.read(store.clone());
            asks = adopter.asks();
            if asks.is_empty() {
                asks = adopter.asks_after(Duration::from_secs(1));
            }
        }
        assert_eq!(adopter.now, until);
        assert!(asks[0].starts_with("log FromArchive") && asks[1] == "start", "{asks:?}");
        let restored = Restored {
            commit: DataStamp {
                epoch: Epoch(4),
                tick: BLOB_TICK,
            },
            rewound_ticks: INTERVAL,
            interval_ticks: INTERVAL,
            blobs_given_up: 0,
        };
        assert_eq!(adopter.restored(), restored, "nothing says how much was lost");
        let start = adopter.started.unwrap().0;
        assert_eq!((start.zone.tick(), start.rewound_ticks), (BLOB_TICK, INTERVAL));
    }
}

#[test]
fn data_that_comes_back_within_the_grace_is_believed_before_the_archive() {
    let mut adopter = bereft();
    adopter.archived(archived(&[9]));
    adopter.asks();
    adopter.restore(body());
    adopter.confirm();
    adopter.read(Ok(outline(20)));
    assert_eq!(adopter.asks(), ["read 20 records from 1"]);
}

#[test]
fn zone_that_the_store_has_lost_is_looked_for_in_the_archive_after_the_grace() {
    for has_blob in [true, false] {
        let mut adopter = after(Err(StoreError::Lost));
        assert_eq!(adopter.asks(), ["log Lost"]);
        assert_eq!(adopter.asks_after(GRACE), ["fence and read"]);
        adopter.read(Err(StoreError::Lost));
        let asks = adopter.asks();
        assert_eq!(asks.last().unwrap(), "fence the archive");
        adopter.archived(if has_blob { archived(&[9]) } else { Ok(None) });
        let next: &[&str] = if has_blob {
            &["read part 0 of blob 9"]
        } else {
            &["log BeginsAgain", "begin anew"]
        };
        assert_eq!(adopter.asks(), next);
    }
}

#[test]
fn what_is_known_of_the_loss_is_counted() {
    let mut adopter = Adopter::new(None);
    adopter.adoption = adopter.adoption.with_archive(INTERVAL).promised(Tick(100));
    adopter.asks();
    adopter.read(Ok(outline(0)));
    adopter.asks();
    adopter.archived(archived(&[9]));
    adopter.asks();
    adopter.restore(body());
    adopter.confirm();
    adopter.read(Ok(outline(0)));
    adopter.asks();
    assert_eq!(adopter.restored().rewound_ticks, 93);
}

#[test]
fn damaged_blob_costs_an_interval_and_no_zone() {
    let mut adopter = bereft();
    adopter.archived(archived(&[9, 8]));
    assert_eq!(adopter.asks(), ["read part 0 of blob 9"]);
    let mut damaged = body().to_vec();
    damaged[20] ^= 1;
    adopter.restore(Bytes::from(damaged));
    assert_eq!(adopter.asks(), ["read part 0 of blob 8"]);
    adopter.restore(body());
    adopter.confirm();
    adopter.read(Ok(outline(0)));
    adopter.asks();
    assert_eq!(adopter.restored().blobs_given_up, 1);
}

#[test]
fn zone_of_which_no_blob_is_whole_is_given_up_and_not_begun() {
    let mut adopter = bereft();
    adopter.archived(archived(&[9]));
    adopter.asks();
    adopter.adoption.handle_blob_part(adopter.now, Ok(None));
    assert!(adopter.asks()[0].starts_with("fail: "));
    assert_eq!(adopter.failed.unwrap().failure(), AdoptionFailure::Unreplayable);
}

#[test]
fn archive_that_has_seen_a_higher_epoch_has_the_zone_claimed_above_it() {
    let mut adopter = bereft();
    adopter.archived(Err(ArchiveError::Fenced { epoch: Epoch(57) }));
    adopter.asks();
    let failure = adopter.failed.unwrap().failure();
    assert_eq!(failure, AdoptionFailure::ArchiveAhead(Epoch(57)));
}

#[test]
fn stored_data_of_which_nothing_is_whole_is_replaced_from_the_archive() {
    for has_blob in [true, false] {
        let mut adopter = after(Ok(ZoneOutline {
            journal: Some((Tick(5), Tick(20))),
            ..outline(0)
        }));
        let asks = adopter.asks();
        assert_eq!(asks.last().unwrap(), "fence the archive", "{asks:?}");
        adopter.archived(if has_blob { archived(&[9]) } else { Ok(None) });
        if has_blob {
            adopter.asks();
            adopter.restore(body());
            adopter.asks();
            assert_eq!(adopter.restored().rewound_ticks, 13, "the store knew of tick 20");
        } else {
            adopter.asks();
            assert!(matches!(
                adopter.failed,
                Some(AdoptError::Damaged(Damage::Unreplayable(_)))
            ));
        }
    }
}

#[test]
fn restored_zone_appends_nothing_before_a_base_and_then_goes_on() {
    let mut adopter = bereft();
    adopter.archived(archived(&[9]));
    adopter.asks();
    adopter.restore(body());
    adopter.confirm();
    adopter.read(Ok(outline(0)));
    adopter.asks();
    let (start, _) = adopter.started.unwrap();
    let config = PipelineConfig {
        durability: Durability::Store,
        checkpoints: CheckpointConfig::new(20),
        lag: LagConfig::new(100, 20),
    };
    let mut pipeline: Pipeline<Tick, Tick> = Pipeline::new(config, start.journal, &start.chain);
    pipeline.handle_turn();
    assert_eq!(pipeline.journal().last().tick, BLOB_TICK);
    assert!(pipeline.journal().is_reseeding());
    while let Some(command) = pipeline.poll_command(adopter.now, adopter.lease) {
        assert!(!matches!(command, PipelineCommand::Append(_)), "{command:?}");
    }
}

//! The pipeline with an archive: the moves of value that its checkpoints carry, and hand on.

use everhold_protocol::Account;

use super::*;
use crate::durability::archive::LedgerRow;
use crate::durability::archivist::{ArchivistCommand, ArchivistConfig};
use crate::durability::pending_moves::{PendingMoves, section};
use crate::limits::LEDGER_ROWS_MAX;
use crate::zone::ValueMove;

fn coins(amount: u64) -> ValueMove {
    ValueMove {
        value: 0,
        thing: None,
        amount,
        from: None,
        to: Some(Account(1)),
        command: None,
    }
}

fn ticks(rows: &[LedgerRow]) -> Vec<u64> {
    rows.iter().map(|row| row.stamp.tick.0).collect()
}

impl Host {
    /// A zone with an archive, and moves of the owner before at ticks 90 and 100. A delta is due every two ticks.
    fn archived() -> Self {
        let mut moves = PendingMoves::default();
        for tick in [90, 100] {
            moves.inherit(Epoch(1), Tick(tick), vec![coins(1)]);
        }
        let config = ArchivistConfig {
            zone: "meadow".parse().unwrap(),
            interval_ticks: 600,
            tick_hz: 20,
        };
        let Self {
            pipeline,
            durability,
            now,
            lease,
        } = Self::new(Durability::Store, 2);
        Self {
            pipeline: pipeline.with_archive(config, moves),
            durability,
            now,
            lease,
        }
    }

    fn tick_moving(&mut self, moves: u64, cut: Option<Cut>) {
        let last = self.pipeline.journal.last();
        let tick = last.tick.next();
        self.pipeline.handle_tick(PipelineTick {
            record: record(tick, last.hash),
            snapshots: tick,
            confirmed: tick,
            outputs: tick,
            moves: (0..moves).map(coins).collect(),
            frozen: cut.map(|cut| {
                let mut frozen = frozen(tick);
                frozen.base = cut == Cut::Base;
                frozen
            }),
        });
    }

    /// Has everything stored, and every command done. Returns the rows in the part of a body that was written.
    fn settle(&mut self) -> Option<Vec<LedgerRow>> {
        let mut rows = None;
        self.pipeline.handle_turn();
        while let Some(command) = self.pipeline.poll_command(self.now, self.lease) {
            match command {
                PipelineCommand::Append(_) => self.append(Ok(AppendAnswer::Ok)),
                PipelineCommand::PutPart { bytes, .. } => {
                    let (state, found) = section::split(&bytes).expect("a section");
                    assert_eq!(state, vec![0; 10]);
                    rows = Some(found.rows);
                    self.write(Ok(()));
                }
                PipelineCommand::MoveHead(_) => self.write(Ok(())),
                PipelineCommand::Encode(frozen) => {
                    let cut = if frozen.base { Cut::Base } else { Cut::Delta };
                    self.capture(frozen.tick, cut);
                }
                _ => {}
            }
        }
        rows
    }
}

#[test]
fn checkpoint_carries_the_moves_since_its_parent_and_a_base_all_that_the_archive_may_lack() {
    let mut host = Host::archived();
    host.tick_moving(1, None);
    host.tick_moving(0, None);
    host.settle();
    host.tick_moving(2, Some(Cut::Delta));
    assert_eq!(ticks(&host.settle().unwrap()), [101, 103, 103]);
    host.pipeline.checkpointer.handle_base_wanted();
    host.tick_moving(1, None);
    host.settle();
    host.tick_moving(0, Some(Cut::Base));
    assert_eq!(ticks(&host.settle().unwrap()), [90, 100, 101, 103, 103, 104]);
}

#[test]
fn moves_that_were_added_up_are_told_by_a_base_and_by_no_delta() {
    let mut host = Host::archived();
    host.tick_moving(1, None);
    host.tick_moving(0, None);
    host.settle();
    // The delta was ordered before there were too many.
    host.tick_moving(LEDGER_ROWS_MAX as u64, Some(Cut::Delta));
    assert_eq!(host.settle(), None);
    host.tick_moving(0, None);
    host.settle();
    assert!(host.pipeline.checkpointer.awaits_capture(), "a base is cut at once");
    host.tick_moving(0, Some(Cut::Base));
    assert_eq!(ticks(&host.settle().unwrap()), [90, 100, 103]);
}

#[test]
fn blob_of_the_archive_is_the_state_alone() {
    let mut host = Host::archived();
    host.pipeline.checkpointer.handle_base_wanted();
    host.tick_moving(1, None);
    host.settle();
    host.tick_moving(0, Some(Cut::Base));
    host.settle();
    let archivist = host.pipeline.archivist.as_mut().unwrap();
    archivist.handle_fenced(host.now, Ok(()));
    assert_eq!(archivist.poll_command(host.now), Some(ArchivistCommand::Look));
    archivist.handle_zone(host.now, Ok(None));
    let Some(ArchivistCommand::PutPart { bytes, .. }) = archivist.poll_command(host.now) else {
        panic!("a blob")
    };
    assert_eq!(bytes, vec![0; 10]);
}

#[test]
fn suspended_zone_takes_its_moves_along() {
    let mut host = Host::archived();
    host.tick_moving(1, None);
    let mut surrender = host.pipeline.into_surrender(&EndReason::Suspended).unwrap();
    let hash = record(Tick(101), RecordHash([0; 32])).hash;
    surrender
        .handle_record(record(Tick(102), hash), vec![coins(1)])
        .unwrap();
    let zone = Zone::new(ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::default_world()),
    });
    let grant = crate::ownership::Grant::issue(Epoch(5), crate::ownership::Nonce(1));
    let (.., moves) = surrender.handle_zone(zone).reclaimed(grant);
    let ticks: Vec<u64> = moves.rows().map(|row| row.stamp.tick.0).collect();
    assert_eq!(ticks, [90, 100, 101, 102]);
}

#[test]
fn ticks_and_the_gate_wait_for_no_archive() {
    let mut host = Host::archived();
    let (mut asked, mut left) = (0, Vec::new());
    for _ in 0..2_000 {
        host.tick_moving(1, None);
        host.pipeline.handle_turn();
        while let Some(command) = host.pipeline.poll_command(host.now, host.lease) {
            match command {
                PipelineCommand::Append(_) => host.append(Ok(AppendAnswer::Ok)),
                // It is never answered.
                PipelineCommand::Archive(_) => asked += 1,
                PipelineCommand::Tell(told) => left.push(told.tick()),
                _ => {}
            }
        }
        assert_eq!(host.pipeline.journal.unacknowledged(), 0);
        assert_eq!(host.pipeline.released_tick(), host.pipeline.journal.last().tick);
    }
    assert_eq!(asked, 1);
    let ticks: Vec<Tick> = (101..=2_100).map(Tick).collect();
    assert_eq!(left, ticks, "what each tick tells has left in that tick");
}

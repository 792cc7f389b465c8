//! The moves that an owner hands on to the next one, the alarm of an archive that lags, and the characters that may
//! leave.

use super::*;

/// The ticks of the rows in a section.
fn section_ticks(archivist: &Archivist, parent: Option<u64>) -> Vec<u64> {
    let section = archivist.section(parent.map(Tick)).expect("they are apart");
    let (state, section) = section::split(&section.into()).expect("a section");
    assert!(state.is_empty());
    section.rows.iter().map(|row| row.stamp.tick.0).collect()
}

#[test]
fn base_tells_all_that_the_archive_may_lack_and_a_delta_what_came_after_its_parent() {
    let mut rig = Rig::after(None);
    for tick in [105, 110, 120] {
        rig.archivist.handle_moves(Tick(tick), vec![coins(1, None, Some(1))]);
    }
    assert_eq!(section_ticks(&rig.archivist, Some(105)), [110, 120]);
    rig.cut(110, b"state", Vec::new());
    rig.commit();
    assert_eq!(
        section_ticks(&rig.archivist, None),
        [105, 110, 120],
        "no answer is no commit"
    );
    rig.done();
    assert_eq!(section_ticks(&rig.archivist, None), [120]);
    assert_eq!(section_ticks(&rig.archivist, Some(120)), [0; 0]);
}

#[test]
fn moves_of_owners_before_are_committed_unless_the_archive_has_them() {
    let mut moves = PendingMoves::default();
    for tick in [50, 60, 70, 100] {
        moves.inherit(Epoch(2), Tick(tick), vec![coins(tick, None, Some(1))]);
    }
    let blob = |tick, number| ArchivedBlob {
        mark: mark(Epoch(2), tick, number),
        blob: ArchiveBlob { parts: 1, bytes: 1 },
    };
    let table = [
        (archived(None), vec![50, 60, 70, 100]),
        // A cut of which not all commits were done.
        (
            ArchivedZone {
                blobs: vec![blob(60, 8)],
                ..archived(Some(mark(Epoch(2), 70, 9)))
            },
            vec![70, 100],
        ),
        (
            ArchivedZone {
                blobs: vec![blob(70, 9), blob(60, 8)],
                ..archived(Some(mark(Epoch(2), 70, 9)))
            },
            vec![100],
        ),
        // An archive that is ahead of what is left of the history.
        (
            ArchivedZone {
                blobs: vec![blob(140, 9)],
                ..archived(Some(mark(Epoch(2), 140, 9)))
            },
            vec![],
        ),
    ];
    for (found, committed) in table {
        let mut rig = Rig::with(found, moves.clone());
        rig.archivist.handle_moves(Tick(101), vec![coins(101, None, Some(1))]);
        rig.cut(101, b"state", Vec::new());
        let amounts: Vec<i64> = rig.commit().ledger.iter().map(|row| row.amount).collect();
        assert_eq!(amounts, [committed, vec![101]].concat());
    }
}

#[test]
fn zone_that_goes_on_from_memory_hands_on_the_moves_of_a_commit_without_an_answer() {
    let mut rig = Rig::after(None);
    rig.archivist.handle_moves(Tick(101), vec![coins(1, None, Some(1))]);
    rig.cut(101, b"state", Vec::new());
    rig.commit();
    rig.archivist.handle_moves(Tick(102), vec![coins(2, None, Some(1))]);
    let moves = rig.archivist.into_moves();
    let ticks: Vec<u64> = moves.rows().map(|row| row.stamp.tick.0).collect();
    assert_eq!(ticks, [101, 102]);
}

#[test]
fn archive_that_falls_behind_is_an_alarm_until_it_has_caught_up() {
    // Three intervals of 600 ticks, and three seconds.
    let mut rig = Rig::after(None);
    rig.archivist.handle_tick(Tick(1_959));
    assert_eq!(rig.notices(), [], "it counts from the adoption at tick 100");
    rig.archivist.handle_tick(Tick(1_960));
    rig.archivist.handle_tick(Tick(1_961));
    let behind = ArchivistNotice::LagChanged(LagState::Behind, 1_960);
    assert_eq!(rig.notices(), [behind]);
    rig.cut(1_950, b"state", Vec::new());
    rig.commit();
    rig.done();
    rig.archivist.handle_tick(Tick(1_962));
    assert_eq!(rig.notices(), [ArchivistNotice::LagChanged(LagState::Fine, 12)]);
}

fn resting(account: u64, generation: u64) -> CutCharacter {
    CutCharacter {
        generation,
        payload: Some(Bytes::from_static(b"character")),
        ..character(account, 1)
    }
}

#[test]
fn characters_at_rest_are_told_when_the_archive_has_them_as_they_are() {
    let mut rig = Rig::after(None);
    rig.cut(200, b"state", vec![character(1, 1), resting(2, 3), resting(3, 5)]);
    assert!(rig.archivist.take_resting().is_empty());
    let commit = rig.commit();
    let rows = commit
        .characters
        .iter()
        .map(|row| (row.generation, row.payload.is_some()));
    assert_eq!(rows.collect::<Vec<_>>(), [(2, false), (3, true), (5, true)]);
    // The archive has something newer of one of them.
    let report = CommitReport {
        superseded: vec![Account(3)],
        ..CommitReport::default()
    };
    rig.archivist.handle_committed(rig.now, Ok(CommitAnswer::Done(report)));
    let told = |rig: &mut Rig| -> Vec<(u64, u64)> {
        let resting = rig.archivist.take_resting();
        resting
            .into_iter()
            .map(|rest| (rest.account.0, rest.generation))
            .collect()
    };
    assert_eq!(told(&mut rig), [(2, 3)]);
    assert_eq!(rig.archivist.take_outranked(), [(Account(3), 5)]);
    // A later base tells again of those that are still there, also if nothing of them is to be written.
    rig.cut(900, b"state", vec![resting(2, 3)]);
    let commit = rig.commit();
    assert!(commit.characters.is_empty());
    rig.archivist
        .handle_committed(rig.now, Ok(CommitAnswer::Done(CommitReport::default())));
    assert_eq!(told(&mut rig), [(2, 3)]);
}

#[test]
fn rows_whose_answer_was_lost_are_written_again_before_their_characters_may_leave() {
    let mut rig = Rig::after(None);
    rig.cut(200, b"state", vec![resting(2, 3)]);
    rig.commit();
    rig.archivist.handle_committed(rig.now, Ok(CommitAnswer::Duplicate));
    assert!(rig.archivist.take_resting().is_empty());
    rig.cut(900, b"state", vec![resting(2, 3)]);
    assert_eq!(rig.commit().characters.len(), 1);
    rig.archivist
        .handle_committed(rig.now, Ok(CommitAnswer::Done(CommitReport::default())));
    assert_eq!(rig.archivist.take_resting().len(), 1);
}

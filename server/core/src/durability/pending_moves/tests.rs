//! Pending moves: what is added up and what is not, and their way through a checkpoint's body.

use bytes::Bytes;
use proptest::prelude::*;

use super::section::{MovesSection, SECTION_LAYOUT, SectionError, encode, split};
use super::*;
use crate::durability::forks::Fork;
use crate::durability::store::{Position, RecordHash};

fn told(amount: u64, from: Option<u64>, to: Option<u64>) -> ValueMove {
    ValueMove {
        value: 0,
        thing: None,
        amount,
        from: from.map(Account),
        to: to.map(Account),
        command: Some((EntityId(9), amount)),
    }
}

fn ticks(moves: &PendingMoves) -> Vec<u64> {
    moves.rows().map(|row| row.stamp.tick.0).collect()
}

/// Moves of an owner before at ticks 10 and 20, and own ones at 30 and 40.
fn inherited() -> PendingMoves {
    let mut moves = PendingMoves::default();
    for tick in [10, 20] {
        moves.inherit(Epoch(1), Tick(tick), vec![told(tick, None, Some(1))]);
    }
    for tick in [30, 40] {
        moves.add(Epoch(2), Tick(tick), vec![told(tick, None, Some(2))]);
    }
    moves
}

#[test]
fn what_the_archive_covers_is_dropped_and_the_rest_is_taken_in_order() {
    let table = [(None, vec![10, 20, 30]), (Some(10), vec![20, 30]), (Some(35), vec![])];
    for (covered, taken) in table {
        let mut moves = inherited();
        moves.settle(covered.map(Tick));
        let rows: Vec<u64> = moves.take_up_to(Tick(35)).iter().map(|row| row.stamp.tick.0).collect();
        assert_eq!((rows, ticks(&moves)), (taken, vec![40]));
    }
}

#[test]
fn heir_has_the_rows_of_all_owners_before_it() {
    let mut moves = inherited().bequeathed();
    moves.add(Epoch(3), Tick(50), vec![told(5, None, Some(3))]);
    assert_eq!(ticks(&moves), [10, 20, 30, 40, 50]);
    moves.settle(Some(Tick(40)));
    assert_eq!(ticks(&moves), [50]);
}

#[test]
fn inherited_moves_are_not_added_up_with_others_before_the_archive_is_known() {
    let mut moves = inherited();
    let many = (0..=LEDGER_ROWS_MAX as u64).map(|_| told(1, None, Some(7))).collect();
    assert_eq!(moves.add(Epoch(2), Tick(50), many), LEDGER_ROWS_MAX as u64 + 3);
    assert_eq!(ticks(&moves), [10, 20, 50, 50], "the sums of accounts 2 and 7");
    assert!(!moves.are_apart_after(Tick(49)) && moves.are_apart_after(Tick(50)));
    moves.settle(Some(Tick(20)));
    let sums: i64 = moves.take_up_to(Tick(50)).iter().map(|row| row.amount).sum();
    assert_eq!(sums, 30 + 40 + 1 + LEDGER_ROWS_MAX as i64);
}

#[test]
fn sums_of_more_accounts_than_the_bound_are_not_added_up_at_every_tick() {
    let mut moves = PendingMoves::default();
    let accounts = |tick: u64| (0..=LEDGER_ROWS_MAX as u64).map(move |account| told(tick, None, Some(account)));
    assert!(moves.add(Epoch(1), Tick(1), accounts(1).collect()) > 0);
    assert_eq!(moves.add(Epoch(1), Tick(2), vec![told(1, None, Some(1))]), 0);
    assert!(
        moves.add(Epoch(1), Tick(3), accounts(3).collect()) > 0,
        "twice as many are"
    );
}

#[test]
fn body_without_a_section_is_all_state() {
    let body = Bytes::from_static(b"state");
    assert_eq!(split(&body), Ok((body, MovesSection::default())));
}

#[test]
fn section_of_a_later_layout_is_told_from_damage() {
    let mut later = encode(std::iter::empty(), &[]);
    later[0] = u8::try_from(SECTION_LAYOUT).unwrap() + 1;
    assert_eq!(split(&Bytes::from(later.clone())), Err(SectionError::Damaged));
    let sum = blake3::hash(&later[..3]);
    later[7..15].copy_from_slice(&sum.as_bytes()[..8]);
    let found = SectionError::Layout(SECTION_LAYOUT + 1);
    assert_eq!(split(&Bytes::from(later)), Err(found));
}

#[test]
fn field_that_a_later_build_appends_is_passed_over() {
    let forks = [Fork {
        epoch: Epoch(2),
        root: root(1, 25),
    }];
    let mut section = encode(inherited().rows(), &forks);
    section.truncate(section.len() - 20);
    section.extend_from_slice(b"more");
    let read = split(&with_footer(section)).expect("it is read").1;
    assert!(read.rows.iter().eq(inherited().rows()));
    assert_eq!(read.forks, forks);
}

#[test]
fn section_of_a_build_that_wrote_no_beginnings_of_epochs_is_read() {
    let mut section = encode(inherited().rows(), &[]);
    section.truncate(section.len() - 20 - 1);
    let read = split(&with_footer(section)).expect("it is read").1;
    assert!(read.rows.iter().eq(inherited().rows()) && read.forks.is_empty());
}

fn root(epoch: u32, tick: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        tick: Tick(tick),
        hash: RecordHash([7; 32]),
    }
}

fn with_footer(mut section: Vec<u8>) -> Bytes {
    let (len, sum) = (u32::try_from(section.len()).unwrap(), blake3::hash(&section));
    section.extend_from_slice(&len.to_le_bytes());
    section.extend_from_slice(&sum.as_bytes()[..8]);
    section.extend_from_slice(b"\xfeEHmoves");
    Bytes::from(section)
}

fn row() -> impl Strategy<Value = LedgerRow> {
    let number = || prop::option::of(any::<u64>());
    let numbers = (
        number(),
        number(),
        number(),
        prop::option::of((any::<u64>(), any::<u64>())),
    );
    let amount = 0..=i64::MAX;
    (
        any::<u32>(),
        0..u64::MAX / 100,
        any::<u32>(),
        any::<u32>(),
        amount,
        numbers,
    )
        .prop_map(
            |(epoch, ticks, seq, value, amount, (thing, from, to, command))| LedgerRow {
                stamp: DataStamp {
                    epoch: Epoch(epoch),
                    tick: Tick(ticks),
                },
                seq,
                wall: WallMs(0),
                command: command.map(|(session, seq)| (EntityId(session), seq)),
                value,
                thing,
                amount,
                from: from.map(Account),
                to: to.map(Account),
            },
        )
}

proptest! {
    #[test]
    fn rows_come_back_from_a_body_as_they_were(
        mut rows in prop::collection::vec(row(), 0..40),
        state in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        rows.sort_by_key(|row| row.stamp.tick);
        let body = Bytes::from([state.clone(), encode(rows.iter(), &[])].concat());
        let forks = Vec::new();
        prop_assert_eq!(split(&body), Ok((Bytes::from(state), MovesSection { rows, forks })));
    }

    #[test]
    fn any_bytes_give_an_answer_and_a_flipped_bit_no_other_rows(
        rows in prop::collection::vec(row(), 1..4),
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut rows = rows;
        rows.sort_by_key(|row| row.stamp.tick);
        let mut body = encode(rows.iter(), &[]);
        let at = place.index(body.len());
        body[at] ^= 1 << bit;
        // What is not damaged for all to see is taken for state, which the zone refuses.
        let read = split(&Bytes::from(body.clone()));
        prop_assert!(read.is_err() || read == Ok((Bytes::from(body), MovesSection::default())));
        let _any_answer = split(&Bytes::from([noise, b"\xfeEHmoves".to_vec()].concat()));
    }
}

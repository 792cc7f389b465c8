//! The moves of value that the archive does not have yet, in order of tick. There is a bound: beyond it they become
//! what they add up to, so that balances stay true although the single moves are gone.

use std::collections::{BTreeMap, VecDeque};

use everhold_protocol::{Account, EntityId, Epoch, Tick};

use crate::durability::archive::{LedgerRow, WallMs};
use crate::limits::LEDGER_ROWS_MAX;
use crate::ownership::DataStamp;
use crate::zone::ValueMove;

/// Rows whose time on the wall is not known yet.
#[derive(Debug, Default)]
pub(super) struct PendingMoves {
    rows: VecDeque<LedgerRow>,
}

impl PendingMoves {
    /// Adds the moves of a tick, in order. Returns how many rows are merged because of it: 0, or all.
    pub(super) fn add(&mut self, epoch: Epoch, tick: Tick, moves: Vec<ValueMove>) -> u64 {
        let stamp = DataStamp { epoch, tick };
        let rows = moves.into_iter().zip(0..).map(|(told, seq)| LedgerRow {
            stamp,
            seq,
            wall: WallMs(0),
            command: told.command,
            value: told.value,
            thing: told.thing.map(|thing| thing.0),
            amount: i64::try_from(told.amount).unwrap_or(i64::MAX),
            from: told.from,
            to: told.to,
        });
        self.rows.extend(rows);
        if self.rows.len() <= LEDGER_ROWS_MAX {
            return 0;
        }
        let before = self.rows.len() as u64;
        self.rows = merged(&self.rows, stamp);
        before
    }

    /// Takes the rows up to this tick.
    pub(super) fn take_up_to(&mut self, tick: Tick) -> Vec<LedgerRow> {
        let count = self.rows.partition_point(|row| row.stamp.tick <= tick);
        self.rows.drain(..count).collect()
    }

    /// Puts back rows that were taken and not written. They are the oldest.
    pub(super) fn give_back(&mut self, rows: Vec<LedgerRow>) {
        for row in rows.into_iter().rev() {
            self.rows.push_front(row);
        }
    }
}

/// Adds up rows: one for each account and kind of value, between it and the world, and one for each thing, from the
/// first that had it to the last.
fn merged(rows: &VecDeque<LedgerRow>, stamp: DataStamp) -> VecDeque<LedgerRow> {
    let mut balances: BTreeMap<(Account, u32), i128> = BTreeMap::new();
    let mut things: BTreeMap<EntityId, LedgerRow> = BTreeMap::new();
    for row in rows {
        if let Some(thing) = row.thing {
            let whole = things.entry(EntityId(thing)).or_insert_with(|| row.clone());
            whole.to = row.to;
            continue;
        }
        if let Some(from) = row.from {
            *balances.entry((from, row.value)).or_default() -= i128::from(row.amount);
        }
        if let Some(to) = row.to {
            *balances.entry((to, row.value)).or_default() += i128::from(row.amount);
        }
    }
    let mut sums = VecDeque::new();
    for ((account, value), balance) in balances {
        let (from, to) = if balance < 0 {
            (Some(account), None)
        } else {
            (None, Some(account))
        };
        let mut rest = balance.unsigned_abs();
        while rest > 0 {
            let amount = i64::try_from(rest).unwrap_or(i64::MAX);
            rest -= amount.unsigned_abs() as u128;
            sums.push_back((value, None, amount, from, to));
        }
    }
    let whole = things.into_values().filter(|row| row.from != row.to);
    sums.extend(whole.map(|row| (row.value, row.thing, row.amount, row.from, row.to)));
    let row = |((value, thing, amount, from, to), seq)| LedgerRow {
        stamp,
        seq,
        wall: WallMs(0),
        command: None,
        value,
        thing,
        amount,
        from,
        to,
    };
    sums.into_iter().zip(0..).map(row).collect()
}

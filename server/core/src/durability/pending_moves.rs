//! The moves of value that the archive does not have yet, in order of tick. There is a bound: beyond it they become
//! what they add up to, so that balances stay true although the single moves are gone. They outlive their process: each
//! checkpoint carries those since the one before it ([`mod@section`]), and who goes on with the zone inherits them.
//!
//! ```text
//!   owner      rows ──section──► base ─ delta ─ delta ─ records          rows ──► memory
//!                                  └──────┴───────┴────────┘                        │
//!   heir                              inherited ◄── replay                inherited ◄┘
//!                                        │ settle: what the archive's last commit covers is dropped
//!                                        ▼
//!                                      rows ──► the next commit
//! ```

pub mod section;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use everhold_protocol::{Account, EntityId, Epoch, Tick};

use super::archive::{LedgerRow, WallMs};
use super::forks::Forks;
use crate::limits::{LEDGER_INHERITED_ROWS_MAX, LEDGER_ROWS_MAX};
use crate::ownership::DataStamp;
use crate::zone::ValueMove;

/// Rows whose time on the wall is not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingMoves {
    /// Rows of owners before, of which the archive may have some: they are not added up with others until that is
    /// known, for a sum cannot be told from its parts.
    inherited: VecDeque<LedgerRow>,
    rows: VecDeque<LedgerRow>,
    /// The number of rows that the last merge left: those of as many accounts and things cannot become fewer.
    merged_rows: usize,
    /// The tick of the last merge.
    merged_at: Option<Tick>,
    /// The beginnings of the epochs in whose ticks they were done.
    pub forks: Forks,
}

impl PendingMoves {
    /// Adds the moves of a tick, in order. Returns how many rows are merged because of it: 0, or all.
    pub fn add(&mut self, epoch: Epoch, tick: Tick, moves: Vec<ValueMove>) -> u64 {
        self.rows.extend(rows_of(epoch, tick, moves));
        if self.rows.len() <= LEDGER_ROWS_MAX.max(2 * self.merged_rows) {
            return 0;
        }
        let before = self.rows.len() as u64;
        self.rows = merged(&self.rows, DataStamp { epoch, tick });
        self.merged_rows = self.rows.len();
        self.merged_at = Some(tick);
        before
    }

    /// Adds the moves of a tick of an owner before, in order. Of more than [`LEDGER_INHERITED_ROWS_MAX`] it is not
    /// waited for what the archive has of them.
    pub fn inherit(&mut self, epoch: Epoch, tick: Tick, moves: Vec<ValueMove>) {
        self.inherited.extend(rows_of(epoch, tick, moves));
        if self.inherited.len() > LEDGER_INHERITED_ROWS_MAX {
            self.inherited = merged(&self.inherited, DataStamp { epoch, tick });
            self.merged_at = Some(tick);
        }
    }

    /// Adds rows of an owner before, in order of tick.
    pub fn inherit_rows(&mut self, rows: Vec<LedgerRow>) {
        self.inherited.extend(rows);
    }

    /// Returns the rows as another owner inherits them.
    #[must_use]
    pub fn bequeathed(mut self) -> Self {
        self.inherited.append(&mut self.rows);
        Self {
            inherited: self.inherited,
            merged_at: self.merged_at,
            forks: self.forks,
            ..Self::default()
        }
    }

    /// Takes what the archive has: all rows up to this tick, or none of those that are here.
    pub fn settle(&mut self, covered: Option<Tick>) {
        self.inherited.append(&mut self.rows);
        std::mem::swap(&mut self.inherited, &mut self.rows);
        if let Some(covered) = covered {
            self.rows.retain(|row| row.stamp.tick > covered);
        }
    }

    /// Takes the rows up to this tick.
    pub fn take_up_to(&mut self, tick: Tick) -> Vec<LedgerRow> {
        let count = self.rows.partition_point(|row| row.stamp.tick <= tick);
        self.merged_rows = 0;
        self.rows.drain(..count).collect()
    }

    /// Puts back rows that were taken and not written. They are the oldest.
    pub fn give_back(&mut self, rows: Vec<LedgerRow>) {
        for row in rows.into_iter().rev() {
            self.rows.push_front(row);
        }
    }

    /// Returns all rows, in order of tick.
    pub fn rows(&self) -> impl Iterator<Item = &LedgerRow> {
        self.inherited.iter().chain(&self.rows)
    }

    /// Whether the rows after this tick can be told from those before it: they were not added up with them.
    #[must_use]
    pub fn are_apart_after(&self, tick: Tick) -> bool {
        self.merged_at.is_none_or(|merged| merged <= tick)
    }
}

fn rows_of(epoch: Epoch, tick: Tick, moves: Vec<ValueMove>) -> impl Iterator<Item = LedgerRow> {
    let stamp = DataStamp { epoch, tick };
    moves.into_iter().zip(0..).map(move |(told, seq)| LedgerRow {
        stamp,
        seq,
        wall: WallMs(0),
        command: told.command,
        value: told.value,
        thing: told.thing.map(|thing| thing.0),
        amount: i64::try_from(told.amount).unwrap_or(i64::MAX),
        from: told.from,
        to: told.to,
    })
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

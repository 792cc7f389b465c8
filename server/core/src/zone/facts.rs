//! Facts of a character for people: what the game says of it, from a cut, in the columns and kinds that it declares
//! ([`super::archive_schema`]). They are told, and decide nothing.

use super::frozen::{Frozen, FrozenTable};
use super::registry::State;
use super::state::Session;

/// The value of a declared column. The simulation has no floating-point numbers to tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A whole number.
    Integer(i64),
    /// A text without NUL.
    Text(String),
    /// True or false.
    Bool(bool),
}

/// A thing, or a heap of one kind, that a character has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Possession {
    /// The thing's number, unique among the character's.
    pub id: u64,
    /// The kind: an index into the declared ones.
    pub kind: u32,
    /// The number of things in the heap.
    pub count: i64,
}

/// All that the game says of one character.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CharacterFacts {
    /// A value for each declared column, in their order.
    pub columns: Vec<Fact>,
    /// Everything that the character has.
    pub possessions: Vec<Possession>,
}

/// A session's entity as it was cut.
#[derive(Clone, Copy, Debug)]
pub struct FrozenPlayer<'a> {
    frozen: &'a Frozen,
    table: &'a FrozenTable,
    row: usize,
}

impl<'a> FrozenPlayer<'a> {
    /// Returns its component of this type, if it has one.
    #[must_use]
    pub fn get<C: State>(&self) -> Option<&'a C> {
        self.table.column::<C>()?.get(self.row)
    }

    /// Returns the id of the rules that the zone ran.
    pub(super) const fn rules_id(&self) -> &'a [u8; 32] {
        &self.frozen.rules_id
    }

    /// Appends all components as a base has them: id, mask, and each in order of kind.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.table.put_row(self.row, out);
    }
}

/// Returns every session of a cut with its character, in an order of no meaning.
pub fn players(frozen: &Frozen) -> impl Iterator<Item = (&Session, FrozenPlayer<'_>)> {
    frozen.tables.iter().flat_map(move |table| {
        let sessions = table.column::<Session>().unwrap_or_default();
        let players = sessions.iter().enumerate();
        players.map(move |(row, session)| (session, FrozenPlayer { frozen, table, row }))
    })
}
